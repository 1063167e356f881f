package main

import (
	"context"
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
	Snapshots []health `json:"snapshots"`
	Seconds   float64  `json:"seconds"`
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
	Error     string `json:"error,omitempty"` // why it cannot be read at all
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
					count(out.affected(), "snapshot"), len(out.Snapshots), kvferry.ErrCorrupt)
			})
		},
	}
}

func checkupOf(r capture.CheckReport) checkup {
	c := checkup{
		Blobs: r.Blobs, Bytes: r.Bytes, Unchecked: r.Unchecked,
		Bad: []fault{}, Snapshots: []health{}, Seconds: r.Elapsed.Seconds(),
	}
	for _, p := range r.Bad {
		f := fault{Path: p.Path}
		if p.Digest.Valid() {
			f.Digest = p.Digest.String()
		}
		if p.Err != nil {
			f.Error = p.Err.Error()
		}
		c.Bad = append(c.Bad, f)
	}
	for _, s := range r.Snapshots {
		h := health{snapshot: snapshotOf(s.Entry), PagesLost: s.PagesLost, Losses: lossesOf(s.Losses)}
		if s.Err != nil {
			h.Error = s.Err.Error()
		}
		h.OK = s.Err == nil && len(s.Losses) == 0
		c.Snapshots = append(c.Snapshots, h)
	}
	c.OK = len(c.Bad) == 0 && c.affected() == 0
	return c
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
	for i, f := range c.Bad {
		if i == shownLosses {
			if _, err := fmt.Fprintf(w, "… and %d more\n", len(c.Bad)-i); err != nil {
				return err
			}
			break
		}
		if _, err := fmt.Fprintf(w, "bad: %s\n", f.describe()); err != nil {
			return err
		}
	}
	for _, h := range c.Snapshots {
		if err := h.write(w); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(w, "%s, %s read; %s, %s unchecked for want of a key\n",
		count(c.Blobs, "blob"), size(c.Bytes), count(len(c.Bad), "fault"), count(c.Unchecked, "blob"))
	return err
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
	switch {
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
