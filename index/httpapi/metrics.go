package httpapi

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/kvferry/kvferry/index"
)

// scrapeTimeout is how long an index may take to count for a scrape.
const scrapeTimeout = 5 * time.Second

// metrics are what GET /metrics publishes.
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
}

func newMetrics(x index.Index, more []prometheus.Collector) (*metrics, error) {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kvferry_http_requests_total", Help: "Requests that were answered, by route and status.",
		}, []string{"route", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "kvferry_http_request_seconds", Help: "How long answers took, by route; a stream lasts as long as its reader stays.",
			Buckets: prometheus.ExponentialBuckets(50e-6, 4, 9), // 50 us to 3.3 s
		}, []string{"route"}),
	}
	var all []error
	for _, c := range append([]prometheus.Collector{
		NewCollector(x), m.requests, m.seconds,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	}, more...) {
		if err := m.registry.Register(c); err != nil {
			all = append(all, fmt.Errorf("httpapi: metrics: %w", err))
		}
	}
	return m, errors.Join(all...)
}

// route returns what counts the answers of one route.
func (m *metrics) route(pattern string) func(code int, took time.Duration) {
	seconds := m.seconds.WithLabelValues(pattern)
	return func(code int, took time.Duration) {
		if code == 0 { // nothing was written: the client went away
			code = 499
		}
		m.requests.WithLabelValues(pattern, strconv.Itoa(code)).Inc()
		seconds.Observe(took.Seconds())
	}
}

// count is one metric of an index.
type count struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	of   func(m *index.Metrics) uint64
}

// collector publishes the counts of an index.
type collector struct {
	x      index.Index
	info   *prometheus.Desc
	failed prometheus.Counter
	counts []count
}

// NewCollector returns the Prometheus metrics of an index, kvferry_index_…: what
// docs/index.md lists.
func NewCollector(x index.Index) prometheus.Collector {
	c := &collector{
		x:      x,
		info:   prometheus.NewDesc("kvferry_index_info", "Which index this is; always 1.", []string{"backend", "persistent", "shared", "rules"}, nil),
		failed: prometheus.NewCounter(prometheus.CounterOpts{Name: "kvferry_index_metrics_failed_total", Help: "Scrapes for which the index could not count."}),
	}
	add := func(kind prometheus.ValueType, name, help string, of func(*index.Metrics) uint64) {
		c.counts = append(c.counts, count{prometheus.NewDesc("kvferry_index_"+name, help, nil, nil), kind, of})
	}
	const gauge, counter = prometheus.GaugeValue, prometheus.CounterValue
	add(gauge, "resident_blocks", "Live records.", func(m *index.Metrics) uint64 { return m.ResidentBlocks })
	add(gauge, "resident_bytes", "Bytes of the blocks of live records.", func(m *index.Metrics) uint64 { return m.ResidentBytes })
	add(gauge, "stale_blocks", "Records in volatile tiers of workers that have not announced themselves since the index was opened.", func(m *index.Metrics) uint64 { return m.StaleBlocks })
	add(gauge, "workers", "Workers that were announced or have records.", func(m *index.Metrics) uint64 { return m.Workers })
	add(counter, "puts_total", "Records put.", func(m *index.Metrics) uint64 { return m.Puts })
	add(counter, "removes_total", "Records taken away one by one.", func(m *index.Metrics) uint64 { return m.Removes })
	add(counter, "cleared_total", "Records taken away by clearing the index or a worker and by announcements.", func(m *index.Metrics) uint64 { return m.Cleared })
	add(counter, "expired_total", "Records taken away because they were not used.", func(m *index.Metrics) uint64 { return m.Expired })
	add(counter, "prefix_scans_total", "Scans.", func(m *index.Metrics) uint64 { return m.PrefixScans })
	add(counter, "locates_total", "Lookups of a block.", func(m *index.Metrics) uint64 { return m.Locates })
	add(counter, "matches_total", "Prompts matched.", func(m *index.Metrics) uint64 { return m.Matches })
	add(counter, "written_bytes_total", "Bytes handed to the file system or server.", func(m *index.Metrics) uint64 { return m.BytesWritten })
	add(gauge, "sequence", "Number of the newest change.", func(m *index.Metrics) uint64 { return m.Seq })
	return c
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(to chan<- *prometheus.Desc) {
	to <- c.info
	c.failed.Describe(to)
	for i := range c.counts {
		to <- c.counts[i].desc
	}
}

// Collect implements prometheus.Collector. An index that cannot count leaves its
// numbers out, and that is counted.
func (c *collector) Collect(to chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	m, err := c.x.Metrics(ctx)
	if err != nil {
		c.failed.Inc()
	}
	c.failed.Collect(to)
	i := c.x.Info()
	to <- prometheus.MustNewConstMetric(c.info, prometheus.GaugeValue, 1, i.Name, strconv.FormatBool(i.Persistent), strconv.FormatBool(i.Shared), i.Rules.String())
	if err != nil {
		return
	}
	for _, v := range c.counts {
		to <- prometheus.MustNewConstMetric(v.desc, v.kind, float64(v.of(&m)))
	}
}
