//go:build unix

package dir

import (
	"context"
	"errors"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/digest"
)

// A file in dropped/ says that a manifest among the SHA-256 blobs is ours to
// delete: that of a snapshot which was dropped, or of an image which another
// one replaced. Without it nobody could tell the manifest from a capture of
// ProcessFork's, which has no catalog. A commit of the manifest lifts it, and
// a collection removes it once the blob is gone.

func droppedPath(d digest.Digest) string { return droppedDir + "/" + d.Hex() }

// dropped returns the manifests that were dropped and not committed again. The
// file of a snapshot also tells of its image.
func (s *Store) dropped(ctx context.Context) (map[digest.Digest]bool, error) {
	list, err := s.listOrNone(droppedDir)
	if err != nil {
		return nil, err
	}
	out := map[digest.Digest]bool{}
	for _, name := range list {
		d, err := digest.ParseHex(digest.SHA256, name)
		if err != nil {
			continue
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		out[d] = true
		b, err := s.fs.readSmall(droppedPath(d), recordMax)
		if err != nil && !errors.Is(err, kvferry.ErrNotFound) && !unreadable(err) {
			return nil, err
		}
		if e, err := decodeEntry(b, d); err == nil && e.Image.Valid() {
			out[e.Image] = true
		}
	}
	return out, nil
}

// lifts are the removals of what dropped/ has on the given manifests, which are
// being committed. The caller has the lock of the catalog.
func (s *Store) lifts(manifests ...digest.Digest) ([]edit, error) {
	var out []edit
	for _, d := range manifests {
		if d.Algorithm() != digest.SHA256 {
			continue
		}
		switch _, err := s.fs.lstat(droppedPath(d)); {
		case err == nil:
			out = append(out, edit{rel: droppedPath(d), remove: true})
		case !missing(err):
			return nil, failed("stat", droppedPath(d), err)
		}
	}
	return out, nil
}

// forgetDropped removes the files of manifests that are no longer there.
func (c *collection) forgetDropped(ctx context.Context) error {
	if c.o.DryRun {
		return nil
	}
	list, err := c.s.listOrNone(droppedDir)
	if err != nil || len(list) == 0 {
		return err
	}
	return c.s.locked(ctx, catalogLock, func() error {
		for _, name := range list {
			d, err := digest.ParseHex(digest.SHA256, name)
			if err != nil {
				continue
			}
			here, err := c.s.manifestHere(d)
			if err != nil {
				return err
			}
			if here {
				continue
			}
			if err := c.s.fs.unlink(droppedPath(d)); err != nil && !missing(err) {
				return unwritten("remove", droppedPath(d), err)
			}
		}
		return ctx.Err()
	})
}

// manifestHere tells whether the blob of a file in dropped/ is there, or that
// of the image which the file tells of.
func (s *Store) manifestHere(d digest.Digest) (bool, error) {
	blobs := []digest.Digest{d}
	if b, err := s.fs.readSmall(droppedPath(d), recordMax); err == nil {
		if e, err := decodeEntry(b, d); err == nil && e.Image.Valid() {
			blobs = append(blobs, e.Image)
		}
	}
	for _, b := range blobs {
		if _, err := s.fs.lstat(blobPath(b)); err == nil {
			return true, nil
		} else if !missing(err) {
			return false, failed("stat", blobPath(b), err)
		}
	}
	return false, nil
}
