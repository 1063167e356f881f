//go:build unix

package dir

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/digest"
)

const (
	markerMax   = 1 << 20   // bytes of an image marker
	documentMax = 256 << 20 // bytes of a manifest
)

// markImages marks what the image markers need that are not marked yet: the
// image manifest, every digest in it, and every digest in the documents that
// it points at. That is more than the eight digests, the pages and the files
// of its world that an image has, so that documents of other writers are
// covered too.
func (c *collection) markImages(ctx context.Context) error {
	names, err := c.s.listOrNone(imagesDir)
	if err != nil {
		return err
	}
	for _, name := range names {
		cid, ok := imageOf(name)
		if !ok || c.images[name] {
			continue
		}
		text, err := c.s.fs.readSmall(imagesDir+"/"+name, markerMax)
		if err == nil {
			err = c.markImage(ctx, text)
		}
		if err != nil {
			return fmt.Errorf("image %s: %w", name, err)
		}
		c.keep(cid)
		c.images[name] = true
	}
	return nil
}

// markImage marks what the image manifest text needs. That its page manifest
// cannot be read is an error; the other documents may be missing or anything.
func (c *collection) markImage(ctx context.Context, text []byte) error {
	pages, err := pagesOf(text)
	if err != nil {
		return err
	}
	for d := range mentioned(text) {
		if err := ctx.Err(); err != nil {
			return err
		}
		c.keep(d)
		doc, err := c.s.document(d, documentMax)
		switch {
		case err == nil:
			for ref := range mentioned(doc) {
				c.keep(ref)
			}
			if d == pages && !json.Valid(doc) {
				return fmt.Errorf("page manifest %v: %w", d, kvferry.ErrCorrupt)
			}
		case d == pages, !errors.Is(err, kvferry.ErrNotFound) && !errors.Is(err, kvferry.ErrCorrupt) && !errors.Is(err, kvferry.ErrShortBuffer):
			return fmt.Errorf("document %v: %w", d, err)
		}
	}
	return nil
}

// pagesOf returns the page manifest that the image manifest text points at.
func pagesOf(text []byte) (digest.Digest, error) {
	var image struct {
		Cache *struct {
			Manifest string `json:"manifest"`
		} `json:"cache"`
	}
	if err := json.Unmarshal(text, &image); err != nil || image.Cache == nil {
		return digest.Digest{}, fmt.Errorf("is no image manifest: %w", kvferry.ErrCorrupt)
	}
	pages, err := digest.Parse(image.Cache.Manifest)
	if err != nil {
		return digest.Digest{}, fmt.Errorf("page manifest %.80q: %w", image.Cache.Manifest, kvferry.ErrCorrupt)
	}
	return pages, nil
}

// document returns the bytes of a blob of which it is known that they hash to
// its digest. One of more than limit bytes is ErrShortBuffer.
func (s *Store) document(d digest.Digest, limit int) ([]byte, error) {
	h, err := digest.NewHasher(digest.SHA256, nil)
	if err != nil {
		return nil, err
	}
	for size := 64 << 10; ; size = min(4*size, limit) {
		buf := make([]byte, size)
		n, err := s.get(d, buf)
		if err == nil {
			return buf[:n], h.Check(d, buf[:n])
		}
		if !errors.Is(err, kvferry.ErrShortBuffer) || size == limit {
			return nil, err
		}
	}
}

// mentioned returns every SHA-256 digest that text has as a JSON string, read
// with and without its escapes, so that no spelling hides one.
func mentioned(text []byte) map[digest.Digest]struct{} {
	out := map[digest.Digest]struct{}{}
	const prefix = "sha256:"
	for rest := text; ; {
		i := bytes.Index(rest, []byte(prefix))
		if i < 0 {
			break
		}
		rest = rest[i+len(prefix):]
		if len(rest) >= 2*digest.Size {
			if d, err := digest.ParseHex(digest.SHA256, strings.ToLower(string(rest[:2*digest.Size]))); err == nil {
				out[d] = struct{}{}
			}
		}
	}
	if bytes.IndexByte(text, '\\') < 0 {
		return out
	}
	for dec := json.NewDecoder(bytes.NewReader(text)); ; {
		t, err := dec.Token()
		if err != nil { // the end, or no JSON after all
			return out
		}
		if s, ok := t.(string); ok {
			if d, err := digest.Parse(strings.ToLower(s)); err == nil && d.Algorithm() == digest.SHA256 {
				out[d] = struct{}{}
			}
		}
	}
}

// markUnlisted marks every page and image manifest among the SHA-256 blobs, but
// those to leave, and what it needs. What a snapshot needs was marked with all
// that it refers to. A blob that is damaged might be a manifest, so it stays;
// what it refers to cannot be known, and no capture could be restored with it.
func (c *collection) markUnlisted(ctx context.Context, leave map[digest.Digest]bool) error {
	sniff, err := newSniffer()
	if err != nil {
		return err
	}
	there, err := c.s.present(digest.SHA256)
	if err != nil {
		return err
	}
	for i, is := range there {
		if !is {
			continue
		}
		err := c.s.scanShard(ctx, digest.SHA256, byte(i), func(f blobFile) error {
			if f.owner != "" || leave[f.d] || c.marked[f.d] {
				return nil
			}
			err := c.markFile(ctx, sniff, f)
			if errors.Is(err, kvferry.ErrCorrupt) {
				c.keep(f.d)
				return nil
			}
			if err != nil && !errors.Is(err, kvferry.ErrNotFound) {
				return fmt.Errorf("%s may be a manifest: %w", f.rel, err)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// markFile marks the blob f if it is a manifest, and what it needs.
func (c *collection) markFile(ctx context.Context, sniff *sniffer, f blobFile) error {
	object, err := sniff.object(c.s, f.rel)
	if err != nil || !object {
		return err
	}
	doc, err := c.s.document(f.d, documentMax)
	if doc == nil && err != nil {
		return err
	}
	return errors.Join(err, c.markDocument(ctx, f.d, doc)) // rotten or not
}

// markDocument marks doc if it looks like a page or image manifest.
func (c *collection) markDocument(ctx context.Context, d digest.Digest, doc []byte) error {
	keys := topLevel(doc)
	has := func(key string) bool { _, ok := keys[key]; return ok }
	switch {
	case has("cache") && (has("schema_version") || has("media_type")):
		c.keep(d)
		return c.markImage(ctx, doc)
	case has("layout") || has("pages"):
		c.keep(d)
		for ref := range mentioned(doc) {
			c.keep(ref)
		}
	}
	return nil
}

// topLevel returns the keys of a JSON object, and none of anything else.
func topLevel(doc []byte) map[string]json.RawMessage {
	var keys map[string]json.RawMessage
	if json.Unmarshal(doc, &keys) != nil {
		return nil
	}
	return keys
}
