//! The command as a person meets it: what it writes, what it refuses, and with which exit code.
//!
//! What a mix does with packets is tested in `crates/core` and by `localnet check`.
//! `gateway/tests/shell.rs` is alike.

#![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

#[path = "../../crates/runtime/tests/support/daemon.rs"]
mod daemon;

use daemon::{Folder, Running, free_port};
use runtime::config::check_example_equals_default;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

const NAME: &str = "mixnode";
const EXAMPLE: &str = include_str!("../mixnode.example.toml");
const EXIT_CONFIG: i32 = 78;

fn folder() -> Folder {
    Folder::new(env!("CARGO_BIN_EXE_mixnode"), "mixnode.toml")
}

#[test]
fn the_example_shows_the_defaults() {
    check_example_equals_default::<mixnode::config::Config>(EXAMPLE).unwrap();
}

#[test]
fn wrong_configurations_end_with_78_and_say_where() {
    let folder = folder();
    let check = ["run", "--check-config"];
    folder.refuses(&check, EXIT_CONFIG, &["mixnode.toml", "--config"]);
    folder.configure("data_dir = \"d\"\nlisen = []\n");
    folder.refuses(&check, EXIT_CONFIG, &["line 2", "lisen"]);
    folder.configure("[limits]\nlink_queue = \"many\"\n");
    folder.refuses(&check, EXIT_CONFIG, &["line 2", "link_queue"]);
    for (text, key) in [
        ("listen = []", "listen"),
        ("listen = [\"0.0.0.0:7101\"]", "announce"),
        ("metrics = \"192.0.2.1:80\"", "metrics"),
        ("unwrap_threads = 1000", "unwrap_threads"),
        ("network = \"nowhere.toml\"", "nowhere.toml"),
        ("test_seed = \"none\"", "test_seed"),
        ("test_loss = 1.01", "test_loss"),
        ("test_loss = nan", "test_loss"),
        ("log = \"info,what=loud\"", "log"),
        ("[limits]\ndelay_queue = 0", "limits.delay_queue"),
    ] {
        folder.configure(text);
        folder.refuses(&check, EXIT_CONFIG, &[key]);
    }
    folder.configure("");
    assert_eq!(folder.output(&check).status.code(), Some(0));
}

#[test]
fn variables_override_the_file() {
    let folder = folder();
    folder.configure("unwrap_threads = 1000\n");
    let mut command = folder.command(&["run", "--check-config"]);
    let output = command
        .env("MIZZLE_MIXNODE_UNWRAP_THREADS", "1")
        .output()
        .unwrap();
    // The file alone is refused by `check`; the variable mends it.
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let mut command = folder.command(&["run", "--check-config"]);
    let output = command.env("MIZZLE_MIXNODE_THREADS", "1").output().unwrap();
    assert_eq!(output.status.code(), Some(EXIT_CONFIG));
    assert!(String::from_utf8_lossy(&output.stderr).contains("MIZZLE_MIXNODE_THREADS"));
}

#[test]
fn init_makes_a_configuration_once() {
    let folder = folder();
    let output = folder.output(&["init", "--set", "operator=Example & Co"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        text.contains("Identity: ") && text.contains("Next:"),
        "{text}"
    );
    let config = std::fs::read_to_string(folder.path("mixnode.toml")).unwrap();
    assert!(config.contains("operator = 'Example & Co'"));
    let key = folder.path("mixnode-data/identity.key");
    assert_eq!(
        std::fs::metadata(key).unwrap().permissions().mode() & 0o777,
        0o600
    );
    folder.refuses(&["init"], 1, &["mixnode.toml", "already"]);
    folder.refuses(
        &["init", "--config", "b.toml", "--set", "nokey=1"],
        EXIT_CONFIG,
        &["nokey"],
    );
}

#[test]
fn a_request_to_join_is_signed_by_the_node_for_its_network() {
    let folder = folder();
    folder.configure("data_dir = \"d\"\n");
    folder.refuses(&["join"], EXIT_CONFIG, &["d/identity.key", "init"]);
    std::fs::remove_file(folder.path("mixnode.toml")).unwrap();
    folder.output(&["init", "--set", "operator=Example & Co"]);
    // Also while the node runs.
    let running = Running::start(&folder);
    let output = folder.output(&["join"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let request = directory::JoinRequest::from_text(&text).unwrap();
    request.verify(&directory::testing::network_id(1)).unwrap();
    assert_eq!(request.operator, "Example & Co");
    assert_eq!(request.role, directory::Role::Mix);
    let seed = std::fs::read(folder.path("mixnode-data/identity.key")).unwrap();
    let seed = <[u8; 32]>::try_from(seed).unwrap();
    let identity = wire::keys::IdentitySecret::from_seed(&seed).public();
    assert_eq!(request.identity, identity);
    drop(running);
    // Without a name the node is a family of its own.
    std::fs::remove_file(folder.path("mixnode.toml")).unwrap();
    folder.configure("");
    let output = folder.output(&["join"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let request = directory::JoinRequest::from_text(&text).unwrap();
    assert_eq!(
        request.operator,
        directory::hex::encode(&identity.to_bytes())
    );
}

#[test]
fn retiring_is_ordered_once_asked_again_and_taken_back() {
    let folder = folder();
    folder.configure("data_dir = \"d\"\n");
    folder.refuses(&["retire"], EXIT_CONFIG, &["data_dir", "no node in d"]);
    std::fs::remove_file(folder.path("mixnode.toml")).unwrap();
    folder.output(&["init"]);
    let says = |args: &[&str]| {
        let output = folder.output(args);
        assert_eq!(output.status.code(), Some(0));
        String::from_utf8(output.stdout).unwrap()
    };
    let file = folder.path("mixnode-data/retiring");
    assert!(says(&["retire", "--cancel"]).contains("nothing to cancel"));
    assert!(says(&["retire"]).contains("This node retires. Its last directory"));
    let ordered = std::fs::read(&file).unwrap();
    assert!(says(&["retire"]).contains("retires already"));
    assert_eq!(std::fs::read(&file).unwrap(), ordered);
    folder.refuses(&["retire", "--wait"], EXIT_CONFIG, &["metrics"]);
    folder.refuses(&["retire", "--wait", "--cancel"], 2, &["--cancel"]);
    assert!(says(&["retire", "--cancel"]).contains("This node stays"));
    assert!(!file.exists());
    // With a port to ask at, a node that does not run is no node that serves.
    let port = format!("metrics = \"127.0.0.1:{}\"\n", free_port());
    folder.configure(&port);
    folder.refuses(&["retire"], 1, &["Does the node run?"]);
    let running = Running::start(&folder);
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let output = folder.output(&["retire"]);
        let text = String::from_utf8(output.stdout).unwrap();
        if text.contains("It may not be stopped yet") {
            break;
        }
        assert!(Instant::now() < deadline, "{text}");
        std::thread::sleep(Duration::from_millis(100));
    }
    let status = says(&["status"]);
    assert!(
        status.contains("retiring") && status.contains("may_stop no"),
        "{status}"
    );
    drop(running);
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    let folder = folder();
    folder.output(&["init"]);
    let key = folder.path("mixnode-data/identity.key");
    std::fs::set_permissions(key, PermissionsExt::from_mode(0o644)).unwrap();
    folder.refuses(&["run"], EXIT_CONFIG, &["identity.key", "chmod 600"]);
}

#[test]
fn a_port_in_use_is_named() {
    let folder = folder();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    folder.configure(&format!("listen = [\"{address}\"]\n"));
    folder.refuses(&["run"], 1, &[&address.to_string(), "another process"]);
}

#[test]
fn a_node_without_authority_runs_answers_and_ends_well() {
    let folder = folder();
    folder.configure(&format!(
        "listen = [\"127.0.0.1:{}\"]\nmetrics = \"127.0.0.1:{}\"\n",
        free_port(),
        free_port()
    ));
    folder.refuses(&["status"], 1, &["Does the node run?"]);
    let running = Running::start(&folder);
    let deadline = Instant::now() + Duration::from_secs(20);
    let text = loop {
        let output = folder.output(&["status"]);
        if output.status.success() {
            break String::from_utf8(output.stdout).unwrap();
        }
        assert!(Instant::now() < deadline, "no status within 20 s");
        std::thread::sleep(Duration::from_millis(50));
    };
    assert!(text.contains(NAME) || text.contains("ready"), "{text}");
    // The folder is locked against a second one.
    folder.refuses(&["run"], 1, &["in use by another process"]);
    let asked = Instant::now();
    assert_eq!(running.terminate(), Some(0));
    assert!(asked.elapsed() < Duration::from_secs(5));
}
