//! The map as one page: inline SVG and a table, no scripts, nothing fetched from anywhere.

use super::{Shown, ShownNode, short};
use std::fmt::Write as _;
use wire::time::UnixTime;

const COLUMN: usize = 240;
const ROW: usize = 34;
const TOP: usize = 50;
/// A list longer than this stands in several columns of dots, without names.
const ROWS_MAX: usize = 40;
/// More lines than this would be one grey area.
const LINES_MAX: usize = 1500;

/// The whole page.
pub(crate) fn page(shown: &Shown, now: UnixTime) -> String {
    let mut out = String::from(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n",
    );
    let _ = write!(
        out,
        "<title>Network {}, epoch {}</title>\n<style>\n\
         body{{font:15px/1.4 system-ui,sans-serif;margin:2em;max-width:75em;color:#222;background:#fff}}\n\
         pre,td{{font-family:ui-monospace,monospace;font-size:13px}} svg{{max-width:100%;height:auto}}\n\
         table{{border-collapse:collapse}} td,th{{padding:.2em .8em;text-align:left;border-bottom:1px solid #ddd}}\n\
         svg text{{font:12px system-ui,sans-serif;fill:currentColor}} line{{stroke:#9994;stroke-width:1}}\n\
         @media(prefers-color-scheme:dark){{body{{color:#ddd;background:#111}} td,th{{border-color:#333}}}}\n\
         </style></head><body>\n<h1>Epoch {}</h1>\n<pre>{}</pre>\n",
        escape(short(&shown.network_id)),
        shown.epoch,
        shown.epoch,
        escape(&shown.heading(now)),
    );
    map(&mut out, shown);
    table(&mut out, shown);
    out.push_str("<h2>Parameters</h2>\n<table>\n");
    for (name, value) in &shown.parameters {
        let _ = writeln!(
            out,
            "<tr><td>{name}</td><td>{}</td></tr>",
            escape(&value.to_string())
        );
    }
    out.push_str("</table>\n</body></html>\n");
    out
}

/// A column of the map.
struct Column<'a> {
    name: String,
    nodes: &'a [ShownNode],
    x: usize,
}

impl Column<'_> {
    fn is_long(&self) -> bool {
        self.nodes.len() > ROWS_MAX
    }

    fn place(&self, index: usize) -> (usize, usize) {
        if self.is_long() {
            let across = self.nodes.len().div_ceil(ROWS_MAX);
            // As dense as it must be to stay in its column.
            let step = ((COLUMN - 60) / across).max(1);
            let (x, y) = (index % across, index / across);
            return (self.x + x * step, TOP + y * ROW / 2);
        }
        (self.x, TOP + index * ROW)
    }
}

/// Gateways, the layers in the order of a packet's way, gateways again.
fn map(out: &mut String, shown: &Shown) {
    let layers = shown.layers.iter().enumerate();
    let layers = layers.map(|(i, mixes)| (format!("layer {}", i + 1), &mixes[..]));
    let gateways = |name: &str| (name.to_owned(), &shown.gateways[..]);
    let lists = std::iter::once(gateways("entry"))
        .chain(layers)
        .chain([gateways("inboxes")]);
    let columns: Vec<Column<'_>> = lists
        .enumerate()
        .map(|(i, (name, nodes))| {
            let x = 20 + i * COLUMN;
            Column { name, nodes, x }
        })
        .collect();
    let places = |c: &Column<'_>| (0..c.nodes.len()).map(|i| c.place(i).1).max().unwrap_or(0);
    let height = columns.iter().map(places).max().unwrap_or(0) + ROW;
    let width = 20 + columns.len() * COLUMN;
    let _ = writeln!(
        out,
        "<svg role=\"img\" aria-label=\"map of the network\" viewBox=\"0 0 {width} {height}\" \
         width=\"{width}\" height=\"{height}\">"
    );
    lines(out, &columns);
    for column in &columns {
        let _ = writeln!(
            out,
            "<text x=\"{}\" y=\"20\">{} ({})</text>",
            column.x - 8,
            escape(&column.name),
            column.nodes.len()
        );
        for (i, node) in column.nodes.iter().enumerate() {
            dot(out, node, column.place(i), !column.is_long());
        }
    }
    out.push_str("</svg>\n");
}

fn lines(out: &mut String, columns: &[Column<'_>]) {
    let count: usize = columns
        .windows(2)
        .map(|pair| pair[0].nodes.len() * pair[1].nodes.len())
        .sum();
    if count > LINES_MAX {
        return;
    }
    for pair in columns.windows(2) {
        let (from, to) = (&pair[0], &pair[1]);
        for i in 0..from.nodes.len() {
            for j in 0..to.nodes.len() {
                let ((x1, y1), (x2, y2)) = (from.place(i), to.place(j));
                let _ = writeln!(
                    out,
                    "<line x1=\"{x1}\" y1=\"{y1}\" x2=\"{x2}\" y2=\"{y2}\"/>"
                );
            }
        }
    }
}

/// One colour for each family.
fn dot(out: &mut String, node: &ShownNode, (x, y): (usize, usize), named: bool) {
    let hue = u16::from_str_radix(node.family.get(..3).unwrap_or("0"), 16).unwrap_or(0) % 360;
    let _ = writeln!(
        out,
        "<circle cx=\"{x}\" cy=\"{y}\" r=\"{}\" fill=\"hsl({hue} 60% 45%)\"><title>{} {}, {:.1} %</title></circle>",
        if named { 8 } else { 5 },
        escape(&node.id),
        escape(&node.who()),
        node.share * 100.0,
    );
    if named {
        let who: String = node.who().chars().take(22).collect();
        let _ = writeln!(
            out,
            "<text x=\"{}\" y=\"{}\">{} {}</text>",
            x + 12,
            y + 4,
            escape(short(&node.id)),
            escape(&who)
        );
    }
}

fn table(out: &mut String, shown: &Shown) {
    out.push_str(
        "<h2>Nodes</h2>\n<table>\n<tr><th>place</th><th>node</th><th>operator</th><th>share</th>\
         <th>nodes connect to</th><th>clients connect to</th></tr>\n",
    );
    let layers = shown.layers.iter().enumerate();
    let layers = layers.map(|(i, mixes)| (format!("layer {}", i + 1), mixes));
    for (place, nodes) in layers.chain([("gateway".to_owned(), &shown.gateways)]) {
        for node in nodes {
            let addresses = |list: &[std::net::SocketAddr]| {
                let list: Vec<String> = list.iter().map(ToString::to_string).collect();
                list.join(" ")
            };
            let _ = writeln!(
                out,
                "<tr><td>{place}</td><td>{}</td><td>{}</td><td>{:.1} %</td><td>{}</td><td>{}</td></tr>",
                escape(&node.id),
                escape(&node.who()),
                node.share * 100.0,
                addresses(&node.addresses),
                addresses(&node.client_addresses),
            );
        }
    }
    out.push_str("</table>\n");
}

/// Names are what operators typed.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}
