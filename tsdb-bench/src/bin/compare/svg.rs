//! Scalable vector graphics: bars and lines on logarithmic axes, readable on light and on dark pages.

use std::fmt::Write as _;

const STYLE: &str = "\
text{font:12px system-ui,sans-serif;fill:#24292f}\
.small{font-size:11px;fill:#57606a}.title{font-size:14px;font-weight:600}\
.axis{stroke:#d0d7de;stroke-width:1}.bar{stroke:#24292f;stroke-width:2}\
.s0{fill:#0969da;stroke:#0969da}.s1{fill:#bc4c00;stroke:#bc4c00}.s2{fill:#8250df;stroke:#8250df}\
.bad{fill:#cf222e;stroke:#cf222e}.line{fill:none;stroke-width:2}\
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.small{fill:#9198a1}.axis{stroke:#3d444d}.bar{stroke:#e6edf3}\
.s0{fill:#4493f8;stroke:#4493f8}.s1{fill:#f0883e;stroke:#f0883e}.s2{fill:#ab7df8;stroke:#ab7df8}\
.bad{fill:#f85149;stroke:#f85149}.line{fill:none}}";

/// A picture being drawn.
#[derive(Debug)]
pub struct Picture {
    width: f64,
    height: f64,
    body: String,
}

impl Picture {
    /// Begins a picture with a title.
    pub fn new(width: f64, height: f64, title: &str) -> Self {
        let mut picture = Self {
            width,
            height,
            body: String::new(),
        };
        picture.text(12.0, 22.0, "title", "start", title);
        picture
    }

    /// Writes a text at a point; `anchor` says which part of it is there.
    pub fn text(&mut self, x: f64, y: f64, class: &str, anchor: &str, text: &str) {
        let text = text
            .replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;");
        self.add(format_args!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" class=\"{class}\" text-anchor=\"{anchor}\">{text}</text>"
        ));
    }

    /// Draws a straight line.
    pub fn line(&mut self, from: (f64, f64), to: (f64, f64), class: &str) {
        let ((x1, y1), (x2, y2)) = (from, to);
        self.add(format_args!(
            "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" class=\"{class}\"/>"
        ));
    }

    /// Draws a filled rectangle.
    pub fn rectangle(&mut self, x: f64, y: f64, width: f64, height: f64, class: &str) {
        self.add(format_args!(
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" rx=\"2\" class=\"{class}\"/>"
        ));
    }

    /// Draws a dot.
    pub fn dot(&mut self, x: f64, y: f64, class: &str) {
        self.add(format_args!(
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\" class=\"{class}\"/>"
        ));
    }

    /// Draws a line through points, with a dot at each.
    pub fn path(&mut self, points: &[(f64, f64)], class: &str) {
        let mut list = String::new();
        for (x, y) in points {
            write!(list, "{x:.1},{y:.1} ").expect("a string takes everything");
        }
        self.add(format_args!(
            "<polyline points=\"{}\" class=\"{class} line\"/>",
            list.trim_end()
        ));
        for (x, y) in points {
            self.dot(*x, *y, class);
        }
    }

    fn add(&mut self, element: std::fmt::Arguments<'_>) {
        writeln!(self.body, "{element}").expect("a string takes everything");
    }

    /// Returns the file.
    pub fn finish(self) -> String {
        let Self {
            width,
            height,
            body,
        } = self;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" role=\"img\">\n\
             <style>{STYLE}</style>\n{body}</svg>\n"
        )
    }
}

/// A logarithmic axis.
#[derive(Debug, Clone, Copy)]
pub struct LogAxis {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl LogAxis {
    /// Returns the axis of whole powers of ten that holds all values, drawn from one coordinate to another.
    pub fn new(values: impl Iterator<Item = f64>, from: f64, to: f64) -> Self {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.filter(|value| value.is_finite() && *value > 0.0) {
            low = low.min(value.log10());
            high = high.max(value.log10());
        }
        if low > high {
            (low, high) = (0.0, 1.0);
        }
        let low = low.floor();
        Self {
            low,
            high: high.ceil().max(low + 1.0),
            from,
            to,
        }
    }

    /// Returns the coordinate of a value.
    pub fn at(&self, value: f64) -> f64 {
        let share = (value.max(f64::MIN_POSITIVE).log10() - self.low) / (self.high - self.low);
        self.from + share.clamp(0.0, 1.0) * (self.to - self.from)
    }

    /// Walks the powers of ten.
    pub fn ticks(&self) -> impl Iterator<Item = f64> {
        (self.low as i32..=self.high as i32).map(|power| 10f64.powi(power))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_has_powers_of_ten() {
        let axis = LogAxis::new([0.5, 300.0].into_iter(), 0.0, 400.0);
        assert_eq!(axis.ticks().count(), 5);
        assert_eq!((axis.at(0.1), axis.at(1000.0)), (0.0, 400.0));
        assert_eq!(axis.at(10.0), 200.0);
    }

    #[test]
    fn texts_are_escaped() {
        let mut picture = Picture::new(100.0, 50.0, "a < b & c");
        picture.path(&[(1.0, 2.0), (3.0, 4.0)], "s0");
        let text = picture.finish();
        assert!(text.contains("a &lt; b &amp; c"));
        assert!(text.contains("points=\"1.0,2.0 3.0,4.0\""));
    }
}
