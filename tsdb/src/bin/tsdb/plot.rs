//! Drawings in the terminal: a line in braille dots, two by four in a character.

use std::fmt::Write as _;

use tsdb::{Samples, Timestamp};

use crate::times;

/// How large a drawing is, in characters.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plot {
    /// Characters in a line, those of the scale included.
    pub(crate) columns: usize,
    /// Lines of the drawing itself; one more says which time it spans.
    pub(crate) lines: usize,
}

/// Draws samples. Where a value is no finite number the line has a gap.
pub(crate) fn plot(samples: &Samples, size: Plot) -> String {
    let finite = || samples.iter().filter(|sample| sample.value.is_finite());
    let (Some(first), Some(last)) = (finite().next(), finite().last()) else {
        return "no finite values\n".to_owned();
    };
    let low = finite()
        .map(|sample| sample.value)
        .fold(f64::INFINITY, f64::min);
    let high = finite()
        .map(|sample| sample.value)
        .fold(f64::NEG_INFINITY, f64::max);
    // A line that is level runs through the middle and has one label.
    let scale = if low < high {
        vec![(0, short(high)), (size.lines - 1, short(low))]
    } else {
        vec![(size.lines / 2, short(low))]
    };
    let margin = scale
        .iter()
        .map(|(_, label)| label.len())
        .max()
        .unwrap_or_default()
        + 1;
    let mut canvas = Canvas::new(size.columns.saturating_sub(margin + 1).max(8), size.lines);

    let (x_max, y_max) = (canvas.columns * 2 - 1, canvas.lines * 4 - 1);
    let x = |timestamp: Timestamp| {
        position(
            timestamp as f64,
            first.timestamp as f64,
            last.timestamp as f64,
            x_max,
        )
    };
    let y = |value: f64| y_max - position(value, low, high, y_max);
    let mut before = None;
    for sample in samples.iter() {
        let here = sample
            .value
            .is_finite()
            .then(|| (x(sample.timestamp), y(sample.value)));
        if let Some(here) = here {
            canvas.line(before.unwrap_or(here), here);
        }
        before = here;
    }
    canvas.framed(
        &scale,
        margin,
        &[
            times::format(first.timestamp),
            times::format(last.timestamp),
        ],
    )
}

/// Returns where `value` lies between `low` and `high`, from 0 to `max`; in the middle if they are one.
fn position(value: f64, low: f64, high: f64, max: usize) -> usize {
    // Halves keep the span of the largest numbers finite.
    let span = high / 2.0 - low / 2.0;
    if span <= 0.0 {
        return (max - 1) / 2;
    }
    let share = (value / 2.0 - low / 2.0) / span;
    ((share * max as f64).round() as usize).min(max)
}

/// Writes a number in few characters.
fn short(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 || (0.01..1e6).contains(&size) {
        let text = format!("{value:.3}");
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        format!("{value:.3e}")
    }
}

struct Canvas {
    columns: usize,
    lines: usize,
    /// One per character, a bit per dot as Unicode numbers them.
    cells: Vec<u8>,
}

impl Canvas {
    fn new(columns: usize, lines: usize) -> Self {
        Self {
            columns,
            lines,
            cells: vec![0; columns * lines],
        }
    }

    fn set(&mut self, (x, y): (usize, usize)) {
        // Unicode counts the upper three dots of both columns first, and the lowest ones last.
        const DOTS: [[u8; 2]; 4] = [[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]];
        if let Some(cell) = self.cells.get_mut(y / 4 * self.columns + x / 2) {
            *cell |= DOTS[y % 4][x % 2];
        }
    }

    /// Draws a straight line, both ends included.
    fn line(&mut self, from: (usize, usize), to: (usize, usize)) {
        let steps = from.0.abs_diff(to.0).max(from.1.abs_diff(to.1)).max(1);
        let between = |from: usize, to: usize, step: usize| {
            (from as f64 + (to as f64 - from as f64) * step as f64 / steps as f64).round() as usize
        };
        for step in 0..=steps {
            self.set((between(from.0, to.0, step), between(from.1, to.1, step)));
        }
    }

    /// Writes the drawing with the labels of its lines on the left and its first and last time below.
    fn framed(&self, scale: &[(usize, String)], margin: usize, times: &[String; 2]) -> String {
        let mut out = String::new();
        for (index, line) in self.cells.chunks(self.columns).enumerate() {
            let label = scale
                .iter()
                .find(|(line, _)| *line == index)
                .map_or("", |(_, label)| label);
            let dots: String = line
                .iter()
                .filter_map(|cell| char::from_u32(0x2800 + u32::from(*cell)))
                .collect();
            writeln!(
                out,
                "{label:>margin$}┤{}",
                dots.trim_end_matches('\u{2800}')
            )
            .expect("a string takes everything");
        }
        let between = self
            .columns
            .saturating_sub(times[0].len() + times[1].len())
            .max(1);
        writeln!(
            out,
            "{:margin$} {}{:between$}{}",
            "", times[0], "", times[1]
        )
        .expect("a string takes everything");
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(values: &[f64], size: Plot) -> String {
        let mut samples = Samples::default();
        for (index, value) in values.iter().enumerate() {
            samples.push(index as i64 * 1000, *value);
        }
        plot(&samples, size)
    }

    const SIZE: Plot = Plot {
        columns: 11,
        lines: 2,
    };

    #[test]
    fn line_rises_from_the_lower_left_to_the_upper_right() {
        let expected =
            " 7┤⠀⠀⠀⠀⣀⡠⠔⠊\n 0┤⣀⠤⠒⠉\n   1970-01-01T00:00:00.000Z 1970-01-01T00:00:07.000Z\n";
        assert_eq!(
            drawn(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0], SIZE),
            expected
        );
    }

    #[test]
    fn gap_stays_empty() {
        let drawing = drawn(&[1.0, f64::NAN, 1.0], SIZE);
        let dots = drawing
            .chars()
            .filter(|c| ('\u{2801}'..='\u{28ff}').contains(c))
            .count();
        assert_eq!(dots, 2);
    }

    #[test]
    fn constant_and_extreme_values_are_drawn() {
        assert!(drawn(&[5.0, 5.0], SIZE).contains(" 5┤"));
        assert!(drawn(&[f64::MIN, f64::MAX], SIZE).contains("1.798e308┤"));
        assert_eq!(drawn(&[f64::NAN], SIZE), "no finite values\n");
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!(
            [0.0, 1.0, -12.5, 0.25, 1_234_567.0, 0.001].map(short),
            ["0", "1", "-12.5", "0.25", "1.235e6", "1.000e-3"]
        );
    }
}
