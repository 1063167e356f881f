package journal_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

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
}

const dataFile = "data"

func openStore(ctx context.Context, fs vfs.FS, o journal.Options) (*store, error) {
	s := &store{fs: fs}
	o.FS, o.StoreID, o.Verify = fs, storeID, s.verify
	j, err := journal.Open(ctx, o)
	if err != nil {
		return nil, err
	}
	s.j = j
	if err := s.load(ctx, j.Base()); err != nil {
		return nil, errors.Join(err, j.Close())
	}
	return s, nil
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
		return false, err
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
	if good && err == nil {
		err = f.Sync()
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
		base, err := s.j.Rebase(ctx)
		if err == nil {
			err = s.load(ctx, base)
		}
		if err != nil {
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
		if _, err := fmt.Sscanf(p, "u%d", &k); err == nil {
			_, err = f.WriteAt([]byte(p), k*512)
		}
		if err != nil {
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
	temp := fmt.Sprintf("index/%d.tmp", base)
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

// history is what a scenario did, as its processes know it.
type history struct {
	tried []string
	sure  []string        // acknowledged as durable, or committed before such
	weak  []string        // acknowledged, not yet durable
	maybe map[string]bool // failed
}

// commit has s commit, and keeps in mind what that promises.
func (h *history) commit(ctx context.Context, s *store, sync bool, payloads ...string) error {
	h.tried = append(h.tried, payloads...)
	err := s.commit(ctx, sync, payloads...)
	switch {
	case err != nil:
		for _, p := range payloads {
			h.maybe[p] = true
		}
	case sync:
		h.sure = append(append(h.sure, h.weak...), payloads...)
		h.weak = nil
	default:
		h.weak = append(h.weak, payloads...)
	}
	return err
}

// check compares a state with the history. Of what was not sure anything may be
// gone after a power failure, but nothing else is there, and all is in order.
func (h *history) check(s *store, power bool) error {
	at := 0
	for _, p := range s.list {
		for at < len(h.tried) && h.tried[at] != p {
			at++
		}
		if at == len(h.tried) {
			return fmt.Errorf("%s is there, in %v, but was not tried in that order: %v", p, s.list, h.tried)
		}
	}
	for _, p := range h.sure {
		if !s.have[p] {
			return fmt.Errorf("%s was acknowledged and is lost: %v", p, s.list)
		}
	}
	if !power {
		for _, p := range h.weak {
			if !s.have[p] {
				return fmt.Errorf("%s was acknowledged and is lost without a power failure: %v", p, s.list)
			}
		}
	}
	for _, p := range s.list {
		if p[0] != 'u' {
			continue
		}
		if ok, err := s.verify(context.Background(), journal.Tx{Payload: []byte(p)}); err != nil || !ok {
			return fmt.Errorf("%s is there without its data: %w", p, err)
		}
	}
	return nil
}

// scenario runs two processes over one store. It goes on after errors, which it
// collects, unless a process is gone.
func scenario(ctx context.Context, h *history, a, b vfs.FS) error {
	h.maybe = map[string]bool{}
	var errs []error
	note := func(err error) { errs = append(errs, err) }
	if err := errors.Join(writeAll(a, dataFile, ""), a.SyncDir(".")); err != nil {
		return err
	}
	var stores [2]*store
	reopen := func(i int) *store {
		fs := []vfs.FS{a, b}[i]
		if stores[i] == nil {
			s, err := openStore(ctx, fs, journal.Options{})
			note(err)
			stores[i] = s
		}
		return stores[i]
	}
	step := func(i int, sync bool, payloads ...string) {
		if s := reopen(i); s != nil {
			note(h.commit(ctx, s, sync, payloads...))
		}
	}
	checkpoint := func(i int) {
		if s := reopen(i); s != nil {
			note(s.checkpoint(ctx, func() error { step(1-i, true, fmt.Sprintf("m%d", len(h.tried))); return nil }))
		}
	}
	step(0, true, "a0", "a1")
	step(1, true, "u2")
	step(0, false, "a3")
	step(1, false, "b4", "b5")
	step(0, true, "u6", "u7")
	checkpoint(1)
	step(0, false, "a9")
	step(1, true, "b10", "u11", "b12")
	step(0, true, "a13-"+strings.Repeat("x", 700))
	checkpoint(0)
	step(1, false, "b15")
	step(0, true, "u16")
	for _, s := range stores {
		if s != nil {
			note(s.j.Close())
		}
	}
	return errors.Join(errs...)
}
