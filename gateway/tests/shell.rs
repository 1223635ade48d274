//! The command as a person meets it: what it writes, what it refuses, and with which exit code.
//!
//! What a gateway does with packets is tested in `crates/core` and by `localnet check`.
//! `mixnode/tests/shell.rs` is alike.

#![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

use directory::testing::{authority_secret, network_id, schedule};
use directory::{Network, NetworkAuthority};
use runtime::config::check_example_equals_default;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const NAME: &str = "gateway";
const EXAMPLE: &str = include_str!("../gateway.example.toml");
const EXIT_CONFIG: i32 = 78;

/// A folder with a network.toml and a configuration.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        // Nobody listens at port 9 here: a node waits for its authority.
        let identity = authority_secret(1, 0).public();
        let address = "127.0.0.1:9".parse().unwrap();
        let authorities = vec![NetworkAuthority { identity, address }];
        let network = Network::new(network_id(1), schedule(), authorities, 1, Vec::new()).unwrap();
        std::fs::write(folder.path("network.toml"), network.to_toml()).unwrap();
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn configure(&self, text: &str) {
        std::fs::write(self.path("gateway.toml"), text).unwrap();
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gateway"));
        command.args(args).current_dir(self.0.path());
        command
    }

    fn output(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Must end with `code` and say each of `words`.
    fn refuses(&self, args: &[&str], code: i32, words: &[&str]) {
        let output = self.output(args);
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{text}");
        for word in words {
            assert!(text.contains(word), "{word} is not in: {text}");
        }
    }
}

/// A started node, killed at the end of the test whatever happens.
struct Running(Child);

impl Running {
    fn start(folder: &Folder) -> Self {
        let mut command = folder.command(&["run"]);
        Self(
            command
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap(),
        )
    }

    fn terminate(mut self) -> Option<i32> {
        let id = self.0.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &id])
                .status()
                .unwrap()
                .success()
        );
        self.0.wait().unwrap().code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

#[test]
fn the_example_shows_the_defaults() {
    check_example_equals_default::<gateway::config::Config>(EXAMPLE).unwrap();
}

#[test]
fn wrong_configurations_end_with_78_and_say_where() {
    let folder = Folder::new();
    let check = ["run", "--check-config"];
    folder.refuses(&check, EXIT_CONFIG, &["gateway.toml", "--config"]);
    folder.configure("data_dir = \"d\"\nlisen = []\n");
    folder.refuses(&check, EXIT_CONFIG, &["line 2", "lisen"]);
    folder.configure("[limits]\nlink_queue = \"many\"\n");
    folder.refuses(&check, EXIT_CONFIG, &["line 2", "link_queue"]);
    for (text, key) in [
        ("listen = []", "listen"),
        ("listen = [\"0.0.0.0:7101\"]", "announce"),
        ("client_listen = [\"127.0.0.1:7201\"]", "client_listen"),
        ("client_listen = [\"[::]:7202\"]", "client_announce"),
        ("metrics = \"192.0.2.1:80\"", "metrics"),
        ("unwrap_threads = 1000", "unwrap_threads"),
        ("network = \"nowhere.toml\"", "nowhere.toml"),
        ("test_seed = \"none\"", "test_seed"),
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
    let folder = Folder::new();
    folder.configure("unwrap_threads = 1000\n");
    let mut command = folder.command(&["run", "--check-config"]);
    let output = command
        .env("MIZZLE_GATEWAY_UNWRAP_THREADS", "1")
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
    let output = command.env("MIZZLE_GATEWAY_THREADS", "1").output().unwrap();
    assert_eq!(output.status.code(), Some(EXIT_CONFIG));
    assert!(String::from_utf8_lossy(&output.stderr).contains("MIZZLE_GATEWAY_THREADS"));
}

#[test]
fn init_makes_a_configuration_once() {
    let folder = Folder::new();
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
    let config = std::fs::read_to_string(folder.path("gateway.toml")).unwrap();
    assert!(config.contains("operator = 'Example & Co'"));
    for name in ["identity.key", "store.key"] {
        let key = folder.path("gateway-data").join(name);
        assert_eq!(
            std::fs::metadata(key).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }
    folder.refuses(&["init"], 1, &["gateway.toml", "already"]);
    folder.refuses(
        &["init", "--config", "b.toml", "--set", "nokey=1"],
        EXIT_CONFIG,
        &["nokey"],
    );
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    let folder = Folder::new();
    folder.output(&["init"]);
    for name in ["store.key", "identity.key"] {
        let key = folder.path("gateway-data").join(name);
        std::fs::set_permissions(key, PermissionsExt::from_mode(0o644)).unwrap();
        folder.refuses(&["run"], EXIT_CONFIG, &[name, "chmod 600"]);
    }
}

#[test]
fn a_store_of_another_key_is_refused() {
    let folder = Folder::new();
    folder.configure(&format!(
        "listen = [\"127.0.0.1:{}\"]\nclient_listen = [\"127.0.0.1:{}\"]\n",
        free_port(),
        free_port()
    ));
    let running = Running::start(&folder);
    let deadline = Instant::now() + Duration::from_secs(20);
    while !folder.path("gateway-data/inboxes").exists() {
        assert!(Instant::now() < deadline, "no store within 20 s");
        std::thread::sleep(Duration::from_millis(20));
    }
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(running.terminate(), Some(0));
    std::fs::remove_file(folder.path("gateway-data/store.key")).unwrap();
    folder.refuses(&["run"], 1, &["inboxes", "another key"]);
}

#[test]
fn a_port_in_use_is_named() {
    let folder = Folder::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    folder.configure(&format!("listen = [\"{address}\"]\n"));
    folder.refuses(&["run"], 1, &[&address.to_string(), "another process"]);
}

#[test]
fn a_node_without_authority_runs_answers_and_ends_well() {
    let folder = Folder::new();
    folder.configure(&format!(
        "listen = [\"127.0.0.1:{}\"]\nclient_listen = [\"127.0.0.1:{}\"]\nmetrics = \"127.0.0.1:{}\"\n",
        free_port(),
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
