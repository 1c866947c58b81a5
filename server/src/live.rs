//! Carries out what a session's machine decides, over one WebSocket.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::ws::{Message, WebSocket};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use lamppost_core::base::limits;
use lamppost_core::sync::frame::{Refused, Standing};
use tokio::sync::{mpsc, watch};
use tokio::time::{self, MissedTickBehavior};

use crate::app::{App, Stage};
use crate::door::{Caller, Visitor};
use crate::hub::Followed;
use crate::inflow::{Meter, Room};
use crate::places::{Address, Guest, Place};
use crate::query::{Query, Reply};
use crate::queue::{Class, Job};
use crate::relay::{Answer, lock};
use crate::session::{Effect, Input, Opening, Session};

const PING_EVERY: Duration = Duration::from_secs(20);

/// How long the last words to a phone may take.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How long a phone is listened to after the session has ended.
const LINGER: Duration = Duration::from_secs(2);

/// How often a session looks at the time.
const TICK_MS_MAX: u64 = 5_000;

/// Runs one session to its end. `address` is what its device is counted by as long as it does not belong.
pub async fn run(app: Arc<App>, socket: WebSocket, caller: Caller, address: Option<Address>) {
    let Some(visitor) = lock(&caller.visitor).take() else { return };
    let mut nonce = [0; 32];
    if getrandom::fill(&mut nonce).is_err() {
        tracing::error!("the system gives no random bytes: a session was turned away");
        return;
    }
    app.metrics.sessions.inc();
    app.open.send_modify(|open| *open += 1);
    let opening = Opening {
        relay: app.relay.id(),
        incarnation: app.relay.incarnation(),
        nonce,
        handshake_ms: app.settings.handshake_ms,
        slow_reader_ms: app.settings.slow_reader_ms,
        stranger_ms: app.settings.stranger_ms,
    };
    let (sink, stream) = socket.split();
    let (frames, frames_out) = mpsc::channel(1);
    let (sent_in, sent) = mpsc::channel(1);
    let writer = tokio::spawn(write(sink, frames_out, sent_in));
    let (answers_in, answers) = mpsc::channel(limits::PUSH_FRAMES_IN_FLIGHT_MAX);
    let line = Line {
        app: Arc::clone(&app),
        stream,
        frames,
        sent,
        answers,
        answers_in,
        followed: None,
        meter: caller.meter,
        address,
        visitor: Some(visitor),
        place: None,
        under_way: VecDeque::new(),
        room: None,
    };
    line.run(Session::new(opening)).await;
    let abort = writer.abort_handle();
    if time::timeout(LAST_WORDS, writer).await.is_err() {
        abort.abort();
    }
    app.metrics.sessions.dec();
    app.open.send_modify(|open| *open -= 1);
}

/// Sends frames one by one, says when each is taken, and pings in between.
async fn write(
    mut sink: SplitSink<WebSocket, Message>,
    mut frames: mpsc::Receiver<Vec<u8>>,
    sent: mpsc::Sender<()>,
) {
    let mut ping = time::interval_at(time::Instant::now() + PING_EVERY, PING_EVERY);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let (message, is_frame) = tokio::select! {
            frame = frames.recv() => match frame {
                Some(bytes) => (Message::Binary(Bytes::from(bytes)), true),
                None => break,
            },
            _ = ping.tick() => (Message::Ping(Bytes::new()), false),
        };
        if sink.send(message).await.is_err() || (is_frame && sent.send(()).await.is_err()) {
            break;
        }
    }
    let _ = sink.close().await;
}

/// A session's connections to the outside.
struct Line {
    app: Arc<App>,
    stream: SplitStream<WebSocket>,
    frames: mpsc::Sender<Vec<u8>>,
    sent: mpsc::Receiver<()>,
    answers: mpsc::Receiver<Answer>,
    answers_in: mpsc::Sender<Answer>,
    followed: Option<Followed>,
    meter: Arc<Meter>,
    address: Option<Address>,
    /// The place at the door, until the device has proven who it is.
    visitor: Option<Visitor>,
    /// The place of the session, from then on.
    place: Option<Place>,
    /// Whose pushes are under way: as long as one is a stranger's, so are those behind it, which keeps their order.
    under_way: VecDeque<Class>,
    /// The room that the message in hand takes up.
    room: Option<Room>,
}

impl Line {
    async fn run(mut self, mut session: Session) {
        let settings = self.app.settings.clone();
        let shortest_ms = settings.slow_reader_ms.min(settings.handshake_ms).min(settings.message_ms);
        let tick_ms = (shortest_ms / 4).clamp(10, TICK_MS_MAX);
        let mut tick = time::interval(Duration::from_millis(tick_ms));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut stage = self.app.stage.clone();
        let mut end = Stage::Draining;
        loop {
            let wants_input = session.wants_input();
            let input = tokio::select! {
                message = self.stream.next(), if wants_input => match self.read(message) {
                    Some(input) => input,
                    None => return,
                },
                taken = self.sent.recv() => match taken {
                    Some(()) => Input::Sent,
                    None => return,
                },
                Some(answer) = self.answers.recv() => {
                    self.under_way.pop_front();
                    match self.sit(answer.belongs) {
                        Ok(()) => Input::Committed(answer),
                        Err(why) => Input::NoPlace(why),
                    }
                }
                () = grown(&mut self.followed) => Input::Grown,
                () = evicted(self.visitor.as_ref()) => {
                    self.app.metrics.turned_away("door");
                    return;
                }
                _ = tick.tick() => match self.meter.unfinished_ms() {
                    Some(ms) if wants_input && ms >= settings.message_ms => Input::Stalled,
                    Some(_) | None => Input::Tick,
                },
                () = reached(&mut stage, end) => {
                    if end == Stage::Stopped {
                        return;
                    }
                    end = Stage::Stopped;
                    Input::Shutdown
                }
            };
            if self.handle(&mut session, input).await.is_none() {
                return self.linger().await;
            }
            self.room = None;
        }
    }

    /// Takes what the phone was still sending when the session ended: a socket that is closed over unread bytes is reset, and
    /// the last words with it.
    async fn linger(self) {
        let Self { mut stream, frames, .. } = self;
        drop(frames);
        let unread = async { while let Some(Ok(_)) = stream.next().await {} };
        let _ = time::timeout(LINGER, unread).await;
    }

    /// Turns what came over the socket into an input; none if the phone is gone.
    fn read(&mut self, message: Option<Result<Message, axum::Error>>) -> Option<Input> {
        match message? {
            Ok(Message::Binary(bytes)) => {
                self.app.metrics.received_bytes.inc_by(bytes.len() as u64);
                self.room = self.meter.took_message();
                Some(Input::Message(bytes.into()))
            }
            Ok(Message::Ping(bytes) | Message::Pong(bytes)) => {
                self.meter.took_control(bytes.len());
                Some(Input::Heard)
            }
            Ok(Message::Text(_)) => Some(Input::Unreadable("frames travel in binary messages")),
            Ok(Message::Close(_)) => None,
            Err(_) => Some(Input::Unreadable("a message that is too large, or not of a WebSocket")),
        }
    }

    /// Gives the machine an input and whatever follows from it. None when the session is over.
    async fn handle(&mut self, session: &mut Session, input: Input) -> Option<()> {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            for effect in session.handle(input, self.app.elapsed_ms()) {
                match effect {
                    Effect::Send(bytes) => {
                        self.app.metrics.sent_bytes.inc_by(bytes.len() as u64);
                        self.frames.send(bytes).await.ok()?;
                    }
                    Effect::Ask(query) => inputs.push_back(Input::Reply(self.ask(query).await)),
                    Effect::Commit(push) => {
                        if !self.app.is_committing() {
                            return None;
                        }
                        let belongs = self.place.as_ref().is_some_and(Place::belongs);
                        let strangers = self.under_way.contains(&Class::Stranger);
                        let class = if belongs && !strangers { Class::Member } else { Class::Stranger };
                        self.under_way.push_back(class);
                        let (room, answer) = (self.room.take(), self.answers_in.clone());
                        self.app.queue.add(Job { push, class, address: self.address, room, answer });
                    }
                    Effect::Follow(group) => self.followed = Some(self.app.hub.follow(group)),
                    Effect::Close(last_words) => {
                        if let Some(bytes) = last_words {
                            let _ = time::timeout(LAST_WORDS, self.frames.send(bytes)).await;
                        }
                        return None;
                    }
                }
            }
        }
        Some(())
    }
}

impl Line {
    /// Asks the relay. What it says of the device decides about the session's place.
    async fn ask(&mut self, query: Query) -> Reply {
        let opens =
            if let Query::Open { group, device, .. } = &query { Some((*group, *device)) } else { None };
        let reply = self.app.ask(query).await;
        let (Some((group, device)), Reply::Opened { welcome, .. }) = (opens, &reply) else { return reply };
        let belongs = welcome.standing == Standing::Belongs;
        let seated = if self.place.is_some() {
            self.sit(belongs)
        } else {
            let guest = Guest { group, device, address: self.address };
            match self.app.places.take(guest, belongs) {
                Ok(place) => {
                    self.place = Some(place);
                    self.visitor = None;
                    self.let_in(belongs);
                    Ok(())
                }
                Err(why) => {
                    self.app.metrics.turned_away(why.name());
                    Err(why.refusal())
                }
            }
        };
        seated.map_or_else(Reply::Refused, |()| reply)
    }

    /// Changes places if the device has come to belong, or does not any more.
    fn sit(&mut self, belongs: bool) -> Result<(), Refused> {
        let Some(place) = self.place.as_mut().filter(|place| place.belongs() != belongs) else {
            return Ok(());
        };
        if let Err(why) = place.set_belongs(belongs) {
            self.app.metrics.turned_away(why.name());
            return Err(why.refusal());
        }
        self.let_in(belongs);
        Ok(())
    }

    /// Lets larger messages come, out of the room of the group or of strangers.
    fn let_in(&self, belongs: bool) {
        let of_group = self.followed.as_ref().filter(|_| belongs).map(Followed::pool);
        let of_group = of_group.unwrap_or_else(|| self.app.strangers_pool.clone());
        self.meter.proven(of_group, self.app.pool.clone());
    }
}

async fn evicted(visitor: Option<&Visitor>) {
    match visitor {
        Some(visitor) => visitor.evicted().await,
        None => std::future::pending().await,
    }
}

async fn grown(followed: &mut Option<Followed>) {
    match followed {
        Some(followed) => followed.grown().await,
        None => std::future::pending().await,
    }
}

async fn reached(stage: &mut watch::Receiver<Stage>, wanted: Stage) {
    // The sender lives as long as the relay runs; without it the relay has stopped.
    let _ = stage.wait_for(|stage| *stage >= wanted).await;
}
