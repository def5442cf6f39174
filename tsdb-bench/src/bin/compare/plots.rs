//! The plots of a result.

use crate::growth::{FIGURES, by_shape, by_size};
use crate::render::display_name;
use crate::result::{Record, Report, Spread};
use crate::svg::{LogAxis, Picture};
use crate::tables::number;
use crate::verdict::{Unit, Verdict, size, verdicts};

/// A picture and where it goes.
#[derive(Debug)]
pub struct Plot {
    pub file: &'static str,
    pub title: String,
    pub text: String,
}

/// Draws everything there are figures for.
pub fn all(report: &Report) -> Vec<Plot> {
    [
        ratios(report),
        select(report),
        growth(report),
        shapes(report),
    ]
    .into_iter()
    .flatten()
    .collect()
}

const ROW: f64 = 22.0;
const LEFT: f64 = 470.0;
const RIGHT: f64 = 930.0;
const TOP: f64 = 44.0;

/// Bars: how many times better than Prometheus, and how many times it has to be.
fn ratios(report: &Report) -> Option<Plot> {
    let verdicts: Vec<Verdict> = verdicts(report)
        .into_iter()
        .filter(|verdict| verdict.against == "prometheus" && verdict.unit == Unit::Ratio)
        .collect();
    let values = verdicts.iter().filter_map(Verdict::times_better);
    let wanted = verdicts.iter().map(Verdict::times_wanted);
    let axis = LogAxis::new(values.chain(wanted).chain([1.0]), LEFT, RIGHT);
    let bottom = TOP + ROW * verdicts.len() as f64;
    let title = "Times better than Prometheus; the mark is the bar".to_owned();
    let mut picture = Picture::new(RIGHT + 60.0, bottom + 30.0, &title);
    scale(&mut picture, axis, bottom);
    for (row, verdict) in verdicts.iter().enumerate() {
        let y = TOP + ROW * row as f64;
        let better = verdict.times_better()?;
        let class = if verdict.holds() { "s0" } else { "bad" };
        let (one, end) = (axis.at(1.0), axis.at(better));
        let what = verdict.what.replace('`', "");
        picture.text(LEFT - 10.0, y + 15.0, "", "end", &what);
        picture.rectangle(
            one.min(end),
            y + 4.0,
            (end - one).abs().max(1.0),
            14.0,
            class,
        );
        let mark = axis.at(verdict.times_wanted());
        picture.line((mark, y + 1.0), (mark, y + 21.0), "bar");
        picture.text(RIGHT + 8.0, y + 15.0, "small", "start", &number(better));
    }
    (!verdicts.is_empty()).then(|| Plot {
        file: "ratios.svg",
        title,
        text: picture.finish(),
    })
}

/// Draws the lines and numbers of a horizontal axis.
fn scale(picture: &mut Picture, axis: LogAxis, bottom: f64) {
    for tick in axis.ticks() {
        let x = axis.at(tick);
        picture.line((x, TOP - 4.0), (x, bottom), "axis");
        picture.text(x, bottom + 16.0, "small", "middle", &number(tick));
    }
}

/// Dots: the time of each matcher set at the largest size, our first run and the others' best.
fn select(report: &Report) -> Option<Plot> {
    let series = report.sizes("cluster").into_iter().max()?;
    let engines = report.engines("cluster");
    let time = |engine: &str, case: u64, field: &str| {
        let records = report.of("cluster", engine, "select");
        let of_case =
            records.filter(|record| record.series == series && record.case() == Some(case));
        let times = of_case.filter_map(|record| Some(record.number(field)? * 1e6));
        Some(Spread::of(times.collect())?.median)
    };
    let field = |index: usize| if index == 0 { "first_s" } else { "best_s" };
    let ours: Vec<&Record> = report
        .of("cluster", engines.first()?, "select")
        .filter(|record| record.series == series)
        .collect();
    let mut cases: Vec<(u64, &str)> = ours
        .iter()
        .filter_map(|record| Some((record.case()?, record.text("matchers")?)))
        .collect();
    cases.sort_unstable();
    cases.dedup();
    let all = cases.iter().flat_map(|(case, _)| {
        let times = engines
            .iter()
            .enumerate()
            .map(|(index, engine)| time(engine, *case, field(index)));
        times.flatten().collect::<Vec<_>>()
    });
    let axis = LogAxis::new(all, LEFT, RIGHT);
    let bottom = TOP + ROW * (cases.len() as f64 + 1.0);
    let title = format!("Select over {}: microseconds", size(series));
    let mut picture = Picture::new(RIGHT + 60.0, bottom + 30.0, &title);
    scale(&mut picture, axis, bottom);
    for (index, engine) in engines.iter().enumerate() {
        let x = LEFT + 175.0 * index as f64;
        picture.dot(x, TOP + 8.0, &format!("s{index}"));
        let run = if index == 0 {
            "first run"
        } else {
            "best of five"
        };
        picture.text(
            x + 10.0,
            TOP + 12.0,
            "",
            "start",
            &format!("{}, {run}", display_name(engine)),
        );
    }
    for (row, (case, matchers)) in cases.iter().enumerate() {
        let y = TOP + ROW * (row as f64 + 1.0) + 11.0;
        picture.text(LEFT - 10.0, y + 4.0, "small", "end", matchers);
        for (index, engine) in engines.iter().enumerate().rev() {
            if let Some(time) = time(engine, *case, field(index)) {
                picture.dot(axis.at(time), y, &format!("s{index}"));
            }
        }
    }
    (!cases.is_empty()).then(|| Plot {
        file: "select.svg",
        title,
        text: picture.finish(),
    })
}

const PANEL: (f64, f64) = (290.0, 190.0);

/// One small diagram.
struct Panel {
    title: String,
    points: Vec<(f64, f64)>,
}

/// Draws diagrams in rows of three, both axes logarithmic.
fn panels(file: &'static str, title: &str, panels: &[Panel]) -> Option<Plot> {
    let rows = panels.len().div_ceil(3) as f64;
    let mut picture = Picture::new(3.0 * PANEL.0 + 20.0, TOP + rows * PANEL.1, title);
    for (index, panel) in panels.iter().enumerate() {
        let left = (index % 3) as f64 * PANEL.0 + 50.0;
        let top = (index / 3) as f64 * PANEL.1 + TOP + 20.0;
        let (right, bottom) = (left + PANEL.0 - 60.0, top + PANEL.1 - 60.0);
        let x = LogAxis::new(panel.points.iter().map(|point| point.0), left, right);
        let y = LogAxis::new(panel.points.iter().map(|point| point.1), bottom, top);
        for tick in x.ticks() {
            picture.line((x.at(tick), top), (x.at(tick), bottom), "axis");
            picture.text(x.at(tick), bottom + 14.0, "small", "middle", &short(tick));
        }
        for tick in y.ticks() {
            picture.line((left, y.at(tick)), (right, y.at(tick)), "axis");
            picture.text(left - 5.0, y.at(tick) + 4.0, "small", "end", &short(tick));
        }
        picture.text(left, top - 7.0, "", "start", &panel.title);
        let points: Vec<(f64, f64)> = panel
            .points
            .iter()
            .map(|point| (x.at(point.0), y.at(point.1)))
            .collect();
        picture.path(&points, "s0");
    }
    (!panels.is_empty()).then(|| Plot {
        file,
        title: title.to_owned(),
        text: picture.finish(),
    })
}

/// Writes a power of ten.
fn short(value: f64) -> String {
    match value {
        1e6.. => format!("{} M", value / 1e6),
        1e3.. => format!("{} k", value / 1e3),
        _ => number(value),
    }
}

fn growth(report: &Report) -> Option<Plot> {
    let diagrams = FIGURES.iter().filter_map(|(title, of)| {
        let points =
            by_size(report).filter_map(|record| Some((record.series as f64, of(report, record)?)));
        panel((*title).to_owned(), points.collect())
    });
    panels(
        "growth.svg",
        "Cost by number of series",
        &diagrams.collect::<Vec<_>>(),
    )
}

fn shapes(report: &Report) -> Option<Plot> {
    let mut diagrams = Vec::new();
    for (name, by) in [("GROUP", "target"), ("CHURN", "churn")] {
        for (title, of) in FIGURES
            .iter()
            .filter(|(title, _)| !title.starts_with("create"))
        {
            let points = by_shape(report, name)
                .filter_map(|(value, record)| Some((value, of(report, record)?)));
            diagrams.extend(panel(format!("{title}, by {by}"), points.collect()));
        }
    }
    panels(
        "shapes.svg",
        "Cost by series of a target, and by churn (replaced of 100,000 at each scrape); 100 k series",
        &diagrams,
    )
}

fn panel(title: String, points: Vec<(f64, f64)>) -> Option<Panel> {
    (points.len() > 1).then_some(Panel { title, points })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::sample;

    #[test]
    fn plots_are_of_what_was_measured() {
        let files: Vec<&str> = all(&sample()).iter().map(|plot| plot.file).collect();
        assert_eq!(files, ["ratios.svg", "select.svg"]);
    }

    #[test]
    fn a_missed_bar_is_of_another_colour() {
        let plots = all(&sample());
        assert!(plots[0].text.contains("class=\"bad\""));
        assert!(plots[1].text.contains("Select over 100 k series"));
    }
}
