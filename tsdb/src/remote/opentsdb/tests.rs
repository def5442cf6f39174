use std::io::Read;

use proptest::prelude::*;

use super::*;
use crate::sample::{Sample, stale_marker};

const T: i64 = 1_795_334_160_000;

fn sample(timestamp: i64, value: f64) -> Sample {
    Sample { timestamp, value }
}

fn point(mapping: &Mapping, labels: &[(&str, &str)], sample: Sample) -> String {
    let series = mapping.map(labels.iter().copied()).unwrap();
    let mut out = String::new();
    mapping.point(&series, sample, &mut out).unwrap();
    out
}

#[test]
fn labels_are_escaped_as_the_adapter_does() {
    let labels = [
        ("__name__", "job:up_2"),
        ("instance", "a:9100"),
        ("path", "/x y_é\u{1}"),
        ("with space", "1"),
    ];
    assert_eq!(
        point(&Mapping::default(), &labels, sample(T, 1.0)),
        concat!(
            r#"{"metric":"job_.up__2","tags":{"instance":"a_.9100","path":"/x_20y___C3_A9_01","with_20space":"1"},"#,
            r#""timestamp":1795334160000,"value":1.0}"#
        )
    );
    let lossy = Mapping {
        escaping: Escaping::LossyReplace,
        resolution: Resolution::Seconds,
        ..Mapping::default()
    };
    assert_eq!(
        point(&lossy, &labels, sample(T + 999, -0.0)),
        concat!(
            r#"{"metric":"job_up_2","tags":{"instance":"a_9100","path":"/x_y___","with_space":"1"},"#,
            r#""timestamp":1795334160,"value":-0.0}"#
        )
    );
}

#[test]
fn tags_are_one_at_least_and_no_more_than_allowed() {
    let map = |overflow, count: usize| {
        let names: Vec<String> = (0..count).map(|i| format!("l{i}")).collect();
        let mapping = Mapping {
            tags_max: 3,
            priority: vec![String::from("l4"), String::from("l1")],
            overflow,
            ..Mapping::default()
        };
        let labels = names.iter().map(|name| (name.as_str(), "v"));
        mapping.map(std::iter::once(("__name__", "up")).chain(labels))
    };
    let tags = |mapped: &MappedSeries| mapped.prefix.split_once("tags").unwrap().1.to_owned();
    let none = map(TagOverflow::Drop, 0).unwrap();
    assert_eq!(tags(&none), r#"":{"source":"tsdb"},"timestamp":"#);
    let all = map(TagOverflow::Reject, 3).unwrap();
    assert_eq!(
        (tags(&all).as_str(), all.labels_dropped),
        (r#"":{"l0":"v","l1":"v","l2":"v"},"timestamp":"#, 0)
    );
    let dropped = map(TagOverflow::Drop, 6).unwrap();
    assert_eq!(
        (tags(&dropped).as_str(), dropped.labels_dropped),
        (r#"":{"l0":"v","l1":"v","l4":"v"},"timestamp":"#, 3)
    );
    let folded = map(TagOverflow::Fold(String::from("rest")), 5).unwrap();
    assert_eq!(
        (tags(&folded).as_str(), folded.labels_dropped),
        (
            r#"":{"l1":"v","l4":"v","rest":"l0_3Dv_2Cl2_3Dv_2Cl3_3Dv"},"timestamp":"#,
            0
        )
    );
    assert_eq!(map(TagOverflow::Reject, 4), Err(MapRefusal::TooManyLabels));
    assert_eq!(
        Mapping::default().map([("job", "a")]),
        Err(MapRefusal::NoMetricName)
    );
}

#[test]
fn names_that_become_the_same_are_counted() {
    let lossy = Mapping {
        escaping: Escaping::LossyReplace,
        ..Mapping::default()
    };
    let series = lossy
        .map([("__name__", "up"), ("a b", "1"), ("a:b", "2")])
        .unwrap();
    assert_eq!(
        (
            series.prefix.contains(r#"{"a_b":"1"}"#),
            series.labels_dropped
        ),
        (true, 1)
    );
}

#[test]
fn what_cannot_be_stored_is_skipped_with_a_reason() {
    let mapping = Mapping::default();
    let series = mapping.map([("__name__", "up")]).unwrap();
    let mut out = String::new();
    let mut skipped = |timestamp, value| {
        mapping
            .point(&series, sample(timestamp, value), &mut out)
            .unwrap_err()
    };
    assert_eq!(skipped(T, stale_marker()), SkipReason::Stale);
    assert_eq!(skipped(T, f64::NAN), SkipReason::NotANumber);
    assert_eq!(skipped(T, f64::NEG_INFINITY), SkipReason::Infinite);
    for timestamp in [i64::MIN, 0, (1 << 32) - 1, 10_000_000_000_000] {
        assert_eq!(skipped(timestamp, 1.0), SkipReason::TimestampOutOfRange);
    }
    assert_eq!(out, "");
}

fn answer(status: u16, body: &str) -> Answer {
    let mapping = Mapping::default();
    let first = mapping.map([("__name__", "up"), ("host", "a")]).unwrap();
    let second = mapping
        .map([("__name__", "up"), ("host", "b"), ("zone", "z")])
        .unwrap();
    let points = [&first, &second, &first].map(|series| SentPoint {
        series,
        timestamp: T,
    });
    judge(status, body.as_bytes(), &points)
}

fn failed(error: &str, tags: &str) -> String {
    format!(
        r#"{{"datapoint":{{"metric":"up","timestamp":{T},"value":"1.0","tags":{tags}}},"error":"{error}"}}"#
    )
}

#[test]
fn errors_find_their_points_in_any_order() {
    let (a, b) = (r#"{"host":"a"}"#, r#"{"zone":"z","host":"b"}"#);
    let body = format!(
        r#"{{"success":1,"failed":2,"errors":[{},{}]}}"#,
        failed("Storage exception: RPC ID [15] timed out", b),
        failed("Unknown metric", a)
    );
    // With `sync` and `details` a failure of the storage comes under 200.
    for status in [200, 400] {
        let Answer::Points(outcomes) = answer(status, &body) else {
            panic!("the points are told");
        };
        assert!(matches!(&outcomes[0], PointOutcome::Config(error) if error == "Unknown metric"));
        assert!(matches!(&outcomes[1], PointOutcome::Retry(_)));
        assert_eq!(outcomes[2], PointOutcome::Stored);
    }
    let body = format!(
        r#"{{"success":2,"failed":1,"errors":[{}]}}"#,
        failed("Too many tags: 9 maximum allowed: 8", a)
    );
    assert!(
        matches!(answer(400, &body), Answer::Points(outcomes) if matches!(outcomes[0], PointOutcome::Refused(_)))
    );
    let foreign = format!(
        r#"{{"success":2,"failed":1,"errors":[{}]}}"#,
        failed("Missing tags", "{}")
    );
    assert_eq!(answer(400, &foreign), Answer::Split);
}

#[test]
fn answers_about_the_whole_body_are_told_apart() {
    let stored = Answer::Points(vec![PointOutcome::Stored; 3]);
    let message = |message: &str| {
        format!(r#"{{"error":{{"code":400,"message":"{message}","trace":"..."}}}}"#)
    };
    for (status, body, expected) in [
        (204, String::new(), &stored),
        (200, String::new(), &stored),
        (
            200,
            r#"{"success":3,"failed":0,"errors":[]}"#.into(),
            &stored,
        ),
        (
            200,
            r#"{"success":3,"timeouts":0,"failed":0}"#.into(),
            &stored,
        ),
        (
            200,
            r#"{"success":0,"failed":2,"errors":[]}"#.into(),
            &Answer::Retry,
        ),
        (
            400,
            r#"{"success":0,"timeouts":2,"failed":0}"#.into(),
            &Answer::Retry,
        ),
        (400, r#"{"success":2,"failed":1}"#.into(), &Answer::Split),
        (
            400,
            message("One or more data points had errors"),
            &Answer::Split,
        ),
        (
            400,
            message("Unable to parse the given JSON"),
            &Answer::Split,
        ),
        (
            400,
            message("The put call has timedout with 0 successful writes"),
            &Answer::Retry,
        ),
        (
            400,
            "<html>... Chunked request not supported. ...".into(),
            &Answer::TooLarge,
        ),
        (
            400,
            r#"{"error":{"message":"cut in the mid"#.into(),
            &Answer::Split,
        ),
        (413, String::new(), &Answer::TooLarge),
        (429, String::new(), &Answer::Retry),
        (500, String::new(), &Answer::Retry),
        (503, String::new(), &Answer::Retry),
        (302, String::new(), &Answer::Config),
        (401, String::new(), &Answer::Config),
        (404, String::new(), &Answer::Config),
        (405, String::new(), &Answer::Config),
        (501, String::new(), &Answer::Config),
    ] {
        assert_eq!(&answer(status, &body), expected, "{status} {body}");
    }
}

/// Fills bodies with points and returns them as JSON.
fn bodies(mut builder: BodyBuilder, points: &[String], bytes_max: usize) -> Vec<String> {
    let mut bodies = Vec::new();
    let mut take = |builder: &mut BodyBuilder| {
        let is_alone = builder.points() == 1;
        let encoding = builder.content_encoding();
        let body = builder.finish().unwrap();
        assert!(body.len() <= bytes_max || is_alone, "{} bytes", body.len());
        let mut text = String::new();
        match encoding {
            Some(_) => flate2::read::GzDecoder::new(&body[..])
                .read_to_string(&mut text)
                .unwrap(),
            None => (&body[..]).read_to_string(&mut text).unwrap(),
        };
        bodies.push(text);
    };
    for point in points {
        if !builder.push(point) {
            take(&mut builder);
            assert!(builder.push(point));
        }
    }
    take(&mut builder);
    assert_eq!(builder.finish(), None);
    bodies
}

#[test]
fn bodies_stay_below_their_cap_and_hold_every_point() {
    let mapping = Mapping::default();
    let points: Vec<String> = (0..2000)
        .map(|i| {
            let (instance, value) = (format!("host-{}:9100", i % 7), f64::from(i) * 0.1);
            point(
                &mapping,
                &[("__name__", "node_load1"), ("instance", &instance)],
                sample(T + i64::from(i), value),
            )
        })
        .collect();
    let plain = bodies(
        BodyBuilder::plain(DEFAULT_BODY_BYTES),
        &points,
        DEFAULT_BODY_BYTES,
    );
    let gzip = bodies(
        BodyBuilder::gzip(DEFAULT_BODY_BYTES),
        &points,
        DEFAULT_BODY_BYTES,
    );
    // Compressed, a body holds several times as many points.
    assert!(
        gzip.len() * 3 < plain.len(),
        "{} and {} bodies",
        gzip.len(),
        plain.len()
    );
    for bodies in [plain, gzip] {
        let points_of = |body: &String| {
            let list = body.strip_prefix('[')?.strip_suffix(']')?;
            Some(list.to_owned())
        };
        let joined: Vec<String> = bodies.iter().filter_map(points_of).collect();
        assert_eq!(joined.join(","), points.join(","));
    }
    // A point that is longer than a body may be goes alone.
    assert_eq!(bodies(BodyBuilder::plain(10), &points[..3], 10).len(), 3);
}

proptest! {
    #[test]
    fn numbers_come_back_bit_for_bit_and_are_never_integers(bits in any::<u64>()) {
        let value = f64::from_bits(bits);
        prop_assume!(value.is_finite());
        let text = format!("{value:?}");
        prop_assert!(text.contains('.') || text.contains('e'));
        prop_assert_eq!(text.parse::<f64>().unwrap().to_bits(), bits);
    }

    #[test]
    fn whatever_is_mapped_is_within_the_letters_of_opentsdb(
        labels in prop::collection::btree_map("\\PC{1,5}", "\\PC{1,5}", 0..12),
        is_lossy in any::<bool>(),
    ) {
        let mapping = Mapping {
            escaping: if is_lossy { Escaping::LossyReplace } else { Escaping::PrometheusAdapter },
            overflow: TagOverflow::Fold(String::from("rest")),
            ..Mapping::default()
        };
        let labels = labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let series = mapping.map(std::iter::once(("__name__", "up")).chain(labels)).unwrap();
        let json: serde_json::Value = serde_json::from_str(&format!("{}0}}", series.prefix)).unwrap();
        let tags = json["tags"].as_object().unwrap();
        prop_assert!((1..=8).contains(&tags.len()));
        for text in tags.iter().flat_map(|(name, value)| [name.as_str(), value.as_str().unwrap()]) {
            let is_legal = |letter: char| letter.is_ascii_alphanumeric() || "._/-".contains(letter);
            prop_assert!(!text.is_empty() && text.chars().all(is_legal), "{}", text);
        }
    }

    #[test]
    fn any_answer_is_survived(status in 100u16..600, body in "\\PC{0,60}") {
        drop(answer(status, &body));
    }
}
