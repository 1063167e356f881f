package main

import (
	"math"
	"slices"
	"strconv"
)

// row is one thing that was measured, or why it was not.
type row struct {
	Part    string    `json:"part"`
	What    string    `json:"what"`
	With    string    `json:"with,omitempty"` // under which conditions: "out, runs of 8 KiB"
	Unit    unit      `json:"unit,omitempty"`
	Bytes   int64     `json:"bytes,omitempty"`   // of one sample
	Samples []float64 `json:"samples,omitempty"` // one for each round
	// Ratios are to the limit in the same round: what a goal is about.
	Ratios []float64 `json:"ratios,omitempty"`
	Limit  string    `json:"limit,omitempty"`
	// Copies are the rates of copies beside a load, as shares of what they do
	// alone in the same round: a load that keeps its speed because the copies
	// crawl reaches nothing.
	Copies []float64 `json:"copies,omitempty"`
	Goal   goalID    `json:"goal,omitempty"`
	// Check says whether the bytes were looked at and were right: "ok", or what
	// was wrong with them. A row that is about bytes and has no check proves
	// nothing.
	Check string `json:"check,omitempty"`
	Text  string `json:"text,omitempty"` // a fact that is no number
	Note  string `json:"note,omitempty"`
	Error string `json:"error,omitempty"` // why there is no figure
	// Missing says that the Error is no failure: the machine lacks something, or
	// there was no time.
	Missing bool `json:"missing,omitempty"`
}

// checkOK is the Check of right bytes.
const checkOK = "ok"

// unit says how samples are written.
type unit string

// The units. Rates are decimal, as links are sold.
const (
	perSecond unit = "B/s"
	seconds   unit = "s"
	cores     unit = "cores"
	flops     unit = "flop/s"
	plain     unit = ""
)

// text writes one value.
func (u unit) text(v float64) string {
	switch u {
	case perSecond:
		return scaled(v, "B/s")
	case flops:
		return scaled(v, "flop/s")
	case seconds:
		switch {
		case v < 1e-3:
			return significant(v*1e6) + " us"
		case v < 1:
			return significant(v*1e3) + " ms"
		}
		return significant(v) + " s"
	case plain:
		return significant(v)
	}
	return significant(v) + " " + string(u)
}

// scaled writes a rate with a decimal prefix.
func scaled(v float64, per string) string {
	for _, p := range []struct {
		factor float64
		name   string
	}{{1e12, "T"}, {1e9, "G"}, {1e6, "M"}} {
		if v >= p.factor {
			return significant(v/p.factor) + " " + p.name + per
		}
	}
	return significant(v) + " " + per
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

// quantile returns the value that a share q of v does not exceed; of an even
// number of values the median is the mean of the two in the middle.
func quantile(v []float64, q float64) float64 {
	if len(v) == 0 {
		return math.NaN()
	}
	s := slices.Sorted(slices.Values(v))
	if q == 0.5 {
		return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
	}
	return s[min(len(s)-1, int(math.Ceil(q*float64(len(s))))-1)]
}

func median(v []float64) float64 { return quantile(v, 0.5) }

// rates turns seconds into bytes (or anything else) per second.
func rates(amount float64, took []float64) []float64 {
	out := make([]float64, len(took))
	for i, s := range took {
		out[i] = amount / s
	}
	return out
}

// ratios divides sample by sample.
func ratios(a, b []float64) []float64 {
	out := make([]float64, 0, len(a))
	for i := range min(len(a), len(b)) {
		out = append(out, a[i]/b[i])
	}
	return out
}

// bytesText writes a size.
func bytesText(n int64) string {
	for _, u := range []struct {
		size int64
		name string
	}{{1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}} {
		switch {
		case n >= u.size && n%u.size == 0:
			return strconv.FormatInt(n/u.size, 10) + " " + u.name
		case n >= u.size:
			return significant(float64(n)/float64(u.size)) + " " + u.name
		}
	}
	return strconv.FormatInt(n, 10) + " B"
}
