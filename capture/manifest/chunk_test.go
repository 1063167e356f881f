package manifest

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/pager"
)

func FuzzTableChunk(f *testing.F) {
	f.Add(appendTableChunk(nil, NewTable(digest.BLAKE3, 3, 2), 1, 2), uint8(1), uint8(2), uint16(2))
	f.Add(appendTableChunk(nil, NewTable(digest.SHA256, 1, 1), 0, 0), uint8(3), uint8(1), uint16(0))
	f.Fuzz(func(t *testing.T, b []byte, alg, parts uint8, count uint16) {
		a := digest.Algorithm(alg)
		if !a.Valid() {
			return
		}
		body, err := tableChunkBody(b, a, int(parts), int(count))
		if err != nil {
			require.True(t, errors.Is(err, kvferry.ErrCorrupt) || errors.Is(err, kvferry.ErrUnsupported))
			return
		}
		tab := NewTable(a, int(count), int(parts))
		copy(tab.sums, body)
		require.Equal(t, b, appendTableChunk(nil, tab, 0, int(count)))
	})
}

func FuzzIndexChunk(f *testing.F) {
	f.Add(appendIndexChunk(nil, []pager.PageID{7, 1 << 31}), uint16(2))
	f.Add(appendIndexChunk(nil, nil), uint16(0))
	f.Fuzz(func(t *testing.T, b []byte, count uint16) {
		ids, err := appendIndices(nil, b, int(count))
		if err != nil {
			require.True(t, errors.Is(err, kvferry.ErrCorrupt) || errors.Is(err, kvferry.ErrUnsupported))
			return
		}
		require.Len(t, ids, int(count))
		require.Equal(t, b, appendIndexChunk(nil, ids))
	})
}
