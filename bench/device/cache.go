package main

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/zeebo/blake3"
	"golang.org/x/sys/unix"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/pager"
)

// measureCache moves a cache of TinyLlama's shape, in the layout of one tensor
// per layer: 8 KiB runs, 44 to a page.
func measureCache(b *bench) error {
	if err := b.kernels(); err != nil {
		return err
	}
	meta, err := tinyLlama()
	if err != nil {
		return err
	}
	w, frames, host, note, err := b.largest(meta, b.scale.cachePages)
	if err != nil {
		return err
	}
	return b.measureWorld(w, host, frames, note)
}

// largest makes a cache of pages pages, or the largest that there is memory for;
// the note then says so.
func (b *bench) largest(meta pager.Meta, pages int) (w *world, frames [][]byte, host []byte, note string, err error) {
	mark := b.mark()
	for {
		w, frames, host, err = b.cache(meta, pages)
		if err == nil || !errors.Is(err, kvferry.ErrOutOfMemory) || pages < 16 {
			return w, frames, host, note, err
		}
		if err := b.closeTo(mark); err != nil {
			return nil, nil, nil, "", err
		}
		pages /= 2
		note = fmt.Sprintf("%d pages: more device or pinned memory was not to be had", pages)
	}
}

// cache makes the cache and the frames for all of it.
func (b *bench) cache(meta pager.Meta, pages int) (*world, [][]byte, []byte, error) {
	l, err := pager.KVOutermost(meta, pages)
	if err != nil {
		return nil, nil, nil, err
	}
	w, err := b.world(l, nil)
	if err != nil {
		return nil, nil, nil, err
	}
	mem, frames, err := w.frames(pages)
	return w, frames, mem, err
}

// measureWorld moves every page out and back beside a contiguous copy of the
// whole memory.
func (b *bench) measureWorld(w *world, mem []byte, frames [][]byte, note string) error {
	s, err := b.stream()
	if err != nil {
		return err
	}
	g := func(id goalID) goalID { // a smaller cache is measured, and answers nothing
		if note != "" {
			return ""
		}
		return id
	}
	ids, size := w.shuffled(), int64(len(mem))
	out := contiguous(s, address(mem), w.memory.Ptr(), size)
	in := contiguous(s, w.memory.Ptr(), address(mem), size)
	with := fmt.Sprintf("%d pages of %s in runs of 8 KiB", len(ids), bytesText(int64(w.layout.Meta.PageBytes())))
	err = b.measure(&row{What: "out", With: with, Bytes: size, Goal: g(goalCacheOut), Note: note}, func(r *row) error {
		took, err := b.turns(out, w.moving(pager.Out, ids, frames, w.perJob()))
		if err != nil {
			return err
		}
		r.slower(took[1], took[0])
		r.checked(w.right(ids, frames))
		return nil
	})
	if err != nil {
		return err
	}
	err = b.measure(&row{What: "verified out", With: "hashed on the host", Bytes: size, Goal: g(goalVerified), Note: note}, func(r *row) error {
		return b.verifiedOut(r, w, ids, frames, out)
	})
	if err != nil {
		return err
	}
	err = b.measure(&row{What: "verified out", With: "digests of the device beside the copies", Bytes: size, Goal: g(goalVerifiedGPU), Note: note}, func(r *row) error {
		return b.digestedOut(r, w, ids, frames, out)
	})
	if err != nil {
		return err
	}
	return b.measure(&row{What: "back", With: with, Bytes: size, Goal: g(goalCacheIn), Note: note}, func(r *row) error {
		// The contiguous copy overwrites the memory with what is no page order.
		took, err := b.turns(in, w.moving(pager.In, ids, frames, w.perJob()))
		if err != nil {
			return err
		}
		r.slower(took[1], took[0])
		if err := b.wipe(w.memory); err != nil {
			return err
		}
		if err := w.move(pager.In, ids, frames, w.perJob()); err != nil {
			return err
		}
		r.checked(b.painted(w.memory))
		return nil
	})
}

// slower fills a row whose ratio is its time to the limit's.
func (r *row) slower(took, limit []float64) {
	r.Unit, r.Samples = perSecond, rates(float64(r.Bytes), took)
	r.Ratios, r.Limit = ratios(took, limit), "time of one contiguous copy"
}

// hashers bounds the cores that hash.
const hashers = 16

// verifiedOut moves pages and hashes each on the host as its job arrives.
func (b *bench) verifiedOut(r *row, w *world, ids []pager.PageID, frames [][]byte, limit timed) error {
	used := 0.0
	took, err := b.turns(limit, func() (float64, error) {
		cpu, start := processorTime(), time.Now()
		err := w.hashing(ids, frames)
		elapsed := time.Since(start).Seconds()
		used = (processorTime() - cpu) / elapsed
		return elapsed, err
	})
	if err != nil {
		return err
	}
	r.versus(took[1], took[0], "one contiguous copy")
	r.Note = joinNotes(r.Note, fmt.Sprintf("%d goroutines hash; %.1f cores in use", min(hashers, runtime.GOMAXPROCS(0)), used))
	r.checked(w.right(ids, frames))
	return nil
}

// hashing moves all pages out; those of a job are hashed while later ones move.
func (w *world) hashing(ids []pager.PageID, frames [][]byte) error {
	per := w.perJob() * inFlight
	var before [][]byte
	for at := 0; at < len(ids)+per; at += per {
		var now [][]byte
		moved := make(chan error, 1)
		if at < len(ids) {
			end := min(len(ids), at+per)
			now = frames[at:end]
			go func() { moved <- w.move(pager.Out, ids[at:end], now, w.perJob()) }()
		} else {
			moved <- nil
		}
		err := parallelOn(w.bench.ctx, hashers, len(before), func(i int) error {
			for from, p := 0, 0; p < len(w.layout.Meta.Parts); p++ {
				n := w.layout.Meta.Parts[p].Bytes
				blake3.Sum256(before[i][from : from+n])
				from += n
			}
			return nil
		})
		if err := errors.Join(<-moved, err); err != nil {
			return err
		}
		before = now
	}
	return nil
}

// digestedOut has the device hash while the pages move; of what arrived, the
// host hashes one page in a hundred.
func (b *bench) digestedOut(r *row, w *world, ids []pager.PageID, frames [][]byte, limit timed) error {
	digester, ok := w.view.(pager.Digester)
	if !ok {
		return fmt.Errorf("the pager has no Digester: %w", kvferry.ErrUnsupported)
	}
	sums := make([]digest.Digest, len(ids)*len(w.layout.Meta.Parts))
	var used []float64
	took, err := b.turns(limit, func() (float64, error) {
		cpu, start := processorTime(), time.Now()
		moved := make(chan error, 1)
		go func() { moved <- w.move(pager.Out, ids, frames, w.perJob()) }()
		err := digester.DigestPages(b.ctx, digest.BLAKE3, nil, ids, sums)
		err = errors.Join(err, <-moved)
		elapsed := time.Since(start).Seconds()
		used = append(used, (processorTime()-cpu)/elapsed)
		return elapsed, err
	})
	if err != nil {
		return err
	}
	r.Unit, r.Samples = cores, used[len(used)-len(took[1]):]
	r.Note = joinNotes(r.Note, fmt.Sprintf("%s, %s of one contiguous copy", perSecond.text(median(rates(float64(r.Bytes), took[1]))),
		percent(median(ratios(took[0], took[1])))))
	r.checked(sampled(w.layout.Meta, frames, sums, 100))
	return nil
}

// sampled compares the device's digests of every n-th page with the host's of
// what arrived.
func sampled(meta pager.Meta, frames [][]byte, sums []digest.Digest, n int) error {
	h, err := digest.NewHasher(digest.BLAKE3, nil)
	if err != nil {
		return err
	}
	for i := 0; i < len(frames); i += n {
		for from, p := 0, 0; p < len(meta.Parts); p++ {
			size := meta.Parts[p].Bytes
			if h.Sum(frames[i][from:from+size]) != sums[i*len(meta.Parts)+p] {
				return fmt.Errorf("digest of part %d of frame %d: %w", p, i, errWrong)
			}
			from += size
		}
	}
	return nil
}

// processorTime is what the process used of all cores, in seconds.
func processorTime() float64 {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

func joinNotes(notes ...string) string {
	notes = slices.DeleteFunc(notes, func(s string) bool { return s == "" })
	text := ""
	for i, n := range notes {
		if i > 0 {
			text += "; "
		}
		text += n
	}
	return text
}
