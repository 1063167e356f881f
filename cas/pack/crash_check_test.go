package pack

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/cas/pack/internal/packfile"
	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/internal/vfs"
)

// whole reads everything that a store has.
func (w *crashWorld) whole(ctx context.Context, s *Store) error {
	list, err := s.Catalog().Entries(ctx)
	if err != nil {
		return err
	}
	for _, e := range list {
		err := crashReferences(s)(ctx, e, func(d digest.Digest) error {
			if w.hurt[d] {
				return nil
			}
			_, err := crashRead(ctx, s, d)
			return err
		})
		if err != nil && !w.hurt[e.Root] {
			return fmt.Errorf("snapshot %v: %w", e.Root, err)
		}
		for _, name := range e.Names {
			if found, err := s.Catalog().Lookup(ctx, name); err != nil || found.Root != e.Root {
				return fmt.Errorf("name %q: %v, %w", name, found.Root, err)
			}
		}
	}
	for _, d := range w.cached {
		if _, err := crashRead(ctx, s, d); err != nil && !crashMiss(err) && !w.hurt[d] {
			return fmt.Errorf("cached %v: %w", d, err)
		}
	}
	return nil
}

// sound looks for damage as an operator does.
func (w *crashWorld) sound(ctx context.Context, s *Store) error {
	var mu sync.Mutex
	var bad []error
	report := func(p cas.Problem) {
		mu.Lock()
		defer mu.Unlock()
		if !p.Leftover && !w.hurt[p.Digest] {
			bad = append(bad, fmt.Errorf("%s, %v: %w", p.Path, p.Digest, p.Err))
		}
	}
	err := errors.Join(s.Check(ctx, report), s.Scrub(ctx, cas.ScrubOptions{Report: report}))
	return errors.Join(append(bad, err)...)
}

// survives opens what a power failure, or the end of all processes, left: as it
// is, and then for writing, and goes on with it. The caller holds mu.
func (w *crashWorld) survives(ctx context.Context, d *vfs.Disk) (err error) {
	o := w.options(d.Process())
	o.ReadOnly = true
	ro, err := Open("crashed, read-only", o)
	if errors.Is(err, kvferry.ErrNotFound) && !w.made {
		return w.goesOn(ctx, d, nil)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ro.Close()) }()
	if err := w.seen(ctx, ro); err != nil {
		return fmt.Errorf("read only: %w", err)
	}
	return w.goesOn(ctx, d, ro)
}

// seen checks a store that was opened just now.
func (w *crashWorld) seen(ctx context.Context, s *Store) error {
	list, _ := s.st().entries()
	if _, ok := w.allowed()[crashText(list)]; !ok {
		return fmt.Errorf("the catalog is\n%s", crashText(list))
	}
	return errors.Join(w.whole(ctx, s), w.sound(ctx, s))
}

// goesOn opens the store for writing, beside a reader if there is one, stores
// something, and collects what is to be collected.
func (w *crashWorld) goesOn(ctx context.Context, d *vfs.Disk, ro *Store) (err error) {
	s, err := Open("crashed", w.options(d.Process()))
	if err != nil {
		return err
	}
	open := true
	defer func() {
		if open {
			err = errors.Join(err, s.Close())
		}
	}()
	if err := w.seen(ctx, s); err != nil {
		return fmt.Errorf("opened: %w", err)
	}
	before, _ := s.st().entries()
	if ro != nil {
		list, _ := ro.st().entries()
		if a, b := crashText(list), crashText(before); a != b {
			return fmt.Errorf("readers see\n%swriters\n%s", a, b)
		}
	}
	if err := w.stores(ctx, s, ro); err != nil {
		return fmt.Errorf("stored anew: %w", err)
	}
	if err := w.collects(ctx, d, s); err != nil {
		return fmt.Errorf("collected: %w", err)
	}
	open = false
	if err := s.Close(); err != nil {
		return err
	}
	return crashLeft(d, s.st().packs.all())
}

// stores commits a snapshot that has a new blob, and of the old ones all that
// the store says it has.
func (w *crashWorld) stores(ctx context.Context, s, ro *Store) error {
	x, err := s.Begin(ctx, cas.SessionOptions{})
	if err != nil {
		return err
	}
	p := []byte("stored after the power failed")
	held := []digest.Digest{crashSum(p)}
	if _, err := x.Put(ctx, held[0], p); err != nil {
		return err
	}
	for _, d := range w.known {
		there, err := x.Has(ctx, d)
		if err != nil {
			return err
		}
		if there && !w.hurt[d] {
			held = append(held, d)
		}
	}
	p = crashRoot(held)
	root := crashSum(p)
	if _, err := x.Put(ctx, root, p); err != nil {
		return err
	}
	if err := x.Commit(ctx, cas.Entry{Root: root, Format: cas.FormatNative, Created: w.now(), Names: []string{"after"}}); err != nil {
		return err
	}
	for _, s := range []*Store{s, ro} {
		if s == nil {
			continue
		}
		if e, err := s.Catalog().Lookup(ctx, "after"); err != nil || e.Root != root {
			return fmt.Errorf("read only %t: %v, %w", s.o.ReadOnly, e.Root, err)
		}
		if err := w.whole(ctx, s); err != nil {
			return fmt.Errorf("read only %t: %w", s.o.ReadOnly, err)
		}
	}
	return nil
}

// collects collects, and checks that no room is lost.
func (w *crashWorld) collects(ctx context.Context, d *vfs.Disk, s *Store) error {
	_, err := s.Collect(ctx, cas.CollectOptions{References: crashReferences(s)})
	if err != nil {
		return err
	}
	if err := errors.Join(w.whole(ctx, s), w.sound(ctx, s)); err != nil {
		return err
	}
	err = s.Check(ctx, func(p cas.Problem) {
		if p.Leftover && !strings.HasPrefix(p.Path, packsDir) && err == nil {
			err = fmt.Errorf("%s: %w", p.Path, p.Err)
		}
	})
	if err != nil {
		return err
	}
	for name := range d.Files() {
		dir, base, _ := strings.Cut(name, "/")
		id, ok := packfile.ParseName(base)
		if dir != packsDir {
			continue
		}
		switch p := s.st().packs.get(id); {
		case !ok || p == nil:
			return fmt.Errorf("%s is left over", name)
		case p.class == cas.Snapshot && len(w.hurt) == 0:
			dead, err := crashGarbage(ctx, s, p)
			if err != nil {
				return err
			}
			if float64(dead) > crashDead*float64(p.end.Load()) {
				return fmt.Errorf("%s has %d bytes of garbage in %d", name, dead, p.end.Load())
			}
		}
	}
	return nil
}

// crashGarbage returns the bytes of the records of a pack that are not stored
// there. Padding is none.
func crashGarbage(ctx context.Context, s *Store, p *packInfo) (n int64, err error) {
	err = s.reader.Scan(ctx, p.id, packHeaderBytes, p.end.Load(), func(off int64, rec []byte, err error) bool {
		r, perr := packfile.ParseRecord(rec)
		if _, there := s.st().is(r.Digest, p, off); err == nil && perr == nil && !there {
			n += int64(len(rec))
		}
		return true
	})
	return n, err
}

// crashLeft tells of room that nobody needs after the store was closed.
func crashLeft(d *vfs.Disk, packs []*packInfo) error {
	ends := map[string]int64{}
	for _, p := range packs {
		ends[packfile.Path(p.id)] = blocks(p.end.Load())
	}
	logs := 0
	for name, bytes := range d.Files() {
		switch dir, base, _ := strings.Cut(name, "/"); {
		case dir == packsDir && bytes > ends[name]:
			return fmt.Errorf("%s has %d bytes after its end at %d", name, bytes-ends[name], ends[name])
		case name == markerName, dir == packsDir:
		case dir == logDir && strings.HasSuffix(base, ".log"):
			logs++
		case dir == indexDir && strings.HasSuffix(base, ".idx"):
		default:
			return fmt.Errorf("%s is left over", name)
		}
	}
	if logs != 1 {
		return fmt.Errorf("%d logs: %v", logs, d.Files())
	}
	return nil
}
