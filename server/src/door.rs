//! The door: connections that have not proven yet whose they are.
//!
//! Each has a place from the moment it is accepted until it has proven who it is, and at most the time of a handshake.
//! When all places are taken, whoever has stood there longest makes room: a phone needs one round trip, and whoever says
//! nothing is the oldest soon.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::time;
use tower_service::Service as _;

use crate::app::{App, Stage};
use crate::inflow::{Meter, Metered};
use crate::places::Address;
use crate::relay::lock;

/// Bytes of a request before the upgrade. 8 KiB is the least that the HTTP library takes.
const REQUEST_BYTES_MAX: usize = 8 * 1_024;

/// How long nothing is accepted after the system refused, as it does without free file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Places for connections that have not proven who they are.
pub struct Door {
    places: usize,
    address_places: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    next: u64,
    /// By arrival.
    waiting: BTreeMap<u64, (Option<Address>, Arc<Notify>)>,
    by_address: HashMap<Address, usize>,
}

/// A connection's place at the door. Dropping it gives the place back.
pub struct Visitor {
    door: Arc<Door>,
    number: u64,
    make_room: Arc<Notify>,
}

impl Door {
    /// Sets up so many places, and so many of them for one address.
    pub fn new(places: usize, address_places: usize) -> Self {
        Self { places, address_places, state: Mutex::default() }
    }

    /// Takes a place. Whoever has stood there longest makes room if there is none.
    pub fn enter(self: &Arc<Self>, address: Option<Address>) -> Visitor {
        let mut state = lock(&self.state);
        let of_address = address.and_then(|address| state.by_address.get(&address).copied());
        let oldest = if of_address.unwrap_or_default() >= self.address_places {
            state.waiting.iter().find(|(_, (at, _))| *at == address).map(|(number, _)| *number)
        } else if state.waiting.len() >= self.places {
            state.waiting.first_key_value().map(|(number, _)| *number)
        } else {
            None
        };
        if let Some(make_room) = oldest.and_then(|number| state.remove(number)) {
            make_room.notify_one();
        }
        let (number, make_room) = (state.next, Arc::new(Notify::new()));
        state.next += 1;
        state.waiting.insert(number, (address, Arc::clone(&make_room)));
        if let Some(address) = address {
            *state.by_address.entry(address).or_default() += 1;
        }
        Visitor { door: Arc::clone(self), number, make_room }
    }

    /// How many stand at the door.
    pub fn waiting(&self) -> usize {
        lock(&self.state).waiting.len()
    }
}

impl State {
    fn remove(&mut self, number: u64) -> Option<Arc<Notify>> {
        let (address, make_room) = self.waiting.remove(&number)?;
        if let Some(address) = address
            && let Some(count) = self.by_address.get_mut(&address)
        {
            *count -= 1;
            if *count == 0 {
                self.by_address.remove(&address);
            }
        }
        Some(make_room)
    }
}

impl Visitor {
    /// Waits until this one is to make room.
    pub async fn evicted(&self) {
        self.make_room.notified().await;
    }
}

impl Drop for Visitor {
    fn drop(&mut self) {
        drop(lock(&self.door.state).remove(self.number));
    }
}

/// What a request knows of its connection.
#[derive(Clone)]
pub struct Caller {
    /// The peer of the connection: a phone, or a proxy.
    pub peer: IpAddr,
    /// What came and was not a whole message yet.
    pub meter: Arc<Meter>,
    /// The place at the door, until the WebSocket takes it along.
    pub visitor: Arc<Mutex<Option<Visitor>>>,
}

/// Accepts connections until the relay drains.
pub async fn run(app: Arc<App>, listener: TcpListener, router: Router, mut stage: watch::Receiver<Stage>) {
    loop {
        let accepted = tokio::select! {
            biased;
            _ = stage.wait_for(|stage| *stage >= Stage::Draining) => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => drop(tokio::spawn(serve(Arc::clone(&app), stream, peer, router.clone()))),
            Err(why) => {
                app.metrics.turned_away("accept");
                app.notices.accept_failed(&why);
                time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Serves one connection up to the answer, or the upgrade to a session.
async fn serve(app: Arc<App>, stream: TcpStream, peer: SocketAddr, router: Router) {
    // Frames are whole messages: waiting to fill a packet only adds delay.
    drop(stream.set_nodelay(true));
    let peer = peer.ip();
    // What a proxy says is known once the request is here: before that only its own address is.
    let address = Address::of(peer, &app.settings.proxies, None);
    let visitor = Arc::new(Mutex::new(Some(app.door.enter(address))));
    let make_room = lock(&visitor).as_ref().map(|visitor| Arc::clone(&visitor.make_room));
    let meter = Arc::new(Meter::new(app.begun));
    let caller = Caller { peer, meter: Arc::clone(&meter), visitor: Arc::clone(&visitor) };
    let served = Arc::new(AtomicBool::new(false));
    let serving = Arc::clone(&served);
    let service = service_fn(move |request: Request<Incoming>| {
        serving.store(true, Ordering::Relaxed);
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(caller.clone());
        router.clone().call(request)
    });
    let handshake = Duration::from_millis(app.settings.handshake_ms);
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(handshake).max_buf_size(REQUEST_BYTES_MAX);
    let io = TokioIo::new(Metered::new(stream, meter));
    let connection = http.serve_connection(io, service).with_upgrades();
    let make_room = async {
        match make_room {
            Some(make_room) => make_room.notified().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        // A connection that breaks off is the other side's business.
        _ = connection => {}
        () = make_room => app.metrics.turned_away("door"),
        () = time::sleep(handshake) => {
            // Whoever got an answer and keeps the connection open is no trouble.
            if !served.load(Ordering::Relaxed) {
                app.metrics.turned_away("late");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_makes_room_and_nothing_stays_behind() {
        let door = Arc::new(Door::new(3, 2));
        let address = |n: u8| Address::of(IpAddr::from([192, 0, 2, n]), &[], None);
        let first = door.enter(address(1));
        let second = door.enter(address(1));
        let third = door.enter(address(1));
        assert_eq!(door.waiting(), 2, "of one address");
        assert!(matches!(lock(&door.state).waiting.first_key_value(), Some((1, _))));
        let others = [door.enter(address(2)), door.enter(address(3))];
        assert_eq!(door.waiting(), 3);
        drop((first, second, third, others));
        assert!(lock(&door.state).waiting.is_empty() && lock(&door.state).by_address.is_empty());
    }
}
