package main

import (
	"fmt"
	"slices"
	"strconv"
	"time"
)

// figure is one quantity of a run, with a sample of each round.
type figure struct {
	What    string    `json:"what"`
	Unit    unit      `json:"unit"`
	Samples []float64 `json:"samples"`
	// Ratios are what the goal is about where it is one: of each round's sample
	// to the limit's of the same round.
	Ratios []float64 `json:"ratios,omitempty"`
	Limit  string    `json:"limit,omitempty"` // what the ratios are to
	Goal   goal      `json:"goal"`
	Note   string    `json:"note,omitempty"`
}

// goal is a bound on the median of the ratios, or of the samples where there
// are none. The zero goal is none.
type goal struct {
	AtLeast float64 `json:"at_least,omitempty"`
	AtMost  float64 `json:"at_most,omitempty"`
}

// unit says how samples are written.
type unit string

// The units. Rates are decimal, as disks are sold.
const (
	perSecond   unit = "B/s"
	opsSecond   unit = "1/s"
	seconds     unit = "s"
	nanoseconds unit = "ns"
	bytesEach   unit = "bytes"
	times       unit = "x"
	cores       unit = "cores"
	plain       unit = ""
)

// text writes one value.
func (u unit) text(v float64) string {
	switch u {
	case perSecond:
		if v < 1e9 {
			return significant(v/1e6) + " MB/s"
		}
		return significant(v/1e9) + " GB/s"
	case bytesEach:
		if v >= miB {
			return significant(v/miB) + " MiB"
		}
		return significant(v) + " bytes"
	case seconds:
		if v < 1 {
			return significant(v*1e3) + " ms"
		}
		return significant(v) + " s"
	case opsSecond:
		return significant(v) + "/s"
	case times:
		return strconv.FormatFloat(v, 'f', 3, 64)
	case plain:
		return significant(v)
	}
	return significant(v) + " " + string(u)
}

// significant writes three digits, and no fewer than the whole part.
func significant(v float64) string {
	switch {
	case v >= 100 || v == 0:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case v >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	case v >= 0.01:
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
	return strconv.FormatFloat(v, 'g', 2, 64)
}

// median of an even number is the mean of the two in the middle.
func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(v))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

// spread writes least and most.
func spread(v []float64, text func(float64) string) string {
	if len(v) < 2 {
		return ""
	}
	return text(slices.Min(v)) + " to " + text(slices.Max(v))
}

// share writes a ratio: as a percentage up to 2, else as a factor.
func share(r float64) string {
	if r <= 2 {
		return strconv.FormatFloat(100*r, 'f', 1, 64) + " %"
	}
	return strconv.FormatFloat(r, 'f', 1, 64) + "x"
}

// judged returns what the goal is held against, and how that is written.
func (f *figure) judged() ([]float64, func(float64) string) {
	if len(f.Ratios) > 0 {
		return f.Ratios, share
	}
	return f.Samples, f.Unit.text
}

// verdict says whether the goal was reached.
func (f *figure) verdict() (goalText, result string) {
	v, text := f.judged()
	if f.Goal == (goal{}) || len(v) == 0 {
		return "", ""
	}
	m := median(v)
	ok := m >= f.Goal.AtLeast
	goalText = "≥ " + text(f.Goal.AtLeast)
	if f.Goal.AtMost > 0 {
		ok = m <= f.Goal.AtMost
		goalText = "≤ " + text(f.Goal.AtMost)
	}
	if ok {
		return goalText, "reached"
	}
	return goalText, "**missed**"
}

// ratios divides sample by sample.
func ratios(ours, limit []float64) []float64 {
	out := make([]float64, 0, len(ours))
	for i := range min(len(ours), len(limit)) {
		if limit[i] > 0 {
			out = append(out, ours[i]/limit[i])
		}
	}
	return out
}

// versus holds a figure against another, round by round. With nothing to hold
// it against it has no ratio and no goal.
func (f *figure) versus(limit *figure, g goal) *figure {
	if limit == nil {
		return f
	}
	if f.Ratios = ratios(f.Samples, limit.Samples); len(f.Ratios) > 0 {
		f.Limit, f.Goal = limit.What, g
	}
	return f
}

// add appends a sample.
func (f *figure) add(v float64) { f.Samples = append(f.Samples, v) }

// rate is bytes, or operations, per second since start.
func rate(n int64, start time.Time) float64 {
	return float64(n) / time.Since(start).Seconds()
}

// fastest returns the figure with the highest median, or nil.
func fastest(fs []*figure) *figure {
	var best *figure
	for _, f := range fs {
		if len(f.Samples) > 0 && (best == nil || median(f.Samples) > median(best.Samples)) {
			best = f
		}
	}
	return best
}

// sizeText writes the size of a blob.
func sizeText(bytes int) string {
	switch {
	case bytes >= miB && bytes%miB == 0:
		return fmt.Sprintf("%d MiB", bytes/miB)
	case bytes >= kiB && bytes%kiB == 0:
		return fmt.Sprintf("%d KiB", bytes/kiB)
	}
	return fmt.Sprintf("%d B", bytes)
}
