//go:build cuda

package kernels

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/cuda"
	"github.com/kvferry/kvferry/internal/softcuda"
)

// lab is a device with the kernels, and the means to look at its memory.
type lab struct {
	t      testing.TB
	d      *cuda.Device
	set    *Set
	stream *cuda.Stream
	pinned *cuda.Pinned
	rng    *rand.Rand
	noise  *rand.ChaCha8
	q      cuda.Submission
	used   int // bytes of pinned that copies in q use
}

const labBytes = 8 << 20

func newLab(t testing.TB) *lab {
	t.Helper()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	l := &lab{t: t, d: softcuda.Device(t), rng: rand.New(rand.NewPCG(seed, 1))}
	l.noise = rand.NewChaCha8([32]byte(binary.LittleEndian.AppendUint64(make([]byte, 24), seed)))
	var err error
	l.set, err = Open(t.Context(), l.d, nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, l.set.Close()) })
	l.stream, err = l.d.NewStream(cuda.StreamOptions{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, l.stream.Close()) })
	l.pinned, err = l.d.Pin(labBytes, cuda.PinOptions{Mapped: true})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, l.pinned.Close()) })
	return l
}

// area is device memory with its content, as it ought to be, on the host.
// What is around the bytes under test are its canaries.
type area struct {
	memory *cuda.Memory
	host   []byte
}

// at returns the address of byte i.
func (a *area) at(i int64) cuda.Ptr { return a.memory.Ptr() + cuda.Ptr(i) }

func (a *area) image() image { return image{uint64(a.memory.Ptr()), a.host} }

// random returns an area of n bytes that nobody can guess.
func (l *lab) random(n int64) *area {
	host := make([]byte, n)
	_, _ = l.noise.Read(host) // it cannot fail
	return l.holding(host)
}

// holding returns an area with the content of host, which it keeps. It arrives
// with what is run next.
func (l *lab) holding(host []byte) *area {
	l.t.Helper()
	m, err := l.d.Alloc(int64(max(len(host), 1)))
	require.NoError(l.t, err)
	a := &area{m, host}
	for at := 0; at < len(host); {
		if l.used == labBytes {
			l.run()
		}
		n := copy(l.pinned.Bytes()[l.used:], host[at:])
		l.q.Copy(cuda.Copy{Dst: a.at(int64(at)), Src: l.pinned.DevicePtr() + cuda.Ptr(l.used), Bytes: uint64(n)})
		l.used += n
		at += n
	}
	return a
}

// run submits what was added and waits for it.
func (l *lab) run() {
	l.t.Helper()
	steps := l.q.Len()
	issued, err := l.stream.Submit(&l.q)
	require.NoError(l.t, err)
	require.Equal(l.t, steps, issued)
	l.q.Reset()
	require.NoError(l.t, l.stream.Synchronize())
	l.used = 0
}

// contents returns what is on the device.
func (l *lab) contents(as ...*area) [][]byte {
	l.t.Helper()
	var got [][]byte
	var fetched []func() // copies what is in the pinned memory
	fetch := func() {
		l.run()
		for _, f := range fetched {
			f()
		}
		fetched = fetched[:0]
	}
	for _, a := range as {
		to := make([]byte, len(a.host))
		got = append(got, to)
		for at := 0; at < len(to); {
			if l.used == labBytes {
				fetch()
			}
			n, from, dst := min(labBytes-l.used, len(to)-at), l.used, to[at:]
			l.q.Copy(cuda.Copy{Dst: l.pinned.DevicePtr() + cuda.Ptr(from), Src: a.at(int64(at)), Bytes: uint64(n)})
			fetched = append(fetched, func() { copy(dst, l.pinned.Bytes()[from:from+n]) })
			l.used += n
			at += n
		}
	}
	fetch()
	return got
}

func (l *lab) content(a *area) []byte { return l.contents(a)[0] }

// check compares all of the areas with what they ought to hold, and frees them.
func (l *lab) check(as []*area, what string, args ...any) {
	l.t.Helper()
	for i, got := range l.contents(as...) {
		a := as[i]
		if j := differs(got, a.host); j >= 0 {
			l.t.Fatalf("area %d of %d bytes, byte %d: %#x, want %#x: "+what, append([]any{i, len(a.host), j, got[j], a.host[j]}, args...)...)
		}
		require.NoError(l.t, a.memory.Free())
	}
}

// differs returns the index of the first byte that differs, or -1.
func differs(a, b []byte) int {
	if bytes.Equal(a, b) {
		return -1
	}
	for i := range a {
		if a[i] != b[i] {
			return i
		}
	}
	return -1
}

// addresses returns the images of areas.
func addresses(as []*area) images {
	var is images
	for _, a := range as {
		is = append(is, a.image())
	}
	return is
}
