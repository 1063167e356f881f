//go:build cuda

package cuda_test

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cuda"
	"github.com/kvferry/kvferry/internal/softcuda"
)

// ptx is that of kvferry's kernels: the software driver runs no other.
func ptx(t testing.TB) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "kernels", "kernels.ptx"))
	require.NoError(t, err)
	return text
}

func loaded(t testing.TB, d *cuda.Device) *cuda.Module {
	t.Helper()
	image, _, err := d.Link(ptx(t), cuda.LinkOptions{})
	require.NoError(t, err)
	m, err := d.Load(image)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close()) })
	return m
}

// TestLaunch runs compare_flags, whose parameters are of two sizes.
func TestLaunch(t *testing.T) {
	r := newRig(t)
	m := loaded(t, r.device)
	f, err := m.Function("compare_flags")
	require.NoError(t, err)
	facts, err := f.Facts()
	require.NoError(t, err)
	require.Positive(t, facts.Registers)
	require.Zero(t, facts.LocalBytes)
	require.GreaterOrEqual(t, facts.MaxThreads, 256)

	const pages, words = 300, 2
	const bytesEach = pages * words * 16
	got, want := r.pin(bytesEach), r.pin(bytesEach)
	noise(got, 1)
	copy(want, got)
	for _, page := range []int{0, 31, 32, 299} {
		want[page*words*16+words*16-1] ^= 1
	}
	onDevice, flags, fewer, out := r.alloc(2*bytesEach), r.alloc(64), r.alloc(64), r.pin(128)
	for range 2 {
		var q cuda.Submission
		var p cuda.Params
		p.Ptr(onDevice.Ptr())
		p.Ptr(onDevice.Ptr() + bytesEach)
		p.Uint32(pages)
		p.Uint32(words)
		p.Ptr(flags.Ptr())
		q.Fill(flags.Ptr(), 0, 64)
		q.Copies([]cuda.Copy{
			{Dst: onDevice.Ptr(), Src: at(got), Bytes: bytesEach},
			{Dst: onDevice.Ptr() + bytesEach, Src: at(want), Bytes: bytesEach},
		}, cuda.Batch)
		q.Launch(f, cuda.Dim{X: 2}, cuda.Dim{X: 256}, 0, &p)
		// Another in the same submission: the first 32 pages only, the other way round.
		p.Reset()
		p.Ptr(onDevice.Ptr() + bytesEach)
		p.Ptr(onDevice.Ptr())
		p.Uint32(32)
		p.Uint32(words)
		p.Ptr(fewer.Ptr())
		q.Fill(fewer.Ptr(), 0xEE, 64)
		q.Launch(f, cuda.Dim{X: 1}, cuda.Dim{X: 32}, 0, &p)
		q.Copies([]cuda.Copy{
			{Dst: at(out), Src: flags.Ptr(), Bytes: 64},
			{Dst: at(out) + 64, Src: fewer.Ptr(), Bytes: 64},
		}, cuda.Batch)
		r.run(&q)
		require.Equal(t, []uint32{1 | 1<<31, 0xEEEEEEEE}, []uint32{binary.LittleEndian.Uint32(out[64:]), binary.LittleEndian.Uint32(out[68:])})
		require.Equal(t, []uint32{1 | 1<<31, 1}, []uint32{binary.LittleEndian.Uint32(out), binary.LittleEndian.Uint32(out[4:])})
		require.Equal(t, uint32(1<<(299%32)), binary.LittleEndian.Uint32(out[299/32*4:]))
	}
}

func TestLaunchBadly(t *testing.T) {
	r := newRig(t)
	m := loaded(t, r.device)
	_, err := m.Function("no_such_kernel")
	require.ErrorIs(t, err, kvferry.ErrNotFound)
	require.ErrorContains(t, err, "no_such_kernel")
	f, err := m.Function("compare_flags")
	require.NoError(t, err)

	var p cuda.Params
	for range 513 {
		p.Uint32(0)
	}
	var q cuda.Submission
	q.Launch(f, cuda.Dim{}, cuda.Dim{}, 0, &p)
	n, err := r.stream.Submit(&q)
	require.ErrorIs(t, err, kvferry.ErrInvalid)
	require.Zero(t, n)

	require.NoError(t, m.Close())
	require.NoError(t, m.Close())
	q.Reset()
	q.Launch(f, cuda.Dim{}, cuda.Dim{}, 0, &p)
	_, err = r.stream.Submit(&q)
	require.ErrorIs(t, err, kvferry.ErrInvalid)
	_, err = f.Facts()
	require.ErrorIs(t, err, kvferry.ErrClosed)
	_, err = m.Function("compare_flags")
	require.ErrorIs(t, err, kvferry.ErrClosed)
}

func TestLinkBadly(t *testing.T) {
	d := softcuda.Device(t)
	_, _, err := d.Link(nil, cuda.LinkOptions{})
	require.ErrorIs(t, err, kvferry.ErrInvalid)
	_, _, err = d.Link(ptx(t), cuda.LinkOptions{MaxRegisters: -1})
	require.ErrorIs(t, err, kvferry.ErrInvalid)
	_, _, err = d.Link([]byte("this is no PTX"), cuda.LinkOptions{})
	require.ErrorIs(t, err, kvferry.ErrInvalid)
	newer := bytes.Replace(ptx(t), []byte(".version 7.0"), []byte(".version 99.0"), 1)
	require.NotEqual(t, ptx(t), newer)
	_, _, err = d.Link(newer, cuda.LinkOptions{})
	require.ErrorIs(t, err, kvferry.ErrUnsupported)
	require.ErrorContains(t, err, "PTX of version 99.0 needs a newer driver")
	image, _, err := d.Link(ptx(t), cuda.LinkOptions{MaxRegisters: 64, LineInfo: true})
	require.NoError(t, err)
	require.NotEmpty(t, image)
}

func TestOldDriver(t *testing.T) {
	softcuda.Only(t)
	softcuda.Reset(t)
	softcuda.SetDriver(11080)
	softcuda.SetCapability(75)
	d := softcuda.Device(t)
	_, _, err := d.Link(ptx(t), cuda.LinkOptions{})
	require.ErrorIs(t, err, kvferry.ErrUnsupported)
	require.ErrorContains(t, err, "PTX for sm_80 does not run on Software GPU")
	require.ErrorContains(t, err, "compute capability 7.5")
	newer := bytes.Replace(ptx(t), []byte(".version 7.0"), []byte(".version 8.8"), 1)
	_, _, err = d.Link(newer, cuda.LinkOptions{})
	require.ErrorIs(t, err, kvferry.ErrUnsupported)
	require.ErrorContains(t, err, "needs a driver of CUDA 12.9 or later, this one is of CUDA 11.8")
}

func TestLoadBadly(t *testing.T) {
	d := softcuda.Device(t)
	for _, image := range [][]byte{nil, []byte("no image"), []byte(elf.ELFMAG + "\x02"), append([]byte(elf.ELFMAG+"\x02"), make([]byte, 60)...)} {
		_, err := d.Load(image)
		require.ErrorIs(t, err, kvferry.ErrInvalid)
	}
	self, err := os.Executable()
	require.NoError(t, err)
	whole, err := os.ReadFile(self) // an image of the same format, if not of a kernel
	require.NoError(t, err)
	_, err = d.Load(whole[:len(whole)/2])
	require.ErrorIs(t, err, kvferry.ErrInvalid)
	require.ErrorContains(t, err, "the image is damaged")
}

// TestLoadOfShortenedImage: a section that lies beyond the end, while the table of
// sections does not.
func TestLoadOfShortenedImage(t *testing.T) {
	d := softcuda.Device(t)
	header := elf.Header64{
		Ident: [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:  uint16(elf.ET_EXEC), Machine: 190, Version: uint32(elf.EV_CURRENT),
		Shoff: 64, Ehsize: 64, Shentsize: 64, Shnum: 3, Shstrndx: 1,
	}
	sections := []elf.Section64{
		{},
		{Type: uint32(elf.SHT_STRTAB), Off: 256, Size: 1},
		{Type: uint32(elf.SHT_PROGBITS), Off: 256, Size: 100},
	}
	var image bytes.Buffer
	require.NoError(t, binary.Write(&image, binary.LittleEndian, header))
	require.NoError(t, binary.Write(&image, binary.LittleEndian, sections))
	image.Write(make([]byte, 50))
	_, err := d.Load(image.Bytes())
	require.ErrorIs(t, err, kvferry.ErrInvalid)
	require.ErrorContains(t, err, "ends after the image")
}
