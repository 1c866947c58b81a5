use super::*;
use crate::watch::codes;
use crate::watch::testing::refused;
use proptest::prelude::*;

const JULY: i64 = 1_782_864_000_000;

fn new_code(en: &str) -> CodeChange {
    CodeChange { en: en.into(), es: en.into(), nibrs: "H".into(), ..CodeChange::default() }
}

fn update(from_ms: i64, changes: &[(&str, CodeChange)]) -> CatalogueUpdate {
    CatalogueUpdate {
        catalogue: "substances".into(),
        version: "2026-07".into(),
        source: "21 CFR 1308".into(),
        from_ms,
        codes: changes.iter().map(|(code, change)| ((*code).to_owned(), change.clone())).collect(),
    }
}

fn replacing(by: &str) -> CodeChange {
    CodeChange { replaced_by: by.into(), retired: true, ..CodeChange::default() }
}

fn at(updates: &[CatalogueUpdate], time_ms: i64) -> Standing {
    let ids = (1..).map(|n| DocumentId([n; 24]));
    standing(codes::substances(), ids.zip(updates), time_ms)
}

#[test]
fn refusals_name_the_field() {
    let valid = update(JULY, &[("nitazene", new_code("Nitazene")), ("opium", replacing("other_narcotic"))]);
    assert_eq!(refused(&valid, |u| u.catalogue = "people".into()), "catalogue");
    assert_eq!(refused(&valid, |u| u.version = "July".into()), "version");
    assert_eq!(refused(&valid, |u| u.source.clear()), "source");
    assert_eq!(refused(&valid, |u| u.from_ms = 0), "from_ms");
    assert_eq!(refused(&valid, |u| u.codes.clear()), "codes");
    let new = |u: &mut CatalogueUpdate, edit: fn(&mut CodeChange)| edit(u.codes.get_mut("nitazene").unwrap());
    assert_eq!(refused(&valid, |u| new(u, |c| c.en.clear())), "codes.nitazene.en");
    assert_eq!(refused(&valid, |u| new(u, |c| c.nibrs = "Q".into())), "codes.nitazene.nibrs");
    assert_eq!(refused(&valid, |u| new(u, |c| c.replaced_by = "gone".into())), "codes.nitazene.replaced_by");
    let scheduled = |class: &str, since: &str| {
        let (jurisdiction, class, since) = ("US federal".into(), class.into(), since.into());
        CodeChange { jurisdiction, class, since, ..new_code("Nitazene") }
    };
    assert_eq!(update(JULY, &[("n", scheduled("I", "2026-07-01"))]).validate(), Ok(()));
    assert!(update(JULY, &[("n", scheduled("VI", "2026-07-01"))]).validate().is_err());
    assert!(update(JULY, &[("n", scheduled("I", "soon"))]).validate().is_err());
    assert!(update(JULY, &[("a b", new_code("x"))]).validate().is_err());
}

#[test]
fn a_circle_is_refused_in_one_update_and_across_several() {
    let in_one = update(JULY, &[("heroin", replacing("opium")), ("opium", replacing("heroin"))]);
    assert_eq!(in_one.validate().unwrap_err().problem, "leads in a circle");
    assert_eq!(
        update(JULY, &[("opium", replacing("opium"))]).validate().unwrap_err().problem,
        "leads in a circle"
    );
    let both = [
        update(JULY, &[("heroin", replacing("opium"))]),
        update(JULY + 1, &[("opium", replacing("heroin"))]),
    ];
    assert_eq!(both.each_ref().map(|u| u.validate()), [Ok(()), Ok(())]);
    let standing = at(&both, JULY + 1);
    assert_eq!(standing.refused, BTreeSet::from([DocumentId([2; 24])]));
    assert_eq!(standing.current("heroin"), "opium");
    assert!(!standing.get("opium").unwrap().retired);
}

#[test]
fn a_code_is_there_from_its_day_on_and_old_ones_keep_their_meaning() {
    let renamed = CodeChange { en: "Something else".into(), retired: true, ..CodeChange::default() };
    let updates = [update(JULY, &[("nitazene", new_code("Nitazene")), ("opium", renamed)])];
    let before = at(&updates, JULY - 1);
    assert_eq!((before.get("nitazene"), before.get("opium").unwrap().retired), (None, false));
    let after = at(&updates, JULY);
    assert_eq!(after.get("nitazene").unwrap().label("en"), "Nitazene");
    assert_eq!(after.get("opium").unwrap().label("en"), "Opium");
    assert!(after.get("opium").unwrap().retired);
    let known: BTreeSet<_> = after.entries.iter().map(|entry| entry.code.as_str()).collect();
    assert!(codes::substances().entries().iter().all(|entry| known.contains(entry.code.as_str())));
}

proptest! {
    /// Whatever updates there are, in whatever order: the same catalogue, and no code leads in a circle.
    #[test]
    fn any_order_gives_the_same_catalogue(
        updates in proptest::collection::vec(
            (0_i64..4, proptest::collection::vec(("[a-e]", "[a-e]?"), 1..4)), 0..8,
        ),
        turn in 0_usize..8,
    ) {
        let updates: Vec<CatalogueUpdate> = updates
            .into_iter()
            .map(|(day, changes)| {
                let change = |by: String| CodeChange { replaced_by: by, ..new_code("x") };
                let changes: Vec<_> = changes.into_iter().map(|(code, by)| (code, change(by))).collect();
                let named: Vec<_> = changes.iter().map(|(code, change)| (code.as_str(), change.clone())).collect();
                update(JULY + day, &named)
            })
            .collect();
        let ids = (1..).map(|n| DocumentId([n; 24]));
        let straight: Vec<_> = ids.zip(&updates).collect();
        let mut turned: Vec<_> = straight.iter().chain(&straight).copied().collect();
        let turn = turn.min(turned.len());
        turned.rotate_left(turn);
        let one = standing(codes::substances(), straight, JULY + 9);
        let other = standing(codes::substances(), turned, JULY + 9);
        prop_assert_eq!(&one, &other);
        for code in ["a", "b", "c", "d", "e"] {
            prop_assert!(!one.replaced_by.contains_key(one.current(code)));
        }
    }
}
