//! What an operator can watch. Nothing here tells one device from another, and a group is named only if it is damaged.

use lamppost_core::base::GroupId;
use lamppost_core::sync::frame::{Outcome, Refusal};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use crate::relay::Committed;

/// The relay's counters, in a registry that is shown as text.
pub struct Metrics {
    registry: Registry,
    /// Sessions open.
    pub sessions: Gauge,
    /// Bytes of messages that came in.
    pub received_bytes: Counter,
    /// Bytes of messages that went out.
    pub sent_bytes: Counter,
    turned_away: Family<[(&'static str, &'static str); 1], Counter>,
    signatures: Counter,
    places: Family<[(&'static str, &'static str); 1], Gauge>,
    pushes_waiting: Gauge,
    disk_free: Gauge,
    groups: Gauge,
    groups_damaged: Gauge,
    group_damaged: Family<[(&'static str, String); 1], Gauge>,
    store_bytes: Gauge,
    entries_kept: Counter,
    entries_refused: Family<[(&'static str, &'static str); 1], Counter>,
    commit_entries: Histogram,
    commit_seconds: Histogram,
}

/// What is measured when somebody looks.
pub struct Now {
    /// Groups kept.
    pub groups: u64,
    /// Groups some of whose data cannot be read.
    pub damaged: Vec<GroupId>,
    /// Size of the store on disk.
    pub store_bytes: u64,
    /// Sessions of devices that belong.
    pub members: usize,
    /// Sessions of strangers.
    pub strangers: usize,
    /// Connections that have not proven who they are.
    pub unproven: usize,
    /// Pushes not looked at yet.
    pub pushes_waiting: usize,
    /// Free space on the disk; 0 if it is not known.
    pub disk_free_bytes: u64,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("lamppost"),
            sessions: Gauge::default(),
            received_bytes: Counter::default(),
            sent_bytes: Counter::default(),
            turned_away: Family::default(),
            signatures: Counter::default(),
            places: Family::default(),
            pushes_waiting: Gauge::default(),
            disk_free: Gauge::default(),
            groups: Gauge::default(),
            groups_damaged: Gauge::default(),
            group_damaged: Family::default(),
            store_bytes: Gauge::default(),
            entries_kept: Counter::default(),
            entries_refused: Family::default(),
            commit_entries: Histogram::new(exponential_buckets(1.0, 2.0, 12)),
            commit_seconds: Histogram::new(exponential_buckets(0.000_5, 2.0, 14)),
        };
        metrics.register();
        metrics
    }
}

impl Metrics {
    fn register(&mut self) {
        let Self { registry, .. } = self;
        registry.register("sessions", "Sessions open", self.sessions.clone());
        registry.register("groups", "Groups kept", self.groups.clone());
        let damaged = self.groups_damaged.clone();
        registry.register("groups_damaged", "Groups some of whose data cannot be read", damaged);
        let named = self.group_damaged.clone();
        registry.register("group_damaged", "Each group some of whose data cannot be read", named);
        registry.register_with_unit("store", "Size on disk", Unit::Bytes, self.store_bytes.clone());
        let (received, sent) = (self.received_bytes.clone(), self.sent_bytes.clone());
        registry.register_with_unit("received", "Messages from phones", Unit::Bytes, received);
        registry.register_with_unit("sent", "Messages to phones", Unit::Bytes, sent);
        let turned_away = self.turned_away.clone();
        registry.register(
            "connections_turned_away",
            "Connections refused or dropped, by reason",
            turned_away,
        );
        let signatures = self.signatures.clone();
        registry.register("signatures_checked", "Signatures of pushed entries checked", signatures);
        registry.register("places_taken", "Connections, by who they are", self.places.clone());
        registry.register("pushes_waiting", "Pushes not looked at yet", self.pushes_waiting.clone());
        registry.register_with_unit(
            "disk_free",
            "Free space on the disk",
            Unit::Bytes,
            self.disk_free.clone(),
        );
        registry.register("entries_kept", "Entries written", self.entries_kept.clone());
        let refused = self.entries_refused.clone();
        registry.register("entries_refused", "Pushed entries refused, by reason", refused);
        registry.register("commit_entries", "Entries in one durable write", self.commit_entries.clone());
        let seconds = self.commit_seconds.clone();
        registry.register_with_unit("commit", "Judging and writing one commit", Unit::Seconds, seconds);
    }

    /// Counts a connection that was refused or dropped. Every reason is a name of this program's.
    pub fn turned_away(&self, reason: &'static str) {
        self.turned_away.get_or_create(&[("reason", reason)]).inc();
    }

    /// How many connections were refused or dropped for a reason.
    pub fn turned_away_count(&self, reason: &'static str) -> u64 {
        self.turned_away.get_or_create(&[("reason", reason)]).get()
    }

    /// Counts signatures that were checked.
    pub fn signatures_checked(&self, count: usize) {
        self.signatures.inc_by(count as u64);
    }

    /// Counts a commit.
    pub fn committed(&self, committed: &Committed, seconds: f64) {
        self.entries_kept.inc_by(committed.entries);
        #[expect(clippy::cast_precision_loss, reason = "a commit has a few thousand entries at most")]
        self.commit_entries.observe(committed.entries as f64);
        self.commit_seconds.observe(seconds);
        for outcome in committed.answers.iter().flat_map(|answer| &answer.ack.outcomes) {
            if let Outcome::Refused(why) = outcome {
                self.entries_refused.get_or_create(&[("refusal", name(why.refusal))]).inc();
            }
        }
    }

    /// All of it in the text format of Prometheus and OpenMetrics.
    pub fn to_text(&self, now: &Now) -> String {
        let set = |gauge: &Gauge, value: u64| {
            gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        };
        set(&self.groups, now.groups);
        set(&self.store_bytes, now.store_bytes);
        set(&self.pushes_waiting, now.pushes_waiting as u64);
        set(&self.disk_free, now.disk_free_bytes);
        let places = [("member", now.members), ("stranger", now.strangers), ("unproven", now.unproven)];
        for (who, count) in places {
            set(&self.places.get_or_create(&[("who", who)]), count as u64);
        }
        set(&self.groups_damaged, now.damaged.len() as u64);
        self.group_damaged.clear();
        for group in &now.damaged {
            set(&self.group_damaged.get_or_create(&[("group", group.to_string())]), 1);
        }
        let mut text = String::new();
        // Writing into a String does not fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.registry);
        text
    }
}

fn name(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::MALFORMED => "malformed",
        Refusal::SIGNATURE => "signature",
        Refusal::OTHER_GROUP => "other_group",
        Refusal::UNKNOWN_DEVICE => "unknown_device",
        Refusal::ROLE => "role",
        Refusal::GAP => "gap",
        Refusal::FORK => "fork",
        Refusal::ROLL_UNKNOWN => "roll_unknown",
        Refusal::QUOTA => "quota",
        Refusal::RATE => "rate",
        Refusal::CLOSED => "closed",
        Refusal::STORE => "store",
        Refusal::SHUTDOWN => "shutdown",
        Refusal::TOO_SLOW => "too_slow",
        Refusal::VERSION => "version",
        Refusal::MAILBOX_UNKNOWN => "mailbox_unknown",
        Refusal::MAILBOX_EXPIRED => "mailbox_expired",
        Refusal::MAILBOX_USED => "mailbox_used",
        Refusal::REMOVED => "removed",
        Refusal(_) => "other",
    }
}
