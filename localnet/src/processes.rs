//! Children: this program again, once for each node. They end with the parent, whichever way it
//! ends.

use crate::plan::{Plan, Planned};
use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// A node's process.
pub struct Process {
    /// Who it is.
    pub node: Planned,
    program: PathBuf,
    child: Child,
    /// Killed by us, and not started again yet.
    away: bool,
}

/// All of them.
pub struct Processes {
    all: Vec<Process>,
}

impl Processes {
    /// Starts every node of the plan.
    pub fn start(plan: &Plan, program: &Path) -> Result<Self> {
        let mut processes = Self { all: Vec::new() };
        for node in &plan.nodes {
            processes.add(node, program)?;
        }
        Ok(processes)
    }

    /// Starts one more, which was not planned at first.
    pub fn add(&mut self, node: &Planned, program: &Path) -> Result<()> {
        let child = spawn(program, node, &[])?;
        let (node, program) = (node.clone(), program.to_owned());
        self.all.push(Process {
            node,
            program,
            child,
            away: false,
        });
        Ok(())
    }

    /// Every process, authorities first.
    pub fn iter(&self) -> impl Iterator<Item = &Process> {
        self.all.iter()
    }

    /// The process of a node by its name.
    pub fn by_name(&mut self, name: &str) -> Option<&mut Process> {
        self.all.iter_mut().find(|p| p.node.name == name)
    }

    /// Fails with the name and the log's place when a child has ended by itself.
    pub fn check_alive(&mut self) -> Result<()> {
        for process in self.all.iter_mut().filter(|p| !p.away) {
            if let Some(status) = process.child.try_wait()? {
                let log = process.node.folder.join("log");
                let tail = tail(&log);
                bail!(
                    "{} ended ({status}); its log {}:\n{tail}",
                    process.node.name,
                    log.display()
                );
            }
        }
        Ok(())
    }

    /// SIGTERM to all, and what did not end in 10 s is killed. Fails when one did not end well.
    pub fn stop(&mut self) -> Result<()> {
        // Another process may have the number of one that is away.
        self.all.retain(|p| !p.away);
        for process in &self.all {
            process.signal(Signal::TERM);
        }
        let deadline = Instant::now() + Duration::from_secs(10);
        let mut bad = Vec::new();
        for process in &mut self.all {
            match process.wait_until(deadline)? {
                Some(status) if status.success() => {}
                Some(status) => bad.push(format!("{} ended with {status}", process.node.name)),
                None => bad.push(format!("{} did not end in 10 s", process.node.name)),
            }
        }
        self.all.clear();
        if bad.is_empty() {
            Ok(())
        } else {
            bail!("at the end: {}", bad.join("; "))
        }
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        for process in &mut self.all {
            let _ = process.child.kill();
            let _ = process.child.wait();
        }
    }
}

impl Process {
    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// `kill -9`, and waits for the end.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        self.away = true;
        Ok(())
    }

    /// Starts it again after it was killed.
    pub fn restart(&mut self) -> Result<()> {
        self.restart_with(&[])
    }

    /// The same with these variables in its environment.
    pub fn restart_with(&mut self, variables: &[(&str, &str)]) -> Result<()> {
        self.child = spawn(&self.program, &self.node, variables)?;
        self.away = false;
        Ok(())
    }

    /// Asks it to end (SIGTERM), and fails when it does not end well.
    pub fn end(&mut self) -> Result<()> {
        self.signal(Signal::TERM);
        self.away = true;
        match self.wait_until(Instant::now() + Duration::from_secs(10))? {
            Some(status) if status.success() => Ok(()),
            Some(status) => bail!("{} ended with {status}", self.node.name),
            None => bail!("{} did not end in 10 s", self.node.name),
        }
    }

    /// Peak resident memory in KiB, where the system tells (`VmHWM`).
    pub fn peak_memory_kib(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).ok()?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))?;
        line.split_whitespace().next()?.parse().ok()
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid {
            let _ = kill_process(pid, signal);
        }
    }

    fn wait_until(&mut self, deadline: Instant) -> Result<Option<ExitStatus>> {
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(Some(status));
            }
            if Instant::now() >= deadline {
                self.child.kill()?;
                self.child.wait()?;
                return Ok(None);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn spawn(program: &Path, node: &Planned, variables: &[(&str, &str)]) -> Result<Child> {
    let log_path = node.folder.join("log");
    let log = File::options()
        .create(true)
        .append(true)
        .open(&log_path)
        .with_context(|| format!("cannot write {}", log_path.display()))?;
    Command::new(program)
        .arg("role")
        .arg(node.role.program())
        .arg("run")
        .arg("--die-with-parent")
        .arg("--config")
        .arg(node.config_file())
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .with_context(|| format!("cannot start {}", node.name))
}

/// The last lines of a log, for an error message.
fn tail(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(8)..].join("\n")
}
