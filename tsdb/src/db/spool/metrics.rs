//! What remotes count, under the names dashboards for remote write know.

use crate::db::inner::Inner;
use crate::db::metrics::{Metric, MetricKind};

use super::SpoolStatus;

/// A metric that each remote has.
pub(in crate::db) struct Described<T> {
    pub(in crate::db) name: &'static str,
    pub(in crate::db) kind: MetricKind,
    pub(in crate::db) help: &'static str,
    pub(in crate::db) value: fn(&T) -> f64,
}

/// Calls `visit` with `metrics` of everything that is known of remotes, name by name; `remote` tells whose it is.
pub(in crate::db) fn visit_each<T>(
    metrics: &[Described<T>],
    known: &[T],
    remote: impl Fn(&T) -> &str,
    visit: &mut dyn FnMut(Metric<'_>),
) {
    for metric in metrics {
        for one in known {
            visit(Metric {
                name: metric.name,
                kind: metric.kind,
                help: metric.help,
                labels: &[("remote_name", remote(one))],
                value: (metric.value)(one),
            });
        }
    }
}

/// Calls `visit` with the metrics of all remotes, name by name.
pub(in crate::db) fn visit_metrics(inner: &Inner, visit: &mut dyn FnMut(Metric<'_>)) {
    let Some(wal) = &inner.wal else {
        return;
    };
    let remotes = inner.remotes.all();
    let statuses: Vec<_> = remotes.iter().map(|remote| remote.status(wal)).collect();
    visit_each(PENDING, &statuses, |status| &status.name, visit);
    for status in &statuses {
        for (reason, samples) in status.dropped {
            visit(Metric {
                name: "tsdb_spool_dropped_samples_total",
                kind: MetricKind::Counter,
                help: "Samples dropped from the log, or by retention, before a remote acknowledged them.",
                labels: &[("remote_name", &status.name), ("reason", reason.as_str())],
                value: samples as f64,
            });
        }
    }
    visit_each(LOST, &statuses, |status| &status.name, visit);
    #[cfg(feature = "remote-write")]
    {
        let senders: Vec<_> = remotes
            .iter()
            .map(|remote| remote.counters.status(&remote.name))
            .collect();
        crate::db::sender::visit_metrics(&senders, visit);
    }
}

const PENDING: &[Described<SpoolStatus>] = &[Described {
    name: "tsdb_spool_pending_bytes",
    kind: MetricKind::Gauge,
    help: "Bytes of the log that a remote has not acknowledged, to a segment.",
    value: |status| status.pending_bytes as f64,
}];

const LOST: &[Described<SpoolStatus>] = &[
    Described {
        name: "tsdb_spool_lost_frames_total",
        kind: MetricKind::Counter,
        help: "Frames of the log that were lost to damage before they were read for a remote.",
        value: |status| status.lost_frames as f64,
    },
    Described {
        name: "tsdb_spool_lost_rows_total",
        kind: MetricKind::Counter,
        help: "Rows that could not be decoded for a remote, for want of a frame before them.",
        value: |status| status.lost_rows as f64,
    },
];
