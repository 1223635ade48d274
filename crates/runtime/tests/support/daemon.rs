//! A node's program in a folder of its own, for the tests of its command line. Included by path from
//! `mixnode/tests/shell.rs` and `gateway/tests/shell.rs`, because a program's place is known only to
//! the tests of its own package.

use directory::testing::{authority_secret, network_id, schedule};
use directory::{Network, NetworkAuthority};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

/// A folder with a network.toml and a configuration.
pub(crate) struct Folder {
    dir: tempfile::TempDir,
    program: &'static str,
    config: &'static str,
}

impl Folder {
    /// For `program`, whose configuration is called `config`.
    pub(crate) fn new(program: &'static str, config: &'static str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let folder = Self {
            dir,
            program,
            config,
        };
        // Nobody listens at port 9 here: a node waits for its authority.
        let identity = authority_secret(1, 0).public();
        let address = "127.0.0.1:9".parse().unwrap();
        let authorities = vec![NetworkAuthority { identity, address }];
        let network = Network::new(network_id(1), schedule(), authorities, 1, Vec::new()).unwrap();
        std::fs::write(folder.path("network.toml"), network.to_toml()).unwrap();
        folder
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn configure(&self, text: &str) {
        std::fs::write(self.path(self.config), text).unwrap();
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(self.program);
        command.args(args).current_dir(self.dir.path());
        command
    }

    pub(crate) fn output(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Must end with `code` and say each of `words`.
    pub(crate) fn refuses(&self, args: &[&str], code: i32, words: &[&str]) {
        let output = self.output(args);
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{text}");
        for word in words {
            assert!(text.contains(word), "{word} is not in: {text}");
        }
    }
}

/// A started node, killed at the end of the test whatever happens.
pub(crate) struct Running(Child);

impl Running {
    pub(crate) fn start(folder: &Folder) -> Self {
        let mut command = folder.command(&["run"]);
        Self(
            command
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap(),
        )
    }

    pub(crate) fn terminate(mut self) -> Option<i32> {
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

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}
