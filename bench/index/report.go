package index

import (
	"math"
	"slices"
)

// Report is what was found of one backend. The fields up to Metrics are those of
// the original's harness, in its order.
type Report struct {
	Backend        string  `json:"backend"`
	Persistent     bool    `json:"persistent"`
	BlocksIngested uint64  `json:"blocks_ingested"`
	IngestSecs     float64 `json:"ingest_secs"`
	IngestPerSec   float64 `json:"ingest_puts_per_sec"`
	ChurnOps       uint64  `json:"churn_ops"`
	ChurnSecs      float64 `json:"churn_secs"`
	ChurnPerSec    float64 `json:"churn_ops_per_sec"`
	ScanQueries    uint64  `json:"scan_queries"`
	ScanMeanUS     float64 `json:"scan_mean_us"`
	ScanP50US      float64 `json:"scan_p50_us"`
	ScanP99US      float64 `json:"scan_p99_us"`
	ScanP999US     float64 `json:"scan_p999_us"`
	// RecoveryMS is the time of opening again after Close, for a server of reaching
	// it again; null in memory.
	RecoveryMS *float64 `json:"recovery_ms"`
	// PhysicalBytes are those that the kernel counted at the block layer of the
	// process that writes, from the first put to the flush behind the last operation.
	// Pages of files count once for each time that they became dirty. It is 0 in
	// memory, and for a server that keeps no log.
	PhysicalBytes uint64 `json:"physical_bytes_written"`
	// WriteAmplification is PhysicalBytes by UserBytes; 0 in memory.
	WriteAmplification float64 `json:"write_amplification"`
	Metrics            Metrics `json:"metrics"`

	Round   int    `json:"round"`
	Peer    bool   `json:"peer"`
	program string // of a peer, which wrote this
	// Server is the command of the backend's server, if it has one.
	Server string `json:"server,omitempty"`
	// IngestPerCPUSec is the rate in a second of processor time of the process.
	IngestPerCPUSec float64 `json:"ingest_puts_per_cpu_sec"`
	// UserBytes are those of the records that were handed in: strings at their
	// length, numbers at their width.
	UserBytes   uint64       `json:"user_bytes"`
	Kernel      Kernel       `json:"kernel"`
	DiskBytes   uint64       `json:"disk_bytes"`
	Misses      Latency      `json:"scan_misses"`
	Populations []Population `json:"populations,omitempty"`
	Kill        *Kill        `json:"kill,omitempty"`
	Events      *Events      `json:"events,omitempty"`
	// Failures are what a peer could not do.
	Failures []string `json:"failures,omitempty"`
}

// Metrics are those that the original reports.
type Metrics struct {
	ResidentBlocks uint64 `json:"resident_blocks"`
	ResidentBytes  uint64 `json:"resident_bytes"`
	Puts           uint64 `json:"puts"`
	Removes        uint64 `json:"removes"`
	PrefixScans    uint64 `json:"prefix_scans"`
	BytesWritten   uint64 `json:"bytes_written"`
}

// Kernel is what the kernel counted of a process.
type Kernel struct {
	WriteBytes uint64 `json:"write_bytes"` // at the block layer
	WriteChars uint64 `json:"wchar"`       // handed to write calls
	Writes     uint64 `json:"syscw"`       // write calls
}

// Latency are the times of calls, each taken with the clock's own time in it.
type Latency struct {
	Calls   int     `json:"calls"`
	Records float64 `json:"records"` // that a call returned, mean
	MeanUS  float64 `json:"mean_us"`
	P50US   float64 `json:"p50_us"`
	P99US   float64 `json:"p99_us"`
	P999US  float64 `json:"p999_us"`
	MaxUS   float64 `json:"max_us"`
}

// Population is what was found of an index that holds many records.
type Population struct {
	Asked   int `json:"asked"`
	Records int `json:"records"` // fewer than asked if the time to fill was over
	// Records are put in calls of Batch, by Writers at once.
	Batch        int     `json:"batch"`
	Writers      int     `json:"writers"`
	PutsPerSec   float64 `json:"puts_per_sec"`
	PutsPerCPU   float64 `json:"puts_per_cpu_sec"`
	FlushSecs    float64 `json:"flush_secs"`
	UserBytes    uint64  `json:"user_bytes"`
	Kernel       Kernel  `json:"kernel"`
	Amplified    float64 `json:"write_amplification"`
	DiskBytes    uint64  `json:"disk_bytes"`
	MemoryBytes  float64 `json:"memory_bytes_per_record"` // resident, of the process or server
	HeapBytes    float64 `json:"heap_bytes_per_record"`   // of that, the Go runtime's live ones
	Scan         Latency `json:"scan"`
	ScanMiss     Latency `json:"scan_miss"`
	ScanLong     Latency `json:"scan_long"`
	Locate       Latency `json:"locate"`
	ByHash       Latency `json:"by_hash"`
	Remove       Latency `json:"remove"` // of one block, which is put again outside the clock
	PutsByBatch  []Puts  `json:"puts_by_batch"`
	Durable      []Puts  `json:"durable_puts"`
	Mixed        []Mixed `json:"mixed"`
	Match        []Match `json:"match"`
	ClearWorker  Latency `json:"clear_worker"`
	ReopenMS     float64 `json:"reopen_ms"`     // open, after Close
	AnnounceMS   float64 `json:"announce_ms"`   // all workers, until every record is seen again
	SnapshotSecs float64 `json:"snapshot_secs"` // a visit of every record
}

// Puts are records put in calls of Batch, by Writers at once, each call followed
// by a Flush where they are durable.
type Puts struct {
	Batch      int     `json:"batch"`
	Writers    int     `json:"writers"`
	PutsPerSec float64 `json:"puts_per_sec"`
	Call       Latency `json:"call"`
	FlushUS    float64 `json:"flush_p50_us,omitempty"`
}

// Mixed is a load of several clients: of 100 calls, 80 scan, 10 put, 5 remove and
// 5 match a prompt.
type Mixed struct {
	Clients   int     `json:"clients"`
	OpsPerSec float64 `json:"ops_per_sec"`
	Scan      Latency `json:"scan"`
	Put       Latency `json:"put"`
	Remove    Latency `json:"remove"`
	Match     Latency `json:"match"`
}

// Match is a prompt of Blocks, of which worker i of Workers holds the first
// (i+1)/Workers, asked for by Clients at once.
type Match struct {
	Blocks        int     `json:"blocks"`
	Workers       int     `json:"workers"`
	Clients       int     `json:"clients"`
	MatchesPerSec float64 `json:"matches_per_sec"`
	Call          Latency `json:"call"`
}

// Kill is what was found after a process was killed while it wrote.
type Kill struct {
	Flushed   []int   `json:"flushed"` // calls of each writer that returned before its last Flush that returned
	Lost      int     `json:"lost"`    // flushed ones whose effect is not there: a defect
	Wrong     int     `json:"wrong"`   // records that nobody put so: a defect
	Unflushed int     `json:"unflushed_kept"`
	Records   int     `json:"records"` // that are there
	ReopenMS  float64 `json:"reopen_ms"`
}

// Events is the way from a publisher's socket into the index.
type Events struct {
	Blocks       int     `json:"blocks"`
	BlocksPerSec float64 `json:"blocks_per_sec"`
	CPUSecs      float64 `json:"cpu_secs"` // of the subscriber's process, the publisher's not
	PerCPUSec    float64 `json:"blocks_per_cpu_sec"`
	Resident     uint64  `json:"resident_blocks"`
}

// percentile is the original's: the element at round((n-1)p).
func percentile(sorted []int64, p float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return float64(sorted[int(math.Round(float64(len(sorted)-1)*p))]) / 1e3
}

// latency sorts the times, in nanoseconds, of calls that returned records.
func latency(ns []int64, records int) Latency {
	if len(ns) == 0 {
		return Latency{}
	}
	slices.Sort(ns)
	var sum float64
	for _, v := range ns {
		sum += float64(v)
	}
	n := float64(len(ns))
	return Latency{
		Calls: len(ns), Records: float64(records) / n, MeanUS: sum / n / 1e3,
		P50US: percentile(ns, 0.50), P99US: percentile(ns, 0.99), P999US: percentile(ns, 0.999),
		MaxUS: float64(ns[len(ns)-1]) / 1e3,
	}
}
