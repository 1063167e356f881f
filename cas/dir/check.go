//go:build unix

package dir

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/digest"
)

// Check implements cas.Checker. It reports things in the places of blobs,
// snapshots, names and images that are not what belongs there, names that
// point nowhere, blobs whose size or structure shows that they are cut, and
// the temporary files of sessions that ended. A file or directory that cannot
// be looked at is a problem like others. Files that have nothing to do with the
// store are left alone and not reported.
func (s *Store) Check(ctx context.Context, report func(cas.Problem)) error {
	if err := s.start(ctx); err != nil {
		return err
	}
	defer s.stop()
	k := checker{s: s, report: report}
	for _, step := range []func(context.Context) error{k.sessions, k.shards, k.catalog, k.images} {
		if err := step(ctx); err != nil {
			return fmt.Errorf("dir: check: %w", err)
		}
	}
	return nil
}

type checker struct {
	s      *Store
	report func(cas.Problem)
	live   []string // sessions
}

func (k *checker) corrupt(d digest.Digest, rel, why string) {
	k.report(cas.Problem{Digest: d, Path: rel, Err: fmt.Errorf("dir: %s %s: %w", rel, why, kvferry.ErrCorrupt)})
}

// damage reports err, unless it says that the file went away meanwhile.
func (k *checker) damage(d digest.Digest, rel string, err error) {
	if err != nil && !errors.Is(err, kvferry.ErrNotFound) && !missing(err) {
		k.report(cas.Problem{Digest: d, Path: rel, Err: err})
	}
}

// entries lists a directory of the store, or reports why that cannot be done.
func (k *checker) entries(rel string) []fs.DirEntry {
	list, err := k.s.fs.list(rel)
	if misplaced(err) {
		k.corrupt(digest.Digest{}, rel, "is no directory")
		return nil
	}
	k.damage(digest.Digest{}, rel, failed("list", rel, err))
	return list
}

func (k *checker) sessions(ctx context.Context) error {
	for _, e := range k.entries(sessionsDir) {
		if !validID(e.Name()) {
			continue
		}
		rel := sessionsDir + "/" + e.Name()
		r, err := k.s.openLease(e.Name())
		if err == nil && r != nil {
			err = r.more(&k.s.fs, func(digest.Digest) {})
			_ = closeReader(r)
			k.live = append(k.live, e.Name())
		} else if err == nil && k.ended(ctx, e.Name()) {
			k.leftover(rel)
		}
		k.damage(digest.Digest{}, rel, err)
	}
	return nil
}

// ended looks again at a session that nobody holds, while none can begin: it
// may have been seen before its process had the lock. Where that cannot be
// excluded, as on a store that may only be read, the first look counts.
func (k *checker) ended(ctx context.Context, id string) bool {
	ended := true
	_ = k.s.exclude(ctx, func() error {
		ended = !k.began(id)
		return nil
	})
	return ended
}

// leftover reports a file whose session ended, which is no damage: the next
// collection removes it. One that went away since it was listed is none: its
// session ended just now.
func (k *checker) leftover(rel string) {
	if _, err := k.s.fs.lstat(rel); missing(err) || errors.Is(err, kvferry.ErrNotFound) {
		return
	}
	k.report(cas.Problem{Path: rel, Leftover: true, Err: fmt.Errorf("dir: %s is a leftover: its session: %w", rel, kvferry.ErrNotFound)})
}

func (k *checker) shards(ctx context.Context) error {
	return eachShard(func(a digest.Algorithm, shard byte) error {
		for _, e := range k.entries(shardDir(a, shard)) {
			if err := ctx.Err(); err != nil {
				return err
			}
			k.blob(a, shard, e)
		}
		return nil
	})
}

func (k *checker) blob(a digest.Algorithm, shard byte, e fs.DirEntry) {
	rel := shardDir(a, shard) + "/" + e.Name()
	if id, _, ok := tempOwner(e.Name()); ok {
		if !slices.Contains(k.live, id) && !k.began(id) {
			k.leftover(rel)
		}
		return
	}
	if foreignTemp(e.Name()) {
		k.leftover(rel)
		return
	}
	d, ok := blobOf(a, shard, e.Name())
	if !ok {
		k.misplacedBlob(a, rel, e.Name())
		return
	}
	if !e.Type().IsRegular() {
		k.corrupt(d, rel, "is no regular file")
		return
	}
	found, err := k.s.inspect(d)
	if found == damaged {
		k.corrupt(d, rel, "is cut or no blob")
	}
	k.damage(d, rel, err)
}

// misplacedBlob reports a blob in the shard of another.
func (k *checker) misplacedBlob(a digest.Algorithm, rel, name string) {
	for i := range shards {
		if _, ok := blobOf(a, byte(i), name); ok {
			k.corrupt(digest.Digest{}, rel, "lies in the wrong shard")
		}
	}
}

// began tells whether the session id began after the sessions were listed.
func (k *checker) began(id string) bool {
	r, err := k.s.openLease(id)
	if err != nil || r == nil {
		return false
	}
	_ = closeReader(r)
	k.live = append(k.live, id)
	return true
}

func (k *checker) catalog(context.Context) error {
	for _, e := range k.entries(snapshotsDir) {
		root, err := parseFlatName(e.Name())
		if err != nil {
			continue
		}
		snapshot, err := k.s.entry(root)
		k.damage(digest.Digest{}, snapshotsDir+"/"+e.Name(), err)
		k.marker(snapshot)
	}
	for _, e := range k.entries(namesDir) {
		if cas.CheckName(e.Name()) != nil {
			continue
		}
		rel := namesDir + "/" + e.Name()
		root, err := k.s.target(e.Name())
		if err != nil {
			k.damage(digest.Digest{}, rel, err)
			continue
		}
		if _, err := k.s.fs.lstat(entryPath(root)); missing(err) {
			k.report(cas.Problem{Path: rel, Err: fmt.Errorf("dir: name %s points at %v: %w", e.Name(), root, kvferry.ErrNotFound)})
		}
	}
	return nil
}

// marker reports that the marker of e's image is missing, which a crash can
// leave behind; the next collection writes it.
func (k *checker) marker(e cas.Entry) {
	if !e.Image.Valid() {
		return
	}
	rel := markerPath(e.Image)
	if _, err := k.s.fs.lstat(rel); missing(err) {
		k.report(cas.Problem{Digest: e.Image, Path: rel, Err: fmt.Errorf("dir: %s, image of %v: %w", rel, e.Root, kvferry.ErrNotFound)})
	}
}

func (k *checker) images(ctx context.Context) error {
	for _, e := range k.entries(imagesDir) {
		cid, ok := imageOf(e.Name())
		if !ok {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		rel := imagesDir + "/" + e.Name()
		text, err := k.s.fs.readSmall(rel, markerMax)
		if err != nil {
			k.damage(digest.Digest{}, rel, err)
			continue
		}
		if digest.New(digest.SHA256, sha256.Sum256(text)) != cid {
			k.corrupt(digest.Digest{}, rel, "is not the image that its name tells")
		}
	}
	return nil
}
