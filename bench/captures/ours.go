package captures

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/bench/harness"
	"github.com/kvferry/kvferry/capture"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/codec"
	"github.com/kvferry/kvferry/pager"
	"github.com/kvferry/kvferry/pager/synthetic"
)

// Goals, as ratios of a run.
const (
	saveOfHash    = 0.70 // of BLAKE3 alone, into memory
	restoreOfHash = 0.85
	autoOfRaw     = 1.25 // into packs, in bytes of K and V per second
	autoStored    = 0.72 // of the bytes
)

// take captures all pages into a store that open makes, and closes it.
func (w *world) take(ctx context.Context, open func() (cas.Store, error), mode codec.Mode) (rep capture.Report, err error) {
	s, err := open()
	if err != nil {
		return rep, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	rep, err = capture.Capture(ctx, w.from, s, capture.Options{Codec: mode})
	if err == nil && rep.Bytes != int64(len(w.flat)) {
		err = fmt.Errorf("bench: captured %d of %d bytes: %w", rep.Bytes, len(w.flat), kvferry.ErrCorrupt)
	}
	return rep, err
}

func (w *world) inMemory() (cas.Store, error) { return w.memory() }
func (w *world) inPacks() (cas.Store, error)  { return w.packs() }

// capture is the suite of that name.
func (w *world) capture(ctx context.Context) error {
	hash := w.hashLimits()
	save := w.rate(w.name("capture", "store=mem"), harness.Ours, func(ctx context.Context) (time.Duration, error) {
		rep, err := w.take(ctx, w.inMemory, codec.Auto)
		return rep.Elapsed, err
	})
	peers, err := w.peers(ctx, "capture")
	if err != nil {
		return err
	}
	if w.c.times > 1 { // too little for a disk
		err := w.turns(ctx)
		w.besideHash(save, hash, harness.Goal{})
		save.Beside(peers.memory...)
		return err
	}
	w.copyLimit()
	disk := w.writeLimit()
	stored := w.s.Figure(w.name("stored", "store=pack/codec=auto"), harness.Times)
	stored.Note, stored.Goal.AtMost = "bytes in the store to bytes of K and V", autoStored
	raw, auto := w.toPacks(codec.OnlyRaw, nil), w.toPacks(codec.Auto, stored)
	if err := w.turns(ctx); err != nil {
		return err
	}
	w.besideHash(save, hash, harness.Goal{AtLeast: saveOfHash})
	save.Beside(peers.memory...)
	raw.Versus(disk, harness.Goal{}).Beside(peers.file...)
	auto.Versus(raw, harness.Goal{AtLeast: autoOfRaw}).Beside(peers.file...)
	return nil
}

// toPacks adds captures into packs on the disk. What is stored of each byte is
// added to share.
func (w *world) toPacks(mode codec.Mode, share *harness.Figure) *harness.Figure {
	return w.rate(w.name("capture", "store=pack/codec="+mode.String()), harness.Ours, func(ctx context.Context) (time.Duration, error) {
		rep, err := w.take(ctx, w.inPacks, mode)
		if err == nil && share != nil {
			share.Add(float64(rep.StoredBytes) / float64(rep.Bytes))
		}
		return rep.Elapsed, err
	})
}

// besideHash holds a figure against what hashing takes. The limit is the kernel
// in use; what the others would say is a note.
func (w *world) besideHash(f *harness.Figure, h hashes, g harness.Goal) {
	f.Versus(h.ours, g)
	of := func(limit *harness.Figure) float64 {
		other := *f
		return 100 * harness.Median(other.Versus(limit, g).Ratios)
	}
	if len(f.Samples) > 0 {
		f.Note = fmt.Sprintf("%.0f %% of BLAKE3 by zeebo, %.0f %% of one copy and its hash", of(h.library), of(h.copied))
	}
}

// restore is the suite of that name.
func (w *world) restore(ctx context.Context) error {
	var err error
	if w.to, err = w.engine(w.pages()); err != nil {
		return err
	}
	hash := w.hashLimits()
	back, err := w.fromStore(ctx, "store=mem", w.inMemory, codec.Auto)
	if err != nil {
		return err
	}
	peers, err := w.peers(ctx, "restore")
	if err != nil {
		return err
	}
	if w.c.times > 1 {
		err := w.turns(ctx)
		w.besideHash(back, hash, harness.Goal{})
		back.Beside(peers.memory...)
		return err
	}
	w.copyLimit()
	disk, err := w.readLimit()
	if err != nil {
		return err
	}
	raw, err := w.fromStore(ctx, "store=pack/codec=raw", w.inPacks, codec.OnlyRaw)
	if err != nil {
		return err
	}
	auto, err := w.fromStore(ctx, "store=pack/codec=auto", w.inPacks, codec.Auto)
	if err != nil {
		return err
	}
	if err := w.turns(ctx); err != nil {
		return err
	}
	w.besideHash(back, hash, harness.Goal{AtLeast: restoreOfHash})
	back.Beside(peers.memory...)
	raw.Versus(disk, harness.Goal{}).Beside(peers.file...)
	auto.Versus(raw, harness.Goal{}).Beside(peers.file...)
	return nil
}

// fromStore adds restores from a store that holds the pages from now on. They
// go into an engine whose memory is there and whose pages are free.
func (w *world) fromStore(ctx context.Context, rest string, open func() (cas.Store, error), mode codec.Mode) (*harness.Figure, error) {
	s, err := open()
	if err != nil {
		return nil, err
	}
	w.last = append(w.last, s.Close)
	rep, err := capture.Capture(ctx, w.from, s, capture.Options{Codec: mode})
	if err != nil {
		return nil, err
	}
	to := w.to.With(synthetic.Releaser)
	once := func(ctx context.Context) (time.Duration, error) {
		if err := empty(ctx, to); err != nil {
			return 0, err
		}
		back, err := capture.Restore(ctx, s, rep.Root, to, capture.RestoreOptions{})
		if err == nil && back.Bytes != int64(len(w.flat)) {
			err = fmt.Errorf("bench: restored %d of %d bytes: %w", back.Bytes, len(w.flat), kvferry.ErrCorrupt)
		}
		return back.Elapsed, err
	}
	if _, err := once(ctx); err != nil { // the system finds the memory now
		return nil, err
	}
	return w.rate(w.name("restore", rest), harness.Ours, once), nil
}

// empty takes everything out of an engine.
func empty(ctx context.Context, p pager.Pager) error {
	ids, err := p.OccupiedPages(ctx)
	if err != nil || len(ids) == 0 {
		return err
	}
	if err := p.InstallLogicalSeqs(ctx, nil); err != nil {
		return err
	}
	r, ok := p.(pager.Releaser)
	if !ok {
		return fmt.Errorf("bench: the engine cannot release pages: %w", kvferry.ErrUnsupported)
	}
	return r.ReleasePages(ctx, ids)
}
