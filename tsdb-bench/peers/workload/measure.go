package workload

import (
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func environment(name string) string { return os.Getenv(name) }

func isSet(name string) bool { return os.Getenv(name) == "1" }

// stopwatch measures wall and CPU time from one moment on.
type stopwatch struct {
	wall time.Time
	cpu  float64
}

func start() stopwatch { return stopwatch{time.Now(), cpuSeconds()} }

func (s stopwatch) spent() (wall, cpu float64) {
	return time.Since(s.wall).Seconds(), cpuSeconds() - s.cpu
}

func cpuSeconds() float64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic(err)
	}
	seconds := func(t syscall.Timeval) float64 { return float64(t.Sec) + float64(t.Usec)/1e6 }
	return seconds(usage.Utime) + seconds(usage.Stime)
}

func residentKB() uint64 { return status("VmRSS:") }

func peakKB() uint64 { return status("VmHWM:") }

// resetPeak makes the present resident memory the peak.
func resetPeak() error { return os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) }

func status(field string) uint64 {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		panic(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, field); ok {
			value, err := strconv.ParseUint(strings.Fields(rest)[0], 10, 64)
			if err != nil {
				panic(err)
			}
			return value
		}
	}
	panic("/proc/self/status has no " + field)
}

// SizeBytes returns the bytes of all files below a path; 0 if there is none.
func SizeBytes(path string) uint64 {
	var bytes uint64
	// What disappears meanwhile has no size.
	_ = filepath.WalkDir(path, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		if info, err := entry.Info(); err == nil && info.Mode().IsRegular() {
			bytes += uint64(info.Size())
		}
		return nil
	})
	return bytes
}

// latencies are durations in nanoseconds.
type latencies []uint32

func (l *latencies) add(d time.Duration) { *l = append(*l, uint32(min(d, math.MaxUint32))) }

// quantileMicroseconds sorts the durations.
func (l latencies) quantileMicroseconds(share float64) float64 {
	if len(l) == 0 {
		return 0
	}
	slices.Sort(l)
	rank := max(int(math.Ceil(float64(len(l))*share)), 1)
	return float64(l[rank-1]) / 1000
}

// Line builds a JSON object on one line.
type Line struct{ text strings.Builder }

func newLine(engine, verb string) *Line {
	line := &Line{}
	fmt.Fprintf(&line.text, `{"engine":%q,"verb":%q`, engine, verb)
	return line
}

// Count adds a whole number.
func (l *Line) Count(name string, value uint64) *Line {
	return l.raw(name, strconv.FormatUint(value, 10))
}

// Number adds a number.
func (l *Line) Number(name string, value float64) *Line {
	if math.IsNaN(value) || math.IsInf(value, 0) {
		return l.raw(name, "null")
	}
	return l.raw(name, strconv.FormatFloat(value, 'f', 9, 64))
}

// Hex adds a checksum.
func (l *Line) Hex(name string, value uint64) *Line {
	return l.raw(name, fmt.Sprintf(`"%016x"`, value))
}

// Text adds a text.
func (l *Line) Text(name, value string) *Line {
	return l.raw(name, `"`+strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(value)+`"`)
}

// Sizes adds what stands on disk.
func (l *Line) Sizes(s Sizes) *Line {
	return l.Count("head_bytes", s.Head).Count("block_bytes", s.Blocks).Count("log_disk_bytes", s.Log)
}

func (l *Line) raw(name, value string) *Line {
	fmt.Fprintf(&l.text, `,%q:%s`, name, value)
	return l
}

func (l *Line) print() error {
	_, err := fmt.Println(l.text.String() + "}")
	return err
}
