//! The same numbers under the names dashboards know.

use std::io::{self, Write};

use super::Db;
use super::stats::{Mode, Stats};

/// How a metric behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// Only grows, until a restart.
    Counter,
    /// Goes up and down.
    Gauge,
}

impl MetricKind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
        }
    }
}

/// One metric. Metrics of one name come one after another.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Metric<'a> {
    /// Its name.
    pub name: &'a str,
    /// How it behaves.
    pub kind: MetricKind,
    /// What it says.
    pub help: &'a str,
    /// What tells it from others of its name.
    pub labels: &'a [(&'a str, &'a str)],
    /// Its value.
    pub value: f64,
}

/// Writes the metrics of a database in Prometheus' text format.
pub fn write_metrics(db: &Db, out: &mut dyn Write) -> io::Result<()> {
    let mut result = Ok(());
    let mut previous = String::new();
    db.metrics(&mut |metric| {
        if result.is_ok() {
            result = write_one(&metric, &previous, out);
            metric.name.clone_into(&mut previous);
        }
    });
    result
}

fn write_one(metric: &Metric<'_>, previous: &str, out: &mut dyn Write) -> io::Result<()> {
    let Metric {
        name,
        kind,
        help,
        labels,
        value,
    } = *metric;
    if name != previous {
        writeln!(out, "# HELP {name} {help}\n# TYPE {name} {}", kind.as_str())?;
    }
    let labels: Vec<String> = labels
        .iter()
        .map(|(label, of)| format!("{label}=\"{of}\""))
        .collect();
    match labels.as_slice() {
        [] => writeln!(out, "{name} {value}"),
        labels => writeln!(out, "{name}{{{}}} {value}", labels.join(",")),
    }
}

/// Calls `visit` with every metric.
pub(super) fn visit(stats: &Stats, visit: &mut dyn FnMut(Metric<'_>)) {
    use MetricKind::{Counter, Gauge};
    let mut put = |name: &str, kind, help: &str, value: u64| {
        visit(Metric {
            name,
            kind,
            help,
            labels: &[],
            value: value as f64,
        });
    };
    put(
        "prometheus_tsdb_head_series",
        Gauge,
        "Series in the head.",
        stats.head_series,
    );
    put(
        "prometheus_tsdb_head_series_created_total",
        Counter,
        "Series created in the head.",
        stats.series_created,
    );
    put(
        "prometheus_tsdb_head_series_removed_total",
        Counter,
        "Series removed from the head.",
        stats.series_removed,
    );
    put(
        "prometheus_tsdb_head_chunks",
        Gauge,
        "Chunks in the head.",
        stats.head_chunks,
    );
    put(
        "prometheus_tsdb_head_active_appenders",
        Gauge,
        "Appenders that are open.",
        stats.open_appenders,
    );
    put(
        "prometheus_tsdb_head_truncations_total",
        Counter,
        "Truncations of the head.",
        stats.truncations,
    );
    put(
        "prometheus_tsdb_wal_segment_current",
        Gauge,
        "Segment the log writes to.",
        stats.log_segment,
    );
    put(
        "prometheus_tsdb_wal_storage_size_bytes",
        Gauge,
        "Bytes of the log.",
        stats.log_bytes,
    );
    put(
        "prometheus_tsdb_wal_writes_failed_total",
        Counter,
        "Writes to the log that failed.",
        stats.write_failures,
    );
    put(
        "prometheus_tsdb_wal_corruptions_total",
        Counter,
        "Damaged units met.",
        stats.damaged_units,
    );
    put(
        "prometheus_tsdb_head_chunks_storage_size_bytes",
        Gauge,
        "Bytes of the head's files.",
        stats.head_file_bytes,
    );
    put(
        "prometheus_tsdb_checkpoint_creations_total",
        Counter,
        "Checkpoints.",
        stats.checkpoints + stats.checkpoint_failures,
    );
    put(
        "prometheus_tsdb_checkpoint_creations_failed_total",
        Counter,
        "Checkpoints that failed.",
        stats.checkpoint_failures,
    );
    put(
        "prometheus_tsdb_blocks_loaded",
        Gauge,
        "Blocks that are read.",
        stats.blocks.len() as u64,
    );
    let block_bytes = stats.blocks.iter().map(|block| block.size_bytes).sum();
    put(
        "prometheus_tsdb_storage_blocks_bytes",
        Gauge,
        "Bytes of all blocks.",
        block_bytes,
    );
    let compactions = stats.flushes + stats.merges;
    put(
        "prometheus_tsdb_compactions_total",
        Counter,
        "Flushes of the head and merges of blocks.",
        compactions,
    );
    let failures = stats.flush_failures + stats.merge_failures;
    put(
        "prometheus_tsdb_compactions_failed_total",
        Counter,
        "Flushes and merges that failed.",
        failures,
    );
    put(
        "prometheus_tsdb_time_retentions_total",
        Counter,
        "Blocks removed because of their age.",
        stats.blocks_dropped_age,
    );
    put(
        "prometheus_tsdb_size_retentions_total",
        Counter,
        "Blocks removed because of the byte budget.",
        stats.blocks_dropped_size,
    );
    put(
        "prometheus_tsdb_reloads_failures_total",
        Counter,
        "Files and directories moved to the quarantine.",
        stats.quarantined,
    );
    put(
        "tsdb_commits_total",
        Counter,
        "Commits with samples.",
        stats.commits,
    );
    put(
        "tsdb_samples_repeated_total",
        Counter,
        "Samples that were there already.",
        stats.samples_repeated,
    );
    put(
        "tsdb_last_sequence",
        Gauge,
        "Sequence of the last commit.",
        stats.last_sequence,
    );
    put(
        "tsdb_durable_sequence",
        Gauge,
        "Sequence of the last commit that survives a power cut.",
        stats.durable_sequence,
    );
    put(
        "tsdb_log_written_bytes_total",
        Counter,
        "Bytes written to the log.",
        stats.log_written_bytes,
    );
    put(
        "tsdb_log_syncs_total",
        Counter,
        "Syncs of the log.",
        stats.log_syncs,
    );
    put(
        "tsdb_log_sync_failures_total",
        Counter,
        "Syncs of the log that failed.",
        stats.log_sync_failures,
    );
    put(
        "tsdb_replayed_samples",
        Gauge,
        "Samples the last open took from the log.",
        stats.replayed_samples,
    );

    let mut one = |name: &str, kind, help: &str, label: Option<(&str, &str)>, value: f64| {
        visit(Metric {
            name,
            kind,
            help,
            labels: label.as_slice(),
            value,
        });
    };
    let appended = (stats.samples_in_rows + stats.samples_alone) as f64;
    let float = Some(("type", "float"));
    one(
        "prometheus_tsdb_head_samples_appended_total",
        Counter,
        "Samples appended.",
        float,
        appended,
    );
    let late = stats.samples_late as f64;
    one(
        "prometheus_tsdb_head_out_of_order_samples_appended_total",
        Counter,
        "Samples appended out of order.",
        float,
        late,
    );
    one(
        "prometheus_tsdb_head_min_time",
        Gauge,
        "Oldest timestamp in the head, in milliseconds.",
        None,
        stats.head_min_time as f64,
    );
    one(
        "prometheus_tsdb_head_max_time",
        Gauge,
        "Newest timestamp in the head, in milliseconds.",
        None,
        stats.head_max_time as f64,
    );
    let replay = stats.replay_ms as f64 / 1000.0;
    one(
        "prometheus_tsdb_data_replay_duration_seconds",
        Gauge,
        "How long the last open took.",
        None,
        replay,
    );
    let rejected = |reason| {
        stats
            .rejected
            .iter()
            .find(|(known, _)| *known == reason)
            .map_or(0, |(_, count)| *count) as f64
    };
    use crate::error::Rejection;
    let out_of_order = rejected(Rejection::OutOfOrder);
    one(
        "prometheus_tsdb_out_of_order_samples_total",
        Counter,
        "Samples refused as out of order.",
        float,
        out_of_order,
    );
    one(
        "prometheus_tsdb_too_old_samples_total",
        Counter,
        "Samples refused as too old.",
        float,
        rejected(Rejection::TooOld),
    );
    let ahead = rejected(Rejection::TooFarAhead);
    one(
        "prometheus_tsdb_out_of_bound_samples_total",
        Counter,
        "Samples refused as too far ahead.",
        float,
        ahead,
    );
    for (reason, count) in &stats.rejected {
        one(
            "tsdb_rejected_total",
            Counter,
            "Samples refused.",
            Some(("reason", reason.as_str())),
            *count as f64,
        );
    }
    let memory = &stats.memory;
    let parts = [
        ("index", memory.index_bytes),
        ("slots", memory.slot_bytes),
        ("groups", memory.group_bytes),
        ("lone", memory.lone_bytes),
        ("log", memory.log_bytes),
        ("blocks", memory.block_bytes),
    ];
    for (part, bytes) in parts {
        one(
            "tsdb_used_bytes",
            Gauge,
            "Memory that is accounted for.",
            Some(("part", part)),
            bytes as f64,
        );
    }
    for (mode, is_now) in [
        ("healthy", stats.mode == Mode::Healthy),
        ("read_only", matches!(stats.mode, Mode::ReadOnly { .. })),
        ("degraded", matches!(stats.mode, Mode::Degraded { .. })),
    ] {
        one(
            "tsdb_mode",
            Gauge,
            "1 for the mode the database is in.",
            Some(("mode", mode)),
            f64::from(u8::from(is_now)),
        );
    }
}
