package main

import (
	"fmt"
	"net/url"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	commonconfig "github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/storage/remote"

	"tsdb-bench/peers/workload"
)

// Send begins what the server does for remote write, as it is configured by default but for the wait of requests that are
// not full: a watcher reads the log and hands samples to shards, which send them. The storage is not open, so nothing of it
// is paid for.
//
// The watcher passes over samples that are older than itself, and over those in segments of the log that are closed: the
// samples have to be in the future and in one segment.
func (engine) Send(dir, address, protocol string) (workload.Sending, error) {
	segments, err := filepath.Glob(filepath.Join(dir, "wal", "0*"))
	if err != nil {
		return nil, err
	}
	if len(segments) != 1 {
		return nil, fmt.Errorf("the log has %d segments, and the watcher would only send the last", len(segments))
	}
	target, err := url.Parse(address + "/api/v1/write")
	if err != nil {
		return nil, err
	}
	write := config.DefaultRemoteWriteConfig
	write.URL = &commonconfig.URL{URL: target}
	// There is no metadata to send, and no scraper to ask for it.
	write.MetadataConfig.Send = false
	write.QueueConfig.BatchSendDeadline = model.Duration(100 * time.Millisecond)
	switch protocol {
	case "rw1":
	case "rw2":
		write.ProtobufMessage = "io.prometheus.write.v2.Request"
	default:
		return nil, fmt.Errorf("%s is no protocol", protocol)
	}
	storage := remote.NewWriteStorage(nil, prometheus.NewRegistry(), dir, time.Minute, nil, false)
	err = storage.ApplyConfig(&config.Config{
		GlobalConfig:       config.DefaultGlobalConfig,
		RemoteWriteConfigs: []*config.RemoteWriteConfig{&write},
	})
	return sending{storage}, err
}

type sending struct{ storage *remote.WriteStorage }

// Look tells the watcher that there is something to read, as an appender of the storage would.
func (s sending) Look() { s.storage.Notify() }

func (s sending) Stop() error { return s.storage.Close() }
