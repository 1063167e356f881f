package journal_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"strings"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas/pack/internal/journal"
	"github.com/kvferry/kvferry/internal/vfs"
)

// store is a process's state made of the log and its checkpoints: what was
// committed, in order. Payloads that begin with u speak of a block of the file
// data, which must be there.
type store struct {
	fs   vfs.FS
	j    *journal.Journal
	list []string
	have map[string]bool

	readOnly bool
}

const dataFile = "data"

func openStore(ctx context.Context, on vfs.FS, o journal.Options) (*store, error) {
	s := &store{fs: on, readOnly: o.ReadOnly}
	o.FS, o.StoreID, o.Verify = on, storeID, s.verify
	j, err := journal.Open(ctx, o)
	if err != nil {
		return nil, err
	}
	s.j = j
	if err := s.renew(ctx, s.load(ctx, j.Base())); err != nil {
		return nil, errors.Join(err, j.Close())
	}
	return s, nil
}

// renew makes the state anew as long as err says that a checkpoint of another
// process came between.
func (s *store) renew(ctx context.Context, err error) error {
	for range 100 {
		if !errors.Is(err, journal.ErrRebased) && !errors.Is(err, fs.ErrNotExist) {
			break
		}
		var base uint64
		if base, err = s.j.Rebase(ctx); err == nil {
			err = s.load(ctx, base)
		}
	}
	return err
}

// load makes the state anew, from the checkpoint base and then the log.
func (s *store) load(ctx context.Context, base uint64) error {
	s.list, s.have = nil, map[string]bool{}
	if base != 0 {
		b, err := readAll(s.fs, fmt.Sprintf("index/%016x.idx", base))
		if err != nil {
			return err
		}
		body, ok := strings.CutSuffix(string(b), "end\n")
		if !ok {
			return fmt.Errorf("checkpoint %d is cut off: %q", base, b)
		}
		for _, p := range strings.Fields(body) {
			s.effect(p)
		}
	}
	return s.j.Follow(ctx, s.apply)
}

func (s *store) effect(p string) {
	if !s.have[p] {
		s.have[p] = true
		s.list = append(s.list, p)
	}
}

func (s *store) apply(t journal.Tx) error {
	s.effect(string(t.Payload))
	return nil
}

func (s *store) verify(_ context.Context, t journal.Tx) (bool, error) {
	var k int64
	if _, err := fmt.Sscanf(string(t.Payload), "u%d", &k); err != nil {
		return true, nil //nolint:nilerr // it speaks of nothing
	}
	f, err := s.fs.Open(dataFile, vfs.ReadWrite)
	if err != nil {
		return false, err
	}
	b := make([]byte, len(t.Payload))
	n, err := f.ReadAt(b, k*512)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	good := string(b[:n]) == string(t.Payload)
	if good && err == nil && !s.readOnly {
		// A sync may have failed: what is read need not be on the disk, unless
		// it is written once more.
		if _, err = f.WriteAt(b, k*512); err == nil {
			err = f.Sync()
		}
	}
	return good, errors.Join(err, f.Close())
}

// commit appends payloads in one go; durable ones are acknowledged if it is nil.
func (s *store) commit(ctx context.Context, sync bool, payloads ...string) error {
	w, err := s.lock(ctx)
	if err != nil {
		return err
	}
	defer w.Unlock()
	txs := make([]journal.Write, len(payloads))
	beside := false
	for i, p := range payloads {
		txs[i].Parts = [][]byte{[]byte(p[:1]), []byte(p[1:])}
		beside = beside || p[0] == 'u'
	}
	if beside {
		err = s.appendBeside(w, txs, payloads)
	} else {
		err = w.AppendAll(txs, sync)
	}
	for _, p := range payloads {
		if err == nil {
			s.effect(p)
		}
	}
	return err
}

func (s *store) lock(ctx context.Context) (*journal.Writer, error) {
	for {
		w, err := s.j.Lock(ctx, s.apply)
		if !errors.Is(err, journal.ErrRebased) {
			return w, err
		}
		if err := s.renew(ctx, err); err != nil {
			return nil, err
		}
	}
}

func (s *store) appendBeside(w *journal.Writer, txs []journal.Write, payloads []string) error {
	f, err := s.fs.Open(dataFile, vfs.ReadWrite)
	if err != nil {
		return err
	}
	for _, p := range payloads {
		var k int64
		if _, err := fmt.Sscanf(p, "u%d", &k); err != nil {
			continue
		}
		if _, err := f.WriteAt([]byte(p), k*512); err != nil {
			return errors.Join(err, f.Close())
		}
	}
	return errors.Join(w.AppendBeside(txs, f.Sync), f.Close())
}

// checkpoint saves the state and replaces the log.
func (s *store) checkpoint(ctx context.Context, between func() error) error {
	w, err := s.lock(ctx)
	if err != nil {
		return err
	}
	from := w.Position()
	body := strings.Join(append(s.list, "end\n"), "\n")
	w.Unlock()
	base := from.Generation + 1
	temp := fmt.Sprintf("index/%d-%p.tmp", base, s) // its own
	if err := writeAll(s.fs, temp, body); err != nil {
		return err
	}
	if err := between(); err != nil {
		return err
	}
	if w, err = s.lock(ctx); err != nil {
		return err
	}
	defer w.Unlock()
	if w.Position().Generation != from.Generation {
		return journal.ErrMoved
	}
	if err := s.fs.Rename(temp, fmt.Sprintf("index/%016x.idx", base)); err != nil {
		return err
	}
	return w.Switch(ctx, base, from)
}

func writeAll(fs vfs.FS, name, body string) error {
	f, err := fs.Open(name, vfs.Create)
	if err != nil {
		return err
	}
	err = f.Truncate(0)
	if err == nil {
		_, err = f.WriteAt([]byte(body), 0)
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

func readAll(fs vfs.FS, name string) ([]byte, error) {
	f, err := fs.Open(name, vfs.ReadOnly)
	if err != nil {
		return nil, err
	}
	i, err := f.Stat()
	b := make([]byte, i.Size)
	if err == nil && i.Size > 0 {
		_, err = f.ReadAt(b, 0)
	}
	return b, errors.Join(err, f.Close())
}

// run is two processes at work on one store. It goes on after errors, which it
// collects.
type run struct {
	h      *history
	fs     [2]vfs.FS
	stores [2]*store
	errs   []error
}

func newRun(h *history, a, b vfs.FS) (*run, error) {
	h.maybe = map[string]bool{}
	r := &run{h: h, fs: [2]vfs.FS{a, b}}
	return r, errors.Join(writeAll(a, dataFile, ""), a.SyncDir("."))
}

func (r *run) note(err error) {
	if err != nil {
		r.errs = append(r.errs, err)
	}
}

// do has process i do something. It starts again if it is told to.
func (r *run) do(ctx context.Context, i int, what func(s *store) error) {
	if r.stores[i] == nil {
		s, err := openStore(ctx, r.fs[i], journal.Options{})
		r.note(err)
		if err != nil {
			return
		}
		r.stores[i] = s
	}
	err := what(r.stores[i])
	r.note(err)
	if errors.Is(err, kvferry.ErrPoisoned) {
		r.restart(i)
	}
}

func (r *run) restart(i int) {
	if r.stores[i] != nil {
		r.note(r.stores[i].j.Close())
		r.stores[i] = nil
	}
}

func (r *run) commit(ctx context.Context, i int, sync bool, payloads ...string) {
	r.do(ctx, i, func(s *store) error { return r.h.commit(ctx, s, sync, payloads...) })
}

// checkpoint has process i write one, and the other one commit meanwhile.
func (r *run) checkpoint(ctx context.Context, i int) {
	r.do(ctx, i, func(s *store) error {
		return s.checkpoint(ctx, func() error {
			r.commit(ctx, 1-i, true, fmt.Sprintf("m%d", len(r.h.tried)))
			return nil
		})
	})
}

func (r *run) end() error {
	r.restart(0)
	r.restart(1)
	return errors.Join(r.errs...)
}

// scenario is a short run with everything in it.
func scenario(ctx context.Context, h *history, a, b vfs.FS) error {
	r, err := newRun(h, a, b)
	if err != nil {
		return err
	}
	r.commit(ctx, 0, true, "a0", "a1")
	r.commit(ctx, 1, true, "u2")
	r.commit(ctx, 0, false, "a3")
	r.commit(ctx, 1, false, "b4", "b5")
	r.commit(ctx, 0, true, "u6", "u7")
	r.checkpoint(ctx, 1)
	r.commit(ctx, 0, false, "a9")
	r.commit(ctx, 1, true, "b10", "u11", "b12")
	r.commit(ctx, 0, true, "a13-"+strings.Repeat("x", 700))
	r.checkpoint(ctx, 0)
	r.commit(ctx, 1, false, "b15")
	r.commit(ctx, 0, true, "u16")
	return r.end()
}

// wander is a long run of steps that the dice choose. Now and then before says
// that a process shall be another one.
func wander(ctx context.Context, h *history, fs [2]vfs.FS, dice *rand.Rand, steps int, before func(i int) vfs.FS) error {
	r, err := newRun(h, fs[0], fs[1])
	if err != nil {
		return err
	}
	for range steps {
		i := dice.IntN(2)
		if f := before(i); f != nil {
			r.restart(i)
			r.fs[i] = f
		}
		switch dice.IntN(12) {
		case 0:
			r.checkpoint(ctx, i)
		case 1:
			r.restart(i)
		default:
			var ps []string
			kind := "ppu"[dice.IntN(3)]
			for k := range 1 + dice.IntN(3) {
				ps = append(ps, fmt.Sprintf("%c%d%s", kind, len(h.tried)+k, strings.Repeat("-x", dice.IntN(90))))
			}
			r.commit(ctx, i, kind == 'u' || dice.IntN(2) == 0, ps...)
		}
	}
	return r.end()
}
