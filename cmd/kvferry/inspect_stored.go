package main

import (
	"context"
	"fmt"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/capture/manifest"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/digest"
)

// storedBytes returns what the blobs of a snapshot's pages take in the store,
// each counted once. It lists all of the store's blobs; a store that cannot do
// that is ErrUnsupported.
func storedBytes(ctx context.Context, s cas.Store, snap *manifest.Snapshot) (int64, error) {
	en, ok := s.(cas.Enumerator)
	if !ok {
		return 0, fmt.Errorf("the store cannot list its blobs: %w", kvferry.ErrUnsupported)
	}
	wanted := map[digest.Digest]bool{}
	for i := range snap.Groups {
		t := &snap.Groups[i].Table
		for page := range t.Pages() {
			for part := range t.Parts() {
				wanted[t.Digest(page, part)] = true
			}
		}
	}
	var bytes int64
	for b, err := range en.Blobs(ctx) {
		if err != nil {
			return 0, err
		}
		if wanted[b.Digest] {
			bytes += b.StoredBytes
			delete(wanted, b.Digest) // a store over two may list it twice
		}
	}
	return bytes, nil
}

// describeStored tells it beside the size of all pages.
func describeStored(stored, plain int64) string {
	return fmt.Sprintf("%s (%.3f of the size), equal parts of pages once", size(stored), float64(stored)/float64(max(plain, 1)))
}
