package main

import (
	"fmt"
	"io"
	"math"
	"strings"
)

// goalID names a line that the performance goals ask about.
type goalID string

// goal is one of the lines.
type goal struct {
	id   goalID
	line string // what is asked
	// The bound on the median of the ratios, or of the samples where there are
	// none; a line without a bound asks for a figure.
	atLeast, atMost float64
	unit            unit // of the bound, for samples
	// percent says that ratios are written as shares of the limit.
	percent bool
	// copies is the least share of their own rate that copies have to keep, where
	// the line is about something beside them.
	copies float64
	// elsewhere says why no run of this program can answer.
	elsewhere string
}

// The lines.
const (
	goalOut         goalID = "out"
	goalIn          goalID = "in"
	goalDuplex      goalID = "duplex"
	goalCorunOne    goalID = "corun-one"
	goalCorunBoth   goalID = "corun-both"
	goalCacheOut    goalID = "cache-out"
	goalCacheIn     goalID = "cache-in"
	goalVerified    goalID = "verified"
	goalVerifiedGPU goalID = "verified-gpu"
	goalLoad        goalID = "load"
	goalShortest    goalID = "shortest"
	goalPinning     goalID = "pinning"
	goalDigest      goalID = "digest"
	goalTile        goalID = "tile"
	goalIncremental goalID = "incremental"
	goalPause       goalID = "pause"
	goalTorch       goalID = "torch"
	goalCoded       goalID = "coded"
)

// goals lists the lines in the order of the performance goals.
func goals() []goal {
	return []goal{
		{id: goalOut, line: "scattered pages with runs from 2 KiB up, device to host, of the link", atLeast: 0.97, percent: true},
		{id: goalIn, line: "the same, host to device", atLeast: 0.97, percent: true},
		{id: goalDuplex, line: "both directions at once, of the link's own duplex rate", atLeast: 0.95, percent: true},
		{id: goalCorunOne, line: "a matrix product (8192 cubed, bf16) beside one direction at full rate keeps", atLeast: 0.95, percent: true, copies: 0.97},
		{id: goalCorunBoth, line: "the same beside both directions at full rate keeps", atLeast: 0.91, percent: true, copies: 0.95},
		{id: goalCacheOut, line: "38,619 TinyLlama pages out, time to that of one contiguous copy of as many bytes", atMost: 1.03},
		{id: goalCacheIn, line: "the same pages back, likewise", atMost: 1.03},
		{id: goalVerified, line: "device to verified host memory, hashed on at most 16 cores, of the link", atLeast: 0.97, percent: true},
		{id: goalVerifiedGPU, line: "the same with digests of the device, cores of the host in use", atMost: 4, unit: cores},
		{id: goalLoad, line: "time to load 1k, 8k and 32k tokens of Llama-3-8B's shape (p50, p99)"},
		{id: goalShortest, line: "shortest prefix for which loading beats computing it again", elsewhere: "needs an engine that computes the prefix"},
		{id: goalPinning, line: "time to pin 64 GiB"},
		{id: goalDigest, line: "BLAKE3 on the device, bytes of pages per second, digests equal to the host's", atLeast: 1.2e12, unit: perSecond},
		{id: goalTile, line: "direct reads beside tiles and beside additions as products, small sets, clocks under load"},
		{id: goalIncremental, line: "incremental capture of a cache of which 95 % is unchanged, against the time that the link takes for all of it", atLeast: 10},
		{id: goalPause, line: "pause of an incremental capture, against digest and changed pages at their limits"},
		{id: goalTorch, line: "PyTorch's tensors gathered, hashed and restored bit for bit"},
		{id: goalCoded, line: "pages coded as planes: encode and decode within the device, out and back beside pages as they are"},
	}
}

// answer is what the rows say of a line.
func (g goal) answer(rows []*row, software bool) (value, verdict string) {
	if g.elsewhere != "" {
		return "", "pending: " + g.elsewhere
	}
	var mine []*row
	for _, r := range rows {
		if r.Goal == g.id {
			mine = append(mine, r)
		}
	}
	switch {
	case len(mine) == 0:
		return "", "pending"
	case problem(mine) != "":
		return "", problem(mine)
	case software:
		return "", "pending: ran to its end on the software driver"
	}
	var texts []string
	if slow := g.crawling(mine); slow != "" {
		return "", slow
	}
	worst := math.NaN()
	for _, r := range mine {
		v, text := g.judged(r)
		if len(v) == 0 {
			continue
		}
		texts = append(texts, text(median(v))+" ("+r.label()+")")
		if m := median(v); math.IsNaN(worst) || (g.atMost > 0 && m > worst) || (g.atMost == 0 && m < worst) {
			worst = m
		}
	}
	if len(texts) == 0 { // no figure was asked for, but right bytes
		return fmt.Sprintf("%d of %d right", len(mine), len(mine)), "reached"
	}
	return strings.Join(texts, "; "), g.verdict(worst)
}

// problem is what keeps rows from being an answer: one that failed, or whose
// bytes were wrong.
func problem(rows []*row) string {
	for _, r := range rows {
		switch {
		case r.Check != "" && r.Check != checkOK:
			return "**wrong bytes**: " + r.label() + ": " + r.Check
		case r.Error != "":
			return "pending: " + r.label() + ": " + r.Error
		}
	}
	return ""
}

// crawling says which row's copies were slower than the line wants them to be.
func (g goal) crawling(rows []*row) string {
	for _, r := range rows {
		switch {
		case g.copies == 0:
		case len(r.Copies) == 0:
			return "pending: " + r.label() + ": the rate of the copies is not known"
		case median(r.Copies) < g.copies:
			return fmt.Sprintf("**missed**: %s: copies at %s of what they do alone, want %s", r.label(), percent(median(r.Copies)), percent(g.copies))
		}
	}
	return ""
}

// judged returns what a bound is held against, and how that is written.
func (g goal) judged(r *row) ([]float64, func(float64) string) {
	switch {
	case len(r.Ratios) > 0 && g.percent:
		return r.Ratios, percent
	case len(r.Ratios) > 0:
		return r.Ratios, factor
	}
	return r.Samples, r.Unit.text
}

// verdict says whether the worst row is within the bound.
func (g goal) verdict(worst float64) string {
	switch {
	case g.atLeast == 0 && g.atMost == 0:
		return "measured"
	case g.atMost > 0 && worst <= g.atMost, g.atLeast > 0 && worst >= g.atLeast:
		return "reached"
	}
	return "**missed**"
}

// bound writes what is asked for.
func (g goal) bound() string {
	write := factor
	switch {
	case g.percent:
		write = percent
	case g.unit != plain:
		write = g.unit.text
	}
	switch {
	case g.atLeast > 0:
		return "≥ " + write(g.atLeast)
	case g.atMost > 0:
		return "≤ " + write(g.atMost)
	}
	return ""
}

func percent(r float64) string { return fmt.Sprintf("%.1f %%", 100*r) }

func factor(r float64) string { return fmt.Sprintf("%.2fx", r) }

// writePending prints the goals as they stand before a GPU was there.
func writePending(w io.Writer) error {
	_, err := io.WriteString(w, goalTable(nil, false))
	return err
}

// goalTable answers line by line.
func goalTable(rows []*row, software bool) string {
	var b strings.Builder
	b.WriteString("| what | goal | measured | |\n| --- | --- | --- | --- |\n")
	for _, g := range goals() {
		value, verdict := g.answer(rows, software)
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", cell(g.line), g.bound(), cell(value), cell(verdict))
	}
	return b.String()
}
