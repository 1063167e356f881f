package planes

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
)

var elements = []Elements{BFloat16, Float16, E4M3, E5M2}

// smallPage is makePage for elements: of those with one byte the upper ones of
// values, so that they are like values too.
func smallPage(s Shape, el Elements, extra, content int) []byte {
	page := makePage(s, 0, content)
	if el.Bytes() == 1 {
		for i := range len(page) / 2 {
			page[i] = page[2*i+1]
		}
		page = page[:len(page)/2]
	}
	return append(page, make([]byte, extra)...)
}

// checkSmall codes a page and holds it to itself, with all kernels.
func checkSmall(t testing.TB, e *Encoder, d *Decoder, page []byte, s Shape, el Elements) []byte {
	t.Helper()
	payload, err := e.AppendSmall([]byte("before"), page, s, el)
	require.NoError(t, err)
	payload = payload[6:]
	require.LessOrEqual(t, len(payload), headBytes+4*s.Segments+len(page))
	if el == BFloat16 {
		require.LessOrEqual(t, len(payload), MaxBytes(s, len(page)))
	}
	for _, k := range append(implementations, nil) {
		again, err := (&Encoder{k: k}).AppendSmall(nil, page, s, el) // of which nothing was used before
		require.NoError(t, err)
		require.True(t, bytes.Equal(payload, again), "other bytes for %v of %d", s, el)
		if d.k = k; k == nil {
			d = new(Decoder)
		}
		back, check := guarded(len(page))
		require.NoError(t, d.Decode(back, payload))
		require.True(t, bytes.Equal(page, back), "%v of %d", s, el)
		check(t)
	}
	return payload
}

func TestSmallComesBack(t *testing.T) {
	var e Encoder // used for everything, so that nothing of before matters
	var d Decoder
	for _, el := range elements {
		for _, s := range append(shapes, Shape{5, 16, 1024}, Shape{1, 70, 1000}) {
			for c := range contents {
				if s.Rows*s.Cols > 1<<14 && (c+int(el))%4 != 0 {
					continue // large ones take turns
				}
				checkSmall(t, &e, &d, smallPage(s, el, c%3*5, c), s, el)
			}
		}
	}
}

// TestSmallOfManySegments: of so many in a bundle that their number times its
// length is beyond 32 bits.
func TestSmallOfManySegments(t *testing.T) {
	for _, s := range []Shape{{1 << 16, 1, 1}, {40000, 1, 2}} {
		checkSmall(t, new(Encoder), new(Decoder), smallPage(s, BFloat16, 1, 3), s, BFloat16)
	}
}

func TestSmallOfAnyBytes(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	var e Encoder
	var d Decoder
	for range 200 {
		s := Shape{1 + r.IntN(5), 1 + r.IntN(40), 1 + r.IntN(200)}
		el := elements[r.IntN(len(elements))]
		page := make([]byte, s.Bytes()*el.Bytes()/2+r.IntN(4))
		width, base := r.IntN(16), uint16(r.Uint32())
		for i := 0; i+1 < len(page); i += 2 {
			binary.LittleEndian.PutUint16(page[i:], base+uint16(r.Uint32())>>width)
		}
		checkSmall(t, &e, &d, page, s, el)
	}
}

// TestSmallRatio: the level is smaller than the fast one on all real pages
// together, and by what the entropy stage is for.
func TestSmallRatio(t *testing.T) {
	for _, set := range readPages(t) {
		params := set.tuned(t)
		s := Shape{set.shape.Segments / 2, set.shape.Rows, set.shape.Cols} // K or V
		var e Encoder
		var plain, small, fast int
		for _, page := range set.pages {
			for part := range 2 {
				half := page[part*s.Bytes():][:s.Bytes()]
				payload, err := e.AppendSmall(nil, half, s, BFloat16)
				require.NoError(t, err)
				quick, err := e.Append(nil, half, s, params[part*s.Segments:][:s.Segments])
				require.NoError(t, err)
				plain, small, fast = plain+len(half), small+len(payload), fast+len(quick)
			}
		}
		ratio := float64(plain) / float64(small)
		t.Logf("%s: small %.4f, fast %.4f", set.name, ratio, float64(plain)/float64(fast))
		require.Less(t, small, fast)
		require.Greater(t, ratio, map[string]float64{"s260k": 1.495, "kvlab": 1.51}[set.name])
	}
}

// TestSmallBytesAreFixed pins a payload, so that a change of the format or of
// the library is no accident.
func TestSmallBytesAreFixed(t *testing.T) {
	s := Shape{2, 16, 32}
	page := makePage(s, 1, 3)
	payload, err := new(Encoder).AppendSmall(nil, page, s, BFloat16)
	require.NoError(t, err)
	require.Equal(t, []byte{version, 1, 16, 0, 32, 0, 0, 0, 2, 0, 0, 0, levelSmall, 0, 0, 0}, payload[:headBytes])
	require.Equal(t, []byte{bundleCoded, 0x80, 0, 0}, payload[headBytes:][:bundleHead])
	body := payload[headBytes+bundleHead:]
	require.Equal(t, page[0]&0x7f, body[0]&0x7f, "the first mantissa is in the lowest bits")
	require.Equal(t, byte(64), body[896], "symbols of the first rows")
	require.Equal(t, "ac375201ba38af87", hex.EncodeToString(hash(payload)))
}

func hash(b []byte) []byte {
	h := sha256.Sum256(b)
	return h[:8]
}

func TestSmallZeros(t *testing.T) {
	s := Shape{12, 16, 256}
	page := make([]byte, s.Bytes())
	payload := checkSmall(t, new(Encoder), new(Decoder), page, s, BFloat16)
	require.Len(t, payload, headBytes+bundleHead+contexts+1)
}

func TestSmallAllocatesNothing(t *testing.T) {
	set := readPages(t)[1]
	var e Encoder
	var d Decoder
	payload := make([]byte, 0, 2*MaxBytes(set.shape, set.shape.Bytes()))
	page := make([]byte, set.shape.Bytes())
	run := func() {
		payload, _ = e.AppendSmall(payload[:0], set.pages[3], set.shape, BFloat16)
		_ = d.Decode(page, payload)
	}
	run()
	require.Less(t, testing.AllocsPerRun(40, run), 1.0) // huff0 pools a buffer, which the collector may take
	require.True(t, bytes.Equal(page, set.pages[3]))
}

func TestSmallInvalid(t *testing.T) {
	var e Encoder
	for _, s := range []Shape{{}, {1, 1, 0}, {1, 70000, 1}, {2, 1, 64}} {
		_, err := e.AppendSmall(nil, make([]byte, 255), s, BFloat16)
		require.ErrorIs(t, err, kvferry.ErrInvalid, s.String())
	}
	for _, el := range []Elements{0, 5, 255} {
		_, err := e.AppendSmall(nil, make([]byte, 256), Shape{1, 1, 1}, el)
		require.ErrorIs(t, err, kvferry.ErrInvalid)
	}
}

// TestPack holds packing to the definition for all widths and lengths.
func TestPack(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for width := 1; width <= 8; width++ {
		for _, n := range append(lengths(40), 63, 64, 65, 127, 128, 129, 200) {
			src := make([]byte, n, n+8)
			var bits []byte // one a byte
			for i := range src {
				src[i] = byte(r.Uint32()) & byte(1<<width-1)
				for b := range width {
					bits = append(bits, src[i]>>b&1)
				}
			}
			want := make([]byte, (len(bits)+7)/8)
			for i, b := range bits {
				want[i/8] |= b << (i % 8)
			}
			for _, k := range implementations {
				got, check := guarded(packedBytes(n, width) + 8)
				k.pack(got, src, width)
				require.Equal(t, want, got[:packedBytes(n, width)], "%s: %d of %d bits", k.name, n, width)
				check(t)
				back := make([]byte, n, n+8)
				k.unpack(back, slices.Clip(want), width)
				require.Equal(t, src, back, "%s: %d of %d bits", k.name, n, width)
			}
		}
	}
}

// lengths are 0 to n-1.
func lengths(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}

// TestSmallDamage flips bits and cuts everywhere.
func TestSmallDamage(t *testing.T) {
	for _, s := range []Shape{{2, 16, 9}, {1, 4, 8}} {
		for _, el := range elements {
			page := smallPage(s, el, 3, 3)
			payload, err := new(Encoder).AppendSmall(nil, page, s, el)
			require.NoError(t, err)
			require.Equal(t, s.Segments == 2, payload[headBytes] == bundleCoded)
			for i := range payload {
				checkDecode(t, payload[:i], len(page))
				for bit := range 8 {
					bad := bytes.Clone(payload)
					bad[i] ^= 1 << bit
					checkDecode(t, bad, len(page))
				}
			}
			for _, n := range []int{0, len(page) - 4, len(page) - 1, len(page) + 1} {
				require.ErrorIs(t, new(Decoder).Decode(make([]byte, n), payload), kvferry.ErrCorrupt)
			}
			require.ErrorIs(t, new(Decoder).Decode(make([]byte, len(page)), append(payload, 0)), kvferry.ErrCorrupt)
		}
	}
}

// FuzzSmall codes arbitrary bytes and decodes arbitrary payloads.
func FuzzSmall(f *testing.F) {
	for c, el := range elements {
		s := Shape{2, 16, 32}
		page := smallPage(s, el, 1, 3+c)
		f.Add(page, uint16(s.Rows), uint16(s.Cols), byte(el))
		payload, err := new(Encoder).AppendSmall(nil, page, s, el)
		require.NoError(f, err)
		f.Add(payload, uint16(len(page)), uint16(0), byte(0))
	}
	f.Fuzz(func(t *testing.T, data []byte, rows, cols uint16, kind byte) {
		if kind == 0 {
			checkDecode(t, data, int(rows))
			return
		}
		s, el := Shape{1, int(rows%64) + 1, int(cols%320) + 1}, elements[int(kind)%len(elements)]
		if s.Segments = len(data) / (s.Rows * s.Cols * el.Bytes()); s.Segments == 0 {
			return
		}
		checkSmall(t, new(Encoder), new(Decoder), data, s, el)
	})
}

// TestSmallErrorsAreTyped: what no encoder writes is said to be so.
func TestSmallErrorsAreTyped(t *testing.T) {
	s := Shape{1, 16, 32}
	page := makePage(s, 0, 3)
	payload, err := new(Encoder).AppendSmall(nil, page, s, BFloat16)
	require.NoError(t, err)
	for at, value := range map[int]byte{1: 9, levelAt: 2, 13: 1} {
		bad := bytes.Clone(payload)
		bad[at] = value
		require.ErrorIs(t, new(Decoder).Decode(make([]byte, len(page)), bad), kvferry.ErrUnsupported)
	}
	for at, value := range map[int]byte{headBytes: 2, headBytes + 2: 17, 4: 255} {
		bad := bytes.Clone(payload)
		bad[at] = value
		require.ErrorIs(t, new(Decoder).Decode(make([]byte, len(page)), bad), kvferry.ErrCorrupt)
	}
}

func BenchmarkSmall(b *testing.B) {
	for _, set := range readPages(b) {
		s := Shape{set.shape.Segments / 2, set.shape.Rows, set.shape.Cols}
		page := set.pages[6][:s.Bytes()]
		var e Encoder
		payload, err := e.AppendSmall(nil, page, s, BFloat16)
		require.NoError(b, err)
		b.Run(set.name+"/encode", func(b *testing.B) {
			b.SetBytes(int64(len(page)))
			b.ReportAllocs()
			for b.Loop() {
				payload, _ = e.AppendSmall(payload[:0], page, s, BFloat16)
			}
		})
		b.Run(set.name+"/decode", func(b *testing.B) {
			var d Decoder
			back := make([]byte, len(page))
			b.SetBytes(int64(len(page)))
			b.ReportAllocs()
			for b.Loop() {
				if err := d.Decode(back, payload); err != nil {
					b.Fatal(err)
				}
			}
			require.True(b, bytes.Equal(page, back))
		})
	}
}

// TestSmallRows holds every kernel to the portable one on rows of any length
// and content, with bytes around what it may write.
func TestSmallRows(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for cols := 1; cols <= 200; cols++ {
		base, width := r.Uint32(), r.IntN(17)
		words := make([]byte, 2*cols)
		var want *smallBuffers
		for _, k := range append([]*kernels{&portable}, implementations...) {
			b := new(smallBuffers)
			b.prepare(2*cols, cols)
			b.begin(cols, 130)
			var check func(testing.TB)
			b.mantissas, check = guarded(2 * cols)
			for i := range contexts {
				b.next[i] = i * b.room
			}
			in := rand.New(rand.NewPCG(uint64(cols), 9))
			for range 2 {
				for i := range cols {
					binary.LittleEndian.PutUint16(words[2*i:], uint16(base+in.Uint32()>>(16+width)))
				}
				b.r.words, b.r.mantissas = words, b.mantissas[int(b.r.keep)/255*cols:][:cols]
				k.apart(&b.r, &b.next)
				b.r.keep = 0xff
			}
			check(t)
			if want == nil {
				want = b
			}
			require.Equal(t, want.next, b.next, k.name)
			require.Equal(t, want.mantissas, b.mantissas, k.name)
			require.Equal(t, want.r.known, b.r.known, k.name)
			require.Equal(t, want.r.last, b.r.last, k.name)
			for i := range contexts {
				n := want.next[i] - i*want.room
				require.Equal(t, want.symbols[i*want.room:][:n], b.symbols[i*b.room:][:n], k.name)
			}
			require.Equal(t, want.escapes[:want.next[contexts]], b.escapes[:b.next[contexts]], k.name)
			checkTogether(t, k, b, words, cols)
		}
	}
}

// checkTogether puts the second of two rows together again from what b has of
// both, whatever comes first.
func checkTogether(t *testing.T, k *kernels, b *smallBuffers, words []byte, cols int) {
	ends := b.next
	b.begin(cols, 130)
	for i := range contexts {
		b.next[i] = i * b.room
	}
	b.next[contexts] = 0
	back, check := guarded(2 * cols)
	for i := range 2 {
		b.r.words, b.r.mantissas = back, b.mantissas[i*cols:][:cols]
		k.together(&b.r, &b.next)
		b.r.keep = 0xff
	}
	check(t)
	require.Equal(t, words, back, k.name)
	require.Equal(t, ends, b.next, k.name)
}
