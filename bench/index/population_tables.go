package index

import (
	"fmt"
	"strconv"
)

// filledBy is one backend's population of one size, over the rounds.
type filledBy struct {
	backend string
	rounds  []*Population
}

func (f *filledBy) median(of func(*Population) float64) float64 { return median(f.rounds, of) }

// populationTables shows each size: first filling, then reading, then writing.
func populationTables(groups [][]*Report) []Table {
	var sizes []int
	bySize := map[int][]filledBy{}
	for _, g := range groups {
		for i := range g[0].Populations {
			n := g[0].Populations[i].Asked
			f := filledBy{backend: g[0].Backend}
			for _, r := range g {
				f.rounds = append(f.rounds, &r.Populations[i])
			}
			if bySize[n] == nil {
				sizes = append(sizes, n)
			}
			bySize[n] = append(bySize[n], f)
		}
	}
	var out []Table
	for _, n := range sizes {
		out = append(out, fillTable(n, bySize[n]), readTable(n, bySize[n]), writeTable(n, bySize[n]))
	}
	return out
}

func fillTable(n int, fs []filledBy) Table {
	t := Table{
		Title: fmt.Sprintf("Filling with %d records", n),
		Head:  []string{"BACKEND", "RECORDS", "IN CALLS OF", "BY", "PUTS/S", "PUTS/CPU-S", "FLUSH", "MEMORY", "HEAP", "WRITTEN", "CALLS", "AMPLIFIED", "REOPEN", "ANNOUNCE"},
	}
	for i := range fs {
		f, p := &fs[i], fs[i].rounds[0]
		t.Rows = append(t.Rows, []string{
			f.backend, strconv.Itoa(p.Records), strconv.Itoa(p.Batch), strconv.Itoa(p.Writers),
			perSec(f.median(func(p *Population) float64 { return p.PutsPerSec })),
			perSec(f.median(func(p *Population) float64 { return p.PutsPerCPU })),
			micros(1e6 * f.median(func(p *Population) float64 { return p.FlushSecs })),
			bytesText(f.median(func(p *Population) float64 { return p.MemoryBytes })),
			bytesText(f.median(func(p *Population) float64 { return p.HeapBytes })),
			bytesText(f.median(func(p *Population) float64 { return float64(p.Kernel.WriteBytes) })),
			number(f.median(func(p *Population) float64 { return float64(p.Kernel.Writes) })),
			times(f.median(func(p *Population) float64 { return p.Amplified })),
			micros(1e3 * f.median(func(p *Population) float64 { return p.ReopenMS })),
			micros(1e3 * f.median(func(p *Population) float64 { return p.AnnounceMS })),
		})
	}
	return t
}

func readTable(n int, fs []filledBy) Table {
	t := Table{
		Title: fmt.Sprintf("Reading of %d records, p50 and p99; match of %d blocks over %d workers", n, matchBlocks, popWorkers),
		Head:  []string{"BACKEND", "SCAN", "", "MISS", "", fmt.Sprintf("SCAN OF %d", min(fanMost, n/10)), "", "LOCATE", "", "BY HASH", "", "MATCH", "", "MATCHES/S", "ALL CORES"},
	}
	for i := range fs {
		f := &fs[i]
		row := []string{f.backend}
		for _, l := range []func(p *Population) Latency{
			func(p *Population) Latency { return p.Scan }, func(p *Population) Latency { return p.ScanMiss },
			func(p *Population) Latency { return p.ScanLong }, func(p *Population) Latency { return p.Locate },
			func(p *Population) Latency { return p.ByHash }, func(p *Population) Latency { return first(p.Match).Call },
		} {
			row = append(row, micros(f.median(func(p *Population) float64 { return l(p).P50US })), micros(f.median(func(p *Population) float64 { return l(p).P99US })))
		}
		row = append(row, perSec(f.median(func(p *Population) float64 { return first(p.Match).MatchesPerSec })),
			perSec(f.median(func(p *Population) float64 { return last(p.Match).MatchesPerSec })))
		t.Rows = append(t.Rows, row)
	}
	return t
}

func writeTable(n int, fs []filledBy) Table {
	t := Table{Title: fmt.Sprintf("Writing into %d records: puts/s by records in a call and writers; durable ones; mixed load", n), Head: []string{"BACKEND", "REMOVE P50", "P99"}}
	for i := range fs {
		f, p := &fs[i], fs[i].rounds[0]
		row := []string{f.backend, micros(f.median(func(p *Population) float64 { return p.Remove.P50US })), micros(f.median(func(p *Population) float64 { return p.Remove.P99US }))}
		for j, s := range p.PutsByBatch {
			t.head(i, fmt.Sprintf("%dx%d", s.Batch, s.Writers))
			row = append(row, perSec(f.median(func(p *Population) float64 { return at(p.PutsByBatch, j).PutsPerSec })))
		}
		for j := range durableShapes() {
			t.head(i, fmt.Sprintf("DURABLE %dx%d", durableShapes()[j].batch, durableShapes()[j].writers))
			row = append(row, perSec(f.median(func(p *Population) float64 { return at(p.Durable, j).PutsPerSec })))
		}
		for j, m := range p.Mixed {
			t.head(i, fmt.Sprintf("MIXED BY %d", m.Clients), "SCAN P99")
			row = append(row, perSec(f.median(func(p *Population) float64 { return at(p.Mixed, j).OpsPerSec })),
				micros(f.median(func(p *Population) float64 { return at(p.Mixed, j).Scan.P99US })))
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

// head adds columns, with the first row.
func (t *Table) head(row int, names ...string) {
	if row == 0 {
		t.Head = append(t.Head, names...)
	}
}

// at returns an element, or nothing where a round or a peer has none.
func at[T any](s []T, i int) (v T) {
	if i < len(s) {
		v = s[i]
	}
	return v
}

func first[T any](s []T) T { return at(s, 0) }

func last[T any](s []T) (v T) {
	if len(s) > 0 {
		v = s[len(s)-1]
	}
	return v
}
