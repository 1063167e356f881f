package lsm

import (
	"context"
	"sync"

	"github.com/cockroachdb/pebble/v2"
)

const (
	// maxTables is how many tables may wait in memory to be written, by their greatest
	// size, and maxLevels how many tables on disk may overlap, before writers wait.
	// Pebble's own writers would wait for ever when the tables cannot be written.
	maxTables = 4
	maxLevels = 20
)

// pressure makes writers wait for the background.
type pressure struct {
	mu      sync.Mutex
	look    bool // the tables may have become more
	changed chan struct{}
}

func newPressure() *pressure { return &pressure{changed: make(chan struct{})} }

// listener is told by Pebble what happens.
func (p *pressure) listener(fs *watchedFS) *pebble.EventListener {
	return &pebble.EventListener{
		BackgroundError: fs.fail,
		DataCorruption:  func(pebble.DataCorruptionInfo) {}, // whoever reads is told
		WALCreated:      func(pebble.WALCreateInfo) { p.tell() },
		FlushEnd:        func(pebble.FlushInfo) { p.tell() },
		CompactionEnd:   func(pebble.CompactionInfo) { p.tell() },
	}
}

func (p *pressure) tell() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.look = true
	close(p.changed)
	p.changed = make(chan struct{})
}

// state returns whether the tables are to be looked at, and what is closed at the
// next change of them.
func (p *pressure) state() (look bool, changed <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	look, p.look = p.look, false
	return look, p.changed
}

// full reports whether there are too many tables.
func (x *Index) full() bool {
	m := x.db.Metrics()
	return m.MemTable.Size > maxTables*uint64(x.o.MemTableBytes) || m.Levels[0].Sublevels >= maxLevels
}

// wait waits until the background has caught up.
func (x *Index) wait(ctx context.Context) error {
	for {
		look, changed := x.pressure.state()
		if !look || !x.full() {
			return nil
		}
		select {
		case <-changed:
		case <-x.fs.broken:
			return x.fs.refuse()
		case <-ctx.Done():
			x.pressure.tell() // the next writer looks too
			return ctx.Err()
		}
	}
}
