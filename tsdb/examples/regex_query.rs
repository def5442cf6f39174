//! Finding series: matchers, label values, the newest samples, and who has how many series.

#![expect(clippy::print_stdout, reason = "it is a program for a terminal")]

mod support;

use std::error::Error;
use std::sync::Arc;

use tsdb::{Clock, Db, Labels, ManualClock, MatchOp, Matcher, Options, TimeRange, parse_selector};

fn main() -> Result<(), Box<dyn Error>> {
    let dir = support::ScratchDir::new("regex-query");
    let now = 1_795_334_160_000;
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(now));
    let db = Db::open(dir.path(), Options::default().with_clock(clock))?;
    let mut appender = db.appender()?;
    for (pod, namespace) in [
        ("web-0", "shop"),
        ("web-1", "shop"),
        ("db-0", "shop"),
        ("ingress-0", "edge"),
    ] {
        for (code, count) in [("200", 900.0), ("404", 7.0), ("503", 1.0)] {
            let place = [("namespace", namespace), ("pod", pod), ("code", code)];
            let labels = [("__name__", "requests_total")].into_iter().chain(place);
            appender.append(&Labels::from_pairs(labels)?, now, count)?;
        }
        // A label that is not there is the same as an empty one.
        let labels = [("__name__", "up"), ("namespace", namespace), ("pod", pod)];
        appender.append(&Labels::from_pairs(labels)?, now, 1.0)?;
    }
    appender.commit()?;

    let querier = db.querier(TimeRange::closed(now - 300_000, now))?;
    for selector in [
        r#"requests_total{code="503",pod=~"web-.*"}"#, // a regex is anchored at both ends
        r#"requests_total{code!~"2..",namespace="edge"}"#,
        r#"{namespace="shop",code=""}"#,
        r#"{pod=~"db-0|ingress-0",__name__!="requests_total"}"#,
    ] {
        println!("{selector}");
        for series in querier.select(&parse_selector(selector)?)? {
            let series = series?;
            println!("  {} {}", series.labels(), series.samples()?.values[0]);
        }
    }

    // Matchers can be made without a text, and asked for labels instead of series.
    let errors = [Matcher::new(MatchOp::Regex, "code", "4..|5..")?];
    println!(
        "codes of errors: {}",
        querier.label_values("code", &errors, 100)?.join(", ")
    );
    println!(
        "labels of errors: {}",
        querier.label_names(&errors, 100)?.join(", ")
    );

    let newest = querier.latest(&parse_selector("up")?, now, 300_000)?;
    println!(
        "up: {}",
        newest
            .iter()
            .map(|found| found.labels.get("pod").unwrap_or_default())
            .collect::<Vec<_>>()
            .join(", ")
    );

    let cardinality = querier.cardinality(3)?;
    println!("{} series; the largest metrics:", cardinality.series());
    for count in cardinality.metrics() {
        println!("  {} {}", count.name, count.count);
    }
    Ok(())
}
