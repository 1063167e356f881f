package store

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/kvferry/kvferry/bench/harness"
)

// tinyBytes is the size of blobs that are there to be many.
const tinyBytes = 64

// many returns how many blobs the store is asked to hold: a store that makes a
// file of each gets fewer.
func (b *bench) many(n int) int {
	if b.store.files {
		return min(n, 20_000)
	}
	return n
}

// measureIndex opens a store of many blobs and asks for them.
func measureIndex(ctx context.Context, b *bench, s *harness.Section) error {
	n := b.many(b.indexBlobs)
	by := fmt.Sprintf("/by=%s/blobs=%d", b.store.name, n)
	root, err := b.folder("index")
	if err != nil {
		return err
	}
	filled, err := b.child(ctx, task{Dir: root, Blobs: n, BlobBytes: tinyBytes})
	if err != nil {
		return err
	}
	size, err := treeBytes(root)
	if err != nil {
		return err
	}
	s.Note("%d blobs of %d bytes were put by %d goroutines in %.1f s under made-up names and committed, then the store was "+
		"closed; it takes %s. Each round opens it in two new processes, first with nothing of it in the page cache, and asks "+
		"for %d blobs in no order. Memory is what the process has more after opening than before, page cache not counted.",
		n, tinyBytes, workers, filled.PutSeconds, harness.Bytes.Text(float64(size)), b.indexLookups)
	cold := s.Figure("op=open-cold"+by, harness.Seconds)
	warm := s.Figure("op=open-warm"+by, harness.Seconds)
	has := s.Figure("op=has"+by, harness.Nanoseconds)
	allocs := s.Figure("op=has-allocations"+by, harness.Plain)
	absent := s.Figure("op=has-absent"+by, harness.Nanoseconds)
	session := s.Figure("op=session-has"+by, harness.Nanoseconds)
	sessionAllocs := s.Figure("op=session-has-allocations"+by, harness.Plain)
	index := s.Figure("op=index-bytes-per-blob"+by, harness.Bytes)
	resident := s.Figure("op=memory-per-blob"+by, harness.Bytes)
	cold.Goal, has.Goal, absent.Goal, index.Goal = harness.Goal{AtMost: 2}, harness.Goal{AtMost: 200}, harness.Goal{AtMost: 200}, harness.Goal{AtMost: 48}
	allocs.Goal = harness.Goal{AtMost: noAllocs}
	for range b.rounds {
		if err := harness.DropCached(root); err != nil {
			return err
		}
		first, err := b.child(ctx, task{Dir: root, Blobs: n, Lookups: b.indexLookups})
		if err != nil {
			return err
		}
		second, err := b.child(ctx, task{Dir: root, Blobs: n, Lookups: b.indexLookups})
		if err != nil {
			return err
		}
		cold.Add(first.OpenSeconds)
		warm.Add(second.OpenSeconds)
		for _, r := range []taskResult{first, second} {
			has.Add(r.HasNanos)
			allocs.Add(r.HasAllocs)
			absent.Add(r.AbsentNanos)
			session.Add(r.SessionNanos)
			sessionAllocs.Add(r.SessionAllocs)
			resident.Add(float64(r.ResidentBytes) / float64(n))
			if r.IndexBytes >= 0 {
				index.Add(float64(r.IndexBytes) / float64(n))
			}
		}
	}
	return b.drop(root)
}

// noAllocs is no allocation per question: the runtime's own, a few in all, are
// counted too.
const noAllocs = 0.001

const (
	tailGoalSeconds = 5
	tailGoalBytes   = 100 * giB
)

// measureCrash opens stores whose process was killed.
func measureCrash(ctx context.Context, b *bench, s *harness.Section) error {
	records := b.many(b.crashBlobs)
	s.Note("A process puts blobs, commits, and is killed without closing the store; the next one opens it with nothing of it "+
		"in the page cache, closes it, and opens it once more. What a recovery does grows with the bytes of the tail (where it "+
		"reads them) or with the records of the log: so there is one tail of pages, of which the time beyond that of a clean "+
		"opening is taken times 100 GiB by its size, and one of %d tiny blobs. 100 GiB in blobs of %s are %d records.",
		records, harness.SizeText(partSizes()[0]), int64(tailGoalBytes)/int64(partSizes()[0]))
	pages := task{Blobs: int(b.crashBytes / int64(partSizes()[0])), BlobBytes: partSizes()[0]}
	if b.store.files {
		pages.Blobs = b.many(pages.Blobs)
	}
	if err := b.crashes(ctx, s, pages, true); err != nil {
		return err
	}
	return b.crashes(ctx, s, task{Blobs: records, BlobBytes: tinyBytes}, false)
}

// crashes measures one kind of tail.
func (b *bench) crashes(ctx context.Context, s *harness.Section, t task, byBytes bool) error {
	tail := int64(t.Blobs) * int64(t.BlobBytes)
	by := fmt.Sprintf("/by=%s/blobs=%d/size=%s", b.store.name, t.Blobs, sizeKey(t.BlobBytes))
	crashed := s.Figure("op=open-killed"+by, harness.Seconds)
	clean := s.Figure("op=open-closed"+by, harness.Seconds)
	log := s.Figure("op=log-bytes-killed"+by, harness.Bytes)
	far := crashed
	if byBytes {
		far = s.Figure("op=open-killed-at-100GiB"+by, harness.Seconds)
	}
	far.Goal = harness.Goal{AtMost: tailGoalSeconds}
	for range min(b.rounds, 3) {
		if err := b.crashOnce(ctx, t, crashed, clean, log); err != nil {
			return err
		}
	}
	if byBytes {
		for i, x := range crashed.Samples {
			beyond := max(x-clean.Samples[i], 0)
			far.Add(clean.Samples[i] + beyond*tailGoalBytes/float64(tail))
		}
	}
	return nil
}

func (b *bench) crashOnce(ctx context.Context, t task, crashed, clean, log *harness.Figure) error {
	root, err := b.folder("crash")
	if err != nil {
		return err
	}
	t.Dir, t.Crash = root, true
	if _, err := b.child(ctx, t); err != nil {
		return err
	}
	if path := filepath.Join(root, "log"); exists(path) {
		n, err := treeBytes(path)
		if err != nil {
			return err
		}
		log.Add(float64(n))
	}
	// A few questions tell whether all that was committed is there.
	look := task{Dir: root, Blobs: t.Blobs, Lookups: min(t.Blobs, 1000)}
	for _, f := range []*harness.Figure{crashed, clean} {
		if err := harness.DropCached(root); err != nil {
			return err
		}
		r, err := b.child(ctx, look)
		if err != nil {
			return err
		}
		f.Add(r.OpenSeconds)
	}
	return b.drop(root)
}
