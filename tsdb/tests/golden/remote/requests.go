// Writes requests as Prometheus encodes them, and cases of its relabeling.
package main

import (
	"math"
	"os"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
)

func must(err error) {
	if err != nil {
		panic(err)
	}
}

type series struct {
	labels  labels.Labels
	samples [][2]uint64
}

func bits(v float64) uint64 { return math.Float64bits(v) }

func main() {
	t := uint64(1795334160000)
	neg := int64(-9223372036854775808)
	all := []series{
		{labels.FromStrings("__name__", "up", "instance", "a:9100", "job", "node"), [][2]uint64{{t, bits(1)}, {t + 15000, 0x7ff0000000000002}}},
		{labels.FromStrings("__name__", "http_requests_total", "code", "200", "instance", "a:9100", "job", "node"), [][2]uint64{{t, bits(12345)}, {t + 15000, bits(12346.5)}, {t + 30000, bits(math.Inf(1))}}},
		{labels.FromStrings("Zone", "é中", "__name__", "odd:metric", "empty_value_next", "x\n\"\\"), [][2]uint64{{0, 0}, {uint64(neg), 0x7ff8000000000001}, {math.MaxInt64 - 1, bits(5e-324)}}},
		{labels.FromStrings("__name__", "no_samples"), nil},
	}
	var v1 prompb.WriteRequest
	symbols := writev2.NewSymbolTable()
	var v2 writev2.Request
	for _, s := range all {
		ts := prompb.TimeSeries{Labels: prompb.FromLabels(s.labels, nil)}
		ts2 := writev2.TimeSeries{LabelsRefs: symbols.SymbolizeLabels(s.labels, nil)}
		for _, p := range s.samples {
			ts.Samples = append(ts.Samples, prompb.Sample{Timestamp: int64(p[0]), Value: math.Float64frombits(p[1])})
			ts2.Samples = append(ts2.Samples, writev2.Sample{Timestamp: int64(p[0]), Value: math.Float64frombits(p[1])})
		}
		v1.Timeseries = append(v1.Timeseries, ts)
		v2.Timeseries = append(v2.Timeseries, ts2)
	}
	write := func(name string, m interface{ Marshal() ([]byte, error) }) {
		b, err := m.Marshal()
		must(err)
		must(os.WriteFile(name, b, 0o644))
	}
	v2.Symbols = symbols.Symbols()
	write("write-v1.bin", &v1)
	write("write-v2.bin", &v2)

	// The same with all that floats do not have.
	v1.Timeseries[0].Exemplars = []prompb.Exemplar{{Labels: []prompb.Label{{Name: "trace_id", Value: "abc"}}, Value: 0.5, Timestamp: int64(t)}}
	v1.Timeseries[1].Histograms = []prompb.Histogram{{Count: &prompb.Histogram_CountInt{CountInt: 5}, Sum: 3.5, Schema: 1, ZeroThreshold: 0.001, ZeroCount: &prompb.Histogram_ZeroCountInt{ZeroCountInt: 1}, PositiveSpans: []prompb.BucketSpan{{Offset: -2, Length: 2}}, PositiveDeltas: []int64{2, -1}, Timestamp: int64(t)}}
	v1.Metadata = []prompb.MetricMetadata{{Type: prompb.MetricMetadata_COUNTER, MetricFamilyName: "http_requests_total", Help: "Requests.", Unit: "requests"}}
	v2.Timeseries[0].Exemplars = []writev2.Exemplar{{LabelsRefs: symbols.SymbolizeLabels(labels.FromStrings("trace_id", "abc"), nil), Value: 0.5, Timestamp: int64(t)}}
	v2.Timeseries[1].Histograms = []writev2.Histogram{{Count: &writev2.Histogram_CountInt{CountInt: 5}, Sum: 3.5, Schema: 1, ZeroThreshold: 0.001, ZeroCount: &writev2.Histogram_ZeroCountInt{ZeroCountInt: 1}, PositiveSpans: []writev2.BucketSpan{{Offset: -2, Length: 2}}, PositiveDeltas: []int64{2, -1}, Timestamp: int64(t)}}
	v2.Timeseries[1].Metadata = writev2.Metadata{Type: writev2.Metadata_METRIC_TYPE_COUNTER, HelpRef: symbols.Symbolize("Requests."), UnitRef: symbols.Symbolize("requests")}
	v2.Timeseries[1].Samples[0].StartTimestamp = int64(t) - 1000
	v2.Symbols = symbols.Symbols()
	write("write-v1-all.bin", &v1)
	write("write-v2-all.bin", &v2)

	read := prompb.ReadRequest{
		Queries: []*prompb.Query{{StartTimestampMs: int64(t) - 3600000, EndTimestampMs: int64(t), Matchers: []*prompb.LabelMatcher{
			{Type: prompb.LabelMatcher_EQ, Name: "__name__", Value: "up"},
			{Type: prompb.LabelMatcher_NEQ, Name: "job", Value: "x"},
			{Type: prompb.LabelMatcher_RE, Name: "instance", Value: "a.*"},
			{Type: prompb.LabelMatcher_NRE, Name: "zone", Value: "b|c"}},
			Hints: &prompb.ReadHints{StepMs: 15000, Func: "rate", StartMs: int64(t) - 3600000, EndMs: int64(t), Grouping: []string{"job"}, By: true, RangeMs: 300000}}},
		AcceptedResponseTypes: []prompb.ReadRequest_ResponseType{prompb.ReadRequest_STREAMED_XOR_CHUNKS, prompb.ReadRequest_SAMPLES},
	}
	write("read.bin", &read)
}
