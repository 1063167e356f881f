// Package gpu is a Pager over pages in device memory that an engine owns.
//
// The engine describes its memory once, as a pager.Layout, and hands in the
// device address of each region and an Engine, as for package pager/host.
// Copies then run on streams of this package, ordered with the engine's by
// events in both directions: nothing is read before the engine's queued work
// wrote it, and the engine reads nothing before it has arrived. Nothing waits
// for the engine's whole device.
//
// A job is cut into batches, each one submission. Those of a direction take
// turns on two streams with a staging extent each, so that one is copied while
// the other is gathered into or scattered from; staging is used again in the
// order of its stream. Page sets of the two directions are compared: a copy
// waits for an earlier one the other way only where they may share a page.
//
// A job ends as Done, as NotStarted, or as Unknown. NotStarted also says that a
// job which had begun was given up, or failed, and that nothing of it moves any
// more: what it wrote to is unspecified, and may be used again. After Unknown
// its frames, the pages that it writes and the staging stay fenced.
package gpu

import (
	"time"

	"github.com/kvferry/kvferry/codec/planes"
	"github.com/kvferry/kvferry/cuda"
	"github.com/kvferry/kvferry/kernels"
	"github.com/kvferry/kvferry/pager"
)

// Engine is what a serving process provides besides its memory. Its Pause need
// not wait for the device: queued work is ordered by events. One that also
// implements Guard, pager.Releaser, pager.Reserver or pager.Generations passes
// these abilities on to the Pager; its generations must only grow, and need not
// know of pages that are written through the Pager: those are counted here.
type Engine = pager.Engine

// Guard is an optional ability of an Engine: to refuse the copy of a page.
type Guard = pager.Guard

// Config says what New works on.
type Config struct {
	Device  *cuda.Device
	Kernels *kernels.Set
	// Layout describes the memory. It is checked and not kept.
	Layout *pager.Layout
	// Regions is the device address of each region of the layout. Each has to
	// lie, with its length, in memory that was allocated or reserved in one piece
	// on Device.
	Regions []cuda.Ptr
	Engine  Engine
	// Streams are handles of the engine's streams that write or read pages
	// (CUstream; 0 is the legacy stream). A job waits for what was queued in them
	// when it was submitted; what the engine queues in them after a copy in
	// waits for that copy. While one is being captured into a graph, jobs are
	// refused (ErrInvalid) and the capture goes on; if it begins when a copy in
	// is under way, only what is launched after that copy is Done waits for it.
	Streams []uintptr
	// Fingerprint, if set, is what the engine believes the canonical form to
	// be; another one is ErrLayoutMismatch.
	Fingerprint *pager.Fingerprint
	// StagingBytes bounds the device memory for gathered pages, in each
	// direction, and the pinned memory for frames that are not pinned; 0 means
	// DefaultStagingBytes, or what two pages need if that is more.
	StagingBytes int64
	// Blocks bounds the grids, so that a running model keeps its
	// multiprocessors; 0 leaves it to package kernels.
	Blocks int
	// Paths chooses how runs are copied; nil means DefaultPaths. A table that
	// was measured on another device or driver is ErrInvalid.
	Paths *Paths
	// Link is as what pages cross the link. For LinkPlanes as much device and
	// pinned memory again is taken as for staging.
	Link Link
	// Windows are those of LinkPlanes for each part and layer, from the Windows
	// of a Pager of the same model; nil lets them be tuned by the first pages.
	Windows []planes.Params
	// Coders is how many goroutines code pages of LinkPlanes in each direction; 0
	// means DefaultCoders, or as many as there are processors.
	Coders int
	// Priority of the streams, lower first.
	Priority int
	// DrainTimeout is how long Close, and a job whose deadline passed, wait for
	// copies under way before they are fenced; 0 means DefaultDrainTimeout.
	DrainTimeout time.Duration
}

// Defaults of Config.
const (
	DefaultStagingBytes = 32 << 20
	DefaultDrainTimeout = 10 * time.Second
	DefaultCoders       = 4
)
