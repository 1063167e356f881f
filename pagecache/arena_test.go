package pagecache

import (
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
)

// counted is an allocator that fails where it is told to and knows what it
// gave.
type counted struct {
	mu     sync.Mutex
	live   map[*byte]int
	bytes  int64
	most   int64
	calls  int
	failAt int // this call fails; 0 is none
	failed int
	skew   int // memory is so many bytes off its alignment
}

var errInjected = errors.New("injected")

func (a *counted) Allocate(n int) ([]byte, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.calls++
	if a.calls == a.failAt {
		a.failed++
		return nil, errInjected
	}
	mem := make([]byte, n+a.skew)[a.skew:]
	if a.live == nil {
		a.live = map[*byte]int{}
	}
	a.live[unsafe.SliceData(mem)] = n
	a.bytes += int64(n)
	a.most = max(a.most, a.bytes)
	return mem, nil
}

func (a *counted) Free(mem []byte) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if n, ok := a.live[unsafe.SliceData(mem)]; !ok || n != len(mem) {
		return errors.New("free of memory that was not given")
	}
	for i := range mem {
		mem[i] = 0xdb // whoever still reads it is seen
	}
	delete(a.live, unsafe.SliceData(mem))
	a.bytes -= int64(len(mem))
	return nil
}

func newArena(t testing.TB, o ArenaOptions) *Arena {
	t.Helper()
	a, err := NewArena(o)
	require.NoError(t, err)
	return a
}

// TestClasses: sizes grow with their number, fit, begin on cache lines, and
// waste little.
func TestClasses(t *testing.T) {
	t.Parallel()
	last := int64(0)
	for n := int64(1); n <= maxBytes; n += 1 + n/1000 {
		i, size := classOf(n)
		require.Less(t, i, classes)
		require.GreaterOrEqual(t, size, n)
		require.Zero(t, size%grain)
		require.Less(t, size-n, max(grain, n/63), "%d", n)
		j, same := classOf(size)
		require.Equal(t, i, j)
		require.Equal(t, size, same)
		require.GreaterOrEqual(t, size, last)
		if size > last && last > 0 {
			before, _ := classOf(last)
			require.Greater(t, i, before)
		}
		last = size
	}
	for n := int64(512); n <= maxBytes; n *= 2 {
		_, size := classOf(n)
		require.Equal(t, n, size)
	}
	_, size := classOf(0)
	require.EqualValues(t, grain, size)
}

func TestArenaOptions(t *testing.T) {
	t.Parallel()
	for _, o := range []ArenaOptions{{}, {LimitBytes: -1}, {LimitBytes: 1, SlabBytes: -1}, {LimitBytes: 1, SlabBytes: 1 << 62}} {
		_, err := NewArena(o)
		require.ErrorIs(t, err, kvferry.ErrInvalid)
	}
}

// TestArenaBuffers: buffers are whole, aligned, apart from each other, and have
// readable bytes behind them, whatever memory the allocator gives.
func TestArenaBuffers(t *testing.T) {
	t.Parallel()
	for _, skew := range []int{0, 1, 63} {
		alloc := &counted{skew: skew}
		a := newArena(t, ArenaOptions{LimitBytes: 64 << 20, SlabBytes: 1 << 20, Allocator: alloc})
		var all []Buffer
		for _, n := range []int{0, 1, 64, 512, 4096, 4304, 65536 + 208, 2 << 20} {
			for range 9 {
				b, err := a.Alloc(n)
				require.NoError(t, err)
				mem := b.Bytes()
				require.Len(t, mem, n)
				require.Equal(t, n, cap(mem))
				require.Equal(t, n, b.Len())
				if n > 0 {
					require.Zero(t, uintptr(unsafe.Pointer(&mem[0]))%grain)
				}
				room := b.slab.mem
				end := uintptr(unsafe.Pointer(unsafe.SliceData(mem))) + uintptr(n)
				require.LessOrEqual(t, end+16, uintptr(unsafe.Pointer(unsafe.SliceData(room)))+uintptr(len(room)))
				fill(mem, byte(len(all)))
				all = append(all, b)
			}
		}
		for i, b := range all {
			require.True(t, filled(b.Bytes(), byte(i)))
			require.NoError(t, a.Free(b))
			require.Nil(t, b.Bytes())
		}
		require.NoError(t, a.Close())
		require.Empty(t, alloc.live)
	}
}

func fill(mem []byte, v byte) {
	for i := range mem {
		mem[i] = v
	}
}

func filled(mem []byte, v byte) bool {
	for _, b := range mem {
		if b != v {
			return false
		}
	}
	return true
}

// TestArenaMisuse: what is freed twice, or elsewhere, is told and harms nobody.
func TestArenaMisuse(t *testing.T) {
	t.Parallel()
	a := newArena(t, ArenaOptions{LimitBytes: 1 << 20})
	b := newArena(t, ArenaOptions{LimitBytes: 1 << 20})
	one, err := a.Alloc(512)
	require.NoError(t, err)
	require.ErrorIs(t, b.Free(one), kvferry.ErrInvalid)
	require.ErrorIs(t, a.Free(Buffer{}), kvferry.ErrInvalid)
	require.Nil(t, Buffer{}.Bytes())
	require.NoError(t, a.Free(one))
	require.ErrorIs(t, a.Free(one), kvferry.ErrInvalid)
	two, err := a.Alloc(512) // the same memory again
	require.NoError(t, err)
	require.ErrorIs(t, a.Free(one), kvferry.ErrInvalid)
	require.Nil(t, one.Bytes())
	require.Len(t, two.Bytes(), 512)
	_, err = a.Alloc(-1)
	require.ErrorIs(t, err, kvferry.ErrInvalid)
	require.ErrorIs(t, a.Resize(0), kvferry.ErrInvalid)

	err = a.Close()
	require.ErrorIs(t, err, kvferry.ErrUnknownOutcome)
	require.ErrorContains(t, err, "1 buffers (512 bytes)")
	_, err = a.Alloc(1)
	require.ErrorIs(t, err, kvferry.ErrClosed)
	fill(two.Bytes(), 7) // still memory
	require.NoError(t, a.Free(two))
	require.NoError(t, a.Close())
	require.Zero(t, a.Stats().MappedBytes)
	require.NoError(t, b.Close())
}

// TestArenaLimit: whole pages fit exactly, room of one size goes over to
// another once it is free, and resizing gives it back.
func TestArenaLimit(t *testing.T) {
	t.Parallel()
	a := newArena(t, ArenaOptions{LimitBytes: 10 * 4096})
	var all []Buffer
	for range 10 {
		b, err := a.Alloc(4096)
		require.NoError(t, err)
		all = append(all, b)
	}
	_, err := a.Alloc(4096)
	require.ErrorIs(t, err, kvferry.ErrOutOfMemory)
	_, err = a.Alloc(64)
	require.ErrorIs(t, err, kvferry.ErrOutOfMemory)
	require.EqualValues(t, 2, a.Stats().Refused)
	for _, b := range all {
		require.NoError(t, a.Free(b))
	}
	b, err := a.Alloc(40960)
	require.NoError(t, err)
	require.EqualValues(t, 40960, a.Stats().UsedBytes)
	require.NoError(t, a.Resize(4096))
	require.NoError(t, a.Free(b))
	require.Zero(t, a.Stats().HeldBytes)
	_, err = a.Alloc(8192)
	require.ErrorIs(t, err, kvferry.ErrOutOfMemory)
	require.NoError(t, a.Resize(8192))
	b, err = a.Alloc(8192)
	require.NoError(t, err)
	require.NoError(t, a.Free(b))
	require.NoError(t, a.Close())
}

// TestArenaFailures: an allocator that fails at any one call takes nothing of
// the arena away.
func TestArenaFailures(t *testing.T) {
	t.Parallel()
	for failAt := 1; ; failAt++ {
		alloc := &counted{failAt: failAt}
		a := newArena(t, ArenaOptions{LimitBytes: 1 << 20, SlabBytes: 64 << 10, Allocator: alloc})
		var all []Buffer
		for i := range 100 {
			n := 512 << (i % 6)
			b, err := a.Alloc(n)
			if err != nil {
				require.ErrorIs(t, err, errInjected)
				require.ErrorIs(t, err, kvferry.ErrOutOfMemory)
				b, err = a.Alloc(n)
				require.NoError(t, err)
			}
			all = append(all, b)
		}
		st := a.Stats()
		require.Equal(t, alloc.bytes, st.MappedBytes)
		require.LessOrEqual(t, st.HeldBytes, st.LimitBytes)
		for _, b := range all {
			require.NoError(t, a.Free(b))
		}
		require.NoError(t, a.Close())
		require.Zero(t, alloc.bytes)
		if alloc.failed == 0 {
			require.Greater(t, failAt, 5)
			return
		}
	}
}

// TestArenaConcurrent: no two holders ever have the same memory, and the limit
// holds at every moment.
func TestArenaConcurrent(t *testing.T) {
	t.Parallel()
	const limit = 1 << 20
	alloc := &counted{}
	a := newArena(t, ArenaOptions{LimitBytes: limit, SlabBytes: 64 << 10, Allocator: alloc})
	var wg sync.WaitGroup
	for g := range byte(4) {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(g), 1))
			var held []Buffer
			for range 20000 {
				if len(held) > 0 && r.IntN(2) == 0 {
					i := r.IntN(len(held))
					if !filled(held[i].Bytes(), g) || a.Free(held[i]) != nil || a.Free(held[i]) == nil {
						t.Error("a buffer was not its holder's alone")
					}
					held[i] = held[len(held)-1]
					held = held[:len(held)-1]
					continue
				}
				b, err := a.Alloc(1 << (6 + r.IntN(8)))
				if errors.Is(err, kvferry.ErrOutOfMemory) {
					continue
				}
				fill(b.Bytes(), g)
				held = append(held, b)
			}
			for _, b := range held {
				if a.Free(b) != nil {
					t.Error("free")
				}
			}
		})
	}
	wg.Wait()
	st := a.Stats()
	require.Zero(t, st.Buffers)
	require.Zero(t, st.UsedBytes)
	require.LessOrEqual(t, alloc.most, int64(limit+limit/64*tailBytes))
	require.NoError(t, a.Close())
	require.Zero(t, alloc.bytes)
	require.Zero(t, a.Stats().HeldBytes)
}

func BenchmarkArena(b *testing.B) {
	a := newArena(b, ArenaOptions{LimitBytes: 64 << 20})
	b.Run("op=alloc+free/size=4KiB/goroutines=1", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			buf, err := a.Alloc(4096)
			if err != nil || a.Free(buf) != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("op=alloc+free/size=4KiB/goroutines=GOMAXPROCS", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				buf, err := a.Alloc(4096)
				if err != nil || a.Free(buf) != nil {
					b.Error(err)
				}
			}
		})
	})
	require.NoError(b, a.Close())
}
