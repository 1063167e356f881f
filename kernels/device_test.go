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

// holding returns an area with the content of host, which it keeps.
func (l *lab) holding(host []byte) *area {
	l.t.Helper()
	m, err := l.d.Alloc(int64(max(len(host), 1)))
	require.NoError(l.t, err)
	a := &area{m, host}
	for at := 0; at < len(host); at += labBytes {
		n := copy(l.pinned.Bytes(), host[at:])
		l.q.Copy(cuda.Copy{Dst: a.at(int64(at)), Src: l.pinned.DevicePtr(), Bytes: uint64(n)})
		l.run()
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
}

// content returns what is on the device.
func (l *lab) content(a *area) []byte {
	l.t.Helper()
	got := make([]byte, len(a.host))
	for at := 0; at < len(got); at += labBytes {
		n := min(labBytes, len(got)-at)
		l.q.Copy(cuda.Copy{Dst: l.pinned.DevicePtr(), Src: a.at(int64(at)), Bytes: uint64(n)})
		l.run()
		copy(got[at:], l.pinned.Bytes()[:n])
	}
	return got
}

// check compares all of the areas with what they ought to hold, and frees them.
func (l *lab) check(as []*area, what string, args ...any) {
	l.t.Helper()
	for i, a := range as {
		got := l.content(a)
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
