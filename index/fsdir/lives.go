package fsdir

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"
)

// maxIdle is how many workers without records are known: pods come and go, and
// each has another name.
const maxIdle = 1 << 16

// life is what a worker announced, and how many announcements there were then.
type life struct{ incarnation, at uint64 }

// remember notes an incarnation. If there are too many, the older half of the
// workers without records is forgotten. From then on one that is not known may be
// one of them: if it has records after all, its next announcement takes the
// volatile ones away.
func (x *Index) remember(ctx context.Context, worker string, incarnation uint64) error {
	ctx = context.WithoutCancel(ctx)
	x.mu.Lock()
	defer x.mu.Unlock()
	x.announces++
	x.lives[strings.Clone(worker)] = life{incarnation, x.announces}
	if len(x.lives) <= x.mostIdle {
		return nil
	}
	idle, err := x.idleLocked(ctx, worker)
	if err != nil || len(idle) <= x.mostIdle {
		return err
	}
	slices.SortFunc(idle, func(a, b string) int { return cmp.Compare(x.lives[a].at, x.lives[b].at) })
	for _, name := range idle[:len(idle)/2] {
		if err := x.files.forget(workerPath(name)); err != nil {
			return err
		}
		delete(x.lives, name)
		x.forgot = true
	}
	return nil
}

// idleLocked returns the workers that announced themselves and have no records,
// without one of them.
func (x *Index) idleLocked(ctx context.Context, besides string) ([]string, error) {
	busy := map[string]struct{}{besides: {}}
	for _, m := range x.both() {
		ws, err := m.Workers(ctx)
		if err != nil {
			return nil, err
		}
		for _, w := range ws {
			busy[w.Name] = struct{}{}
		}
	}
	var idle []string
	for name := range x.lives {
		if _, ok := busy[name]; !ok {
			idle = append(idle, name)
		}
	}
	return idle, nil
}

// forget removes the file of a worker. If a crash brings it back the worker is
// known again, which does no harm.
func (f *files) forget(path string) error {
	for _, p := range [...]string{path, path + newSuffix} {
		if err := f.fs.Remove(p); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	delete(f.fresh, path)
	f.dirty[workersName] = struct{}{}
	return nil
}
