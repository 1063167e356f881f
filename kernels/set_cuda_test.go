//go:build cuda

package kernels

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cuda"
	"github.com/kvferry/kvferry/internal/softcuda"
	"github.com/kvferry/kvferry/pipelinecache"
	"github.com/kvferry/kvferry/pipelinecache/memory"
)

func newCache(t *testing.T) *memory.Store {
	t.Helper()
	c, err := memory.New(memory.Options{})
	require.NoError(t, err)
	return c
}

// keyOf is the fingerprint by which Open asks.
func keyOf(d *cuda.Device) pipelinecache.Fingerprint {
	f := d.Facts()
	return pipelinecache.Kernel{PTX: []byte(PTX()), Major: f.Major, Minor: f.Minor, DriverVersion: int(f.Driver)}.Fingerprint()
}

// works gathers a page with s.
func works(t *testing.T, s *Set) {
	t.Helper()
	l := newLab(t)
	defer func(own *Set) { l.set = own }(l.set)
	l.set = s
	a := l.random(1000)
	l.moves([]*area{a}, []Run{{Address: a.at(0), Bytes: 1000, Count: 1}}, 1000, []uint32{0}, place{})
	require.NoError(t, a.memory.Free())
}

// TestWarmStart: a start that finds the image does not compile.
func TestWarmStart(t *testing.T) {
	d, cache := softcuda.Device(t), newCache(t)
	cold, err := Open(t.Context(), d, cache)
	require.NoError(t, err)
	require.True(t, cold.Compiled())
	require.NoError(t, cold.CacheErr())
	require.NoError(t, cold.Close())
	require.NoError(t, cold.Close())
	if softcuda.Loaded() {
		softcuda.Reset(t)
	}
	warm, err := Open(t.Context(), d, cache)
	require.NoError(t, err)
	require.False(t, warm.Compiled())
	require.NoError(t, warm.CacheErr())
	if softcuda.Loaded() {
		require.Zero(t, softcuda.Calls("cuLinkCreate"))
		require.Zero(t, softcuda.Calls("cuLinkComplete"))
	}
	works(t, warm)
	require.NoError(t, warm.Close())
}

// TestBadImages: what the cache holds need not be what was put there.
func TestBadImages(t *testing.T) {
	d := softcuda.Device(t)
	other, _, err := d.Link([]byte(".version 7.0\n.target sm_80\n.address_size 64\n.visible .entry other() { ret; }\n"), cuda.LinkOptions{})
	require.NoError(t, err)
	for name, image := range map[string][]byte{
		"empty": {}, "short": []byte("\x7fE"), "no image": bytes.Repeat([]byte("nonsense"), 500), "of other kernels": other,
	} {
		cache := newCache(t)
		require.NoError(t, cache.Put(t.Context(), keyOf(d), image), name)
		s, err := Open(t.Context(), d, cache)
		require.NoError(t, err, name)
		require.True(t, s.Compiled(), name)
		require.Error(t, s.CacheErr(), name)
		require.NoError(t, s.Close())
		s, err = Open(t.Context(), d, cache) // which was mended
		require.NoError(t, err, name)
		require.False(t, s.Compiled(), name)
		require.NoError(t, s.CacheErr(), name)
		works(t, s)
		require.NoError(t, s.Close())
	}
}

// brokenCache fails.
type brokenCache struct {
	pipelinecache.Store
	get, put error
}

func (c *brokenCache) GetShared(context.Context, pipelinecache.Fingerprint) ([]byte, error) {
	return nil, c.get
}
func (c *brokenCache) PutShared(context.Context, pipelinecache.Fingerprint, []byte) error {
	return c.put
}

// TestBrokenCache: a cache that fails costs time and nothing else, and is told of.
func TestBrokenCache(t *testing.T) {
	d := softcuda.Device(t)
	for _, c := range []*brokenCache{{get: kvferry.ErrCorrupt}, {get: kvferry.ErrNotFound, put: kvferry.ErrQuota}} {
		s, err := Open(t.Context(), d, c)
		require.NoError(t, err)
		require.True(t, s.Compiled())
		require.Error(t, s.CacheErr())
		require.NoError(t, s.Close())
	}
}

// TestAnotherDriver: the image of one driver is not asked for by another.
func TestAnotherDriver(t *testing.T) {
	softcuda.Only(t)
	softcuda.Reset(t)
	cache := newCache(t)
	open := func(compiled bool) {
		d, err := cuda.Open(0, cuda.Options{})
		require.NoError(t, err)
		s, err := Open(t.Context(), d, cache)
		require.NoError(t, err)
		require.Equal(t, compiled, s.Compiled())
		require.NoError(t, s.Close())
		require.NoError(t, d.Close())
	}
	open(true)
	open(false)
	softcuda.SetDriver(12080)
	open(true)
	softcuda.SetCapability(80)
	open(true)
	open(false)
}

// TestTooOldADevice: compute capability 7.5 is refused with a reason.
func TestTooOldADevice(t *testing.T) {
	softcuda.Only(t)
	softcuda.Reset(t)
	softcuda.SetCapability(75)
	d, err := cuda.Open(0, cuda.Options{})
	require.NoError(t, err)
	_, err = Open(t.Context(), d, nil)
	require.ErrorIs(t, err, kvferry.ErrUnsupported)
	require.ErrorContains(t, err, "7.5")
	require.NoError(t, d.Close())
}

// TestEveryCallFails: whichever driver call of Open, NewRuns and Close fails, the
// error surfaces, and nothing stays behind.
func TestEveryCallFails(t *testing.T) {
	softcuda.Only(t)
	for i, code := range []int{2, 700} {
		for k := 1; ; k++ {
			if !softcuda.Mine(k + i) {
				continue
			}
			reached := false
			t.Run(fmt.Sprintf("%d/%d", code, k), func(t *testing.T) { reached = callFails(t, k, code) })
			if !reached {
				require.Greater(t, k, 50)
				break
			}
		}
	}
}

// callFails reports whether the kth call was reached.
func callFails(t *testing.T, k, code int) bool {
	softcuda.Reset(t)
	d, err := cuda.Open(0, cuda.Options{})
	require.NoError(t, err)
	before := softcuda.TotalCalls()
	softcuda.FailCall(k, code)
	err = use(t, d)
	reached := softcuda.TotalCalls()-before >= k
	if !reached {
		require.NoError(t, err)
	} else {
		require.Error(t, err, "call %d", k)
	}
	if code == 700 && reached {
		require.ErrorIs(t, err, kvferry.ErrDeviceLost, "call %d", k)
		_ = d.Close()
		return true
	}
	if d.Close() != nil { // it was the call that failed
		require.False(t, reached, "call %d", k)
		require.NoError(t, d.Close(), "call %d", k)
	}
	return reached
}

// use opens and closes all there is, and returns every error. What was not
// closed is closed again.
func use(t *testing.T, d *cuda.Device) error {
	s, err := Open(t.Context(), d, nil)
	if err != nil {
		return err
	}
	r, err := s.NewRuns([]Run{{Address: somewhere, Bytes: 1000, Count: 1}}, 1000)
	if err == nil {
		err = twice(r.Close)
	}
	return errors.Join(err, twice(s.Close))
}
