package planes

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// stream is more pages than caches hold, in memory one behind the other.
type stream struct {
	shape           Shape
	params          []Params
	pages, other    []byte
	payloads        []byte
	room, turn, now int // of a payload, pages of a turn, the next page
	lengths         []int
}

func newStream(b *testing.B, set realPages) *stream {
	const total, turn = 256 << 20, 4 << 20
	size := set.shape.Bytes()
	n := total / turn * (turn / size)
	s := &stream{shape: set.shape, params: set.tuned(b), room: MaxBytes(set.shape, size), turn: turn / size, lengths: make([]int, n)}
	s.pages, s.other, s.payloads = make([]byte, n*size), make([]byte, n*size), make([]byte, n*s.room)
	var e Encoder
	for i := range n {
		copy(s.page(i), set.pages[1+i%(len(set.pages)-1)])
		payload, err := e.Append(s.payload(i)[:0], s.page(i), s.shape, s.params)
		require.NoError(b, err)
		s.lengths[i] = len(payload)
	}
	return s
}

func (s *stream) page(i int) []byte    { return s.pages[i*s.shape.Bytes():][:s.shape.Bytes()] }
func (s *stream) back(i int) []byte    { return s.other[i*s.shape.Bytes():][:s.shape.Bytes()] }
func (s *stream) payload(i int) []byte { return s.payloads[i*s.room:][:s.room] }

// next returns how long it takes to do the next pages.
func (s *stream) next(do func(i int)) time.Duration {
	begin := time.Now()
	for i := range s.turn {
		do(s.now + i)
	}
	d := time.Since(begin)
	s.now = (s.now + s.turn) % len(s.lengths)
	return d
}

// BenchmarkStream codes pages that lie in memory, not in cache, and copies plain
// bytes in turns of 4 MiB: how near coding comes to what memory gives. Medians
// of all turns; "of-copy" is the copy's time by the codec's.
func BenchmarkStream(b *testing.B) {
	for _, set := range readPages(b) {
		s := newStream(b, set)
		var e Encoder
		var d Decoder
		var failed error
		for _, what := range []struct {
			name string
			do   func(i int)
		}{
			{"encode", func(i int) { _, failed = e.Append(s.payload(i)[:0], s.page(i), s.shape, s.params) }},
			{"decode", func(i int) { failed = d.Decode(s.back(i), s.payload(i)[:s.lengths[i]]) }},
		} {
			b.Run(set.name+"/"+what.name, func(b *testing.B) {
				var coded, copied []time.Duration
				for b.Loop() {
					copied = append(copied, s.next(func(i int) { copy(s.back(i), s.page(i)) }))
					coded = append(coded, s.next(what.do))
					require.NoError(b, failed)
				}
				b.SetBytes(int64(s.turn * s.shape.Bytes()))
				slices.Sort(coded)
				slices.Sort(copied)
				a, c := coded[len(coded)/2], copied[len(copied)/2]
				b.ReportMetric(float64(s.turn*s.shape.Bytes())/float64(a), "codec-GB/s")
				b.ReportMetric(float64(s.turn*s.shape.Bytes())/float64(c), "copy-GB/s")
				b.ReportMetric(float64(c)/float64(a), "of-copy")
			})
		}
	}
}
