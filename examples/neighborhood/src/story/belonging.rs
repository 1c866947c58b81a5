//! The chapter in which people come, lose their phones, and go.

use lamppost_core::base::MemberId;
use lamppost_core::replica::{CodeLanguage, Error, Joining, ObservationDraft, SyncReport};
use lamppost_core::roll::Target;
use lamppost_core::sync::session::Budget;
use lamppost_core::watch::{Observation, When, roles};

use super::{Failure, Story, observations};
use crate::cast::Phone;
use crate::narrator::{chapter, say, sees};

/// How long an invitation of the story holds, in milliseconds: a week.
const INVITATION_MS: u64 = 7 * 24 * 3_600 * 1_000;

/// A time that reports of this chapter name, in milliseconds since the Unix epoch.
const NOTED_MS: i64 = 1_780_000_000_000;

impl Story {
    /// Somebody joins by link, adds a tablet, loses the phone; a coordinator is removed while offline.
    pub(super) async fn belong(&mut self) -> Result<(), Failure> {
        chapter(
            9,
            "People come, lose their phones, and go",
            "Who belongs is a set of signed operations. Everybody derives the same from it, whatever reaches them first.",
        );
        let newcomer = self.join_by_link().await?;
        let tablet = self.add_a_tablet(&newcomer).await?;
        self.lose_the_phone(&newcomer, &tablet).await?;
        self.remove_a_coordinator().await
    }

    async fn join_by_link(&mut self) -> Result<Phone, Failure> {
        let newcomer = Phone::open(&self.root, "newcomer").await?;
        note(
            &newcomer,
            "A door was forced at the back of the laundry; I noted it before I knew of the group.",
        )
        .await?;
        let invitation = self.coordinator.replica.invite(roles::VOLUNTEER, INVITATION_MS).await?;
        self.coordinator.sync(&self.url).await?;
        let link = invitation.to_uri();
        say(format_args!(
            "the coordinator sends a link of {} characters, or shows it as a QR code:",
            link.len()
        ));
        say(format_args!("  {}…", link.chars().take(64).collect::<String>()));
        // The two phones agree on a code: the newcomer's knocks, the coordinator's answers, the newcomer's knocks again.
        newcomer.replica.ask_to_join(invitation.clone()).await?;
        self.coordinator.sync(&self.url).await?;
        let asked = newcomer.replica.ask_to_join(invitation).await?;
        let Joining::Waiting { code: Some(code), .. } = asked else {
            return Err(format!("the newcomer has no code: {asked:?}").into());
        };
        self.coordinator.sync(&self.url).await?;
        let pending = self.coordinator.replica.pending().await?;
        let request = pending.into_iter().next().ok_or("nobody knocked")?;
        sees("newcomer", [format!("read this code out to whoever invited you: {code}")]);
        sees(
            "the coordinator",
            [format!(
                "somebody came with your invitation; compare the code that they read out: {}",
                request.code.as_deref().unwrap_or("none yet")
            )],
        );
        let figures = format!("{code} on both");
        self.promises.check("both screens show the same code", request.code.as_ref() == Some(&code), figures);
        self.coordinator.replica.approve(request).await?;
        self.coordinator.sync(&self.url).await?;
        let joined = newcomer.replica.await_admission(Budget::UNLIMITED).await?;
        if !matches!(joined, Joining::Done(_)) {
            return Err(format!("the newcomer did not join: {joined:?}").into());
        }
        newcomer.sync(&self.url).await?;
        self.coordinator.sync(&self.url).await?;
        newcomer.sync(&self.url).await?;
        let seen = shows(&self.coordinator, "forced at the back of the laundry").await?;
        self.promises.check("what was recorded alone came along", seen, "1 report");
        Ok(newcomer)
    }

    async fn add_a_tablet(&mut self, phone: &Phone) -> Result<Phone, Failure> {
        phone.replica.set_card("N., house with the blue door".to_owned(), "after six".to_owned()).await?;
        let info = phone.replica.info().await?;
        let tablet = Phone::open(&self.root, "newcomers-tablet").await?;
        let request = tablet.replica.request_as_device_of(info.group, info.member).await?;
        tablet.replica.join(phone.replica.add_device(request).await?).await?;
        let device = tablet.replica.info().await?.device;
        phone.replica.name_device(device, "tablet".to_owned()).await?;
        for device in [phone, &tablet, &self.coordinator] {
            device.sync(&self.url).await?;
        }
        let code = phone.replica.recovery_code(CodeLanguage::English).await?;
        let words = code.words().split(' ').count();
        say(format_args!(
            "the newcomer's phone confirms a tablet and hands it the keys; no coordinator is needed"
        ));
        say(format_args!("its member key stays on the phone, and on paper as {words} words"));
        let roster = self.coordinator.replica.roster().await?;
        let row =
            roster.iter().find(|row| row.member == info.member).ok_or("the newcomer is not in the roster")?;
        let name = row.name.as_deref().unwrap_or("?");
        let devices: Vec<&str> =
            row.devices.iter().map(|d| d.name.as_deref().unwrap_or("a device")).collect();
        sees("the coordinator", [format!("{name}: {}", devices.join(", "))]);
        let on_tablet = tablet.replica.list(observations(None)).await?.len();
        let on_phone = phone.replica.list(observations(None)).await?.len();
        let figures = format!("{on_tablet} of {on_phone} observations");
        self.promises.check("a second device reads what the first reads", on_tablet == on_phone, figures);
        Ok(tablet)
    }

    async fn lose_the_phone(&mut self, lost: &Phone, tablet: &Phone) -> Result<(), Failure> {
        let device = lost.replica.info().await?.device;
        tablet.replica.remove(Target::Device(device)).await?;
        tablet.sync(&self.url).await?;
        // The coordinator's phone renews the keys when it hears of it.
        self.coordinator.sync(&self.url).await?;
        tablet.sync(&self.url).await?;
        let told = lost.replica.sync_once(&self.url, Budget::UNLIMITED).await;
        say(
            "the phone is lost; the tablet takes it out, and the coordinator's phone renews every key it knew",
        );
        sees("whoever found the phone", [told_of(&told)]);
        note(tablet, "The laundry's door has been mended.").await?;
        tablet.sync(&self.url).await?;
        self.coordinator.sync(&self.url).await?;
        let here = shows(&self.coordinator, "laundry's door has been mended").await?;
        let there = shows(lost, "laundry's door has been mended").await?;
        let refused = matches!(told, Err(Error::Removed));
        let figures = if refused { "turned away by the relay" } else { "served by the relay" };
        self.promises.check("a lost phone reads nothing new", here && !there && refused, figures);
        Ok(())
    }

    async fn remove_a_coordinator(&mut self) -> Result<(), Failure> {
        let deputy = Phone::open(&self.root, "deputy").await?;
        let group = self.coordinator.replica.info().await?.group;
        let request = deputy.replica.request(group).await?;
        let admission = self.coordinator.replica.admit(request, roles::COORDINATOR).await?;
        deputy.replica.join(admission).await?;
        for phone in [&self.coordinator, &deputy] {
            phone.sync(&self.url).await?;
        }
        // What the coordinator has not seen when the deputy is taken out is set aside, until it is accepted.
        note(&deputy, "Two bins burnt behind the school; the fire brigade came.").await?;
        deputy.sync(&self.url).await?;
        let member = deputy.replica.info().await?.member;
        self.coordinator.replica.remove(Target::Member(member)).await?;
        say("a second coordinator is taken out while offline, and goes on admitting people");
        let friend = Phone::open(&self.root, "deputys-friend").await?;
        let request = friend.replica.request(group).await?;
        friend.replica.join(deputy.replica.admit(request, roles::COORDINATOR).await?).await?;
        // Asked before the friend's phone hears of the removal: `info` answers `Removed` from then on.
        let friends_id = friend.replica.info().await?.member;
        self.coordinator.sync(&self.url).await?;
        let deputys = deputy.replica.sync_once(&self.url, Budget::UNLIMITED).await;
        let friends = friend.replica.sync_once(&self.url, Budget::UNLIMITED).await;
        sees("the second coordinator", [told_of(&deputys)]);
        sees("whom they admitted", [told_of(&friends)]);
        let bystander = self.volunteers.first().ok_or("no volunteers")?;
        bystander.sync(&self.url).await?;
        let mut agree = true;
        for phone in [&self.coordinator, bystander] {
            let roster: Vec<MemberId> =
                phone.replica.roster().await?.into_iter().map(|row| row.member).collect();
            agree &= !roster.contains(&member) && !roster.contains(&friends_id);
        }
        let turned_away = deputys.is_err() && friends.is_err();
        let promise = "who is taken out is out, and so is whom they let in";
        self.promises.check(promise, agree && turned_away, "2 members");

        let aside = self.coordinator.replica.set_aside().await?;
        let cut_off: Vec<_> = aside.iter().filter(|row| row.cut_off).map(|row| row.entry).collect();
        let hidden = !shows(bystander, "Two bins burnt").await?;
        let count = cut_off.len();
        if let Some(row) = aside.iter().find(|row| row.cut_off) {
            sees("the coordinator", [format!("set aside ({count}): {}", row.reason)]);
        }
        self.coordinator.replica.accept(cut_off).await?;
        self.coordinator.sync(&self.url).await?;
        bystander.sync(&self.url).await?;
        let shown = shows(bystander, "Two bins burnt").await?;
        let figures = format!("{count} of {count}");
        self.promises.check("what a removal cut off counts once accepted", hidden && shown, figures);
        let concerns = self.coordinator.replica.concerns().await?;
        sees("the coordinator", concerns.iter().map(|concern| format!("to do: {concern}")));
        Ok(())
    }
}

/// Files a short report.
async fn note(phone: &Phone, text: &str) -> Result<(), Failure> {
    let observation = Observation {
        when: When { start_ms: NOTED_MS, precision: "hour".into(), ..When::default() },
        vantage: "public_way".into(),
        behaviours: vec!["place_condition".into()],
        what_happened: text.to_owned(),
        basis: "saw".into(),
        ..Observation::default()
    };
    phone.replica.record(ObservationDraft { observation, sealed: None }).await?;
    Ok(())
}

/// Whether a phone lists a report with these words.
async fn shows(phone: &Phone, words: &str) -> Result<bool, Failure> {
    let rows = phone.replica.list(observations(None)).await?;
    Ok(rows.iter().any(|(row, _)| row.text.contains(words)))
}

fn told_of(outcome: &Result<SyncReport, Error>) -> String {
    match outcome {
        Ok(_) => "everything is up to date".to_owned(),
        Err(why) => why.to_string(),
    }
}
