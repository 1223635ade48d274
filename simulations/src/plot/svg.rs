//! Draws a figure.

use super::ticks::Range;
use super::{Figure, Point, Series, Shape};
use std::fmt::Write;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 430.0;
const LEFT: f64 = 104.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 40.0;
const LEGEND_ROW: f64 = 17.0;
/// Height of a line of a category's name, and what a letter takes of its width at most.
const NAME_ROW: f64 = 13.0;
const NAME_LETTER: f64 = 6.4;
/// What a letter of a legend takes at most, and what stands before it.
const LEGEND_LETTER: f64 = 7.0;
const LEGEND_KEY: f64 = 28.0;
/// Told apart by people who see red and green alike, and in grey (Okabe and Ito 2008).
const COLOURS: [&str; 8] = [
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#555555", "#8a6d00",
];

/// Where things go.
struct Frame {
    x: Range,
    y: Range,
    bottom: f64,
    categories: usize,
}

impl Frame {
    fn across(&self, x: f64) -> f64 {
        let share = match self.categories {
            0 => self.x.place(x),
            n => (x + 0.5) / n as f64,
        };
        LEFT + share * (WIDTH - LEFT - RIGHT)
    }

    fn up(&self, y: f64) -> f64 {
        self.bottom - self.y.place(y) * (self.bottom - TOP)
    }
}

/// The figure as one SVG element.
pub fn draw(figure: &Figure) -> String {
    let columns = legend_columns(figure);
    let legend_rows = figure.series.len().div_ceil(columns) as f64;
    let categories = figure.x.categories.len();
    let names = category_names(figure);
    // One row has room where numbers stand.
    let rows = names.iter().map(Vec::len).max().unwrap_or(1);
    let names_room = (rows.max(1) - 1) as f64 * NAME_ROW;
    let height = HEIGHT + names_room + legend_rows * LEGEND_ROW;
    let points = || figure.series.iter().flat_map(|s| &s.points);
    let bars = figure.series.iter().any(|s| s.shape == Shape::Bars);
    let zero = (bars && !figure.y.log).then_some(0.0);
    let ys = points().flat_map(|p| [p.y, p.low, p.high]).chain(zero);
    let frame = Frame {
        x: Range::of(points().map(|p| p.x), figure.x.log),
        y: Range::of(ys, figure.y.log),
        bottom: HEIGHT - 56.0,
        categories,
    };
    let mut out = String::new();
    let title = escape(&figure.title);
    let _ = writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
         height=\"{height}\" font-family=\"DejaVu Sans, Verdana, sans-serif\" font-size=\"12\" role=\"img\" \
         aria-label=\"{title}\">\n<rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#fff\"/>\n\
         <text x=\"{LEFT}\" y=\"22\" font-size=\"15\" font-weight=\"bold\" fill=\"#111\">{title}</text>"
    );
    axes(&mut out, figure, &frame, &names, names_room);
    let bar_series = figure
        .series
        .iter()
        .filter(|s| s.shape == Shape::Bars)
        .count();
    let mut bar = 0;
    for (i, series) in figure.series.iter().enumerate() {
        let colour = COLOURS[i % COLOURS.len()];
        match series.shape {
            Shape::Line | Shape::Dashed => line(&mut out, series, colour, &frame),
            Shape::Marks => marks(&mut out, series, colour, &frame),
            Shape::Bars => {
                bars_of(&mut out, series, colour, &frame, (bar, bar_series));
                bar += 1;
            }
        }
    }
    legend(&mut out, figure, frame.bottom + 52.0 + names_room, columns);
    out.push_str("</svg>\n");
    out
}

/// The names below the bars, each in lines that fit its place.
fn category_names(figure: &Figure) -> Vec<Vec<String>> {
    let number = figure.x.categories.len().max(1);
    let letters = ((WIDTH - LEFT - RIGHT) / number as f64 / NAME_LETTER) as usize;
    let broken = |name: &String| {
        let mut lines: Vec<String> = Vec::new();
        for word in name.split(' ') {
            match lines.last_mut() {
                Some(line) if line.chars().count() + 1 + word.chars().count() <= letters => {
                    line.push(' ');
                    line.push_str(word);
                }
                _ => lines.push(word.to_owned()),
            }
        }
        lines
    };
    figure.x.categories.iter().map(broken).collect()
}

/// Two, or one where a name needs more room.
fn legend_columns(figure: &Figure) -> usize {
    let letters = (((WIDTH - LEFT - RIGHT) / 2.0 - LEGEND_KEY) / LEGEND_LETTER) as usize;
    let long = |s: &Series| s.name.chars().count() > letters;
    if figure.series.iter().any(long) { 1 } else { 2 }
}

fn axes(out: &mut String, figure: &Figure, frame: &Frame, names: &[Vec<String>], names_room: f64) {
    let (right, bottom) = (WIDTH - RIGHT, frame.bottom);
    for (value, text) in frame.y.ticks() {
        let y = frame.up(value);
        let _ = writeln!(
            out,
            "<line x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{right}\" y2=\"{y:.1}\" stroke=\"#e3e3e3\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"#333\">{text}</text>",
            LEFT - 7.0,
            y + 4.0
        );
    }
    if frame.categories == 0 {
        for (value, text) in frame.x.ticks() {
            let x = frame.across(value);
            let _ = writeln!(
                out,
                "<line x1=\"{x:.1}\" y1=\"{TOP}\" x2=\"{x:.1}\" y2=\"{bottom}\" stroke=\"#eee\"/>\
                 <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#333\">{text}</text>",
                bottom + 17.0
            );
        }
    }
    for (i, name) in names.iter().enumerate() {
        let x = frame.across(i as f64);
        for (row, line) in name.iter().enumerate() {
            let y = bottom + 16.0 + row as f64 * NAME_ROW;
            let _ = writeln!(
                out,
                "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"middle\" font-size=\"11\" fill=\"#333\">{}</text>",
                escape(line)
            );
        }
    }
    let middle = (LEFT + right) / 2.0;
    let (half, label_y) = ((TOP + bottom) / 2.0, bottom + 37.0 + names_room);
    let _ = writeln!(
        out,
        "<rect x=\"{LEFT}\" y=\"{TOP}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"none\" stroke=\"#999\"/>\n\
         <text x=\"{middle:.1}\" y=\"{label_y:.1}\" text-anchor=\"middle\" fill=\"#111\">{}</text>\n\
         <text x=\"18\" y=\"{half:.1}\" text-anchor=\"middle\" fill=\"#111\" \
         transform=\"rotate(-90 18 {half:.1})\">{}</text>",
        right - LEFT,
        bottom - TOP,
        escape(&figure.x.label),
        escape(&figure.y.label),
    );
}

fn drawable<'a>(series: &'a Series, frame: &'a Frame) -> impl Iterator<Item = &'a Point> + Clone {
    let fits = |p: &&Point| {
        let x = p.x.is_finite() && (!frame.x.log || p.x > 0.0 || frame.categories > 0);
        x && p.y.is_finite() && (!frame.y.log || p.y > 0.0)
    };
    series.points.iter().filter(fits)
}

fn line(out: &mut String, series: &Series, colour: &str, frame: &Frame) {
    let points = drawable(series, frame);
    if points.clone().any(|p| p.high > p.low) {
        let corner = |x: f64, y: f64| format!("{:.1},{:.1}", frame.across(x), frame.up(y));
        let upper = points.clone().map(|p| corner(p.x, p.high));
        let lower: Vec<_> = points.clone().map(|p| corner(p.x, p.low)).collect();
        let outline: Vec<_> = upper.chain(lower.into_iter().rev()).collect();
        let _ = writeln!(
            out,
            "<polygon points=\"{}\" fill=\"{colour}\" fill-opacity=\"0.16\"/>",
            outline.join(" ")
        );
    }
    let path: Vec<_> = points
        .clone()
        .map(|p| format!("{:.1},{:.1}", frame.across(p.x), frame.up(p.y)))
        .collect();
    let dash = match series.shape {
        Shape::Dashed => " stroke-dasharray=\"6 4\"",
        Shape::Line | Shape::Marks | Shape::Bars => "",
    };
    let _ = writeln!(
        out,
        "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"{dash}/>",
        path.join(" ")
    );
    // Few points are points, many are a curve.
    if path.len() <= 24 && series.shape == Shape::Line {
        for p in points {
            dot(out, frame.across(p.x), frame.up(p.y), colour);
        }
    }
}

fn marks(out: &mut String, series: &Series, colour: &str, frame: &Frame) {
    for p in drawable(series, frame) {
        let x = frame.across(p.x);
        whisker(out, x, p, colour, frame);
        dot(out, x, frame.up(p.y), colour);
    }
}

fn bars_of(out: &mut String, series: &Series, colour: &str, frame: &Frame, place: (usize, usize)) {
    let slot = (WIDTH - LEFT - RIGHT) / frame.categories.max(1) as f64;
    let width = slot * 0.76 / place.1.max(1) as f64;
    for p in drawable(series, frame) {
        let left = frame.across(p.x) - slot * 0.38 + place.0 as f64 * width;
        let y = frame.up(p.y);
        let _ = writeln!(
            out,
            "<rect x=\"{left:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"{colour}\" \
             fill-opacity=\"0.82\"><title>{}</title></rect>",
            (width - 1.0).max(1.0),
            (frame.bottom - y).max(0.0),
            super::ticks::short(p.y)
        );
        whisker(out, left + width / 2.0, p, "#111", frame);
    }
}

fn whisker(out: &mut String, x: f64, p: &Point, colour: &str, frame: &Frame) {
    if p.high > p.low {
        let (low, high) = (frame.up(p.low), frame.up(p.high));
        let _ = writeln!(
            out,
            "<path d=\"M{x:.1} {low:.1}V{high:.1}M{:.1} {low:.1}h6M{:.1} {high:.1}h6\" stroke=\"{colour}\" \
             fill=\"none\"/>",
            x - 3.0,
            x - 3.0
        );
    }
}

fn dot(out: &mut String, x: f64, y: f64, colour: &str) {
    let _ = writeln!(
        out,
        "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>"
    );
}

fn legend(out: &mut String, figure: &Figure, top: f64, columns: usize) {
    let width = (WIDTH - LEFT - RIGHT) / columns as f64;
    for (i, series) in figure.series.iter().enumerate() {
        let colour = COLOURS[i % COLOURS.len()];
        let x = LEFT + (i % columns) as f64 * width;
        let y = top + (i / columns) as f64 * LEGEND_ROW;
        let key = match series.shape {
            Shape::Line => {
                format!("<path d=\"M{x} {y}h22\" stroke=\"{colour}\" stroke-width=\"2\"/>")
            }
            Shape::Dashed => format!(
                "<path d=\"M{x} {y}h22\" stroke=\"{colour}\" stroke-width=\"2\" stroke-dasharray=\"6 4\"/>"
            ),
            Shape::Marks => format!(
                "<circle cx=\"{}\" cy=\"{y}\" r=\"3\" fill=\"{colour}\"/>",
                x + 11.0
            ),
            Shape::Bars => format!(
                "<rect x=\"{}\" y=\"{}\" width=\"12\" height=\"10\" fill=\"{colour}\" fill-opacity=\"0.82\"/>",
                x + 5.0,
                y - 5.0
            ),
        };
        let _ = writeln!(
            out,
            "{key}<text x=\"{}\" y=\"{}\" fill=\"#222\">{}</text>",
            x + LEGEND_KEY,
            y + 4.0,
            escape(&series.name)
        );
    }
}

/// Text as it may stand in SVG and HTML.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plot::Axis;

    fn figure(shape: Shape, y: Axis) -> Figure {
        let points = vec![
            Point {
                x: 1.0,
                y: 0.1,
                low: 0.05,
                high: 0.2,
            },
            Point::plain(2.0, 0.4),
            Point::plain(3.0, f64::NAN),
        ];
        Figure {
            id: "f".into(),
            title: "a < b & c".into(),
            caption: String::new(),
            x: Axis::linear("x (s)"),
            y,
            series: vec![Series::new("\"one\"", shape, points)],
        }
    }

    /// No name runs into another, nor out of the figure.
    #[test]
    fn long_names_have_room() {
        let mut long = figure(Shape::Bars, Axis::linear("p"));
        let words = ["loopix with cover added instead of substituted"; 7];
        long.x = Axis::names("design", &words);
        for name in category_names(&long) {
            assert!(name.len() > 2 && name.iter().all(|line| line.chars().count() <= 14));
            assert_eq!(name.join(" "), words[0]);
        }
        assert_eq!(legend_columns(&long), 2);
        long.series[0].name = words[0].into();
        assert_eq!(legend_columns(&long), 1);
    }

    #[test]
    fn text_is_escaped_and_what_is_no_number_is_left_out() {
        for shape in [Shape::Line, Shape::Dashed, Shape::Marks, Shape::Bars] {
            for y in [Axis::linear("p"), Axis::log("p")] {
                let svg = draw(&figure(shape, y));
                assert!(svg.contains("a &lt; b &amp; c") && svg.contains("&quot;one&quot;"));
                assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
                assert_eq!(svg.matches("<svg").count(), svg.matches("</svg>").count());
            }
        }
    }
}
