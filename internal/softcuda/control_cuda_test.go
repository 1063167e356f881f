//go:build cuda

package softcuda_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/cuda"
	"github.com/kvferry/kvferry/internal/softcuda"
)

// TestFail: by name, the nth or every call, and what its failing leaves.
func TestFail(t *testing.T) {
	eachMode(t, func(r *rig) {
		softcuda.Fail("cuMemAlloc", 2, 2)
		a := r.bare(64)
		r.fails(2, "cuMemAlloc_v2", r.outAt, 64)
		b := r.bare(64)
		require.Equal(r, 3, softcuda.Calls("cuMemAlloc"))
		softcuda.Fail("cuMemFree", 0, 999)
		r.fails(999, "cuMemFree_v2", a)
		r.fails(999, "cuMemFree_v2", b)
		// What could not be freed is no leak, as the end of the test shows.
	})
}

// TestFailCall: by number, counted from now.
func TestFailCall(t *testing.T) {
	eachMode(t, func(r *rig) {
		before := softcuda.TotalCalls()
		softcuda.FailCall(3, 2)
		r.ok("cuMemGetInfo_v2", r.outAt, r.outAt+8)
		r.ok("cuCtxGetDevice", r.outAt)
		r.fails(2, "cuMemGetInfo_v2", r.outAt, r.outAt+8)
		r.ok("cuMemGetInfo_v2", r.outAt, r.outAt+8)
		require.Equal(r, 4, softcuda.TotalCalls()-before)
	})
}

// TestDeviceLost: by a call and within a stream. It stays lost until a reset, and
// takes along what was there.
func TestDeviceLost(t *testing.T) {
	lose := map[string]func(r *rig, d, s uint64){
		"call": func(r *rig, d, s uint64) {
			softcuda.FailCall(1, 700)
			r.fails(700, "cuMemsetD8Async", d, 1, 64, s)
		},
		"fill": func(r *rig, d, s uint64) {
			softcuda.Fail("op.fill", 1, 700)
			r.ok("cuMemsetD8Async", d, 1, 64, s)
			r.fails(700, "cuStreamSynchronize", s)
		},
		"copy": func(r *rig, d, s uint64) {
			_, h := r.pinned(64)
			softcuda.Fail("op.copy", 1, 700)
			r.ok("cuMemcpyHtoDAsync_v2", d, h, 64, s)
			r.fails(700, "cuStreamSynchronize", s)
		},
		"kernel": func(r *rig, d, s uint64) {
			r.load()
			softcuda.Fail("op.kernel", 1, 700)
			r.launch(s, "softcuda_overrun", 1, d, 1, 1)
			r.fails(700, "cuStreamSynchronize", s)
		},
	}
	for name, f := range lose {
		t.Run(name, func(t *testing.T) {
			eachMode(t, func(r *rig) {
				d, s := r.alloc(64), r.stream()
				f(r, d, s)
				r.fails(700, "cuMemAlloc_v2", r.outAt, 64)
				r.fails(700, "cuCtxSynchronize")
				softcuda.Reset(r)
				r.gone = true
				p := r.bare(64)
				r.ok("cuMemFree_v2", p)
				r.fails(1, "cuMemFree_v2", d) // gone with the device
				r.violates("cuMemFree")
			})
		})
	}
}

// TestHold: streams stand still, and nothing else does.
func TestHold(t *testing.T) {
	eachMode(t, func(r *rig) {
		d, s, e := r.alloc(64), r.stream(), r.event()
		softcuda.Hold()
		r.ok("cuMemsetD8Async", d, 1, 64, s)
		r.ok("cuEventRecord", e, s)
		for range 10 {
			r.fails(600, "cuEventQuery", e)
			r.fails(600, "cuStreamQuery", s)
		}
		softcuda.Release()
		r.ok("cuEventSynchronize", e)
		r.ok("cuEventQuery", e)
	})
}

// TestLazy: nothing runs before something asks for it, and polling ends.
func TestLazy(t *testing.T) {
	r := newRig(t)
	softcuda.Set(t, "lazy")
	d, s, e := r.alloc(64), r.stream(), r.event()
	r.ok("cuMemsetD8Async", d, 1, 64, s)
	r.ok("cuEventRecord", e, s)
	r.fails(600, "cuEventQuery", e)
	polls := 1
	for ; softcuda.Call("cuEventQuery", e) != 0; polls++ {
		continue
	}
	require.Positive(t, polls)
}

// TestSettings are as the driver tells them, and go with the reset.
func TestSettings(t *testing.T) {
	eachMode(t, func(r *rig) {
		d, s := r.filled(64), r.stream()
		_, h := r.pinned(64)
		softcuda.SetDriver(12040)
		r.ok("cuDriverGetVersion", r.outAt)
		require.EqualValues(r, 12040, r.result()&0xFFFFFFFF)
		require.Equal(r, 801, r.batch(inStreamOrder, s, []uint64{h}, []uint64{d}, 64))
		softcuda.SetDevices(0)
		r.fails(101, "cuDeviceGet", r.outAt, 0)
		softcuda.SetDevices(1)
		softcuda.SetMemory(1 << 20)
		r.fails(2, "cuMemAlloc_v2", r.outAt, 1<<20)
		softcuda.SetPinnedLimit(page)
		r.fails(2, "cuMemHostAlloc", r.outAt, page, 0)
		softcuda.SetMIG(true)
		require.Zero(r, softcuda.Call("cuDeviceGetUuid_v2", r.outAt, 0))
		mig := string(r.out[:16])
		softcuda.SetMIG(false)
		require.Zero(r, softcuda.Call("cuDeviceGetUuid_v2", r.outAt, 0))
		require.NotEqual(r, mig, string(r.out[:16]))
	})
}

// TestTimeline: what has no order overlaps where the device has an engine for
// each; what waits comes after. It is the same in every mode.
func TestTimeline(t *testing.T) {
	var first []string
	eachMode(t, func(r *rig) {
		softcuda.SetLink(1_000_000_000)
		a, b := r.stream(), r.stream()
		d1, d2 := r.filled(100_000), r.filled(100_000)
		_, h1 := r.pinned(100_000)
		_, h2 := r.pinned(100_000)
		skip := len(softcuda.Timeline())
		r.ok("cuMemcpyDtoHAsync_v2", h1, d1, 100_000, a)
		r.ok("cuMemcpyHtoDAsync_v2", d2, h2, 100_000, b)
		r.order(a, b)
		r.ok("cuMemsetD8Async", d1, 1, 50, b)
		r.ok("cuStreamSynchronize", b)
		r.ok("cuMemcpyDtoHAsync_v2", h1, d1, 100, a)
		r.ok("cuCtxSynchronize")
		l := softcuda.Timeline()[skip:]
		require.Len(r, l, 4)
		out, in, fill, again := l[0], l[1], l[2], l[3]
		require.EqualValues(r, 100_000+2000, out.End-out.Begin) // a nanosecond a byte
		require.Equal(r, out.Begin, in.Begin)
		require.Equal(r, max(out.End, in.End), fill.Begin)
		require.GreaterOrEqual(r, again.Submitted, fill.End)
		require.Equal(r, "cuMemcpyDtoHAsync", out.Label)
		require.Equal(r, "fill", fill.Kind)
		toHost, toDevice := softcuda.BytesOverLink()
		require.EqualValues(r, 100_100, toHost)
		require.EqualValues(r, 100_000, toDevice)
		var spans []string
		for _, s := range l {
			spans = append(spans, fmt.Sprint(s.Kind, s.Bytes, s.Begin-out.Begin, s.End-out.Begin))
		}
		if first == nil {
			first = spans
		}
		require.Equal(r, first, spans)
	})
}

// TestDeviceCatches: the rig that other packages use fails a test for what it did.
func TestDeviceCatches(t *testing.T) {
	softcuda.Only(t)
	f := &fakeTest{T: t}
	d := softcuda.Device(f)
	m, err := d.Alloc(64)
	require.NoError(t, err)
	require.NotNil(t, m)
	var q cuda.Submission
	q.Copy(cuda.Copy{Dst: m.Ptr(), Src: m.Ptr() + 32, Bytes: 8}) // unwritten
	s, err := d.NewStream(cuda.StreamOptions{})
	require.NoError(t, err)
	_, err = s.Submit(&q)
	require.NoError(t, err)
	require.NoError(t, s.Synchronize())
	f.end()
	require.Contains(t, fmt.Sprint(f.told), "which nobody wrote")
	require.Contains(t, fmt.Sprint(f.told), "leaked: device memory")
	require.Contains(t, fmt.Sprint(f.told), "leaked: stream")
	require.NoError(t, s.Close())
	require.NoError(t, m.Free())
	require.NoError(t, d.Close())
}

// fakeTest takes down what is told of a test.
type fakeTest struct {
	*testing.T
	told     []string
	cleanups []func()
}

func (f *fakeTest) Cleanup(c func()) { f.cleanups = append(f.cleanups, c) }
func (f *fakeTest) Errorf(format string, a ...any) {
	f.told = append(f.told, fmt.Sprintf(format, a...))
}
func (f *fakeTest) end() {
	for i := len(f.cleanups) - 1; i >= 0; i-- {
		f.cleanups[i]()
	}
}
