//! The picture of a run: lateness against load, and where each packet's CPU time goes.

use super::{Case, Run};
use std::fmt::Write as _;

const COLOURS: [&str; 6] = [
    "#1b6ca8", "#e07a1f", "#2f8f4e", "#a23b72", "#777777", "#c9a227",
];
const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 300.0;
/// Lateness is drawn from 10 µs to 1 s.
const DECADES: f64 = 5.0;

/// One row for each case.
pub(crate) fn draw(cases: &[Case]) -> String {
    let height = HEIGHT * cases.len() as f64;
    let mut out = format!(
        "<svg xmlns='http://www.w3.org/2000/svg' width='{WIDTH}' height='{height}' \
         font-family='sans-serif' font-size='11'>\n<rect width='100%' height='100%' fill='white'/>\n"
    );
    for (row, case) in cases.iter().enumerate() {
        let _ = writeln!(out, "<g transform='translate(0,{})'>", HEIGHT * row as f64);
        text(&mut out, 20.0, 20.0, &case.title);
        if let Some(run) = case.runs.first() {
            lateness(&mut out, run);
        }
        cpu(&mut out, &case.runs);
        out.push_str("</g>\n");
    }
    out.push_str("</svg>\n");
    out
}

fn text(out: &mut String, x: f64, y: f64, what: &str) {
    let what = what.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(out, "<text x='{x:.0}' y='{y:.0}'>{what}</text>");
}

fn lateness(out: &mut String, run: &Run) {
    let (left, right, top, bottom) = (60.0, 400.0, 50.0, 250.0);
    let x = |load: u32| left + (right - left) * f64::from(load) / 160.0;
    let y = |us: f64| {
        let decades = (us.clamp(10.0, 1e6) / 10.0).log10();
        bottom - (bottom - top) * decades / DECADES
    };
    for (us, label) in [(10.0, "10 µs"), (1e3, "1 ms"), (1e5, "100 ms")] {
        let at = y(us);
        let _ = writeln!(
            out,
            "<line x1='{left}' x2='{right}' y1='{at}' y2='{at}' stroke='#ddd'/>"
        );
        text(out, 15.0, at + 4.0, label);
    }
    for (index, label) in ["p50", "p99", "p99.9"].iter().enumerate() {
        let points: Vec<_> = run
            .windows
            .iter()
            .map(|(load, window)| format!("{:.0},{:.0}", x(*load), y(window.late[index])))
            .collect();
        let (points, colour) = (points.join(" "), COLOURS[index]);
        let _ = writeln!(
            out,
            "<polyline fill='none' stroke='{colour}' stroke-width='2' points='{points}'/>"
        );
        let at = 60.0 + 45.0 * index as f64;
        let _ = writeln!(
            out,
            "<rect x='{at}' y='32' width='8' height='8' fill='{colour}'/>"
        );
        text(out, at + 11.0, 40.0, label);
    }
    for (load, _) in &run.windows {
        text(out, x(*load) - 10.0, bottom + 16.0, &format!("{load} %"));
    }
    let said = format!(
        "late after arrival + δ + delay; 100 % = {:.0} packets/s",
        run.capacity
    );
    text(out, left, bottom + 34.0, &said);
}

fn cpu(out: &mut String, runs: &[Run]) {
    let (left, bottom, tall) = (460.0, 250.0, 190.0);
    let at_half = |run: &Run| {
        let half = run.windows.iter().find(|(load, _)| *load == 50);
        half.map(|(_, window)| window.clone())
    };
    let halves: Vec<_> = runs
        .iter()
        .filter_map(|run| Some((run, at_half(run)?)))
        .collect();
    let most = halves
        .iter()
        .map(|(_, w)| w.cpu_total())
        .fold(1.0, f64::max);
    text(
        out,
        left,
        40.0,
        "CPU µs for each packet, by thread, at 50 % load",
    );
    for (column, (run, window)) in halves.iter().enumerate() {
        let x = left + 170.0 * column as f64;
        let mut y = bottom;
        for (index, (thread, us)) in window.cpu.iter().enumerate() {
            let height = us / most * tall;
            y -= height;
            let colour = COLOURS[index % COLOURS.len()];
            let _ = writeln!(
                out,
                "<rect x='{x:.0}' y='{y:.1}' width='40' height='{height:.1}' fill='{colour}'/>"
            );
            if height > 9.0 {
                text(
                    out,
                    x + 45.0,
                    y + height / 2.0 + 4.0,
                    &format!("{thread} {us:.1}"),
                );
            }
        }
        text(
            out,
            x,
            bottom + 16.0,
            &format!("{}: {:.1} µs", run.name, window.cpu_total()),
        );
    }
}
