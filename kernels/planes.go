package kernels

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/kvferry/kvferry/codec/planes"
	"github.com/kvferry/kvferry/cuda"
)

const (
	planesThreads  = 128 // KF_PLANES_THREADS in planes.h
	planesWarps    = planesThreads / 32
	offsetsThreads = 256 // KF_OFFSETS_THREADS in planes_offsets.cu
	mostSegments   = 1 << 16
	// PlaceBytes is the length of a Place in device memory.
	PlaceBytes = 16
	// WindowsBytes is the length of the windows of one segment in device memory.
	WindowsBytes = 8
	// blockBytes is the length of KfBlock in planes.h.
	blockBytes = 16
)

// Planes are pages of bfloat16 values in device memory, and their payloads in
// the format of package codec/planes.
type Planes struct {
	Shape planes.Shape // of a page
	Tail  int64        // bytes of a page behind its segments
	Count int          // pages
	// Pages are Count pages, one every Stride bytes. Both numbers are even.
	Pages  cuda.Ptr
	Stride int64
	// Payloads are PayloadBytes of device memory, at a multiple of 16.
	// EncodePlanes writes payloads one behind the other and needs
	// PlanesBytes(Shape, Tail, Count); it fills what it tells by Places.
	Payloads     cuda.Ptr
	PayloadBytes int64
	// Places is where the payload of each page lies: Count Places, at a multiple
	// of 16, and for EncodePlanes one more, whose Offset is the length of all
	// payloads together.
	Places cuda.Ptr
	Blocks int // bound of the grids; 0 means none
}

// Place is where a payload lies among others.
type Place struct {
	Offset uint64 // in bytes: a multiple of 16 where EncodePlanes sets it, of 8 for DecodePlanes
	Bytes  uint32
}

// PlaceAt reads Place i of a table that is copied from device memory.
func PlaceAt(table []byte, i int) Place {
	b := table[i*PlaceBytes:]
	return Place{binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint32(b[8:])}
}

// PutPlace writes Place i of a table that is to be copied to device memory.
func PutPlace(table []byte, i int, p Place) {
	b := table[i*PlaceBytes:][:PlaceBytes]
	binary.LittleEndian.PutUint64(b, p.Offset)
	binary.LittleEndian.PutUint64(b[8:], uint64(p.Bytes))
}

// AppendWindows appends the windows of one segment as device memory has them.
func AppendWindows(b []byte, p planes.Params) []byte {
	return append(b, p.First, p.Down, p.Low, p.Top, byte(p.Second), byte(p.Third), 0, 0)
}

// PlanesBytes returns the room that the payloads of count pages need at most:
// math.MaxInt64 for pages that cannot be.
func PlanesBytes(s planes.Shape, tail int64, count int) int64 {
	p := Planes{Shape: s, Tail: tail, Count: count}
	if p.checkShape("planes") != nil {
		return math.MaxInt64
	}
	return int64(count) * int64(planes.MaxBytes(s, s.Bytes()+int(tail))+widest-1) &^ (widest - 1)
}

// PlanesScratch returns the scratch memory that EncodePlanes needs.
func PlanesScratch(s planes.Shape, count int) int64 {
	return int64(count) * int64(s.Segments) * blockBytes
}

// EncodePlanes adds the coding of pages: what planes.Encoder makes of each with
// the windows, byte for byte. Windows has WindowsBytes for each segment, at a
// multiple of 8; scratch PlanesScratch, at a multiple of 16.
func (s *Set) EncodePlanes(q *cuda.Submission, p Planes, windows, scratch cuda.Ptr) error {
	const op = "encode planes"
	if err := p.check(op); err != nil {
		return err
	}
	if p.Count == 0 {
		return nil
	}
	switch need := PlanesBytes(p.Shape, p.Tail, p.Count); {
	case p.PayloadBytes < need:
		return invalid(op, "%d bytes for payloads, want %d", p.PayloadBytes, need)
	case windows == 0 || windows%WindowsBytes != 0:
		return invalid(op, "windows at %#x, want a multiple of %d that is not 0", uint64(windows), WindowsBytes)
	case scratch == 0 || scratch%widest != 0:
		return invalid(op, "scratch at %#x, want a multiple of %d that is not 0", uint64(scratch), widest)
	}
	if err := s.begin(op); err != nil {
		return err
	}
	defer s.done()
	s.table = p.appendShape(s.table[:0])
	q.Fill(p.Places, 0, int64(p.Count+1)*PlaceBytes)
	s.params.Ptr(scratch)
	s.params.Ptr(p.Places)
	s.params.Ptr(p.Pages)
	s.params.Ptr(windows)
	s.params.Struct(s.table, 8)
	q.Launch(s.planesLengths, p.grid(p.Shape.Segments), cuda.Dim{X: planesThreads}, 0, &s.params)
	s.params.Reset()
	s.params.Ptr(p.Places)
	s.params.Struct(s.table, 8)
	q.Launch(s.planesOffsets, cuda.Dim{X: 1}, cuda.Dim{X: offsetsThreads}, 0, &s.params)
	s.params.Reset()
	s.params.Ptr(p.Payloads)
	s.params.Ptr(p.Places)
	s.params.Ptr(scratch)
	s.params.Ptr(p.Pages)
	s.params.Ptr(windows)
	s.params.Struct(s.table, 8)
	q.Launch(s.planesEncode, p.grid(p.Shape.Segments+1), cuda.Dim{X: planesThreads}, 0, &s.params)
	return nil
}

// DecodePlanes adds the decoding of payloads, those of planes.Encoder or of
// EncodePlanes. bad has a word for each page, at a multiple of 4: not 0 for a
// payload that planes.Decoder refuses, or that is of another shape or level; its
// page is then unspecified. Whatever a payload or a Place is, nothing is read
// outside of Payloads and nothing written outside of the pages. That a page is the
// one that was coded is for a digest to tell.
func (s *Set) DecodePlanes(q *cuda.Submission, p Planes, bad cuda.Ptr) error {
	const op = "decode planes"
	if err := p.check(op); err != nil {
		return err
	}
	if p.Count == 0 {
		return nil
	}
	if bad == 0 || bad%4 != 0 {
		return invalid(op, "what is bad at %#x, want a multiple of 4 that is not 0", uint64(bad))
	}
	if err := s.begin(op); err != nil {
		return err
	}
	defer s.done()
	s.table = p.appendShape(s.table[:0])
	q.Fill(bad, 0, int64(p.Count)*4)
	s.params.Ptr(p.Pages)
	s.params.Ptr(bad)
	s.params.Ptr(p.Payloads)
	s.params.Uint64(uint64(p.PayloadBytes))
	s.params.Ptr(p.Places)
	s.params.Struct(s.table, 8)
	q.Launch(s.planesDecode, p.grid(p.Shape.Segments+1), cuda.Dim{X: planesThreads}, 0, &s.params)
	return nil
}

// pageBytes returns the length of a page.
func (p *Planes) pageBytes() int64 { return int64(p.Shape.Bytes()) + p.Tail }

// checkShape returns ErrInvalid for pages that cannot be.
func (p *Planes) checkShape(op string) error {
	if err := p.Shape.Validate(); err != nil {
		return fmt.Errorf("kernels: %s: %w", op, err)
	}
	switch {
	case p.Shape.Segments > mostSegments:
		return invalid(op, "%d segments, want at most %d", p.Shape.Segments, mostSegments)
	case p.Tail < 0 || p.Tail > math.MaxInt32 || p.pageBytes() > math.MaxInt32:
		return invalid(op, "pages of %d bytes and %d more, want at most %d", p.Shape.Bytes(), p.Tail, math.MaxInt32)
	case p.Count < 0 || p.Count > math.MaxInt32/(p.Shape.Segments+1):
		return invalid(op, "%d pages of %d segments: want fewer at once", p.Count, p.Shape.Segments)
	}
	return nil
}

func (p *Planes) check(op string) error {
	if err := p.checkShape(op); err != nil {
		return err
	}
	switch {
	case p.Blocks < 0:
		return invalid(op, "a grid of %d blocks", p.Blocks)
	case p.Count == 0:
	case p.Pages == 0 || p.Pages%2 != 0 || p.Stride%2 != 0:
		return invalid(op, "pages at %#x every %d bytes, want even numbers that are not 0", uint64(p.Pages), p.Stride)
	case p.Stride < p.pageBytes():
		return invalid(op, "a stride of %d bytes, want at least a page's %d", p.Stride, p.pageBytes())
	case !fits(uint64(p.Pages), uint64(p.Count), uint64(p.Stride)):
		return invalid(op, "%d pages every %d bytes from %#x end beyond what an address can name", p.Count, p.Stride, uint64(p.Pages))
	case p.Payloads == 0 || p.Payloads%widest != 0:
		return invalid(op, "payloads at %#x, want a multiple of %d that is not 0", uint64(p.Payloads), widest)
	case p.PayloadBytes < 0 || !fits(uint64(p.Payloads), 1, uint64(p.PayloadBytes)):
		return invalid(op, "%d bytes of payloads at %#x", p.PayloadBytes, uint64(p.Payloads))
	case p.Places == 0 || p.Places%widest != 0:
		return invalid(op, "places at %#x, want a multiple of %d that is not 0", uint64(p.Places), widest)
	}
	return nil
}

// grid returns the blocks for perPage warps for each page.
func (p *Planes) grid(perPage int) cuda.Dim {
	blocks := (perPage*p.Count + planesWarps - 1) / planesWarps
	if p.Blocks > 0 {
		blocks = min(blocks, p.Blocks)
	}
	return cuda.Dim{X: uint32(min(blocks, mostBlocks))}
}

// appendShape appends KfShape of planes.h.
func (p *Planes) appendShape(b []byte) []byte {
	b = appendWords(b, uint32(p.Shape.Segments), uint32(p.Shape.Rows), uint32(p.Shape.Cols), uint32(p.Tail), uint32(p.Count), 0)
	return binary.LittleEndian.AppendUint64(b, uint64(p.Stride))
}
