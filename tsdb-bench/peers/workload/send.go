package workload

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// Sender is an engine that sends what is in its log to a receiver of remote write.
type Sender interface {
	// Send begins; what it returns is told again and again to look, and in the end to stop.
	Send(dir, url, protocol string) (Sending, error)
}

// Sending is under way.
type Sending interface {
	Look()
	Stop() error
}

// counts are what a receiver has come to.
type counts struct {
	Samples   uint64  `json:"samples"`
	Requests  uint64  `json:"requests"`
	BodyBytes uint64  `json:"body_bytes"`
	CPU       float64 `json:"cpu_s"`
}

func received(url string) (counts, error) {
	var out counts
	answer, err := http.Get(url)
	if err != nil {
		return out, err
	}
	defer answer.Body.Close()
	return out, json.NewDecoder(answer.Body).Decode(&out)
}

// Between two questions to the receiver, and the longest without a new sample.
const (
	askInterval = 20 * time.Millisecond
	idleMax     = 60 * time.Second
)

// send sends a log and waits until the receiver has so many samples more.
func send(engine Sender, name, dir, url, protocol string, samples uint64) error {
	before, err := received(url)
	if err != nil {
		return err
	}
	watch := start()
	sending, err := engine.Send(dir, url, protocol)
	if err != nil {
		return err
	}
	now, moved := before, time.Now()
	for now.Samples-before.Samples < samples {
		sending.Look()
		time.Sleep(askInterval)
		next, err := received(url)
		if err != nil {
			return err
		}
		if next.Samples != now.Samples {
			moved = time.Now()
		} else if time.Since(moved) > idleMax {
			return fmt.Errorf("%d of %d samples have arrived, and no more", now.Samples-before.Samples, samples)
		}
		now = next
	}
	wall, cpu := watch.spent()
	peak := peakKB()
	if err := sending.Stop(); err != nil {
		return err
	}
	sent := now.Samples - before.Samples
	return newLine(name, "send_"+protocol).Count("samples", sent).Number("wall_s", wall).
		Number("cpu_s", cpu).Number("samples_per_s", float64(sent)/wall).Number("cpu_ns_per_sample", cpu/float64(sent)*1e9).
		Count("requests", now.Requests-before.Requests).Count("body_bytes", now.BodyBytes-before.BodyBytes).
		Number("receiver_cpu_s", now.CPU-before.CPU).Count("peak_kb", peak).print()
}
