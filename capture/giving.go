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
	defer func() { // also on a panic of the pager
		r.pause.Total = p.total
		if whole {
			return
		}
		// The engine is cleaned up while it stands still, if it does.
		err = errors.Join(err, r.undo(ctx), p.release(ctx))
		r.pause.Total = p.total
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
			t.before = live
		}
		if err := t.group.Pager.InstallLogicalSeqs(ctx, append(slices.Clone(live), t.rewritten()...)); err != nil {
			return fmt.Errorf("install %d sequences in group %q: %w", len(t.seqs), t.group.Name, err)
		}
		t.installed = true
	}
	return nil
}

// undo puts the sequences back and releases the pages. It works on whatever
// was reached, and goes on after an error.
func (r *returning) undo(ctx context.Context) error {
	ctx = context.WithoutCancel(ctx)
	var errs []error
	for _, t := range r.targets {
		if t.installed {
			if err := t.group.Pager.InstallLogicalSeqs(ctx, t.before); err != nil {
				errs = append(errs, fmt.Errorf("group %q keeps the restored sequences: %w", t.group.Name, err))
				continue // their pages are in use
			}
			t.installed = false
		}
		if err := t.releasePages(ctx); err != nil {
			errs = append(errs, fmt.Errorf("group %q keeps %d restored pages: %w", t.group.Name, len(t.ids), err))
		}
	}
	return errors.Join(errs...)
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
	return rel.ReleasePages(ctx, ids)
}
