//! What remotes count, under the names dashboards for remote write know.

use crate::db::inner::Inner;
use crate::db::metrics::{Metric, MetricKind};

/// Calls `visit` with the metrics of all remotes, name by name.
pub(in crate::db) fn visit_metrics(inner: &Inner, visit: &mut dyn FnMut(Metric<'_>)) {
    let Some(wal) = &inner.wal else {
        return;
    };
    let remotes = inner.remotes.all();
    let statuses: Vec<_> = remotes.iter().map(|remote| remote.status(wal)).collect();
    for status in &statuses {
        visit(Metric {
            name: "tsdb_spool_pending_bytes",
            kind: MetricKind::Gauge,
            help: "Bytes of the log that a remote has not acknowledged, to a segment.",
            labels: &[("remote_name", &status.name)],
            value: status.pending_bytes as f64,
        });
    }
    for status in &statuses {
        for (reason, samples) in status.dropped {
            visit(Metric {
                name: "tsdb_spool_dropped_samples_total",
                kind: MetricKind::Counter,
                help: "Samples dropped from the log before a remote acknowledged them.",
                labels: &[("remote_name", &status.name), ("reason", reason.as_str())],
                value: samples as f64,
            });
        }
    }
    for status in &statuses {
        visit(Metric {
            name: "tsdb_spool_lost_frames_total",
            kind: MetricKind::Counter,
            help: "Frames of the log that were lost to damage before they were read for a remote.",
            labels: &[("remote_name", &status.name)],
            value: status.lost_frames as f64,
        });
    }
    for status in &statuses {
        visit(Metric {
            name: "tsdb_spool_lost_rows_total",
            kind: MetricKind::Counter,
            help: "Rows that could not be decoded for a remote, for want of a frame before them.",
            labels: &[("remote_name", &status.name)],
            value: status.lost_rows as f64,
        });
    }
    #[cfg(feature = "remote-write")]
    {
        let senders: Vec<_> = remotes
            .iter()
            .map(|remote| remote.counters.status(&remote.name))
            .collect();
        crate::db::sender::visit_metrics(&senders, visit);
    }
}
