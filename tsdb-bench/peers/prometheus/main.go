// Command prometheus drives the storage of Prometheus with the workloads of tsdb-bench.
package main

import (
	"context"
	"io"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/util/compression"

	"tsdb-bench/peers/workload"
)

func main() { workload.Main(engine{}) }

type engine struct{}

func (engine) Name() string { return "prometheus" }

// Open sets what the server sets by default.
func (engine) Open(dir string) (workload.Database, error) {
	options := tsdb.DefaultOptions()
	options.RetentionDuration = (10 * 365 * 24 * time.Hour).Milliseconds()
	options.MaxBlockDuration = (31 * 24 * time.Hour).Milliseconds()
	options.WALCompression = compression.Snappy
	db, err := tsdb.Open(dir, slog.New(slog.NewTextHandler(io.Discard, nil)), nil, options, nil)
	if err != nil {
		return nil, err
	}
	db.DisableCompactions()
	return &database{dir: dir, db: db}, nil
}

type database struct {
	dir string
	db  *tsdb.DB
}

func (d *database) Writer() workload.Writer { return &writer{db: d.db} }

// Minute maps full head chunks, as the server does once a minute.
func (d *database) Minute() { d.db.ForceHeadMMap() }

func (d *database) HeldBytes() uint64 { return 0 }

// Flush writes aligned blocks as long as the server would, and the rest of the head into one more.
func (d *database) Flush() error {
	head := d.db.Head()
	twoHours := tsdb.DefaultBlockDuration
	for head.MaxTime()-head.MinTime() > twoHours/2*3 {
		from := head.MinTime()
		to := (from/twoHours + 1) * twoHours
		if err := d.db.CompactHead(tsdb.NewRangeHeadWithIsolationDisabled(head, from, to-1)); err != nil {
			return err
		}
	}
	if head.NumSeries() == 0 {
		return nil
	}
	return d.db.CompactHead(tsdb.NewRangeHead(head, head.MinTime(), head.MaxTime()))
}

// Merge does what the server does after a flush: there is nothing in the head.
func (d *database) Merge() error { return d.db.Compact(context.Background()) }

func (d *database) Close() error { return d.db.Close() }

func (d *database) Sizes() workload.Sizes {
	size := func(name string) uint64 { return workload.SizeBytes(filepath.Join(d.dir, name)) }
	sizes := workload.Sizes{Head: size("chunks_head"), Log: size("wal")}
	for _, block := range d.blockDirs() {
		sizes.Blocks += workload.SizeBytes(block)
	}
	return sizes
}

func (d *database) blockDirs() []string {
	metas, err := filepath.Glob(filepath.Join(d.dir, "*", "meta.json"))
	if err != nil {
		panic(err)
	}
	for i := range metas {
		metas[i] = filepath.Dir(metas[i])
	}
	return metas
}

func (d *database) Blocks() workload.Blocks {
	var out workload.Blocks
	for _, block := range d.db.Blocks() {
		meta := block.Meta()
		out.Count++
		out.Samples += meta.Stats.NumSamples
		out.Series += meta.Stats.NumSeries
		out.ChunkBytes += workload.SizeBytes(filepath.Join(block.Dir(), "chunks"))
		if info, err := os.Stat(filepath.Join(block.Dir(), "index")); err == nil {
			out.IndexBytes += uint64(info.Size())
		}
	}
	return out
}

type writer struct {
	db      *tsdb.DB
	app     storage.Appender
	builder labels.ScratchBuilder
}

func (w *writer) appender() storage.Appender {
	if w.app == nil {
		w.app = w.db.Appender(context.Background())
	}
	return w.app
}

func (w *writer) Create(pairs []workload.Label, timestamp int64, value float64) (workload.Ref, error) {
	w.builder.Reset()
	for _, pair := range pairs {
		w.builder.Add(pair.Name, pair.Value)
	}
	ref, err := w.appender().Append(0, w.builder.Labels(), timestamp, value)
	return uint64(ref), err
}

func (w *writer) Append(series []workload.Ref, timestamps []int64, values []float64) error {
	app := w.appender()
	for i, ref := range series {
		if _, err := app.Append(storage.SeriesRef(ref), labels.EmptyLabels(), timestamps[i], values[i]); err != nil {
			return err
		}
	}
	return nil
}

func (w *writer) Commit() error {
	app := w.appender()
	w.app = nil
	return app.Commit()
}

func matchers(set []workload.Matcher) ([]*labels.Matcher, error) {
	operators := map[string]labels.MatchType{
		"=": labels.MatchEqual, "!=": labels.MatchNotEqual, "=~": labels.MatchRegexp, "!~": labels.MatchNotRegexp,
	}
	out := make([]*labels.Matcher, 0, len(set))
	for _, m := range set {
		matcher, err := labels.NewMatcher(operators[m.Operator], m.Name, m.Value)
		if err != nil {
			return nil, err
		}
		out = append(out, matcher)
	}
	return out, nil
}

// visit calls back with each series that is found, in order of labels.
func (d *database) visit(set []workload.Matcher, visit func(storage.Series) error) error {
	matchers, err := matchers(set)
	if err != nil {
		return err
	}
	querier, err := d.db.Querier(math.MinInt64, math.MaxInt64)
	if err != nil {
		return err
	}
	defer querier.Close()
	found := querier.Select(context.Background(), true, nil, matchers...)
	for found.Next() {
		if err := visit(found.At()); err != nil {
			return err
		}
	}
	return found.Err()
}

func (d *database) Find(set []workload.Matcher) (workload.Found, error) {
	var found workload.Found
	err := d.visit(set, func(series storage.Series) error {
		found.Series++
		series.Labels().Range(func(label labels.Label) { found.AddLabel(label.Name, label.Value) })
		return nil
	})
	return found, err
}

func (d *database) Decode(set []workload.Matcher) (uint64, workload.Checksum, error) {
	var count uint64
	var checksum workload.Checksum
	var iterator chunkenc.Iterator
	err := d.visit(set, func(series storage.Series) error {
		iterator = series.Iterator(iterator)
		before := checksum.Samples
		for iterator.Next() == chunkenc.ValFloat {
			checksum.Add(iterator.At())
		}
		if checksum.Samples > before {
			count++
		}
		return iterator.Err()
	})
	return count, checksum, err
}

// everything matches every series, in the way that the storage has a short cut for.
var everything = []workload.Matcher{{Name: "", Operator: "=", Value: ""}}

func (d *database) ReadAll() (uint64, workload.Checksum, error) { return d.Decode(everything) }

func (d *database) Each(visit func([]workload.Label, []int64, []float64) error) error {
	var iterator chunkenc.Iterator
	var pairs []workload.Label
	var timestamps []int64
	var values []float64
	return d.visit(everything, func(series storage.Series) error {
		pairs, timestamps, values = pairs[:0], timestamps[:0], values[:0]
		series.Labels().Range(func(label labels.Label) {
			pairs = append(pairs, workload.Label{Name: label.Name, Value: label.Value})
		})
		iterator = series.Iterator(iterator)
		for iterator.Next() == chunkenc.ValFloat {
			timestamp, value := iterator.At()
			timestamps = append(timestamps, timestamp)
			values = append(values, value)
		}
		if err := iterator.Err(); err != nil {
			return err
		}
		return visit(pairs, timestamps, values)
	})
}
