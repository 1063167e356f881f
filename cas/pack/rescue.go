package pack

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/cas/pack/internal/packfile"
	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/internal/vfs"
)

// pack adds to the log the blobs of one pack that it does not know.
func (r *rescue) pack(ctx context.Context, id uint64) error {
	s := r.s
	class, ours, err := r.classOf(ctx, id)
	if err != nil || !ours {
		return err
	}
	t := s.borrow()
	defer s.tools.Put(t)
	var list []stored
	var newest int64
	var failure error
	flush := func() {
		if len(list) > 0 && failure == nil {
			failure = r.add(ctx, id, class, newest, list)
			list = list[:0]
		}
	}
	at := int64(packHeaderBytes)
	err = s.reader.Scan(ctx, id, packHeaderBytes, 0, func(off int64, rec []byte, _ error) bool {
		r.progress(off - at)
		at = off
		if rec == nil {
			return ctx.Err() == nil // a scrub tells of it if it matters
		}
		p, _ := packfile.ParseRecord(rec)
		if !p.Digest.Valid() || off >= maxPackBytes {
			return true
		}
		if bad := packfile.CheckBlob(rec, p.Digest); bad != nil && !newerOnly(bad) {
			return true
		}
		if !r.wanted(ctx, id, off, p.Digest) || !s.genuine(t, rec, p) {
			return ctx.Err() == nil
		}
		list, newest = append(list, stored{p.Digest, off, int64(len(rec))}), max(newest, int64(p.Written))
		if len(list) == listMax {
			flush()
		}
		return failure == nil && ctx.Err() == nil
	})
	flush()
	if err = errors.Join(failure, err); missing(err) {
		return nil // removed just now
	}
	return err
}

// newerOnly reports whether a record is sound, and only of a newer version.
func newerOnly(err error) bool {
	return errors.Is(err, kvferry.ErrUnsupported) && !errors.Is(err, kvferry.ErrCorrupt)
}

// classOf returns what the blobs of a pack are kept for: what the log says, else
// what the pack says, else the class that is kept longer. A pack of another
// store is not ours.
func (r *rescue) classOf(ctx context.Context, id uint64) (class cas.Class, ours bool, err error) {
	h, err := r.s.reader.Header(ctx, id)
	switch {
	case missing(err):
		return 0, false, nil
	case err == nil && h.Store != r.s.id:
		return 0, false, nil
	case err == nil && h.Class == packfile.Cache:
		class = cas.Cache
	case newerOnly(err):
		return 0, false, err
	case err != nil && !errors.Is(err, kvferry.ErrCorrupt):
		return 0, false, err
	}
	if p := r.s.st().packs.get(id); p != nil {
		class = p.class
	}
	return class, true, nil
}

// wanted reports whether nothing is known of the blob, or nothing good.
func (r *rescue) wanted(ctx context.Context, id uint64, off int64, d digest.Digest) bool {
	st := r.s.st()
	st.mu.RLock()
	_, aside := st.quarantined[spot{id, off}]
	st.mu.RUnlock()
	if aside {
		return false
	}
	at, p, ok := st.find(d)
	if !ok {
		return true
	}
	if p.id == id && at.Offset() == off {
		return false
	}
	err := r.s.read(ctx, p.id, at, func(rec []byte) error { return packfile.CheckBlob(rec, d) })
	return stale(err)
}

// genuine reports whether a record holds what its digest says, as far as that
// can be told without a key and by this version.
func (s *Store) genuine(t *tools, rec []byte, p packfile.Record) bool {
	n := p.Frame.PlainBytes
	if n < 0 || n > maxPlainBytes {
		return false
	}
	if int64(cap(t.buf)) < n {
		t.buf = make([]byte, n)
	}
	k, err := packfile.Decode(t.buf[:cap(t.buf)], rec, p.Digest, &t.dec)
	if err == nil {
		err = t.hasher.Check(p.Digest, t.buf[:k])
	}
	return err == nil || newerOnly(err)
}

// add makes blobs of a pack known, after their pack is durable.
func (r *rescue) add(ctx context.Context, id uint64, class cas.Class, newest int64, list []stored) error {
	s := r.s
	f, err := s.fs.Open(packfile.Path(id), vfs.ReadWrite)
	if err != nil {
		return failed("open", packfile.Path(id), err)
	}
	if err = f.Sync(); err != nil {
		err = unwritten("sync", packfile.Path(id), err)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	err = s.commits.submit(ctx, &request{build: func(_ *view, o *ops) error {
		o.add(id, class, newest, list)
		return nil
	}})
	if err != nil {
		return err
	}
	r.report.Found += int64(len(list))
	for _, b := range list {
		r.report.FoundBytes += b.bytes
	}
	return nil
}

// displaced is the suffix of a pack that is on its way to its own name.
const displaced = ".moved"

// rename gives packs that are under another's name their own. First they all
// leave the names that are not theirs, so that two can change places.
func (r *rescue) rename(ctx context.Context) error {
	s := r.s
	list, err := s.fs.List(packsDir)
	if err != nil {
		return failed("list", packsDir, err)
	}
	for _, e := range list {
		if err := ctx.Err(); err != nil {
			return err
		}
		id, ok := packfile.ParseName(e.Name)
		if !ok || !e.Regular {
			continue
		}
		h, err := s.packHeader(packfile.Path(id))
		if err != nil || h.ID == id || h.Store != s.id {
			continue // unreadable ones are found by a scrub
		}
		to := strings.TrimSuffix(packfile.Path(h.ID), ".pack") + displaced
		if _, err := s.fs.Stat(to); !missing(err) {
			continue // there are more of them; this one stays
		}
		if err := r.move(id, packfile.Path(id), to); err != nil {
			return err
		}
	}
	return r.replace()
}

// replace gives the displaced packs their names.
func (r *rescue) replace() error {
	s := r.s
	list, err := s.fs.List(packsDir)
	if err != nil {
		return failed("list", packsDir, err)
	}
	moved := 0
	for _, e := range list {
		name, ok := strings.CutSuffix(e.Name, displaced)
		id, isPack := packfile.ParseName(name + ".pack")
		if !ok || !isPack || !e.Regular {
			continue
		}
		from := packsDir + "/" + e.Name
		if _, err := s.fs.Stat(packfile.Path(id)); !missing(err) {
			r.report.Lost = append(r.report.Lost, cas.Problem{Path: from, Leftover: true,
				Err: fmt.Errorf("pack: a second copy of the pack %016x, which is never looked at: remove it", id)})
			continue
		}
		if err := r.move(id, from, packfile.Path(id)); err != nil {
			return err
		}
		r.report.Renamed++
		moved++
	}
	if moved == 0 {
		return nil
	}
	return unwritten("sync", packsDir, s.fs.SyncDir(packsDir))
}

func (r *rescue) move(id uint64, from, to string) error {
	r.s.reader.Forget(id)
	if err := r.s.fs.Rename(from, to); err != nil {
		return unwritten("rename", from, err)
	}
	return nil
}
