package index

import (
	"fmt"
	"slices"
	"strconv"
)

// Table shows reports beside one another.
type Table struct {
	Title string
	Head  []string
	Rows  [][]string
}

// Tables shows medians over the rounds, a backend in each row.
func Tables(reports []Report) []Table {
	groups := group(reports)
	out := []Table{harnessTable(groups)}
	out = append(out, populationTables(groups)...)
	if t := killTable(groups); len(t.Rows) > 0 {
		out = append(out, t)
	}
	if t := eventTable(groups); len(t.Rows) > 0 {
		out = append(out, t)
	}
	return out
}

// group gathers the rounds of each backend, in the order of the first.
func group(reports []Report) [][]*Report {
	var out [][]*Report
	for i := range reports {
		r := &reports[i]
		at := slices.IndexFunc(out, func(g []*Report) bool { return g[0].Backend == r.Backend })
		if at < 0 {
			at, out = len(out), append(out, nil)
		}
		out[at] = append(out[at], r)
	}
	return out
}

// median of what f finds in each of the rounds.
func median[T any](rounds []T, f func(T) float64) float64 {
	if len(rounds) == 0 {
		return 0
	}
	v := make([]float64, len(rounds))
	for i, r := range rounds {
		v[i] = f(r)
	}
	slices.Sort(v)
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

func harnessTable(groups [][]*Report) Table {
	t := Table{
		Title: "The original's workload",
		Head:  []string{"BACKEND", "PUTS/S", "PUTS/CPU-S", "CHURN/S", "SCAN P50", "P99", "P99.9", "MISS P50", "P99", "REOPEN", "WRITTEN", "AMPLIFIED", "ON DISK"},
	}
	for _, g := range groups {
		m := func(f func(*Report) float64) float64 { return median(g, f) }
		row := []string{
			g[0].Backend, perSec(m(func(r *Report) float64 { return r.IngestPerSec })),
			perSec(m(func(r *Report) float64 { return r.IngestPerCPUSec })), perSec(m(func(r *Report) float64 { return r.ChurnPerSec })),
			micros(m(func(r *Report) float64 { return r.ScanP50US })), micros(m(func(r *Report) float64 { return r.ScanP99US })),
			micros(m(func(r *Report) float64 { return r.ScanP999US })), micros(m(func(r *Report) float64 { return r.Misses.P50US })),
			micros(m(func(r *Report) float64 { return r.Misses.P99US })), "-", "-", "-", "-",
		}
		row[9] = micros(1e3 * m(func(r *Report) float64 {
			if r.RecoveryMS == nil {
				return 0
			}
			return *r.RecoveryMS
		}))
		if g[0].Persistent {
			row[10] = bytesText(m(func(r *Report) float64 { return float64(r.PhysicalBytes) }))
			row[11] = times(m(func(r *Report) float64 { return r.WriteAmplification }))
			row[12] = bytesText(m(func(r *Report) float64 { return float64(r.DiskBytes) }))
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

func killTable(groups [][]*Report) Table {
	t := Table{Title: "Killed while it writes", Head: []string{"BACKEND", "ROUNDS", "FLUSHED", "LOST", "WRONG", "KEPT BESIDES", "RECORDS", "REOPEN"}}
	for _, g := range groups {
		if g[0].Kill == nil {
			continue
		}
		flushed, lost, wrong := 0, 0, 0
		for _, r := range g {
			for _, n := range r.Kill.Flushed {
				flushed += n
			}
			lost, wrong = lost+r.Kill.Lost, wrong+r.Kill.Wrong
		}
		t.Rows = append(t.Rows, []string{
			g[0].Backend, strconv.Itoa(len(g)), strconv.Itoa(flushed), strconv.Itoa(lost), strconv.Itoa(wrong),
			number(median(g, func(r *Report) float64 { return float64(r.Kill.Unflushed) })),
			number(median(g, func(r *Report) float64 { return float64(r.Kill.Records) })),
			micros(1e3 * median(g, func(r *Report) float64 { return r.Kill.ReopenMS })),
		})
	}
	return t
}

func eventTable(groups [][]*Report) Table {
	t := Table{Title: "Events from a socket", Head: []string{"BACKEND", "BLOCKS", "BLOCKS/S", "OF A CORE'S SECOND"}}
	for _, g := range groups {
		if g[0].Events == nil {
			continue
		}
		t.Rows = append(t.Rows, []string{
			g[0].Backend, strconv.Itoa(g[0].Events.Blocks),
			perSec(median(g, func(r *Report) float64 { return r.Events.BlocksPerSec })),
			perSec(median(g, func(r *Report) float64 { return r.Events.PerCPUSec })),
		})
	}
	return t
}

// The texts of quantities; nothing measured is a dash.

func micros(us float64) string {
	switch {
	case us == 0:
		return "-"
	case us < 1000:
		return fmt.Sprintf("%.3g µs", us)
	case us < 1e6:
		return fmt.Sprintf("%.3g ms", us/1e3)
	}
	return fmt.Sprintf("%.3g s", us/1e6)
}

func perSec(v float64) string {
	switch {
	case v == 0:
		return "-"
	case v >= 1e6:
		return fmt.Sprintf("%.2f M", v/1e6)
	case v >= 1e4:
		return fmt.Sprintf("%.0f k", v/1e3)
	}
	return fmt.Sprintf("%.0f", v)
}

func bytesText(v float64) string {
	switch {
	case v >= 1e6:
		return fmt.Sprintf("%.1f MB", v/1e6)
	case v >= 1e3:
		return fmt.Sprintf("%.1f kB", v/1e3)
	}
	return fmt.Sprintf("%.0f B", v)
}

func times(v float64) string {
	if v == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", v)
}

func number(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }
