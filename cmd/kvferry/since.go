package main

import (
	"context"
	"fmt"

	"github.com/kvferry/kvferry/capture"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/digest"
)

// changes is the JSON form of what an incremental capture found.
type changes struct {
	Digest         string `json:"digest"` // of the snapshot that it builds on
	UnchangedPages int    `json:"unchanged_pages"`
	CopiedPages    int    `json:"copied_pages"`
	CopiedBytes    int64  `json:"copied_bytes"`
	SavedBytes     int64  `json:"saved_bytes"`
	// Digests says where they were made: "engine-compared", "engine", or "host"
	// where every page was copied.
	Digests capture.Place `json:"digests"`
}

// changesOf returns nil for a capture that built on none.
func changesOf(r capture.Report) *changes {
	if !r.Since.Valid() {
		return nil
	}
	return &changes{
		Digest: r.Since.String(), UnchangedPages: r.Unchanged, CopiedPages: r.CopiedPages,
		CopiedBytes: r.CopiedBytes, SavedBytes: r.SkippedCopy, Digests: r.Groups[0].Digests,
	}
}

// facts are the lines for people.
func (c *changes) facts(r capture.Report) []string {
	if c == nil {
		return nil
	}
	how := map[capture.Place]string{
		capture.Compared: "digests compared in the engine",
		capture.AtEngine: "digests made in the engine, compared here",
		capture.AtHost:   "the engine cannot digest its pages: captured in full",
	}[c.Digests]
	return []string{
		"since", c.Digest,
		"unchanged", fmt.Sprintf("%d of %s (%s)", c.UnchangedPages, count(r.Pages, "page"), how),
		"copied", fmt.Sprintf("%s, %s; %s saved", count(c.CopiedPages, "page"), size(c.CopiedBytes), size(c.SavedBytes)),
	}
}

// baseOf finds the snapshot that a capture in the given format builds on.
func baseOf(ctx context.Context, s cas.Store, ref string, f cas.Format) (digest.Digest, error) {
	e, err := resolve(ctx, s, ref)
	if err != nil {
		return digest.Digest{}, fmt.Errorf("--since: %w", err)
	}
	if e.Format != f {
		return digest.Digest{}, usage(fmt.Errorf("--since: snapshot %s is in the %s format: capture with --format %s", label(e), e.Format, e.Format))
	}
	return e.Root, nil
}
