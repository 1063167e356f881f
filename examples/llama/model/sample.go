package model

import (
	"cmp"
	"math"
	"slices"
)

// Sampling says how the next token is chosen.
type Sampling struct {
	// Temperature divides the logits; 0 chooses the best token always.
	Temperature float64
	// TopP keeps the most probable tokens that together reach it; 0 and 1
	// keep all.
	TopP float64
}

// Greedy returns the token with the highest logit, the first of equals.
func Greedy(logits []float32) int32 {
	best := 0
	for i, v := range logits {
		if v > logits[best] {
			best = i
		}
	}
	return int32(best)
}

// candidate is a token with its weight.
type candidate struct {
	token int32
	p     float64
}

// Sample chooses a token. It draws one number from r unless the choice is
// greedy, in which case r is left alone.
func (s Sampling) Sample(logits []float32, r *Random) int32 {
	if s.Temperature <= 0 {
		return Greedy(logits)
	}
	top := float64(logits[Greedy(logits)])
	cs := make([]candidate, len(logits))
	sum := 0.0
	for i, v := range logits {
		cs[i] = candidate{int32(i), math.Exp((float64(v) - top) / s.Temperature)}
		sum += cs[i].p
	}
	if s.TopP > 0 && s.TopP < 1 {
		cs, sum = nucleus(cs, s.TopP*sum)
	}
	left := r.Float64() * sum
	for _, c := range cs {
		if left -= c.p; left < 0 {
			return c.token
		}
	}
	return cs[len(cs)-1].token
}

// nucleus returns the heaviest candidates that together reach mass, and their
// sum. Equal weights stand in order of token, so that the choice is the same
// everywhere.
func nucleus(cs []candidate, mass float64) ([]candidate, float64) {
	slices.SortFunc(cs, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(b.p, a.p), cmp.Compare(a.token, b.token))
	})
	sum := 0.0
	for i, c := range cs {
		if sum += c.p; sum >= mass {
			return cs[:i+1], sum
		}
	}
	return cs, sum
}
