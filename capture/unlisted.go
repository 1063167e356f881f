package capture

import (
	"context"
	"errors"
	"slices"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/capture/manifest"
	"github.com/kvferry/kvferry/capture/processfork"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/digest"
)

// Unlisted finds the page manifests of ProcessFork that the catalog does not
// know, as all in stores that the original wrote: it keeps no catalog. Only
// blobs that no listed snapshot needs are read. Entries have no time and no
// names; they are in order of their digests. A store that cannot list its
// blobs has none.
func Unlisted(ctx context.Context, s cas.Store) ([]cas.Entry, error) {
	en, ok := s.(cas.Enumerator)
	if !ok {
		return nil, nil
	}
	entries, err := s.Catalog().Entries(ctx)
	if err != nil && !errors.Is(err, kvferry.ErrCorrupt) && !errors.Is(err, kvferry.ErrUnsupported) {
		return nil, err
	}
	known := map[digest.Digest]struct{}{}
	for _, e := range entries {
		if e.Format != cas.FormatProcessFork {
			continue
		}
		known[e.Root] = struct{}{}
		// What cannot be told is read below, and judged there.
		_ = references(ctx, s, e, nil, func(d digest.Digest) error {
			known[d] = struct{}{}
			return nil
		})
	}
	r, err := cas.NewReader(s, nil)
	if err != nil {
		return nil, err
	}
	r.KeepDamaged()
	var found []cas.Entry
	for b, err := range en.Blobs(ctx) {
		if err != nil {
			return nil, err
		}
		if _, ok := known[b.Digest]; ok || b.Digest.Algorithm() != digest.SHA256 {
			continue
		}
		data, err := r.ReadAll(ctx, b.Digest, manifest.MaxDocumentBytes)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err != nil { // damage is found by Check, not here
			continue
		}
		if e, ok := pageManifest(b.Digest, data); ok {
			found = append(found, e)
		}
	}
	slices.SortFunc(found, func(a, b cas.Entry) int { return a.Root.Compare(b.Root) })
	return found, nil
}

// pageManifest describes a blob that is a page manifest of ProcessFork.
func pageManifest(d digest.Digest, data []byte) (cas.Entry, bool) {
	if d.Algorithm() != digest.SHA256 || !isDocument(data) {
		return cas.Entry{}, false
	}
	m, err := processfork.DecodePages(data, processfork.Options{Lenient: true})
	if err != nil {
		return cas.Entry{}, false
	}
	return cas.Entry{
		Root: d, Format: cas.FormatProcessFork,
		Pages: int64(len(m.Pages)), Sequences: int64(len(m.Seqs)),
		Bytes: int64(len(m.Pages)) * int64(m.Meta.PageBytes()),
	}, true
}
