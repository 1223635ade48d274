//! What is wrong with what a command is given is said with its place, and what is finished is kept: the commands that
//! `tests/study.rs` does not try.
#![expect(
    clippy::disallowed_types,
    reason = "commands are run as a person runs them"
)]
// Clippy's exception for tests does not reach the helpers between them.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("bad-{name}"));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, text: impl AsRef<[u8]>) {
        fs::write(self.0.join(name), text).unwrap();
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_simulations"));
        let command = command.args(arguments).current_dir(&self.0);
        command.output().unwrap()
    }

    /// As a person sees it: an exit code, and one line that has all of `what`.
    fn fails(&self, arguments: &[&str], code: i32, what: &[&str]) {
        let output = self.run(arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(!said.contains("panicked"), "{arguments:?}: {said}");
        for part in what {
            assert!(said.contains(part), "{arguments:?}, no {part:?}: {said}");
        }
    }
}

#[test]
fn traces_and_captures_are_refused_with_file_and_line() {
    let place = Place::new("traces");
    for (text, what) in [
        ("1 2 100\n2 1 90\n", "line 2: 90 comes after 100: sort"),
        (
            "from to time\n1 2 100\n2 1 tomorrow\n",
            "line 3: no time in seconds: tomorrow",
        ),
        (
            "1 2 100\n2 1\n",
            "line 2: 2 fields; want: from to time [bytes]",
        ),
        ("1 2 100 -5\n", "line 1: no number of bytes: -5"),
        ("1 2 inf\n", "line 1: no time in seconds: inf"),
        ("", "no message in it"),
    ] {
        place.file("people.txt", text);
        for command in [
            vec!["replay", "--trace", "people.txt"],
            vec!["attack", "run", "A7", "--trace", "people.txt"],
        ] {
            place.fails(&command, 2, &["people.txt: ", what]);
        }
    }
    place.file("people.txt", [0xff, 0xfe, b'\n']);
    place.fails(
        &["replay", "--trace", "people.txt"],
        2,
        &["cannot read people.txt"],
    );
    place.fails(
        &["replay", "--trace", "nobody.txt"],
        2,
        &["cannot read nobody.txt"],
    );
    place.file("c.csv", "time_ns,direction,bytes\n5,up,9\n4,up,9\n");
    place.fails(
        &["replay", "--capture", "c.csv"],
        2,
        &["c.csv: line 3: time goes back"],
    );
    place.file("c.csv", "1 2 3\n");
    place.fails(
        &["replay", "--capture", "c.csv"],
        2,
        &["line 1: not a capture"],
    );
    // A scenario's trace is named with its own file.
    place.file(
        "s.toml",
        "name = \"t\"\nseed = 1\n[network]\ndesign = \"onion\"\n[workload]\nkind = \"trace\"\nfile = \"late.txt\"\nduration = \"60s\"\n",
    );
    for (text, what) in [
        ("1 2 5\n2 1 4\n", "late.txt: line 2: 4 comes after 5"),
        ("1 1 6\n", "late.txt: no message in it"),
        ("1 2\n", "late.txt: line 1: 2 fields"),
    ] {
        place.file("late.txt", text);
        place.fails(&["run", "s.toml"], 2, &[what]);
    }
}

#[test]
fn numbers_to_verify_are_refused_with_their_line_or_fail_with_a_reason() {
    let place = Place::new("verify");
    let entry = |id: &str, params: &str| {
        format!(
            r#"{{"id":"{id}","what":"w","params":{params},"metric":"bits","expected":1,"tol":0.1,"tol_kind":"abs"}}"#
        )
    };
    place.file("v.json", "[\n{\"id\": \"a\",\n");
    place.fails(&["verify", "v.json"], 2, &["v.json: line "]);
    let text = entry("a", "{}").replace("\"tol\":0.1", "\"tolerance\":0.1");
    place.file("v.json", format!("[\n{text}]"));
    place.fails(
        &["verify", "v.json"],
        2,
        &["line 2, entry a: unknown field \"tolerance\""],
    );
    let text = entry("a", r#"{"rho":"many"}"#);
    place.file("v.json", format!("[\n\n{text}]"));
    place.fails(
        &["verify", "v.json"],
        2,
        &["line 3, entry a: \"params.rho\" must be a number"],
    );
    place.fails(
        &["verify", "nothing.json"],
        2,
        &["cannot read nothing.json"],
    );
    // What can be read and not be run is a failed entry, and the others are still measured.
    let all = [
        entry("unknown", r#"{"moon":1}"#),
        entry("nearly", r#"{"lam_d":1,"mu":2}"#),
        entry("impossible", r#"{"n":-1}"#),
        entry("sound", r#"{"n":2}"#),
    ];
    place.file("v.json", format!("[{}]", all.join(",\n")));
    let output = place.run(&["verify", "v.json"]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    for part in [
        "FAIL: unknown family",
        "the nearest takes lam_d, and knows no mu",
        "FAIL: parameter n is -1: from 1 to",
        "verified 1 of 4",
    ] {
        assert!(said.contains(part), "no {part:?}: {said}");
    }
}

/// A disk that is full: a limit on the size of files stands for it, as both fail in `write`.
#[test]
fn attacks_keep_what_is_done_when_the_disk_is_full() {
    let place = Place::new("attacks");
    place.fails(
        &["attack", "run", "A99"],
        2,
        &["no attack A99", "attack list"],
    );
    place.file("file", "");
    let inside = ["attack", "run", "A9", "--out", "file/inside"];
    place.fails(&inside, 2, &["cannot make file/inside"]);
    place.fails(&["report", "file"], 2, &["cannot read file"]);
    let good = ["attack", "run", "A6", "--out", "out"];
    assert!(place.run(&good).status.success());
    let kept = fs::read(place.0.join("out/A6.json")).unwrap();
    place.fails(&good, 2, &["out exists", "--again"]);
    let program = env!("CARGO_BIN_EXE_simulations");
    let limited = |arguments: &str| {
        let line = format!("trap '' XFSZ; ulimit -f 1; exec {program} {arguments}");
        let mut shell = Command::new("bash");
        let shell = shell.args(["-c", &line]).current_dir(&place.0);
        shell.output().unwrap()
    };
    for (arguments, what) in [
        (
            "attack run A6 --seed 2 --out out --again",
            "attacks that are done are kept",
        ),
        ("report out", "cannot write out/report.html: "),
    ] {
        let output = limited(arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(
            said.contains("cannot write out/") && said.contains(what),
            "{said}"
        );
    }
    // Neither half a file, nor another in the place of the old one.
    assert!(fs::read(place.0.join("out/A6.json")).unwrap() == kept);
    let left = fs::read_dir(place.0.join("out")).unwrap();
    assert!(
        left.map(|e| e.unwrap().path())
            .all(|p| p.extension().is_none_or(|e| e != "part"))
    );
    assert!(!place.0.join("out/report.html").exists());
    assert!(place.run(&["report", "out"]).status.success());
    // A result that is no result.
    place.file("out/A7.json", "{");
    place.fails(&["report", "out"], 2, &["A7.json: "]);
}

#[test]
fn a_damaged_cell_and_a_wrong_shard_are_named() {
    let place = Place::new("cells");
    place.file(
        "s.toml",
        r#"
name = "two"
seed = 3
[network]
design = "bare"
hops = 2
width = 3
mean_delay = "100ms"
[workload]
kind = "poisson"
users = 20
rate = "2/s"
duration = "20s"
[measure]
targets = 8
[sweep]
mode = "grid"
[[sweep.vary]]
key = "network.width"
values = [2, 3]
"#,
    );
    for shard in ["2/2", "0/0", "1", "x/2"] {
        let wrong = ["sweep", "s.toml", "--out", "no", "--shard", shard];
        place.fails(&wrong, 2, &["a shard is i/n"]);
    }
    let sweep = ["sweep", "s.toml", "--out", "out"];
    assert!(place.run(&sweep).status.success());
    let sound = fs::read(place.0.join("out/measures.csv")).unwrap();
    place.file("out/cells/00000001.json", "{\"schema\"");
    let resume = ["sweep", "s.toml", "--out", "out", "--resume"];
    place.fails(&resume, 2, &["00000001.json is damaged, delete it"]);
    // As it says.
    fs::remove_file(place.0.join("out/cells/00000001.json")).unwrap();
    assert!(place.run(&resume).status.success());
    assert!(fs::read(place.0.join("out/measures.csv")).unwrap() == sound);
    // A folder that is none of a study is not touched.
    fs::create_dir(place.0.join("mine")).unwrap();
    place.file("mine/letter.txt", "dear");
    let other = ["sweep", "s.toml", "--out", "mine", "--resume"];
    place.fails(&other, 2, &["mine is no folder of a study"]);
    place.fails(
        &["merge", "mine", "--out", "m"],
        2,
        &["cannot read mine/scenario.toml"],
    );
}
