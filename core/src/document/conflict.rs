//! Fields in which people who did not know of each other wrote different things.

use automerge::{AutoCommit, ObjId, ObjType, Prop, ReadDoc, Value};

use super::Document;
use crate::base::DeviceId;

/// A field with more than one value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// Its path, such as `actions.lamp.owner`.
    pub field: String,
    /// Its values, the one that is shown everywhere first, each with the device that wrote it.
    pub values: Vec<(String, DeviceId)>,
}

/// Levels of nesting that are looked at; documents have five.
const DEPTH_MAX: usize = 16;

impl Document {
    /// Every field that holds different values at once. That several wrote the same is none.
    pub fn conflicts(&self) -> Vec<Conflict> {
        let mut conflicts = Vec::new();
        walk(&self.0, &automerge::ROOT, "", DEPTH_MAX, &mut conflicts);
        conflicts
    }
}

fn walk(document: &AutoCommit, object: &ObjId, path: &str, depth: usize, conflicts: &mut Vec<Conflict>) {
    let Some(depth) = depth.checked_sub(1) else { return };
    for (prop, name) in props(document, object, path) {
        let Ok(found) = document.get_all(object, prop) else { continue };
        let mut values: Vec<(String, DeviceId)> = Vec::new();
        // The last one is that which is shown.
        for (value, id) in found.iter().rev() {
            let text = text_of(document, value, id, depth);
            if let Some(device) = device_of(id).filter(|_| values.iter().all(|(known, _)| *known != text)) {
                values.push((text, device));
            }
        }
        if values.len() > 1 {
            conflicts.push(Conflict { field: name.clone(), values });
        }
        if let Some((Value::Object(ObjType::Map | ObjType::List), id)) = found.last() {
            walk(document, id, &name, depth, conflicts);
        }
    }
}

/// The fields or places of an object, with their paths.
fn props(document: &AutoCommit, object: &ObjId, path: &str) -> Vec<(Prop, String)> {
    match document.object_type(object) {
        Ok(ObjType::Map | ObjType::Table) => {
            let named = |key: String| {
                let name = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                (Prop::Map(key), name)
            };
            document.keys(object).map(named).collect()
        }
        Ok(ObjType::List) => {
            (0..document.length(object)).map(|at| (Prop::Seq(at), format!("{path}[{at}]"))).collect()
        }
        Ok(ObjType::Text) | Err(_) => Vec::new(),
    }
}

/// A value as people read it.
fn text_of(document: &AutoCommit, value: &Value<'_>, id: &ObjId, depth: usize) -> String {
    match value {
        Value::Scalar(scalar) => scalar.as_str().map_or_else(|| scalar.to_string(), str::to_owned),
        Value::Object(ObjType::Text) => document.text(id).unwrap_or_default(),
        Value::Object(_) => {
            let Some(depth) = depth.checked_sub(1) else { return String::new() };
            let parts = props(document, id, "").into_iter().filter_map(|(prop, name)| {
                let (value, id) = document.get(id, prop).ok()??;
                Some(format!("{name}: {}", text_of(document, &value, &id, depth)))
            });
            parts.collect::<Vec<_>>().join(", ")
        }
    }
}

/// The device that wrote a value.
fn device_of(id: &ObjId) -> Option<DeviceId> {
    match id {
        ObjId::Id(_, actor, _) => actor.to_bytes().try_into().ok().map(DeviceId),
        ObjId::Root => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::AuthoredChange;
    use autosurgeon::{Hydrate, Reconcile};
    use std::collections::BTreeMap;

    #[derive(Clone, Debug, PartialEq, Default, Hydrate, Reconcile)]
    struct Plan {
        title: String,
        owners: BTreeMap<String, String>,
    }

    const ANNA: DeviceId = DeviceId([1; 32]);
    const BEN: DeviceId = DeviceId([2; 32]);

    fn plan(title: &str, owner: &str) -> Plan {
        Plan { title: title.into(), owners: [("lamp".to_owned(), owner.to_owned())].into() }
    }

    fn merged(anna: &Plan, ben: &Plan) -> Document {
        let mut first = Document::new(ANNA);
        let start = first.write(&plan("One", "nobody")).unwrap().unwrap();
        let written = |device: DeviceId, what: &Plan| -> Option<AuthoredChange> {
            Document::load(device, [start.clone()]).unwrap().write(what).unwrap()
        };
        let changes = [Some(start.clone()), written(ANNA, anna), written(BEN, ben)];
        Document::load(ANNA, changes.into_iter().flatten()).unwrap()
    }

    #[test]
    fn different_values_are_shown_with_who_wrote_them() {
        let document = merged(&plan("Two", "anna"), &plan("Two", "ben"));
        let conflicts = document.conflicts();
        assert_eq!(conflicts.len(), 1, "{conflicts:?}");
        assert_eq!(conflicts[0].field, "owners.lamp");
        let shown = document.read::<Plan>().unwrap().owners["lamp"].clone();
        assert_eq!(conflicts[0].values[0].0, shown);
        let mut by = conflicts[0].values.clone();
        by.sort();
        assert_eq!(by, [("anna".to_owned(), ANNA), ("ben".to_owned(), BEN)]);
    }

    #[test]
    fn what_is_the_same_or_was_settled_is_no_conflict() {
        assert_eq!(merged(&plan("One", "ben"), &plan("One", "ben")).conflicts(), []);
        assert_eq!(merged(&plan("Two", "nobody"), &plan("One", "ben")).conflicts(), []);
        let mut settled = merged(&plan("Two", "anna"), &plan("Three", "ben"));
        assert_eq!(settled.conflicts().len(), 2);
        settled.write(&plan("Four", "carla")).unwrap();
        assert_eq!(settled.conflicts(), []);
    }
}
