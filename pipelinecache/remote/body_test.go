package remote_test

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/pipelinecache/remote"
)

// greedy is a body of so many zeros that notes how long the longest buffer was.
type greedy struct {
	left, most int
	end        error
}

func (g *greedy) Read(p []byte) (int, error) {
	g.most = max(g.most, len(p))
	n := min(len(p), g.left, 100_000)
	g.left -= n
	if g.left == 0 {
		return n, g.end
	}
	return n, nil
}

// TestBodyIsBounded reads bodies of any length with any announced length: never
// more than a frame, and never a buffer that nothing arrived for.
func TestBodyIsBounded(t *testing.T) {
	t.Parallel()
	const most = 67_108_902
	for _, c := range []struct {
		length    int
		announced int64
		want      error
	}{
		{38, -1, nil}, {38, 38, nil}, {0, 0, nil}, {most, -1, nil}, {most, most, nil}, {1_000_000, 1_000_000, nil},
		{most + 1, -1, kvferry.ErrCorrupt}, {1 << 40, -1, kvferry.ErrCorrupt},
		{38, most + 1, kvferry.ErrCorrupt}, {38, 1 << 60, kvferry.ErrCorrupt},
	} {
		g := &greedy{left: c.length, end: io.EOF}
		got, err := remote.ReadFrame(g, c.announced)
		require.ErrorIs(t, err, c.want)
		if c.want == nil {
			require.Len(t, got, c.length)
		}
	}
	g := &greedy{left: 1000, end: io.ErrUnexpectedEOF}
	_, err := remote.ReadFrame(g, most)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.LessOrEqual(t, g.most, 64<<10, "an announced length is only a promise")
}

// TestBodyBytes: whatever the pieces in which they arrive.
func TestBodyBytes(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 65_535, 65_536, 65_537, 200_000, 1 << 20} {
		for _, announced := range []int64{-1, int64(n)} {
			want := noise(uint64(n), n)
			got, err := remote.ReadFrame(&pieces{b: want}, announced)
			require.NoError(t, err)
			require.True(t, bytes.Equal(want, got))
		}
	}
}

// pieces returns bytes in pieces of growing lengths, and nothing in between.
type pieces struct {
	b []byte
	n int
}

func (p *pieces) Read(to []byte) (int, error) {
	p.n++
	if len(p.b) == 0 {
		return 0, io.EOF
	}
	if p.n%3 == 0 {
		return 0, nil
	}
	if len(to) == 0 {
		return 0, errors.New("an empty buffer")
	}
	n := copy(to, p.b[:min(len(p.b), p.n*7)])
	p.b = p.b[n:]
	return n, nil
}
