package memory

import (
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// roundTrip stores s as a node does and reads it back.
func roundTrip(t *testing.T, s string) text {
	var x text
	if !x.set(s) {
		require.Greater(t, len(s), maxRaw)
		return x
	}
	require.LessOrEqual(t, x.n, textWords)
	require.Equal(t, x.n, metaWords(x.meta))
	require.Zero(t, x.meta&^metaMask)
	var c chunk
	at := cell{&c, chunkWords - textWords}
	for i, w := range x.w[:x.n] {
		at.set(uint32(i), w)
	}
	var a arena
	require.Equal(t, "before", a.text(beforeText(at)))
	require.Equal(t, s, a.text(x.meta, at, 0))
	require.True(t, at.equal(0, &x))
	var y text
	y.load(at, x.meta, 0, &seeds{1, 3, 5})
	x.setHash(&seeds{1, 3, 5})
	require.Equal(t, x.hash, y.hash)
	return x
}

// beforeText is another string in the same arena.
func beforeText(at cell) (uint64, cell, uint32) {
	var x text
	x.set("before")
	c := new(chunk)
	c[at.at] = x.w[0]
	return x.meta, cell{c, at.at}, 0
}

// TestText: every string comes back, and no two are one.
func TestText(t *testing.T) {
	t.Parallel()
	seen := map[text]string{}
	list := lookAlikes()
	for n := range 300 {
		list = append(list, strings.Repeat("a", n), strings.Repeat("7", n), strings.Repeat("\x00", n), strings.Repeat("0", n)+"\x01")
	}
	for _, n := range []uint64{9, 10, 99, 1 << 63, 1<<64 - 1} {
		list = append(list, strconv.FormatUint(n, 10))
	}
	for c := range 256 { // every byte at every place of what looks like a hash
		for at := range 16 {
			b := []byte("0123456789abcdef")
			b[at] = byte(c)
			list = append(list, string(b))
		}
	}
	for _, s := range list {
		x := roundTrip(t, s)
		if x.n == 0 && s != "" {
			continue // long
		}
		clear(x.w[x.n:])
		if len(s) > maxRaw && x.meta>>kindShift != hexText {
			continue
		}
		before, ok := seen[x]
		require.True(t, !ok || before == s, "%q and %q", before, s)
		seen[x] = s
	}
}

// TestPacked: what engines call blocks takes few words.
func TestPacked(t *testing.T) {
	t.Parallel()
	for s, words := range map[string]int{
		strings.Repeat("0f", 32): 4, strings.Repeat("0f", 8): 1, strings.Repeat("0f", 64): 8, "18446744073709551615": 1, "-1": 1, "": 0,
		strings.Repeat("0F", 32): 8,
	} {
		require.Equal(t, words, roundTrip(t, s).n, s)
	}
}

// TestDecimal: numbers as strconv writes them are numbers, and nothing else is,
// however long and wherever it differs.
func TestDecimal(t *testing.T) {
	t.Parallel()
	check := func(s string) {
		v, err := strconv.ParseUint(s, 10, 64)
		var x text
		x.set(s)
		number := err == nil && strconv.FormatUint(v, 10) == s && !(len(s) == 16)
		require.Equal(t, number, x.meta>>kindShift == decText, s)
		if number {
			require.Equal(t, v, x.w[0], s)
			roundTrip(t, s)
		}
	}
	for n := 1; n <= 21; n++ {
		for _, digit := range []string{"0", "1", "4", "9"} {
			s := strings.Repeat(digit, n)
			check(s)
			for at := range n {
				for _, c := range []byte("0189/:aA+- \x00\x7f\x80\xb9\xff") {
					b := []byte(s)
					b[at] = c
					check(string(b))
				}
			}
		}
	}
	for v := ^uint64(0); v > 0; v -= v/5 + 1 {
		check(strconv.FormatUint(v, 10))
	}
	for _, s := range []string{"18446744073709551615", "18446744073709551616", "18446744079999999999", "20000000000000000000", "99999999999999999999"} {
		check(s)
	}
}

func FuzzText(f *testing.F) {
	for _, s := range lookAlikes() {
		f.Add(s, s+"0")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		x, y := roundTrip(t, a), roundTrip(t, b)
		if a != b && (len(a) <= maxRaw || x.meta>>kindShift == hexText) && (len(b) <= maxRaw || y.meta>>kindShift == hexText) {
			require.False(t, x.meta == y.meta && x.n == y.n && x.w == y.w && x.n > 0, "%q and %q", a, b)
		}
	})
}
