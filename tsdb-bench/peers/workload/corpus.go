package workload

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// recording is what a corpus holds: see tsdb-bench/src/corpus.rs for the format.
type recording struct {
	columns [][]int64
	series  []recorded
}

type recorded struct {
	labels []Label
	text   string
	column int
	values []float64
}

func readCorpus(path string) (*recording, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	decoder, err := zstd.NewReader(file, zstd.WithDecoderMaxWindow(1<<27))
	if err != nil {
		return nil, err
	}
	defer decoder.Close()
	all, err := io.ReadAll(decoder)
	if err != nil {
		return nil, err
	}
	return parseCorpus(all)
}

func parseCorpus(all []byte) (*recording, error) {
	reader := bytes.NewReader(all)
	failed := error(nil)
	take := func(count int) []byte {
		if count > reader.Len() {
			failed = io.ErrUnexpectedEOF
			return make([]byte, 8)
		}
		out := make([]byte, count)
		_, _ = reader.Read(out)
		return out
	}
	number := func() int { return int(binary.LittleEndian.Uint32(take(4))) }
	if string(take(8)) != "TSCORP1\n" {
		return nil, fmt.Errorf("this is not a corpus")
	}
	out := &recording{}
	for range number() {
		count := number()
		column := make([]int64, 0, count)
		for bytes := range slices.Chunk(take(count*8), 8) {
			column = append(column, int64(binary.LittleEndian.Uint64(bytes)))
		}
		out.columns = append(out.columns, column)
		if failed != nil {
			return nil, failed
		}
	}
	for range number() {
		text := string(take(int(binary.LittleEndian.Uint16(take(2)))))
		take(1)
		series := recorded{text: text, labels: parseText(text), column: number()}
		if failed != nil || series.column >= len(out.columns) {
			return nil, fmt.Errorf("%s: its column is missing: %w", text, failed)
		}
		out.series = append(out.series, series)
	}
	for i := range out.series {
		series := &out.series[i]
		count := len(out.columns[series.column])
		planes := take(count * 8)
		if failed != nil {
			return nil, failed
		}
		series.values = make([]float64, count)
		previous := uint64(0)
		for at := range count {
			bits := uint64(0)
			for plane := range 8 {
				bits = bits<<8 | uint64(planes[plane*count+at])
			}
			previous ^= bits
			series.values[at] = math.Float64frombits(previous)
		}
	}
	return out, nil
}

// parseText reads `name{a="b",...}` and sorts the labels.
func parseText(text string) []Label {
	name, rest, _ := strings.Cut(text, "{")
	labels := []Label{{"__name__", name}}
	for rest != "" && rest != "}" {
		label, quoted, _ := strings.Cut(rest, `="`)
		var value strings.Builder
		at := 0
		for ; at < len(quoted) && quoted[at] != '"'; at++ {
			if quoted[at] == '\\' {
				at++
				if quoted[at] == 'n' {
					value.WriteByte('\n')
					continue
				}
			}
			value.WriteByte(quoted[at])
		}
		labels = append(labels, Label{label, value.String()})
		rest = strings.TrimPrefix(quoted[at+1:], ",")
	}
	slices.SortFunc(labels, func(a, b Label) int { return strings.Compare(a.Name, b.Name) })
	return labels
}

// job is one scraped target of the recording.
type job struct {
	series  []int
	known   []bool
	refs    []Ref
	next    map[int]int
	columns []int
}

func corpus(engine Engine, file, dir string) error {
	recording, err := readCorpus(file)
	if err != nil {
		return err
	}
	db, err := engine.Open(dir)
	if err != nil {
		return err
	}
	watch := start()
	if err := appendCorpus(recording, db); err != nil {
		return err
	}
	_, appendCPU := watch.spent()
	log := db.Sizes().Log
	if err := db.Flush(); err != nil {
		return err
	}
	if err := db.Merge(); err != nil {
		return err
	}
	if err := db.Close(); err != nil {
		return err
	}
	if db, err = engine.Open(dir); err != nil {
		return err
	}
	watch = start()
	_, checksum, err := db.ReadAll()
	if err != nil {
		return err
	}
	scanWall, _ := watch.spent()
	differing, err := differing(recording, db)
	if err != nil {
		return err
	}
	var samples uint64
	for _, series := range recording.series {
		samples += uint64(len(series.values))
	}
	blocks := db.Blocks()
	if err := db.Close(); err != nil {
		return err
	}
	bytes := blocks.ChunkBytes + blocks.IndexBytes
	return newLine(engine.Name(), "corpus").Count("samples", samples).Count("read_samples", checksum.Samples).
		Count("series", uint64(len(recording.series))).
		Number("append_ns", appendCPU*1e9/float64(samples)).Number("scan_ns", scanWall*1e9/float64(samples)).
		Number("bytes_per_sample", float64(bytes)/float64(samples)).Count("chunk_bytes", blocks.ChunkBytes).
		Count("index_bytes", blocks.IndexBytes).Count("log_bytes", log).Count("differing_series", differing).print()
}

// appendCorpus appends in order of time, one commit for each job and timestamp.
func appendCorpus(recording *recording, db Database) error {
	jobs := map[string]*job{}
	for index, series := range recording.series {
		name := ""
		for _, label := range series.labels {
			if label.Name == "job" {
				name = label.Value
			}
		}
		if jobs[name] == nil {
			jobs[name] = &job{next: map[int]int{}}
		}
		job := jobs[name]
		job.series = append(job.series, index)
		job.known = append(job.known, false)
		job.refs = append(job.refs, 0)
		if _, ok := job.next[series.column]; !ok {
			job.next[series.column] = 0
			job.columns = append(job.columns, series.column)
		}
	}
	type scrape struct {
		timestamp int64
		job       string
	}
	var scrapes []scrape
	for name, job := range jobs {
		for _, column := range job.columns {
			for _, timestamp := range recording.columns[column] {
				scrapes = append(scrapes, scrape{timestamp, name})
			}
		}
	}
	slices.SortFunc(scrapes, func(a, b scrape) int {
		if a.timestamp != b.timestamp {
			return int(a.timestamp - b.timestamp)
		}
		return strings.Compare(a.job, b.job)
	})
	scrapes = slices.Compact(scrapes)
	writer := db.Writer()
	minute := int64(0)
	var refs []Ref
	var timestamps []int64
	var values []float64
	for _, scrape := range scrapes {
		job := jobs[scrape.job]
		refs, timestamps, values = refs[:0], timestamps[:0], values[:0]
		for place, index := range job.series {
			series := &recording.series[index]
			column := recording.columns[series.column]
			at := job.next[series.column]
			if at >= len(column) || column[at] != scrape.timestamp {
				continue
			}
			if job.known[place] {
				refs = append(refs, job.refs[place])
				timestamps = append(timestamps, scrape.timestamp)
				values = append(values, series.values[at])
				continue
			}
			ref, err := writer.Create(series.labels, scrape.timestamp, series.values[at])
			if err != nil {
				return err
			}
			job.known[place], job.refs[place] = true, ref
		}
		if err := writer.Append(refs, timestamps, values); err != nil {
			return err
		}
		if err := writer.Commit(); err != nil {
			return err
		}
		for _, column := range job.columns {
			if at := job.next[column]; at < len(recording.columns[column]) && recording.columns[column][at] == scrape.timestamp {
				job.next[column]++
			}
		}
		if scrape.timestamp-minute >= 60_000 {
			minute = scrape.timestamp
			db.Minute()
		}
	}
	return nil
}

// differing returns how many series are not what was recorded, bit for bit.
func differing(recording *recording, db Database) (uint64, error) {
	key := func(labels []Label) string {
		var out strings.Builder
		for _, label := range labels {
			out.WriteString(label.Name + "\xff" + label.Value + "\xff")
		}
		return out.String()
	}
	places := map[string]int{}
	for place, series := range recording.series {
		places[key(series.labels)] = place
	}
	same := uint64(0)
	err := db.Each(func(labels []Label, timestamps []int64, values []float64) error {
		place, ok := places[key(labels)]
		if !ok {
			return fmt.Errorf("%v was not appended", labels)
		}
		series := &recording.series[place]
		if slices.Equal(timestamps, recording.columns[series.column]) &&
			slices.EqualFunc(values, series.values, func(a, b float64) bool {
				return math.Float64bits(a) == math.Float64bits(b)
			}) {
			same++
		}
		return nil
	})
	return uint64(len(recording.series)) - same, err
}
