//! Addresses of relays that are not encrypted: refused wherever one comes in.

use super::*;
use crate::entry::invitation::InvitationSecret;
use crate::entry::link::GroupLink;
use crate::replica::{Invitation, LinkState, Replica, WebSocketTransport};
use crate::sync::session::Budget;

const PLAIN: [&str; 3] = [
    "ws://relay.example.invalid/v1/session",
    "WS://198.51.100.1/v1/session",
    "ws://127.0.0.1.example.invalid/",
];

fn is_refused<T>(outcome: Result<T, Error>) -> bool {
    matches!(outcome, Err(Error::Address(why)) if why.contains("not encrypted"))
}

#[test]
fn no_entrance_takes_a_relay_without_encryption() {
    let Town { mut carla, .. } = town();
    for url in PLAIN {
        assert!(is_refused(carla.set_relay_url(url)), "{url}");
        let mut newcomer = engine(8);
        let (group, role) = (carla.group_id().unwrap(), RoleId(roles::ROLE_VOLUNTEER));
        carla.admit(&newcomer.request(group).unwrap(), role).unwrap();
        let admission = Admission { relay_url: Some(url.to_owned()), ..carla.admission().unwrap() };
        assert!(is_refused(newcomer.join(&admission)), "{url}");
        let link = GroupLink { relay_url: url.to_owned(), group };
        assert!(is_refused(newcomer.join_by_link(&link)), "{url}");
        let secret = InvitationSecret([1; 16]);
        let invitation =
            Invitation { relay_url: url.to_owned(), group, role, secret, expires_s: 1_790_000_000 };
        assert!(is_refused(newcomer.ask_to_join(&invitation)), "{url}");
        assert_eq!(newcomer.group_id(), None);
        assert!(newcomer.joining().unwrap().is_none());
        // The rest of that admission is good.
        let relay_url = Some("WSS://relay.example.org/v1/session".to_owned());
        newcomer.join(&Admission { relay_url, ..admission }).unwrap();
        let known = newcomer.relay_memory().url;
        assert_eq!(known.as_deref(), Some("wss://relay.example.org/v1/session"));
    }
}

#[tokio::test]
async fn no_session_begins_without_encryption() {
    let Town { carla, .. } = town();
    let phone = Replica::with(carla, Arc::new(WebSocketTransport::default()));
    for url in PLAIN {
        assert!(is_refused(phone.sync_once(url, Budget::UNLIMITED).await), "{url}");
        let mut live = phone.go_live(url);
        let stopped = loop {
            if let LinkState::Stopped(why) = live.changed().await.unwrap() {
                break why;
            }
        };
        assert!(stopped.contains("not encrypted"), "{stopped}");
    }
}
