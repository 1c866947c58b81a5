//! A hundred times `SIGKILL`, to the relay and to phones in the middle of writing: nothing that was
//! acknowledged is lost, no log forks, and both start again by themselves.
//!
//! Phones and relay are processes (`lamppost-victim`) over real sockets and real stores; what they say is the
//! journal that is held against what is found after each kill. Chance decides only when a kill falls.
//! `LAMPPOST_KILLS_SEED` draws the same moments again, and the disk's own pace still differs from run to run.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use lamppost_core::base::{DeviceId, DocumentId, EntryHash, GroupId};
use lamppost_core::entry::chain::verify_run;
use lamppost_core::entry::{LogHead, LogId, Received};
use lamppost_core::replica::{
    Delivery, Engine, Environment, Filter, FixedVault, RelayMemory, Replica, Row, SystemClock,
    WebSocketTransport,
};
use lamppost_core::storage::{Options, SledStore, Store as _, StoreKind, Table};
use lamppost_core::sync::session::Budget;
use lamppost_core::watch::{Kind, roles};
use lamppost_scenarios::town::admit;
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng as _, SeedableRng as _};
use tokio::runtime::Runtime;

/// Kills of the relay, and as many of phones.
const KILLS_EACH: u32 = 50;
const PHONES: [(&str, &str); 3] = [("anna", "once"), ("ben", "once"), ("cleo", "live")];

/// One value each, by name, on a phone's disk.
const META: Table = Table(1);
/// compartment ‖ device ‖ seq → entry, on a phone's disk.
const ENTRIES: Table = Table(2);

/// Longest wait for a process to say something; past that it has not started again by itself.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn a_hundred_kills_lose_nothing_acknowledged_and_fork_no_log() {
    let begun = Instant::now();
    let seed = std::env::var("LAMPPOST_KILLS_SEED").ok().map(|seed| seed.parse().unwrap());
    let seed: u64 = seed.unwrap_or_else(|| getrandom::u64().unwrap());
    println!("LAMPPOST_KILLS_SEED={seed}");
    let root = tempfile::tempdir().unwrap();
    let mut town = Town::found(root.path(), seed);
    let mut left = [KILLS_EACH; 2];
    while left.iter().sum::<u32>() > 0 {
        let hits_relay = town.chance.below(left.iter().sum()) < left[0];
        let victim = if hits_relay { 0 } else { 1 + town.chance.below(PHONES.len() as u32) as usize };
        let left = &mut left[usize::from(!hits_relay)];
        town.kill_at_work(victim);
        *left -= 1;
        while *left > 0 && town.chance.below(5) == 0 {
            town.kill_while_it_opens(victim);
            *left -= 1;
        }
        if !hits_relay {
            town.check_phone(victim);
        }
        town.start(victim);
        town.await_open(victim);
        if hits_relay {
            town.check_relay();
        }
        town.check_faults();
    }
    let observations = town.settle();
    println!("relay {:?}\nphones {:?}", town.tallies[0], town.tallies[1]);
    println!("{observations} observations, {:.1} s", begun.elapsed().as_secs_f64());
    for tally in &town.tallies {
        assert_eq!(tally.kills, KILLS_EACH);
        assert!(tally.in_a_write > 0 && tally.with_unacked > 0, "the kills missed what they aim at");
    }
}

struct Chance(ChaCha8Rng);

impl Chance {
    fn below(&mut self, end: u32) -> u32 {
        self.0.next_u32() % end
    }

    /// Sleeps for so long at most, and often for much less: what is aimed at may be over soon.
    fn pause(&mut self, micros_max: u32) {
        let micros_max = micros_max >> self.below(8);
        std::thread::sleep(Duration::from_micros(u64::from(self.below(micros_max))));
    }
}

/// How the kills fell.
#[derive(Debug, Default)]
struct Tally {
    kills: u32,
    /// Into a durable write that was under way.
    in_a_write: u32,
    /// Into the recording of an observation.
    in_recording: u32,
    /// Into the opening of the store.
    in_opening: u32,
    /// While something was recorded and not acknowledged: by the phone that was killed, or by any.
    with_unacked: u32,
}

/// The relay and three volunteers as processes; two coordinators in this one, who see everything.
struct Town {
    root: PathBuf,
    runtime: Runtime,
    chance: Chance,
    port: u16,
    /// The relay first, then the phones.
    programs: Vec<Program>,
    /// Syncs again and again: to it the relay has to prove that its history goes on.
    founder: Phone,
    /// What the founder remembers of the relay.
    relay: Option<RelayMemory>,
    logs: Logs,
    /// Of the relay, and of the phones.
    tallies: [Tally; 2],
}

impl Town {
    fn found(root: &Path, seed: u64) -> Self {
        let runtime = Runtime::new().unwrap();
        let founder = Phone::open(&root.join("founder"));
        let info = runtime.block_on(founder.replica.found()).unwrap();
        let newcomer = Phone::open(&root.join("newcomer"));
        let volunteers = PHONES.map(|(name, _)| Phone::open(&root.join(name)));
        let mut newcomers = vec![(&newcomer.replica, roles::ROLE_COORDINATOR)];
        newcomers.extend(volunteers.iter().map(|phone| (&phone.replica, roles::ROLE_VOLUNTEER)));
        runtime.block_on(admit(&founder.replica, &newcomers));
        drop((newcomer, volunteers));
        let mut chance = Chance(ChaCha8Rng::seed_from_u64(seed));
        let mut town = Self {
            root: root.to_owned(),
            runtime,
            port: free_port(&mut chance),
            chance,
            programs: (0..=PHONES.len()).map(|_| Program::default()).collect(),
            founder,
            relay: None,
            logs: Logs { group: info.group, hashes_by_log: BTreeMap::new() },
            tallies: Default::default(),
        };
        for program in 0..town.programs.len() {
            town.start(program);
            town.await_open(program);
        }
        town
    }

    fn start(&mut self, victim: usize) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lamppost-victim"));
        match victim.checked_sub(1).map(|phone| PHONES[phone]) {
            None => command.arg("relay").arg(self.root.join("relay")).arg(self.port.to_string()),
            Some((name, link)) => command.arg("phone").arg(self.root.join(name)).args([&self.url(), link]),
        };
        self.programs[victim].start(&mut command);
    }

    fn url(&self) -> String {
        format!("ws://127.0.0.1:{}/v1/session", self.port)
    }

    fn await_open(&self, victim: usize) {
        self.programs[victim].wait_for(|said| said.open);
    }

    /// Lets all phones write and send, and kills at a random moment of it.
    fn kill_at_work(&mut self, victim: usize) {
        let writes_before = self.programs[victim].said().writes;
        for phone in 1..self.programs.len() {
            let count = 1 + self.chance.below(3);
            self.programs[phone].tell(&format!("write {count}"));
        }
        if self.chance.below(3) == 0 {
            self.chance.pause(60_000);
        } else {
            // Into one of the next durable writes, if there are any: phones may be waiting to connect again.
            let nth = 1 + self.chance.below(4);
            self.programs[victim]
                .watch(Duration::from_millis(500), |said| said.writes >= writes_before + nth);
            self.chance.pause(1_000);
        }
        self.kill(victim);
    }

    fn kill_while_it_opens(&mut self, victim: usize) {
        self.start(victim);
        self.chance.pause(40_000);
        self.kill(victim);
    }

    fn kill(&mut self, victim: usize) {
        self.programs[victim].kill();
        let concerned = if victim == 0 { &self.programs[1..] } else { &self.programs[victim..=victim] };
        let tally = &mut self.tallies[usize::from(victim > 0)];
        tally.kills += 1;
        tally.with_unacked += u32::from(concerned.iter().any(|phone| phone.said().has_unacked()));
        let said = self.programs[victim].said();
        tally.in_a_write += u32::from(said.writing);
        tally.in_recording += u32::from(said.recording);
        tally.in_opening += u32::from(!said.open);
    }

    /// What a phone ever reported as recorded is there when its store is opened again, in its newest words.
    fn check_phone(&mut self, victim: usize) {
        let (name, _) = PHONES[victim - 1];
        let phone = Phone::open(&self.root.join(name));
        let (rows, device) = self.runtime.block_on(phone.rows());
        let said = self.programs[victim].said();
        for (id, (text, version)) in &said.recorded {
            let row = rows.get(id).unwrap_or_else(|| panic!("{name} lost {text} v{version}"));
            assert!(row.words.1 >= *version, "{name} lost version {version} of {text}");
        }
        for (id, version) in &said.acked {
            let row = rows.get(id).unwrap_or_else(|| panic!("{name} lost {id:?}"));
            assert!(row.words.1 >= *version, "{name} lost version {version} of {id:?}");
            let is_the_one_acked = row.words.1 == *version;
            assert!(
                !is_the_one_acked || row.delivery == Delivery::AtRelay,
                "{name} forgot that {id:?} is away"
            );
        }
        // What it did not report was begun, and is whole: an observation and its sealed part are one write.
        let own = |kind: Kind| {
            rows.values().filter(move |row| row.row.kind == kind && row.words.0.starts_with(name))
        };
        for row in own(Kind::OBSERVATION) {
            assert!(said.begun.get(&row.words.0) >= Some(&row.words.1), "{name} never wrote {:?}", row.words);
        }
        let words = |row: &Listed| row.words.clone();
        let with_sealed = own(Kind::OBSERVATION).filter(|row| has_sealed_part(&row.words.0));
        let with_sealed: BTreeSet<_> = with_sealed.map(words).collect();
        assert_eq!(with_sealed, own(Kind::SEALED).map(words).collect(), "{name}");
        self.logs.check(&phone.store, Some(device));
        assert_eq!(self.runtime.block_on(phone.replica.set_aside()).unwrap(), [], "{name}");
    }

    /// Whatever the relay ever acknowledged, it hands to somebody who asks for everything for the first time.
    fn check_relay(&mut self) {
        let acked: Vec<_> = self.programs.iter().map(|program| program.said().acked).collect();
        let url = self.url();
        let rows = self.as_newcomer(|town, newcomer| {
            town.runtime.block_on(newcomer.sync(&url));
            town.logs.check(&newcomer.store, None);
            town.runtime.block_on(newcomer.rows()).0
        });
        for (id, version) in acked.into_iter().flatten() {
            let found = rows.get(&id).map(|row| row.words.1);
            assert!(found >= Some(version), "the relay lost {id:?}: {found:?} instead of version {version}");
        }
        // Otherwise phones would offer everything again to a relay that has lost it, and nobody would notice.
        self.runtime.block_on(self.founder.sync(&url));
        let now = self.founder.relay();
        if let Some(before) = self.relay.replace(now.clone()) {
            assert_eq!((now.relay, now.incarnation), (before.relay, before.incarnation));
            assert!(now.checkpoint.unwrap().size >= before.checkpoint.unwrap().size);
        }
    }

    /// Does `work` with a coordinator's phone that has joined and never synced.
    fn as_newcomer<T>(&mut self, work: impl FnOnce(&mut Self, &Phone) -> T) -> T {
        let copy = self.root.join("newcomer's copy");
        copy_directory(&self.root.join("newcomer"), &copy);
        let newcomer = Phone::open(&copy);
        let done = work(self, &newcomer);
        drop(newcomer);
        std::fs::remove_dir_all(copy).unwrap();
        done
    }

    fn check_faults(&self) {
        for program in &self.programs {
            assert_eq!(program.said().faults, Vec::<String>::new());
        }
    }

    /// Lets everybody send and fetch everything: all hold the same then. Answers how many observations.
    fn settle(&mut self) -> usize {
        // The first to settle has yet to fetch what the last one sent.
        for round in 1..=2 {
            for phone in &mut self.programs[1..] {
                phone.tell("settle");
                phone.wait_for(|said| said.settled == round);
            }
        }
        self.check_relay();
        self.check_faults();
        let (expected, _) = self.runtime.block_on(self.founder.rows());
        let observations = |rows: &BTreeMap<DocumentId, Listed>| {
            let rows = rows.values().filter(|row| row.row.kind == Kind::OBSERVATION);
            rows.map(|row| (row.row.id, row.words.clone())).collect::<BTreeMap<_, _>>()
        };
        let expected = observations(&expected);
        for victim in 1..self.programs.len() {
            self.programs[victim].kill();
            self.check_phone(victim);
            let phone = Phone::open(&self.root.join(PHONES[victim - 1].0));
            let (rows, _) = self.runtime.block_on(phone.rows());
            assert_eq!(observations(&rows), expected);
            assert!(rows.values().all(|row| row.delivery == Delivery::AtRelay));
            for (id, words) in &self.programs[victim].said().recorded {
                // A newer version than the one reported was under way when its phone was killed.
                assert!(expected[id] == *words || expected[id].1 > words.1, "{words:?}: {:?}", expected[id]);
            }
        }
        expected.len()
    }
}

/// A port that the system does not hand out by itself, as it might to a phone that looks for a dead relay.
fn free_port(chance: &mut Chance) -> u16 {
    let mut ports = std::iter::repeat_with(|| 20_000 + chance.below(10_000) as u16);
    ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).unwrap()
}

fn copy_directory(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for child in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(child.file_name());
        if child.path().is_dir() {
            copy_directory(&child.path(), &to);
        } else {
            std::fs::copy(child.path(), to).unwrap();
        }
    }
}

/// `anna 12 v3` as what it is about and its version; a sealed part begins with the address.
fn parse_words(text: &str) -> (String, u32) {
    let text = text.strip_prefix("12 Invented Street ").unwrap_or(text);
    let (about, version) = text.rsplit_once(" v").unwrap();
    (about.to_owned(), version.parse().unwrap())
}

/// As `lamppost-victim` writes them.
fn has_sealed_part(about: &str) -> bool {
    let (_, number) = about.split_once(' ').unwrap();
    number.parse::<usize>().unwrap().is_multiple_of(2)
}

/// A process that is killed and started again, and all that it said in all its lives.
#[derive(Default)]
struct Program {
    running: Option<(Child, JoinHandle<()>)>,
    said: Arc<(Mutex<Said>, Condvar)>,
}

#[derive(Clone, Default)]
struct Said {
    // Of this life.
    open: bool,
    writes: u32,
    writing: bool,
    recording: bool,
    ended: bool,
    // Of all lives.
    begun: BTreeMap<String, u32>,
    recorded: BTreeMap<DocumentId, (String, u32)>,
    acked: BTreeMap<DocumentId, u32>,
    settled: u32,
    faults: Vec<String>,
}

impl Said {
    fn begin_life(&mut self) {
        (self.open, self.writes, self.writing, self.recording, self.ended) = (false, 0, false, false, false);
    }

    fn has_unacked(&self) -> bool {
        self.recorded.iter().any(|(id, (_, version))| self.acked.get(id) < Some(version))
    }

    fn hear(&mut self, line: &str) {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let document = || {
            let (id, text) = rest.split_once(' ').unwrap();
            (DocumentId::parse(id).unwrap(), parse_words(text))
        };
        match word {
            "open" => self.open = true,
            "writing" => (self.writing, self.writes) = (true, self.writes + 1),
            "written" => self.writing = false,
            "recording" => {
                self.recording = true;
                self.begun.extend([parse_words(rest)]);
            }
            "recorded" => {
                self.recording = false;
                self.recorded.extend([document()]);
            }
            "acked" => {
                let (id, (_, version)) = document();
                if self.acked.insert(id, version) > Some(version) {
                    self.faults.push(format!("an older version was acknowledged later: {line}"));
                }
            }
            "settled" => self.settled += 1,
            "fault" => self.faults.push(rest.to_owned()),
            _ => self.faults.push(line.to_owned()),
        }
    }
}

impl Program {
    fn start(&mut self, command: &mut Command) {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let said = Arc::clone(&self.said);
        said.0.lock().unwrap().begin_life();
        let reader = std::thread::spawn(move || {
            let (said, grown) = &*said;
            for line in lines.map_while(Result::ok) {
                said.lock().unwrap().hear(&line);
                grown.notify_all();
            }
            said.lock().unwrap().ended = true;
            grown.notify_all();
        });
        self.running = Some((child, reader));
    }

    /// Kills it and hears it out: what it said before it died is still in the pipe.
    fn kill(&mut self) {
        let (mut child, reader) = self.running.take().unwrap();
        child.kill().unwrap();
        let status = child.wait().unwrap();
        reader.join().unwrap();
        assert_eq!(status.code(), None, "it ended by itself");
    }

    fn tell(&mut self, command: &str) {
        let (child, _) = self.running.as_mut().unwrap();
        child.stdin.as_mut().unwrap().write_all(format!("{command}\n").as_bytes()).unwrap();
    }

    /// What it has said so far. A copy: a check that fails must not hold up what it goes on to say.
    fn said(&self) -> Said {
        self.said.0.lock().unwrap().clone()
    }

    fn wait_for(&self, is_so: impl Fn(&Said) -> bool) {
        let done = self.watch(PATIENCE, |said| is_so(said) || said.ended || !said.faults.is_empty());
        let said = self.said();
        assert!(done && is_so(&said), "ended: {}, faults: {:?}", said.ended, said.faults);
    }

    /// Waits until it has said so, or for so long; answers whether it has.
    fn watch(&self, patience: Duration, is_so: impl Fn(&Said) -> bool) -> bool {
        let (said, grown) = &*self.said;
        let waited = grown.wait_timeout_while(said.lock().unwrap(), patience, |said| !is_so(said));
        !waited.unwrap().1.timed_out()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if let Some((mut child, _)) = self.running.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A phone in this process, and the store beneath it.
struct Phone {
    store: Arc<SledStore>,
    replica: Replica,
}

/// A row as it is listed, with its words read.
struct Listed {
    row: Row,
    delivery: Delivery,
    words: (String, u32),
}

impl Phone {
    fn open(directory: &Path) -> Self {
        let store = Arc::new(SledStore::open(directory, Options::new(StoreKind::Phone)).unwrap());
        let engine = Engine::open(Environment {
            store: Arc::<SledStore>::clone(&store),
            vault: Arc::new(FixedVault::new([7; 32])),
            clock: Arc::new(SystemClock),
            entropy: Box::new(rand_core::UnwrapErr(getrandom::SysRng)),
        });
        let replica = Replica::with(engine.unwrap(), Arc::new(WebSocketTransport::default()));
        Self { store, replica }
    }

    async fn rows(&self) -> (BTreeMap<DocumentId, Listed>, DeviceId) {
        let rows =
            self.replica.list(Filter { all_kinds: true, ..Filter::default() }).await.unwrap().into_iter();
        let rows = rows.map(|(row, delivery)| {
            let words = parse_words(&row.text);
            (row.id, Listed { row, delivery, words })
        });
        (rows.collect(), self.replica.info().await.unwrap().device)
    }

    /// What it remembers of the relay.
    fn relay(&self) -> RelayMemory {
        minicbor::decode(&self.store.get(META, b"relay").unwrap().unwrap()).unwrap()
    }

    /// One sync in which nobody does anything wrong.
    async fn sync(&self, url: &str) {
        let report = self.replica.sync_once(url, Budget::UNLIMITED).await.unwrap();
        assert!(report.caught_up && report.received.warnings.is_empty(), "{report:?}");
        assert!(report.refused.is_empty() && report.postponed.is_empty(), "{report:?}");
        assert_eq!(self.replica.set_aside().await.unwrap(), []);
    }
}

/// Every log as it was first found in any store. No entry of it may ever be another, anywhere.
struct Logs {
    group: GroupId,
    hashes_by_log: BTreeMap<LogId, Vec<EntryHash>>,
}

impl Logs {
    /// Holds a store against what is known. The device named, if it is its store, has its own logs whole.
    fn check(&mut self, store: &SledStore, own: Option<DeviceId>) {
        let mut found: BTreeMap<LogId, Vec<Received>> = BTreeMap::new();
        for (_, bytes) in store.scan(ENTRIES, &[], None, usize::MAX).unwrap() {
            let entry = Received::from_bytes(&bytes).unwrap();
            found.entry(LogId::of(&entry)).or_default().push(entry);
        }
        for (log, hashes) in &self.hashes_by_log {
            let here = found.get(log).map_or(0, Vec::len);
            assert!(own != Some(log.device) || here >= hashes.len(), "{log:?} lost its end");
        }
        for (log, entries) in found {
            let known = self.hashes_by_log.entry(log).or_default();
            let mut new = entries;
            let old: Vec<_> = new.drain(..known.len().min(new.len())).collect();
            assert!(
                old.iter().map(Received::hash).eq(known.iter().copied().take(old.len())),
                "{log:?} forked"
            );
            let head = known.last().map(|hash| LogHead { seq: known.len() as u64 - 1, hash: *hash });
            let run = verify_run(self.group, head, new);
            assert!(run.refused.is_none(), "{log:?}: {:?}", run.refused);
            known.extend(run.verified.iter().map(|entry| entry.hash()));
        }
    }
}
