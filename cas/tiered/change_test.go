package tiered

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/digest"
)

func someChanges() []*change {
	root := digest.New(digest.SHA256, [digest.Size]byte{1, 2, 3})
	return []*change{
		{kind: changeCommit, root: root},
		{kind: changeCommit, root: root, bytes: 1 << 40, names: []string{"a", "b.c", "z-9"}},
		{kind: changeName, root: root, names: []string{"x"}},
		{kind: changeRemove, names: []string{"x"}},
		{kind: changeRemove, root: root, names: []string{"x"}},
		{kind: changeDrop, root: root},
	}
}

func TestChangeRoundTrips(t *testing.T) {
	t.Parallel()
	for _, c := range someChanges() {
		require.NoError(t, c.check())
		got, err := decodeChange(c.encode())
		require.NoError(t, err)
		require.Equal(t, c, got)
	}
}

// TestChangeDrawn: the bytes are those that the package comment draws.
func TestChangeDrawn(t *testing.T) {
	t.Parallel()
	c := &change{kind: changeCommit, root: digest.New(digest.BLAKE3, [digest.Size]byte{0xab}), bytes: 4096, names: []string{"one", "two"}}
	text := "kvferry queue 1\nchange commit\nroot blake3:ab" + strings.Repeat("0", 62) + "\nbytes 4096\nname one\nname two\n"
	require.Equal(t, text+"sum "+sumOf([]byte(text)).Hex()+"\n", string(c.encode()))
}

func TestChangeEveryBit(t *testing.T) {
	t.Parallel()
	for _, c := range someChanges() {
		good := c.encode()
		for i := range 8 * len(good) {
			bad := bytes.Clone(good)
			bad[i/8] ^= 1 << (i % 8)
			_, err := decodeChange(bad)
			require.ErrorIs(t, err, kvferry.ErrCorrupt, "bit %d", i)
		}
		for n := range good {
			_, err := decodeChange(good[:n])
			require.ErrorIs(t, err, kvferry.ErrCorrupt)
		}
	}
}

// sealed is a text with the sum that it should have.
func sealed(text string) []byte {
	return append([]byte(text), "sum "+sumOf([]byte(text)).Hex()+"\n"...)
}

func TestChangeRejects(t *testing.T) {
	t.Parallel()
	root := "root blake3:" + strings.Repeat("0", 64) + "\n"
	for name, text := range map[string]string{
		"nothing":         "kvferry queue 1\n",
		"unknown kind":    "kvferry queue 1\nchange what\n" + root,
		"unknown key":     "kvferry queue 1\nchange drop\n" + root + "who me\n",
		"no root":         "kvferry queue 1\nchange drop\n",
		"twice":           "kvferry queue 1\nchange drop\n" + root + root,
		"order":           "kvferry queue 1\n" + root + "change drop\n",
		"no bytes":        "kvferry queue 1\nchange commit\n" + root,
		"negative bytes":  "kvferry queue 1\nchange commit\n" + root + "bytes -1\n",
		"padded bytes":    "kvferry queue 1\nchange commit\n" + root + "bytes 01\n",
		"names unsorted":  "kvferry queue 1\nchange commit\n" + root + "bytes 1\nname b\nname a\n",
		"bad name":        "kvferry queue 1\nchange name\n" + root + "name ../x\n",
		"two names":       "kvferry queue 1\nchange name\n" + root + "name a\nname b\n",
		"no name":         "kvferry queue 1\nchange remove\n",
		"name of drop":    "kvferry queue 1\nchange drop\n" + root + "name a\n",
		"another program": "something else\nchange drop\n" + root,
	} {
		_, err := decodeChange(sealed(text))
		require.ErrorIs(t, err, kvferry.ErrCorrupt, name)
	}
	_, err := decodeChange(sealed("kvferry queue 2\nchange drop\n" + root))
	require.ErrorIs(t, err, kvferry.ErrUnsupported)
	_, err = decodeChange(make([]byte, maxChangeBytes+1))
	require.ErrorIs(t, err, kvferry.ErrCorrupt)
}

// FuzzDecodeChange: what is accepted is what would be written, and nothing
// panics.
func FuzzDecodeChange(f *testing.F) {
	for _, c := range someChanges() {
		f.Add(c.encode())
	}
	f.Add(sealed("kvferry queue 1\nchange drop\n"))
	f.Add([]byte("\nsum "))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, p := range [][]byte{b, sealed(string(b))} { // the sum is in the way of most inputs
			c, err := decodeChange(p)
			if err != nil {
				continue
			}
			require.NoError(t, c.check())
			require.Equal(t, p, c.encode())
		}
	})
}
