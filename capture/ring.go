package capture

import (
	"fmt"

	"github.com/kvferry/kvferry/staging"
)

// ring takes staging memory for pages in frames of the given length: as much as
// StagingBytes allows, but no more than all of them need. There are never fewer
// extents than workers and one more, so that nobody waits for ever; where pages
// are large that can be more than StagingBytes. A mover gets large extents,
// because each is one transfer.
func (t *Transfer) ring(frame, pages, groups int, mover bool) (*staging.Ring, error) {
	bytes := t.StagingBytes
	switch {
	case bytes == 0 && mover:
		bytes = MoverStagingBytes
	case bytes == 0:
		bytes = DefaultStagingBytes
	}
	least := max(t.Workers+1, 2)
	extent := pullBatchBytes
	if mover {
		extent = staging.DefaultExtentBytes
	}
	extent = min(extent, bytes/least)
	perExtent := staging.DefaultMaxFrames
	if frame > 0 {
		perExtent = max(1, min(extent/frame, perExtent))
	}
	perExtent = max(1, min(perExtent, (pages+2*least-1)/(2*least))) // small caches are shared by all workers
	want := (pages+perExtent-1)/perExtent + groups - 1              // each group may leave one extent partly filled
	bound := want
	if frame > 0 {
		bound = bytes / (perExtent * frame)
	}
	return staging.NewRing(staging.Options{
		FrameBytes:  frame,
		ExtentBytes: perExtent * frame,
		MaxFrames:   perExtent,
		Extents:     max(min(want, bound), least),
		Allocator:   t.Allocator,
	})
}

// batchRing takes staging memory in which each worker has one extent, of as
// many pages as it reads at a time: readBatchBytes if StagingBytes allows that
// for all of them, but no more than its share of few pages.
func (t *Transfer) batchRing(frame, pages int) (*staging.Ring, error) {
	bytes := t.StagingBytes
	if bytes == 0 {
		bytes = DefaultStagingBytes
	}
	extents := max(t.Workers, 2)
	perExtent := staging.DefaultMaxFrames
	if frame > 0 {
		perExtent = min(perExtent, min(readBatchBytes, bytes/extents)/frame)
	}
	perExtent = max(1, min(perExtent, pages/(4*t.Workers)))
	return staging.NewRing(staging.Options{
		FrameBytes:  frame,
		ExtentBytes: perExtent * frame,
		MaxFrames:   perExtent,
		Extents:     extents,
		Allocator:   t.Allocator,
	})
}

// closeRing gives staging memory back. What the allocator does not take stays
// with it, which is for its owner to know.
func closeRing(r *staging.Ring) error {
	if err := r.Close(); err != nil {
		return fmt.Errorf("staging memory that was not taken back: %w", err)
	}
	return nil
}
