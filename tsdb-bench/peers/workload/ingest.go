package workload

import (
	"bytes"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"time"
)

type plan struct {
	dir, file       string
	series, scrapes uint64
	start           int64
	workers         int
}

// target is a scraped target and what the scraper remembers of it.
type target struct {
	number, first uint64
	refs          []Ref
	walk          walk
}

type worker struct {
	number     int
	shape      shape
	targets    []*target
	timestamps []int64
	values     []float64
	latencies  latencies
	samples    uint64
}

func ingest(engine Engine, plan plan) error {
	base := residentKB()
	shape, err := shapeFromEnvironment(plan.start)
	if err != nil {
		return err
	}
	db, err := engine.Open(plan.dir)
	if err != nil {
		return err
	}
	workers := deal(plan, shape)
	file, err := os.ReadFile(plan.file)
	if err != nil {
		return err
	}
	offsets, err := targetOffsets(file, plan.series, shape.group)
	if err != nil {
		return err
	}
	watch := start()
	err = each(workers, func(w *worker) error { return w.create(db.Writer(), file, offsets) })
	if err != nil {
		return err
	}
	createWall, createCPU := watch.spent()
	file, offsets = nil, nil
	debug.FreeOSMemory()
	definitions := db.Sizes().Log
	base += db.HeldBytes() / 1024

	watch = start()
	err = each(workers, func(w *worker) error { return w.scrapeAll(plan.scrapes, db) })
	if err != nil {
		return err
	}
	wall, cpu := watch.spent()
	resident, peak := residentKB(), peakKB()
	var samples uint64
	var all latencies
	for _, w := range workers {
		samples += w.samples
		all = append(all, w.latencies...)
	}
	sizes := db.Sizes()
	line := newLine(engine.Name(), "ingest").Count("series", plan.series).Count("scrapes", plan.scrapes).
		Count("workers", uint64(plan.workers)).Number("create_s", createWall).Number("create_cpu_s", createCPU).
		Number("wall_s", wall).Number("cpu_s", cpu).Number("samples_per_s", float64(samples)/wall).
		Number("samples_per_cpu_s", float64(samples)/cpu).
		Number("commit_p50_us", all.quantileMicroseconds(0.5)).Number("commit_p99_us", all.quantileMicroseconds(0.99)).
		Number("commit_max_us", all.quantileMicroseconds(1)).Count("base_kb", base).Count("rss_kb", resident).
		Count("peak_kb", peak).Count("log_bytes", sizes.Log-definitions).Count("definition_bytes", definitions)
	if isSet("KILL") {
		if err := line.Sizes(db.Sizes()).print(); err != nil {
			return err
		}
		return syscall.Kill(os.Getpid(), syscall.SIGKILL)
	}
	if err := db.Close(); err != nil {
		return err
	}
	return line.Sizes(db.Sizes()).print()
}

// deal deals the targets out round robin.
func deal(plan plan, shape shape) []*worker {
	workers := make([]*worker, plan.workers)
	for i := range workers {
		workers[i] = &worker{number: i, shape: shape}
	}
	for number := uint64(0); number*shape.group < plan.series; number++ {
		first := number * shape.group
		count := int(min(plan.series-first, shape.group))
		w := workers[number%uint64(plan.workers)]
		w.targets = append(w.targets, &target{number, first, make([]Ref, count), newWalk(first, count, shape.noise)})
		if len(w.values) < count {
			w.values = make([]float64, count)
		}
	}
	return workers
}

// each runs all workers, each on a goroutine of its own.
func each(workers []*worker, work func(*worker) error) error {
	var group sync.WaitGroup
	errors := make([]error, len(workers))
	for i, w := range workers {
		group.Go(func() { errors[i] = work(w) })
	}
	group.Wait()
	for _, err := range errors {
		if err != nil {
			return err
		}
	}
	return nil
}

// create appends scrape 0 by labels.
func (w *worker) create(writer Writer, file []byte, offsets []int) error {
	var labels []Label
	for _, target := range w.targets {
		timestamp := w.shape.timestamp(target.number, 0)
		values := w.values[:len(target.refs)]
		target.walk.scrape(0, values)
		rest := file[offsets[target.number]:]
		for place, value := range values {
			var text []byte
			text, rest, _ = bytes.Cut(rest, []byte{'\n'})
			labels = parseLine(labels[:0], string(text))
			ref, err := writer.Create(labels, w.shape.sampleTimestamp(timestamp, place), value)
			if err != nil {
				return err
			}
			target.refs[place] = ref
		}
		if err := writer.Commit(); err != nil {
			return err
		}
	}
	return nil
}

// scrapeAll appends scrapes 1 and up by reference.
func (w *worker) scrapeAll(scrapes uint64, db Database) error {
	minute := w.shape.start
	writer := db.Writer()
	for scrape := uint64(1); scrape < scrapes; scrape++ {
		for _, target := range w.targets {
			values := w.values[:len(target.refs)]
			target.walk.scrape(scrape, values)
			began := time.Now()
			samples, err := w.append(target, scrape, values, writer)
			if err != nil {
				return err
			}
			if err := writer.Commit(); err != nil {
				return err
			}
			w.latencies.add(time.Since(began))
			w.samples += uint64(samples)
		}
		if due := w.shape.due(scrape); w.number == 0 && due-minute >= 60_000 {
			minute = due
			db.Minute()
		}
	}
	return nil
}

// append stages one scrape; returns how many samples it has.
func (w *worker) append(target *target, scrape uint64, values []float64, writer Writer) (int, error) {
	timestamp := w.shape.timestamp(target.number, scrape)
	w.timestamps = w.timestamps[:0]
	for place := range values {
		w.timestamps = append(w.timestamps, w.shape.sampleTimestamp(timestamp, place))
	}
	if w.shape.churn == 0 {
		return len(values), writer.Append(target.refs, w.timestamps, values)
	}
	var gone []Ref
	for place := range values {
		series := target.first + uint64(place)
		if !w.shape.isReplaced(series, scrape) {
			err := writer.Append(target.refs[place:place+1], w.timestamps[place:place+1], values[place:place+1])
			if err != nil {
				return 0, err
			}
			continue
		}
		gone = append(gone, target.refs[place])
		ref, err := writer.Create(replacement(series, scrape), w.timestamps[place], values[place])
		if err != nil {
			return 0, err
		}
		target.refs[place] = ref
	}
	for i, ref := range gone {
		at := w.shape.sampleTimestamp(timestamp, len(values)+i)
		if err := writer.Append([]Ref{ref}, []int64{at}, []float64{staleMarker}); err != nil {
			return 0, err
		}
	}
	return len(values) + len(gone), nil
}

func parseLine(labels []Label, line string) []Label {
	for pair := range strings.SplitSeq(line, "\t") {
		name, value, _ := strings.Cut(pair, "=")
		labels = append(labels, Label{name, value})
	}
	return labels
}

// targetOffsets returns where the lines of each target begin.
func targetOffsets(file []byte, series, group uint64) ([]int, error) {
	var offsets []int
	offset := 0
	for number := range series {
		if number%group == 0 {
			offsets = append(offsets, offset)
		}
		end := bytes.IndexByte(file[offset:], '\n')
		if end < 0 {
			return nil, fmt.Errorf("the file has %d series, %d are wanted", number, series)
		}
		offset += end + 1
	}
	return offsets, nil
}
