//go:build cuda

package cuda_test

import (
	"math"
	"os"
	"sync"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cuda"
	"github.com/kvferry/kvferry/internal/anon"
	"github.com/kvferry/kvferry/internal/softcuda"
)

// mapping is memory of the test's own.
func mapping(t testing.TB, bytes int) []byte {
	t.Helper()
	mem, err := anon.Map(bytes)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, anon.Unmap(mem)) })
	return mem
}

func TestPin(t *testing.T) {
	d := softcuda.Device(t)
	page := int64(os.Getpagesize())
	for _, bytes := range []int64{1, page - 1, page, page + 1, 3*page + 5} {
		for _, o := range []cuda.PinOptions{
			{}, {Portable: true}, {Mapped: true, Workers: 3}, {ChunkBytes: page}, {ChunkBytes: 2 * page, AnyNode: true},
		} {
			p, err := d.Pin(bytes, o)
			require.NoError(t, err)
			mem := p.Bytes()
			require.Len(t, mem, int(bytes))
			require.Equal(t, make([]byte, bytes), mem)
			require.Equal(t, o.Mapped, p.DevicePtr() != 0)
			chunk := o.ChunkBytes
			if chunk == 0 {
				chunk = math.MaxInt64
			}
			require.True(t, d.IsPinned(mem[:min(chunk, bytes)]))
			require.Equal(t, bytes <= chunk, d.IsPinned(mem))
			if bytes > chunk {
				require.False(t, d.IsPinned(mem[chunk-1:chunk+1]), "straddles two registrations")
				require.True(t, d.IsPinned(mem[chunk:min(2*chunk, bytes)]))
			}
			require.False(t, d.IsPinned(unsafe.Slice(unsafe.SliceData(mem), len(mem)+1)))
			require.NoError(t, p.Close())
			require.NoError(t, p.Close())
			require.Nil(t, p.Bytes())
			require.False(t, d.IsPinned(mem))
		}
	}
	require.False(t, d.IsPinned(nil))
	require.False(t, d.IsPinned(make([]byte, 10)))
}

func TestPinBadly(t *testing.T) {
	d := softcuda.Device(t)
	for _, c := range []struct {
		bytes int64
		o     cuda.PinOptions
		want  error
	}{
		{0, cuda.PinOptions{}, kvferry.ErrInvalid},
		{-1, cuda.PinOptions{}, kvferry.ErrInvalid},
		{1, cuda.PinOptions{ChunkBytes: -4096}, kvferry.ErrInvalid},
		{1, cuda.PinOptions{ChunkBytes: 100}, kvferry.ErrInvalid},
		{1, cuda.PinOptions{Workers: -1}, kvferry.ErrInvalid},
		{math.MaxInt64, cuda.PinOptions{}, kvferry.ErrOutOfMemory},
		{1 << 50, cuda.PinOptions{}, kvferry.ErrOutOfMemory},
	} {
		_, err := d.Pin(c.bytes, c.o)
		require.ErrorIs(t, err, c.want)
	}
	_, err := d.Register(nil, cuda.PinOptions{})
	require.ErrorIs(t, err, kvferry.ErrInvalid)
}

func TestPinnedLimit(t *testing.T) {
	softcuda.Only(t)
	softcuda.Reset(t)
	d := softcuda.Device(t)
	softcuda.SetPinnedLimit(64 << 20)                             // tests before this one left some with lost devices
	_, err := d.Pin(80<<20, cuda.PinOptions{ChunkBytes: 8 << 20}) // some chunks fit
	require.ErrorIs(t, err, kvferry.ErrOutOfMemory)
	require.ErrorContains(t, err, "pin 83886080 bytes")
	require.ErrorContains(t, err, "limit of locked memory: ")
	require.ErrorContains(t, err, "memory available: ")
	p, err := d.Pin(40<<20, cuda.PinOptions{})
	require.NoError(t, err, "all of the first was undone")
	require.NoError(t, p.Close())
}

func TestRegister(t *testing.T) {
	r := newRig(t)
	page := os.Getpagesize()
	mem := mapping(t, 8*page)
	noise(mem, 5)
	want := append([]byte(nil), mem...)

	part := mem[page+100 : 4*page+50] // neither end on a page
	p, err := r.device.Register(part, cuda.PinOptions{ChunkBytes: int64(page), Mapped: true})
	require.NoError(t, err)
	require.Equal(t, want, mem, "content is kept")
	require.Same(t, &part[0], &p.Bytes()[0])
	require.True(t, r.device.IsPinned(mem[2*page:3*page]))
	require.False(t, r.device.IsPinned(part))

	for _, taken := range [][]byte{part, mem, mem[:page+101], mem[4*page+49:], mem[2*page : 2*page+1], mem[page : page+1]} {
		_, err := r.device.Register(taken, cuda.PinOptions{})
		require.ErrorIs(t, err, kvferry.ErrExists)
	}
	beside, err := r.device.Register(mem[5*page:], cuda.PinOptions{})
	require.NoError(t, err)

	m := r.alloc(int64(page))
	var q cuda.Submission
	q.Copy(cuda.Copy{Dst: m.Ptr(), Src: at(mem[2*page:]), Bytes: uint64(page)})
	q.Copy(cuda.Copy{Dst: at(mem[6*page:]), Src: m.Ptr(), Bytes: uint64(page)})
	r.run(&q)
	require.Equal(t, want[2*page:3*page], mem[6*page:7*page])
	require.NoError(t, p.Close())
	require.NoError(t, beside.Close())
	again, err := r.device.Register(mem, cuda.PinOptions{Portable: true})
	require.NoError(t, err)
	require.NoError(t, again.Close())
}

// TestRegisterWhatOthersPinned: the engine's own registration is told, and nothing
// of ours stays.
func TestRegisterWhatOthersPinned(t *testing.T) {
	d := softcuda.Device(t)
	page := os.Getpagesize()
	mem := mapping(t, 4*page)
	asEngine(t, func(e *engine) {
		e.withContext(func() {
			theirs := uint64(at(mem[3*page:]))
			e.call("cuMemHostRegister_v2", theirs, uint64(page), 0)
			_, err := d.Register(mem, cuda.PinOptions{ChunkBytes: int64(page)})
			require.ErrorIs(t, err, kvferry.ErrExists)
			require.False(t, d.IsPinned(mem[:page]))
			e.call("cuMemHostUnregister", theirs)
		})
	})
	p, err := d.Register(mem, cuda.PinOptions{})
	require.NoError(t, err)
	require.NoError(t, p.Close())
}

// TestPinUndone: a failure at any chunk, and of the undoing itself, leaves nothing
// behind when the device is closed.
func TestPinUndone(t *testing.T) {
	softcuda.Only(t)
	page := int64(os.Getpagesize())
	for k := range 4 {
		d := softcuda.Device(t)
		softcuda.Fail("cuMemHostRegister", k+1, 304)
		_, err := d.Pin(4*page, cuda.PinOptions{ChunkBytes: page})
		require.ErrorIs(t, err, kvferry.ErrOutOfMemory)
		require.NoError(t, d.Close())
	}
	d := softcuda.Device(t)
	softcuda.Fail("cuMemHostRegister", 3, 2)
	softcuda.Fail("cuMemHostUnregister", 1, 1)
	_, err := d.Pin(4*page, cuda.PinOptions{ChunkBytes: page})
	require.ErrorIs(t, err, kvferry.ErrOutOfMemory)
	require.ErrorContains(t, err, "could not be unpinned again")
	require.NoError(t, d.Close())
}

// TestPinWhatCannotBe: memory that the driver takes no interest in costs no device.
func TestPinWhatCannotBe(t *testing.T) {
	softcuda.Only(t)
	d := softcuda.Device(t)
	softcuda.Fail("cuMemHostRegister", 1, 999)
	_, err := d.Register(mapping(t, 4096), cuda.PinOptions{})
	require.ErrorIs(t, err, kvferry.ErrUnsupported)
	require.ErrorContains(t, err, "cannot pin memory of this kind")
	require.NoError(t, d.Err())
}

// TestUnpinFails: it can be tried again.
func TestUnpinFails(t *testing.T) {
	softcuda.Only(t)
	d := softcuda.Device(t)
	page := int64(os.Getpagesize())
	p, err := d.Pin(4*page, cuda.PinOptions{ChunkBytes: page})
	require.NoError(t, err)
	softcuda.Fail("cuMemHostUnregister", 3, 1)
	require.ErrorIs(t, p.Close(), kvferry.ErrInvalid)
	require.ErrorIs(t, d.Close(), kvferry.ErrInvalid, "it is still pinned")
	require.NoError(t, p.Close())
	require.NoError(t, d.Close())
}

func TestAllocator(t *testing.T) {
	d := softcuda.Device(t)
	a := d.Allocator(cuda.PinOptions{ChunkBytes: 4096})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for _, bytes := range []int{1, 4096, 256<<10 + i, 1 << 20} {
				mem, err := a.Allocate(bytes)
				if err != nil || len(mem) != bytes || !d.IsPinned(mem) || mem[bytes-1] != 0 {
					t.Error(bytes, err)
					return
				}
				mem[0] = 1
				if err := a.Free(mem); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	none, err := a.Allocate(0)
	require.NoError(t, err)
	require.NotNil(t, none)
	require.Empty(t, none)
	require.NoError(t, a.Free(none))
	_, err = a.Allocate(-1)
	require.ErrorIs(t, err, kvferry.ErrInvalid)

	mem, err := a.Allocate(8192)
	require.NoError(t, err)
	for _, bad := range [][]byte{mem[1:], mem[:8191], make([]byte, 8192)} {
		require.ErrorIs(t, a.Free(bad), kvferry.ErrInvalid)
	}
	require.NoError(t, a.Free(mem))
	require.ErrorIs(t, a.Free(mem), kvferry.ErrInvalid)
}

func BenchmarkIsPinned(b *testing.B) {
	d := softcuda.Device(b)
	a := d.Allocator(cuda.PinOptions{})
	var all [][]byte
	for range 100 {
		mem, err := a.Allocate(4096)
		require.NoError(b, err)
		all = append(all, mem)
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			if !d.IsPinned(all[i%len(all)]) {
				b.Error("not pinned")
			}
		}
	})
	for _, mem := range all {
		require.NoError(b, a.Free(mem))
	}
}
