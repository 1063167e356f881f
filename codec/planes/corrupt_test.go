package planes

import (
	"bytes"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
)

// checkDecode decodes payload into n bytes with all kernels: they agree, fail
// in the documented ways only, and write nothing outside.
func checkDecode(t testing.TB, payload []byte, n int) {
	t.Helper()
	var first []byte
	var failed error
	for i, k := range implementations {
		dst, check := guarded(n)
		err := (&Decoder{k: k}).Decode(dst, bytes.Clone(payload))
		check(t)
		if err != nil && !errors.Is(err, kvferry.ErrCorrupt) && !errors.Is(err, kvferry.ErrUnsupported) {
			t.Fatalf("%s: untyped error %v", k.name, err)
		}
		if i == 0 {
			first, failed = dst, err
			continue
		}
		if (err == nil) != (failed == nil) || err == nil && !bytes.Equal(first, dst) {
			t.Fatalf("%s does not agree: %v, %v", k.name, failed, err)
		}
	}
}

// TestDamage flips bits and cuts everywhere.
func TestDamage(t *testing.T) {
	for _, s := range []Shape{{2, 5, 31}, {2, 16, 32}, {2, 16, 64}} {
		page := makePage(s, 3, 4)
		params, err := Tune(s, page)
		require.NoError(t, err)
		payload, err := new(Encoder).Append(nil, page, s, params)
		require.NoError(t, err)
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

// FuzzDecode feeds arbitrary payloads.
func FuzzDecode(f *testing.F) {
	for _, s := range []Shape{{1, 1, 1}, {2, 16, 32}, {1, 16, 80}} {
		page := makePage(s, 1, 4)
		params, err := Tune(s, page)
		require.NoError(f, err)
		payload, err := new(Encoder).Append(nil, page, s, params)
		require.NoError(f, err)
		f.Add(payload, uint32(len(page)))
	}
	f.Fuzz(func(t *testing.T, payload []byte, n uint32) {
		checkDecode(t, payload, int(n%(1<<20)))
	})
}

// FuzzRoundTrip codes arbitrary values with arbitrary windows.
func FuzzRoundTrip(f *testing.F) {
	s := Shape{2, 16, 32}
	f.Add(makePage(s, 1, 4), uint16(16), uint16(32), []byte{120, 2, 110, 130, 254, 250})
	f.Add(makePage(s, 0, 6), uint16(3), uint16(71), []byte{})
	f.Fuzz(func(t *testing.T, page []byte, rows, cols uint16, p []byte) {
		s := Shape{1, int(rows%64) + 1, int(cols%320) + 1}
		if s.Segments = len(page) / s.segmentBytes(); s.Segments == 0 {
			return
		}
		p = append(p, make([]byte, 6)...)
		params := []Params{{p[0], p[1], p[2], p[3], int8(p[4]), int8(p[5])}}
		if len(p) == 6 {
			var err error
			params, err = Tune(s, page)
			require.NoError(t, err)
		}
		var first []byte
		for _, k := range implementations {
			payload, err := (&Encoder{k: k}).Append(nil, page, s, params)
			require.NoError(t, err)
			require.LessOrEqual(t, len(payload), MaxBytes(s, len(page)))
			if first == nil {
				first = payload
			}
			require.True(t, bytes.Equal(first, payload), k.name)
			back, check := guarded(len(page))
			require.NoError(t, (&Decoder{k: k}).Decode(back, payload))
			check(t)
			require.True(t, bytes.Equal(page, back), k.name)
		}
	})
}
