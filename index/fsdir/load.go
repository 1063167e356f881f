package fsdir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index"
)

// loadBatch is how many records are put into memory at a time.
const loadBatch = 1 << 10

// maxTold is how many damaged files Check tells of one by one.
const maxTold = 100

// walker goes through all files. Damaged ones are told, and no more.
type walker struct {
	x      *Index
	record func(r *index.Record) error
	worker func(name string, incarnation uint64)
	tell   func(path string, err error)
	// mend: what a crash left is put right.
	mend bool
	// doubt: of what is there nobody knows how much is durable.
	doubt bool
}

// load reads the directory into memory, and puts right what a crash left. If it
// was not closed, what the process before changed may be durable or not, and the
// next Flush makes it so.
func (x *Index) load(ctx context.Context, closed bool) error {
	var live, stale []index.Record
	put := func() error {
		err := errors.Join(x.live.Put(ctx, live), x.stale.Put(ctx, stale))
		live, stale = live[:0], stale[:0]
		return err
	}
	w := walker{
		x: x, mend: true, doubt: !closed, tell: func(string, error) {},
		worker: func(name string, incarnation uint64) {
			x.lives[name] = life{incarnation: incarnation}
			x.distrust(name)
		},
		record: func(r *index.Record) error {
			x.distrust(r.Worker)
			if _, silent := x.unconfirmed[r.Worker]; silent && r.Tier.Volatile() {
				stale = append(stale, *r)
			} else {
				live = append(live, *r)
			}
			if len(live)+len(stale) < loadBatch {
				return nil
			}
			return put()
		},
	}
	if err := errors.Join(w.walk(ctx), put()); err != nil {
		return typed("open", err)
	}
	// Where lives were forgotten half as many as may be were left.
	x.forgot = len(x.lives) >= x.mostIdle/2
	return nil
}

// distrust notes a worker that was known before the opening.
func (x *Index) distrust(name string) {
	if x.o.Rules.Stale() {
		x.unconfirmed[name] = struct{}{}
	}
}

// clearTmp removes what was being written.
func (x *Index) clearTmp() error {
	all, err := x.o.FS.List(tmpName)
	for i := range all {
		err = errors.Join(err, x.o.FS.Remove(tmpName+"/"+all[i].Name))
	}
	return err
}

// Check reads all files and returns ErrCorrupt with the paths of those that are
// damaged. Nothing changes meanwhile. They are left as they are: rm is what
// mends, and a new Put of a record replaces its file.
func (x *Index) Check(ctx context.Context) error {
	if err := x.enter(ctx); err != nil {
		return err
	}
	defer x.leave()
	var errs []error
	more := 0
	w := walker{
		x: x, record: func(*index.Record) error { return nil }, worker: func(string, uint64) {},
		tell: func(path string, err error) {
			if len(errs) == maxTold {
				more++
				return
			}
			errs = append(errs, fmt.Errorf("fsdir: %s %w", path, err))
		},
	}
	if err := w.walk(ctx); err != nil {
		return typed("check", err)
	}
	if more > 0 {
		errs = append(errs, fmt.Errorf("fsdir: and %d more files: %w", more, kvferry.ErrCorrupt))
	}
	return errors.Join(errs...)
}

// walk goes through workers and scopes.
func (w *walker) walk(ctx context.Context) error {
	if err := w.dir(ctx, workersName, false, w.readWorker); err != nil {
		return err
	}
	return w.dir(ctx, scopesName, true, func(scope string) error {
		return w.dir(ctx, scope, true, func(parent string) error {
			return w.dir(ctx, parent, false, w.readRecord)
		})
	})
}

// dir calls visit for the directories in path, or for its files: those that
// end with .new by the path without it, and what has both names once.
func (w *walker) dir(ctx context.Context, path string, dirs bool, visit func(path string) error) error {
	all, err := w.x.o.FS.List(path)
	if err != nil {
		return err
	}
	if len(all) == 0 && w.mend && strings.HasPrefix(path, scopesName+"/") {
		return w.x.o.FS.Remove(path)
	}
	if w.doubt {
		w.x.files.dirty[path] = struct{}{}
	}
	plain := map[string]struct{}{}
	for i := range all {
		if all[i].Regular && !strings.HasSuffix(all[i].Name, newSuffix) {
			plain[all[i].Name] = struct{}{}
		}
	}
	for i := range all {
		if err := ctx.Err(); err != nil {
			return err
		}
		name := all[i].Name
		base, isNew := name, false
		if !dirs { // whose names may end with it as they are
			base, isNew = strings.CutSuffix(name, newSuffix)
		}
		_, both := plain[base]
		switch {
		case dirs && !all[i].Dir, !dirs && (!all[i].Regular || !strings.HasSuffix(base, suffix)):
			w.tell(path+"/"+name, fmt.Errorf("is nothing of the index: %w", kvferry.ErrCorrupt))
			continue
		case isNew && both:
			continue
		}
		if err := visit(path + "/" + base); err != nil {
			return err
		}
	}
	return nil
}

// newer returns the content of a file with .new if it is there and whole. One
// that is torn was not flushed: it goes.
func (w *walker) newer(path string, whole func(b []byte) error) ([]byte, error) {
	b, err := read(w.x.o.FS, path+newSuffix)
	if err == nil {
		err = whole(b)
	}
	switch {
	case err == nil:
		if w.mend {
			err = w.refresh(path, b)
		}
		return b, err
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case errors.Is(err, kvferry.ErrCorrupt) && w.mend:
		return nil, w.x.o.FS.Remove(path + newSuffix)
	case errors.Is(err, kvferry.ErrCorrupt):
		w.tell(path+newSuffix, err)
		return nil, nil
	}
	return nil, err
}

// refresh notes a file with .new for the next Flush. After a failure to make it
// durable it can be whole in memory alone, where no second attempt would write
// it: it is written anew.
func (w *walker) refresh(path string, content []byte) error {
	f := &w.x.files
	if !w.doubt {
		f.fresh[path] = struct{}{}
		return nil
	}
	s, err := f.stage(path, content)
	if err != nil {
		return err
	}
	return f.publish([]staged{s})
}

// content returns what a file says, the newer version of it. Damage is told, and
// nil returned.
func (w *walker) content(path string, whole func(b []byte) error) ([]byte, error) {
	b, err := w.newer(path, whole)
	if b != nil || err != nil {
		return b, err
	}
	b, err = read(w.x.o.FS, path)
	if err == nil {
		err = whole(b)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist): // it was a torn file with .new
		return nil, nil
	case errors.Is(err, kvferry.ErrCorrupt):
		w.tell(path, err)
		return nil, nil
	}
	return b, err
}

func (w *walker) readRecord(path string) error {
	var r index.Record
	b, err := w.content(path, func(b []byte) (err error) {
		if r, err = parseRecord(b); err != nil {
			return err
		}
		if want := recordPath(&r, w.x.o.Rules); want != path {
			return fmt.Errorf("has the record of %s: %w", want, kvferry.ErrCorrupt)
		}
		return nil
	})
	if b == nil || err != nil {
		return err
	}
	return w.record(&r)
}

func (w *walker) readWorker(path string) error {
	var name string
	var incarnation uint64
	b, err := w.content(path, func(b []byte) (err error) {
		if name, incarnation, err = parseWorker(b); err != nil {
			return err
		}
		if want := workerPath(name); want != path {
			return fmt.Errorf("has the worker of %s: %w", want, kvferry.ErrCorrupt)
		}
		return nil
	})
	if b != nil && err == nil {
		w.worker(name, incarnation)
	}
	return err
}
