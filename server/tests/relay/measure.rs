use crate::fixture::*;
use crate::sockets::Phone;
use lamppost_core::storage::*;
use lamppost_core::sync::Frame;
use lamppost_core::sync::frame::*;
use lamppost_server::{Layer, Settings};
use std::sync::Arc;
use std::time::Instant;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn measure() {
    let directory = tempfile::tempdir().unwrap();
    let store = SledStore::open(
        directory.path().join("data"),
        Options { cache_bytes: 64 << 20, kind: StoreKind::Relay },
    )
    .unwrap();
    let layer = Layer {
        listen: Some(([127, 0, 0, 1], 0).into()),
        device_entries_per_minute: Some(10_000_000),
        ..Layer::default()
    };
    let running =
        lamppost_server::start(Settings::from_layer(layer).unwrap(), Arc::new(store)).await.unwrap();
    let mut world = World::new(1);
    let mut people: Vec<Person> = (2..66).map(Person::new).collect();
    for person in &people {
        world.admit(person, VOLUNTEER);
    }
    let (mut phone, _) = Phone::open(&running.url(), &world, &world.founder).await;
    phone.push(0, &world.roll).await.unwrap();
    // Bulk: frames of 200 entries of 700 bytes, 4 under way.
    let mut bulk = people[0].clone();
    let mut frames = Vec::new();
    for _ in 0..100 {
        let mut entries = Vec::new();
        while entries.len() < 200 {
            entries.extend(world.words(&mut bulk, GROUP, &[1; 700]));
        }
        frames.push(wires(&entries));
    }
    let total: usize = frames.iter().map(Vec::len).sum();
    let (mut writer, _) = Phone::open(&running.url(), &world, &bulk).await;
    let begun = Instant::now();
    let (mut sent, mut acked) = (0, 0);
    while acked < frames.len() {
        while sent < frames.len() && sent - acked < 4 {
            writer.say(&Frame::Push(Push { number: sent as u32, entries: frames[sent].clone() })).await;
            sent += 1;
        }
        let Some(Frame::Ack(ack)) = writer.hear().await else { panic!() };
        assert!(ack.outcomes.iter().all(|o| *o == Outcome::Kept));
        acked += 1;
    }
    println!("bulk push: {:.0} entries/s", total as f64 / begun.elapsed().as_secs_f64());
    // Fetch it all.
    let begun = Instant::now();
    phone
        .say(&Frame::Pull(Pull { cursors: vec![Cursor { compartment: GROUP, after: 0 }], live: false }))
        .await;
    let mut count = 0;
    loop {
        match phone.hear().await.unwrap() {
            Frame::Entries(e) => count += e.entries.len(),
            Frame::CaughtUp => break,
            _ => panic!(),
        }
    }
    println!("fetch: {:.0} entries/s ({count})", count as f64 / begun.elapsed().as_secs_f64());
    // One entry at a time, 1 and 64 phones.
    for phones in [1_usize, 64] {
        let begun = Instant::now();
        let mut tasks = Vec::new();
        for person in people[people.len() - phones..].iter().cloned() {
            let (url, world) = (running.url(), world.clone());
            tasks.push(tokio::spawn(async move {
                let mut person = person;
                let (mut phone, welcome) = Phone::open(&url, &world, &person).await;
                let _ = welcome;
                let mut latencies = Vec::new();
                for n in 0..100 {
                    let words = world.words(&mut person, COORDINATORS, &[2; 700]);
                    let begun = Instant::now();
                    phone.push(n, &words).await.unwrap();
                    latencies.push(begun.elapsed());
                }
                (latencies, person)
            }));
        }
        let mut all = Vec::new();
        for task in tasks {
            let (l, p) = task.await.unwrap();
            all.extend(l);
            let at = people.iter().position(|q| q.device() == p.device()).unwrap();
            people[at] = p;
        }
        let span = begun.elapsed();
        all.sort();
        println!(
            "{phones} phones, one entry each time: {:.0} entries/s, p50 {:?}, p99 {:?}",
            all.len() as f64 / span.as_secs_f64(),
            all[all.len() / 2],
            all[all.len() * 99 / 100]
        );
    }
    let rss = || {
        std::fs::read_to_string("/proc/self/status")
            .unwrap()
            .lines()
            .find(|l| l.starts_with("VmRSS"))
            .unwrap()
            .to_owned()
    };
    println!("before idle: {}", rss());
    let mut idle = Vec::new();
    for _ in 0..1000 {
        let (mut p, _) = Phone::open(&running.url(), &world, &world.founder).await;
        p.say(&Frame::Pull(Pull { cursors: vec![Cursor { compartment: GROUP, after: 20_000 }], live: true }))
            .await;
        idle.push(p);
    }
    println!("1000 live sessions, both ends in this process: {}", rss());
    println!("stop: {}", running.stop().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn measure_idle() {
    let directory = tempfile::tempdir().unwrap();
    let program = crate::program::Program::start(&directory.path().join("data"));
    let world = World::new(1);
    let rss = || {
        std::fs::read_to_string(format!("/proc/{}/status", program.child.id()))
            .unwrap()
            .lines()
            .find(|l| l.starts_with("VmRSS"))
            .unwrap()
            .to_owned()
    };
    let (mut first, _) = Phone::open(&program.url, &world, &world.founder).await;
    first.push(0, &world.roll).await.unwrap();
    println!("relay before: {}", rss());
    let mut idle = Vec::new();
    for _ in 0..1000 {
        let (mut p, _) = Phone::open(&program.url, &world, &world.founder).await;
        p.say(&Frame::Pull(Pull { cursors: vec![Cursor { compartment: ROLL, after: 0 }], live: true })).await;
        while p.hear().await.unwrap() != Frame::CaughtUp {}
        idle.push(p);
    }
    println!("relay with 1000 live sessions: {}", rss());
    program.kill();
}
