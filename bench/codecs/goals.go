package codecs

import (
	"maps"
	"slices"

	"github.com/kvferry/kvferry/bench/harness"
	"github.com/kvferry/kvferry/bench/pages"
	"github.com/kvferry/kvferry/codec/planes"
)

// What the level fast is to reach. Ratios of all pages of a set, by its name;
// rates in cache are for AVX-512.
var ratioGoals = map[string]float64{"kvlab": 1.47, "s260k": 1.42}

const (
	encodeGoal   = 12e9
	decodeGoal   = 20e9
	entropyGoal  = 0.985 // of the ratio of exponents by huff0
	memoryGoal   = 0.7   // of a copy's rate, in memory
	zipRatioGoal = 0.99  // of ZipNN's ratio
	zipSpeedGoal = 10    // of ZipNN's rates
)

// kernelShare is how much of the rates in cache a kernel is to reach: with AVX2
// half, and without either there is no goal.
func kernelShare(kernel string) float64 {
	switch kernel {
	case "avx512":
		return 1
	case "avx2":
		return 0.5
	}
	return 0
}

// named finds a subject.
func named(all []*subject, name string) *subject {
	for _, x := range all {
		if x.name == name {
			return x
		}
	}
	panic("codecs: no method " + name)
}

// judge holds a set's figures to the goals and adds them to the section.
func (p *peers) judge(s *harness.Section, set *pages.Set, all []*subject) {
	quick, little := named(all, fast), named(all, small)
	quick.ratio.Goal.AtLeast = ratioGoals[set.Name]
	if set.Name != "s260k" { // whose blobs are so short that their heads count
		quick.cache.encode.Goal.AtLeast = encodeGoal
		quick.cache.decode.Goal.AtLeast = decodeGoal
		for _, f := range []*harness.Figure{quick.cache.encode, quick.cache.decode} {
			if share := kernelShare(planes.Active()); share > 0 {
				f.Goal.AtLeast *= share
			} else {
				f.Unjudged = "the goal is for AVX-512, half of it for AVX2, and this processor has neither"
			}
		}
	}
	limit := named(all, memcpy)
	for _, x := range all {
		s.Figures = append(s.Figures, x.ratio, x.cache.encode, x.cache.decode)
		if x.dram == nil {
			continue
		}
		if x != limit {
			var g harness.Goal
			if x == quick {
				g.AtLeast = memoryGoal
			}
			x.dram.encode.Versus(limit.dram.encode, g)
			x.dram.decode.Versus(limit.dram.decode, g)
		}
		s.Figures = append(s.Figures, x.dram.encode, x.dram.decode)
	}
	against(s, quick.ratio, huff, named(all, huff).ratio, entropyGoal)
	const peer = "zipnn"
	zip := p.rates(set, peer)
	against(s, quick.ratio, peer, zip.ratio, zipRatioGoal)
	against(s, quick.cache.encode, peer, zip.encode, zipSpeedGoal)
	against(s, quick.cache.decode, peer, zip.decode, zipSpeedGoal)
	against(s, little.ratio, peer, zip.ratio, 1)
	against(s, little.cache.encode, peer, zip.encode, 1)
	against(s, little.cache.decode, peer, zip.decode, 1)
}

// open lists the goals for the sets that have ratios to reach and are not among
// those that were measured: the same as judge would hold them to.
func (p *peers) open(s *harness.Section, measured []*pages.Set) {
	for _, name := range slices.Sorted(maps.Keys(ratioGoals)) {
		if slices.ContainsFunc(measured, func(set *pages.Set) bool { return set.Name == name }) {
			continue
		}
		set := &pages.Set{Name: name}
		var all []*subject
		for _, m := range methods() {
			x := &subject{method: m, set: set}
			all = append(all, x.unmeasured())
		}
		var listed harness.Section
		p.judge(&listed, set, all)
		for _, f := range listed.Figures {
			if f.Goal != (harness.Goal{}) {
				f.Unjudged = "there are no pages of " + name + " here"
				s.Figures = append(s.Figures, f)
			}
		}
	}
}

// against adds a figure once more, held against that of another codec. If that
// was not measured the goal is not judged.
func against(s *harness.Section, f *harness.Figure, codec string, to *harness.Figure, atLeast float64) {
	again := *f
	again.Name += "/to=" + codec
	again.Goal, again.Ratios, again.Unjudged = harness.Goal{}, nil, ""
	if to == nil || len(to.Samples) == 0 {
		s.Figures = append(s.Figures, again.Open(harness.Goal{AtLeast: atLeast}, codec+" was not measured"))
		return
	}
	if len(f.Samples) == 1 { // a ratio, which no round changes
		to = &harness.Figure{Name: to.Name, Samples: to.Samples[:1]}
	}
	s.Figures = append(s.Figures, again.Versus(to, harness.Goal{AtLeast: atLeast}))
}
