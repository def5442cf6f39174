// Package workload drives a storage engine with the workloads of tsdb-bench: the same series, samples, questions and
// output as the Rust program, so that figures of two engines in one run can be divided.
package workload

import (
	"fmt"
	"math"
	"strconv"
)

const (
	metrics     = 40
	pods        = 60
	goldenGamma = 0x9E3779B97F4A7C15
)

// staleMarker is what ends a series.
var staleMarker = math.Float64frombits(0x7ff0000000000002)

func h(a, b uint64) uint64 {
	z := a*goldenGamma + b + goldenGamma
	z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
	z = (z ^ z>>27) * 0x94D049BB133111EB
	return z ^ z>>31
}

// Label is a name and its value.
type Label struct{ Name, Value string }

var (
	parts    = []string{"cpu", "memory", "network", "fs"}
	measures = []string{
		"usage_seconds_total", "working_set_bytes", "rss", "cache", "receive_bytes_total", "transmit_bytes_total",
		"reads_total", "writes_total", "failures_total", "limit_bytes",
	}
)

// replacement returns the labels of the series that takes the place of another at a scrape.
func replacement(series, scrape uint64) []Label {
	pod := series / metrics
	metric := series % metrics
	node := pod/pods + 1
	x := h(node, pod%pods)
	a, b := h(x, 1), h(x, 2)
	app := x % 500
	namespace := fmt.Sprintf("team-%d", (x>>16)%40)
	return []Label{
		{"__name__", "container_" + parts[metric/10] + "_" + measures[metric%10]},
		{"cluster", "prod-1"},
		{"container", "main"},
		{"id", fmt.Sprintf("/kubepods/burstable/pod%016x%016x", a, b)},
		{"image", fmt.Sprintf("registry/%s/app-%d:v1", namespace, app)},
		{"instance", fmt.Sprintf("10.0.%d.%d:10250", node/256, node%256)},
		{"job", "kubelet"},
		{"namespace", namespace},
		{"node", fmt.Sprintf("node-%04d", node)},
		{"pod", fmt.Sprintf("app-%d-%010x-%05x-s%d", app, a>>24, a>>4&0xfffff, scrape)},
	}
}

// shape is what varies between runs.
type shape struct {
	start, interval int64
	group, churn    uint64
	noise, lone     bool
}

func shapeFromEnvironment(start int64) (shape, error) {
	s := shape{start: start, noise: isSet("NOISE"), lone: environment("MODE") == "lone"}
	interval, err := number("INTERVAL", 15_000)
	if err != nil {
		return s, err
	}
	s.interval = int64(interval)
	if s.churn, err = number("CHURN", 0); err != nil {
		return s, err
	}
	s.group, err = number("GROUP", 1000)
	return s, err
}

func number(name string, otherwise uint64) (uint64, error) {
	text := environment(name)
	if text == "" {
		return otherwise, nil
	}
	return strconv.ParseUint(text, 10, 63)
}

func (s shape) due(scrape uint64) int64 { return s.start + int64(scrape)*s.interval }

func (s shape) timestamp(target, scrape uint64) int64 {
	x := h(target, scrape)
	if x%10 == 0 {
		return s.due(scrape) + int64(x/16%11) - 5
	}
	return s.due(scrape)
}

func (s shape) sampleTimestamp(timestamp int64, place int) int64 {
	if s.lone {
		return timestamp + int64(place%1000)
	}
	return timestamp
}

func (s shape) isReplaced(series, scrape uint64) bool {
	return s.churn > 0 && scrape > 0 && h(series, scrape)%100_000 < s.churn
}

// walk is the values of consecutive series, scrape by scrape.
type walk struct {
	first uint64
	state []int32
	noise bool
}

func newWalk(first uint64, count int, noise bool) walk {
	w := walk{first: first, noise: noise}
	if !noise {
		w.state = make([]int32, count)
	}
	return w
}

func (w *walk) scrape(scrape uint64, out []float64) {
	if w.noise {
		for i := range out {
			out[i] = float64(h(w.first+uint64(i), scrape)>>11) / (1 << 53)
		}
		return
	}
	every := int32(0)
	if scrape%20 == 0 {
		every = 1
	}
	state := w.state[:len(out)]
	for i := range out {
		series := w.first + uint64(i)
		switch series % 10 {
		case 0, 1, 2, 3:
			out[i] = float64(series * 7 % 1000)
			continue
		case 4, 5, 6:
			state[i] += int32(h(series, scrape) % 100)
		case 7:
			state[i] += int32(h(series, scrape)%21) - 10
		case 8:
			state[i] += int32(h(series, scrape)%2001) - 1000
			out[i] = float64(state[i]) / 1000
			continue
		default:
			state[i] += every
		}
		out[i] = float64(state[i])
	}
}

// Checksum is a sum over samples that does not depend on their order.
type Checksum struct{ Samples, Sum uint64 }

// Add adds a sample.
func (c *Checksum) Add(timestamp int64, value float64) {
	c.Samples++
	c.Sum += math.Float64bits(value) ^ uint64(timestamp)<<1
}

// Found is a sum over series that every label's name and value goes into.
type Found struct{ Series, Sum uint64 }

// AddLabel adds a label of a series.
func (f *Found) AddLabel(name, value string) {
	last := uint64(0)
	if len(value) > 0 {
		last = uint64(value[len(value)-1])
	}
	f.Sum += uint64(len(name)) + 31*uint64(len(value)) + 257*last
}
