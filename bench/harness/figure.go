package harness

import (
	"fmt"
	"slices"
	"strconv"
	"time"
)

// Figure is one quantity of a run, with a sample of each round.
type Figure struct {
	Name    string    `json:"name"`
	Unit    Unit      `json:"unit"`
	Samples []float64 `json:"samples"`
	// Role says whose it is; the zero Role is ours.
	Role Role `json:"role,omitempty"`
	// Ratios are what the goal is about where there are some: of each round's
	// sample to the sample of the same round of the figure To.
	Ratios []float64 `json:"ratios,omitempty"`
	To     string    `json:"to,omitempty"`
	// ToPeer are the ratios to the best peer, BestPeer.
	ToPeer   []float64 `json:"to_peer,omitempty"`
	BestPeer string    `json:"best_peer,omitempty"`
	Goal     Goal      `json:"goal,omitzero"`
	// Unjudged is why there is nothing to hold the goal against, "" if there is;
	// Relative says that the goal is about the ratios that there are not then.
	Unjudged string `json:"unjudged,omitempty"`
	Relative bool   `json:"relative,omitempty"`
	Note     string `json:"note,omitempty"`
}

// Role says whose a figure is.
type Role string

// The roles.
const (
	Ours  Role = ""
	Limit Role = "limit" // what the machine can do at all
	Peer  Role = "peer"  // another's program or library
)

// Goal is a bound on the median of the ratios, or of the samples where there
// are none. The zero Goal is none.
type Goal struct {
	AtLeast float64 `json:"at_least,omitempty"`
	AtMost  float64 `json:"at_most,omitempty"`
}

// Unit says how samples are written.
type Unit string

// The units. Rates are decimal, as disks are sold.
const (
	BytesPerSecond Unit = "B/s"
	PerSecond      Unit = "1/s"
	Seconds        Unit = "s"
	Nanoseconds    Unit = "ns"
	Bytes          Unit = "bytes"
	Times          Unit = "x"
	Cores          Unit = "cores"
	Plain          Unit = ""
)

// Text writes one value.
func (u Unit) Text(v float64) string {
	switch u {
	case BytesPerSecond:
		if v < 1e9 {
			return significant(v/1e6) + " MB/s"
		}
		return significant(v/1e9) + " GB/s"
	case Bytes:
		if v >= mib {
			return significant(v/mib) + " MiB"
		}
		return significant(v) + " bytes"
	case Seconds:
		if v < 1 {
			return significant(v*1e3) + " ms"
		}
		return significant(v) + " s"
	case PerSecond:
		return thousands(v, 1e4, []string{"", " k", " M", " G"}) + "/s"
	case Nanoseconds:
		return thousands(v, 1e4, []string{" ns", " µs", " ms", " s"})
	case Times:
		return strconv.FormatFloat(v, 'f', 3, 64)
	case Plain:
		return significant(v)
	}
	return significant(v) + " " + string(u)
}

// thousands divides by a thousand until little is left, and writes the unit of
// that. What is below least stays as it is.
func thousands(v, least float64, units []string) string {
	i := 0
	for ; i+1 < len(units) && (v >= least || i > 0 && v >= 1000); i++ {
		v /= 1000
	}
	return significant(v) + units[i]
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

// Median of an even number is the mean of the two in the middle.
func Median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(v))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

// share writes a ratio: as a percentage up to 2, else as a factor.
func share(r float64) string {
	if r <= 2 {
		return strconv.FormatFloat(100*r, 'f', 1, 64) + " %"
	}
	return strconv.FormatFloat(r, 'f', 1, 64) + "x"
}

// judged returns what the goal is held against, and how that is written.
func (f *Figure) judged() ([]float64, func(float64) string) {
	if len(f.Ratios) > 0 || f.Relative {
		return f.Ratios, share
	}
	return f.Samples, f.Unit.Text
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

// Versus holds a figure against another, round by round. With nothing to hold
// it against it has no ratio, and a goal is not judged.
func (f *Figure) Versus(limit *Figure, g Goal) *Figure {
	if limit == nil {
		return f.Open(g, "what it is held against was not measured")
	}
	if len(f.Samples) == 0 {
		return f.Open(g, "it was not measured")
	}
	if f.Ratios = ratios(f.Samples, limit.Samples); len(f.Ratios) == 0 {
		return f.Open(g, Label(limit.Name)+", which it is held against, was not measured")
	}
	f.To, f.Goal, f.Unjudged, f.Relative = limit.Name, g, "", false
	return f
}

// Open tells of a goal for the ratios why it is not judged. No goal needs none.
func (f *Figure) Open(g Goal, why string) *Figure {
	if g != (Goal{}) {
		f.Goal, f.Unjudged, f.Relative = g, why, true
	}
	return f
}

// Add appends a sample.
func (f *Figure) Add(v float64) { f.Samples = append(f.Samples, v) }

// Rate is bytes, or operations, per second since start.
func Rate(n int64, start time.Time) float64 {
	return float64(n) / time.Since(start).Seconds()
}

// Fastest returns the figure with the highest median, or nil.
func Fastest(fs []*Figure) *Figure {
	var best *Figure
	for _, f := range fs {
		if len(f.Samples) > 0 && (best == nil || Median(f.Samples) > Median(best.Samples)) {
			best = f
		}
	}
	return best
}

const (
	kib = 1 << 10
	mib = 1 << 20
)

// SizeText writes the size of a blob.
func SizeText(bytes int) string {
	switch {
	case bytes >= mib && bytes%mib == 0:
		return fmt.Sprintf("%d MiB", bytes/mib)
	case bytes >= kib && bytes%kib == 0:
		return fmt.Sprintf("%d KiB", bytes/kib)
	}
	return fmt.Sprintf("%d B", bytes)
}

// Beside holds a figure against the best of its peers, round by round: the
// fastest, or where samples are times, the one that takes the least. Peers
// without samples do not count; without any it stays as it is.
func (f *Figure) Beside(peers ...*Figure) *Figure {
	best := Fastest(peers)
	if f.Unit == Seconds || f.Unit == Nanoseconds {
		best = least(peers)
	}
	if best != nil {
		f.ToPeer, f.BestPeer = ratios(f.Samples, best.Samples), best.Name
	}
	return f
}

// least returns the figure with the lowest median, or nil.
func least(fs []*Figure) *Figure {
	var best *Figure
	for _, f := range fs {
		if len(f.Samples) > 0 && (best == nil || Median(f.Samples) < Median(best.Samples)) {
			best = f
		}
	}
	return best
}
