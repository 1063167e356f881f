package capture

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/kvferry/kvferry/capture/manifest"
	"github.com/kvferry/kvferry/capture/processfork"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/digest"
)

// publish stores the page tables and the manifest, then commits. Everything
// that the manifest names is in the session by then.
func (c *taking) publish(ctx context.Context) (Report, error) {
	w, err := newWriter(ctx, c.session, c.opts.algorithm(), c.opts.Key)
	if err != nil {
		return Report{}, err
	}
	pages, seqs, bytes := measure(&c.snapshot)
	rep := Report{
		Format: c.opts.Format, Names: sortedNames(c.opts.Names),
		Pages: pages, Sequences: seqs, Bytes: bytes,
		NewBytes: c.moved.newBytes, NewBlobs: c.moved.newBlobs,
		SkippedCopy: c.skipped, Pause: c.pause, Since: c.opts.Since, Groups: c.reports,
	}
	for i := range rep.Groups {
		g := &rep.Groups[i]
		if c.bases != nil {
			g.Unchanged = c.bases[i].count(&c.snapshot.Groups[i])
		}
		rep.Unchanged += g.Unchanged
		rep.CopiedPages += g.CopiedPages
		rep.CopiedBytes += g.CopiedBytes
	}
	if rep.Root, err = w.manifest(&c.snapshot, c.opts.Format); err != nil {
		return Report{}, err
	}
	entry := cas.Entry{
		Root: rep.Root, Format: rep.Format, Created: c.opts.Now, Names: rep.Names,
		Pages: int64(pages), Sequences: int64(seqs), Bytes: bytes,
	}
	if c.opts.Image != nil {
		if rep.ImageRoot, err = w.image(*c.opts.Image, rep.Root, c.opts.Now); err != nil {
			return Report{}, err
		}
		entry.Image = rep.ImageRoot
	}
	if err := c.session.Commit(ctx, entry); err != nil {
		return Report{}, err
	}
	w.moved.merge(c.moved)
	rep.StoredBytes, rep.Codecs = w.moved.storedBytes, w.moved.used()
	return rep, nil
}

// measure counts a snapshot's pages, sequences and bytes. A sequence that
// several groups hold counts once.
func measure(s *manifest.Snapshot) (pages, seqs int, bytes int64) {
	ids := map[string]struct{}{}
	for i := range s.Groups {
		g := &s.Groups[i]
		pages += g.Table.Pages()
		bytes += int64(g.Table.Pages()) * int64(g.Meta.PageBytes())
		for k := range g.Sequences {
			ids[g.Sequences[k].ID] = struct{}{}
		}
	}
	return pages, len(ids), bytes
}

func sortedNames(names []string) []string {
	names = slices.Clone(names)
	slices.Sort(names)
	return slices.Compact(names)
}

// writer puts metadata blobs into a session.
type writer struct {
	ctx     context.Context // of the one operation that the writer serves
	session cas.Session
	hasher  *digest.Hasher
	moved   tally
}

func newWriter(ctx context.Context, s cas.Session, a digest.Algorithm, key *digest.Key) (*writer, error) {
	h, err := digest.NewHasher(a, key)
	if err != nil {
		return nil, err
	}
	return &writer{ctx: ctx, session: s, hasher: h}, nil
}

func (w *writer) put(plain []byte) (digest.Digest, error) {
	d := w.hasher.Sum(plain)
	r, err := w.session.Put(w.ctx, d, plain)
	if err != nil {
		return digest.Digest{}, err
	}
	w.moved.add(len(plain), r)
	return d, nil
}

// manifest stores the snapshot's tables and manifest in the given format.
func (w *writer) manifest(s *manifest.Snapshot, f cas.Format) (digest.Digest, error) {
	if f == cas.FormatNative {
		root, _, err := manifest.Encode(s, w.put)
		return root, err
	}
	doc, err := processfork.EncodeManifest(&s.Groups[0])
	if err != nil {
		return digest.Digest{}, err
	}
	return w.put(doc)
}

// image stores a ProcessFork image that points at a page manifest and at
// nothing else.
func (w *writer) image(i Image, cache digest.Digest, now time.Time) (digest.Digest, error) {
	nothing, err := w.put(nil)
	if err != nil {
		return digest.Digest{}, err
	}
	im := processfork.Image{
		SchemaVersion: 1, MediaType: processfork.MediaType,
		Agent:  processfork.Agent{Kind: i.AgentKind, Version: i.AgentVersion, Fingerprint: i.AgentFingerprint},
		Model:  processfork.Model{Base: nothing, Diff: nothing},
		Cache:  processfork.Cache{Layout: processfork.Layout, Manifest: cache},
		World:  processfork.World{FS: nothing, Env: nothing, Procs: nothing},
		Ledger: nothing, Messages: nothing,
		CreatedAt: processfork.Timestamp{Time: now},
	}
	doc, err := im.Encode()
	if err != nil {
		return digest.Digest{}, fmt.Errorf("image: %w", err)
	}
	return w.put(doc)
}
