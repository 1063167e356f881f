package capture

import (
	"context"
	"errors"
	"fmt"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/capture/manifest"
	"github.com/kvferry/kvferry/capture/processfork"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/digest"
)

// LoadOptions guide the reading of a stored snapshot. The zero value works.
type LoadOptions struct {
	// Key of a tenant's snapshot.
	Key *digest.Key
	// Lenient accepts ProcessFork manifests that the original would accept
	// although they are inconsistent, and those of its Python adapters.
	Lenient bool
}

// Load reads and checks the manifest and page tables of a snapshot, in either
// format; page content is not read. A root that is not stored is ErrNotFound,
// damage and inconsistency are ErrCorrupt, an unknown version, or a ProcessFork
// image instead of its page manifest, ErrUnsupported.
func Load(ctx context.Context, s cas.Store, root digest.Digest, o LoadOptions) (*manifest.Snapshot, cas.Format, error) {
	l, err := load(ctx, s, root, o)
	return l.snapshot, l.format, err
}

// loaded is a snapshot as it was read.
type loaded struct {
	snapshot *manifest.Snapshot
	format   cas.Format
	omitted  []processfork.Omission // sequences that a lenient reader left out
}

func load(ctx context.Context, s cas.Store, root digest.Digest, o LoadOptions) (loaded, error) {
	r, err := cas.NewReader(s, o.Key)
	if err != nil {
		return loaded{}, err
	}
	fetch := fetcher(ctx, r)
	if root.Algorithm() != digest.SHA256 {
		snap, err := manifest.Decode(root, fetch)
		if err != nil {
			return loaded{}, fmt.Errorf("capture: load %v: %w", root, err)
		}
		return loaded{snapshot: snap, format: cas.FormatNative}, nil
	}
	data, err := fetch(root, manifest.MaxDocumentBytes)
	if err != nil {
		return loaded{}, fmt.Errorf("capture: load %v: %w", root, err)
	}
	g, extra, err := processfork.DecodeManifest(data, processfork.Options{Lenient: o.Lenient})
	if err != nil {
		if im, ierr := processfork.DecodeImage(data, processfork.Options{}); ierr == nil {
			err = fmt.Errorf("this is a ProcessFork image, its page manifest is %v: %w", im.Cache.Manifest, kvferry.ErrUnsupported)
		}
		return loaded{}, fmt.Errorf("capture: load %v: %w", root, err)
	}
	return loaded{
		snapshot: &manifest.Snapshot{Groups: []manifest.Group{*g}},
		format:   cas.FormatProcessFork,
		omitted:  extra.Omitted,
	}, nil
}

// fetcher returns a manifest.Fetch over a reader. A blob beyond the limit that
// the manifest sets for it is damage.
func fetcher(ctx context.Context, r *cas.Reader) manifest.Fetch {
	return func(d digest.Digest, limit int) ([]byte, error) {
		data, err := r.ReadAll(ctx, d, limit)
		if errors.Is(err, kvferry.ErrShortBuffer) {
			return nil, fmt.Errorf("%w: %w", kvferry.ErrCorrupt, err)
		}
		return data, err
	}
}

// References returns the function that tells a collector of s what a snapshot
// needs. The keys open the snapshots of tenants, nil ones are passed over; a
// snapshot that none of them opens stops the collection.
func References(s cas.Store, keys ...*digest.Key) cas.References {
	return func(ctx context.Context, e cas.Entry, visit func(digest.Digest) error) error {
		var err error
		if e.Root.Algorithm() != digest.KeyedBLAKE3 {
			err = references(ctx, s, e, nil, visit)
		} else {
			err = fmt.Errorf("no key was given for a tenant's snapshot: %w", kvferry.ErrUnsupported)
			for _, k := range keys {
				if k == nil {
					continue
				}
				// A wrong key fails at the root, before anything is visited.
				if err = references(ctx, s, e, k, visit); err == nil {
					break
				}
			}
		}
		if err != nil {
			return fmt.Errorf("capture: references of %v: %w", e.Root, err)
		}
		return nil
	}
}

func references(ctx context.Context, s cas.Store, e cas.Entry, key *digest.Key, visit func(digest.Digest) error) error {
	r, err := cas.NewReader(s, key)
	if err != nil {
		return err
	}
	return visitAll(e, fetcher(ctx, r), visit)
}

// visitAll calls visit for every blob that the snapshot needs. What it has to
// read for that it fetches.
func visitAll(e cas.Entry, fetch manifest.Fetch, visit func(digest.Digest) error) error {
	if e.Image.Valid() {
		if err := visitImage(e.Image, fetch, visit); err != nil {
			return fmt.Errorf("image %v: %w", e.Image, err)
		}
	}
	if e.Format == cas.FormatNative {
		return manifest.References(e.Root, fetch, visit)
	}
	return visitProcessFork(e.Root, fetch, visit)
}

func visitProcessFork(root digest.Digest, fetch manifest.Fetch, visit func(digest.Digest) error) error {
	data, err := fetch(root, manifest.MaxDocumentBytes)
	if err != nil {
		return err
	}
	m, err := processfork.DecodePages(data, processfork.Options{Lenient: true})
	if err != nil {
		return err
	}
	if err := visit(root); err != nil {
		return err
	}
	for _, p := range m.Pages {
		if err := errors.Join(visit(p.K), visit(p.V)); err != nil {
			return err
		}
	}
	return nil
}

func visitImage(d digest.Digest, fetch manifest.Fetch, visit func(digest.Digest) error) error {
	data, err := fetch(d, manifest.MaxDocumentBytes)
	if err != nil {
		return err
	}
	im, err := processfork.DecodeImage(data, processfork.Options{})
	if err != nil {
		return err
	}
	for _, x := range []digest.Digest{
		d, im.Model.Base, im.Model.Diff, im.World.FS, im.World.Env, im.World.Procs, im.Ledger, im.Messages,
	} {
		if err := visit(x); err != nil {
			return err
		}
	}
	return nil
}
