//! One relay under floods: what an honest push takes beside each, what each connection costs, and what the operator sees.

mod attacks;
mod village;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::{SinkExt as _, StreamExt as _};
use lamppost_core::base::cose::{self, Purpose};
use lamppost_core::base::{GroupId, cbor};
use lamppost_core::entry::Wire;
use lamppost_core::sync::Frame;
use lamppost_core::sync::frame::{Hello, Outcome, Proof, Push, SESSION_VERSION};
use minicbor::bytes::ByteVec;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::fleet::Failure;
use crate::fleet::measure::{Memory, Spread};
use crate::fleet::process::start_flooded_relay;
use attacks::{Attack, Stop};
use village::Village;

/// Bytes of an honest entry's body.
const WORDS_BYTES: usize = 700;

/// Between two honest pushes.
const PAUSE: Duration = Duration::from_millis(50);

/// How long an honest push is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// What `floods` is told.
#[derive(clap::Args)]
pub struct Arguments {
    /// Seconds of each flood.
    #[arg(long, default_value_t = 6)]
    seconds: u64,
    /// Prints one JSON object instead of a table.
    #[arg(long)]
    json: bool,
}

/// Runs every flood and prints what an honest phone and the operator saw of it.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let runtime = tokio::runtime::Runtime::new()?;
    let mut rows = Vec::new();
    for attack in Attack::ALL {
        eprintln!("{}", attack.name());
        rows.push(runtime.block_on(measure(attack, Duration::from_secs(arguments.seconds)))?);
    }
    let quiet = rows.first().cloned().unwrap_or_default();
    for row in &mut rows {
        for value in ["p50", "max"] {
            let ratio = row["honest_push_ms"][value].as_f64().unwrap_or_default()
                / quiet["honest_push_ms"][value].as_f64().unwrap_or(1.0);
            row["ratio_to_quiet"][value] = json!((ratio * 10.0).round() / 10.0);
        }
    }
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&rows)?);
        return Ok(());
    }
    println!(
        "| flood | honest pushes | p50 ms | max ms | p50 / quiet | max / quiet | KB per connection | the operator sees |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for row in &rows {
        let number = |value: &Value| format!("{:.1}", value.as_f64().unwrap_or_default());
        println!(
            "| {} | {} of {} | {} | {} | {} | {} | {} | {} |",
            row["flood"].as_str().unwrap_or_default(),
            row["kept"],
            row["pushed"],
            number(&row["honest_push_ms"]["p50"]),
            number(&row["honest_push_ms"]["max"]),
            number(&row["ratio_to_quiet"]["p50"]),
            number(&row["ratio_to_quiet"]["max"]),
            number(&row["kb_per_connection"]),
            row["operator_sees"].as_str().unwrap_or_default(),
        );
    }
    Ok(())
}

/// One flood against a fresh relay, with an honest phone beside it that connects anew and pushes.
async fn measure(attack: Attack, span: Duration) -> Result<Value, Failure> {
    let directory = tempfile::tempdir()?;
    let (relay, url) = start_flooded_relay(directory.path())?;
    let mut village = Village::new(1);
    let mut phone = Phone::open(&url, &village).await?;
    phone.push(0, vec![village.founding.clone()]).await?;
    let before = metrics(&url).await?;
    let memory_before = Memory::of(relay.pid())?.now_bytes;

    let stop: Stop = Arc::new(AtomicBool::new(false));
    let flood = attack.start(url.clone(), village.clone(), Arc::clone(&stop)).await?;
    sleep(Duration::from_millis(500)).await;
    let begun = Instant::now();
    let (mut took, mut pushed, mut kept) = (Vec::new(), 0_u32, 0_u32);
    while begun.elapsed() < span {
        let words = village.words(1, WORDS_BYTES);
        let at = Instant::now();
        pushed += 1;
        // Every fourth time over a new connection, as a phone that comes and goes.
        let outcome = timeout(PATIENCE, async {
            if pushed % 4 == 0 {
                phone = Phone::open(&url, &village).await?;
            }
            phone.push(pushed, words).await
        });
        match outcome.await {
            Ok(Ok(outcomes)) if outcomes.iter().all(|outcome| *outcome == Outcome::Kept) => kept += 1,
            Ok(Ok(outcomes)) => eprintln!("refused: {outcomes:?}"),
            Ok(Err(why)) => eprintln!("broken off: {why}"),
            Err(_) => eprintln!("no answer in {PATIENCE:?}"),
        }
        took.push(at.elapsed().as_secs_f64() * 1e3);
        sleep(PAUSE).await;
    }
    let memory = Memory::of(relay.pid())?;
    let seen = timeout(PATIENCE, metrics(&url)).await;
    stop.store(true, Ordering::Relaxed);
    let connections = flood.end().await;
    let sees =
        seen.map_or_else(|_| Ok("nothing: no answer".to_owned()), |after| Ok(differences(&before, &after?)));
    relay.end()?;
    let grown = memory.peak_bytes.saturating_sub(memory_before) as f64 / 1_024.0;
    let sees: Result<String, Failure> = sees;
    Ok(json!({
        "flood": attack.name(),
        "pushed": pushed,
        "kept": kept,
        "honest_push_ms": Spread::of(took),
        "connections": connections,
        "relay_peak_bytes": memory.peak_bytes,
        "kb_per_connection": if connections == 0 { 0.0 } else { grown / connections as f64 },
        "operator_sees": sees?,
        "ratio_to_quiet": {},
    }))
}

/// A phone's end of a session, as little of it as pushing takes.
pub struct Phone {
    pub socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Phone {
    /// Connects and proves that it holds the key of the village's device.
    pub async fn open(url: &str, village: &Village) -> Result<Self, Failure> {
        Self::open_as(url, village.id, village).await
    }

    /// As [`Phone::open`], for whatever group.
    pub async fn open_as(url: &str, group: GroupId, who: &Village) -> Result<Self, Failure> {
        let (socket, _) = tokio_tungstenite::connect_async(url).await?;
        let mut phone = Self { socket };
        let Frame::Challenge(challenge) = phone.hear().await? else { return Err("no challenge".into()) };
        let proof = Proof {
            version: SESSION_VERSION,
            nonce: challenge.nonce,
            relay: challenge.relay,
            group,
            device: who.device(),
            word: None,
        };
        let proof = ByteVec::from(cose::sign(&who.key, Purpose::Session, cbor::encode(&proof)));
        phone.say(&Frame::Hello(Hello { proof, certificate: None })).await?;
        match phone.hear().await? {
            Frame::Welcome(_) => Ok(phone),
            other => Err(format!("no welcome: {other:?}").into()),
        }
    }

    pub async fn say(&mut self, frame: &Frame) -> Result<(), Failure> {
        Ok(self.socket.send(Message::Binary(frame.to_bytes().into())).await?)
    }

    pub async fn hear(&mut self) -> Result<Frame, Failure> {
        loop {
            match self.socket.next().await.ok_or("the relay is gone")?? {
                Message::Binary(bytes) => return Ok(Frame::from_bytes(&bytes)?),
                Message::Close(_) => return Err("the relay closed".into()),
                _ => {}
            }
        }
    }

    async fn push(&mut self, number: u32, entries: Vec<Wire>) -> Result<Vec<Outcome>, Failure> {
        self.say(&Frame::Push(Push { number, entries })).await?;
        loop {
            match self.hear().await? {
                Frame::Ack(ack) if ack.number == number => return Ok(ack.outcomes),
                Frame::Goodbye(why) => return Err(why.reason.into()),
                _ => {}
            }
        }
    }
}

/// The address of a relay in its URL.
pub fn address(url: &str) -> String {
    url.trim_start_matches("ws://").trim_end_matches("/v1/session").to_owned()
}

/// The relay's metrics, by name.
async fn metrics(url: &str) -> Result<BTreeMap<String, f64>, Failure> {
    let mut stream = TcpStream::connect(address(url)).await?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: relay\r\nConnection: close\r\n\r\n").await?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    let lines = text.lines().filter_map(|line| line.rsplit_once(' '));
    Ok(lines.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?))).collect())
}

/// The metrics that tell of a flood, as far as they changed.
fn differences(before: &BTreeMap<String, f64>, after: &BTreeMap<String, f64>) -> String {
    const TELLING: [&str; 5] = [
        "connections_turned_away",
        "places_taken",
        "entries_refused",
        "signatures_checked",
        "pushes_waiting",
    ];
    let telling = after.iter().filter(|(name, _)| TELLING.iter().any(|telling| name.contains(telling)));
    let changed = telling.filter_map(|(name, value)| {
        let change = value - before.get(name).copied().unwrap_or_default();
        (change != 0.0).then(|| format!("{} {change:+}", name.trim_start_matches("lamppost_")))
    });
    changed.collect::<Vec<_>>().join("; ")
}
