//! Nodes come on the list and go off it, and what is damaged or foreign is refused by name.

use super::*;
use crate::config::RoleEntry;
use directory::testing::{network_id, node_secret};
use directory::{NetworkAuthority, testing};
use wire::time::UnixTime;

const SEED: u64 = 9;

fn request(index: usize, role: Role, operator: &str) -> JoinRequest {
    let secret = node_secret(SEED, index);
    JoinRequest::sign(role, operator, UnixTime(1), &secret, &network_id(SEED)).unwrap()
}

fn hex_of(index: usize) -> String {
    hex::encode(&node_secret(SEED, index).public().to_bytes())
}

fn id(index: usize) -> NodeId {
    NodeId::of(&node_secret(SEED, index).public())
}

/// Node 0 stands in the configuration.
fn fixture() -> (tempfile::TempDir, Config) {
    let folder = tempfile::tempdir().unwrap();
    let entry = NodeEntry {
        identity: hex_of(0),
        role: RoleEntry::Mix,
        operator: "zero".into(),
    };
    let config = Config {
        data_dir: folder.path().to_owned(),
        node: vec![entry],
        ..Config::default()
    };
    (folder, config)
}

fn list(config: &Config) -> Vec<(NodeId, Role, Family)> {
    let changes = Changes::read(&config.data_dir).unwrap();
    let list = admitted(config, &changes).unwrap();
    let mut list: Vec<_> = list
        .iter()
        .map(|a| (NodeId::of(&a.identity), a.role, a.family))
        .collect();
    list.sort_by_key(|l| l.0);
    list
}

fn of(nodes: &[(usize, Role, &str)]) -> Vec<(NodeId, Role, Family)> {
    let mut list: Vec<_> = nodes
        .iter()
        .map(|(i, role, name)| (id(*i), *role, Family::of(name)))
        .collect();
    list.sort_by_key(|l| l.0);
    list
}

#[test]
fn nodes_come_and_go_and_come_back() {
    let (_folder, config) = fixture();
    let zero = (0, Role::Mix, "zero");
    assert_eq!(list(&config), of(&[zero]));
    let one = request(1, Role::Gateway, "one");
    assert_eq!(admit(&config, &one).unwrap(), Admission::New);
    assert_eq!(admit(&config, &one).unwrap(), Admission::Unchanged);
    assert_eq!(list(&config), of(&[zero, (1, Role::Gateway, "one")]));
    // Another role and name; and a node of the configuration, which the change comes before.
    let again = request(1, Role::Mix, "eins");
    assert_eq!(admit(&config, &again).unwrap(), Admission::Changed);
    assert_eq!(
        admit(&config, &request(0, Role::Mix, "zero")).unwrap(),
        Admission::Unchanged
    );
    assert_eq!(
        admit(&config, &request(0, Role::Mix, "null")).unwrap(),
        Admission::Changed
    );
    let both = [(0, Role::Mix, "null"), (1, Role::Mix, "eins")];
    assert_eq!(list(&config), of(&both));
    assert_eq!(
        operators(&config, &Changes::read(&config.data_dir).unwrap()).len(),
        2
    );
    // By a beginning of the id; by the identity.
    let (banned, entry) = ban(&config, &hex::encode(&id(0).0)[..12]).unwrap();
    assert_eq!(
        (banned, entry.unwrap().operator),
        (id(0), "null".to_owned())
    );
    ban(&config, &hex_of(1).to_ascii_uppercase()).unwrap();
    assert_eq!(list(&config), []);
    // A stranger in advance.
    assert!(ban(&config, &hex_of(5)).unwrap().1.is_none());
    assert_eq!(
        admit(&config, &request(0, Role::Mix, "zero")).unwrap(),
        Admission::NoLongerBanned
    );
    assert_eq!(
        admit(&config, &request(5, Role::Mix, "five")).unwrap(),
        Admission::NoLongerBanned
    );
    assert_eq!(list(&config), of(&[zero, (5, Role::Mix, "five")]));
}

#[test]
fn what_is_no_node_is_told() {
    let (_folder, config) = fixture();
    for (name, word) in [
        ("", "is no node"),
        ("abc", "at least the first 8"),
        ("not hex at all", "is no node"),
        ("0123456789", "no node on the allow-list begins"),
    ] {
        let error = ban(&config, name).unwrap_err().to_string();
        assert!(error.contains(word), "{name}: {error}");
    }
    let nowhere = Config {
        data_dir: "no such folder".into(),
        ..Config::default()
    };
    let error = ban(&nowhere, &hex_of(0)).unwrap_err().to_string();
    assert!(error.contains("no folder no such folder"), "{error}");
}

#[test]
fn a_damaged_file_is_named_and_a_running_authority_keeps_its_list() {
    let (_folder, config) = fixture();
    let mut watch = Watch::new(config.clone());
    assert!(watch.look().is_none());
    admit(&config, &request(1, Role::Mix, "one")).unwrap();
    assert_eq!(watch.look().unwrap().unwrap().len(), 2);
    assert!(watch.look().is_none());
    std::fs::write(config.data_dir.join(FILE), "[[nod]]\n").unwrap();
    let error = format!("{:#}", watch.look().unwrap().unwrap_err());
    assert!(error.contains("nodes.toml is damaged"), "{error}");
    assert!(watch.look().is_none(), "told once");
    assert!(admit(&config, &request(2, Role::Mix, "two")).is_err());
    std::fs::remove_file(config.data_dir.join(FILE)).unwrap();
    assert_eq!(watch.look().unwrap().unwrap().len(), 1);
}

#[test]
fn requests_come_as_text_or_in_a_file_and_for_this_network_only() {
    let authority = NetworkAuthority {
        identity: testing::authority_secret(SEED, 0).public(),
        address: ([192, 0, 2, 1], 7800).into(),
    };
    let network = |seed| {
        let id = network_id(seed);
        Network::new(
            id,
            testing::schedule(),
            vec![authority.clone()],
            1,
            Vec::new(),
        )
        .unwrap()
    };
    let asked = request(1, Role::Mix, "one");
    let read = read_request(&asked.to_text(), &network(SEED)).unwrap();
    assert_eq!(read, asked);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("request");
    std::fs::write(&file, asked.to_text()).unwrap();
    let name = file.to_str().unwrap();
    assert_eq!(read_request(name, &network(SEED)).unwrap(), asked);
    let error = read_request(name, &network(1)).unwrap_err().to_string();
    assert!(error.contains("another network"), "{error}");
    let error = read_request("nowhere", &network(1))
        .unwrap_err()
        .to_string();
    assert!(error.contains("cannot open nowhere"), "{error}");
}
