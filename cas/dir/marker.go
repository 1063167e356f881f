//go:build unix

package dir

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/digest"
)

func markerName(image digest.Digest) string { return image.Hex() + ".json" }
func markerPath(image digest.Digest) string { return imagesDir + "/" + markerName(image) }

// markerOf returns the marker of e's image, which has the bytes of the image's
// blob, and makes the directory for it; nil if e has no image. A blob that is
// no image of e's root is ErrInvalid, because its marker would stop every
// collection, or keep what nobody drops.
func (s *Store) markerOf(e cas.Entry) ([]byte, error) {
	if !e.Image.Valid() {
		return nil, nil
	}
	text, err := s.document(e.Image, markerMax)
	if err != nil && !errors.Is(err, kvferry.ErrShortBuffer) {
		return nil, fmt.Errorf("image %v: %w", e.Image, err)
	}
	if pages, bad := pagesOf(text); err != nil || bad != nil || pages != e.Root {
		return nil, fmt.Errorf("%v is no image of %v: %w", e.Image, e.Root, kvferry.ErrInvalid)
	}
	if err := s.fs.mkdir(imagesDir); err != nil && !errors.Is(err, unix.EEXIST) {
		return nil, unwritten("create", imagesDir, err)
	}
	// Whoever made the directory may not have done it.
	return text, unwritten("sync", ".", s.fs.syncPath("."))
}

// removeEntry removes the file of the snapshot e, and before it the marker of
// its image, unless another snapshot has that too. That of a SHA-256 root is
// moved to dropped/, or else the next collection would keep the blob as one of
// ProcessFork's captures; no room is needed for that. The caller has the lock
// of the catalog.
func (s *Store) removeEntry(e cas.Entry) error {
	if e.Image.Valid() {
		shared, err := s.imageShared(e)
		if err == nil && !shared {
			err = s.remove(markerPath(e.Image))
		}
		if err != nil && !errors.Is(err, kvferry.ErrNotFound) {
			return err
		}
	}
	if e.Root.Algorithm() != digest.SHA256 {
		return s.remove(entryPath(e.Root))
	}
	if err := s.fs.rename(entryPath(e.Root), droppedPath(e.Root)); err != nil {
		return unwritten("drop", entryPath(e.Root), err)
	}
	return errors.Join(unwritten("sync", droppedDir, s.fs.syncPath(droppedDir)),
		unwritten("sync", snapshotsDir, s.fs.syncPath(snapshotsDir)))
}

// imageShared tells whether another snapshot has e's image. An image points at
// one root, so only a file that we did not write makes it so.
func (s *Store) imageShared(e cas.Entry) (bool, error) {
	roots, err := s.roots()
	if err != nil {
		return false, err
	}
	for _, root := range roots {
		if other, err := s.entry(root); err == nil && root != e.Root && other.Image == e.Image {
			return true, nil
		}
	}
	return false, nil
}

// restoreMarkers writes the markers that a crash kept from being written.
func (c *collection) restoreMarkers(ctx context.Context, kept []cas.Entry) error {
	var lacking []cas.Entry
	for _, e := range kept {
		if !e.Image.Valid() {
			continue
		}
		if _, err := c.s.fs.lstat(markerPath(e.Image)); missing(err) {
			lacking = append(lacking, e)
		} else if err != nil {
			return failed("stat", markerPath(e.Image), err)
		}
	}
	if len(lacking) == 0 || c.o.DryRun {
		return nil
	}
	return c.s.locked(ctx, catalogLock, func() error {
		for _, e := range lacking {
			if err := c.s.restoreMarker(e); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *Store) restoreMarker(e cas.Entry) error {
	now, err := s.entry(e.Root)
	if errors.Is(err, kvferry.ErrNotFound) || err == nil && now.Image != e.Image {
		return nil // dropped or replaced meanwhile
	}
	if err != nil {
		return err
	}
	text, err := s.markerOf(now)
	if err != nil {
		return err
	}
	return s.publish(markerPath(now.Image), text)
}
