package workload

import (
	"fmt"
	"os"
	"strconv"
	"time"
)

// Ref is what an engine calls a series.
type Ref = uint64

// Engine is a storage under measurement.
type Engine interface {
	// Name is what the output calls it.
	Name() string
	// Open opens a database with a log, blocks of two hours, retention of ten years and no background compaction.
	Open(dir string) (Database, error)
}

// Database is an open database.
type Database interface {
	// Writer returns what one worker appends with.
	Writer() Writer
	// Minute is called once a minute of the data's time.
	Minute()
	// HeldBytes is what the driver keeps on behalf of the engine's interface; it counts as base.
	HeldBytes() uint64
	// Flush writes everything that is in memory only, or in the log, to blocks.
	Flush() error
	// Merge merges blocks as far as the engine's planner goes.
	Merge() error
	// ReadAll reads every sample; returns how many series have one.
	ReadAll() (uint64, Checksum, error)
	// Find selects series, sorted by labels, and reads every label.
	Find([]Matcher) (Found, error)
	// Decode selects series and reads every sample.
	Decode([]Matcher) (uint64, Checksum, error)
	// Each calls back with the labels and samples of every series.
	Each(func(labels []Label, timestamps []int64, values []float64) error) error
	Sizes() Sizes
	Blocks() Blocks
	Close() error
}

// Writer appends samples; they are visible after Commit.
type Writer interface {
	Create(labels []Label, timestamp int64, value float64) (Ref, error)
	// Append appends a sample to each series.
	Append(series []Ref, timestamps []int64, values []float64) error
	Commit() error
}

// Sizes are bytes on disk.
type Sizes struct{ Head, Blocks, Log uint64 }

// Blocks says what is in blocks. What an engine does not tell apart is 0.
type Blocks struct{ Count, Samples, Series, ChunkBytes, IndexBytes uint64 }

// Main runs the verb in the arguments.
func Main(engine Engine) {
	if err := run(engine, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(engine Engine, arguments []string) error {
	if len(arguments) < 2 {
		return fmt.Errorf("one of: ingest DIR SERIES N SCRAPES T0 WORKERS, open DIR, flush DIR, select DIR, scan DIR, corpus FILE DIR, send DIR URL PROTOCOL SAMPLES")
	}
	verb, rest := arguments[0], arguments[1:]
	switch {
	case verb == "ingest" && len(rest) == 6:
		var numbers [4]uint64
		for i := range numbers {
			var err error
			if numbers[i], err = strconv.ParseUint(rest[2+i], 10, 63); err != nil {
				return err
			}
		}
		return ingest(engine, plan{rest[0], rest[1], numbers[0], numbers[1], int64(numbers[2]), int(numbers[3])})
	case verb == "open":
		return open(engine, rest[0])
	case verb == "flush":
		return flush(engine, rest[0])
	case verb == "select":
		return find(engine, rest[0])
	case verb == "scan":
		return scan(engine, rest[0])
	case verb == "corpus" && len(rest) == 2:
		return corpus(engine, rest[0], rest[1])
	case verb == "send" && len(rest) == 4:
		sender, ok := engine.(Sender)
		if !ok {
			return fmt.Errorf("%s sends nothing", engine.Name())
		}
		samples, err := strconv.ParseUint(rest[3], 10, 63)
		if err != nil {
			return err
		}
		return send(sender, engine.Name(), rest[0], rest[1], rest[2], samples)
	}
	return fmt.Errorf("%s %v: unknown, or other arguments are wanted", verb, rest)
}

func open(engine Engine, dir string) error {
	watch := start()
	db, err := engine.Open(dir)
	if err != nil {
		return err
	}
	wall, cpu := watch.spent()
	resident, peak := residentKB(), peakKB()
	watch = start()
	series, checksum, err := db.ReadAll()
	if err != nil {
		return err
	}
	scan, _ := watch.spent()
	line := newLine(engine.Name(), "open").Number("wall_s", wall).Number("cpu_s", cpu).Count("series", series).
		Count("rss_kb", resident).Count("peak_kb", peak).Count("samples", checksum.Samples).Hex("checksum", checksum.Sum).
		Number("scan_s", scan).Sizes(db.Sizes())
	if err := db.Close(); err != nil {
		return err
	}
	return line.print()
}

func flush(engine Engine, dir string) error {
	db, err := engine.Open(dir)
	if err != nil {
		return err
	}
	before := residentKB()
	if err := resetPeak(); err != nil {
		return err
	}
	watch := start()
	if err := db.Flush(); err != nil {
		return err
	}
	headWall, headCPU := watch.spent()
	headPeak := peakKB()
	watch = start()
	if err := db.Merge(); err != nil {
		return err
	}
	mergeWall, mergeCPU := watch.spent()
	resident, peak := residentKB(), peakKB()
	blocks := db.Blocks()
	if err := db.Close(); err != nil {
		return err
	}
	return newLine(engine.Name(), "flush").Number("head_wall_s", headWall).Number("head_cpu_s", headCPU).
		Number("merge_wall_s", mergeWall).Number("merge_cpu_s", mergeCPU).Count("before_kb", before).
		Count("rss_kb", resident).Count("peak_kb", peak).Count("head_peak_kb", headPeak).Count("blocks", blocks.Count).
		Count("samples", blocks.Samples).Count("chunk_bytes", blocks.ChunkBytes).Count("index_bytes", blocks.IndexBytes).
		Sizes(db.Sizes()).print()
}

const times = 5

// repeat does the same several times; returns the first time and the best, in seconds.
func repeat(work func() error) (first, best float64, err error) {
	for i := range times {
		began := time.Now()
		if err := work(); err != nil {
			return 0, 0, err
		}
		took := time.Since(began).Seconds()
		if i == 0 {
			first, best = took, took
		}
		best = min(best, took)
	}
	return first, best, nil
}

func find(engine Engine, dir string) error {
	db, err := engine.Open(dir)
	if err != nil {
		return err
	}
	for number, matchers := range cases {
		var found Found
		first, best, err := repeat(func() (err error) {
			found, err = db.Find(matchers)
			return err
		})
		if err != nil {
			return err
		}
		err = newLine(engine.Name(), "select").Count("case", uint64(number)).Text("matchers", text(matchers)).
			Count("found", found.Series).Hex("checksum", found.Sum).Number("first_s", first).Number("best_s", best).print()
		if err != nil {
			return err
		}
	}
	return db.Close()
}

func scan(engine Engine, dir string) error {
	db, err := engine.Open(dir)
	if err != nil {
		return err
	}
	for _, number := range scanned {
		matchers := cases[number]
		var found uint64
		var checksum Checksum
		first, best, err := repeat(func() (err error) {
			found, checksum, err = db.Decode(matchers)
			return err
		})
		if err != nil {
			return err
		}
		err = newLine(engine.Name(), "scan").Count("case", uint64(number)).Text("matchers", text(matchers)).
			Count("found", found).Count("samples", checksum.Samples).Hex("checksum", checksum.Sum).
			Number("first_s", first).Number("best_s", best).print()
		if err != nil {
			return err
		}
	}
	return db.Close()
}
