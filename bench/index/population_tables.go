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
				if i < len(r.Populations) { // a peer may fail in one round
					f.rounds = append(f.rounds, &r.Populations[i])
				}
			}
			if bySize[n] == nil {
				sizes = append(sizes, n)
			}
			bySize[n] = append(bySize[n], f)
		}
	}
	var out []Table
	for _, n := range sizes {
		for _, table := range []func(int, []filledBy) Table{fillTable, readTable, matchTable, writeTable, durableTable, mixedTable} {
			if t := table(n, bySize[n]); len(t.Rows) > 0 {
				out = append(out, t)
			}
		}
	}
	return out
}

func fillTable(n int, fs []filledBy) Table {
	t := Table{
		Title: fmt.Sprintf("Filling with %d records", n),
		Head:  []string{"BACKEND", "RECORDS", "IN CALLS OF", "BY", "PUTS/S", "PUTS/CPU-S", "FLUSH", "MEMORY", "HEAP", "WRITTEN", "CALLS", "AMPLIFIED", "ON DISK", "REOPEN", "ANNOUNCE"},
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
			bytesText(f.median(func(p *Population) float64 { return float64(p.DiskBytes) })),
			micros(1e3 * f.median(func(p *Population) float64 { return p.ReopenMS })),
			micros(1e3 * f.median(func(p *Population) float64 { return p.AnnounceMS })),
		})
	}
	return t
}

func readTable(n int, fs []filledBy) Table {
	t := Table{
		Title: fmt.Sprintf("Reading of %d records, p50 and p99", n),
		Head:  []string{"BACKEND", "SCAN", "", "MISS", "", fmt.Sprintf("SCAN OF %d", min(fanMost, n/10)), "", "LOCATE", "", "BY HASH", "", "ALL, ONCE"},
	}
	for i := range fs {
		f := &fs[i]
		row := []string{f.backend}
		for _, l := range []func(p *Population) Latency{
			func(p *Population) Latency { return p.Scan }, func(p *Population) Latency { return p.ScanMiss },
			func(p *Population) Latency { return p.ScanLong }, func(p *Population) Latency { return p.Locate },
			func(p *Population) Latency { return p.ByHash },
		} {
			row = f.latency(row, l)
		}
		t.Rows = append(t.Rows, append(row, micros(1e6*f.median(func(p *Population) float64 { return p.SnapshotSecs }))))
	}
	return t
}

// latency appends the medians of p50 and p99.
func (f *filledBy) latency(row []string, of func(*Population) Latency) []string {
	return append(row, micros(f.median(func(p *Population) float64 { return of(p).P50US })), micros(f.median(func(p *Population) float64 { return of(p).P99US })))
}

// matchTable has a row for each number of clients.
func matchTable(n int, fs []filledBy) Table {
	t := Table{
		Title: fmt.Sprintf("Matching a prompt beside %d records", n),
		Head:  []string{"BACKEND", "BLOCKS", "WORKERS", "CLIENTS", "P50", "P99", "MATCHES/S"},
	}
	for i := range fs {
		f := &fs[i]
		for j, m := range f.rounds[0].Match {
			row := f.latency([]string{f.backend, strconv.Itoa(m.Blocks), strconv.Itoa(m.Workers), strconv.Itoa(m.Clients)},
				func(p *Population) Latency { return at(p.Match, j).Call })
			t.Rows = append(t.Rows, append(row, perSec(f.median(func(p *Population) float64 { return at(p.Match, j).MatchesPerSec }))))
		}
	}
	return t
}

func writeTable(n int, fs []filledBy) Table {
	t := Table{
		Title: fmt.Sprintf("Writing into %d records; puts/s by records in a call and writers", n),
		Head:  []string{"BACKEND", "REMOVE P50", "P99", "CLEAR WORKER P50", "P99"},
	}
	for i := range fs {
		f := &fs[i]
		row := f.latency([]string{f.backend}, func(p *Population) Latency { return p.Remove })
		row = f.latency(row, func(p *Population) Latency { return p.ClearWorker })
		t.puts(f, row, func(p *Population) []Puts { return p.PutsByBatch })
	}
	return t.filled()
}

// durableTable has the rates, and how long a Flush takes behind one record.
func durableTable(n int, fs []filledBy) Table {
	t := Table{
		Title: fmt.Sprintf("Durable puts/s into %d records, by records in a call and writers, each call with a Flush behind it", n),
		Head:  []string{"BACKEND", "FLUSH P50"},
	}
	for i := range fs {
		f := &fs[i]
		if len(f.rounds[0].Durable) > 0 {
			flush := micros(f.median(func(p *Population) float64 { return first(p.Durable).FlushUS }))
			t.puts(f, []string{f.backend, flush}, func(p *Population) []Puts { return p.Durable })
		}
	}
	return t.filled()
}

// puts adds a row, which goes on with rates, and the columns that it has more than
// those before.
func (t *Table) puts(f *filledBy, row []string, of func(*Population) []Puts) {
	for j, s := range of(f.rounds[0]) {
		if len(row) == len(t.Head) {
			t.Head = append(t.Head, fmt.Sprintf("%dx%d", s.Batch, s.Writers))
		}
		row = append(row, perSec(f.median(func(p *Population) float64 { return at(of(p), j).PutsPerSec })))
	}
	t.Rows = append(t.Rows, row)
}

// filled returns the table with all rows as long as the head.
func (t *Table) filled() Table {
	for i := range t.Rows {
		for len(t.Rows[i]) < len(t.Head) {
			t.Rows[i] = append(t.Rows[i], "-")
		}
	}
	return *t
}

// mixedTable has a row for each number of clients.
func mixedTable(n int, fs []filledBy) Table {
	t := Table{
		Title: fmt.Sprintf("Mixed load on %d records (80%% scan, 10%% put, 5%% remove, 5%% match %d blocks), p50 and p99", n, promptBlocks),
		Head:  []string{"BACKEND", "CLIENTS", "CALLS/S", "SCAN", "", "PUT", "", "REMOVE", "", "MATCH", ""},
	}
	for i := range fs {
		f := &fs[i]
		for j, m := range f.rounds[0].Mixed {
			row := []string{f.backend, strconv.Itoa(m.Clients), perSec(f.median(func(p *Population) float64 { return at(p.Mixed, j).OpsPerSec }))}
			for _, of := range []func(m Mixed) Latency{
				func(m Mixed) Latency { return m.Scan }, func(m Mixed) Latency { return m.Put },
				func(m Mixed) Latency { return m.Remove }, func(m Mixed) Latency { return m.Match },
			} {
				row = f.latency(row, func(p *Population) Latency { return of(at(p.Mixed, j)) })
			}
			t.Rows = append(t.Rows, row)
		}
	}
	return t
}

// at returns an element, or nothing where a round or a peer has none.
func at[T any](s []T, i int) (v T) {
	if i < len(s) {
		v = s[i]
	}
	return v
}

func first[T any](s []T) T { return at(s, 0) }
