package copies

import (
	"cmp"
	"slices"

	"github.com/kvferry/kvferry/pager/gpu"
)

// margin is by how much a way has to be faster than a simpler one to be taken:
// what is less comes and goes between rounds.
const margin = 0.03

// best returns the way that a point speaks for.
func (p *Point) best() gpu.Path {
	b := gpu.Direct
	for _, w := range ways() {
		if *p.of(w) < *p.of(b)*(1-margin) {
			b = w
		}
	}
	return b
}

// rules makes the rules of a direction: those of many runs before those of few,
// and among them those of short runs before those of long ones. Beyond what was
// measured the nearest point holds.
func rules(points []Point, direction string) []gpu.Rule {
	byRuns := map[int64][]Point{}
	var numbers []int64
	for _, p := range points {
		if p.Direction != direction {
			continue
		}
		if byRuns[p.Runs] == nil {
			numbers = append(numbers, p.Runs)
		}
		byRuns[p.Runs] = append(byRuns[p.Runs], p)
	}
	slices.Sort(numbers)
	var all [][]gpu.Rule // by number of runs, ascending
	for i, n := range numbers {
		if i == 0 {
			n = 0 // there may be fewer
		}
		r := ofRuns(byRuns[numbers[i]], n)
		if i > 0 && sameChoice(all[len(all)-1], r) {
			continue
		}
		all = append(all, r)
	}
	slices.Reverse(all)
	return slices.Concat(all...)
}

// ofRuns makes the rules for jobs of at least runs runs, one for each stretch of
// lengths that agree. The last is for all that is longer.
func ofRuns(points []Point, runs int64) []gpu.Rule {
	slices.SortFunc(points, func(a, b Point) int { return cmp.Compare(a.RunBytes, b.RunBytes) })
	var rs []gpu.Rule
	for _, p := range points {
		if n := len(rs); n > 0 && rs[n-1].Path == p.Best {
			rs[n-1].RunBytes = p.RunBytes
			continue
		}
		rs = append(rs, gpu.Rule{RunBytes: p.RunBytes, Runs: runs, Path: p.Best})
	}
	if n := len(rs); n > 0 {
		rs[n-1].RunBytes = 0
	}
	return rs
}

// sameChoice reports whether rules differ in the number of runs alone.
func sameChoice(a, b []gpu.Rule) bool {
	return slices.EqualFunc(a, b, func(x, y gpu.Rule) bool { return x.RunBytes == y.RunBytes && x.Path == y.Path })
}
