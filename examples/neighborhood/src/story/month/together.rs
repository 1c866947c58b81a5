//! Meetings, a business, and somebody who asks for help.

use lamppost_core::base::RoleId;
use lamppost_core::replica::Error;
use lamppost_core::watch::{
    Action, Bulletin, Commitment, Consent, Keyed, Kind, Meeting, Referral, Said, roles,
};

use super::{DAY_MS, Failure, Story, count_of, now_ms};
use crate::cast::Phone;
use crate::narrator::{chapter, count, say, sees, shortened};
use crate::proof::Search;

/// What is written in the referral, and looked for where it must not be.
const REFERRED: &str = "wants to stop and asks for a first talk this week";

impl Story {
    /// What the group does beside reports.
    pub(super) async fn work_together(&mut self) -> Result<(), Failure> {
        chapter(
            11,
            "They meet, a shop commits itself, and somebody asks for help",
            "Each role reads what it needs: a shop no report, the liaison no word of somebody's treatment.",
        );
        self.meetings().await?;
        let shop = self.newcomer("shop", roles::BUSINESS).await?;
        let clinic = self.newcomer("clinic", roles::HEALTH_PARTNER).await?;
        self.commit(&shop).await?;
        self.refer(&clinic).await
    }

    async fn newcomer(&self, name: &str, role: RoleId) -> Result<Phone, Failure> {
        let phone = Phone::open(&self.root, name).await?;
        let group = self.coordinator.replica.info().await?.group;
        let admission = self.coordinator.replica.admit(phone.replica.request(group).await?, role).await?;
        phone.replica.join(admission).await?;
        for phone in [&self.coordinator, &phone, &self.coordinator, &phone] {
            phone.sync(&self.url).await?;
        }
        Ok(phone)
    }

    async fn meetings(&mut self) -> Result<(), Failure> {
        let now_ms = now_ms()?;
        let action = Action {
            what: "Ask the owner about a fence".into(),
            owner: self.volunteer(0)?.replica.info().await?.member.to_string(),
            due_ms: now_ms + 7 * DAY_MS,
            status: "open".into(),
            note: String::new(),
        };
        let meeting =
            |title: &str, starts_ms: i64| Meeting { title: title.into(), starts_ms, ..Meeting::default() };
        let first = Meeting {
            actions: Keyed::from_iter([("fence", action)]),
            ..meeting("First Monday", now_ms - 14 * DAY_MS)
        };
        let first = self.coordinator.replica.create(first).await?;
        let second = self.coordinator.replica.create(meeting("Second Monday", now_ms)).await?;
        self.meet().await?;
        let agenda = self.volunteer(1)?.replica.carried_over(second).await?;
        sees(
            "a volunteer, on the next agenda,",
            agenda.iter().map(|carried| format!("open: {}", carried.action.what)),
        );
        let carried = agenda.len() == 1;
        self.volunteer(0)?.sync(&self.url).await?;
        self.coordinator
            .replica
            .change(first, |meeting: &mut Meeting| {
                for action in meeting.actions.values_mut() {
                    action.status = "done".into();
                }
                Ok(())
            })
            .await?;
        self.meet().await?;
        let left = self.volunteer(1)?.replica.carried_over(second).await?.len();
        let figures = format!("{}, none once it was done", count(agenda.len(), "action", "actions"));
        self.promises.check("an open action is on the next agenda", carried && left == 0, figures);
        Ok(())
    }

    async fn commit(&mut self, shop: &Phone) -> Result<(), Failure> {
        let now_ms = now_ms()?;
        let said = Said { title: "A light for the lot".into(), text: "It burns from Friday on.".into() };
        let bulletin = Bulletin {
            category: "news".into(),
            texts: Keyed::from_iter([("en", said)]),
            issued_ms: now_ms,
            expires_ms: now_ms + 14 * DAY_MS,
            ..Bulletin::default()
        };
        self.coordinator.replica.create(bulletin).await?;
        let commitment = Commitment {
            business: "The corner shop".into(),
            what: "lighting".into(),
            detail: "A lamp on the wall towards the lot, until midnight".into(),
            from_ms: now_ms,
            status: "offered".into(),
            ..Commitment::default()
        };
        let commitment = shop.replica.create(commitment).await?;
        shop.replica
            .change(commitment, |commitment: &mut Commitment| {
                commitment.status = "kept".into();
                Ok(())
            })
            .await?;
        for phone in [shop, &self.coordinator, shop] {
            phone.sync(&self.url).await?;
        }
        let known = self.coordinator.replica.read::<Commitment>(commitment).await?;
        sees(
            "the coordinator",
            [format!("{}: {} ({})", known.business, shortened(&known.detail, 60), known.status)],
        );
        let mut reports = 0;
        for kind in [Kind::OBSERVATION, Kind::SEALED, Kind::CASE, Kind::RELEASE] {
            reports += count_of(&shop.replica, kind).await?;
        }
        let page = shop.replica.front_page().await?.len();
        sees(
            "the shop",
            [format!("{}, its own commitment, and {reports} reports", count(page, "bulletin", "bulletins"))],
        );
        let figures = format!("{} reports", reports);
        let holds = reports == 0 && page == 1 && known.status == "kept";
        self.promises.check("a shop reads bulletins and no report", holds, figures);
        Ok(())
    }

    async fn refer(&mut self, clinic: &Phone) -> Result<(), Failure> {
        let now_ms = now_ms()?;
        let referral = Referral {
            services: vec!["treatment".into()],
            urgency: "soon".into(),
            text: format!("The person {REFERRED}."),
            contact: "By telephone, after six".into(),
            consent: Consent {
                given_by: "self".into(),
                given_ms: now_ms,
                covers: "That I ask for treatment, to the clinic alone".into(),
                ends_ms: now_ms + 90 * DAY_MS,
                withdrawn_ms: None,
            },
            ..Referral::default()
        };
        let author = self.volunteer(0)?;
        author.sync(&self.url).await?;
        let referral = author.replica.refer(referral).await?;
        self.meet().await?;
        clinic.sync(&self.url).await?;
        let received = clinic.replica.read::<Referral>(referral).await?;
        sees("the clinic", [received.text.as_str(), &received.notice].map(|text| shortened(text, 90)));
        let mut closed = 0;
        for other in [&self.liaison, &self.coordinator, self.volunteer(1)?] {
            let read = other.replica.read::<Referral>(referral).await;
            closed += usize::from(matches!(read, Err(Error::NotHere(_))));
        }
        let search = Search::new([REFERRED.to_owned()])?;
        let found = search.in_directory(&self.liaison.directory)?.hits
            + search.in_directory(&self.root.join("relay"))?.hits;
        let control = search.found_in(&received.text).len();
        say(format_args!("liaison, coordinator and another volunteer: {closed} of 3 have nothing to open"));
        let figures = format!("{found} of 1 sentence found with liaison and relay");
        let holds = closed == 3 && found == 0 && control == 1;
        self.promises.check("the liaison opens no referral", holds, figures);
        Ok(())
    }
}
