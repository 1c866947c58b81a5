//! The chapters in which people come together, record without a network, and come online.

use std::collections::BTreeMap;

use indicatif::ProgressBar;
use lamppost_core::base::RoleId;
use lamppost_core::replica::{Delivery, ObservationDraft};
use lamppost_core::watch::roles;
use lamppost_server::Settings;
use tokio::task::JoinSet;

use super::{Failure, RATE_WAIT, Story, directory_bytes, list_row, observations};
use crate::cast::{Phone, Synced};
use crate::narrator::{Stopwatch, chapter, count, progress, say, sees, size, thousands};
use neighborhood::input::Report;

impl Story {
    /// Founding, and admission at a kitchen table: no network yet.
    pub(super) async fn found(&mut self) -> Result<(), Failure> {
        chapter(
            2,
            "A coordinator founds a group and admits neighbours and the liaison officer",
            "A newcomer's phone is shown which group it is, shows a request for that group and gets an admission back, from hand to \
             hand: no network is needed.",
        );
        let info = self.coordinator.replica.found().await?;
        say(format_args!("group {}", info.group));
        say("was founded on the coordinator's phone; a relay that is closed to new groups needs this id");
        let volunteers = self.volunteers.iter().map(|phone| (phone, roles::VOLUNTEER));
        let newcomers: Vec<(&Phone, RoleId)> = volunteers.chain([(&self.liaison, roles::LIAISON)]).collect();
        let mut last = None;
        for (phone, role) in &newcomers {
            let request = phone.replica.request(info.group).await?;
            last = Some(self.coordinator.replica.admit(request, *role).await?);
        }
        let admission = last.ok_or("nobody was admitted")?;
        let handed_bytes = admission.to_bytes().len() as u64;
        for (phone, _) in &newcomers {
            phone.replica.join(admission.clone()).await?;
        }
        say(format_args!("each newcomer was handed {} that hold no secret and no name", size(handed_bytes)));
        let roster = self.coordinator.replica.roster().await?;
        let mut by_role: BTreeMap<(String, String), usize> = BTreeMap::new();
        for row in roster {
            *by_role.entry((row.role_name, row.reads.join(", "))).or_default() += 1;
        }
        sees(
            "everybody",
            by_role.iter().map(|((role, reads), n)| format!("{n} x {role:12} can decrypt: {reads}")),
        );
        sees("the relay", [format!("{} groups", self.relay.group_count())]);
        Ok(())
    }

    /// Recording and amending, offline.
    pub(super) async fn record(&mut self) -> Result<(), Failure> {
        chapter(
            3,
            "Volunteers record what they see, with no network at all",
            "A report has a part for the group, and a sealed part (exact place, plates, notes) for coordinators alone.",
        );
        let watch = Stopwatch::start();
        let bar = progress(self.reports.len(), "recording and amending");
        let mut work = JoinSet::new();
        let phones = self.volunteers.len();
        for (at, phone) in self.volunteers.iter().enumerate() {
            let mine: Vec<(usize, Report)> = self
                .reports
                .iter()
                .enumerate()
                .skip(at)
                .step_by(phones)
                .map(|(n, r)| (n, r.clone()))
                .collect();
            let (replica, bar) = (phone.replica.clone(), bar.clone());
            work.spawn(async move {
                let mut filed = Vec::new();
                for (number, report) in mine {
                    let mut draft =
                        ObservationDraft { observation: report.observation, sealed: Some(report.sealed) };
                    let id = replica.record(draft.clone()).await?;
                    if !report.comment.is_empty() {
                        draft.observation.what_happened =
                            format!("{} {}", draft.observation.what_happened, report.comment);
                        replica.amend(id, draft).await?;
                    }
                    filed.push((number, id));
                    bar.inc(1);
                }
                Ok::<_, lamppost_core::replica::Error>(filed)
            });
        }
        let mut filed = BTreeMap::new();
        while let Some(done) = work.join_next().await {
            filed.extend(done??);
        }
        bar.finish_and_clear();
        self.filed = filed.into_values().collect();
        let took = watch.seconds();
        let amended = self.reports.iter().filter(|report| !report.comment.is_empty()).count();
        let (recorded, amended) =
            (count(self.filed.len(), "observation", "observations"), thousands(amended as u64));
        say(format_args!(
            "{recorded} recorded and {amended} of them amended in {took}, each on disk before the call returned"
        ));
        self.times.push(("recorded and amended", took));
        let first = self.volunteers.first().ok_or("no volunteers")?;
        let rows = first.replica.list(observations(Some(4))).await?;
        sees(&first.name, rows.iter().map(list_row));
        let all = first.replica.list(observations(None)).await?;
        let waiting = all.iter().filter(|(_, delivery)| *delivery == Delivery::OnPhone).count();
        say(format_args!("{waiting} of {} are on this phone alone, and say so", all.len()));
        sees("the relay", [format!("{} groups", self.relay.group_count())]);
        Ok(())
    }

    /// Everybody comes online over a bad network.
    pub(super) async fn come_online(&mut self) -> Result<(), Failure> {
        chapter(
            4,
            "They come online at different times, over a bad network",
            "Each connection may break; the next one goes on where it stopped.",
        );
        let watch = Stopwatch::start();
        let bar = progress(self.volunteers.len() * 2 + 3, "syncing");
        let mut carried = self.volunteers_sync(&bar).await?;
        let waited = self.wait_for_the_rate(&mut carried).await?;
        self.coordinator.sync(&self.url).await?;
        bar.inc(1);
        carried.add(self.volunteers_sync(&bar).await?);
        self.coordinator.sync(&self.url).await?;
        self.liaison.sync(&self.url).await?;
        bar.finish_and_clear();
        let took = watch.seconds();
        let breaks: u32 = self.volunteers.iter().map(Phone::strikes).sum();
        say(format_args!(
            "the network broke off {} in {}; the volunteers' phones carried {}",
            count(breaks as usize, "time", "times"),
            count(carried.connections as usize, "connection", "connections"),
            size(carried.bytes)
        ));
        if waited > 0 {
            let (waited, rate) = (
                count(waited, "entry", "entries"),
                thousands(Settings::default().rules.device_entries_per_minute),
            );
            say(format_args!(
                "{waited} waited: the relay takes {rate} at once from one device, then as many a minute"
            ));
        }
        self.times.push(("everybody synced", took));
        let unsent = self.unsent().await? + self.coordinator.replica.outbox_len().await?;
        let mut complete = true;
        for phone in &self.volunteers {
            complete &= phone.replica.list(observations(None)).await?.len() == self.filed.len();
        }
        let first = self.volunteers.first().ok_or("no volunteers")?;
        sees(&first.name, first.replica.list(observations(Some(3))).await?.iter().map(list_row));
        let figures = format!(
            "{} on each of {} phones",
            count(self.filed.len(), "observation", "observations"),
            self.volunteers.len()
        );
        self.promises.check("every phone has every observation", complete, figures);
        self.promises.check(
            "nothing waits to be sent",
            unsent == 0,
            format!("{} in outboxes", count(unsent, "entry", "entries")),
        );
        let sees_now = [
            format!(
                "{} group; which device (a number, no name) sent how much, and when",
                self.relay.group_count()
            ),
            format!(
                "{} of ciphertext and keys it cannot use",
                size(directory_bytes(&self.root.join("relay"))?)
            ),
        ];
        sees("the relay", sees_now);
        Ok(())
    }

    async fn volunteers_sync(&self, bar: &ProgressBar) -> Result<Synced, Failure> {
        let mut carried = Synced::default();
        for phone in &self.volunteers {
            carried.add(phone.sync(&self.url).await?);
            bar.inc(1);
        }
        Ok(carried)
    }

    /// A relay takes only so many entries a minute from one device. Says how many had to wait.
    async fn wait_for_the_rate(&self, carried: &mut Synced) -> Result<usize, Failure> {
        let waited = self.unsent().await?;
        let mut unsent = waited;
        while unsent > 0 {
            tokio::time::sleep(RATE_WAIT).await;
            carried.add(self.volunteers_sync(&ProgressBar::hidden()).await?);
            let left = self.unsent().await?;
            if left >= unsent {
                break;
            }
            unsent = left;
        }
        Ok(waited)
    }

    async fn unsent(&self) -> Result<usize, Failure> {
        let mut unsent = 0;
        for phone in &self.volunteers {
            unsent += phone.replica.outbox_len().await?;
        }
        Ok(unsent)
    }
}
