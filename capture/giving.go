package capture

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/pager"
)

// give writes the planned pages into the engine and installs the sequences.
// On error the engine is put back as it was found.
func (r *returning) give(ctx context.Context) (err error) {
	p := &pausing{}
	for _, t := range r.targets {
		p.groups = append(p.groups, t.group)
	}
	whole := false
	defer func() { r.pause.Total = p.total }()
	defer func() { err = errors.Join(err, p.release(ctx)) }() // whatever happens before
	defer func() {                                            // also on a panic of the pager
		if !whole {
			err = errors.Join(err, r.undo(ctx, p))
		}
	}()
	if err := p.hold(ctx); err != nil {
		return err
	}
	begin := time.Now()
	if err := r.allocate(ctx); err != nil {
		return err
	}
	r.pause.Tables = time.Since(begin)
	if r.opts.Busy { // the new pages are nobody's yet: the engine may go on
		if err := p.release(ctx); err != nil {
			return err
		}
	}
	begin = time.Now()
	if err := r.fill(ctx); err != nil {
		return err
	}
	if r.opts.Busy {
		if err := p.hold(ctx); err != nil {
			return err
		}
	} else {
		r.pause.Copy = time.Since(begin)
	}
	if err := r.install(ctx); err != nil {
		return err
	}
	if err := p.release(ctx); err != nil {
		return err
	}
	whole = true
	return nil
}

// allocate looks at the paused groups and takes the pages.
func (r *returning) allocate(ctx context.Context) error {
	for _, t := range r.targets {
		if err := t.look(ctx, r.opts.Busy); err != nil {
			return fmt.Errorf("group %q: %w", t.group.Name, err)
		}
	}
	for _, t := range r.targets {
		if err := t.take(ctx, r.opts.KeepIndices); err != nil {
			return fmt.Errorf("group %q: %w", t.group.Name, err)
		}
	}
	return nil
}

// look reads what the engine holds and refuses what cannot be added to it.
func (t *target) look(ctx context.Context, busy bool) error {
	var err error
	if t.before, err = t.group.Pager.LogicalSeqs(ctx); err != nil {
		return fmt.Errorf("sequences: %w", err)
	}
	if !busy {
		occupied, err := t.group.Pager.OccupiedPages(ctx)
		if err != nil {
			return fmt.Errorf("occupied pages: %w", err)
		}
		if len(occupied) > 0 || len(t.before) > 0 {
			return fmt.Errorf("%d pages and %d sequences are there already: %w", len(occupied), len(t.before), kvferry.ErrNotEmpty)
		}
		return nil
	}
	return t.clash(t.before)
}

// clash refuses sequences whose ids the engine uses.
func (t *target) clash(live []pager.LogicalSeq) error {
	ids := make(map[string]bool, len(live))
	for _, s := range live {
		ids[s.ID] = true
	}
	for _, s := range t.seqs {
		if ids[s.ID] {
			return fmt.Errorf("sequence %q runs in the engine: %w", s.ID, kvferry.ErrExists)
		}
	}
	return nil
}

// take gets the target's pages from the engine: any, or those of the capture.
func (t *target) take(ctx context.Context, keep bool) error {
	n := len(t.pages)
	if n == 0 {
		return nil
	}
	if keep {
		ids := make([]pager.PageID, n)
		for i, p := range t.pages {
			ids[i] = t.stored.Indices[p]
		}
		r, ok := t.group.Pager.(pager.Reserver)
		if !ok { // plan made sure of it
			return fmt.Errorf("reserve pages: %w", kvferry.ErrUnsupported)
		}
		if err := r.ReservePages(ctx, ids); err != nil {
			return fmt.Errorf("reserve %d pages: %w", n, err)
		}
		t.ids = ids
		return nil
	}
	ids, err := t.group.Pager.AllocatePages(ctx, n)
	if err != nil {
		return fmt.Errorf("allocate %d pages: %w", n, err)
	}
	t.ids = ids
	if distinct := slices.Compact(slices.Sorted(slices.Values(ids))); len(ids) != n || len(distinct) != n {
		t.ids = distinct // what there is to release
		return fmt.Errorf("the engine allocated %d distinct pages, %d in all, instead of %d: %w", len(distinct), len(ids), n, kvferry.ErrInvalid)
	}
	return nil
}

// install adds the restored sequences to what the engine runs now.
func (r *returning) install(ctx context.Context) error {
	for _, t := range r.targets {
		live := t.before
		if r.opts.Busy {
			var err error
			if live, err = t.group.Pager.LogicalSeqs(ctx); err != nil {
				return fmt.Errorf("sequences of group %q: %w", t.group.Name, err)
			}
			if err := t.clash(live); err != nil {
				return fmt.Errorf("group %q: %w", t.group.Name, err)
			}
		}
		t.installed = true // also if the call fails half way
		if err := t.group.Pager.InstallLogicalSeqs(ctx, append(slices.Clone(live), t.rewritten()...)); err != nil {
			return fmt.Errorf("install %d sequences in group %q: %w", len(t.seqs), t.group.Name, err)
		}
	}
	return nil
}

// undo takes the restored sequences out again and releases the pages. It works
// on whatever was reached, and goes on after an error. An engine that runs
// again by then is paused for it: its list of sequences is not the one that
// was found before.
func (r *returning) undo(ctx context.Context, p *pausing) error {
	ctx = context.WithoutCancel(ctx)
	var errs []error
	if p.paused == 0 && slices.ContainsFunc(r.targets, func(t *target) bool { return t.installed }) {
		if err := p.hold(ctx); err != nil {
			errs = append(errs, err) // uninstall says what stays
		}
	}
	for i, t := range r.targets {
		errs = append(errs, t.undo(ctx, i < p.paused))
	}
	return errors.Join(errs...)
}

// undo cleans one group up; held says whether it stands still.
func (t *target) undo(ctx context.Context, held bool) error {
	if t.installed {
		if err := t.uninstall(ctx, held); err != nil {
			return fmt.Errorf("group %q keeps %d restored sequences and their %d pages: %w", t.group.Name, len(t.seqs), len(t.ids), err)
		}
	}
	if err := t.releasePages(ctx); err != nil {
		return fmt.Errorf("group %q keeps the restored pages %v: %w", t.group.Name, some(t.ids), err)
	}
	return nil
}

// uninstall takes the restored sequences off the engine's list.
func (t *target) uninstall(ctx context.Context, held bool) error {
	if !held {
		return errors.New("the engine could not be paused again")
	}
	live, err := t.group.Pager.LogicalSeqs(ctx)
	if err != nil {
		return err
	}
	ours := map[string]bool{}
	for _, s := range t.seqs {
		ours[s.ID] = true
	}
	kept := slices.DeleteFunc(live, func(s pager.LogicalSeq) bool { return ours[s.ID] })
	if err := t.group.Pager.InstallLogicalSeqs(ctx, kept); err != nil {
		return err
	}
	t.installed, t.uninstalled = false, true
	return nil
}

// some returns ids for a message, not too many.
func some(ids []pager.PageID) string {
	const most = 16
	if len(ids) <= most {
		return fmt.Sprint(ids)
	}
	return fmt.Sprintf("%v and %d more", ids[:most], len(ids)-most)
}

// releasePages gives the target's pages back, but not those whose copy has no
// known end.
func (t *target) releasePages(ctx context.Context) error {
	ids := slices.DeleteFunc(slices.Clone(t.ids), func(id pager.PageID) bool { return t.fenced[id] })
	if len(ids) == 0 {
		return nil
	}
	rel, ok := t.group.Pager.(pager.Releaser)
	if !ok {
		return fmt.Errorf("the engine cannot release pages: %w", kvferry.ErrUnsupported)
	}
	err := rel.ReleasePages(ctx, ids)
	if !t.uninstalled || !errors.Is(err, kvferry.ErrNotFound) {
		return err
	}
	// An engine that counts references freed the pages with their sequences,
	// all or some of them.
	var errs []error
	for i := range ids {
		if err := rel.ReleasePages(ctx, ids[i:i+1]); !errors.Is(err, kvferry.ErrNotFound) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
