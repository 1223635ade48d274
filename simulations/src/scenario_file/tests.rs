//! Files that are right, and everything that can be wrong with one.

use super::*;

const GOOD: &str = r#"
name = "a study"
seed = 7

[network]
design = "mizzle"
width = 5
gateways = 4
mean_delay = "500ms"

[rates]
payload = "1/2s"
mix_loops = "1/4s"

[workload]
kind = "poisson"
users = 100
rate = "1/60s"
duration = "10min"

[adversary]
corrupt_mixes = 0.2
placement = "per-layer"
"#;

#[test]
fn a_file_is_read_and_resolved() {
    let study = Study::parse(GOOD).unwrap();
    assert_eq!(study.points.len(), 1);
    let case = &study.points[0].case;
    assert_eq!(case.engine, Engine::Sweep);
    assert_eq!(case.design.topology.stages(), [5, 5, 5]);
    assert_eq!(case.design.mean_delay(), Some(0.5));
    assert_eq!(case.design.emission.payload_rate, 0.5);
    assert_eq!((case.users, case.duration), (100, 600.0));
    // The echo of a file says the same.
    let echo = serde_json::to_value(&study.file).unwrap();
    assert_eq!(echo["network"]["mean_delay"], "0.5s");
    assert_eq!(echo["workload"]["rate"], format!("{}/s", 1.0 / 60.0));
}

/// (from, to, line, what is said).
const WRONG: [(&str, &str, usize, &str); 34] = [
    ("width = 5", "widht = 5", 7, "unknown field `widht`"),
    (
        "mean_delay = \"500ms\"",
        "mean_delay = 500",
        9,
        "a time with its unit",
    ),
    ("\"500ms\"", "\"500\"", 9, "a time with its unit"),
    ("\"1/2s\"", "\"0.5\"", 12, "a rate with its unit"),
    ("seed = 7", "seed = -1", 3, "invalid value"),
    ("seed = 7", "sed = 7", 3, "unknown field `sed`"),
    (
        "design = \"mizzle\"",
        "design = \"drizzle\"",
        6,
        "mizzle, loopix, nym",
    ),
    ("width = 5", "width = 0", 5, "every layer a mix"),
    ("gateways = 4", "gateways = 1", 5, "needs two gateways"),
    (
        "\"500ms\"",
        "\"500ms\"\nperiod = \"1s\"",
        10,
        "has no period",
    ),
    (
        "\"500ms\"",
        "\"500ms\"\nmixing = \"timed\"",
        10,
        "needs period",
    ),
    (
        "mean_delay = \"500ms\"",
        "mixing = \"timed\"\nperiod = \"1s\"",
        9,
        "engine = \"events\"",
    ),
    (
        "\"500ms\"",
        "\"500ms\"\nweights = [1.0, -2.0]",
        10,
        "weights are",
    ),
    (
        "\"500ms\"",
        "\"500ms\"\ntopology = \"star\"",
        10,
        "stratified, cascade",
    ),
    (
        "\"500ms\"",
        "\"500ms\"\npull_interval = \"3s\"",
        10,
        "belongs to delivery",
    ),
    (
        "\"500ms\"",
        "\"500ms\"\ndelivery = \"bare\"",
        8,
        "has no gateways",
    ),
    (
        "\"500ms\"",
        "\"500ms\"\ndownlink_rate = \"0.1/s\"",
        5,
        "replies would pile up",
    ),
    (
        "kind = \"poisson\"",
        "kind = \"burst\"",
        16,
        "nothing, saturated, poisson, trace",
    ),
    ("rate = \"1/60s\"", "", 16, "needs rate"),
    (
        "rate = \"1/60s\"",
        "rate = \"1/s\"",
        18,
        "queues would grow for ever",
    ),
    ("users = 100", "users = 1", 17, "between 2 and"),
    (
        "users = 100",
        "users = 100\nfile = \"x\"",
        18,
        "has no file",
    ),
    ("duration = \"10min\"", "", 16, "needs duration"),
    (
        "corrupt_mixes = 0.2",
        "corrupt_mixes = 1.5",
        21,
        "between 0 and 1",
    ),
    (
        "\"per-layer\"",
        "\"best\"",
        23,
        "random, per-layer, adaptive",
    ),
    ("seed = 7", "seed = 7\nreplications = 0", 4, "between 1 and"),
    ("[adversary]", "[adversary", 21, ""),
    ("\"10min\"", "\"-10min\"", 19, "a time with its unit"),
    ("\"10min\"", "\"10 parsecs\"", 19, "a time with its unit"),
    ("\"1/60s\"", "\"nan/s\"", 18, "a rate with its unit"),
    ("\"1/60s\"", "0.016", 18, "a rate with its unit"),
    ("seed = 7", "seed = 7\nseed = 8", 4, "duplicate key"),
    ("[workload]", "[workload]\n[workload]", 16, "duplicate key"),
    ("[rates]", "[rate]", 11, "unknown field `rate`"),
];

#[test]
fn what_is_wrong_is_said_with_its_line() {
    let mut surprises = Vec::new();
    for (from, to, line, what) in WRONG {
        assert!(GOOD.contains(from), "{from}");
        match Study::parse(&GOOD.replacen(from, to, 1)) {
            Err(error) if error.what.contains(what) && error.line == Some(line) => {}
            Err(error) => surprises.push(format!("{to:?}, not line {line}: {error}")),
            Ok(_) => surprises.push(format!("{to:?} is taken")),
        }
    }
    assert!(surprises.is_empty(), "{}", surprises.join("\n"));
}

#[test]
fn a_grid_has_every_combination() {
    let text = format!(
        "{GOOD}\n[sweep]\nmode = \"grid\"\n\
         [[sweep.vary]]\nkey = \"network.mean_delay\"\nvalues = [\"1s\", \"2s\", \"4s\"]\n\
         [[sweep.vary]]\nkey = \"network.width\"\nvalues = [5, 10]\n"
    );
    let study = Study::parse(&text).unwrap();
    assert_eq!(study.points.len(), 6);
    let last = &study.points[5];
    assert_eq!(last.keys[0], ("network.mean_delay".into(), "4s".into()));
    assert_eq!(last.case.design.topology.stages(), [10, 10, 10]);
    let bad = text.replace("[5, 10]", "[5, 0]");
    let error = Study::parse(&bad).unwrap_err();
    assert!(error.what.contains("network.width = 0"), "{error}");
    let bad = text.replace("network.width", "network.breadth");
    assert!(Study::parse(&bad).unwrap_err().what.contains("breadth"));
}

#[test]
fn a_hypercube_uses_each_strip_once() {
    let text = format!(
        "{GOOD}\n[sweep]\nmode = \"latin-hypercube\"\npoints = 10\n\
         [[sweep.vary]]\nkey = \"network.mean_delay\"\nfrom = \"1s\"\nto = \"11s\"\n\
         [[sweep.vary]]\nkey = \"network.width\"\nfrom = 2\nto = 200\nlogarithmic = true\n"
    );
    let study = Study::parse(&text).unwrap();
    let mut strips: Vec<_> = study
        .points
        .iter()
        .map(|p| p.case.design.mean_delay().unwrap().floor() as u32)
        .collect();
    strips.sort_unstable();
    assert_eq!(strips, (1..=10).collect::<Vec<_>>());
    assert_eq!(
        format!("{:?}", study.points[3].keys),
        format!("{:?}", Study::parse(&text).unwrap().points[3].keys)
    );
    let bad = text.replace("from = \"1s\"", "from = 1");
    assert!(Study::parse(&bad).unwrap_err().what.contains("of one kind"));
}
