//! What OpenTSDB makes of a recording, and reading it back.

use serde_json::Value;
use tsdb::Sample;
use tsdb::remote::opentsdb::Mapping;

use crate::corpus::Recording;
use crate::{Contents, FIRST, LAST, Names, Outcome, get};

/// The name of the label that a metric's name becomes here.
const METRIC: &str = "__name__";

/// Returns the recording as points.
pub fn mapped(recording: &Recording, mapping: &Mapping) -> Outcome<Contents> {
    let series = recording
        .series
        .iter()
        .map(|labels| mapping.map(labels.iter()));
    let series = series.collect::<Result<Vec<_>, _>>();
    let series = series.map_err(|refusal| format!("a recorded series is refused: {refusal:?}"))?;
    let mut contents = Contents::new();
    let mut text = String::new();
    for scrape in &recording.scrapes {
        for (&index, &value) in scrape.series.iter().zip(&scrape.values) {
            let sample = Sample {
                timestamp: scrape.timestamp,
                value,
            };
            text.clear();
            if mapping.point(&series[index], sample, &mut text).is_err() {
                continue;
            }
            let point: Value = serde_json::from_str(&text)?;
            let timestamp = point["timestamp"].as_i64().ok_or("a point has a time")?;
            let value = point["value"].as_f64().ok_or("a point has a value")?;
            contents
                .entry(names(&point)?)
                .or_default()
                .push((timestamp, value));
        }
    }
    Ok(contents)
}

pub fn read(url: &str) -> Outcome<Contents> {
    let metrics: Vec<String> =
        serde_json::from_str(&get(&format!("{url}/api/suggest?type=metrics&max=100000"))?)?;
    let mut contents = Contents::new();
    for metric in metrics {
        let answer = get(&format!(
            "{url}/api/query?start={FIRST}&end={LAST}&ms=true&m=none:{metric}"
        ))?;
        let found: Vec<Value> = serde_json::from_str(&answer)?;
        for series in found {
            let samples = contents.entry(names(&series)?).or_default();
            for (timestamp, value) in series["dps"].as_object().ok_or("a series has points")? {
                samples.push((
                    timestamp.parse()?,
                    value.as_f64().ok_or("a value is a number")?,
                ));
            }
        }
    }
    Ok(contents)
}

/// Returns how a point or a series is called.
fn names(point: &Value) -> Outcome<Names> {
    let text = |value: &Value| value.as_str().map(str::to_owned).ok_or("a name is a text");
    let mut names = Names::from([(METRIC.to_owned(), text(&point["metric"])?)]);
    for (name, value) in point["tags"].as_object().ok_or("a point has tags")? {
        names.insert(name.clone(), text(value)?);
    }
    Ok(names)
}
