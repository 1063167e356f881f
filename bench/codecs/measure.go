package codecs

import (
	"bytes"
	"fmt"
	"time"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/bench/harness"
	"github.com/kvferry/kvferry/bench/pages"
)

// subject is one method on one set, and what was found.
type subject struct {
	method
	set   *pages.Set
	coder coder
	blobs [][]byte // K and V of the pages by turns
	ratio *harness.Figure
	cache rates  // one blob again and again
	dram  *rates // blobs that no cache holds; nil if that is not measured
	buf   []byte
	back  []byte
}

// rates are figures of plain bytes per second.
type rates struct{ encode, decode *harness.Figure }

// newSubject codes every blob once and holds it to itself, bit for bit. What
// does not come back is ErrCorrupt, and is not measured.
func newSubject(m method, s *pages.Set) (*subject, error) {
	c, err := m.make(s)
	if err != nil {
		return nil, err
	}
	half := s.PageBytes() / 2
	x := (&subject{method: m, set: s, coder: c, buf: make([]byte, 0, slot(half)), back: make([]byte, half)}).unmeasured()
	plain, stored := 0, 0
	for i, p := range s.Pages {
		for part, b := range [][]byte{p[:half], p[half:]} {
			out, err := c.encode(x.buf[:0], b, part)
			if err != nil {
				return nil, err
			}
			clear(x.back)
			if err := c.decode(x.back, out, part); err != nil {
				return nil, err
			}
			if !bytes.Equal(x.back, b) {
				return nil, fmt.Errorf("codecs: %s changes part %d of page %d of %s: %w", m.name, part, i, s.Name, kvferry.ErrCorrupt)
			}
			x.blobs = append(x.blobs, b)
			plain, stored = plain+len(b), stored+len(out)
		}
	}
	x.ratio.Add(float64(plain) / float64(stored))
	return x, nil
}

// unmeasured makes the figures, without samples.
func (x *subject) unmeasured() *subject {
	x.ratio, x.cache = x.figure("ratio", "", harness.Times), x.rates("cache")
	if beyondCaches[x.name] {
		r := x.rates("dram")
		x.dram = &r
	}
	return x
}

// slot is room for a blob of n bytes, however it is coded.
func slot(n int) int { return (n + n/4 + 4096) &^ 63 }

func (x *subject) rates(where string) rates {
	return rates{x.figure("encode", where, harness.BytesPerSecond), x.figure("decode", where, harness.BytesPerSecond)}
}

// figure makes one without a place in a section.
func (x *subject) figure(op, where string, u harness.Unit) *harness.Figure {
	n := "op=" + op + "/codec=" + x.name + "/data=" + x.set.Name
	if where != "" {
		n += "/memory=" + where
	}
	return &harness.Figure{Name: n, Unit: u, Role: x.role, Note: x.note}
}

const (
	tries  = 5       // of each blob, the fastest of which counts
	stint  = 1 << 18 // plain bytes between two looks at the clock
	beyond = 1 << 26 // plain bytes that no cache holds, with what they are coded to
	turn   = 1 << 21 // plain bytes of a turn beyond the caches
)

// inCache measures every blob by itself: a rate is all bytes by the sum of the
// fastest times of the blobs.
func (x *subject) inCache(scale harness.Scale) error {
	tries, stint := tries, stint
	if scale == harness.Smoke {
		tries, stint = 1, 1
	}
	var encode, decode time.Duration
	bytes := 0
	for i, b := range x.blobs {
		out, err := x.coder.encode(x.buf[:0], b, i%2)
		if err != nil {
			return err
		}
		times := stint/len(b) + 1
		t, err := fastest(tries, times, func() (err error) { out, err = x.coder.encode(x.buf[:0], b, i%2); return err })
		if err != nil {
			return err
		}
		encode += t
		if t, err = fastest(tries, times, func() error { return x.coder.decode(x.back, out, i%2) }); err != nil {
			return err
		}
		decode += t
		bytes += times * len(b)
	}
	x.cache.encode.Add(float64(bytes) / encode.Seconds())
	x.cache.decode.Add(float64(bytes) / decode.Seconds())
	return nil
}

// fastest is the shortest time in which f runs so many times, of some tries.
func fastest(tries, times int, f func() error) (time.Duration, error) {
	var best time.Duration
	for try := range tries {
		start := time.Now()
		for range times {
			if err := f(); err != nil {
				return 0, err
			}
		}
		if t := time.Since(start); try == 0 || t < best {
			best = t
		}
	}
	return best, nil
}

// arena is memory beyond the caches: blobs of one set again and again, room for
// what each of some subjects codes them to, and for what that is decoded to.
type arena struct {
	half, count int // bytes and number of blobs
	turn        int // blobs of a turn
	plain, back []byte
	of          []room
}

// room is a subject's: its slots, what is in them, and how long that took.
type room struct {
	*subject
	slots          []byte
	coded          [][]byte
	encode, decode []float64 // rates of its turns
}

func newArena(s *pages.Set, total int, subjects []*subject) *arena {
	half := s.PageBytes() / 2
	a := &arena{half: half, count: 2 * ((total/half + 1) / 2), turn: 2 * (turn/half/2 + 1)}
	a.plain, a.back = make([]byte, a.count*half), make([]byte, a.count*half)
	for i := range a.count {
		p := s.Pages[i/2%len(s.Pages)]
		copy(a.blob(a.plain, i), p[i%2*half:][:half])
	}
	touch(a.back)
	for _, x := range subjects {
		r := room{subject: x, slots: make([]byte, a.count*slot(half)), coded: make([][]byte, a.count)}
		touch(r.slots)
		a.of = append(a.of, r)
	}
	return a
}

// touch lets the kernel give all of b.
func touch(b []byte) {
	for i := 0; i < len(b); i += 512 {
		b[i] = 1
	}
}

func (a *arena) blob(of []byte, i int) []byte { return of[i*a.half:][:a.half:a.half] }

// measure lets the subjects walk through the arena, first to encode it, then to
// decode it: a few blobs at a time, in turns, so that all of them see the same
// machine, and far from each other, so that none finds what another has left in
// a cache. A rate is that of the median turn.
func (a *arena) measure() error {
	for _, step := range []func(r *room, from, to int) error{a.encode, a.decode} {
		turns := (a.count + a.turn - 1) / a.turn
		for t := range turns {
			for i := range a.of {
				i = (i + t) % len(a.of)
				at := (t + i*turns/len(a.of)) % turns * a.turn
				if err := step(&a.of[i], at, min(at+a.turn, a.count)); err != nil {
					return err
				}
			}
		}
	}
	for _, r := range a.of {
		r.dram.encode.Add(harness.Median(r.encode))
		r.dram.decode.Add(harness.Median(r.decode))
	}
	return nil
}

// encode codes blobs to their slots.
func (a *arena) encode(r *room, from, to int) (err error) {
	n := slot(a.half)
	start := time.Now()
	for i := from; i < to; i++ {
		if r.coded[i], err = r.coder.encode(r.slots[i*n:][:0:n], a.blob(a.plain, i), i%2); err != nil {
			return err
		}
	}
	r.encode = append(r.encode, harness.Rate(int64((to-from)*a.half), start))
	return nil
}

// decode decodes blobs and holds them to what they were, which is not timed.
func (a *arena) decode(r *room, from, to int) error {
	start := time.Now()
	for i := from; i < to; i++ {
		if err := r.coder.decode(a.blob(a.back, i), r.coded[i], i%2); err != nil {
			return err
		}
	}
	r.decode = append(r.decode, harness.Rate(int64((to-from)*a.half), start))
	plain, back := a.plain[from*a.half:to*a.half], a.back[from*a.half:to*a.half]
	if !bytes.Equal(plain, back) {
		return fmt.Errorf("codecs: %s changes pages of %s: %w", r.name, r.set.Name, kvferry.ErrCorrupt)
	}
	clear(back)
	return nil
}
