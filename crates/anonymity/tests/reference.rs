//! Closed forms against values that were published or derived elsewhere: each figure's source is said.

use anonymity::network::Layers;
use anonymity::special::LOG2_E;
use anonymity::{
    active, activity, batch, compromise, cost, disclosure, flow, latency, mix, network, users,
};

fn close(what: &str, value: f64, expected: f64, tolerance: f64) {
    assert!(
        (value - expected).abs() <= tolerance,
        "{what}: {value}, not {expected} ± {tolerance}"
    );
}

/// Exact chain, solved independently.
#[test]
fn one_poisson_mix() {
    let table = [
        (0.1, 0.19393, 0.18521),
        (0.5, 0.86278, 0.72613),
        (1.0, 1.51123, 1.16924),
        (2.0, 2.40879, 1.74357),
        (5.0, 3.75485, 2.68659),
        (10.0, 4.76305, 3.51975),
        (20.0, 5.76429, 4.42526),
        (50.0, 7.08650, 5.68634),
        (100.0, 8.08654, 6.66529),
        (200.0, 9.08655, 7.65463),
        (500.0, 10.40848, 8.97010),
        (1000.0, 11.40848, 9.96795),
    ];
    for (rho, entropy, least) in table {
        close("H", mix::entropy(rho).value, entropy, 1.1e-5);
        close("Hmin", mix::min_entropy(rho).value, least, 2e-5);
    }
    assert!(!mix::entropy_dense(0.5).validity.holds());
}

/// Loopix, theorems 1 and 2 (appendix A.2).
#[test]
fn loopix_theorems() {
    let (old, new) = mix::loopix_posterior(10, 4, 3, 0.0);
    close("old", old, 0.05714, 5e-6);
    close("new", new, 0.14286, 5e-6);
    let (old, new) = mix::loopix_posterior(100, 60, 20, 20.0);
    close("old", old, 0.006, 1e-9);
    close("new", new, 0.01, 1e-9);
    for (s, loops, p) in [(2.0, 1.0, 0.0196), (10.0, 1.0, 0.0909), (100.0, 1.0, 0.5)] {
        close(
            "n−1",
            active::isolation(s, 1.0, loops, 100.0).value,
            p,
            5e-5,
        );
    }
}

/// Ben Guirat and Diaz, PETS 2022, fig. 7 and 8 (data of their notebooks), and simulation.
#[test]
fn layers() {
    let points = [
        (1, 4.9, 12.7013),
        (2, 0.425, 13.2947),
        (3, 0.8 / 3.0, 13.0463),
        (5, 0.14, 12.5582),
        (3, 1.6, 15.6313),
    ];
    for (count, mean_hop, closed) in points {
        let of = Layers {
            rate: 5000.0,
            width: 10,
            layers: count,
            mean_hop,
        };
        close("H", network::entropy(&of).value, closed, 1e-4);
        assert!(network::entropy(&of).validity.holds());
    }
    let of = |layers, mean_hop| Layers {
        rate: 5000.0,
        width: 10,
        layers,
        mean_hop,
    };
    for (count, mean_hop, b, closed) in [
        (1, 0.9, 0.1, 9.2308),
        (3, 0.8 / 3.0, 0.1, 12.8474),
        (3, 0.8 / 3.0, 0.5, 9.6137),
        (5, 0.14, 0.1, 12.512),
    ] {
        let value = network::corrupt_entropy(&of(count, mean_hop), b).value;
        // The unevenness of two layers in a row is not in the figures.
        close("corrupt", value, closed, 0.02);
    }
    let sparse = Layers {
        width: 100,
        ..of(3, 0.8 / 3.0)
    };
    assert!(!network::entropy(&sparse).validity.holds());
    close(
        "Hmin",
        network::min_entropy(&of(3, 0.267)).value,
        12.27,
        0.01,
    );
}

/// Simulated elsewhere, three layers.
#[test]
fn over_users() {
    for (x, lack) in [
        (0.01, 4.04),
        (0.1, 1.25),
        (0.3, 0.48),
        (1.0, 0.138),
        (10.0, 0.013),
    ] {
        close("deficit", users::deficit(x, 3).value, lack, 0.02);
    }
    close(
        "users",
        users::entropy(10_000.0, 0.3, 3).value,
        12.8119,
        0.01,
    );
    assert!(!users::entropy(100.0, 0.01, 3).validity.holds());
}

/// Erlang tables; the maximum of several by numerical integration elsewhere.
#[test]
fn latencies() {
    for (hops, median, p99, h) in [
        (1, 2f64.ln(), 4.6052, LOG2_E),
        (3, 2.6741, 8.4059, 2.6655),
        (5, 4.6709, 11.6046, 3.1070),
    ] {
        close(
            "median",
            latency::quantile(hops, 1.0, 0.5).value,
            median,
            5e-5,
        );
        close("p99", latency::quantile(hops, 1.0, 0.99).value, p99, 5e-5);
        close("h", latency::entropy(hops, 1.0).value, h, 5e-5);
    }
    for (n, mean) in [(1, 3.0), (2, 3.938), (10, 6.137), (50, 8.237)] {
        close("last", latency::last_of(n, 3, 1.0).value, mean, 1e-3);
    }
}

/// Serjantov, Danezis and Díaz' formulas, evaluated elsewhere.
#[test]
fn batches() {
    for (n, kept, h) in [
        (1, 1, 2.0),
        (1, 10, 4.834),
        (10, 10, 5.3219),
        (50, 20, 6.8522),
    ] {
        close("pool", batch::pool_entropy(n, kept).value, h, 5e-4);
    }
    for (x, h, v) in [
        (1.0, 1.41095, 0.4323),
        (10.0, 4.35831, 0.05),
        (1000.0, 10.96614, 0.0005),
    ] {
        close("timed", batch::timed_entropy(x).value, h, 1e-5);
        close("timed", batch::timed_best_guess(x).value, v, 5e-5);
    }
}

#[test]
fn corrupt_paths() {
    let random = |b, l| compromise::path_random(100, b, l).value;
    close("path", random(10, 2), 0.009_090_909_090_909_092, 1e-15);
    close("path", random(10, 4), 5.355_469_272_995_046_5e-5, 1e-18);
    close("path", random(30, 3), 0.025_108_225_108_225_107, 1e-15);
    assert_eq!(random(2, 3), 0.0);
    close(
        "half",
        compromise::messages_until(0.5, 1e-3).value,
        693.0,
        0.5,
    );
    close(
        "95 %",
        compromise::messages_until(0.95, 1e-5).value,
        299_572.0,
        1.0,
    );
}

/// P(Poisson < threshold), evaluated elsewhere.
#[test]
fn alarms() {
    let cases = [
        (10.0, 0.0, 1, 4.539_993e-5, 0.5, 0.006_737_947),
        (50.0, 0.0, 26, 7.160_717e-5, 0.25, 0.020_080_036),
        (200.0, 0.01, 148, 8.913_719e-5, 0.25, 0.472_713_659),
        (200.0, 0.05, 141, 8.694_719e-5, 0.5, 0.999_993_808),
    ];
    for (expected, loss, threshold, false_alarm, block, seen) in cases {
        let alarm = active::LoopAlarm::new(expected, loss, 1e-4).unwrap();
        assert_eq!(alarm.threshold, threshold);
        close("false", alarm.false_alarm, false_alarm, 1e-10);
        close("seen", alarm.detection(block).value, seen, 1e-8);
    }
    let time = |rho| active::blocking_time(rho, 0.01, 1.0).value;
    close(
        "n−1",
        active::detection(0.1, time(100.0)).value,
        0.602,
        5e-4,
    );
    close("n−1", active::detection(0.5, time(10.0)).value, 0.968, 5e-4);
}

#[test]
fn costs() {
    close("wait", cost::clock_wait(1.0, 0.1).value, 1.1111, 5e-5);
    close(
        "wait",
        cost::clock_wait(1.0 / 30.0, 1.0 / 300.0).value,
        33.333,
        5e-3,
    );
    assert!(!cost::clock_wait(1.0, 1.0).validity.holds());
    close(
        "up",
        cost::bandwidth(3.0 / 30.0, 2048.0).value * cost::DAY,
        17.7e6,
        5e4,
    );
}

/// Total variation of Poisson laws, evaluated elsewhere.
#[test]
fn activities() {
    for (cover, real, seconds, seen) in [
        (0.0, 0.1, 10.0, 0.6321),
        (1.0, 0.1, 60.0, 0.2944),
        (1.0, 0.1, 3600.0, 0.9966),
        (10.0, 0.1, 3600.0, 0.656),
    ] {
        close(
            "seen",
            activity::advantage(cover, real, seconds).value,
            seen,
            6e-5,
        );
    }
    assert_eq!(activity::advantage(1.0, 0.0, 100.0).value, 0.0);
}

/// Own derivation, evaluated elsewhere.
#[test]
fn flows() {
    let chat = flow::Flow {
        emitted: 1.0,
        matched: 0.1,
        noise: 0.9,
        hops: 3,
        mu: 1.0,
    };
    close("norm", flow::norm(3, 20.0), 3.75, 1e-12);
    close("norm", flow::norm(1, 2.0), 1.0, 1e-12);
    close("nats", flow::nats_needed(0.9, 1e-3), 9.556, 1e-3);
    close(
        "tpr",
        flow::true_positive_rate(&chat, 3600.0, 0.01).value,
        0.607,
        1e-3,
    );
    let link = flow::time_to_link(&chat, 0.9, 1e-3).value;
    close("hours", link / 3600.0, 2.83, 0.01);
    let pooled = flow::Flow {
        noise: 99.9,
        ..chat
    };
    let link = flow::time_to_link(&pooled, 0.9, 1e-3).value;
    close("days", link / 86_400.0, 11.8, 0.05);
    let bulk = flow::Flow {
        emitted: 50.0,
        matched: 50.0,
        noise: 0.0,
        hops: 3,
        mu: 50.0,
    };
    close(
        "tpr",
        flow::true_positive_rate(&bulk, 2.0, 0.01).value,
        0.977,
        1e-3,
    );
}

/// Danezis 2003, evaluated elsewhere.
#[test]
fn disclosures() {
    for (n, b, m, l, t) in [
        (1000.0, 50.0, 10.0, 2.0, 142.0),
        (1000.0, 100.0, 20.0, 3.0, 1750.0),
        (20_000.0, 1000.0, 32.0, 2.0, 1052.0),
    ] {
        let of = disclosure::Disclosure {
            recipients: n,
            batch: b,
            friends: m,
        };
        assert_eq!(disclosure::rounds(&of, l).value.ceil(), t);
    }
    let epochs = |n, p| disclosure::intersection_epochs(n, p).value;
    close("epochs", epochs(1e4, 0.9), 87.4, 0.1);
    close("epochs", epochs(1e6, 0.99), 1374.632, 1e-3);
}
