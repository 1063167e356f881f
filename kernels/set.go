package kernels

import (
	"context"

	"github.com/kvferry/kvferry/cuda"
	"github.com/kvferry/kvferry/pipelinecache"
)

// Set is the kernels, loaded on one device. It is safe for concurrent use.
type Set struct {
	device *cuda.Device
}

// Open loads the kernels on d: from cache if it holds the image for this PTX,
// device and driver, else by compiling, which takes a moment; what was compiled
// is put into the cache. A cached image that does not load is compiled anew. cache may be nil.
func Open(ctx context.Context, d *cuda.Device, cache pipelinecache.Store) (*Set, error) {
	panic("not written yet")
}

// Compiled reports whether Open compiled, and did not find the image.
func (s *Set) Compiled() bool { panic("not written yet") }

// Close unloads the kernels. Nothing in flight may use them.
func (s *Set) Close() error { panic("not written yet") }
