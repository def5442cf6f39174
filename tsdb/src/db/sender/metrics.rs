//! What senders count, under the names dashboards for remote write know.

use crate::db::metrics::{Metric, MetricKind};
use crate::db::spool::{Described, visit_each};
use crate::remote::UnsentReason;
use crate::time::Timestamp;

use super::SenderStatus;

/// Calls `visit` with the metrics of all senders, name by name.
pub(in crate::db) fn visit_metrics(senders: &[SenderStatus], visit: &mut dyn FnMut(Metric<'_>)) {
    visit_each(METRICS, senders, |sender| &sender.remote, visit);
    for sender in senders {
        for (reason, samples) in sender.unsent {
            if !matches!(reason, UnsentReason::Refused | UnsentReason::Unconfirmed) {
                visit(Metric {
                    name: "prometheus_remote_storage_samples_dropped_total",
                    kind: MetricKind::Counter,
                    help: "Samples that were not sent.",
                    labels: &[("remote_name", &sender.remote), ("reason", reason.as_str())],
                    value: samples as f64,
                });
            }
        }
    }
}

fn seconds(at: Option<Timestamp>) -> f64 {
    at.map_or(0.0, |ms| ms as f64 / 1000.0)
}

const METRICS: &[Described<SenderStatus>] = &[
    Described {
        name: "prometheus_remote_storage_samples_total",
        kind: MetricKind::Counter,
        help: "Samples a remote has stored.",
        value: |sender| sender.sent as f64,
    },
    Described {
        name: "prometheus_remote_storage_samples_retried_total",
        kind: MetricKind::Counter,
        help: "Samples of requests that were sent again.",
        value: |sender| sender.retried as f64,
    },
    Described {
        name: "prometheus_remote_storage_samples_failed_total",
        kind: MetricKind::Counter,
        help: "Samples a remote refused for good.",
        value: |sender| sender.unsent[UnsentReason::Refused as usize].1 as f64,
    },
    Described {
        name: "tsdb_remote_samples_unconfirmed_total",
        kind: MetricKind::Counter,
        help: "Samples refused after an attempt without an answer, which has most likely stored them.",
        value: |sender| sender.unsent[UnsentReason::Unconfirmed as usize].1 as f64,
    },
    Described {
        name: "prometheus_remote_storage_samples_pending",
        kind: MetricKind::Gauge,
        help: "Samples that are queued or under way; the log has more.",
        value: |sender| sender.queued as f64,
    },
    Described {
        name: "prometheus_remote_storage_bytes_total",
        kind: MetricKind::Counter,
        help: "Bytes of bodies, as they were posted.",
        value: |sender| sender.bytes as f64,
    },
    Described {
        name: "tsdb_remote_requests_total",
        kind: MetricKind::Counter,
        help: "Requests, failed ones included.",
        value: |sender| sender.requests as f64,
    },
    Described {
        name: "tsdb_remote_requests_failed_total",
        kind: MetricKind::Counter,
        help: "Requests that failed.",
        value: |sender| sender.requests_failed as f64,
    },
    Described {
        name: "prometheus_remote_storage_shards",
        kind: MetricKind::Gauge,
        help: "Requests that may be under way at the same time.",
        value: |sender| sender.shards as f64,
    },
    Described {
        name: "prometheus_remote_storage_highest_timestamp_in_seconds",
        kind: MetricKind::Gauge,
        help: "Time of the newest sample read from the log.",
        value: |sender| seconds(sender.newest_read),
    },
    Described {
        name: "prometheus_remote_storage_queue_highest_sent_timestamp_seconds",
        kind: MetricKind::Gauge,
        help: "Time of the newest sample a remote has stored.",
        value: |sender| seconds(sender.newest_sent),
    },
    Described {
        name: "tsdb_remote_last_acknowledged_seconds",
        kind: MetricKind::Gauge,
        help: "When a remote last acknowledged something.",
        value: |sender| seconds(sender.last_acknowledged),
    },
    Described {
        name: "tsdb_remote_failing",
        kind: MetricKind::Gauge,
        help: "1 if a remote has taken nothing since something went wrong.",
        value: |sender| f64::from(u8::from(sender.failing.is_some())),
    },
    Described {
        name: "tsdb_remote_paused",
        kind: MetricKind::Gauge,
        help: "1 if nothing is sent until somebody has looked.",
        value: |sender| f64::from(u8::from(sender.paused.is_some())),
    },
];
