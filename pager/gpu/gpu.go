// Package gpu is a Pager over pages in device memory that an engine owns.
//
// The engine describes its memory once, as a pager.Layout, and hands in the
// device address of each region and an Engine, as for package pager/host.
// Copies then run on streams of this package, ordered with the engine's by
// events in both directions: nothing is read before the engine's queued work
// wrote it, and the engine reads nothing before it has arrived. Nothing waits
// for the engine's whole device.
package gpu

import (
	"context"
	"time"

	"github.com/kvferry/kvferry/cuda"
	"github.com/kvferry/kvferry/kernels"
	"github.com/kvferry/kvferry/pager"
)

// Engine is what a serving process provides besides its memory. The methods
// have the meaning, the errors and the rules on ownership that pager.Pager
// gives to those of the same name; they are called from one goroutine at a
// time. Pause need not wait for the device: queued work is ordered by events.
//
// An engine that also implements pager.Releaser, pager.Reserver or
// pager.Generations passes these abilities on to the Pager, and Guard what it
// knows of single pages.
type Engine interface {
	// Pause stops the engine between two steps.
	Pause(ctx context.Context) error
	// Resume lets the engine go on.
	Resume(ctx context.Context) error
	// OccupiedPages returns the pages that hold valid data, ascending.
	OccupiedPages(ctx context.Context) ([]pager.PageID, error)
	// LogicalSeqs returns the live sequences.
	LogicalSeqs(ctx context.Context) ([]pager.LogicalSeq, error)
	// AllocatePages takes n free pages; all or none, ErrOutOfMemory if there are
	// too few.
	AllocatePages(ctx context.Context, n int) ([]pager.PageID, error)
	// InstallLogicalSeqs replaces the live sequences.
	InstallLogicalSeqs(ctx context.Context, seqs []pager.LogicalSeq) error
}

// Guard is an optional ability of an Engine: to refuse the copy of a page that
// holds nothing or belongs to nobody. It is called from several goroutines.
type Guard interface {
	// CheckRead returns ErrNotFound if page id holds no valid data.
	CheckRead(id pager.PageID) error
	// CheckWrite returns ErrNotFound if page id is not allocated.
	CheckWrite(id pager.PageID) error
}

// Config says what New works on.
type Config struct {
	Device  *cuda.Device
	Kernels *kernels.Set
	// Layout describes the memory. It is checked and not kept.
	Layout *pager.Layout
	// Regions is the device address of each region of the layout. Each has to
	// lie, with its length, in one allocation on Device.
	Regions []cuda.Ptr
	Engine  Engine
	// Streams are handles of the engine's streams that write or read pages
	// (CUstream; 0 is the legacy stream). Copies out wait for what is queued in them,
	// and so do copies into pages; what the engine queues in them after a copy in
	// waits for that copy.
	Streams []uintptr
	// Fingerprint, if set, is what the engine believes the canonical form to
	// be; another one is ErrLayoutMismatch.
	Fingerprint *pager.Fingerprint
	// StagingBytes bounds the device memory for gathered pages, in each
	// direction, and the pinned memory for frames that are not pinned; 0 means DefaultStagingBytes.
	StagingBytes int64
	// Blocks bounds the grids, so that a running model keeps its multiprocessors; 0 leaves it
	// to package kernels.
	Blocks int
	// Paths chooses how runs are copied; nil means DefaultPaths.
	Paths *Paths
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
)

// Pager is a Pager with its optional abilities: see With. It has to be closed.
type Pager struct{}

// New checks cfg, registers the layout with the device and returns a Pager. A
// layout that Validate refuses, regions that overlap or exceed their
// allocation, addresses of another device or of host memory are ErrInvalid.
func New(cfg Config) (*Pager, error) { panic("not written yet") }

// View returns the pager with the abilities that it and its engine have: Mover,
// Digester with Comparer, and the engine's own.
func (p *Pager) View() pager.Pager { panic("not written yet") }

// Close waits for copies under way and frees what New took. Copies that do not
// end keep their memory fenced: ErrUnknownOutcome. The engine's memory is not
// touched.
func (p *Pager) Close() error { panic("not written yet") }

// Stats are counts since New.
type Stats struct {
	Jobs        uint64
	Pages       uint64 // moved
	Bytes       uint64 // that crossed the link, digests and tables included
	Submissions uint64 // calls of Stream.Submit
	Launches    uint64
	Copies      uint64 // handed to the driver, after merging
	Fenced      uint64 // pages whose copy has no known end
}

// Stats returns the counts.
func (p *Pager) Stats() Stats { panic("not written yet") }
