//! One page that holds everything: numbers with units, intervals and definitions, and figures, in one HTML file
//! that needs nothing else, neither network nor script. Numbers for a document are filled in by `report/fill.rs`.

mod fill;

pub use fill::{Unfilled, fill};

use crate::attacks::Record;
use crate::metrics::{Measure, Metric};
use crate::plot::{Figure, draw, escape};
use std::collections::BTreeSet;
use std::fmt::Write;

const STYLE: &str = "
body{font:15px/1.5 'DejaVu Sans',Verdana,sans-serif;color:#1a1a1a;background:#fff;max-width:1040px;margin:2em auto;padding:0 1.2em}
h1{font-size:1.6em;margin:0 0 .2em}h2{font-size:1.25em;margin:2em 0 .3em;border-top:2px solid #ddd;padding-top:.8em}
h3{font-size:1.05em;margin:1.2em 0 .3em}p,li{max-width:62em}small,figcaption{color:#444;font-size:.88em}
table{border-collapse:collapse;width:100%;margin:.6em 0;font-size:.88em}
th,td{padding:.25em .6em;text-align:left;border-bottom:1px solid #e4e4e4;vertical-align:top}
th{background:#f4f4f4}td.n{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}
figure{margin:1.2em 0}svg{max-width:100%;height:auto;border:1px solid #e8e8e8}
dt{font-weight:bold;margin-top:.5em}dd{margin:0 0 .2em 1.2em}
.good{color:#00693a}.bad{color:#b00020;font-weight:bold}nav a{margin-right:1em}
dl.said{font-size:.85em;color:#333;border-left:3px solid #ddd;padding-left:.8em}dl.said dt,dl.said dd{display:inline;margin:0}
dl.said dd::after{content:'';display:block;margin-bottom:.15em}dl.said dt::after{content:': '}
dl.about{display:grid;grid-template-columns:8em 1fr;gap:.15em .8em}dl.about dt,dl.about dd{margin:0}
";

/// The page. `others` are figures that belong to no attack.
pub fn page(title: &str, records: &[Record], others: &[Figure]) -> String {
    let mut out = String::new();
    let title = escape(title);
    let _ = writeln!(
        out,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><title>{title}</title><style>{STYLE}</style></head><body>\n<h1>{title}</h1>\n\
         <p><small>simulations {}, results of schema {}. Every interval holds the true value with 95 % confidence. \
         The same seed gives the same page.</small></p>",
        env!("CARGO_PKG_VERSION"),
        crate::attacks::SCHEMA
    );
    let links = records
        .iter()
        .map(|r| format!("<a href=\"#{0}\">{0}</a>", escape(&r.attack)));
    let links: Vec<_> = links.collect();
    let _ = writeln!(
        out,
        "<nav>{} <a href=\"#definitions\">definitions</a></nav>",
        links.join(" ")
    );
    for figure in others {
        push_figure(&mut out, figure);
    }
    for record in records {
        section(&mut out, record);
    }
    definitions(&mut out, records);
    out.push_str("</body></html>\n");
    out
}

fn section(out: &mut String, record: &Record) {
    let id = escape(&record.attack);
    let _ = writeln!(
        out,
        "<h2 id=\"{id}\">{id}: {}</h2>\n<dl class=\"about\"><dt>sees</dt><dd>{}</dd><dt>rule</dt><dd>{}</dd>\
         <dt>truth</dt><dd>{}</dd><dt>workload</dt><dd>{}</dd><dt>seed</dt><dd>{} (effort: {})</dd></dl>",
        escape(&record.title),
        escape(&record.sees),
        escape(&record.rule),
        escape(&record.truth),
        escape(&record.people),
        record.seed,
        record.effort.name(),
    );
    for figure in &record.figures {
        push_figure(out, figure);
    }
    out.push_str("<h3>Numbers</h3>\n");
    table(out, &record.measures, false);
    let used: BTreeSet<Metric> = record.measures.iter().map(|m| m.metric).collect();
    out.push_str("<dl class=\"said\">\n");
    define(out, &used);
    if !record.null.is_empty() {
        let off = record.null.iter().filter(|m| !m.at_chance()).count();
        let verdict = match off {
            0 => "<span class=\"good\">all at chance</span>".to_string(),
            n => format!(
                "<span class=\"bad\">{n} of {} outside of their interval</span> (one in twenty is by chance)",
                record.null.len()
            ),
        };
        let _ = writeln!(out, "<h3>Null runs: {verdict}</h3>");
        table(out, &record.null, true);
    }
    if !record.notes.is_empty() {
        out.push_str("<ul>");
        for note in &record.notes {
            let _ = write!(out, "<li>{}</li>", escape(note));
        }
        out.push_str("</ul>\n");
    }
}

fn table(out: &mut String, measures: &[Measure], null: bool) {
    let beside = measures.iter().any(|m| m.reference.is_some());
    let reference = if beside {
        "<th>published or closed form</th>"
    } else {
        ""
    };
    let chance = if null { "<th>chance</th>" } else { "" };
    let _ = writeln!(
        out,
        "<table><tr><th>of</th><th>number</th><th>value</th><th>95 % interval</th>{chance}{reference}<th>unit</th>\
         <th>samples</th></tr>"
    );
    for m in measures {
        let (name, unit, definition) = m.metric.words();
        let interval = match m.high > m.low {
            true => format!("{} … {}", figures(m.low), figures(m.high)),
            false => "counted".into(),
        };
        let at =
            |x: Option<f64>| format!("<td class=\"n\">{}</td>", x.map_or(String::new(), figures));
        let reference = if beside {
            at(m.reference)
        } else {
            String::new()
        };
        let chance = if null { at(m.chance) } else { String::new() };
        let _ = writeln!(
            out,
            "<tr><td>{}</td><td><span title=\"{}\">{name}</span></td><td class=\"n\">{}</td><td class=\"n\">{interval}</td>\
             {chance}{reference}<td>{unit}</td><td class=\"n\">{}</td></tr>",
            escape(&m.of),
            escape(definition),
            figures(m.value),
            m.samples
        );
    }
    out.push_str("</table>\n");
}

fn push_figure(out: &mut String, figure: &Figure) {
    let _ = writeln!(
        out,
        "<figure>{}<figcaption>{}</figcaption></figure>",
        draw(figure),
        escape(&figure.caption)
    );
}

fn definitions(out: &mut String, records: &[Record]) {
    let all = records
        .iter()
        .flat_map(|r| r.measures.iter().chain(&r.null));
    let used: BTreeSet<Metric> = all.map(|m| m.metric).collect();
    out.push_str("<h2 id=\"definitions\">All definitions</h2>\n<dl>\n");
    define(out, &used);
}

fn define(out: &mut String, used: &BTreeSet<Metric>) {
    for metric in used {
        let (name, unit, definition) = metric.words();
        let _ = writeln!(
            out,
            "<dt>{} ({})</dt><dd>{}</dd>",
            escape(name),
            escape(unit),
            escape(definition)
        );
    }
    out.push_str("</dl>\n");
}

/// Four figures, or fewer.
pub fn figures(value: f64) -> String {
    let size = value.abs();
    match size {
        _ if value.is_nan() => "–".into(),
        _ if value.is_infinite() => {
            if value > 0.0 {
                "∞".into()
            } else {
                "−∞".into()
            }
        }
        0.0 => "0".into(),
        s if !(1e-4..1e6).contains(&s) => format!("{value:.2e}"),
        s if s >= 1_000.0 => format!("{value:.0}"),
        s if s >= 100.0 => format!("{value:.1}"),
        s if s >= 10.0 => format!("{value:.2}"),
        s if s >= 0.1 => format!("{value:.3}"),
        _ => format!("{value:.4}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attacks::{Effort, Findings, Setting, conformance};
    use crate::metrics::{exact, proportion};

    #[test]
    fn a_page_has_units_intervals_definitions_and_no_outside() {
        let mut findings = Findings::default();
        let found = Measure::new(Metric::Auc, "a <b>", proportion(60, 100));
        findings.measures.push(found.beside(0.7));
        findings.null.push(Measure::new(
            Metric::FramesDiffering,
            "none",
            exact(0.0, 10),
        ));
        let record = Record::new(
            &conformance::ATTACK,
            &Setting::new(1, Effort::Quick),
            findings,
        );
        let page = page("a & b", &[record], &[]);
        for part in [
            "a &amp; b",
            "a &lt;b&gt;",
            "95 % interval",
            "area under ROC",
            "0.5 is chance",
            "all at chance",
            "0.700",
        ] {
            assert!(page.contains(part), "{part}");
        }
        for outside in ["http-equiv", "<script", "src=", "https://"] {
            assert!(!page.contains(outside), "{outside}");
        }
    }

    #[test]
    fn four_figures() {
        let texts = [0.0, 0.05, 0.7, 12.345, 123.45, 5_000.4, 2e7].map(figures);
        assert_eq!(
            texts,
            ["0", "0.0500", "0.700", "12.35", "123.5", "5000", "2.00e7"]
        );
    }
}
