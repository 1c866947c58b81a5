//! The roll against a plain model of what PROTOCOL.md says of it, over random histories.

#[allow(
    clippy::field_reassign_with_default,
    clippy::cast_possible_truncation,
    clippy::wildcard_enum_match_arm,
    reason = "the model counts a few people and entries, and looks at some operations only"
)]
mod model;
mod room;
#[allow(
    clippy::cast_possible_truncation,
    clippy::wildcard_enum_match_arm,
    reason = "a siege counts a few people and entries, and looks at some operations only"
)]
mod siege;
mod town;

use std::collections::BTreeSet;
use std::ops::Range;

use proptest::prelude::*;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use self::model::{Model, Outcome, Right, Set, Wish};
use self::town::{COORDINATOR, Step, Town, history, member};
use crate::base::{CompartmentId, DeviceId, EntryHash, MemberId, cbor};
use crate::entry::{Kind, Verified};
use crate::roll::{EpochName, Inserted, Operation, Proposed, Roll, State, Target};

/// Those of the town's template, and one that does not exist.
const COMPARTMENTS: Range<u8> = 0..6;

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 4_000, ..ProptestConfig::with_cases(192) })]

    /// Everybody who has heard the same sees the same, and it is what the text says.
    #[test]
    fn the_roll_is_what_the_text_says((coordinators, steps) in history(), seed: u64, somebody: u8) {
        let town = Town::play(coordinators, &steps);
        let model = town.model();
        let rng = &mut ChaCha8Rng::seed_from_u64(seed);
        let all: Set = town.entries.iter().map(|(entry, _)| entry.hash()).collect();

        let mut whole = bring(&town, None, &all, rng);
        check(&town, &model, &mut whole, &all)?;
        // Two who have heard parts, and then the rest.
        for who in [somebody, somebody.wrapping_add(9)] {
            let known = town.known(who);
            let mut roll = bring(&town, None, &known, rng);
            check(&town, &model, &mut roll, &known)?;
            let merged = bring(&town, Some(roll), &all, rng);
            prop_assert_eq!(merged.state(), whole.state(), "{}", town.story.join("\n"));
            prop_assert_eq!(merged.heads(), whole.heads());
        }
        let names = COMPARTMENTS.flat_map(|id| {
            let compartment = CompartmentId(id);
            whole.state().epochs(compartment).map(move |(epoch, _)| EpochName { compartment, epoch })
        });
        let held = names.flat_map(|name| {
            whole.state().holders(name).into_iter().map(move |device| (device, name))
        });
        let held: BTreeSet<(DeviceId, EpochName)> = held.collect();
        prop_assert_eq!(held, model.holders(&all), "{}", town.story.join("\n"));
        // What others knew when they wrote.
        for (entry, _) in &town.entries[1..] {
            let heads = &entry.header().roll_heads;
            let past = model.past_of(&heads.iter().copied().collect());
            let state = whole.state_at(heads).expect("it is there");
            agree(&town, seen_by_roll(&state), seen_by_model(&model, &past))?;
        }
    }

    /// What somebody does who did not govern, as far as they knew, changes nothing, but for devices of their own.
    #[test]
    fn nobody_governs_who_does_not((coordinators, steps) in history()) {
        let town = Town::play(coordinators, &steps);
        let mut roll = Roll::found(&town.entries[0].0).unwrap();
        for (entry, _) in &town.entries[1..] {
            let header = entry.header();
            let knew: Vec<EntryHash> = header.roll_heads.iter().copied().chain(header.previous).collect();
            let knew = roll.state_at(&knew).expect("it is there");
            let before = roll.state().clone();
            roll.insert(entry).unwrap();
            if !knew.governs(header.device) && !is_about_themselves(entry, &knew) {
                let operation = entry.body().and_then(|body| cbor::decode::<Operation>(body).ok());
                if matches!(operation, Some(Operation::KeyUpdate(_))) {
                    // Keys that are handed up move nothing else.
                    prop_assert_eq!(seen_by_roll(&before), seen_by_roll(roll.state()), "{}", town.story.join("\n"));
                } else {
                    prop_assert_eq!(&before, roll.state(), "{}", town.story.join("\n"));
                }
            }
        }
    }

    /// Whoever removes, their seniors stay; and as long as neither they nor most of the others want it otherwise, the founder.
    #[test]
    fn rank_protects((coordinators, steps) in history(), only in 1u8..6) {
        let removes = |step: &&Step| match step.what % 32 {
            7..=15 => town::author(step.who).0 == only,
            what => what != 27,
        };
        let alone: Vec<Step> = steps.iter().filter(removes).copied().collect();
        let town = Town::play(coordinators, &alone);
        let mut roll = Roll::found(&town.entries[0].0).unwrap();
        town.entries.iter().for_each(|(entry, _)| _ = roll.insert(entry).unwrap());
        for senior in 0..only.min(coordinators) {
            let held = roll.state().member(member(senior, 0));
            prop_assert_eq!(held.map(|held| held.role), Some(COORDINATOR), "{}", town.story.join("\n"));
        }

        let town = Town::play(coordinators, &steps);
        let model = town.model();
        let mut roll = Roll::found(&town.entries[0].0).unwrap();
        town.entries.iter().for_each(|(entry, _)| _ = roll.insert(entry).unwrap());
        let all = town.entries.iter().map(|(entry, _)| model.entry(entry.hash()));
        let mut all = all.filter(|entry| entry.wish().is_some());
        if all.all(|entry| entry.right != Right::Majority && !entry.is_about_its_author()) {
            let founder = roll.state().member(member(0, 0));
            prop_assert_eq!(founder.map(|held| held.role), Some(COORDINATOR), "{}", town.story.join("\n"));
        }
    }
}

/// Two who remove each other, of whatever ranks: the senior stays.
#[test]
fn who_removes_each_other_leaves_one() {
    for coordinators in 2..=6u8 {
        for (senior, junior) in (0..coordinators).flat_map(|a| (a + 1..coordinators).map(move |b| (a, b))) {
            let remove = |who, whom| Step {
                who: town::some_author(who),
                what: 7,
                x: town::some_author(whom),
                y: 0,
                z: 0,
            };
            for steps in [
                [remove(senior, junior), remove(junior, senior)],
                [remove(junior, senior), remove(senior, junior)],
            ] {
                let town = Town::play(coordinators, &steps);
                let mut roll = Roll::found(&town.entries[0].0).unwrap();
                town.entries.iter().for_each(|(entry, _)| _ = roll.insert(entry).unwrap());
                assert!(roll.state().member(member(senior, 0)).is_some());
                assert!(roll.state().member(member(junior, 0)).is_none());
            }
        }
    }
}

/// A stolen phone has its certificate still. It does not come back by that.
#[test]
fn a_device_that_was_taken_out_does_not_enter_itself() {
    let [founder, volunteer] = [0, 6].map(town::some_author);
    let step = |who, what, x, y, z| Step { who, what, x, y, z };
    let steps = [
        step(founder, 11, volunteer, 0, 0), // takes the volunteer's phone out,
        step(volunteer, 0, founder, 0, 0),  // which hears of it
        step(volunteer, 22, 0, 0, 3),       // and certifies itself.
    ];
    let town = Town::play(2, &steps);
    let mut roll = Roll::found(&town.entries[0].0).unwrap();
    town.entries.iter().for_each(|(entry, _)| _ = roll.insert(entry).unwrap());
    assert!(roll.state().member(member(6, 0)).is_some());
    assert!(roll.state().device(town::device((6, 0))).is_none());
}

/// A coordinator whose removal another proposed leaves by themselves and is let in again.
#[test]
fn a_proposal_ends_when_its_target_leaves_and_is_back() {
    let [founder, one, other] = [0, 1, 2].map(town::some_author);
    let step = |who, what, x, y, z| Step { who, what, x, y, z };
    let steps = [
        step(other, 7, one, 0, 0),
        step(one, 0, other, 0, 0),
        step(one, 7, one, 0, 0),
        step(founder, 0, one, 0, 0),
        step(founder, 16, one, 1, 0),
    ];
    let town = Town::play(3, &steps);
    let mut roll = Roll::found(&town.entries[0].0).unwrap();
    town.entries.iter().for_each(|(entry, _)| _ = roll.insert(entry).unwrap());
    assert!(roll.state().member(member(1, 0)).is_some());
    assert_eq!(
        roll.state().proposals(),
        [],
        "what was asked of a coordinator who left ends with their leaving"
    );
}

/// Two members claim one device at the same time, and it is taken out: whose it was does not depend on what came first.
#[test]
fn whose_a_device_was_is_the_same_in_every_order() {
    let [founder, one, other] = [0, 6, 7].map(town::some_author);
    let step = |who, what, x, y, z| Step { who, what, x, y, z };
    let steps = [
        step(one, 20, one, 1, 3),
        step(other, 20, one, 1, 0),
        step(founder, 0, one, 0, 0),
        step(founder, 0, other, 0, 0),
        step(founder, 11, one, 1, 0),
    ];
    let town = Town::play(2, &steps);
    let all: Set = town.entries.iter().map(|(entry, _)| entry.hash()).collect();
    let rolls = (0..16).map(|seed| bring(&town, None, &all, &mut ChaCha8Rng::seed_from_u64(seed)));
    let rolls: Vec<Roll> = rolls.collect();
    assert!(rolls[0].state().was_removed(town::device((6, 1))));
    rolls.iter().for_each(|roll| assert_eq!(roll.state(), rolls[0].state()));
}

/// Offers what is missing of a set in a random order that brings causes first, and some of it twice or too early.
fn bring(town: &Town, roll: Option<Roll>, set: &Set, rng: &mut ChaCha8Rng) -> Roll {
    let mut roll = roll.unwrap_or_else(|| Roll::found(&town.entries[0].0).unwrap());
    let mut left: Vec<&Verified> = town.entries.iter().map(|(entry, _)| entry).collect();
    left.retain(|entry| set.contains(&entry.hash()) && !roll.knows(&[entry.hash()]));
    let mut asked = 0;
    while !left.is_empty() {
        let at = rng.next_u32() as usize % left.len();
        match roll.insert(left[at]).unwrap() {
            Inserted::Waits => {
                // Too early now and then; mostly the first that can be inserted, so that it ends.
                asked += 1;
                if asked > 8 {
                    asked = 0;
                    assert_ne!(
                        roll.insert(left[0]).unwrap(),
                        Inserted::Waits,
                        "causes come first in the town"
                    );
                    left.remove(0);
                }
            }
            Inserted::Known => unreachable!("it was not there"),
            Inserted::Counts | Inserted::WithoutEffect => {
                assert_eq!(roll.insert(left[at]).unwrap(), Inserted::Known);
                left.remove(at);
            }
        }
        // Asked for in between: nothing that was worked out may hide what comes later.
        if rng.next_u32().is_multiple_of(4) {
            roll.state();
        }
    }
    roll
}

fn agree(town: &Town, roll: BTreeSet<String>, model: BTreeSet<String>) -> Result<(), TestCaseError> {
    let only_roll: Vec<&String> = roll.difference(&model).collect();
    let only_model: Vec<&String> = model.difference(&roll).collect();
    prop_assert!(
        roll == model,
        "only the roll says {only_roll:#?}, only the text says {only_model:#?}\n{}",
        town.story.join("\n")
    );
    Ok(())
}

fn check(town: &Town, model: &Model, roll: &mut Roll, set: &Set) -> Result<(), TestCaseError> {
    let story = || town.story.join("\n");
    agree(town, seen_by_roll(roll.state()), seen_by_model(model, set))?;
    let outcome = model.outcome(set);
    let heads: Set = roll.heads().into_iter().collect();
    prop_assert_eq!(&heads, &outcome.heads, "heads\n{}", story());
    for entry in &town.sealed {
        let heads = &entry.header().roll_heads;
        let Some(state) = roll.state_at(heads) else { continue };
        let header = entry.header();
        if state.may_write(header.device, header.compartment) {
            let counts = roll.check_standing(entry);
            prop_assert_eq!(
                counts.is_ok(),
                model.counts(set, entry),
                "{:?} {:?}\n{}",
                entry.hash(),
                counts,
                story()
            );
        }
    }
    Ok(())
}

/// What can be seen of a state, a line for each fact.
fn seen_by_roll(state: &State) -> BTreeSet<String> {
    let members =
        state.members().map(|(member, held)| format!("{member:?}: {:?} by {:?}", held.role, held.place));
    let devices =
        state.devices().map(|(device, row, role)| format!("{device:?}: {:?} of {:?}", role, row.member));
    let epochs = COMPARTMENTS.flat_map(|id| {
        let epochs = state.epochs(CompartmentId(id));
        epochs.map(move |(epoch, row)| format!("{epoch:?} of {id} stands: {}", row.stands))
    });
    let newest = COMPARTMENTS.filter_map(|id| {
        let (epoch, _) = state.newest_epoch(CompartmentId(id))?;
        Some(format!("{epoch:?} of {id} is written under"))
    });
    let removals = state.removals().iter().map(|hash| format!("{hash:?} stands"));
    let settings = (0..8).map(|setting| format!("{setting}: {:?}", state.setting(setting)));
    let proposals = state.proposals().iter().map(|row| {
        let about = match row.about {
            Proposed::Removal(target) => format!("{target:?}"),
            Proposed::Recovery(member) => format!("recovery of {member:?}"),
        };
        let supporters: BTreeSet<MemberId> = row.supporters.iter().copied().collect();
        format!("{about} is wanted by {supporters:?} of {}", row.needed)
    });
    let facts = members.chain(devices).chain(epochs).chain(newest).chain(removals);
    let held = state.retention().held().map(|(entry, until)| format!("{entry:?} is held until {until}"));
    let shredded = state.retention().shredded().map(|(entry, _, _)| format!("{entry:?} is shredded"));
    facts.chain(settings).chain(proposals).chain(held).chain(shredded).collect()
}

fn seen_by_model(model: &Model, set: &Set) -> BTreeSet<String> {
    let outcome = model.outcome(set);
    let members = outcome
        .members
        .iter()
        .map(|(member, (role, by, _))| format!("{member:?}: {role:?} by {:?}", model.first(by)));
    let devices = outcome.devices.iter().filter_map(|(device, (member, _))| {
        let (role, ..) = outcome.members.get(member)?;
        Some(format!("{device:?}: {role:?} of {member:?}"))
    });
    let epochs = outcome.epochs.iter().flat_map(|(id, epochs)| {
        epochs.iter().map(move |(epoch, stands)| format!("{epoch:?} of {id} stands: {stands}"))
    });
    let newest = outcome.epochs.iter().filter_map(|(id, epochs)| {
        let (epoch, _) = epochs.iter().rfind(|(_, stands)| **stands)?;
        Some(format!("{epoch:?} of {id} is written under"))
    });
    let removals = outcome.standing.iter().map(|hash| format!("{hash:?} stands"));
    let settings = (0..8).map(|setting| format!("{setting}: {:?}", outcome.settings.get(&setting)));
    let facts = members.chain(devices).chain(epochs).chain(newest).chain(removals);
    let held = outcome.held.iter().map(|(entry, until)| format!("{entry:?} is held until {until}"));
    let shredded = outcome.shredded.iter().map(|entry| format!("{entry:?} is shredded"));
    facts.chain(settings).chain(proposals(model, set, &outcome)).chain(held).chain(shredded).collect()
}

/// What is wanted and not done.
fn proposals(model: &Model, set: &Set, outcome: &Outcome) -> BTreeSet<String> {
    let open = set.iter().map(|hash| model.entry(*hash)).filter(|entry| entry.right == Right::Proposes);
    let wishes: BTreeSet<Wish> = open.filter_map(|entry| entry.wish()).collect();
    let rows = wishes.into_iter().filter_map(|wish| {
        let about = match wish {
            Wish::Remove(Target::Member(member)) | Wish::Recover(member, _) => member,
            Wish::Remove(Target::Device(device)) => outcome.devices.get(&device)?.0,
        };
        let name = match wish {
            Wish::Remove(target) => format!("{target:?}"),
            Wish::Recover(member, _) => format!("recovery of {member:?}"),
        };
        let (asks, needed) = model.tally(outcome, set, wish, about, None);
        let supporters: BTreeSet<MemberId> = asks.into_keys().collect();
        let is_done = matches!(wish, Wish::Recover(_, key) if model.is_entered_by(outcome, key));
        (outcome.members.contains_key(&about) && !is_done && !supporters.is_empty())
            .then(|| format!("{name} is wanted by {supporters:?} of {needed}"))
    });
    rows.collect()
}

/// Devices that enter or leave for their own member need nobody who governs.
fn is_about_themselves(entry: &Verified, knew: &State) -> bool {
    if entry.header().kind == Kind::CERTIFICATE {
        return true;
    }
    let whose = |device| knew.device(device).map(|(row, _)| row.member);
    let author =
        knew.devices_ever().find(|(device, _)| *device == entry.header().device).map(|(_, member)| member);
    match cbor::decode(entry.body().unwrap_or_default()).unwrap() {
        // Their own words, whoever they are.
        Operation::Certify(_) | Operation::Shred(_) => true,
        Operation::Remove(removal) => match removal.target {
            Target::Member(member) => Some(member) == author,
            Target::Device(device) => device == entry.header().device || whose(device) == author,
        },
        Operation::Found(_)
        | Operation::Admit(_)
        | Operation::KeyUpdate(_)
        | Operation::Policy(_)
        | Operation::Accept(_)
        | Operation::Hold(_)
        | Operation::EndHold(_)
        | Operation::Recover(_)
        | Operation::Withdraw(_)
        | Operation::Unknown { .. } => false,
    }
}
