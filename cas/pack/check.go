package pack

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/cas/pack/internal/packfile"
	"github.com/kvferry/kvferry/digest"
)

// listTogether is how many blobs are listed in one pass over the table.
const listTogether = 1 << 20

// Blobs implements cas.Enumerator, in the order in which the blobs lie.
func (s *Store) Blobs(ctx context.Context) iter.Seq2[cas.BlobInfo, error] {
	return func(yield func(cas.BlobInfo, error) bool) {
		if err := s.start(ctx); err != nil {
			yield(cas.BlobInfo{}, err)
			return
		}
		defer s.stop()
		if err := s.refresh(ctx); err != nil {
			yield(cas.BlobInfo{}, err)
			return
		}
		if s.listPending(yield) {
			s.listPacks(ctx, yield)
		}
	}
}

func (s *Store) listPending(yield func(cas.BlobInfo, error) bool) bool {
	var list []cas.BlobInfo
	for class := range s.pending {
		s.pending[class].each(func(d digest.Digest, bytes int64) {
			if _, _, ok := s.st().find(d); !ok {
				list = append(list, cas.BlobInfo{Digest: d, StoredBytes: bytes})
			}
		})
	}
	slices.SortFunc(list, func(a, b cas.BlobInfo) int { return a.Digest.Compare(b.Digest) })
	list = slices.Compact(list)
	for _, b := range list {
		if !yield(b, nil) {
			return false
		}
	}
	return true
}

func (s *Store) listPacks(ctx context.Context, yield func(cas.BlobInfo, error) bool) {
	for _, group := range s.groups() {
		lists := s.contents(group)
		for _, p := range group {
			for _, b := range lists[p] {
				if err := ctx.Err(); err != nil {
					yield(cas.BlobInfo{}, err)
					return
				}
				if !yield(cas.BlobInfo{Digest: b.d, StoredBytes: b.bytes}, nil) {
					return
				}
			}
		}
	}
}

// groups divides the packs into runs that hold some number of blobs.
func (s *Store) groups() [][]*packInfo {
	var out [][]*packInfo
	n := int64(listTogether)
	for _, p := range s.st().packs.all() {
		if n += p.blobs.Load(); n >= listTogether {
			out = append(out, nil)
			n = p.blobs.Load()
		}
		out[len(out)-1] = append(out[len(out)-1], p)
	}
	return out
}

// Check implements cas.Checker: the log, the index, the files of the packs and
// what ended processes left behind. It reads no records.
func (s *Store) Check(ctx context.Context, report func(cas.Problem)) error {
	if err := s.start(ctx); err != nil {
		return err
	}
	defer s.stop()
	if err := s.refresh(ctx); err != nil {
		return err
	}
	damage, _ := s.damage.all(s.journal)
	for _, err := range damage {
		report(cas.Problem{Path: logDir, Err: err})
	}
	for _, p := range s.st().packs.all() {
		if err := ctx.Err(); err != nil {
			return err
		}
		s.checkPack(ctx, p, report)
	}
	entries, _ := s.st().entries()
	for _, e := range entries {
		if _, _, ok := s.st().find(e.Root); !ok {
			report(cas.Problem{Digest: e.Root, Path: logDir, Err: fmt.Errorf("pack: the manifest of snapshot %v: %w", e.Root, kvferry.ErrNotFound)})
		}
	}
	return s.checkLeftovers(ctx, report)
}

func (s *Store) checkPack(ctx context.Context, p *packInfo, report func(cas.Problem)) {
	if p.blobs.Load() == 0 {
		return
	}
	err := s.packFault(ctx, p)
	if err == nil {
		return
	}
	if ferr := s.follow(ctx); ferr == nil && s.st().packs.get(p.id) == nil {
		return // dropped meanwhile
	}
	if missing(err) {
		err = fmt.Errorf("%w: %w", err, kvferry.ErrCorrupt)
	}
	path := packfile.Path(p.id)
	report(cas.Problem{Path: path, Leftover: p.class == cas.Cache, Err: failed("check", path, err)})
}

// packFault returns what is wrong with the file of a pack, its records aside.
func (s *Store) packFault(ctx context.Context, p *packInfo) error {
	h, err := s.reader.Header(ctx, p.id)
	if err != nil {
		return err
	}
	if h.ID != p.id || h.Store != s.id || h.Class != fileClass(p.class) {
		return fmt.Errorf("its header is that of another pack: %w", kvferry.ErrCorrupt)
	}
	info, err := s.fs.Stat(packfile.Path(p.id))
	if err == nil && info.Size < p.end.Load() {
		err = fmt.Errorf("%d bytes are missing at its end: %w", p.end.Load()-info.Size, kvferry.ErrCorrupt)
	}
	return err
}

func fileClass(c cas.Class) packfile.Class {
	if c == cas.Cache {
		return packfile.Cache
	}
	return packfile.Snapshot
}

func (s *Store) checkLeftovers(ctx context.Context, report func(cas.Problem)) error {
	if s.o.ReadOnly { // nobody may be locked out by looking, but for a moment
		dead, err := s.deadStreams()
		if err != nil {
			return err
		}
		for _, o := range dead {
			report(cas.Problem{Path: o.name, Leftover: true, Err: errors.New("pack: a process ended without closing the store")})
		}
		return nil
	}
	n, err := s.tidy(ctx, true)
	if n > 0 {
		report(cas.Problem{Path: s.root, Leftover: true, Err: fmt.Errorf("pack: %d things that ended processes left behind; a collection removes them", n)})
	}
	return err
}

// Scrub implements cas.Scrubber.
func (s *Store) Scrub(ctx context.Context, o cas.ScrubOptions) error {
	if err := s.start(ctx); err != nil {
		return err
	}
	defer s.stop()
	if s.commits != nil {
		if err := s.commits.submit(ctx, &request{flush: true}); err != nil {
			return err
		}
	}
	if err := s.refresh(ctx); err != nil {
		return err
	}
	if o.Report == nil {
		o.Report = func(cas.Problem) {}
	}
	packs := s.st().packs.all()
	total := int64(0)
	for _, p := range packs {
		total += p.end.Load() - packHeaderBytes
	}
	var done atomic.Int64
	progress := func(n int64) {
		if d := done.Add(n); o.Progress != nil {
			o.Progress(d, total)
		}
	}
	progress(0)
	eg, ctx := errgroup.WithContext(ctx)
	eg.SetLimit(2)
	for _, p := range packs {
		end := p.end.Load()
		eg.Go(func() error { return s.scrubPack(ctx, p, end, o.Report, progress) })
	}
	return eg.Wait()
}

// scrubPack reads a pack from its beginning to end. Where not all blobs were
// met that the log places there, each is looked for.
func (s *Store) scrubPack(ctx context.Context, p *packInfo, end int64, report func(cas.Problem), progress func(int64)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	found, at := int64(0), int64(packHeaderBytes)
	err := s.reader.Scan(ctx, p.id, packHeaderBytes, end, func(off int64, rec []byte, err error) bool {
		if off > at {
			progress(off - at)
			at = off
		}
		if err != nil {
			return ctx.Err() == nil // what it hit is looked for below
		}
		r, err := packfile.ParseRecord(rec)
		if err != nil {
			return true
		}
		if _, there := s.st().is(r.Digest, p, off); there { // its checksums were looked at
			found++
		}
		return ctx.Err() == nil
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	progress(end - at)
	// A collection, also of another process, may have moved what was not found.
	if err := s.follow(ctx); err != nil {
		return err
	}
	q := s.st().packs.get(p.id)
	if q == nil || q == p && err == nil && found >= p.blobs.Load() {
		return nil
	}
	return s.scrubBlobs(ctx, q, report)
}

// scrubBlobs reads the blobs of a pack one by one.
func (s *Store) scrubBlobs(ctx context.Context, p *packInfo, report func(cas.Problem)) error {
	s.reader.Forget(p.id) // it looks at what the file's name leads to now
	list := s.contents([]*packInfo{p})[p]
	slices.SortFunc(list, func(a, b stored) int { return cmp.Compare(a.off, b.off) })
	for _, b := range list {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := s.reader.Read(ctx, packfile.Spot{Pack: p.id, Off: b.off, Bytes: b.bytes}, func(rec []byte) error {
			return packfile.CheckBlob(rec, b.d)
		})
		if err == nil {
			continue
		}
		if err := s.follow(ctx); err != nil {
			return err
		}
		if _, there := s.st().is(b.d, s.st().packs.get(p.id), b.off); !there { // moved or removed meanwhile
			continue
		}
		if missing(err) {
			err = fmt.Errorf("%w: %w", err, kvferry.ErrCorrupt)
		}
		report(cas.Problem{Digest: b.d, Path: packfile.Path(p.id), Leftover: p.class == cas.Cache, Err: fmt.Errorf("pack: scrub: %w", err)})
	}
	return nil
}
