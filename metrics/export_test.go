package metrics

import "github.com/prometheus/client_golang/prometheus"

// Descriptions returns those of all metrics.
func Descriptions() []*prometheus.Desc { return newDescriptions().all() }
