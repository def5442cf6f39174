//go:build tools

// Package prometheus pins the Prometheus that is tested against.
package prometheus

import _ "github.com/prometheus/prometheus/cmd/prometheus"
