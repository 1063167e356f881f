package capture

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/capture/manifest"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/identity"
	"github.com/kvferry/kvferry/pager"
)

// RestoreGroups puts a snapshot back into the groups of an engine, matched by
// name; a snapshot and an engine of one group each match whatever the names.
//
// Pages go only to indices that the pager handed out, and sequences are
// rewritten to them. Every byte is checked against its digest before it is
// written. An engine that is not empty is refused (ErrNotEmpty) unless Busy is
// set; then it runs while the pages are written and is paused twice, to
// allocate and to install. A geometry other than the snapshot's is
// ErrLayoutMismatch.
//
// On any error, that of resuming included, the copies in flight are ended,
// the sequences are as before and the pages are released, if the pager is a
// pager.Releaser; pages that could not be released, or whose copy has no known
// end, are named in the error.
func RestoreGroups(ctx context.Context, s cas.Store, root digest.Digest, groups []Group, o RestoreOptions) (RestoreReport, error) {
	start := time.Now()
	o.ensureDefaults()
	if err := errors.Join(o.validate(), checkGroups(groups)); err != nil {
		return RestoreReport{}, err
	}
	l, err := load(ctx, s, root, LoadOptions{Key: o.Key, Lenient: o.Lenient})
	if err != nil {
		return RestoreReport{}, err
	}
	snap := l.snapshot
	if err := matchIdentity(snap, o.Identity); err != nil {
		return RestoreReport{}, err
	}
	r := &returning{opts: o, store: s}
	if err := r.plan(snap, groups); err != nil {
		return RestoreReport{}, fmt.Errorf("capture: restore %v: %w", root, err)
	}
	if err := r.precheck(ctx); err != nil {
		return RestoreReport{}, fmt.Errorf("capture: restore %v: %w", root, err)
	}
	if err := r.give(ctx); err != nil {
		return RestoreReport{}, fmt.Errorf("capture: restore %v: %w", root, err)
	}
	rep := r.report()
	rep.Root, rep.Format, rep.Omitted, rep.Elapsed = root, l.format, l.omitted, time.Since(start)
	return rep, nil
}

// matchIdentity refuses a snapshot of something else. A snapshot that states
// no identity, as all of ProcessFork's, matches only one that states none.
func matchIdentity(s *manifest.Snapshot, want *identity.Identity) error {
	if want == nil {
		return nil
	}
	if field := s.Identity.Mismatch(*want); field != "" {
		return fmt.Errorf("capture: the snapshot's %s is not the engine's: %w", field, kvferry.ErrIdentityMismatch)
	}
	return nil
}

// returning is one restore on its way.
type returning struct {
	opts    RestoreOptions
	store   cas.Store
	targets []*target
	pause   Pause
}

// target is one group that is being restored.
type target struct {
	group  Group
	stored *manifest.Group
	// pages are the numbers of the pages to restore, ascending, and ids the
	// engine indices that they got.
	pages []uint32
	ids   []pager.PageID
	seqs  []manifest.Sequence // chosen ones, under their new ids
	// before is the engine's list of sequences as it was found.
	before []pager.LogicalSeq
	// installed: the engine may hold the restored sequences; uninstalled: it
	// did and does not any more.
	installed, uninstalled bool
	fenced                 map[pager.PageID]bool
}

// plan matches groups and chooses sequences and pages. It touches no engine.
func (r *returning) plan(s *manifest.Snapshot, groups []Group) error {
	if len(s.Groups) != len(groups) {
		return fmt.Errorf("snapshot of %d KV groups, engine of %d: %w", len(s.Groups), len(groups), kvferry.ErrLayoutMismatch)
	}
	missing := map[string]bool{}
	for _, id := range r.opts.Sequences {
		missing[id] = true
	}
	rename := once(r.opts.Rename)
	for i := range s.Groups {
		stored := &s.Groups[i]
		g, ok := findGroup(groups, stored.Name)
		if !ok {
			return fmt.Errorf("the engine has no KV group %q: %w", stored.Name, kvferry.ErrLayoutMismatch)
		}
		if have := g.Pager.Meta(); !have.Equal(stored.Meta) {
			return fmt.Errorf("group %q: snapshot of %v, engine of %v: %w", g.Name, stored.Meta, have, kvferry.ErrLayoutMismatch)
		}
		if _, ok := g.Pager.(pager.Reserver); r.opts.KeepIndices && (!ok || stored.Indices == nil) {
			return fmt.Errorf("group %q cannot keep page indices: %w", g.Name, kvferry.ErrUnsupported)
		}
		t := &target{group: g, stored: stored, fenced: map[pager.PageID]bool{}}
		if err := t.choose(&r.opts, missing, rename); err != nil {
			return err
		}
		r.targets = append(r.targets, t)
	}
	for id := range missing {
		return fmt.Errorf("sequence %q is not in the snapshot: %w", id, kvferry.ErrNotFound)
	}
	return nil
}

// once makes a renaming that asks f once for each id, so that a sequence has
// one name in all groups.
func once(f func(string) string) func(string) string {
	if f == nil {
		return func(id string) string { return id }
	}
	names := map[string]string{}
	return func(id string) string {
		if _, ok := names[id]; !ok {
			names[id] = f(id)
		}
		return names[id]
	}
}

func findGroup(groups []Group, name string) (Group, bool) {
	if len(groups) == 1 {
		return groups[0], true
	}
	for _, g := range groups {
		if g.Name == name {
			return g, true
		}
	}
	return Group{}, false
}

// choose selects the target's sequences and pages, and strikes the sequences
// that it found off missing.
func (t *target) choose(o *RestoreOptions, missing map[string]bool, rename func(string) string) error {
	wanted := map[string]bool{}
	for _, id := range o.Sequences {
		wanted[id] = true
	}
	all := o.Sequences == nil
	need := make([]bool, t.stored.Table.Pages())
	taken := map[string]bool{}
	for _, s := range t.stored.Sequences {
		if !all && !wanted[s.ID] {
			continue
		}
		delete(missing, s.ID)
		for _, p := range s.Pages {
			need[p] = true
		}
		s.ID = rename(s.ID)
		if taken[s.ID] {
			return fmt.Errorf("two sequences would be named %q: %w", s.ID, kvferry.ErrExists)
		}
		taken[s.ID] = true
		t.seqs = append(t.seqs, s)
	}
	for p := range need {
		if all || need[p] {
			t.pages = append(t.pages, uint32(p))
		}
	}
	return nil
}

// precheck makes sure that every blob is there before an engine is touched
// that could not be cleaned up again.
func (r *returning) precheck(ctx context.Context) error {
	for _, t := range r.targets {
		if _, ok := t.group.Pager.(pager.Releaser); ok {
			continue
		}
		for _, n := range t.pages {
			for p := range t.stored.Table.Parts() {
				d := t.stored.Table.Digest(int(n), p)
				has, err := r.store.Has(ctx, d)
				if err != nil {
					return err
				}
				if !has {
					return fmt.Errorf("part %d of page %d, blob %v: %w", p, n, d, kvferry.ErrNotFound)
				}
			}
		}
	}
	return nil
}

// rewritten returns the chosen sequences on the engine's indices.
func (t *target) rewritten() []pager.LogicalSeq {
	at := make([]pager.PageID, t.stored.Table.Pages())
	for i, n := range t.pages {
		at[n] = t.ids[i]
	}
	seqs := make([]pager.LogicalSeq, len(t.seqs))
	for i, s := range t.seqs {
		ids := make([]pager.PageID, len(s.Pages))
		for k, n := range s.Pages {
			ids[k] = at[n]
		}
		seqs[i] = pager.LogicalSeq{ID: s.ID, Pages: ids, FillInLastPage: s.FillInLastPage}
	}
	return seqs
}

func (r *returning) report() RestoreReport {
	rep := RestoreReport{Pause: r.pause}
	ids := map[string]struct{}{}
	for _, t := range r.targets {
		rep.Pages += len(t.pages)
		rep.Bytes += int64(len(t.pages)) * int64(t.stored.Meta.PageBytes())
		for _, s := range t.seqs {
			ids[s.ID] = struct{}{}
		}
		m := Mapping{Group: t.stored.Name, Numbers: t.pages, Restored: t.ids}
		if t.stored.Indices != nil {
			m.Captured = make([]pager.PageID, len(t.pages))
			for i, n := range t.pages {
				m.Captured[i] = t.stored.Indices[n]
			}
		}
		rep.Mappings = append(rep.Mappings, m)
	}
	rep.Sequences = len(ids)
	return rep
}
