package pack

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/cas/pack/internal/journal"
	"github.com/kvferry/kvferry/cas/pack/internal/packfile"
	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/internal/vfs"
)

// verify reports whether everything that a transaction adds is in the packs: it
// was written beside them when the process or the machine stopped. If it is, it
// is made durable, as the process may not have come to that.
func (s *Store) verify(ctx context.Context, tx journal.Tx) (bool, error) {
	v := &verifier{s: s, ctx: ctx, spots: map[uint64][]packfile.Spot{}}
	if err := apply(tx.Payload, v); err != nil {
		return false, err
	}
	if v.bad || s.o.ReadOnly {
		return !v.bad, nil
	}
	for pack, spots := range v.spots {
		if err := s.reader.Rewrite(pack, spots); err != nil {
			return false, unwritten("make durable", packfile.Path(pack), err)
		}
	}
	return true, nil
}

// verifier looks at the records that a transaction adds.
type verifier struct {
	viewApplier
	s   *Store
	ctx context.Context //nolint:containedctx // it lives as long as one call
	bad bool

	spots map[uint64][]packfile.Spot // what was found in each pack
}

func (v *verifier) add(pack uint64, _ cas.Class, _ int64, b stored) error {
	if v.bad {
		return nil
	}
	if v.spots[pack] == nil { // the first block comes with the first records
		if _, err := v.s.reader.Header(v.ctx, pack); err != nil {
			v.bad = stale(err)
			if !v.bad {
				return err
			}
			return nil
		}
	}
	at := packfile.Spot{Pack: pack, Off: b.off, Bytes: b.bytes}
	v.spots[pack] = append(v.spots[pack], at)
	err := v.s.reader.Read(v.ctx, at, func(rec []byte) error { return packfile.CheckBlob(rec, b.d) })
	if stale(err) {
		v.bad = true
		return nil
	}
	return err
}

func (*verifier) snapshot(cas.Entry)         {}
func (*verifier) name(string, digest.Digest) {}
func (*verifier) unname(string)              {}
func (*verifier) forget(digest.Digest)       {}

// deadStreams lists the streams whose process ended without closing the store.
func (s *Store) deadStreams() ([]otherStream, error) {
	all, err := s.streams.others()
	if err != nil {
		return nil, err
	}
	var dead []otherStream
	for _, o := range all {
		if o.dead {
			dead = append(dead, o)
		}
	}
	return dead, nil
}

// tidy removes what ended processes left behind: their streams, packs that the
// log does not know, room that was reserved in others, drafts of checkpoints,
// and what they needed to make the store. It returns how many things that were,
// or would be in a dry run.
func (s *Store) tidy(ctx context.Context, dry bool) (int64, error) {
	n := int64(0)
	dead, err := s.deadStreams()
	if err != nil {
		return 0, err
	}
	for _, o := range dead {
		k, err := s.removeAbandoned(o.name, o.pins, dry)
		if n += k; err != nil {
			return n, err
		}
	}
	k, err := s.tidyMaking(dry)
	if n += k; err != nil {
		return n, err
	}
	k, err = s.tidyDrafts(dry)
	if n += k; err != nil {
		return n, err
	}
	if due, err := s.scanDue(); err != nil || due {
		return n, err
	}
	k, err = s.tidyPacks(ctx, dry)
	return n + k, err
}

// removeAbandoned removes a file that nobody has locked, and before it others
// that belong to it. It has the lock meanwhile: whoever made the file just now
// and is about to lock it then sees that it is gone.
func (s *Store) removeAbandoned(name string, others []string, dry bool) (int64, error) {
	all := append(slices.Clone(others), name)
	f, err := s.fs.Open(name, vfs.ReadOnly)
	switch {
	case missing(err):
		all = others
	case err != nil:
		return 0, failed("open", name, err)
	default:
		defer func() { _ = f.Close() }() // closing unlocks
		if free, err := f.TryLock(); err != nil || !free {
			return 0, failed("lock", name, err)
		}
	}
	n := int64(0)
	for _, name := range all {
		n++
		if dry {
			continue
		}
		if err := s.fs.Remove(name); err != nil && !missing(err) {
			return n, unwritten("remove", name, err)
		}
	}
	return n, nil
}

// tidyMaking removes what is left of processes that died while they made the
// store. There is a marker, so nobody needs it, also who is at it just now.
func (s *Store) tidyMaking(dry bool) (int64, error) {
	list, err := s.fs.List(".")
	if err != nil {
		return 0, failed("list", s.root, err)
	}
	names := []string{makingName}
	for _, e := range list {
		if id, ok := strings.CutPrefix(e.Name, draftPrefix); ok && hexName(id) && e.Regular {
			names = append(names, e.Name)
		}
	}
	n := int64(0)
	for _, name := range names {
		switch _, err := s.fs.Stat(name); {
		case missing(err):
			continue
		case err != nil:
			return n, failed("stat", name, err)
		}
		n++
		if dry {
			continue
		}
		if err := s.fs.Remove(name); err != nil && !missing(err) {
			return n, unwritten("remove", name, err)
		}
	}
	return n, nil
}

// tidyDrafts removes checkpoints that a process left that died in the middle.
func (s *Store) tidyDrafts(dry bool) (int64, error) {
	drafts, err := s.leftovers()
	if err != nil {
		return 0, err
	}
	n := int64(0)
	for _, name := range drafts {
		k, err := s.removeAbandoned(name, nil, dry)
		if n += k; err != nil {
			return n, err
		}
	}
	return n, nil
}

func (s *Store) tidyPacks(ctx context.Context, dry bool) (int64, error) {
	list, err := s.fs.List(packsDir)
	if err != nil {
		return 0, failed("list", packsDir, err)
	}
	n := int64(0)
	for _, e := range list {
		id, ok := packfile.ParseName(e.Name)
		if !ok || !e.Regular {
			continue // foreign
		}
		p := s.st().packs.get(id)
		if p != nil && e.Size <= blocks(p.end.Load()) && e.AllocatedBytes <= blocks(p.end.Load()) {
			continue
		}
		if dry && s.tails.has(id) { // its lane would let go of it
			n++
			continue
		}
		left, err := s.tidyPack(ctx, packfile.Path(id), id, dry)
		if err != nil {
			return n, err
		}
		if left {
			n++
		}
	}
	k, err := s.tidyCache(ctx, dry)
	return n + k, err
}

// tidyCache takes the packs of the cache out of the log that a power failure
// took, or left by half: they are not synchronised, nor is the log when it drops
// them.
func (s *Store) tidyCache(ctx context.Context, dry bool) (int64, error) {
	var gone []*packInfo
	for _, p := range s.st().packs.all() {
		if p.class == cas.Cache && stale(s.packFault(ctx, p)) && !s.misnamed(p.id) {
			gone = append(gone, p)
		}
	}
	if len(gone) == 0 || dry {
		return int64(len(gone)), nil
	}
	return int64(len(gone)), s.dropPacks(ctx, gone, false)
}

// blocks rounds n up to whole blocks.
func blocks(n int64) int64 { return (n + vfs.BlockBytes - 1) / vfs.BlockBytes * vfs.BlockBytes }

// tidyPack removes a pack without committed records, or cuts off what is behind
// the last one, unless a process still writes to it.
func (s *Store) tidyPack(ctx context.Context, path string, id uint64, dry bool) (left bool, err error) {
	mode := vfs.ReadWrite
	if dry {
		mode = vfs.ReadOnly
	}
	f, err := s.fs.Open(path, mode)
	if missing(err) {
		return false, nil
	}
	if err != nil {
		return false, failed("open", path, err)
	}
	defer func() { err = errors.Join(err, failed("close", path, f.Close())) }()
	if free, err := f.TryLock(); err != nil || !free {
		return false, failed("lock", path, err)
	}
	// Its process may have committed more before it let go of the pack.
	if err := s.follow(ctx); err != nil {
		return false, err
	}
	if due, err := s.scanDue(); err != nil || due { // the log that says so may have been repaired just now
		return false, err
	}
	p := s.st().packs.get(id)
	info, err := f.Stat()
	switch {
	case err != nil:
		return false, failed("stat", path, err)
	case s.misnamed(id):
		return false, nil
	case p == nil && dry:
		return true, nil
	case p == nil:
		s.reader.Forget(id)
		if err := s.fs.Remove(path); err != nil && !missing(err) { // who dropped it removes it, too
			return true, unwritten("remove", path, err)
		}
		s.tails.cut(id, 0, 0)
		return true, nil
	}
	end := blocks(p.end.Load())
	if info.Size <= end {
		return false, nil
	}
	if dry {
		return true, nil
	}
	if err := f.Truncate(end); err != nil {
		return true, unwritten("truncate", path, err)
	}
	s.tails.cut(id, 0, end)
	return true, nil
}

// misnamed reports whether the file of a pack is another pack: a repair gives
// it its name, and until then it is not to be removed for what it is not.
func (s *Store) misnamed(id uint64) bool {
	h, err := s.packHeader(packfile.Path(id))
	return err == nil && (h.Store != s.id || h.ID != id)
}

// leftovers tells the drafts that a process left that died while it wrote a
// checkpoint.
func (s *Store) leftovers() ([]string, error) {
	list, err := s.fs.List(indexDir)
	if err != nil {
		return nil, failed("list", indexDir, err)
	}
	var out []string
	for _, e := range list {
		if strings.HasSuffix(e.Name, ".new") && e.Regular && hexName(strings.TrimSuffix(e.Name, ".new")) {
			out = append(out, indexDir+"/"+e.Name)
		}
	}
	return out, nil
}

var errDamaged = fmt.Errorf("pack: %w", kvferry.ErrCorrupt)
