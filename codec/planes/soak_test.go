package planes

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

// soakValues is how many coded values the soak is of: 10^9 with KVFERRY_SOAK=1, as
// many as KVFERRY_SOAK says if that is more than 1.
func soakValues(t *testing.T) int {
	soak := os.Getenv("KVFERRY_SOAK")
	if soak == "" || soak == "0" {
		return 1_500_000
	}
	n, err := strconv.Atoi(soak)
	require.NoError(t, err, "KVFERRY_SOAK is a number")
	if n == 1 {
		return 1_000_000_000
	}
	return n
}

// soaker makes pages.
type soaker struct {
	*rand.PCG
	real []realPages
	page []byte
	base [512]uint16 // of each channel
}

func (s *soaker) below(n int) int { return int(s.Uint64() % uint64(n)) }

// shape picks one: mostly such as models have.
func (s *soaker) shape() Shape {
	if s.below(2) == 0 {
		return Shape{1 + s.below(4), 16, []int{8, 16, 32, 64, 80, 96, 128, 256, 512}[s.below(9)]}
	}
	return Shape{1 + s.below(2), 1 + s.below(70), 1 + s.below(300)}
}

// next makes a page and says of which shape it is.
func (s *soaker) next() Shape {
	kind := s.below(8)
	if kind == 0 {
		set := s.real[s.below(len(s.real))]
		s.page = append(s.page[:0], set.pages[s.below(len(set.pages))]...)
		for range s.below(3) * s.below(100) {
			s.page[s.below(len(s.page))] ^= 1 << s.below(8)
		}
		return set.shape
	}
	sh := s.shape()
	for i := range s.base {
		s.base[i] = uint16(100+s.below(40)) << 7
	}
	offset, shift := uint16(s.Uint64()), s.below(16)
	s.page = s.page[:0]
	for range sh.Segments {
		from := len(s.page)
		for i := range sh.Rows * sh.Cols {
			s.page = binary.LittleEndian.AppendUint16(s.page, s.value(kind, s.Uint64(), i, i%sh.Cols, offset, shift))
		}
		if zero := s.below(4 * sh.Rows); zero < sh.Rows {
			clear(s.page[from+2*zero*sh.Cols:])
		}
	}
	return sh
}

// value makes one from random bits r.
func (s *soaker) value(kind int, r uint64, i, channel int, offset uint16, shift int) uint16 {
	noise := uint16(r) & 0x807f
	switch kind {
	case 1: // exponents fall off below the channel's greatest
		return s.base[channel] - uint16(bits.TrailingZeros64(r>>16|1<<40))<<7&0x7f80 | noise
	case 2: // some channels have outliers, some values are zero
		v := 0x3f80 - uint16(bits.TrailingZeros64(r>>24|1<<38))<<7&0x7f80 | noise
		if channel%17 == 5 {
			v += 20 << 7 & 0x7f80
		}
		return v * uint16(min(r>>16&0xff, 1))
	case 3: // exponents spread evenly over a range
		return (offset+uint16(r>>16)>>shift)&^0x7f | noise
	case 4: // any bits
		return uint16(r >> 16)
	case 5: // every value there is, in an order of its own
		return uint16(i)*(offset|1) + uint16(r)&3
	case 6: // zeros, subnormals, infinities, NaN among others
		return [8]uint16{0, 0x8000, 1, 0x807f, 0x7f80, 0xff80, 0x7fc1, 0x3f80 ^ uint16(r>>32)&0x81ff}[r>>16&7]
	default:
		return offset
	}
}

// params picks those of a page.
func (s *soaker) params(t *testing.T, tuner *Tuner, sh Shape) []Params {
	switch s.below(8) {
	case 0:
		r := s.Uint64()
		return []Params{{uint8(r), uint8(r >> 8), uint8(r >> 16), uint8(r >> 24), int8(r >> 32), int8(r >> 40)}}
	case 1:
		return []Params{{First: uint8(100 + s.below(30)), Down: uint8(s.below(8)), Low: uint8(100 + s.below(30)), Top: uint8(100 + s.below(30)), Second: -4, Third: -9}}
	}
	params, err := tuner.Tune(nil, sh, s.page)
	require.NoError(t, err)
	return params
}

// TestSoak holds all kernels to the reference over many values of all kinds.
func TestSoak(t *testing.T) {
	s := soaker{PCG: rand.NewPCG(8, 8), real: readPages(t)}
	var tuner Tuner
	plain := Encoder{k: &reference}
	encoders, decoders := make([]Encoder, len(implementations)), make([]Decoder, len(implementations)+1)
	for i, k := range implementations {
		encoders[i].k, decoders[i].k = k, k
	}
	decoders[len(implementations)].k = &reference
	var want, got []byte
	var err error
	values, raw, total := 0, 0, soakValues(t)
	for values-raw < total {
		sh := s.next()
		params := s.params(t, &tuner, sh)
		want, err = plain.Append(want[:0], s.page, sh, params)
		require.NoError(t, err)
		for i := range encoders {
			got, err = encoders[i].Append(got[:0], s.page, sh, params)
			require.NoError(t, err)
			if !bytes.Equal(want, got) {
				t.Fatalf("%s codes %v otherwise with %v after %d values", encoders[i].k.name, sh, params, values)
			}
		}
		for i := range decoders {
			back, check := guarded(len(s.page))
			require.NoError(t, decoders[i].Decode(back, want))
			if !bytes.Equal(s.page, back) {
				t.Fatalf("%s decodes %v otherwise with %v after %d values", decoders[i].k.name, sh, params, values)
			}
			check(t)
		}
		for i := range sh.Segments {
			if binary.LittleEndian.Uint32(want[headBytes+entryBytes*i:])>>kindShift == kindRaw {
				raw += sh.Rows * sh.Cols
			}
		}
		values += sh.Bytes() / 2
	}
	t.Logf("%q and the reference agree on %d coded values and %d that were left as they are", Kernels(), values-raw, raw)
	require.Less(t, raw, values/2)
}
