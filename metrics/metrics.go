// Package metrics tells what a cloud does in Prometheus's form. It is the only package of this module that needs
// Prometheus's client library: who does not import it does not carry it.
//
//	operator.Handler(c, &operator.Options{Metrics: metrics.Handler(c)})
//
// Labels have few values - a route's pattern, a kind of operation, a fault's code, never an id - so the number of
// series does not grow with the cloud. What counts things in the store (operations under way, hosts, replicas) is read at each scrape.
// doc/operations.md has the table of metrics.
package metrics

import (
	"context"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/nubecula/cloud"
)

// Handler serves a cloud's metrics, and those of the process: memory, processor time, garbage collection, the build.
func Handler(c *cloud.Cloud) http.Handler {
	r := prometheus.NewRegistry()
	r.MustRegister(Collector(c), collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), collectors.NewBuildInfoCollector())
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError})
}

// scrapeTime is how long reading the store for a scrape may take.
const scrapeTime = 5 * time.Second

// Collector returns a cloud's metrics for a registry of the caller's. Several clouds of one process need
// prometheus.WrapRegistererWith, with a label that tells them apart.
func Collector(c *cloud.Cloud) prometheus.Collector { return collector{c} }

type collector struct{ c *cloud.Cloud }

// Describe implements prometheus.Collector.
func (m collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range newDescriptions().all() {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (m collector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTime)
	defer cancel()
	s := &scrape{ch: ch, d: newDescriptions()}
	s.meters(m.c.Meters())
	s.store(m.c.Store().Stats())
	s.engine(m.c.Engine())
	s.records(ctx, m.c)
}
