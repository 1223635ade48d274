//! Figures as data, and as SVG without any tool: lines with their 95 % bands, marks, bars.
//!
//! A [`Figure`] says what is drawn (axes with units, series with intervals, a caption with the definition);
//! `plot/svg.rs` draws it. Everything is text, so a figure that is made again from the same seed is the same
//! file.

mod svg;
mod ticks;

pub use svg::{draw, escape};

use serde::{Deserialize, Serialize};

/// How a series is drawn.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// Points joined by lines.
    Line,
    /// Points joined by a broken line: what others published, or a closed form.
    Dashed,
    /// Points alone, with their intervals as bars.
    Marks,
    /// One bar for each point; x counts the categories of the axis.
    Bars,
}

/// What an axis says.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Axis {
    /// Name and unit.
    pub label: String,
    /// Whether it is logarithmic.
    pub log: bool,
    /// Names instead of numbers, for bars.
    pub categories: Vec<String>,
}

impl Axis {
    /// Numbers at equal distances.
    pub fn linear(label: &str) -> Self {
        Self {
            label: label.into(),
            log: false,
            categories: Vec::new(),
        }
    }

    /// Numbers at equal ratios.
    pub fn log(label: &str) -> Self {
        Self {
            log: true,
            ..Self::linear(label)
        }
    }

    /// Names.
    pub fn names(label: &str, categories: &[&str]) -> Self {
        Self {
            categories: categories.iter().map(|c| (*c).into()).collect(),
            ..Self::linear(label)
        }
    }
}

/// One point with its 95 % interval in y.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Point {
    /// Across.
    #[serde(with = "crate::metrics::any_number")]
    pub x: f64,
    /// Up.
    #[serde(with = "crate::metrics::any_number")]
    pub y: f64,
    /// Lower end of the interval; equal to `y` where there is none.
    #[serde(with = "crate::metrics::any_number")]
    pub low: f64,
    /// Upper end.
    #[serde(with = "crate::metrics::any_number")]
    pub high: f64,
}

impl Point {
    /// Without an interval.
    pub fn plain(x: f64, y: f64) -> Self {
        Self {
            x,
            y,
            low: y,
            high: y,
        }
    }

    /// With one.
    pub fn with(x: f64, estimate: &crate::metrics::Interval) -> Self {
        Self {
            x,
            y: estimate.value,
            low: estimate.low,
            high: estimate.high,
        }
    }
}

/// Points that belong together.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Series {
    /// For the legend.
    pub name: String,
    /// How it is drawn.
    pub shape: Shape,
    /// By x.
    pub points: Vec<Point>,
}

impl Series {
    /// Points of a shape.
    pub fn new(name: impl Into<String>, shape: Shape, points: Vec<Point>) -> Self {
        Self {
            name: name.into(),
            shape,
            points,
        }
    }
}

/// One figure.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Figure {
    /// File name without extension.
    pub id: String,
    /// Above it.
    pub title: String,
    /// Below it: definitions, what the bands are, how many samples.
    pub caption: String,
    /// Across.
    pub x: Axis,
    /// Up.
    pub y: Axis,
    /// What is drawn.
    pub series: Vec<Series>,
}
