package index

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index"
)

// childArg makes the test program a child of a run.
const childArg = "bench-index-child"

func TestMain(m *testing.M) {
	args := os.Args[1:]
	if len(args) > 1 && args[0] == "index" && args[1] == "child" { // as the command line calls it
		args = append([]string{childArg}, args[2:]...)
	}
	if len(args) > 0 && args[0] == childArg {
		if err := Child(context.Background(), args[1:], os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// small is a run of everything that takes a second or two.
func small(t *testing.T, backends ...string) Options {
	t.Helper()
	o := Defaults()
	o.Backends, o.Self, o.Dir = backends, []string{os.Args[0], childArg}, t.TempDir()
	o.Harness.Requests, o.Harness.ScanQueries, o.Harness.ChurnOps = 50, 200, 30
	o.Harness.SharedBlocks, o.Harness.UniqueBlocks = 4, 2
	o.Records, o.Each, o.Kill, o.Events = []int{3000}, 5*time.Millisecond, 4000, 5000
	return o
}

func TestRun(t *testing.T) {
	t.Parallel()
	names := []string{"memory", "art"}
	if os.Getenv("KVFERRY_SOAK") != "" {
		names = []string{"all"}
	}
	o := small(t, names...)
	var steps []string
	o.Progress = func(s string) { steps = append(steps, s) }
	res, err := Run(t.Context(), o)
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(res.Reports), len(names))
	require.NotEmpty(t, steps)
	require.Positive(t, res.Limits.Sync.P50US)
	for _, r := range res.Reports {
		t.Run(r.Backend, func(t *testing.T) { checkReport(t, &r) })
	}
	for _, table := range Tables(res.Reports) {
		for _, row := range table.Rows {
			require.Len(t, row, len(table.Head), table.Title)
		}
	}
	left, err := os.ReadDir(o.Dir)
	require.NoError(t, err)
	require.Empty(t, left)
}

// checkReport holds a report of small against what has to come out.
func checkReport(t *testing.T, r *Report) {
	t.Helper()
	require.EqualValues(t, 50*(4+2), r.BlocksIngested)
	require.EqualValues(t, 30*2*2, r.ChurnOps)
	require.EqualValues(t, 4+50*2, r.Metrics.ResidentBlocks)
	require.EqualValues(t, 30*2, r.Metrics.Removes)
	require.LessOrEqual(t, r.ScanP50US, r.ScanP99US)
	require.LessOrEqual(t, r.ScanP99US, r.ScanP999US)
	require.Zero(t, r.Misses.Records)
	outlives := r.Persistent || r.Server != ""
	require.Equal(t, outlives, r.RecoveryMS != nil)
	require.Len(t, r.Populations, 1)
	p := r.Populations[0]
	require.Equal(t, 3000, p.Records)
	require.Equal(t, 300.0, p.ScanLong.Records)
	require.Len(t, p.PutsByBatch, 5)
	require.NotEmpty(t, p.Match)
	require.Equal(t, 64.0, p.Match[0].Call.Records)
	require.Equal(t, 4, p.ClearWorker.Calls)
	if r.Events != nil || r.Backend != "fsdir" {
		require.EqualValues(t, 5000, r.Events.Resident)
		require.Positive(t, r.Events.BlocksPerSec)
	}
	if !r.Persistent {
		require.Zero(t, r.WriteAmplification)
		require.Empty(t, p.Durable)
	} else {
		require.NotEmpty(t, p.Durable)
	}
	if !outlives {
		require.Nil(t, r.Kill)
		return
	}
	require.Positive(t, r.UserBytes)
	require.Positive(t, p.ReopenMS)
	require.NotNil(t, r.Kill)
	require.Zero(t, r.Kill.Lost)
	require.Zero(t, r.Kill.Wrong)
	require.Len(t, r.Kill.Flushed, killWriters)
}

// TestReportOrder: the original's fields come first, in its order.
func TestReportOrder(t *testing.T) {
	t.Parallel()
	text, err := json.Marshal(Report{})
	require.NoError(t, err)
	d := json.NewDecoder(bytes.NewReader(text))
	var keys []string
	depth := 0
	for {
		token, err := d.Token()
		if err != nil {
			break
		}
		switch v := token.(type) {
		case json.Delim:
			if v == '{' {
				depth++
			} else {
				depth--
			}
		case string:
			if depth == 1 {
				keys = append(keys, v)
			}
		}
	}
	require.Equal(t, "backend  persistent blocks_ingested ingest_secs ingest_puts_per_sec churn_ops churn_secs churn_ops_per_sec "+
		"scan_queries scan_mean_us scan_p50_us scan_p99_us scan_p999_us recovery_ms physical_bytes_written write_amplification metrics",
		strings.Join(keys[:18], " "))
}

func TestPercentile(t *testing.T) {
	t.Parallel()
	sorted := []int64{1000, 2000, 3000, 4000}
	require.Equal(t, 3.0, percentile(sorted, 0.5)) // 1.5 rounds up
	require.Equal(t, 4.0, percentile(sorted, 0.99))
	require.Equal(t, 0.0, percentile(nil, 0.5))
}

// TestPopulation: records have one identity each, and the parent of each is
// the one before it.
func TestPopulation(t *testing.T) {
	t.Parallel()
	p := newPopulation(5000)
	seen := map[string]bool{}
	for i := range p.n {
		r := p.record(i)
		require.NoError(t, r.Check())
		require.False(t, seen[r.Hash])
		seen[r.Hash] = true
		if r.Prefix != index.Root && r.Prefix != fanPrefix {
			require.Equal(t, p.record(i-1).Hash, r.Prefix)
			require.Equal(t, p.record(i-1).Worker, r.Worker)
		}
	}
	require.Len(t, p.prompt(700), promptBlocks)
	require.Equal(t, p.record(500).Hash, p.prompt(650)[0])
}

// TestJudge: a call before the last flush must have had its effect, and those
// behind it may have had.
func TestJudge(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		there           bool
		i, n            int
		lost, unflushed int
	}{
		{false, 0, 1, 1, 0}, {true, 0, 1, 0, 0}, // put and flushed
		{true, 0, 0, 0, 1}, {false, 0, 0, 0, 0}, // put behind the flush
		{true, 3, 8, 1, 0}, {false, 3, 8, 0, 0}, // taken away and flushed
		{true, 3, 7, 0, 0}, {false, 3, 7, 0, 0}, // taken away behind the flush
	} {
		var k Kill
		k.judge(c.there, c.i, c.n)
		require.Equal(t, [2]int{c.lost, c.unflushed}, [2]int{k.Lost, k.Unflushed}, c)
	}
}

// TestKillIsSeen: the check finds what a flush was told of and is not there.
func TestKillIsSeen(t *testing.T) {
	t.Parallel()
	var k Kill
	task := task{Part: partCheck, Backend: "memory", Records: 100, Kill: Kill{Flushed: []int{16, 0, 0, 0}}}
	k = task.Kill
	require.NoError(t, task.check(t.Context(), &k))
	require.Equal(t, 12, k.Lost) // 14 puts, of which two were taken away again
}

func TestRunRefuses(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(*Options){
		"requests": func(o *Options) { o.Harness.Requests = -1 },
		"product":  func(o *Options) { o.Harness.Requests, o.Harness.SharedBlocks = 1<<20, 1<<20 },
		"records":  func(o *Options) { o.Records = []int{0} },
		"clients":  func(o *Options) { o.Clients = 0 },
		"rounds":   func(o *Options) { o.Rounds = 0 },
		"self":     func(o *Options) { o.Self = nil },
		"backend":  func(o *Options) { o.Backends = []string{"rocksdb"} },
	} {
		o := small(t, "memory")
		spoil(&o)
		_, err := Run(t.Context(), o)
		require.ErrorIs(t, err, kvferry.ErrInvalid, name)
	}
	o := small(t, "memory")
	o.Dir += "/none"
	_, err := Run(t.Context(), o)
	require.ErrorIs(t, err, kvferry.ErrNotFound)
	o = small(t, "memory")
	o.Peers = o.Dir + "/none"
	_, err = Run(t.Context(), o)
	require.ErrorIs(t, err, kvferry.ErrNotFound)
	require.ErrorIs(t, Child(t.Context(), []string{"{}", ""}, nil), kvferry.ErrInvalid)
	require.ErrorIs(t, Child(t.Context(), []string{`{"part":"none"}`}, nil), kvferry.ErrInvalid)
}

// TestPeer: what a peer says stands beside ours.
func TestPeer(t *testing.T) { // not beside others, which start processes while the program is written
	if _, err := exec.LookPath("sh"); err != nil {
		t.Skip("no shell to play a peer")
	}
	o := small(t, "memory")
	o.Records, o.Kill, o.Events, o.Rounds = []int{20, 50}, 0, 0, 2
	o.Peers, o.PeerMost = t.TempDir(), 20
	const script = "#!/bin/sh\n[ \"${*##*--records}\" = ' 20' ] || exit 1\necho '[{\"backend\":\"other\",\"scan_p50_us\":1.5}]'\n"
	require.NoError(t, os.WriteFile(o.Peers+"/index-other", []byte(script), 0o755))
	res, err := Run(t.Context(), o)
	require.NoError(t, err)
	require.Empty(t, res.Missing)
	require.Len(t, res.Reports, 4)
	require.True(t, res.Reports[1].Peer)
	require.Equal(t, 2, res.Reports[3].Round)
	require.Equal(t, "1.5 µs", Tables(res.Reports)[0].Rows[1][4])
}

// TestBrokenPeer: one that fails in its second round is told of with what it
// said last, nothing that it reported is left, and the others go on.
func TestBrokenPeer(t *testing.T) { // not beside others, which start processes while the program is written
	o := small(t, "memory")
	o.Records, o.Kill, o.Events, o.Rounds = nil, 0, 0, 2
	o.Peers = t.TempDir()
	fine := "echo '[{\"backend\":\"'$(basename $0)'\"}]'\n"
	for name, text := range map[string]string{
		"index-good": fine, "index-bad": "[ -e $0.ran ] && { echo why it failed >&2; exit 1; }; touch $0.ran\n" + fine,
	} {
		require.NoError(t, os.WriteFile(filepath.Join(o.Peers, name), []byte("#!/bin/sh\n"+text), 0o755))
	}
	res, err := Run(t.Context(), o)
	require.NoError(t, err)
	require.Len(t, res.Missing, 1)
	require.Equal(t, "bad", res.Missing[0].Name)
	require.Contains(t, res.Missing[0].Why, "failed: ")
	require.Contains(t, res.Missing[0].Why, "why it failed")
	var names []string
	for _, r := range res.Reports {
		names = append(names, r.Backend)
	}
	require.Equal(t, []string{"memory", "index-good", "memory", "index-good"}, names)
}
