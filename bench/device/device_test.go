package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cuda"
	"github.com/kvferry/kvferry/pager"
)

// runSelf makes the test binary the program: the parts are its children.
const runSelf = "DEVICE_TEST_RUN"

func TestMain(m *testing.M) {
	if os.Getenv(runSelf) != "" {
		prepare()
		main()
		os.Exit(conclude())
	}
	goleak.VerifyTestMain(m)
}

// TestPendingTable: the committed table of goals is the program's own.
func TestPendingTable(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	require.NoError(t, run(t.Context(), []string{"-pending"}, &b, os.Stderr))
	page, err := os.ReadFile(filepath.Join("..", "results", "device", "README.md"))
	require.NoError(t, err)
	require.Contains(t, string(page), b.String(), "put the output of -pending into the page")
	require.NotContains(t, b.String(), "reached")
}

// TestBudget: the suite's tests and this program together end within ten minutes.
func TestBudget(t *testing.T) {
	t.Parallel()
	require.LessOrEqual(t, total(), 400*time.Second)
	o, err := parse([]string{"-out", "x", "-budget", "40s"}, os.Stderr)
	require.NoError(t, err)
	var all time.Duration
	for _, p := range parts() {
		all += o.scaled(p.budget)
	}
	require.LessOrEqual(t, all, 40*time.Second)
}

func TestFlags(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{}, {"-out"}, {"-out", "x", "more"}, {"-out", "x", "-only", "("}, {"-out", "x", "-budget", "0s"}, {"-nonsense"}} {
		require.Error(t, run(t.Context(), args, &bytes.Buffer{}, &bytes.Buffer{}), args)
	}
	var b bytes.Buffer
	require.NoError(t, run(t.Context(), []string{"-list"}, &b, os.Stderr))
	require.Equal(t, len(parts()), strings.Count(b.String(), "\n"))
	err := run(t.Context(), []string{"-out", t.TempDir(), "-work", t.TempDir(), "-part", "none"}, &b, &b)
	require.ErrorContains(t, err, `no part "none"`)
}

// TestJournal: lines of several processes, and what a killed one left.
func TestJournal(t *testing.T) {
	t.Parallel()
	j := journalIn(t.TempDir())
	rows, err := j.rows()
	require.NoError(t, err)
	require.Empty(t, rows)
	require.NoError(t, j.begin())
	require.NoError(t, j.add(&row{Part: "a", What: "one", Samples: []float64{1, 2}}))
	f, err := os.OpenFile(j.path, os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = f.WriteString(`{"part":"a","what":"cut`)
	require.NoError(t, errors.Join(err, f.Close()))
	require.NoError(t, j.add(&row{Part: "a", What: "two"}))
	rows, err = j.rows()
	require.NoError(t, err)
	require.Len(t, rows, 2)
	require.Equal(t, "one", rows[0].What)
	require.Equal(t, "two", rows[1].What)
	require.NoError(t, j.begin())
	rows, err = j.rows()
	require.NoError(t, err)
	require.Empty(t, rows)
	require.Error(t, j.add(&row{Samples: []float64{math.NaN()}}), "what is no number is no figure")
}

func TestNumbers(t *testing.T) {
	t.Parallel()
	v := []float64{5, 1, 4, 2, 3}
	require.Equal(t, 3.0, median(v))
	require.Equal(t, 2.5, median(v[1:]))
	require.Equal(t, 5.0, quantile(v, 0.99))
	require.Equal(t, 1.0, quantile(v, 0.2))
	require.True(t, math.IsNaN(median(nil)))
	require.Equal(t, []float64{2, 1}, rates(4, []float64{2, 4}))
	require.Equal(t, []float64{2}, ratios([]float64{4, 9}, []float64{2}))
	for want, got := range map[string]string{
		"54.3 GB/s": perSecond.text(54.34e9), "1.31 TB/s": perSecond.text(1.312e12), "12.0 us": seconds.text(12e-6),
		"3.40 ms": seconds.text(3.4e-3), "2.00 s": seconds.text(2), "790 Tflop/s": flops.text(7.9e14), "3.20 cores": cores.text(3.2),
		"8 KiB": bytesText(8192), "352 KiB": bytesText(360448), "1.50 MiB": bytesText(3 << 19), "512 B": bytesText(512), "1 GiB": bytesText(1 << 30),
	} {
		require.Equal(t, want, got)
	}
}

// TestAnswers: what the table of goals says of rows.
func TestAnswers(t *testing.T) {
	t.Parallel()
	g := goal{id: "g", line: "x", atLeast: 0.97, percent: true}
	answer := func(g goal, software bool, rows ...*row) string {
		value, verdict := g.answer(rows, software)
		return value + " / " + verdict
	}
	good := &row{What: "a", Goal: "g", Ratios: []float64{0.98, 0.99, 0.975}, Check: checkOK}
	bad := &row{What: "b", Goal: "g", Ratios: []float64{0.9}, Check: checkOK}
	require.Equal(t, " / pending", answer(g, false))
	require.Equal(t, " / pending", answer(g, false, &row{Goal: "h", Ratios: []float64{1}}))
	require.Equal(t, "98.0 % (a) / reached", answer(g, false, good))
	require.Equal(t, "98.0 % (a); 90.0 % (b) / **missed**", answer(g, false, good, bad), "all rows have to reach it")
	require.Equal(t, " / pending: ran to its end on the software driver", answer(g, true, good))
	require.Contains(t, answer(g, false, good, &row{What: "c", Goal: "g", Error: "no nvcc"}), "pending: c: no nvcc")
	require.Contains(t, answer(g, true, good, &row{What: "c", Goal: "g", Error: "no nvcc"}), "pending: c: no nvcc")
	require.Equal(t, "2 of 2 right / reached", answer(goal{id: "g"}, false, &row{Goal: "g", Check: checkOK}, &row{Goal: "g", Check: checkOK}))
	require.Contains(t, answer(g, false, &row{What: "c", Goal: "g", Ratios: []float64{2}, Check: "page 3"}), "**wrong bytes**: c: page 3")
	most := goal{id: "g", atMost: 1.03}
	require.Equal(t, "1.02x (a) / reached", answer(most, false, &row{What: "a", Goal: "g", Ratios: []float64{1.02}}))
	require.Contains(t, answer(most, false, &row{What: "a", Goal: "g", Ratios: []float64{1.02}}, &row{What: "b", Goal: "g", Ratios: []float64{1.04}}), "**missed**")
	rate := goal{id: "g", atLeast: 1.2e12, unit: perSecond}
	require.Equal(t, "1.30 TB/s (a) / reached", answer(rate, false, &row{What: "a", Goal: "g", Unit: perSecond, Samples: []float64{1.3e12}}))
	require.Equal(t, "≥ 1.20 TB/s", rate.bound())
	require.Equal(t, "≥ 97.0 %", g.bound())
	require.Equal(t, "≤ 1.03x", most.bound())
	require.Equal(t, "1.00 s (a) / measured", answer(goal{id: "g"}, false, &row{What: "a", Goal: "g", Unit: seconds, Samples: []float64{1}}))
	require.Equal(t, " / pending: elsewhere", answer(goal{id: "g", elsewhere: "elsewhere"}, false, good))
}

// TestCrawlingCopies: what keeps its speed beside copies that crawl reaches nothing.
func TestCrawlingCopies(t *testing.T) {
	t.Parallel()
	beside := func(id goalID, copies ...float64) *row {
		return &row{What: "x", Goal: id, Ratios: []float64{0.99, 0.98}, Copies: copies}
	}
	for id, least := range map[goalID]float64{goalCorunOne: 0.97, goalCorunBoth: 0.95} {
		at := slices.IndexFunc(goals(), func(g goal) bool { return g.id == id })
		answer := func(rows ...*row) string {
			_, verdict := goals()[at].answer(rows, false)
			return verdict
		}
		require.Equal(t, "reached", answer(beside(id, least, 1)))
		require.Equal(t, "pending: x: the rate of the copies is not known", answer(beside(id)))
		require.Contains(t, answer(beside(id, least-0.01)), "**missed**: x: copies at ")
		require.Contains(t, answer(beside(id, 1), beside(id, 0.1, 0.2)), "**missed**: x: copies at 15.0 % of what they do alone, want "+percent(least))
	}
}

// TestChecked: what stopped a look at the bytes is not a wrong byte.
func TestChecked(t *testing.T) {
	t.Parallel()
	var r row
	r.checked(wrongPage(3))
	require.Contains(t, r.Check, "page 3")
	r = row{}
	r.checked(fmt.Errorf("page 3: %w", context.Canceled))
	require.Empty(t, r.Check)
	require.True(t, r.Missing)
	require.Contains(t, r.Error, "stopped")
	r = row{}
	r.checked(nil)
	require.Equal(t, checkOK, r.Check)
}

// TestGoalsHaveNames: each line has a name of its own.
func TestGoalsHaveNames(t *testing.T) {
	t.Parallel()
	seen := make(map[goalID]bool)
	for _, g := range goals() {
		require.False(t, seen[g.id], g.id)
		seen[g.id] = true
		require.NotEmpty(t, g.line)
	}
	require.Len(t, seen, 18)
}

func TestMarkdown(t *testing.T) {
	t.Parallel()
	r := results{Commit: "abc", Go: "go1", Rows: []*row{
		{Part: "facts", What: "device", Text: "H100, of some kind"},
		{Part: "cache", What: "out", With: "a|b", Unit: perSecond, Bytes: 1 << 20, Samples: []float64{5e10, 4e10}, Ratios: []float64{1.01, 1.03}, Limit: "copy", Goal: goalCacheOut, Check: checkOK},
		{Part: "cache", What: "part", Unit: seconds, Samples: []float64{1}, Error: "ended early: killed"},
	}}
	page := string(r.markdown())
	require.Contains(t, page, "# The GPU path on H100\n")
	require.Contains(t, page, "* device: H100, of some kind\n")
	require.Contains(t, page, `| out, a\|b | 1 MiB | 2 | 45.0 GB/s | 40.0 GB/s to 50.0 GB/s | 1.02 (1.01 to 1.03) | copy | ok |  |`)
	require.Contains(t, page, "ended early: killed")
	require.Contains(t, page, "| 38,619 TinyLlama pages out, time to that of one contiguous copy of as many bytes | ≤ 1.03x | 1.02x (out, a\\|b) | reached |")
	r.Software = true
	require.Contains(t, string(r.markdown()), "Its figures mean nothing")
	require.NotContains(t, string(r.markdown()), "| reached |")
}

// TestPattern: the pool over and over.
func TestPattern(t *testing.T) {
	t.Parallel()
	p := pattern("abcde")
	got := make([]byte, 12)
	p.copy(got, 3)
	require.Equal(t, "deabcdeabcde", string(got))
	require.True(t, p.equal(got, 3))
	require.True(t, p.equal(got[2:], 0))
	got[11]++
	require.False(t, p.equal(got, 3))
	require.False(t, p.equal(got[:3], 2))
}

func TestParallel(t *testing.T) {
	t.Parallel()
	seen := make([]int, 100)
	require.NoError(t, parallel(t.Context(), len(seen), func(i int) error { seen[i]++; return nil }))
	for i, n := range seen {
		require.Equal(t, 1, n, i)
	}
	require.ErrorIs(t, parallel(t.Context(), 10, func(i int) error {
		if i == 7 {
			return wrongPage(7)
		}
		return nil
	}), kvferry.ErrCorrupt)
}

// TestLayouts: every case of torch_check.py has a layout, with as many regions
// as it lends tensors.
func TestLayouts(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("torch_check.py")
	require.NoError(t, err)
	_, list, ok := strings.Cut(string(source), "CASES = [\n")
	require.True(t, ok)
	list, _, _ = strings.Cut(list, "\n]")
	for line := range strings.Lines(list) {
		c := torchCase{Case: strings.Split(line, `"`)[1]}
		c.Dims.B, c.Dims.L, c.Dims.H, c.Dims.N, c.Dims.C = 5, 3, 4, 16, 64
		l, err := c.layout()
		require.NoError(t, err, c.Case)
		want := map[string]int{`"layer"`: 3, `"all"`: 1, `"layer and kind"`: 6}[strings.TrimSuffix(strings.Split(strings.TrimSpace(line), ", ")[2], "),")]
		require.Len(t, l.Regions, want, c.Case)
	}
	l, err := interleaved(512, 32, 7)
	require.NoError(t, err)
	require.Equal(t, 32*512, l.Meta.PageBytes())
}

// TestShapes: the sizes of runs give pages that fit what was asked for.
func TestShapes(t *testing.T) {
	t.Parallel()
	for _, s := range []scale{full(), small()} {
		b := &bench{scale: s}
		for _, run := range s.runBytes {
			for _, job := range s.jobRuns {
				count, pages := b.shape(run, job)
				require.Positive(t, pages)
				require.LessOrEqual(t, int64(count), job)
				require.LessOrEqual(t, run*int64(count)*int64(pages), 2*s.pathBytes)
				_, err := interleaved(run, count, pages)
				require.NoError(t, err)
			}
		}
	}
}

// TestCeiling: the figure that the digest's goal was derived from.
func TestCeiling(t *testing.T) {
	t.Parallel()
	h200 := cuda.Facts{Multiprocessors: 132, ClockKHz: 1980000}
	require.InEpsilon(t, 1.74e12, ceiling(h200), 0.01)
	require.Equal(t, "device to host", way(pager.Out))
	require.Equal(t, "host to device", way(pager.In))
}

// TestVerdict: wrong bytes and parts that failed are the run's failure, and what
// is missing on a machine is not.
func TestVerdict(t *testing.T) {
	t.Parallel()
	j := journalIn(t.TempDir())
	require.NoError(t, verdict(j))
	require.NoError(t, j.add(&row{Part: "a", What: "x", Check: checkOK}))
	require.NoError(t, j.add(&row{Part: "a", What: "y", Error: "no nvcc", Missing: true}))
	require.NoError(t, j.add(&row{Part: "a", What: wholePart}))
	require.NoError(t, verdict(j))
	require.NoError(t, j.add(&row{Part: "b", What: wholePart, Error: "ended early"}))
	require.ErrorContains(t, verdict(j), "b: part: ended early")
	require.NotErrorIs(t, verdict(j), kvferry.ErrCorrupt)
	require.NoError(t, j.add(&row{Part: "c", What: "z", Check: "page 7"}))
	require.ErrorIs(t, verdict(j), kvferry.ErrCorrupt)
}

// TestFastest: the better of two, unless one is wrong or missing.
func TestFastest(t *testing.T) {
	t.Parallel()
	slow := &row{What: "a", Unit: perSecond, Samples: []float64{1}, Check: checkOK}
	fast := &row{What: "b", Unit: perSecond, Samples: []float64{2}, Check: checkOK}
	wrong := &row{What: "c", Unit: perSecond, Samples: []float64{1}, Check: "page 1"}
	none := &row{What: "d", Error: "no memory"}
	require.Equal(t, []float64{2}, fastest([]*row{slow, fast}).Samples)
	require.Equal(t, []float64{2}, fastest([]*row{fast, slow}).Samples)
	require.Equal(t, "page 1", fastest([]*row{fast, wrong}).Check)
	require.Equal(t, "page 1", fastest([]*row{wrong, fast}).Check)
	require.Equal(t, []float64{1}, fastest([]*row{none, slow}).Samples)
	require.NotEmpty(t, fastest([]*row{none, none}).Error)
}

// TestChanged: a share of the pages, spread evenly.
func TestChanged(t *testing.T) {
	t.Parallel()
	i := &incremental{ids: ascending(200)}
	for _, p := range percents() {
		require.Len(t, i.changed(p), 2*p)
	}
	require.Equal(t, 19, i.changed(5)[0])
}

func TestEngine(t *testing.T) {
	t.Parallel()
	e := newEngine(4)
	ids, err := e.OccupiedPages(t.Context())
	require.NoError(t, err)
	require.Len(t, ids, 4)
	_, err = e.AllocatePages(t.Context(), 1)
	require.ErrorIs(t, err, kvferry.ErrOutOfMemory)
	e.empty()
	got, err := e.AllocatePages(t.Context(), 3)
	require.NoError(t, err)
	ids, err = e.OccupiedPages(t.Context())
	require.NoError(t, err)
	require.Equal(t, got, ids)
	require.NoError(t, e.InstallLogicalSeqs(t.Context(), []pager.LogicalSeq{{ID: "x"}}))
	seqs, err := e.LogicalSeqs(t.Context())
	require.NoError(t, err)
	require.Len(t, seqs, 1)
}
