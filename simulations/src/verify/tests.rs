//! Whether `verify` would notice: measured numbers pass, broken engines do not.

use super::{Fault, Verdict, check_with, parse};

fn judge(id: &str, fault: Fault) -> Verdict {
    let all = parse(super::OWN).unwrap();
    let entry = all.iter().find(|e| e.id == id).unwrap();
    check_with(entry, 7, fault)
}

#[track_caller]
fn found(id: &str, fault: Fault) {
    let sound = judge(id, Fault::None);
    assert!(sound.pass, "{sound:?}");
    let broken = judge(id, fault);
    assert!(!broken.pass, "{fault:?} was not noticed: {broken:?}");
}

#[test]
fn a_truncated_delay_is_noticed() {
    found("LAT-3-mean", Fault::TruncatedDelay);
}

#[test]
fn a_biased_route_is_noticed() {
    found("SPARSE-L3-W50", Fault::BiasedRoute);
}

#[test]
fn a_wrong_posterior_is_noticed() {
    found("SM-V-1", Fault::WrongPosterior);
}

/// Kinds are known by their shape: other names and other numbers are measured as well.
#[test]
fn another_number_of_a_known_kind_is_measured() {
    let text = r#"[
        {"id":"z","what":"loops lost anyway","params":{"loss":0.01,"expected_loops":50,"block":0.5},"metric":"P(detect)",
         "expected":0.57279,"tol":0.02,"tol_kind":"abs"},
        {"id":"y","what":"timed mix","params":{"lam_d":3},"metric":"bits","expected":2.71,"tol":0.02,"tol_kind":"abs"},
        {"id":"x","what":"threshold mix","params":{"n":16},"metric":"bits","expected":4,"tol":0.01,"tol_kind":"abs"}
    ]"#;
    for entry in parse(text).unwrap() {
        let verdict = check_with(&entry, 1, Fault::None);
        let closed = verdict.answer.clone().unwrap().closed.unwrap().value;
        assert!((verdict.answer.unwrap().simulated.value - closed).abs() < 0.02);
    }
}

#[test]
fn what_is_not_known_fails_and_says_so() {
    let text = |params: &str| {
        format!(
            r#"[{{"id":"q","what":"w","params":{params},"metric":"bits","expected":1,"tol":0.1,"tol_kind":"abs"}}]"#
        )
    };
    let says = |params: &str, what: &str| {
        let entry = &parse(&text(params)).unwrap()[0];
        let verdict = check_with(entry, 1, Fault::None);
        let reason = verdict.reason().unwrap();
        assert!(!verdict.pass && reason.contains(what), "{reason}");
    };
    says(r#"{"moon":1}"#, "unknown family");
    says(r#"{"n":0.5,"N":1}"#, "parameter n");
    says(r#"{"n":2.5,"N":1}"#, "whole number");
    says(r#"{"lam_d":-1}"#, "parameter lam_d");
    says(r#"{"k":2,"mu":1}"#, "unknown metric");
}
