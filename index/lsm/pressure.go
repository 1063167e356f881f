package lsm

import (
	"context"
	"sync"

	"github.com/cockroachdb/pebble/v2"
)

const (
	// maxTables is how many tables may wait in memory to be written, and maxLevels
	// how many tables on disk may overlap, before writers wait. Pebble's own
	// writers would wait for ever when the tables cannot be written.
	maxTables = 4
	maxLevels = 20
)

// pressure makes writers wait for the background.
type pressure struct {
	mu      sync.Mutex
	tables  int
	look    bool // the levels may have grown
	changed chan struct{}
}

func newPressure() *pressure { return &pressure{changed: make(chan struct{})} }

// listener is told by Pebble what happens.
func (p *pressure) listener(fs *watchedFS) *pebble.EventListener {
	return &pebble.EventListener{
		BackgroundError: fs.fail,
		DataCorruption:  func(pebble.DataCorruptionInfo) {}, // whoever reads is told
		WALCreated:      func(pebble.WALCreateInfo) { p.tell(1) },
		FlushEnd: func(i pebble.FlushInfo) {
			if i.Err == nil {
				p.tell(-i.Input)
			}
		},
		CompactionEnd: func(pebble.CompactionInfo) { p.tell(0) },
	}
}

func (p *pressure) tell(more int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tables = max(0, p.tables+more)
	p.look = true
	close(p.changed)
	p.changed = make(chan struct{})
}

// reset forgets the tables of the opening.
func (p *pressure) reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tables = 0
}

// state returns whether there are too many tables in memory, whether the levels
// are to be looked at, and what is closed at the next change.
func (p *pressure) state() (full, look bool, changed <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	look, p.look = p.look, false
	return p.tables > maxTables, look, p.changed
}

// wait waits until the background has caught up.
func (x *Index) wait(ctx context.Context) error {
	for {
		full, look, changed := x.pressure.state()
		if !full && look {
			full = x.db.Metrics().Levels[0].Sublevels >= maxLevels
		}
		if !full {
			return nil
		}
		select {
		case <-changed:
		case <-x.fs.broken:
			return x.fs.refuse()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
