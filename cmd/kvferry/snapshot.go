package main

import (
	"context"
	"strings"
	"time"

	"github.com/kvferry/kvferry/capture"
	"github.com/kvferry/kvferry/cas"
)

// resolve finds the snapshot that the user named.
func resolve(ctx context.Context, s cas.Store, ref string) (cas.Entry, error) {
	e, err := capture.Resolve(ctx, s, ref)
	return e, typed(err)
}

// snapshot is the JSON form of a catalog entry.
type snapshot struct {
	Digest    string   `json:"digest"`
	Names     []string `json:"names"`
	Format    string   `json:"format"`
	Created   string   `json:"created,omitempty"` // RFC 3339; missing where no catalog knows it
	Pages     int64    `json:"pages"`
	Sequences int64    `json:"sequences"`
	Bytes     int64    `json:"bytes"`
	Image     string   `json:"image,omitempty"`
	Unlisted  bool     `json:"unlisted,omitempty"` // the catalog does not know it
}

func snapshotOf(e cas.Entry) snapshot {
	s := snapshot{
		Digest: e.Root.String(), Names: append([]string{}, e.Names...), Format: string(e.Format),
		Pages: e.Pages, Sequences: e.Sequences, Bytes: e.Bytes,
	}
	if !e.Created.IsZero() {
		s.Created = e.Created.UTC().Format(time.RFC3339Nano)
	}
	if e.Image.Valid() {
		s.Image = e.Image.String()
	}
	return s
}

// label is what a snapshot is called in sentences and tables.
func label(e cas.Entry) string {
	if len(e.Names) > 0 {
		return e.Names[0]
	}
	return shortDigest(e.Root.String())
}

// shortDigest cuts a digest's text to what a person compares; it is still a
// prefix that REF can be.
func shortDigest(s string) string {
	const digits = 12
	if end := strings.IndexByte(s, ':') + 1 + digits; end < len(s) {
		return s[:end]
	}
	return s
}

func when(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format("2006-01-02 15:04:05")
}
