package httpapi

import (
	"maps"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kvferry/kvferry/index/events"
)

// eventCount is one metric of what engines told.
type eventCount struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	of   func(s *events.Stats) uint64
}

// eventsCollector publishes the counts of several sources of events.
type eventsCollector struct {
	names   []string
	sources map[string]func() events.Stats
	counts  []eventCount
}

// NewEventsCollector returns the Prometheus metrics of sources of events,
// kvferry_events_…, each with the label engine: what docs/index.md lists.
func NewEventsCollector(sources map[string]func() events.Stats) prometheus.Collector {
	c := &eventsCollector{names: slices.Sorted(maps.Keys(sources)), sources: sources}
	add := func(name, help string, of func(*events.Stats) uint64) {
		c.counts = append(c.counts, eventCount{prometheus.NewDesc("kvferry_events_"+name, help, []string{"engine"}, nil), prometheus.CounterValue, of})
	}
	add("batches_total", "Batches taken.", func(s *events.Stats) uint64 { return s.Batches })
	add("events_total", "Events in them.", func(s *events.Stats) uint64 { return s.Events })
	add("stored_blocks_total", "Blocks that engines stored.", func(s *events.Stats) uint64 { return s.StoredBlocks })
	add("removed_blocks_total", "Blocks that engines removed, whether they were known or not.", func(s *events.Stats) uint64 { return s.RemovedBlocks })
	add("clears_total", "Times that engines cleared their caches.", func(s *events.Stats) uint64 { return s.Clears })
	add("unknown_events_total", "Events of kinds that are not known; they are skipped.", func(s *events.Stats) uint64 { return s.UnknownEvents })
	add("unknown_mediums_total", "Events with mediums that are not known; they are skipped.", func(s *events.Stats) uint64 { return s.UnknownMediums })
	add("unknown_parents_total", "Blocks whose parent is not known.", func(s *events.Stats) uint64 { return s.UnknownParents })
	add("unremembered_blocks_total", "Blocks stored beyond what is remembered of a worker; their parents and positions may be lost.", func(s *events.Stats) uint64 { return s.Unremembered })
	add("decode_errors_total", "Batches that could not be read; they clear the worker.", func(s *events.Stats) uint64 { return s.DecodeErrors })
	add("gaps_total", "Gaps in sequences.", func(s *events.Stats) uint64 { return s.Gaps })
	add("replays_total", "Gaps that a replay closed.", func(s *events.Stats) uint64 { return s.Replays })
	add("replay_errors_total", "Replays that failed.", func(s *events.Stats) uint64 { return s.ReplayErrors })
	add("resets_total", "Sequences that began anew: engines that started again.", func(s *events.Stats) uint64 { return s.Resets })
	add("duplicates_total", "Batches that came again.", func(s *events.Stats) uint64 { return s.Duplicates })
	add("workers_cleared_total", "Times that a worker was cleared because its state was not known.", func(s *events.Stats) uint64 { return s.WorkersCleared })
	add("unknown_topics_total", "Messages that no worker is named for.", func(s *events.Stats) uint64 { return s.UnknownTopics })
	add("connects_total", "Connections made.", func(s *events.Stats) uint64 { return s.Connects })
	add("disconnects_total", "Connections lost.", func(s *events.Stats) uint64 { return s.Disconnects })
	add("index_errors_total", "Writes to the index that failed and were tried again.", func(s *events.Stats) uint64 { return s.IndexErrors })
	c.counts = append(c.counts, eventCount{
		prometheus.NewDesc("kvferry_events_lag_seconds", "Age of the newest batch when it was in the index.", []string{"engine"}, nil),
		prometheus.GaugeValue, func(s *events.Stats) uint64 { return s.LagMs },
	})
	return c
}

// Describe implements prometheus.Collector.
func (c *eventsCollector) Describe(to chan<- *prometheus.Desc) {
	for i := range c.counts {
		to <- c.counts[i].desc
	}
}

// Collect implements prometheus.Collector.
func (c *eventsCollector) Collect(to chan<- prometheus.Metric) {
	const msInSecond = 1000
	for _, name := range c.names {
		s := c.sources[name]()
		for _, v := range c.counts {
			n := float64(v.of(&s))
			if v.kind == prometheus.GaugeValue {
				n /= msInSecond
			}
			to <- prometheus.MustNewConstMetric(v.desc, v.kind, n, name)
		}
	}
}
