package table

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPlace(t *testing.T) {
	t.Parallel()
	for _, slot := range []uint32{0, 1, 0x155555, MaxSlots - 1} {
		for _, off := range []int64{0, 64, 4096, MaxOffset - 64} {
			for _, size := range []int64{64, 128, 4095 * 64, 4096 * 64, 4098 * 64, 200 << 20, MaxSize} {
				p := MakePlace(slot, off, size)
				require.Equal(t, slot, p.Slot())
				require.Equal(t, off, p.Offset())
				require.Equal(t, size, p.Size())
				require.True(t, p.possible())
				require.Zero(t, p&(flagMask|algorithmMask))
				q := p | Place(Marked)
				require.True(t, p.Is(q))
				require.True(t, q.Has(Marked))
				require.False(t, q.Has(Condemned))
				require.False(t, q.Has(Marked|Condemned))
				require.False(t, p.Is(MakePlace(slot^1, off, size)))
			}
		}
	}
}

func TestImpossiblePlace(t *testing.T) {
	t.Parallel()
	for _, p := range []Place{
		MakePlace(MaxSlots, 0, 64), MakePlace(0, MaxOffset, 64), MakePlace(0, -64, 64), MakePlace(0, 32, 64),
		MakePlace(0, 64, 0), MakePlace(0, 64, -64), MakePlace(0, 64, 65), MakePlace(0, 64, 4097*64), MakePlace(0, 64, MaxSize+64),
	} {
		require.Zero(t, p)
		require.False(t, p.possible())
	}
}

func TestRoundSize(t *testing.T) {
	t.Parallel()
	for _, n := range []int64{-1, MaxSize + 1, 1 << 62} {
		require.Zero(t, RoundSize(n))
	}
	require.Zero(t, RoundSize(0))
	check := func(n int64) {
		if n <= 0 || n > MaxSize {
			return
		}
		got := RoundSize(n)
		require.GreaterOrEqual(t, got, n)
		require.Equal(t, got, RoundSize(got))
		require.Equal(t, got, MakePlace(3, 64, got).Size())
		require.LessOrEqual(t, got-n, max(63, n>>11+63))
		if got > 64 { // nothing representable lies between
			require.NotEqual(t, got, RoundSize(n-1)+1)
			require.LessOrEqual(t, RoundSize(n-1), got)
		}
	}
	for e := range 34 {
		for d := int64(-70); d <= 70; d++ {
			check(1<<e + d)
			check(4095<<e + d)
			check(4096*64 + int64(e)*64 + d)
		}
	}
	r := seeded(t)
	for range 100000 {
		check(r.Int64N(1 << (1 + r.IntN(33))))
	}
}

// TestEveryCode: each size code that is possible stands for a size that is
// rounded to itself, and no two for the same.
func TestEveryCode(t *testing.T) {
	t.Parallel()
	last := int64(0)
	for code := range Place(1 << sizeBits) {
		p := code << sizeShift
		if !p.possible() {
			continue
		}
		require.Greater(t, p.Size(), last)
		last = p.Size()
		require.Equal(t, p, MakePlace(0, 0, last))
		require.Equal(t, last, RoundSize(last))
	}
	require.EqualValues(t, MaxSize, last)
}
