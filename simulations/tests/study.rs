//! The commands as a person runs them: the same bytes from any number of threads, from shards, and after a kill; and
//! what is said when something is wrong.
#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "a kill needs a process, and waiting for the moment to do it"
)]
// Clippy's exception for tests does not reach the helpers between them.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

const SCENARIO: &str = r#"
name = "small"
seed = 3
replications = 2
[network]
design = "bare"
hops = 2
width = 3
mean_delay = "100ms"
[workload]
kind = "poisson"
users = 50
rate = "2/s"
duration = "60s"
[measure]
targets = 40
[sweep]
mode = "grid"
[[sweep.vary]]
key = "network.width"
values = [2, 3, 5]
[[sweep.vary]]
key = "network.mean_delay"
values = ["50ms", "100ms"]
"#;

struct Place(PathBuf);

impl Place {
    fn new(name: &str, scenario: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("study-{name}"));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join("s.toml"), scenario).unwrap();
        Self(path)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_simulations"));
        command.args(arguments).current_dir(&self.0);
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn succeeds(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{arguments:?}: {said}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn fails(&self, arguments: &[&str], what: &str) {
        let output = self.run(arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(what), "{arguments:?}: {said}");
        assert!(!said.contains("panicked"), "{said}");
    }

    /// Every file of a folder.
    fn bytes(&self, folder: &str) -> BTreeMap<PathBuf, Vec<u8>> {
        let root = self.0.join(folder);
        let mut out = BTreeMap::new();
        for inside in [root.clone(), root.join("cells")] {
            for entry in fs::read_dir(inside).unwrap() {
                let path = entry.unwrap().path();
                if path.is_file() {
                    let name = path.strip_prefix(&root).unwrap().to_owned();
                    out.insert(name, fs::read(&path).unwrap());
                }
            }
        }
        out
    }
}

#[test]
fn threads_shards_and_kills_change_no_byte() {
    let place = Place::new("bytes", SCENARIO);
    place.succeeds(&["sweep", "s.toml", "--out", "one", "--threads", "1"]);
    let whole = place.bytes("one");
    // 12 cells, the scenario, two tables and the summary.
    assert_eq!(whole.len(), 16);
    place.succeeds(&["sweep", "s.toml", "--out", "two", "--threads", "2"]);
    assert!(place.bytes("two") == whole);

    for part in ["0/3", "1/3", "2/3"] {
        let out = format!("part-{}", &part[..1]);
        place.succeeds(&["sweep", "s.toml", "--out", &out, "--shard", part]);
    }
    place.fails(
        &["merge", "part-0", "part-2", "--out", "merged"],
        "4 runs are missing",
    );
    place.succeeds(&["merge", "part-0", "part-1", "part-2", "--out", "merged"]);
    assert!(place.bytes("merged") == whole);

    // Killed again and again, each time when there is one cell more.
    let mut kills = 0;
    for round in 1.. {
        let mut child = place
            .command(&[
                "sweep",
                "s.toml",
                "--out",
                "killed",
                "--threads",
                "1",
                "--resume",
            ])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let cells = place.0.join("killed/cells");
        let finished = loop {
            let there = fs::read_dir(&cells).map_or(0, Iterator::count);
            if let Some(status) = child.try_wait().unwrap() {
                assert!(status.success());
                break true;
            }
            if there >= round * 2 {
                break false;
            }
            std::thread::sleep(Duration::from_millis(1));
        };
        if finished {
            break;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
    }
    assert!(kills > 0);
    let mut killed = place.bytes("killed");
    // What was being written when it was killed may be left over; it is no result.
    killed.retain(|path, _| path.extension().is_none_or(|e| e != "part"));
    assert!(killed == whole);
}

#[test]
fn a_run_prints_its_numbers_and_its_table_holds_them() {
    let scenario = SCENARIO.split("[sweep]").next().unwrap();
    let place = Place::new("run", scenario);
    let printed = place.succeeds(&["run", "s.toml"]);
    assert!(
        printed.contains("entropy") && printed.contains("bit"),
        "{printed}"
    );
    assert_eq!(
        place.succeeds(&["run", "s.toml", "--out", "out", "--threads", "2"]),
        printed
    );
    let files = place.bytes("out");
    let text = |name: &str| String::from_utf8(files[Path::new(name)].clone()).unwrap();
    for name in ["measures.csv", "tracked.csv"] {
        let table = text(name);
        let mut lines = table.lines();
        let head = lines.next().unwrap();
        for part in [
            "# simulations 0.",
            "schema 1",
            "seed 3",
            "\"mean_delay\":\"0.1s\"",
        ] {
            assert!(head.contains(part), "{head}");
        }
        let columns = lines.next().unwrap().split(',').count();
        assert!(lines.clone().count() > 20);
        assert!(lines.all(|line| line.split(',').count() == columns));
    }
    let summary: serde_json::Value = serde_json::from_str(&text("summary.json")).unwrap();
    assert_eq!(summary["schema"], 1);
    assert_eq!(summary["scenario"]["workload"]["rate"], "2/s");
    let first = &summary["points"][0]["measures"][0];
    assert_eq!(first["name"], "entropy");
    assert!(first["low"].as_f64().unwrap() < first["value"].as_f64().unwrap());
    assert!(first["definition"].as_str().unwrap().contains("Shannon"));
}

#[test]
fn what_is_wrong_is_said_and_nothing_is_overwritten() {
    let place = Place::new("wrong", SCENARIO);
    place.succeeds(&["sweep", "s.toml", "--out", "out"]);
    let before = place.bytes("out");
    place.fails(&["sweep", "s.toml", "--out", "out"], "exists");
    fs::write(
        place.0.join("t.toml"),
        SCENARIO.replace("seed = 3", "seed = 4"),
    )
    .unwrap();
    place.fails(
        &["sweep", "t.toml", "--out", "out", "--resume"],
        "another scenario",
    );
    assert!(place.bytes("out") == before);
    place.fails(&["run", "s.toml"], "simulations sweep");
    place.fails(&["run", "absent.toml"], "cannot read absent.toml");
    fs::write(place.0.join("u.toml"), SCENARIO.replace("\"2/s\"", "\"2\"")).unwrap();
    place.fails(&["sweep", "u.toml", "--out", "u"], "u.toml, line 13: ");
    assert!(!place.0.join("u").exists());
    let more = "users = 50\ncontacts = 50";
    fs::write(place.0.join("w.toml"), SCENARIO.replace("users = 50", more)).unwrap();
    place.fails(&["sweep", "w.toml", "--out", "w"], "at most 49 others");
    // A trace with a broken line, named with its file.
    let scenario = SCENARIO.split("[sweep]").next().unwrap();
    let trace = scenario.replace(
        "kind = \"poisson\"\nusers = 50\nrate = \"2/s\"",
        "kind = \"trace\"\nfile = \"trace.txt\"",
    );
    fs::write(place.0.join("v.toml"), &trace).unwrap();
    fs::write(place.0.join("trace.txt"), "1 2 10\n2 1 11\n1 3 oops\n").unwrap();
    place.fails(
        &["run", "v.toml"],
        "trace.txt: line 3: no time in seconds: oops",
    );
    // A folder that cannot be written to: a file stands where a folder should.
    place.fails(
        &["sweep", "s.toml", "--out", "s.toml/inside"],
        "cannot make",
    );
}

/// A disk that is full: a limit on the size of files stands for it, as both fail in `write`.
#[test]
fn a_full_disk_keeps_what_is_finished() {
    let place = Place::new("full", &SCENARIO.replace("targets = 40", "targets = 4000"));
    let run = |limit: &str| {
        let program = env!("CARGO_BIN_EXE_simulations");
        let line = format!(
            "trap '' XFSZ; ulimit -f {limit}; exec {program} sweep s.toml --out out --threads 1 --resume"
        );
        let mut shell = Command::new("bash");
        shell
            .args(["-c", &line])
            .current_dir(&place.0)
            .output()
            .unwrap()
    };
    let output = run("24");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(
        said.contains("cannot write out/cells/") && said.contains("finished cells are kept"),
        "{said}"
    );
    let left = fs::read_dir(place.0.join("out/cells")).unwrap();
    assert!(
        left.map(|e| e.unwrap().path())
            .all(|p| p.extension().is_some_and(|e| e == "json"))
    );
    let output = run("unlimited");
    assert!(output.status.success());
    place.succeeds(&["sweep", "s.toml", "--out", "again", "--threads", "2"]);
    assert!(place.bytes("out") == place.bytes("again"));
}

/// Every example is taken, and the ones that are quick are run.
#[test]
fn the_examples_can_be_run() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let place = Place::new("examples", SCENARIO);
    let mut n = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "toml") {
            let text = fs::read_to_string(&path).unwrap();
            let study = simulations::scenario_file::Study::parse(&text);
            assert!(study.is_ok(), "{}: {}", path.display(), study.unwrap_err());
            n += 1;
        }
    }
    assert!(n >= 6);
    let cores = folder.join("cores.toml");
    let printed = place.succeeds(&["run", cores.to_str().unwrap()]);
    assert!(printed.contains("stored"), "{printed}");
}
