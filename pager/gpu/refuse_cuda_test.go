//go:build cuda

package gpu

import (
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cuda"
	"github.com/kvferry/kvferry/internal/softcuda"
	"github.com/kvferry/kvferry/pager"
)

func TestNewRefusesMemoryThatIsNotThePages(t *testing.T) {
	w := newWorld(t, ordinary(t))
	host := w.pin(w.layout.Regions[0].Bytes)
	for name, spoil := range map[string]func(*Config){
		"beyond its allocation": func(c *Config) { c.Regions[1]++ },
		"before its allocation": func(c *Config) { c.Regions[1]-- },
		"overlap":               func(c *Config) { c.Regions[1] = c.Regions[0] },
		"host memory":           func(c *Config) { c.Regions[2] = address(host) },
		"no memory at all":      func(c *Config) { c.Regions[2] = 4096 },
		"too little staging":    func(c *Config) { c.StagingBytes = int64(c.Layout.Meta.PageBytes()) },
		"paths of another GPU":  func(c *Config) { c.Paths = &Paths{Device: "another"} },
	} {
		c := w.config()
		spoil(&c)
		p, err := New(c)
		require.ErrorIs(t, err, kvferry.ErrInvalid, name)
		require.Nil(t, p, name)
	}
	f := w.device.Facts()
	p := w.open(func(c *Config) { c.Paths = &Paths{Device: f.Name, UUID: f.UUID, Driver: int(f.Driver)} })
	require.NoError(t, p.Close())
}

func TestNewWithTooLittleMemory(t *testing.T) {
	softcuda.Only(t)
	softcuda.Reset(t)
	w := newWorld(t, ordinary(t))
	free, _, err := w.device.MemoryInfo()
	require.NoError(t, err)
	c := w.config()
	hog, err := w.device.Alloc(free - 4096)
	require.NoError(t, err)
	_, err = New(c)
	require.ErrorIs(t, err, kvferry.ErrOutOfMemory)
	require.NoError(t, hog.Free())
	softcuda.SetPinnedLimit(16 << 10)
	_, err = New(c)
	require.ErrorIs(t, err, kvferry.ErrOutOfMemory)
	softcuda.SetPinnedLimit(0)
	w.open(nil)
}

// TestPagesFreedWhileAJobWaits takes pages away between Submit and the copy.
func TestPagesFreedWhileAJobWaits(t *testing.T) {
	w, p, memory := heldWorld(t, inBatches(2, func(c *Config) { c.Engine = guarded{c.Engine.(*engine)} }))
	ids, frames := w.all(), w.frames(24, 0)
	require.ErrorIs(t, p.cache.ReadPage(t.Context(), ids[0], frames[0]), kvferry.ErrNotFound)
	require.ErrorIs(t, p.cache.WritePage(t.Context(), ids[0], frames[0]), kvferry.ErrNotFound)
	require.NoError(t, w.engine.ReservePages(t.Context(), ids))
	first := w.submitJob(p, pager.Out, ids[:20], frames[:20])
	issued(p, slotsPerWay, 1)
	second := w.submitJob(p, pager.Out, ids[20:], frames[20:])
	require.NoError(t, w.engine.ReleasePages(t.Context(), ids[22:23]))
	softcuda.Release()
	w.done(p, first)
	c := w.outcome(p, second)
	require.Equal(t, pager.NotStarted, c.Outcome)
	require.ErrorIs(t, c.Err, kvferry.ErrNotFound)
	holds(t, w.layout, memory, ids[:20], frames[:20])
}

// TestFramesOfTwoRegistrationsAreTwoCopies gives neighbouring frames that were
// pinned apart.
func TestFramesOfTwoRegistrationsAreTwoCopies(t *testing.T) {
	w := newWorld(t, ordinary(t))
	p := w.open(func(c *Config) { c.Paths = Forced(Staged) })
	size := w.layout.Meta.PageBytes()
	chunk := os.Getpagesize()
	for chunk%size != 0 { // where both a frame and a registration begin
		chunk += os.Getpagesize()
	}
	mapping, err := syscall.Mmap(-1, 0, 2*chunk, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, syscall.Munmap(mapping)) })
	for i := range 2 {
		pinned, err := w.device.Register(mapping[i*chunk:(i+1)*chunk], cuda.PinOptions{})
		require.NoError(t, err)
		t.Cleanup(func() { w.gone(pinned.Close()) })
	}
	memory := w.memory()
	w.queueUpload(memory)
	var frames [][]byte
	for i := -3; i < 3; i++ {
		frames = append(frames, mapping[chunk+i*size:chunk+(i+1)*size])
	}
	ids := w.all()[:6]
	w.move(p, pager.Out, ids, frames)
	holds(t, w.layout, memory, ids, frames)
	require.EqualValues(t, 2+1, p.Stats().Copies, "and the table")
}

func TestClosedPagerSaysSo(t *testing.T) {
	w := newWorld(t, ordinary(t))
	p := w.open(nil)
	v := p.View()
	require.NoError(t, v.Pause(t.Context()))
	require.NoError(t, p.Close())
	page := make([]byte, v.Meta().PageBytes())
	a := pager.AbilitiesOf(v)
	_, seqs := v.LogicalSeqs(t.Context())
	_, occupied := v.OccupiedPages(t.Context())
	_, allocated := v.AllocatePages(t.Context(), 1)
	for i, err := range []error{
		seqs, occupied, allocated, v.Pause(t.Context()), v.ReadPage(t.Context(), 0, page), v.WritePage(t.Context(), 0, page),
		v.InstallLogicalSeqs(t.Context(), nil), a.Releaser.ReleasePages(t.Context(), nil), a.Reserver.ReservePages(t.Context(), nil),
		a.Generations.Generations(t.Context(), nil, nil), a.Digester.DigestPages(t.Context(), 1, nil, nil, nil),
	} {
		require.ErrorIs(t, err, kvferry.ErrClosed, "number %d", i)
	}
	require.NoError(t, v.Resume(t.Context()), "the engine has to go on")
}
