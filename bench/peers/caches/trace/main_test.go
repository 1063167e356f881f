package main

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParse(t *testing.T) {
	raw := []byte{2, 0, 0, 0}
	raw = binary.LittleEndian.AppendUint64(raw, 7)
	raw = binary.LittleEndian.AppendUint64(raw, 1<<63)
	raw = append(raw, 0, 0, 0, 0)
	got, err := parse(raw)
	require.NoError(t, err)
	require.Equal(t, [][]uint64{{7, 1 << 63}, {}}, got)
	for n := range raw {
		if n != 0 && n != len(raw)-4 {
			_, err := parse(raw[:n])
			require.ErrorIs(t, err, errShort, "%d bytes", n)
		}
	}
}

func TestPlay(t *testing.T) {
	for _, c := range contenders {
		cache, err := c.make(100)
		require.NoError(t, err)
		p := play(cache, [][]uint64{{1, 2, 3}, {4, 5}})
		cache.close()
		require.Equal(t, [3]int{5, 0, 0}, [3]int{p.refs, p.hits, p.leading}, c.name)
	}
	cache, err := newLRU(100)
	require.NoError(t, err)
	p := play(cache, [][]uint64{{1, 2, 3}, {1, 4, 3}, {9, 1}})
	require.Equal(t, [3]int{8, 3, 1}, [3]int{p.refs, p.hits, p.leading})
}
