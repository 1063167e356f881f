package caches

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/bench/harness"
)

// sqliteBench is the program that runs SQL on a page cache of SQLite, its own
// first: ours are held against that.
const sqliteBench = "sqlite-cache"

func sqliteCaches() []string { return []string{"builtin", "own", "group"} }

// sqlGoal is how much longer SQL may take on ours.
func sqlGoal() harness.Goal { return harness.Goal{AtMost: 1.1} }

// sqlite runs SQL on SQLite with its own page cache and with ours, in turns,
// each in a process of its own. Without the program, or with one that fails, no
// goal can be judged; only a cache that gave back other pages is an error.
func sqlite(ctx context.Context, e *harness.Env, s *harness.Section) error {
	figures := map[string]*harness.Figure{}
	of := func(cache string) *harness.Figure {
		name := "op=sql/cache=" + cache
		if figures[name] == nil {
			figures[name] = s.Figure(name, harness.Seconds)
		}
		return figures[name]
	}
	var all []*harness.Figure
	for _, c := range sqliteCaches() {
		all = append(all, of(c))
	}
	theirs := all[0]
	theirs.Role = harness.Peer
	err := sqliteRounds(ctx, e, s, figures)
	switch cause := context.Cause(ctx); {
	case cause != nil:
		return cause
	case errors.Is(err, kvferry.ErrCorrupt):
		return err
	case errors.Is(err, harness.ErrNoPeer):
		s.Miss("SQLite's own page cache", e.Why(sqliteBench))
		s.Drop(theirs)
	case err != nil:
		s.Fail("SQLite's own page cache", err, theirs)
	}
	for _, f := range all[1:] {
		if err != nil { // this program measures ours, too
			f.Samples = nil
		}
		f.Versus(theirs, sqlGoal()).Beside(theirs)
	}
	return nil
}

// sqliteRounds runs the program for all caches in turns.
func sqliteRounds(ctx context.Context, e *harness.Env, s *harness.Section, figures map[string]*harness.Figure) error {
	read := ""
	for range e.Rounds {
		for _, c := range sqliteCaches() {
			lines, err := e.RunPeer(ctx, sqliteBench, "--dir", e.Dir, "--rows", strconv.Itoa(rowsOf(e.Scale)), c)
			if err != nil {
				return err
			}
			for _, l := range lines {
				f := figures[l.Name]
				if f == nil || l.Error != "" || l.Unit != f.Unit || l.Value <= 0 || l.Note == "" {
					return fmt.Errorf("bench: peer %s printed %+v: %w", sqliteBench, l, kvferry.ErrInvalid)
				}
				s.Version(l.Version)
				if read == "" {
					read = l.Note
				}
				if l.Note != read { // the sum over what was read, without which no cache is known to be right
					return fmt.Errorf("bench: peer %s: %s: %q, others say %q: %w", sqliteBench, l.Name, l.Note, read, kvferry.ErrCorrupt)
				}
				f.Note = l.Note
				f.Add(l.Value)
			}
		}
	}
	return nil
}

// rowsOf is how large a table a scale wants. It is worked on three times a round;
// at the full scale that takes some five seconds each, of the half an hour that all
// suites have.
func rowsOf(s harness.Scale) int {
	switch s {
	case harness.Full:
		return 80_000
	case harness.Smoke:
		return 500
	}
	return 30_000
}
