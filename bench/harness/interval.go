package harness

import (
	"fmt"
	"math"
	"slices"
)

// Confidence is what an interval is to have.
const Confidence = 0.95

// Interval is where the median of what was sampled lies, by order statistics:
// between the k-th least and the k-th greatest sample, whatever the
// distribution. It is the narrowest with Confidence; where samples are too few
// for that, fewer than six, it is from the least to the greatest and has less.
type Interval struct {
	Low, High float64
	// Level is the confidence that it has, 0 of fewer than two samples.
	Level float64
}

// IntervalOf returns the interval of some samples.
func IntervalOf(v []float64) Interval {
	s := slices.Sorted(slices.Values(v))
	n := len(s)
	if n == 0 {
		return Interval{}
	}
	best := Interval{s[0], s[n-1], coverage(n, 1)}
	for k := 2; k <= n/2 && coverage(n, k) >= Confidence; k++ {
		best = Interval{s[k-1], s[n-k], coverage(n, k)}
	}
	return best
}

// coverage is the probability that the median lies between the k-th least and
// the k-th greatest of n samples: that of k to n-k heads in n tosses.
func coverage(n, k int) float64 {
	outside := 0.0
	for i := range k {
		outside += math.Exp(choose(n, i) - float64(n)*math.Ln2)
	}
	return max(0, 1-2*outside)
}

// choose is the logarithm of the binomial coefficient.
func choose(n, k int) float64 {
	gamma := func(x int) float64 { g, _ := math.Lgamma(float64(x) + 1); return g }
	return gamma(n) - gamma(k) - gamma(n-k)
}

// Text writes an interval with a function for its ends, "" of one sample.
func (i Interval) Text(text func(float64) string) string {
	if i.Level == 0 {
		return ""
	}
	return fmt.Sprintf("%s to %s", text(i.Low), text(i.High))
}
