package cuda

import (
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
)

// TestLayout: C reads steps and copies as they lie in memory; submit.c has the same.
func TestLayout(t *testing.T) {
	t.Parallel()
	var s step
	require.Equal(t, []uintptr{56, 0, 4, 8, 20, 32, 40, 48}, []uintptr{
		unsafe.Sizeof(s), unsafe.Offsetof(s.kind), unsafe.Offsetof(s.shared), unsafe.Offsetof(s.grid), unsafe.Offsetof(s.block),
		unsafe.Offsetof(s.a), unsafe.Offsetof(s.b), unsafe.Offsetof(s.c),
	})
	var c Copy
	require.Equal(t, []uintptr{24, 0, 8, 16}, []uintptr{unsafe.Sizeof(c), unsafe.Offsetof(c.Dst), unsafe.Offsetof(c.Src), unsafe.Offsetof(c.Bytes)})
}

func TestParams(t *testing.T) {
	t.Parallel()
	var p Params
	p.Uint32(1)
	p.Ptr(0x1122334455667788)
	p.Int32(-1)
	p.Struct([]byte{1, 2, 3, 4, 5}, 16)
	p.Int64(-2)
	require.Equal(t, []uint32{0, 8, 16, 32, 40}, p.slots)
	require.Equal(t, []byte{
		1, 0, 0, 0, 0, 0, 0, 0,
		0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11,
		0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
		1, 2, 3, 4, 5, 0, 0, 0,
		0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
	}, p.bytes)
	p.Reset()
	require.Empty(t, p.bytes)
	require.Empty(t, p.slots)
}

// TestSubmissionKeepsParams: the parameters of each launch are its own, and begin at
// a multiple of 16.
func TestSubmissionKeepsParams(t *testing.T) {
	t.Parallel()
	var q Submission
	var p Params
	for i := range uint32(3) {
		p.Reset()
		p.Uint32(i)
		p.Uint64(uint64(i) << 32)
		q.Launch(&Function{}, Dim{}, Dim{X: 4, Z: 2}, 7, &p)
	}
	require.Equal(t, 3, q.Len())
	require.Equal(t, []uint32{0, 8, 16, 24, 32, 40}, q.slots)
	require.Equal(t, byte(2), q.params[32])
	require.Equal(t, step{kind: stepLaunch, shared: 7, grid: [3]uint32{1, 1, 1}, block: [3]uint32{4, 1, 2}, b: 4, c: 2}, q.steps[2])
	steps := cap(q.steps)
	q.Reset()
	require.Zero(t, q.Len())
	require.Equal(t, steps, cap(q.steps))
}

func TestLinkBytesPerSecond(t *testing.T) {
	t.Parallel()
	require.InDelta(t, 63.0e9, Facts{LinkGeneration: 5, LinkWidth: 16}.LinkBytesPerSecond(), 0.1e9)
	require.InDelta(t, 31.5e9, Facts{LinkGeneration: 4, LinkWidth: 16}.LinkBytesPerSecond(), 0.1e9)
	require.Zero(t, Facts{}.LinkBytesPerSecond())
	require.Zero(t, Facts{LinkGeneration: 9, LinkWidth: 16}.LinkBytesPerSecond())
	require.Equal(t, "12.8", Version(12080).String())
}

func TestLinkOptionsTexts(t *testing.T) {
	t.Parallel()
	require.Empty(t, LinkOptions{}.Texts())
	require.Equal(t, []string{"max-registers=64", "line-info"}, LinkOptions{MaxRegisters: 64, LineInfo: true}.Texts())
}
