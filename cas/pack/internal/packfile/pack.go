package packfile

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"slices"
	"sync"

	"github.com/kvferry/kvferry/internal/vfs"
)

const (
	// firstRoomBytes is what is reserved for a new pack, so that a small store
	// stays small. When it is used up it grows in few steps: each of them waits
	// for the writes in flight.
	firstRoomBytes = 8 << 20
	roomGrowth     = 8
	// maxTries bounds the search for a free id and for a pack to adopt.
	maxTries = 1000
	// maxLeaving is how many full packs may wait to become durable while the
	// next one is written.
	maxLeaving = 1
)

// pack is a pack that a lane writes. The lane's mu guards the fields from end
// on, unless they say otherwise.
type pack struct {
	id     uint64
	header Header // of a pack that was made here
	file   vfs.File
	limit  int64 // no record but the first may reach beyond

	end       int64 // where the next buffer begins; the open one is not in it
	allocated int64 // room is reserved up to here; belongs to the turn
	synced    int64 // everything below is durable
	partial   bool  // something was given up without an error of the file
	err       error // poisoned
	told      bool  // ... and Lost has returned
	gone      bool  // no longer the lane's concern
	refs      int   // records that Append returned and ReleaseAll has not seen
	kept      bool  // open only for its lock, until they are released

	// syncing is held while the file is made durable or closed. It comes
	// before mu.
	syncing sync.Mutex
	entered bool // its directory entry is durable; guarded by syncing
}

// holds tells whether a record may lie at the offset.
func (p *pack) holds(at, bytes int64) bool { return at <= firstOff || at+bytes <= p.limit }

// settled tells whether nobody is still to hear that the pack is lost.
func (p *pack) settled() bool { return p.err == nil || p.told }

// begin makes the next pack active. The turn is held.
func (l *Lane) begin(ctx context.Context) error {
	if err := l.await(ctx, func() bool { return len(l.leaving) <= maxLeaving }); err != nil {
		return err
	}
	p := l.adopt()
	if p == nil {
		var err error
		if p, err = l.create(ctx); err != nil {
			return cause(err)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.active = p
	return nil
}

func (l *Lane) mode() vfs.Mode {
	if l.o.Direct {
		return vfs.ReadWrite | vfs.Direct
	}
	return vfs.ReadWrite
}

// create makes a pack of a new name. Its header is written with its first
// records.
func (l *Lane) create(ctx context.Context) (*pack, error) {
	for range maxTries {
		id := l.o.NextID()
		f, err := l.o.FS.Open(Path(id), vfs.Create|vfs.Exclusive|l.mode())
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		mine, err := l.own(ctx, f, id)
		if !mine {
			// An empty file that is left over counts as no pack, so the first
			// error is the one to tell.
			if err != nil {
				_ = l.o.FS.Remove(Path(id))
			}
			_ = f.Close()
		}
		if err != nil {
			return nil, err
		}
		if mine {
			h := Header{ID: id, Class: l.o.Class, Store: l.o.StoreID, Stream: l.o.Stream, Created: l.o.Now()}
			return &pack{id: id, header: h, file: f, limit: l.o.PackBytes}, nil
		}
	}
	return nil, fmt.Errorf("no free pack id in %d tries: %w", maxTries, fs.ErrExist)
}

// own locks a new file. Until it is locked, a collector may take it for a left
// over one and remove it: then it is not mine.
func (l *Lane) own(ctx context.Context, f vfs.File, id uint64) (mine bool, err error) {
	if err := f.Lock(ctx); err != nil {
		return false, err
	}
	return l.named(f, id)
}

// named tells whether f is the file that has the pack's name.
func (l *Lane) named(f vfs.File, id uint64) (bool, error) {
	opened, err := f.Stat()
	if err != nil {
		return false, err
	}
	there, err := l.o.FS.Stat(Path(id))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && there.ID == opened.ID, err
}

// adopt returns a pack of a dead process to go on with, or nil. One that cannot
// be had for whatever reason is none: a new one is as good.
func (l *Lane) adopt() *pack {
	if l.o.Adopt == nil {
		return nil
	}
	for range maxTries {
		id, end, ok := l.o.Adopt()
		if !ok {
			return nil
		}
		if end = roundUp(max(end, firstOff)); end >= l.o.PackBytes || l.isLost(id) {
			continue
		}
		f, err := l.o.FS.Open(Path(id), l.mode())
		if err != nil {
			continue
		}
		if l.fitToAdopt(f, id, end) {
			return &pack{id: id, file: f, limit: l.o.PackBytes, end: end, synced: end, allocated: end}
		}
		_ = f.Close() // nothing was written
	}
	return nil
}

func (l *Lane) isLost(id uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lost[id] != nil
}

// fitToAdopt locks the pack if nobody else has it, and cuts off what the log
// knows nothing of, so that what follows the end reads as zeros.
func (l *Lane) fitToAdopt(f vfs.File, id uint64, end int64) bool {
	if free, err := f.TryLock(); !free || err != nil {
		return false
	}
	if same, err := l.named(f, id); !same || err != nil {
		return false
	}
	h, err := readHeader(f)
	if err != nil || h.ID != id || h.Class != l.o.Class || h.Store != l.o.StoreID {
		return false
	}
	info, err := f.Stat()
	return err == nil && roundUp(info.Size) >= end && f.Truncate(end) == nil
}

// grow reserves room up to need, and ahead of it if there is any.
func (p *pack) grow(need int64) error {
	need = roundUp(need)
	want := max(need, min(max(firstRoomBytes, roomGrowth*p.allocated), p.limit))
	err := p.file.Allocate(want)
	if noSpace(err) && want > need {
		want = need
		err = p.file.Allocate(want)
	}
	if errors.Is(err, errors.ErrUnsupported) {
		p.allocated = math.MaxInt64
		return nil
	}
	if err != nil {
		return cause(err)
	}
	p.allocated = want
	return nil
}

// rollOver ends the active pack and returns it. The turn is held.
func (l *Lane) rollOver(durable bool) *pack {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closeBufferLocked()
	p := l.active
	if p != nil {
		l.active = nil
		l.leaving = append(l.leaving, p)
		l.jobs.Go(func() { l.retire(p, durable) })
	}
	return p
}

// retire closes a pack that gets no more records, once everything is written.
func (l *Lane) retire(p *pack, durable bool) {
	_ = l.await(context.Background(), func() bool { return l.writtenLocked(math.MaxUint64, p) })
	p.syncing.Lock()
	defer p.syncing.Unlock()
	err := l.trim(p)
	if durable {
		l.syncHeld(p, p.end)
	}
	if !l.keep(p) {
		err = errors.Join(err, p.file.Close())
	}
	_ = l.await(context.Background(), p.settled)

	l.mu.Lock()
	defer l.mu.Unlock()
	p.gone = true
	if err != nil && p.err == nil {
		l.odd = append(l.odd, cause(err))
	}
	l.leaving = slices.DeleteFunc(l.leaving, func(q *pack) bool { return q == p })
	l.signalLocked()
}

// trim gives back the room that was reserved and not used. A pack without a
// record is removed.
func (l *Lane) trim(p *pack) error {
	if p.end <= firstOff {
		return l.o.FS.Remove(Path(p.id))
	}
	if p.allocated == math.MaxInt64 || p.allocated == p.end {
		return nil
	}
	return p.file.Truncate(p.end)
}
