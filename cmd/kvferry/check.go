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
	Blobs     int64    `json:"blobs"`
	Bytes     int64    `json:"bytes"`
	Unchecked int64    `json:"unchecked"` // blobs of tenants, whose key is needed
	Bad       []fault  `json:"bad"`
	Leftovers []fault  `json:"leftovers"` // of ended processes; no damage
	Snapshots []health `json:"snapshots"`
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
	return &cobra.Command{
		Use:   "check [--store URL]",
		Short: "Read a whole store, say what is damaged and what that means for which snapshot",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.withStore(c.Context(), readAccess, func(ctx context.Context, s cas.Store) error {
				p := a.progress("check")
				defer p.done()
				r, err := capture.Check(ctx, s, capture.CheckOptions{Progress: p.update})
				p.done()
				if err != nil {
					return err
				}
				out := checkupOf(r)
				if err := a.print(out, out.write); err != nil || out.OK {
					return err
				}
				return fmt.Errorf("check: %s, %s of %d affected: %w", count(len(out.Bad), "fault"),
					count(out.affected(), "snapshot"), len(out.Snapshots), out.cause)
			})
		},
	}
}

func checkupOf(r capture.CheckReport) checkup {
	c := checkup{
		Blobs: r.Blobs, Bytes: r.Bytes, Unchecked: r.Unchecked,
		Bad: faultsOf(r.Bad), Leftovers: faultsOf(r.Leftovers), Snapshots: []health{},
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
	if err := writeFaults(w, "bad", c.Bad); err != nil {
		return err
	}
	if err := writeFaults(w, "leftover", c.Leftovers); err != nil {
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
	_, err := fmt.Fprintf(w, "%s, %s read; %s, %s unchecked for want of a key\n",
		count(c.Blobs, "blob"), size(c.Bytes), count(len(c.Bad), "fault"), count(c.Unchecked, "blob"))
	return err
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
