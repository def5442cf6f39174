// Command victoriametrics drives the storage of VictoriaMetrics with the workloads of tsdb-bench.
//
// It has no log: what is in memory is lost by a crash, so it is never killed. Values go through decimals, so what is read
// can differ from what was written in the last bits.
package main

import (
	"encoding/json"
	"flag"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/VictoriaMetrics/VictoriaMetrics/lib/logger"
	"github.com/VictoriaMetrics/VictoriaMetrics/lib/prompb"
	"github.com/VictoriaMetrics/VictoriaMetrics/lib/storage"

	"tsdb-bench/peers/workload"
)

func main() {
	// Its libraries want their flags parsed; there are none here.
	if err := flag.CommandLine.Parse(nil); err != nil {
		panic(err)
	}
	logger.SetOutputForTests(io.Discard)
	workload.Main(engine{})
}

type engine struct{}

func (engine) Name() string { return "victoriametrics" }

// Open sets what the server sets by default.
func (engine) Open(dir string) (workload.Database, error) {
	storage.SetFreeDiskSpaceLimit(10e6)
	options := storage.OpenOptions{
		Retention: 10 * 365 * 24 * time.Hour, TrackMetricNamesStats: true, IDBPrefillStart: time.Hour,
	}
	return &database{dir: dir, storage: storage.MustOpenStorage(dir, options)}, nil
}

// database also keeps the names of series, which have to be given with every sample.
type database struct {
	dir     string
	storage *storage.Storage

	lock  sync.RWMutex
	names [][]byte
	arena []byte
	held  uint64
}

const arenaBytes = 1 << 20

// keep keeps a name and returns its number.
func (d *database) keep(name []byte) workload.Ref {
	d.lock.Lock()
	defer d.lock.Unlock()
	if len(d.arena)+len(name) > cap(d.arena) {
		d.arena = make([]byte, 0, max(arenaBytes, len(name)))
		d.held += arenaBytes
	}
	at := len(d.arena)
	d.arena = append(d.arena, name...)
	d.names = append(d.names, d.arena[at:])
	return uint64(len(d.names) - 1)
}

func (d *database) HeldBytes() uint64 { return d.held + uint64(cap(d.names))*24 }

func (d *database) Writer() workload.Writer { return &writer{database: d} }

func (d *database) Minute() {}

func (d *database) Flush() error {
	d.storage.DebugFlush()
	return nil
}

func (d *database) Merge() error { return d.storage.ForceMergePartitions("") }

func (d *database) Close() error {
	d.storage.MustClose()
	return nil
}

// Sizes leaves out the caches that are saved when it closes.
func (d *database) Sizes() workload.Sizes {
	return workload.Sizes{Blocks: d.size("data") + d.size("indexdb") + d.size("metadata")}
}

func (d *database) size(name string) uint64 { return workload.SizeBytes(filepath.Join(d.dir, name)) }

type part struct {
	RowsCount                  uint64
	MinTimestamp, MaxTimestamp int64
}

func (d *database) parts() []part {
	files, err := filepath.Glob(filepath.Join(d.dir, "data", "*", "*", "*", "metadata.json"))
	if err != nil {
		panic(err)
	}
	var out []part
	for _, file := range files {
		var part part
		// A part that was merged away meanwhile does not count.
		if text, err := os.ReadFile(file); err == nil && json.Unmarshal(text, &part) == nil {
			out = append(out, part)
		}
	}
	return out
}

func (d *database) Blocks() workload.Blocks {
	out := workload.Blocks{ChunkBytes: d.size("data"), IndexBytes: d.size("indexdb")}
	for _, part := range d.parts() {
		out.Count++
		out.Samples += part.RowsCount
	}
	return out
}

type writer struct {
	database *database
	labels   []prompb.Label
	name     []byte
	rows     []storage.MetricRow
}

func (w *writer) Create(pairs []workload.Label, timestamp int64, value float64) (workload.Ref, error) {
	w.labels = w.labels[:0]
	for _, pair := range pairs {
		w.labels = append(w.labels, prompb.Label{Name: pair.Name, Value: pair.Value})
	}
	w.name = storage.MarshalMetricNameRaw(w.name[:0], w.labels)
	ref := w.database.keep(w.name)
	return ref, w.Append([]workload.Ref{ref}, []int64{timestamp}, []float64{value})
}

func (w *writer) Append(series []workload.Ref, timestamps []int64, values []float64) error {
	w.database.lock.RLock()
	defer w.database.lock.RUnlock()
	for i, ref := range series {
		w.rows = append(w.rows, storage.MetricRow{
			MetricNameRaw: w.database.names[ref], Timestamp: timestamps[i], Value: values[i],
		})
	}
	return nil
}

func (w *writer) Commit() error {
	w.database.storage.AddRows(w.rows, 64)
	w.rows = w.rows[:0]
	return nil
}

const seriesMax = math.MaxInt32

func deadline() uint64 { return uint64(time.Now().Add(time.Hour).Unix()) }

// span is the time of what is in parts; a search of more days than there are has more to do.
func (d *database) span() storage.TimeRange {
	span := storage.TimeRange{MinTimestamp: math.MaxInt64, MaxTimestamp: 0}
	for _, part := range d.parts() {
		span.MinTimestamp = min(span.MinTimestamp, part.MinTimestamp)
		span.MaxTimestamp = max(span.MaxTimestamp, part.MaxTimestamp)
	}
	return span
}

func filters(set []workload.Matcher) ([]*storage.TagFilters, error) {
	filters := storage.NewTagFilters()
	for _, m := range set {
		key := []byte(m.Name)
		if m.Name == "__name__" {
			key = nil
		}
		isNegative, isRegexp := m.Operator[0] == '!', m.Operator[len(m.Operator)-1] == '~'
		if err := filters.Add(key, []byte(m.Value), isNegative, isRegexp); err != nil {
			return nil, err
		}
	}
	return []*storage.TagFilters{filters}, nil
}

// everything matches every series.
var everything = []workload.Matcher{{Name: "__name__", Operator: "!=", Value: ""}}

func (d *database) Find(set []workload.Matcher) (workload.Found, error) {
	var found workload.Found
	filters, err := filters(set)
	if err != nil {
		return found, err
	}
	names, err := d.storage.SearchMetricNames(nil, filters, d.cachedSpan(), seriesMax, deadline())
	if err != nil {
		return found, err
	}
	slices.Sort(names)
	var name storage.MetricName
	for _, text := range names {
		if err := name.UnmarshalString(text); err != nil {
			return found, err
		}
		found.Series++
		found.AddLabel("__name__", string(name.MetricGroup))
		for i := range name.Tags {
			found.AddLabel(string(name.Tags[i].Key), string(name.Tags[i].Value))
		}
	}
	return found, nil
}

// cachedSpan looks at the parts once for each process: they are not part of a search.
func (d *database) cachedSpan() storage.TimeRange {
	spanOnce.Do(func() { span = d.span() })
	return span
}

var (
	spanOnce sync.Once
	span     storage.TimeRange
)

// visit calls back with the samples of each block of each series.
func (d *database) visit(set []workload.Matcher, visit func(name []byte, timestamps []int64, values []float64) error) error {
	filters, err := filters(set)
	if err != nil {
		return err
	}
	all := storage.TimeRange{MinTimestamp: 0, MaxTimestamp: math.MaxInt64}
	var search storage.Search
	search.Init(nil, d.storage, filters, d.cachedSpan(), seriesMax, deadline())
	defer search.MustClose()
	var block storage.Block
	var timestamps []int64
	var values []float64
	for search.NextMetricBlock() {
		search.MetricBlockRef.BlockRef.MustReadBlock(&block)
		if err := block.UnmarshalData(); err != nil {
			return err
		}
		timestamps, values = block.AppendRowsWithTimeRangeFilter(timestamps[:0], values[:0], all)
		if err := visit(search.MetricBlockRef.MetricName, timestamps, values); err != nil {
			return err
		}
	}
	return search.Error()
}

func (d *database) Decode(set []workload.Matcher) (uint64, workload.Checksum, error) {
	var count uint64
	var checksum workload.Checksum
	var last []byte
	err := d.visit(set, func(name []byte, timestamps []int64, values []float64) error {
		if string(name) != string(last) {
			last = append(last[:0], name...)
			count++
		}
		for i, timestamp := range timestamps {
			checksum.Add(timestamp, values[i])
		}
		return nil
	})
	return count, checksum, err
}

func (d *database) ReadAll() (uint64, workload.Checksum, error) {
	d.storage.DebugFlush()
	return d.Decode(everything)
}

func (d *database) Each(visit func([]workload.Label, []int64, []float64) error) error {
	type series struct {
		labels     []workload.Label
		timestamps []int64
		values     []float64
	}
	var all []*series
	last := ""
	err := d.visit(everything, func(text []byte, timestamps []int64, values []float64) error {
		if len(all) == 0 || string(text) != last {
			last = string(text)
			var name storage.MetricName
			if err := name.UnmarshalString(last); err != nil {
				return err
			}
			labels := []workload.Label{{Name: "__name__", Value: string(name.MetricGroup)}}
			for i := range name.Tags {
				labels = append(labels, workload.Label{Name: string(name.Tags[i].Key), Value: string(name.Tags[i].Value)})
			}
			slices.SortFunc(labels, func(a, b workload.Label) int {
				if a.Name < b.Name {
					return -1
				}
				return 1
			})
			all = append(all, &series{labels: labels})
		}
		s := all[len(all)-1]
		s.timestamps = append(s.timestamps, timestamps...)
		s.values = append(s.values, values...)
		return nil
	})
	if err != nil {
		return err
	}
	for _, s := range all {
		if err := visit(s.labels, s.timestamps, s.values); err != nil {
			return err
		}
	}
	return nil
}
