package kernels

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cuda"
	"github.com/kvferry/kvferry/pipelinecache"
)

// Set is the kernels, loaded on one device. It is safe for concurrent use.
type Set struct {
	device          *cuda.Device
	module          *cuda.Module
	multiprocessors int
	compiled        bool
	cacheErr        error

	gather, scatter               *cuda.Function
	chunks, chunksTile, chunksMad *cuda.Function
	inPlace, merge                *cuda.Function
	compareFlags, compareList     *cuda.Function
	planesLengths, planesOffsets  *cuda.Function
	planesEncode, planesDecode    *cuda.Function

	mu     sync.Mutex // of what follows
	closed bool
	params cuda.Params // of the launch that is being added
	table  []byte      // a parameter that is a structure
}

// Open loads the kernels on d: from cache if it holds the image for this PTX,
// device and driver, else by compiling, which takes a moment; what was compiled
// is put into the cache. A cached image that does not load is compiled anew. cache may be nil.
func Open(ctx context.Context, d *cuda.Device, cache pipelinecache.Store) (*Set, error) {
	if d == nil {
		return nil, fmt.Errorf("kernels: open: no device was given: %w", kvferry.ErrInvalid)
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("kernels: open: %w", err)
	}
	f := d.Facts()
	s := &Set{device: d, multiprocessors: max(f.Multiprocessors, 1)}
	options := cuda.LinkOptions{}
	key := pipelinecache.Kernel{
		PTX: ptx, Major: f.Major, Minor: f.Minor,
		DriverVersion: int(f.Driver), LinkOptions: options.Texts(),
	}.Fingerprint()
	if s.fromCache(ctx, cache, key) {
		return s, nil
	}
	if err := d.Err(); err != nil {
		return nil, fmt.Errorf("kernels: open: %w", err)
	}
	image, _, err := d.Link(ptx, options)
	if err != nil {
		return nil, fmt.Errorf("kernels: open: compile: %w", err)
	}
	if err := s.load(image); err != nil {
		return nil, fmt.Errorf("kernels: open: load what was compiled: %w", err)
	}
	s.compiled = true
	if cache != nil {
		if err := cache.PutShared(ctx, key, image); err != nil {
			s.cacheErr = fmt.Errorf("kernels: keep what was compiled: %w", err)
		}
	}
	return s, nil
}

// fromCache reports whether the cached image was loaded.
func (s *Set) fromCache(ctx context.Context, cache pipelinecache.Store, key pipelinecache.Fingerprint) bool {
	if cache == nil {
		return false
	}
	image, err := cache.GetShared(ctx, key)
	if errors.Is(err, kvferry.ErrNotFound) {
		return false
	}
	if err == nil {
		err = s.load(image)
	}
	if err != nil {
		s.cacheErr = fmt.Errorf("kernels: load the cached image: %w", err)
	}
	return err == nil
}

// load loads an image that has all kernels.
func (s *Set) load(image []byte) error {
	m, err := s.device.Load(image)
	if err != nil {
		return err
	}
	for _, k := range s.kernels() {
		if *k.f, err = m.Function(k.name); err != nil {
			return errors.Join(err, twice(m.Close))
		}
	}
	s.module = m
	return nil
}

// kernel is a kernel's name, and where its function belongs.
type kernel struct {
	name string
	f    **cuda.Function
}

func (s *Set) kernels() []kernel {
	return []kernel{
		{"gather", &s.gather}, {"scatter", &s.scatter},
		{"blake3_chunks", &s.chunks}, {"blake3_chunks_tile", &s.chunksTile}, {"blake3_chunks_mad", &s.chunksMad},
		{"blake3_in_place", &s.inPlace}, {"blake3_merge", &s.merge},
		{"compare_flags", &s.compareFlags}, {"compare_list", &s.compareList},
		{"planes_lengths", &s.planesLengths}, {"planes_offsets", &s.planesOffsets},
		{"planes_encode", &s.planesEncode}, {"planes_decode", &s.planesDecode},
	}
}

// Device returns the device that the kernels are loaded on.
func (s *Set) Device() *cuda.Device { return s.device }

// Compiled reports whether Open compiled, and did not find the image.
func (s *Set) Compiled() bool { return s.compiled }

// CacheErr returns why the cache was of no use to Open, if it failed: neither an
// image that is not there nor one that is keeps the kernels from working.
func (s *Set) CacheErr() error { return s.cacheErr }

// Close unloads the kernels. Nothing in flight may use them. One that failed can
// be tried again; after that, another Close does nothing.
func (s *Set) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	if err := s.module.Close(); err != nil {
		return fmt.Errorf("kernels: close: %w", err)
	}
	s.closed = true
	return nil
}

// begin locks s and empties the parameters; done unlocks it.
func (s *Set) begin(op string) error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return fmt.Errorf("kernels: %s: the kernels were closed: %w", op, kvferry.ErrClosed)
	}
	s.params.Reset()
	return nil
}

func (s *Set) done() { s.mu.Unlock() }

// invalid is what arguments that cannot be right become.
func invalid(op, format string, args ...any) error {
	return fmt.Errorf("kernels: %s: %s: %w", op, fmt.Sprintf(format, args...), kvferry.ErrInvalid)
}
