package pages

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/kvferry/kvferry/bench/harness"
)

// Stats are what decides how far pages shrink, in bits per value unless said
// otherwise. Entropies are of order zero, corrected for the size of the sample
// (Miller-Madow), and means of the layers.
type Stats struct {
	Tokens   int     // slots that hold something
	Exponent float64 // of the exponents of a layer
	Channel  float64 // given the channel
	Previous float64 // given the exponent of the channel's token before
	Same     float64 // share of exponents that are those of the token before
	Sign     float64
	SignPrev float64 // sign, given the channel and the sign of the token before
	Mantissa float64 // the 7 stored bits
	Zero     float64 // share of zeros
}

// mostPages is how many pages of a set are looked at.
const mostPages = 48

// Stats looks at K and V. The slots behind the end of a text are left out, and
// of large sets some pages evenly spread are looked at.
func (s *Set) Stats() (k, v Stats) {
	step := (len(s.Pages)-1)/mostPages + 1
	var full []tokens
	for i := 0; i < len(s.Pages); i += step {
		full = append(full, tokens{s.Pages[i], s.filled(s.Pages[i])})
	}
	return s.part(full, 0), s.part(full, s.Layers)
}

// tokens is a page and how many of its slots are filled.
type tokens struct {
	page []byte
	n    int
}

// filled counts the slots up to the last that is not zero in all layers.
func (s *Set) filled(page []byte) int {
	stride := 2 * s.Channels()
	for n := s.Tokens; n > 0; n-- {
		for i := range s.Segments() {
			row := page[i*s.SegmentBytes()+(n-1)*stride:][:stride]
			for _, b := range row {
				if b != 0 {
					return n
				}
			}
		}
	}
	return 0
}

// part is the statistics of the layers from segment first on.
func (s *Set) part(pages []tokens, first int) Stats {
	var sum Stats
	for l := range s.Layers {
		c := newCounts()
		for ch := range s.Channels() {
			for _, p := range pages {
				c.column(p.page[(first+l)*s.SegmentBytes()+2*ch:], p.n, 2*s.Channels())
			}
			c.endChannel()
		}
		sum.add(c.stats())
	}
	sum.scale(1 / float64(s.Layers))
	for _, p := range pages {
		sum.Tokens += p.n
	}
	return sum
}

// counts are of one layer's K or V.
type counts struct {
	exponent, channel [256]int
	previous          [256][256]int
	mantissa          [128]int
	sign              [2]int
	signs             [2][2]int // of a channel, by the sign before
	zeros, same       int
	pairs, values     int
	byChannel         float64 // sums of entropy times values
	bySign            float64
}

func newCounts() *counts { return new(counts) }

// column counts the n values of a page's channel that begins at src.
func (c *counts) column(src []byte, n, stride int) {
	var before uint16
	for t := range n {
		v := binary.LittleEndian.Uint16(src[t*stride:])
		e := v >> 7 & 0xff
		c.exponent[e]++
		c.channel[e]++
		c.mantissa[v&0x7f]++
		c.sign[v>>15]++
		c.values++
		if v<<1 == 0 {
			c.zeros++
		}
		if t > 0 {
			was := before >> 7 & 0xff
			c.previous[was][e]++
			c.signs[before>>15][v>>15]++
			c.pairs++
			if was == e {
				c.same++
			}
		}
		before = v
	}
}

// endChannel closes the counts that are of one channel.
func (c *counts) endChannel() {
	c.byChannel += weighted(c.channel[:])
	for i := range c.signs {
		c.bySign += weighted(c.signs[i][:])
	}
	c.channel, c.signs = [256]int{}, [2][2]int{}
}

func (c *counts) stats() Stats {
	values, pairs := float64(max(1, c.values)), float64(max(1, c.pairs))
	after := 0.0
	for i := range c.previous {
		after += weighted(c.previous[i][:])
	}
	return Stats{
		Exponent: weighted(c.exponent[:]) / values,
		Channel:  c.byChannel / values,
		Previous: after / pairs,
		Same:     float64(c.same) / pairs,
		Sign:     weighted(c.sign[:]) / values,
		SignPrev: c.bySign / pairs,
		Mantissa: weighted(c.mantissa[:]) / values,
		Zero:     float64(c.zeros) / values,
	}
}

// weighted is the entropy of a histogram times its values.
func weighted(h []int) float64 {
	n, kinds, sum := 0, 0, 0.0
	for _, c := range h {
		if c > 0 {
			n += c
			kinds++
			sum += float64(c) * math.Log2(float64(c))
		}
	}
	if n == 0 {
		return 0
	}
	return float64(n)*math.Log2(float64(n)) - sum + float64(kinds-1)/(2*math.Ln2)
}

func (s *Stats) fields() []*float64 {
	return []*float64{&s.Exponent, &s.Channel, &s.Previous, &s.Same, &s.Sign, &s.SignPrev, &s.Mantissa, &s.Zero}
}

func (s *Stats) add(o Stats) {
	from := o.fields()
	for i, f := range s.fields() {
		*f += *from[i]
	}
}

func (s *Stats) scale(by float64) {
	for _, f := range s.fields() {
		*f *= by
	}
}

// Describe adds a table with the statistics of sets to a section, so that a
// reader sees how like real pages the synthetic ones are.
func Describe(to *harness.Section, sets ...*Set) {
	t := to.Table("Pages: bits per value, and shares",
		"pages", "part", "layers x tokens x heads x dim", "count", "exponent", "by channel", "after the token before", "same as before",
		"sign", "by channel and before", "mantissa", "zeros")
	for _, s := range sets {
		k, v := s.Stats()
		for i, st := range []Stats{k, v} {
			row := []string{s.Name, "KV"[i : i+1], fmt.Sprintf("%dx%dx%dx%d", s.Layers, s.Tokens, s.Heads, s.Dim), fmt.Sprint(len(s.Pages))}
			for _, f := range st.fields() {
				row = append(row, fmt.Sprintf("%.3f", *f))
			}
			t.Row(row...)
		}
	}
}
