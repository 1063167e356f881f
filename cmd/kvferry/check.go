package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/capture"
	"github.com/kvferry/kvferry/cas"
)

// checkup is the JSON document of check.
type checkup struct {
	OK        bool     `json:"ok"`
	Deep      bool     `json:"deep"` // all was decoded and hashed, not only read
	Blobs     int64    `json:"blobs"`
	Bytes     int64    `json:"bytes"`     // plain, or if not deep as stored
	Unchecked int64    `json:"unchecked"` // blobs of tenants, whose key is needed
	Bad       []fault  `json:"bad"`       // without what was mended
	Leftovers []fault  `json:"leftovers"` // of ended processes; no damage
	Repaired  bool     `json:"repaired"`  // a repair was asked for
	Mended    []mended `json:"mended"`    // by it
	Found     int64    `json:"found"`     // blobs that the log and index had lost
	Relisted  []string `json:"relisted"`  // snapshots that the catalog had lost
	Snapshots []health `json:"snapshots"` // after it
	Seconds   float64  `json:"seconds"`

	cause error // ErrUnsupported if nothing worse was found, else ErrCorrupt
}

// fault is one damaged or missing thing of a store.
type fault struct {
	Digest string `json:"digest,omitempty"`
	Path   string `json:"path,omitempty"`
	Error  string `json:"error"`
}

// health says what the damage means for one snapshot.
type health struct {
	snapshot
	OK        bool   `json:"ok"`
	Unchecked bool   `json:"unchecked,omitempty"` // a tenant's, whose key is needed
	Error     string `json:"error,omitempty"`     // why it cannot be read at all
	PagesLost int    `json:"pages_lost"`
	Losses    []loss `json:"losses"`
}

func (a *app) checkCommand() *cobra.Command {
	var (
		deep, repair bool
		from         string
	)
	c := &cobra.Command{
		Use:   "check [--deep] [--repair [--from URL]] [--store URL]",
		Short: "Read a whole store, say what is damaged and what that means for which snapshot",
		Long: `Check reads all that a store keeps and says which snapshots lose what.

A pack store is scrubbed: everything is read in the order in which it lies and
held against its checksums, at the speed of the disk. With --deep, and always in
stores that have no such checksums, every blob is decoded and hashed.

With --repair, what a pack store's log and index lost is taken from its packs:
all blobs, and the snapshots that are whole, though not their names; some of them
may have been removed before. Damaged blobs are set aside, and with --from those that are damaged
or missing are healed from another store that has them. What could be mended is
no damage any more; the exit code tells of the rest.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if from != "" && !repair {
				return usage(errors.New("--from is for --repair"))
			}
			o := capture.CheckOptions{Quick: !deep, Repair: repair}
			if from == "" {
				return a.check(c.Context(), o)
			}
			return a.with(c.Context(), "--from: ", from, readAccess, func(ctx context.Context, src cas.Store) error {
				o.From = src
				return a.check(ctx, o)
			})
		},
	}
	c.Flags().BoolVar(&deep, "deep", false, "decode and hash every blob")
	c.Flags().BoolVar(&repair, "repair", false, "set damaged blobs aside, and heal what --from has")
	c.Flags().StringVar(&from, "from", "", "with --repair: `URL` of a store that may have sound copies")
	return c
}

func (a *app) check(ctx context.Context, o capture.CheckOptions) error {
	how := readAccess
	if o.Repair {
		how = changeAccess | repairAccess
	}
	return a.withStore(ctx, how, func(ctx context.Context, s cas.Store) error {
		p := a.progress("check")
		defer p.done()
		o.Progress = p.update
		r, err := capture.Check(ctx, s, o)
		p.done()
		if err != nil {
			return err
		}
		out := checkupOf(r)
		out.Repaired = o.Repair
		if err := a.print(out, out.write); err != nil || out.OK {
			return err
		}
		return fmt.Errorf("check: %s, %s of %d affected: %w", count(len(out.Bad), "fault"),
			count(out.affected(), "snapshot"), len(out.Snapshots), out.cause)
	})
}

func checkupOf(r capture.CheckReport) checkup {
	c := checkup{
		Deep: r.Deep, Blobs: r.Blobs, Bytes: r.Bytes, Unchecked: r.Unchecked,
		Bad: faultsOf(r.Bad), Leftovers: faultsOf(r.Leftovers), Mended: mendedOf(r.Mended), Snapshots: []health{},
		Found: r.Rebuilt.Found, Relisted: []string{},
		Seconds: r.Elapsed.Seconds(), cause: kvferry.ErrUnsupported,
	}
	for _, p := range r.Bad {
		c.blame(p.Err)
	}
	for _, s := range r.Snapshots {
		h := health{snapshot: snapshotOf(s.Entry), Unchecked: s.Unchecked, PagesLost: s.PagesLost, Losses: lossesOf(s.Losses)}
		h.Unlisted = s.Unlisted
		if s.Err != nil {
			h.Error = s.Err.Error()
			c.blame(s.Err)
		}
		if len(s.Losses) > 0 {
			c.cause = kvferry.ErrCorrupt
		}
		h.OK = s.Err == nil && len(s.Losses) == 0
		c.Snapshots = append(c.Snapshots, h)
	}
	for _, e := range r.Relisted {
		c.Relisted = append(c.Relisted, e.Root.String())
	}
	c.OK = len(c.Bad) == 0 && c.affected() == 0
	return c
}

// blame notes why something is bad.
func (c *checkup) blame(err error) {
	if !errors.Is(err, kvferry.ErrUnsupported) || errors.Is(err, kvferry.ErrCorrupt) {
		c.cause = kvferry.ErrCorrupt
	}
}

func faultsOf(ps []cas.Problem) []fault {
	out := []fault{}
	for _, p := range ps {
		f := fault{Path: p.Path}
		if p.Digest.Valid() {
			f.Digest = p.Digest.String()
		}
		if p.Err != nil {
			f.Error = p.Err.Error()
		}
		out = append(out, f)
	}
	return out
}

// affected counts the snapshots that lost something.
func (c checkup) affected() int {
	n := 0
	for _, h := range c.Snapshots {
		if !h.OK {
			n++
		}
	}
	return n
}

func (c checkup) write(w io.Writer) error {
	if err := errors.Join(writeFaults(w, "bad", c.Bad), writeFaults(w, "leftover", c.Leftovers), writeMended(w, c.Mended), c.writeRebuilt(w)); err != nil {
		return err
	}
	for _, h := range c.Snapshots {
		if err := h.write(w); err != nil {
			return err
		}
	}
	if n := len(c.Leftovers); n > 0 {
		if _, err := fmt.Fprintf(w, "%s of ended processes: no damage, gc removes what is old enough\n", count(n, "leftover")); err != nil {
			return err
		}
	}
	if c.Repaired {
		if _, err := fmt.Fprintln(w, summary(c.Mended)); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(w, "%s, %s %s; %s\n", count(c.Blobs, "blob"), size(c.Bytes), c.depth(), count(len(c.Bad), "fault"))
	return err
}

// depth says what was done with the blobs.
func (c checkup) depth() string {
	switch {
	case !c.Deep:
		return "read and held against their checksums"
	case c.Unchecked == 0:
		return "decoded and hashed"
	}
	return fmt.Sprintf("decoded and hashed, %s unchecked for want of a key", count(c.Unchecked, "blob"))
}

func writeFaults(w io.Writer, what string, fs []fault) error {
	for i, f := range fs {
		if i == shownLosses {
			_, err := fmt.Fprintf(w, "… and %d more\n", len(fs)-i)
			return err
		}
		if _, err := fmt.Fprintf(w, "%s: %s\n", what, f.describe()); err != nil {
			return err
		}
	}
	return nil
}

func (f fault) describe() string {
	for _, where := range []string{f.Path, f.Digest} {
		if where != "" {
			return where + ": " + f.Error
		}
	}
	return f.Error
}

func (h health) write(w io.Writer) error {
	name := shortDigest(h.Digest)
	if len(h.Names) > 0 {
		name = h.Names[0] + " (" + name + ")"
	}
	if h.Unlisted {
		name += " (unlisted)"
	}
	switch {
	case h.Unchecked:
		_, err := fmt.Fprintf(w, "%s: not checked, its tenant's key is needed\n", name)
		return err
	case h.OK:
		_, err := fmt.Fprintf(w, "%s: intact\n", name)
		return err
	case h.Error != "":
		_, err := fmt.Fprintf(w, "%s: LOST: %s\n", name, h.Error)
		return err
	}
	if _, err := fmt.Fprintf(w, "%s: DAMAGED: %d of %d pages lost\n", name, h.PagesLost, h.Pages); err != nil {
		return err
	}
	return writeLosses(w, h.Losses)
}
