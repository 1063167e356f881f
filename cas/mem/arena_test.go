package mem

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
)

// TestClasses walks all lengths that lie in slabs, in steps: a room holds its
// blob, wastes at most a sixteenth or less than a grain, and every length of a
// class has the same room.
func TestClasses(t *testing.T) {
	t.Parallel()
	sizes := map[int]int64{}
	last := 0
	for n := int64(1); n <= maxInSlab; n += 1 + n/200 {
		c, size := class(n)
		require.GreaterOrEqual(t, size, n)
		require.Zero(t, size%grain)
		require.LessOrEqual(t, size-n, max(n/16, grain-1), "%d bytes in %d", n, size)
		require.GreaterOrEqual(t, c, last)
		require.Less(t, c, classes)
		if known, ok := sizes[c]; ok {
			require.Equal(t, known, size, "class %d", c)
		}
		sizes[c] = size
		last = c
	}
	_, size := class(180224) // a part of TinyLlama: nothing is lost
	require.EqualValues(t, 180224, size)
}

func TestRoomIsUsedAgain(t *testing.T) {
	t.Parallel()
	var a arena
	defer a.release()
	for range 1000 { // 1.9 GB if nothing came back
		var rooms []room
		for n := range int64(20) {
			r, err := a.alloc(n * 10_000)
			require.NoError(t, err)
			require.Len(t, a.bytes(r), int(n*10_000))
			rooms = append(rooms, r)
		}
		for _, r := range rooms {
			a.free(r)
		}
	}
	require.Len(t, *a.slabs.Load(), 1)
}

// TestRoomsAreApart fills rooms of all lengths and looks whether any byte of
// one is another's.
func TestRoomsAreApart(t *testing.T) {
	t.Parallel()
	var a arena
	defer a.release()
	var rooms []room
	for n := int64(1); n < 70_000; n += 1 + n/20 {
		r, err := a.alloc(n)
		require.NoError(t, err)
		require.Equal(t, int(n), cap(a.bytes(r)), "a room cannot be grown into its neighbour")
		copy(a.bytes(r), bytes.Repeat([]byte{byte(len(rooms))}, int(n)))
		rooms = append(rooms, r)
	}
	for k, r := range rooms {
		require.True(t, bytes.Equal(bytes.Repeat([]byte{byte(k)}, int(r.bytes)), a.bytes(r)), "room %d", k)
	}
}

func TestLargeBlobsGoBackToTheSystem(t *testing.T) {
	t.Parallel()
	var a arena
	defer a.release()
	for range 10 {
		r, err := a.alloc(maxInSlab + 1)
		require.NoError(t, err)
		require.Len(t, a.bytes(r), maxInSlab+1)
		a.free(r)
		require.Nil(t, (*a.slabs.Load())[r.slab])
	}
	require.Len(t, *a.slabs.Load(), 1, "the slot is used again")
}

func TestReserve(t *testing.T) {
	t.Parallel()
	s, err := Open(Options{ReserveBytes: slabBytes + 1, ReserveBlobs: 1000})
	require.NoError(t, err)
	require.Len(t, s.arena.spare, 2)
	for range 2 * slabBytes / maxInSlab {
		_, err := s.arena.alloc(maxInSlab)
		require.NoError(t, err)
	}
	require.Empty(t, s.arena.spare)
	require.Len(t, *s.arena.slabs.Load(), 2, "nothing beyond the reserve was mapped")
	require.NoError(t, s.Close())
	require.Nil(t, s.arena.slabs.Load(), "memory goes back on Close")
}

func TestOptions(t *testing.T) {
	t.Parallel()
	for _, o := range []Options{{QuotaBytes: -1}, {ReserveBytes: -1}, {ReserveBlobs: -1}} {
		_, err := Open(o)
		require.ErrorIs(t, err, kvferry.ErrInvalid)
	}
	_, err := Open(Options{ReserveBytes: 1 << 60})
	require.ErrorIs(t, err, kvferry.ErrOutOfMemory)
}
