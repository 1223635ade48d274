//! A small file system under a daemon, and waiting for what it says of it.

use localnet::live::Network;
use localnet::plan::Planned;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

pub(crate) const PATIENCE: Duration = Duration::from_secs(180);

/// A small file system in the place of a folder, with what was in it.
pub(crate) struct SmallDisk(PathBuf);

impl SmallDisk {
    pub(crate) fn under(folder: &Path) -> Option<Self> {
        let aside = folder.with_extension("aside");
        std::fs::rename(folder, &aside).unwrap();
        // Its size is the large file system's; a start makes a new one.
        let ballast = ["-name", "ballast", "-delete"];
        let removed = Command::new("find").arg(&aside).args(ballast).status();
        assert!(removed.unwrap().success());
        std::fs::create_dir(folder).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=40m,mode=0700", "tmpfs"])
            .arg(folder)
            .status();
        if !mounted.is_ok_and(|status| status.success()) {
            println!("SKIPPED: a small file system cannot be mounted here (needs root)");
            return None;
        }
        let copied = Command::new("cp")
            .arg("-a")
            .arg(aside.join("."))
            .arg(folder)
            .status();
        assert!(copied.unwrap().success());
        Some(Self(folder.to_owned()))
    }

    /// A file of somebody else's that takes all the room there is.
    pub(crate) fn fill(&self) -> PathBuf {
        let path = self.0.join("foreign");
        let mut file = std::fs::File::create(&path).unwrap();
        let chunk = vec![7; 64 * 1024];
        while std::io::Write::write_all(&mut file, &chunk).is_ok() {}
        while std::io::Write::write_all(&mut file, &chunk[..512]).is_ok() {}
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

pub(crate) fn planned(network: &Network, name: &str) -> Planned {
    let found = network.plan.nodes.iter().find(|n| n.name == name);
    found.unwrap().clone()
}

/// `kill -9`, something done to its folder, and a start.
pub(crate) fn while_dead<T>(network: &mut Network, name: &str, work: impl FnOnce(&Path) -> T) -> T {
    let folder = planned(network, name).data();
    network.processes.by_name(name).unwrap().kill().unwrap();
    let done = work(&folder);
    network.processes.by_name(name).unwrap().restart().unwrap();
    done
}

/// Until `wanted` is true of what `ask` says.
pub(crate) async fn until<F: Future<Output = Option<Value>>>(
    what: &str,
    ask: impl Fn() -> F,
    wanted: impl Fn(&Value) -> bool,
) -> Duration {
    let began = Instant::now();
    let mut last = None;
    while began.elapsed() < PATIENCE {
        if let Some(said) = ask().await {
            if wanted(&said) {
                return began.elapsed();
            }
            last = Some(said);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{what}: not within {PATIENCE:?}; last {last:?}");
}
