//! A line of samples as text.

use tsdb::Samples;

/// A character of braille is two dots wide and four high; these are the bits of a column of dots, from the top.
const DOTS: [[u8; 4]; 2] = [[0x01, 0x02, 0x04, 0x40], [0x08, 0x10, 0x20, 0x80]];

/// Draws the samples in `width` x `height` characters; each column of dots shows the span of values that falls into it.
pub fn plot(samples: &Samples, width: usize, height: usize) -> String {
    let finite = samples
        .values
        .iter()
        .copied()
        .filter(|value| value.is_finite());
    let (low, high) = finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
        (low.min(value), high.max(value))
    });
    if low > high {
        return "nothing to draw\n".to_owned();
    }
    let span = if high > low { high - low } else { 1.0 };
    let (columns, rows) = (2 * width, 4 * height);
    let row_of = |value: f64| ((high - value) / span * (rows - 1) as f64).round() as usize;
    let mut cells = vec![vec![0u8; width]; height];
    let mut previous = None;
    for (index, &value) in samples
        .values
        .iter()
        .enumerate()
        .filter(|(_, value)| value.is_finite())
    {
        let column = index * columns / samples.len();
        let row = row_of(value);
        // From the row of the sample before, so that the line has no gaps.
        let from = previous.unwrap_or(row);
        for row in row.min(from)..=row.max(from) {
            cells[row / 4][column / 2] |= DOTS[column % 2][row % 4];
        }
        previous = Some(row);
    }
    let mut text = String::new();
    for (index, cells) in cells.iter().enumerate() {
        let scale = match index {
            0 => format!("{high:9.2}"),
            _ if index == height - 1 => format!("{low:9.2}"),
            _ => " ".repeat(9),
        };
        let line: String = cells
            .iter()
            .map(|&dots| char::from_u32(0x2800 + u32::from(dots)).unwrap_or(' '))
            .collect();
        text.push_str(&scale);
        text.push_str(" ┤");
        text.push_str(line.trim_end_matches('\u{2800}'));
        text.push('\n');
    }
    text
}
