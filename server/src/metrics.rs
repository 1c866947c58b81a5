//! What an operator can watch. Nothing here tells one group or device from another.

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
    /// Connections turned away because there were too many.
    pub turned_away: Counter,
    groups: Gauge,
    store_bytes: Gauge,
    entries_kept: Counter,
    entries_refused: Family<[(&'static str, &'static str); 1], Counter>,
    commit_entries: Histogram,
    commit_seconds: Histogram,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("lamppost"),
            sessions: Gauge::default(),
            received_bytes: Counter::default(),
            sent_bytes: Counter::default(),
            turned_away: Counter::default(),
            groups: Gauge::default(),
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
        registry.register_with_unit("store", "Size on disk", Unit::Bytes, self.store_bytes.clone());
        let (received, sent) = (self.received_bytes.clone(), self.sent_bytes.clone());
        registry.register_with_unit("received", "Messages from phones", Unit::Bytes, received);
        registry.register_with_unit("sent", "Messages to phones", Unit::Bytes, sent);
        let turned_away = self.turned_away.clone();
        registry.register("connections_turned_away", "Connections refused for lack of room", turned_away);
        registry.register("entries_kept", "Entries written", self.entries_kept.clone());
        let refused = self.entries_refused.clone();
        registry.register("entries_refused", "Pushed entries refused, by reason", refused);
        registry.register("commit_entries", "Entries in one durable write", self.commit_entries.clone());
        let seconds = self.commit_seconds.clone();
        registry.register_with_unit("commit", "Judging and writing one commit", Unit::Seconds, seconds);
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
    pub fn to_text(&self, groups: u64, store_bytes: u64) -> String {
        self.groups.set(i64::try_from(groups).unwrap_or(i64::MAX));
        self.store_bytes.set(i64::try_from(store_bytes).unwrap_or(i64::MAX));
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
