//! Reads a VictoriaMetrics by its export, a line of JSON for each series.

use serde_json::Value;
use tsdb::stale_marker;

use crate::{Contents, FIRST, LAST, Outcome, get};

pub fn read(url: &str) -> Outcome<Contents> {
    // What has just come is not found until it is told to look.
    get(&format!("{url}/internal/force_flush"))?;
    let (first, last) = (FIRST / 1000, LAST / 1000);
    let text = get(&format!(
        "{url}/api/v1/export?match[]=%7B__name__!=%22%22%7D&start={first}&end={last}"
    ))?;
    let mut contents = Contents::new();
    for line in text.lines() {
        // A staleness marker is null, but for the first value of a line, which is no JSON.
        let series: Value = serde_json::from_str(&line.replacen("[NaN", "[null", 1))?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let names = series["metric"].as_object().ok_or("a series has labels")?;
        let names = names
            .iter()
            .map(|(name, value)| (name.clone(), text(value)));
        let values = series["values"].as_array().ok_or("a series has values")?;
        let timestamps = series["timestamps"]
            .as_array()
            .ok_or("a series has timestamps")?;
        let samples = contents.entry(names.collect()).or_default();
        for (timestamp, value) in timestamps.iter().zip(values) {
            samples.push((
                timestamp.as_i64().ok_or("a timestamp is a number")?,
                value.as_f64().unwrap_or(stale_marker()),
            ));
        }
    }
    Ok(contents)
}

/// It keeps numbers as decimals of at least twelve digits.
pub fn same(appended: f64, arrived: f64) -> bool {
    let is_short = format!("{appended:.11e}").parse() == Ok(appended);
    if is_short || appended.is_nan() || arrived.is_nan() {
        appended.to_bits() == arrived.to_bits()
    } else {
        (appended - arrived).abs() <= appended.abs() * 1e-12
    }
}
