//go:build cuda

package gpu

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/cuda"
	"github.com/kvferry/kvferry/internal/softcuda"
	"github.com/kvferry/kvferry/kernels"
	"github.com/kvferry/kvferry/pager"
)

// world is a device with the cache of an engine in it, and a stream on which its
// model works.
type world struct {
	tb      testing.TB
	device  *cuda.Device
	kernels *kernels.Set
	layout  *pager.Layout
	model   *cuda.Stream
	regions []*cuda.Memory
	engine  *engine
	rng     *rand.Rand
}

func newWorld(tb testing.TB, l *pager.Layout) *world {
	tb.Helper()
	seed := rand.Uint64()
	tb.Logf("seed %d", seed)
	w := &world{tb: tb, device: softcuda.Device(tb), layout: l, rng: rand.New(rand.NewPCG(seed, 1))}
	var err error
	w.kernels, err = kernels.Open(tb.Context(), w.device, nil)
	require.NoError(tb, err)
	tb.Cleanup(func() { w.gone(w.kernels.Close()) })
	w.model, err = w.device.NewStream(cuda.StreamOptions{})
	require.NoError(tb, err)
	tb.Cleanup(func() { w.gone(w.model.Close()) })
	for _, r := range l.Regions {
		m, err := w.device.Alloc(max(r.Bytes, 1))
		require.NoError(tb, err)
		tb.Cleanup(func() { w.gone(m.Free()) })
		w.regions = append(w.regions, m)
	}
	w.engine = newEngine(l.Meta.PageTokens, l.Pages)
	return w
}

// gone takes the error of giving something back; a lost device has none left.
func (w *world) gone(err error) {
	if w.device.Err() == nil {
		require.NoError(w.tb, err)
	}
}

func (w *world) config() Config {
	c := Config{Device: w.device, Kernels: w.kernels, Layout: w.layout, Engine: w.engine, Streams: []uintptr{w.model.Handle()}}
	for _, m := range w.regions {
		c.Regions = append(c.Regions, m.Ptr())
	}
	return c
}

// open returns a Pager that is closed at cleanup.
func (w *world) open(change func(*Config)) *Pager {
	w.tb.Helper()
	c := w.config()
	if change != nil {
		change(&c)
	}
	p, err := New(c)
	require.NoError(w.tb, err)
	w.tb.Cleanup(func() { w.gone(p.Close()) })
	return p
}

// pin returns pinned memory that is freed at cleanup.
func (w *world) pin(bytes int64) []byte {
	w.tb.Helper()
	p, err := w.device.Pin(max(bytes, 1), cuda.PinOptions{})
	require.NoError(w.tb, err)
	w.tb.Cleanup(func() { w.gone(p.Close()) })
	return p.Bytes()[:bytes]
}

// frames returns pinned frames for n pages, one behind the other with gap bytes
// between them.
func (w *world) frames(n, gap int) [][]byte {
	w.tb.Helper()
	size := w.layout.Meta.PageBytes()
	mem := w.pin(int64(n * (size + gap)))
	var out [][]byte
	for i := range n {
		at := i * (size + gap)
		out = append(out, mem[at:at+size:at+size])
	}
	return out
}

// noise fills mem with bytes that nobody can guess.
func (w *world) noise(mem []byte) []byte {
	for at := 0; at < len(mem); at += 8 {
		var next [8]byte
		binary.LittleEndian.PutUint64(next[:], w.rng.Uint64())
		copy(mem[at:], next[:])
	}
	return mem
}

// memory returns host memory like the regions, full of noise.
func (w *world) memory() [][]byte {
	var out [][]byte
	for _, r := range w.layout.Regions {
		out = append(out, w.noise(make([]byte, r.Bytes)))
	}
	return out
}

// queueUpload puts memory into the regions, on the model's stream; nobody waits.
func (w *world) queueUpload(memory [][]byte) {
	w.tb.Helper()
	var q cuda.Submission
	for i, mem := range memory {
		src := w.pin(int64(len(mem)))
		copy(src, mem)
		q.Copy(cuda.Copy{Dst: w.regions[i].Ptr(), Src: address(src), Bytes: uint64(len(mem))})
	}
	w.submit(&q)
}

// queueDownload copies the regions to the host, on the model's stream. The
// memory holds them after settle.
func (w *world) queueDownload() [][]byte {
	w.tb.Helper()
	var q cuda.Submission
	var out [][]byte
	for i, r := range w.layout.Regions {
		dst := w.pin(r.Bytes)
		q.Copy(cuda.Copy{Dst: address(dst), Src: w.regions[i].Ptr(), Bytes: uint64(r.Bytes)})
		out = append(out, dst)
	}
	w.submit(&q)
	return out
}

func (w *world) submit(q *cuda.Submission) {
	w.tb.Helper()
	if q.Len() > 0 {
		_, err := w.model.Submit(q)
		require.NoError(w.tb, err)
	}
}

// settle waits for the model.
func (w *world) settle() {
	w.tb.Helper()
	require.NoError(w.tb, w.model.Synchronize())
}

// all returns the pages in an order that nobody can guess.
func (w *world) all() []pager.PageID {
	ids := make([]pager.PageID, w.layout.Pages)
	for i := range ids {
		ids[i] = pager.PageID(i)
	}
	w.rng.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
	return ids
}

// move runs a job to its end.
func (w *world) move(p *Pager, d pager.Direction, ids []pager.PageID, frames [][]byte) {
	w.tb.Helper()
	t, err := p.cache.Submit(w.tb.Context(), pager.Job{Direction: d, Pages: ids, Frames: frames})
	require.NoError(w.tb, err)
	w.done(p, t)
}

func (w *world) done(p *Pager, t pager.Ticket) {
	w.tb.Helper()
	c, err := p.cache.Wait(w.tb.Context(), t)
	require.NoError(w.tb, err)
	require.Equal(w.tb, pager.Completion{Ticket: t, Outcome: pager.Done}, c)
}
