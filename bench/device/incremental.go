package main

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/capture"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/cas/mem"
	"github.com/kvferry/kvferry/cuda"
	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/pager"
)

// percents are the shares of the pages that change between two captures.
func percents() []int { return []int{0, 5, 50, 100} }

// goalPercent is the one that a goal is about.
const goalPercent = 5

// A page is changed in its first changedBytes, which become changedByte: no run of
// equal bytes is in the pattern, nor what frames are spoiled with.
const (
	changedByte  = 0x5c
	changedBytes = 16
)

// measureIncremental finds and fetches the pages that changed, by itself and as
// a whole capture, beside one contiguous copy of the whole cache.
func measureIncremental(b *bench) error {
	if err := b.kernels(); err != nil {
		return err
	}
	meta, err := tinyLlama()
	if err != nil {
		return err
	}
	mark := b.mark()
	w, frames, host, note, err := b.largest(meta, b.scale.cachePages)
	if err != nil {
		return err
	}
	if err := b.sets(w, frames, host, func(i *incremental, percent int) error { return i.fetch(percent, note) }); err != nil {
		return err
	}
	if err := b.closeTo(mark); err != nil {
		return err
	}
	// A store in memory has to hold the cache twice.
	if w, frames, host, err = b.cache(meta, b.scale.capturePages); err != nil {
		return err
	}
	return b.sets(w, frames, host, (*incremental).capture)
}

// sets takes the digests of a cache and calls f for each share that changes.
func (b *bench) sets(w *world, frames [][]byte, host []byte, f func(i *incremental, percent int) error) error {
	s, err := b.stream()
	if err != nil {
		return err
	}
	i := &incremental{bench: b, world: w, frames: frames, limit: contiguous(s, address(host), w.memory.Ptr(), int64(len(host)))}
	if err := i.base(); err != nil {
		return err
	}
	for _, p := range percents() {
		if err := f(i, p); err != nil {
			return err
		}
	}
	return nil
}

// incremental is a cache whose digests are known.
type incremental struct {
	bench  *bench
	world  *world
	frames [][]byte
	limit  timed
	ids    []pager.PageID
	known  []digest.Digest
	// compared is how long finding what changed took, at the last look.
	compared float64
}

// base takes the digests of the cache as it is.
func (i *incremental) base() error {
	d, ok := i.world.view.(pager.Digester)
	if !ok {
		return fmt.Errorf("the pager has no Digester: %w", kvferry.ErrUnsupported)
	}
	i.ids = ascending(i.world.layout.Pages)
	i.known = make([]digest.Digest, len(i.ids)*len(i.world.layout.Meta.Parts))
	if err := d.DigestPages(i.bench.ctx, digest.BLAKE3, nil, i.ids, i.known); err != nil {
		return err
	}
	found, err := i.once()
	if err == nil && len(found) > 0 {
		err = fmt.Errorf("%d pages that nobody changed: %w", len(found), errWrong)
	}
	return err
}

// changed lists the positions of the pages that a share changes, spread evenly.
func (i *incremental) changed(percent int) []int {
	var out []int
	for p := range i.ids {
		if (p+1)*percent/100 > p*percent/100 {
			out = append(out, p)
		}
	}
	return out
}

// change writes into pages.
func (i *incremental) change(positions []int) error {
	mark := i.bench.mark()
	s, err := i.bench.stream()
	if err != nil {
		return err
	}
	run := i.world.layout.Runs[0][0]
	region := i.world.layout.Regions[run.Region]
	first := i.world.memory.Ptr() + cuda.Ptr(i.world.places[run.Region]+region.Offset+run.Local)
	var q cuda.Submission
	for _, p := range positions {
		q.Fill(first+cuda.Ptr(int64(i.ids[p])*region.Stride), changedByte, changedBytes)
	}
	if _, err := s.Submit(&q); err != nil {
		return err
	}
	if err := s.Synchronize(); err != nil {
		return err
	}
	return i.bench.closeTo(mark)
}

// fetch compares on the device and copies out what differs.
func (i *incremental) fetch(percent int, note string) error {
	b := i.bench
	size := int64(len(i.ids) * i.world.layout.Meta.PageBytes())
	r := &row{What: "compare, then copy what differs", With: fmt.Sprintf("%d %% changed", percent), Bytes: size}
	if percent == goalPercent && note == "" {
		r.Goal = goalIncremental
	}
	return b.measure(r, func(r *row) error {
		want := i.changed(percent)
		if err := i.change(want); err != nil {
			return err
		}
		var found []int
		took, err := b.turns(i.limit, func() (seconds float64, err error) {
			start := time.Now()
			found, err = i.once()
			return time.Since(start).Seconds(), err
		})
		if err != nil {
			return err
		}
		r.versus(took[1], took[0], "time of one contiguous copy of all")
		r.Note = joinNotes(note, fmt.Sprintf("%d of %d pages moved; found in %s", len(found), len(i.ids), seconds.text(i.compared)))
		if !slices.Equal(found, want) {
			r.Check = fmt.Sprintf("%d pages were found to be changed, %d are", len(found), len(want))
			return nil
		}
		if len(want) > 0 { // or there is no byte to look at
			if err := i.last(r); err != nil {
				return err
			}
		}
		return b.paint(i.world.memory)
	})
}

// last does it once more, into frames that hold nothing of it, and looks at every
// byte that came.
func (i *incremental) last(r *row) error {
	spoil(i.frames)
	found, err := i.once()
	if err == nil {
		r.checked(i.arrived(found))
	}
	return err
}

// arrived returns an error unless the frames hold the pages at the positions, as
// change left them.
func (i *incremental) arrived(positions []int) error {
	data, err := i.bench.pool()
	if err != nil {
		return err
	}
	at := i.world.layout.Runs[0][0].Canonical
	want := bytes.Repeat([]byte{changedByte}, changedBytes)
	return parallel(i.bench.ctx, len(positions), func(k int) error {
		id := i.ids[positions[k]]
		// The rest is compared with the whole pattern put back.
		head := i.frames[k][at : at+changedBytes]
		if !bytes.Equal(head, want) {
			return wrongPage(id)
		}
		pieces(i.world.layout, i.world.places, id, func(from, _, _ int64) bool {
			pattern(data).copy(head, from)
			return false
		})
		if !i.world.holds(data, i.frames[k], id) {
			return wrongPage(id)
		}
		return nil
	})
}

// once does it once.
func (i *incremental) once() ([]int, error) {
	c, ok := i.world.view.(pager.Comparer)
	if !ok {
		return nil, fmt.Errorf("the pager has no Comparer: %w", kvferry.ErrUnsupported)
	}
	start := time.Now()
	found, _, err := c.ComparePages(i.bench.ctx, digest.BLAKE3, nil, i.ids, i.known, nil, nil)
	if err != nil {
		return nil, err
	}
	i.compared = time.Since(start).Seconds()
	ids := make([]pager.PageID, len(found))
	for k, p := range found {
		ids[k] = i.ids[p]
	}
	return found, i.world.move(pager.Out, ids, i.frames[:len(ids)], i.world.perJob())
}

// capture captures into memory since a snapshot of the unchanged cache.
func (i *incremental) capture(percent int) error {
	b := i.bench
	r := &row{What: "capture into memory", With: fmt.Sprintf("%d %% changed", percent)}
	pause := &row{Part: b.part, What: "pause of that capture", With: r.With, Goal: goalPause, Unit: seconds}
	err := b.measure(r, func(r *row) error {
		store, err := mem.Open(mem.Options{})
		if err != nil {
			return err
		}
		b.later(store.Close)
		if err := b.paint(i.world.memory); err != nil {
			return err
		}
		first, err := i.take(store, digest.Digest{})
		if err != nil {
			return err
		}
		if err := i.change(i.changed(percent)); err != nil {
			return err
		}
		limit, err := i.limit()
		if err != nil {
			return err
		}
		second, err := i.take(store, first.Root)
		if err != nil {
			return err
		}
		i.tell(r, pause, second, len(i.changed(percent)), limit)
		if r.Check == "" {
			r.checked(i.same(store, second.Root))
		}
		return b.paint(i.world.memory)
	})
	if r.Error != "" {
		pause.Error, pause.Missing = r.Error, true // the row above fails
	}
	return errors.Join(err, b.journal.add(pause))
}

// same returns an error unless a snapshot is that of the cache as it is: a
// capture of every page, hashed on the host, has the same root and brings no new
// blob, and every blob is what its digest says.
func (i *incremental) same(s cas.Store, root digest.Digest) error {
	plain := struct {
		pager.Pager
		pager.Mover
	}{i.world.view, i.world.mover}
	whole, err := i.takeOf(plain, s, digest.Digest{})
	if err != nil {
		return err
	}
	if whole.Root != root || whole.NewBlobs != 0 || whole.CopiedPages != whole.Pages {
		return fmt.Errorf("a whole capture has root %v and %d new blobs, this one %v: %w", whole.Root, whole.NewBlobs, root, errWrong)
	}
	v, err := capture.Verify(i.bench.ctx, s, root, capture.VerifyOptions{})
	if err == nil && (len(v.Problems) > 0 || v.Pages != len(i.ids)) {
		err = fmt.Errorf("%d damaged blobs, %d of %d pages: %w", len(v.Problems), v.Pages, len(i.ids), errWrong)
	}
	return err
}

// take captures the cache through pinned memory.
func (i *incremental) take(s cas.Store, since digest.Digest) (capture.Report, error) {
	return i.takeOf(i.world.view, s, since)
}

func (i *incremental) takeOf(p pager.Pager, s cas.Store, since digest.Digest) (capture.Report, error) {
	return capture.Capture(i.bench.ctx, p, s, capture.Options{
		Since:    since,
		Transfer: capture.Transfer{Allocator: i.bench.device.Allocator(cuda.PinOptions{})},
	})
}

// tell fills the rows of a capture and its pause. Right counts are no Check yet.
func (i *incremental) tell(r, pause *row, c capture.Report, changed int, limit float64) {
	share := float64(c.CopiedBytes) / float64(max(1, c.Bytes))
	r.Bytes, r.Unit, r.Samples = c.Bytes, perSecond, []float64{float64(c.Bytes) / c.Elapsed.Seconds()}
	r.Ratios, r.Limit = []float64{limit / c.Elapsed.Seconds()}, "time of one contiguous copy of all"
	r.Note = fmt.Sprintf("%d of %d pages copied, %s; %d unchanged", c.CopiedPages, c.Pages, bytesText(c.CopiedBytes), c.Unchanged)
	if c.Unchanged != c.Pages-changed || c.CopiedPages < changed {
		r.Check = fmt.Sprintf("%d pages changed; %d were copied and %d taken for unchanged of %d", changed, c.CopiedPages, c.Unchanged, c.Pages)
	}
	pause.Samples = []float64{c.Pause.Total.Seconds()}
	if at := i.compared + share*limit; at > 0 {
		pause.Ratios, pause.Limit = []float64{c.Pause.Total.Seconds() / at}, "digest of all and a contiguous copy of what changed"
	}
	pause.Note = fmt.Sprintf("digest %v, copy %v, tables %v", c.Pause.Digest, c.Pause.Copy, c.Pause.Tables)
}
