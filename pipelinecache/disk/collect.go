package disk

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/kvferry/kvferry"
)

// CollectOptions say what Collect removes.
type CollectOptions struct {
	// Corrupt, Unversioned and OtherSchema remove artifacts that Verify finds
	// to be so; each makes Collect read all of them.
	Corrupt, Unversioned, OtherSchema bool
	// Aside removes damaged files that were set aside.
	Aside bool
	// Stale removes temporary files that were left behind.
	Stale bool
	// BudgetBytes removes what was used least recently until the files of
	// artifacts that stay have so many bytes at most; 0 is without a limit.
	BudgetBytes int64
	// DryRun only tells.
	DryRun bool
}

// Removal is what Collect removed, or would.
type Removal struct {
	Entry
	// Reason is "corrupt", "unversioned", "other schema", "set aside", "stale"
	// or "budget".
	Reason string
}

// Collected is what Collect did.
type Collected struct {
	Removed      []Removal
	RemovedBytes int64
	// Kept is the number of artifacts that stay, and KeptBytes their lengths.
	Kept      int
	KeptBytes int64
}

// Collect removes what the options say, and no foreign file ever. A file that
// was replaced meanwhile stays, and so does one that cannot be read. A failure
// does not stop it; it returns all.
func (s *Store) Collect(ctx context.Context, o CollectOptions) (Collected, error) {
	var c Collected
	switch {
	case o.BudgetBytes < 0:
		return c, fmt.Errorf("disk: collect: a budget of %d bytes: want 0, for none, or more: %w", o.BudgetBytes, kvferry.ErrInvalid)
	case s.opt.ReadOnly && !o.DryRun:
		return c, fmt.Errorf("disk: collect: the cache was opened for reading: %w", kvferry.ErrReadOnly)
	}
	findings, err := s.survey(ctx, o)
	if err != nil {
		return c, err
	}
	var errs []error
	var kept []Entry
	for _, f := range findings {
		if f.State == Unreadable {
			errs = append(errs, f.Err)
		}
		reason := s.reason(f, o)
		if reason != "" {
			errs = append(errs, s.collect(&c, f.Entry, reason, o.DryRun))
		} else if f.Kind == Artifact && f.State != Gone {
			kept = append(kept, f.Entry)
		}
	}
	errs = append(errs, s.fit(ctx, &c, kept, o))
	return c, errors.Join(errs...)
}

// survey looks at the files as far as the options need it.
func (s *Store) survey(ctx context.Context, o CollectOptions) ([]Finding, error) {
	var all []Finding
	if o.Corrupt || o.Unversioned || o.OtherSchema {
		err := s.Verify(ctx, func(f Finding) error {
			all = append(all, f)
			return nil
		})
		return all, err
	}
	entries, err := s.List(ctx)
	for _, e := range entries {
		all = append(all, Finding{Entry: e})
	}
	return all, err
}

// reason says why a file has to go, whatever the budget.
func (s *Store) reason(f Finding, o CollectOptions) string {
	switch {
	case f.Kind == Aside && o.Aside:
		return "set aside"
	case f.Kind == Temporary && o.Stale && s.abandoned(f.info, time.Now()):
		return "stale"
	case f.State == Corrupt && o.Corrupt, f.State == Unversioned && o.Unversioned, f.State == OtherSchema && o.OtherSchema:
		return f.State.String()
	}
	return ""
}

// fit removes what was used least recently until the rest has the budget.
func (s *Store) fit(ctx context.Context, c *Collected, kept []Entry, o CollectOptions) error {
	for _, e := range kept {
		c.KeptBytes += e.Bytes
	}
	c.Kept = len(kept)
	if o.BudgetBytes == 0 {
		return nil
	}
	slices.SortStableFunc(kept, func(a, b Entry) int { return a.Used.Compare(b.Used) })
	var errs []error
	for _, e := range kept {
		if c.KeptBytes <= o.BudgetBytes || ctx.Err() != nil {
			break
		}
		before := len(c.Removed)
		errs = append(errs, s.collect(c, e, "budget", o.DryRun))
		if len(c.Removed) > before {
			c.Kept--
			c.KeptBytes -= e.Bytes
		}
	}
	return errors.Join(append(errs, ctx.Err())...)
}

// collect removes one file and says so.
func (s *Store) collect(c *Collected, e Entry, reason string, dry bool) error {
	if !dry {
		gone, err := s.discard(e)
		if err != nil {
			return typed("collect "+e.Name, err)
		}
		if !gone {
			return nil
		}
	}
	c.Removed = append(c.Removed, Removal{Entry: e, Reason: reason})
	c.RemovedBytes += e.Bytes
	return nil
}

func (s *Store) discard(e Entry) (bool, error) {
	if e.Kind == Artifact {
		return s.dropFile(e.Fingerprint, e.info)
	}
	err := s.fs.Remove(e.Name)
	return err == nil, unlessGone(err)
}
