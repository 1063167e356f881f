package pack

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/cas/pack/internal/packfile"
	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/internal/vfs"
)

// crashStep is something that a process does with the store.
type crashStep struct {
	name  string
	often int
	do    func(ctx context.Context, w *crashWorld, h *crashHost) error
}

var crashSteps = []crashStep{
	{"put", 8, crashPut},
	{"commit", 6, crashCommit},
	{"flush", 4, crashFlush},
	{"abort", 1, crashAbort},
	{"drop", 2, crashDrop},
	{"remove a name", 1, crashRemove},
	{"set a name", 1, crashSetName},
	{"cache", 5, crashCache},
	{"collect", 2, crashCollect},
	{"collect beside a commit", 2, crashCollectBeside},
	{"collect by a policy", 1, crashCollectPolicy},
	{"checkpoint", 2, crashCheckpoint},
	{"quarantine", 2, crashQuarantine},
	{"read", 1, crashReadAll},
}

// session returns a session of the host, begun if there is none.
func (w *crashWorld) session(ctx context.Context, h *crashHost) (*crashSession, error) {
	if n := len(h.sessions); n > 1 || n > 0 && w.dice.IntN(3) > 0 {
		return h.sessions[w.dice.IntN(n)], nil
	}
	x, err := h.s.Begin(ctx, cas.SessionOptions{Owner: "crash"})
	if err != nil {
		return nil, err
	}
	h.sessions = append(h.sessions, &crashSession{x: x})
	return h.sessions[len(h.sessions)-1], nil
}

func (h *crashHost) end(x *crashSession) {
	h.sessions = slices.DeleteFunc(h.sessions, func(y *crashSession) bool { return x == y })
}

func pick[T any](w *crashWorld, list []T) T { return list[w.dice.IntN(len(list))] }

// crashPut puts blobs, of which some are there, and holds others.
func crashPut(ctx context.Context, w *crashWorld, h *crashHost) error {
	x, err := w.session(ctx, h)
	for range 1 + w.dice.IntN(5) {
		if err != nil {
			return err
		}
		var d digest.Digest
		held := true
		switch n := w.dice.IntN(8); {
		case n == 0 && len(w.known) > 0:
			d = pick(w, w.known)
			held, err = x.x.Has(ctx, d)
		case n == 1 && len(w.known) > 0:
			d = pick(w, w.known)
			_, err = x.x.Put(ctx, d, w.plain[d])
		case n == 2 && len(w.cached) > 0:
			d = pick(w, w.cached)
			_, err = x.x.Put(ctx, d, w.plain[d])
			w.knows(d)
		default:
			var p []byte
			d, p = w.make()
			_, err = x.x.Put(ctx, d, p)
			w.knows(d)
		}
		if err == nil && held {
			x.held = append(x.held, d)
		}
	}
	return err
}

func crashCommit(ctx context.Context, w *crashWorld, h *crashHost) error {
	if err := crashPut(ctx, w, h); err != nil {
		return err
	}
	x := pick(w, h.sessions)
	p := crashRoot(x.held)
	root := w.name(p)
	if _, err := x.x.Put(ctx, root, p); err != nil {
		return err
	}
	e := cas.Entry{Root: root, Format: cas.FormatNative, Created: time.Unix(0, w.clock.Add(1e9)).UTC()}
	for range w.dice.IntN(3) {
		e.Names = append(e.Names, pick(w, crashNames))
	}
	err := w.attempt(func(c crashCatalog) {
		c.snaps[root] = e.Created
		for _, name := range e.Names {
			c.names[name] = root
		}
	}, func() error { return x.x.Commit(ctx, e) })
	h.end(x)
	return err
}

var crashNames = []string{"one", "two", "three", "four"}

func crashFlush(ctx context.Context, _ *crashWorld, h *crashHost) error {
	for _, x := range h.sessions {
		if err := x.x.Flush(ctx); err != nil {
			return err
		}
	}
	return nil
}

func crashAbort(ctx context.Context, w *crashWorld, h *crashHost) error {
	if len(h.sessions) == 0 {
		return nil
	}
	x := pick(w, h.sessions)
	h.end(x)
	return x.x.Abort(ctx)
}

func crashDrop(ctx context.Context, w *crashWorld, h *crashHost) error {
	list := w.the().entries()
	if len(list) < 3 {
		return nil
	}
	e := pick(w, list)
	return w.attempt(func(c crashCatalog) { c.drop(e.Root) }, func() error { return h.s.Catalog().Drop(ctx, e.Root) })
}

func crashRemove(ctx context.Context, w *crashWorld, h *crashHost) error {
	name := pick(w, crashNames)
	root, ok := w.the().names[name]
	if !ok {
		return nil
	}
	return w.attempt(func(c crashCatalog) {
		delete(c.names, name)
		for _, r := range c.names {
			if r == root {
				return
			}
		}
		c.drop(root)
	}, func() error { _, err := h.s.Catalog().Remove(ctx, name); return err })
}

func crashSetName(ctx context.Context, w *crashWorld, h *crashHost) error {
	list := w.the().entries()
	if len(list) == 0 {
		return nil
	}
	name, root := pick(w, crashNames), pick(w, list).Root
	return w.attempt(func(c crashCatalog) { c.names[name] = root }, func() error { return h.s.Catalog().SetName(ctx, name, root) })
}

// crashCache puts into the cache and reads from it.
func crashCache(ctx context.Context, w *crashWorld, h *crashHost) error {
	x, err := h.s.Begin(ctx, cas.SessionOptions{Class: cas.Cache})
	if err != nil {
		return err
	}
	for range 4 + w.dice.IntN(12) {
		var d digest.Digest
		var p []byte
		switch n := w.dice.IntN(8); {
		case n == 0 && len(w.known) > 0:
			d = pick(w, w.known)
			p = w.plain[d]
		case n == 1 && len(w.cached) > 0:
			d = pick(w, w.cached)
			p = w.plain[d]
		default:
			d, p = w.make()
		}
		if _, err := x.Put(ctx, d, p); err != nil {
			return err
		}
		w.mu.Lock()
		w.cached = append(w.cached, d)
		w.mu.Unlock()
		if _, err := crashRead(ctx, h.s, pick(w, w.cached)); err != nil && !crashMiss(err) {
			return err
		}
	}
	if w.dice.IntN(3) == 0 {
		if err := x.Flush(ctx); err != nil {
			return err
		}
	}
	return x.Abort(ctx)
}

func crashCollect(ctx context.Context, w *crashWorld, h *crashHost) error {
	_, err := h.s.Collect(ctx, cas.CollectOptions{References: crashReferences(h.s), DryRun: w.dice.IntN(4) == 0})
	return err
}

// crashCollectBeside commits a snapshot in the other process while this one
// collects.
func crashCollectBeside(ctx context.Context, w *crashWorld, h *crashHost) error {
	other := w.hosts[0]
	if other == h {
		other = w.hosts[1]
	}
	in := w.dice.IntN(3)
	refs := crashReferences(h.s)
	_, err := h.s.Collect(ctx, cas.CollectOptions{References: func(ctx context.Context, e cas.Entry, visit func(digest.Digest) error) error {
		if in--; in == 0 {
			if err := crashCommit(ctx, w, other); err != nil {
				return err
			}
		}
		return refs(ctx, e, visit)
	}})
	return err
}

func crashCollectPolicy(ctx context.Context, w *crashWorld, h *crashHost) error {
	o := cas.CollectOptions{References: crashReferences(h.s), KeepLast: 2, Now: w.now()}
	return w.attempt(func(c crashCatalog) {
		_, dropped := o.Split(c.entries(), o.Now)
		for _, e := range dropped {
			c.drop(e.Root)
		}
	}, func() error { _, err := h.s.Collect(ctx, o); return err })
}

func crashCheckpoint(ctx context.Context, _ *crashWorld, h *crashHost) error {
	return h.s.checkpoint(ctx)
}

// crashQuarantine damages a blob, sets it aside and puts it again.
func crashQuarantine(ctx context.Context, w *crashWorld, h *crashHost) error {
	if err := h.s.refresh(ctx); err != nil || len(w.known) == 0 {
		return err
	}
	d := pick(w, w.known)
	at, p, ok := h.s.st().find(d)
	if !ok || p.class != cas.Snapshot || at.Size() < 4*unitBytes {
		return nil
	}
	w.mu.Lock()
	w.hurt[d] = true
	w.mu.Unlock()
	if err := w.spoil(packfile.Path(p.id), at.Offset()+2*unitBytes); err != nil {
		return err
	}
	if err := h.s.Quarantine(ctx, d); err != nil {
		return err
	}
	return w.heal(ctx, h)
}

// heal puts the damaged blobs again.
func (w *crashWorld) heal(ctx context.Context, h *crashHost) error {
	for d := range w.hurt {
		if err := h.s.Quarantine(ctx, d); err != nil && !errors.Is(err, kvferry.ErrNotFound) {
			return err
		}
		x, err := h.s.Begin(ctx, cas.SessionOptions{})
		if err == nil {
			_, err = x.Put(ctx, d, w.plain[d])
		}
		if err == nil {
			err = x.Flush(ctx)
		}
		if err != nil {
			return err
		}
		w.mu.Lock()
		delete(w.hurt, d)
		w.mu.Unlock()
		if err := x.Abort(ctx); err != nil {
			return err
		}
	}
	return nil
}

// spoil flips bits of a file.
func (w *crashWorld) spoil(path string, off int64) error {
	p := w.disk.Process()
	f, err := p.Open(path, vfs.ReadWrite)
	if err != nil {
		return err
	}
	var b [4]byte
	if _, err := f.ReadAt(b[:], off); err != nil {
		return err
	}
	for i := range b {
		b[i] ^= 0x55
	}
	if _, err := f.WriteAt(b[:], off); err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close(), p.Close())
}

func crashReadAll(ctx context.Context, w *crashWorld, h *crashHost) error {
	list, err := h.s.Catalog().Entries(ctx)
	if err != nil {
		return err
	}
	if got, want := crashText(list), crashText(w.the().entries()); got != want {
		return fmt.Errorf("the catalog is\n%s, not\n%s", got, want)
	}
	return w.whole(ctx, h.s)
}
