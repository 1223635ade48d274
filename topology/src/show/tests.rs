//! What people and programs read of a directory, and that a page loads nothing and runs nothing.

use super::*;
use directory::testing::{authority_secret, directory as made, network_id, nobodys_key, schedule};
use directory::{NetworkAuthority, Role};
use wire::ids::Epoch;

/// A network of one authority, and a directory with its signature.
pub(crate) fn signed() -> (Network, SignedDirectory, Directory) {
    let identity = authority_secret(7, 0).public();
    let address = ([192, 0, 2, 1], 7800).into();
    let authorities = vec![NetworkAuthority { identity, address }];
    let network = Network::new(network_id(7), schedule(), authorities, 1, Vec::new()).unwrap();
    let (directory, _) = made(7, 2, 2, Epoch(4), Parameters::localnet(), nobodys_key);
    let signed = SignedDirectory::sign(&directory, 0, &authority_secret(7, 0));
    (network, signed, directory)
}

fn example() -> Shown {
    let (network, signed, directory) = signed();
    let (first, _) = directory.nodes().next().unwrap();
    let operators = Operators::from([(first.family, "A <b>\"& Co'".to_owned())]);
    shown(&signed, &directory, &network, &operators)
}

#[test]
fn everything_is_said_in_words() {
    let shown = example();
    let now = UnixTime(shown.valid_from + 1000);
    let words = shown.in_words(now);
    let has = |part: &str| assert!(words.contains(part), "{part}: {words}");
    has("epoch 4 of network");
    has("valid for 7199 s more");
    has("signed by 1 of 1 authorities (1), 1 needed");
    has("layer 3: 2 mixes, each carries 50.0 %");
    has("2 gateways, each");
    has("delay_mean_ms      50");
    has("A <b>\"& Co'");
    for node in shown.layers.iter().flatten().chain(&shown.gateways) {
        has(short(&node.id));
    }
    let over = shown.in_words(UnixTime(shown.valid_until + 5000));
    assert!(over.contains("NOT VALID: its time was over 5 s ago"));
    assert!(shown.in_words(UnixTime(0)).contains("valid in"));
}

#[test]
fn the_page_stands_alone_and_names_are_text() {
    let shown = example();
    let page = page(&shown, UnixTime(shown.valid_from));
    for foreign in [
        "<script", "http:", "https:", "src=", "@import", "url(", "<b>",
    ] {
        assert!(!page.contains(foreign), "{foreign}");
    }
    assert!(page.contains("A &lt;b&gt;&quot;&amp; Co&#39;"));
    for node in shown.layers.iter().flatten().chain(&shown.gateways) {
        assert!(page.contains(&node.id));
    }
    // Gateways stand on both sides: 2 + 2·3 + 2 dots, 4 × 4 lines.
    assert_eq!(page.matches("<circle").count(), 10);
    assert_eq!(page.matches("<line ").count(), 16);
    let opened = page.matches("<tr>").count();
    assert_eq!(opened, page.matches("</tr>").count());
    assert_eq!(
        page.matches("<text").count(),
        page.matches("</text>").count()
    );
}

#[test]
fn a_large_network_is_dots_without_lines() {
    let (network, ..) = signed();
    let (directory, _) = made(7, 100, 50, Epoch(4), Parameters::wide(), nobodys_key);
    let signed = SignedDirectory::sign(&directory, 0, &authority_secret(7, 0));
    let shown = shown(&signed, &directory, &network, &Operators::new());
    let page = page(&shown, UnixTime(0));
    assert_eq!(page.matches("<circle").count(), 400);
    assert_eq!(page.matches("<line ").count(), 0);
    assert_eq!(shown.layers[0].len(), 100);
    assert_eq!(
        directory
            .nodes()
            .filter(|(n, _)| n.role == Role::Mix)
            .count(),
        300
    );
}

#[test]
fn programs_get_the_same() {
    let json = serde_json::to_value(example()).unwrap();
    assert_eq!(json["epoch"], 4);
    assert_eq!(json["layers"][2].as_array().unwrap().len(), 2);
    assert_eq!(json["parameters"]["loop_rate"], 2.0);
    assert_eq!(json["signed_by"], serde_json::json!([1]));
    assert_eq!(json["gateways"][0]["share"], 0.5);
}
