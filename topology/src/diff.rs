//! `topology diff`: what changed from one directory to another, for people and as JSON.
//!
//! New Sphinx keys for later epochs are how it should be, and are no change; another key for an epoch that had
//! one is.

use crate::show::{Operators, parameters, short};
use directory::{Directory, NodeDescriptor, Position, hex};
use serde::Serialize;
use serde_json::Value;
use std::fmt::Write as _;
use std::net::SocketAddr;

/// Everything that is different.
#[derive(Debug, Default, PartialEq, Serialize)]
pub(crate) struct Diff {
    /// How the two documents stand to each other.
    pub(crate) relation: String,
    pub(crate) joined: Vec<Place>,
    pub(crate) left: Vec<Place>,
    pub(crate) moved: Vec<Moved>,
    pub(crate) changed: Vec<Changed>,
    pub(crate) parameters: Vec<Parameter>,
}

/// A node and where it stands.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Place {
    pub(crate) id: String,
    pub(crate) operator: String,
    pub(crate) place: String,
}

/// A node that stands elsewhere now.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Moved {
    pub(crate) id: String,
    pub(crate) operator: String,
    pub(crate) from: String,
    pub(crate) to: String,
}

/// What is different about a node that stands in both.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Changed {
    pub(crate) id: String,
    pub(crate) operator: String,
    pub(crate) what: Vec<String>,
}

/// A parameter.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Parameter {
    pub(crate) name: &'static str,
    pub(crate) from: Value,
    pub(crate) to: Value,
}

/// Compares two directories of one network.
pub(crate) fn diff(old: &Directory, new: &Directory, operators: &Operators) -> Diff {
    let mut diff = Diff {
        relation: relation(old, new),
        ..Diff::default()
    };
    let name = |n: &NodeDescriptor| match operators.get(&n.family) {
        Some(name) => name.clone(),
        None => format!("family {}…", short(&hex::encode(&n.family.0))),
    };
    let place = |node: &NodeDescriptor, position| Place {
        id: hex::encode(&node.id().0),
        operator: name(node),
        place: placed(position),
    };
    for (node, position) in new.nodes() {
        let id = node.id();
        let Some((before, was)) = old.node(&id).zip(old.position(&id)) else {
            diff.joined.push(place(node, position));
            continue;
        };
        let (from, to) = (placed(was), placed(position));
        if from != to {
            diff.moved.push(Moved {
                id: hex::encode(&id.0),
                operator: name(node),
                from,
                to,
            });
        }
        let what = changes(before, node, &name);
        if !what.is_empty() {
            diff.changed.push(Changed {
                id: hex::encode(&id.0),
                operator: name(node),
                what,
            });
        }
    }
    for (node, position) in old.nodes() {
        if new.node(&node.id()).is_none() {
            diff.left.push(place(node, position));
        }
    }
    let pairs = parameters(&old.parameters)
        .into_iter()
        .zip(parameters(&new.parameters));
    for ((name, from), (_, to)) in pairs {
        if from != to {
            diff.parameters.push(Parameter { name, from, to });
        }
    }
    diff
}

fn relation(old: &Directory, new: &Directory) -> String {
    let (from, to) = (old.epoch.0, new.epoch.0);
    if old.hash() == new.hash() {
        return format!("both are the directory of epoch {from}");
    }
    if from == to {
        return format!(
            "these are TWO DIRECTORIES OF EPOCH {from}: authorities signed both, and that proves it"
        );
    }
    if to < from {
        return format!("the second, of epoch {to}, is OLDER than the first, of epoch {from}");
    }
    if new.previous == old.hash() {
        return format!("epoch {from} → epoch {to}, which follows it");
    }
    if to == from + 1 {
        return format!(
            "epoch {from} → epoch {to}, which does NOT FOLLOW it: it names another one before it"
        );
    }
    format!("epoch {from} → epoch {to}")
}

fn placed(position: Position) -> String {
    match position {
        Position::Mix { layer, .. } => format!("layer {}", layer + 1),
        Position::Gateway { .. } => "gateway".to_owned(),
    }
}

fn changes(
    old: &NodeDescriptor,
    new: &NodeDescriptor,
    name: &impl Fn(&NodeDescriptor) -> String,
) -> Vec<String> {
    let mut what = Vec::new();
    let addresses = |list: &[SocketAddr]| {
        let list: Vec<String> = list.iter().map(ToString::to_string).collect();
        list.join(" ")
    };
    let mut compare = |title: &str, from: String, to: String| {
        if from != to {
            what.push(format!("{title} {from} → {to}"));
        }
    };
    compare("operator", name(old), name(new));
    compare(
        "address",
        addresses(&old.addresses),
        addresses(&new.addresses),
    );
    compare(
        "address for clients",
        addresses(&old.client_addresses),
        addresses(&new.client_addresses),
    );
    for key in &old.sphinx_keys {
        let now = new.sphinx_key(key.epoch);
        if now.is_some_and(|now| now != key.key) {
            what.push(format!(
                "ANOTHER KEY for epoch {}: packets built for the old one die",
                key.epoch
            ));
        }
    }
    what
}

impl Diff {
    /// For a terminal.
    pub(crate) fn in_words(&self) -> String {
        let mut out = format!("{}\n", self.relation);
        for Place {
            id,
            operator,
            place,
        } in &self.joined
        {
            let _ = writeln!(out, "joined   {}…  {operator}, {place}", short(id));
        }
        for Place {
            id,
            operator,
            place,
        } in &self.left
        {
            let _ = writeln!(out, "left     {}…  {operator}, {place}", short(id));
        }
        for moved in &self.moved {
            let Moved {
                id,
                operator,
                from,
                to,
            } = moved;
            let _ = writeln!(out, "moved    {}…  {operator}, {from} → {to}", short(id));
        }
        for Changed { id, operator, what } in &self.changed {
            let what = what.join("; ");
            let _ = writeln!(out, "changed  {}…  {operator}: {what}", short(id));
        }
        for Parameter { name, from, to } in &self.parameters {
            let _ = writeln!(out, "{name}: {from} → {to}");
        }
        if self.is_empty() {
            out.push_str("nobody came, went or moved\n");
        }
        out
    }

    fn is_empty(&self) -> bool {
        self.joined.is_empty()
            && self.left.is_empty()
            && self.moved.is_empty()
            && self.changed.is_empty()
            && self.parameters.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use directory::testing::{directory, nobodys_key};
    use directory::{Family, Parameters};
    use wire::ids::Epoch;

    fn of(epoch: u64, mixes: usize, parameters: Parameters) -> Directory {
        directory(7, mixes, 1, Epoch(epoch), parameters, nobodys_key).0
    }

    #[test]
    fn who_came_and_went_and_what_changed() {
        // With three mixes a layer, node 2 stands in layer 1; with two, in layer 2.
        let (old, new) = (
            of(4, 3, Parameters::localnet()),
            of(5, 2, Parameters::wide()),
        );
        let node = |d: &Directory, i: usize| {
            let id = wire::ids::NodeId::of(&directory::testing::node_secret(7, i).public());
            assert!(d.node(&id).is_some());
            hex::encode(&id.0)
        };
        let operators = old
            .nodes()
            .map(|(n, _)| (n.family, "one".to_owned()))
            .collect();
        let seen = diff(&old, &new, &operators);
        assert!(
            seen.relation.contains("does NOT FOLLOW"),
            "{}",
            seen.relation
        );
        let moved: Vec<_> = seen
            .moved
            .iter()
            .map(|m| (&m.id[..], &m.from[..], &m.to[..]))
            .collect();
        assert!(
            moved.contains(&(&node(&old, 2), "layer 1", "layer 2")),
            "{moved:?}"
        );
        // Node 6 is a mix in one and the gateway in the other; 7 to 9 are gone.
        assert!(
            moved.contains(&(&node(&old, 6), "layer 3", "gateway")),
            "{moved:?}"
        );
        assert_eq!(seen.left.len(), 3);
        assert_eq!(seen.left.iter().filter(|p| p.place == "gateway").count(), 1);
        assert!(seen.joined.is_empty());
        let delay = seen
            .parameters
            .iter()
            .find(|p| p.name == "delay_mean_ms")
            .unwrap();
        assert_eq!((&delay.from, &delay.to), (&50.into(), &2000.into()));
        let words = seen.in_words();
        assert!(words.contains("delay_mean_ms: 50 → 2000"), "{words}");
        let back = diff(&new, &old, &operators);
        assert_eq!((back.joined.len(), back.left.len()), (3, 0));
        assert!(back.relation.contains("OLDER"));
    }

    #[test]
    fn equal_directories_and_two_of_one_epoch() {
        let one = of(4, 2, Parameters::localnet());
        let same = diff(&one, &one, &Operators::new());
        assert!(
            same.in_words().contains("nobody came"),
            "{}",
            same.in_words()
        );
        let other = of(4, 2, Parameters::wide());
        let two = diff(&one, &other, &Operators::new());
        assert!(two.relation.contains("TWO DIRECTORIES OF EPOCH 4"));
    }

    #[test]
    fn another_key_for_the_same_epoch_and_a_new_address_are_told() {
        let one = of(4, 2, Parameters::localnet());
        let (mut node, _) = one.nodes().next().map(|(n, p)| (n.clone(), p)).unwrap();
        let before = node.clone();
        node.sphinx_keys[0].key = nobodys_key(99, Epoch(4));
        node.addresses = vec!["192.0.2.1:1".parse().unwrap()];
        node.family = Family([9; 16]);
        let name = |n: &NodeDescriptor| format!("{:?}", n.family.0[0]);
        let what = changes(&before, &node, &name);
        assert_eq!(what.len(), 3, "{what:?}");
        assert!(what[1].ends_with("→ 192.0.2.1:1"));
        assert!(what[2].contains("ANOTHER KEY for epoch 4"));
        node = before.clone();
        node.sphinx_keys.remove(0);
        assert!(changes(&before, &node, &name).is_empty(), "an old key went");
    }
}
