//go:build unix

package dir

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/digest"
)

// blobFile is a regular file in a shard that holds a blob: in its place, or
// temporary if owner is not empty.
type blobFile struct {
	d        digest.Digest
	owner    string // id of the session that wrote the temporary file
	rel      string
	size     int64
	modified time.Time
}

// scanShard visits the blobs of a shard, those in temporary files of ours
// included. Everything else is left to Check.
func (s *Store) scanShard(ctx context.Context, a digest.Algorithm, shard byte, visit func(blobFile) error) error {
	dir := shardDir(a, shard)
	names, err := s.listOrNone(dir)
	if errors.Is(err, kvferry.ErrCorrupt) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return err
		}
		f := blobFile{rel: dir + "/" + name}
		var ok bool
		if f.d, ok = blobOf(a, shard, name); !ok {
			var digits string
			if f.owner, digits, ok = tempOwner(name); !ok {
				continue
			}
			if f.d, err = digest.ParseHex(a, digits); err != nil || shardOf(f.d) != shard {
				continue
			}
		}
		st, err := s.fs.lstat(f.rel)
		if missing(err) || err == nil && st.Mode&unix.S_IFMT != unix.S_IFREG {
			continue
		}
		if err != nil {
			return failed("stat", f.rel, err)
		}
		f.size, f.modified = st.Size, time.Unix(st.Mtim.Unix())
		if err := visit(f); err != nil {
			return err
		}
	}
	return nil
}

// present tells which shards of an algorithm are there. A small store has few,
// and to ask for each would be most of the work of going through it. Something
// that is no directory is left to Check.
func (s *Store) present(a digest.Algorithm) (there [shards]bool, err error) {
	names, err := s.listOrNone(algDir(a))
	if errors.Is(err, kvferry.ErrCorrupt) {
		return there, nil
	}
	for _, name := range names {
		if b, err := hex.DecodeString(name); err == nil && len(b) == 1 {
			there[b[0]] = true
		}
	}
	return there, err
}

// eachPresent calls do for every shard that is there, in order.
func (s *Store) eachPresent(do func(a digest.Algorithm, shard byte) error) error {
	for a := digest.BLAKE3; a.Valid(); a++ {
		there, err := s.present(a)
		if err != nil {
			return err
		}
		for i, is := range there {
			if !is {
				continue
			}
			if err := do(a, byte(i)); err != nil {
				return fmt.Errorf("dir: shard %s: %w", shardDir(a, byte(i)), err)
			}
		}
	}
	return nil
}

// Blobs implements cas.Enumerator. Blobs that other processes did not publish
// yet are not listed.
func (s *Store) Blobs(ctx context.Context) iter.Seq2[cas.BlobInfo, error] {
	return func(yield func(cas.BlobInfo, error) bool) {
		pending := map[digest.Digest]bool{}
		var early []cas.BlobInfo
		s.pending.each(func(d digest.Digest, size int64) {
			pending[d] = true
			early = append(early, cas.BlobInfo{Digest: d, StoredBytes: size})
		})
		for a := digest.BLAKE3; a.Valid(); a++ {
			there, err := s.placedIn(ctx, a)
			if err != nil {
				yield(cas.BlobInfo{}, err)
				return
			}
			for i, is := range there {
				if !is {
					continue
				}
				list, err := s.placed(ctx, a, byte(i))
				if err != nil {
					yield(cas.BlobInfo{}, err)
					return
				}
				for _, b := range list {
					if !pending[b.Digest] && !yield(b, nil) {
						return
					}
				}
			}
		}
		for _, b := range early {
			if !yield(b, nil) {
				return
			}
		}
	}
}

// placedIn is present for those who have no hold of the store.
func (s *Store) placedIn(ctx context.Context, a digest.Algorithm) ([shards]bool, error) {
	if err := s.start(ctx); err != nil {
		return [shards]bool{}, err
	}
	defer s.stop()
	return s.present(a)
}

// placed lists the published blobs of one shard.
func (s *Store) placed(ctx context.Context, a digest.Algorithm, shard byte) ([]cas.BlobInfo, error) {
	if err := s.start(ctx); err != nil {
		return nil, err
	}
	defer s.stop()
	var list []cas.BlobInfo
	err := s.scanShard(ctx, a, shard, func(f blobFile) error {
		if f.owner == "" {
			list = append(list, cas.BlobInfo{Digest: f.d, StoredBytes: f.size})
		}
		return nil
	})
	return list, err
}

// Stats implements cas.Stater.
func (s *Store) Stats(ctx context.Context) (cas.Stats, error) {
	st := cas.Stats{QuotaBytes: s.o.QuotaBytes}
	for b, err := range s.Blobs(ctx) {
		if err != nil {
			return cas.Stats{}, err
		}
		st.Blobs++
		st.StoredBytes += b.StoredBytes
	}
	if err := s.start(ctx); err != nil {
		return cas.Stats{}, err
	}
	defer s.stop()
	names, err := s.listOrNone(quarantineDir)
	if err != nil {
		return cas.Stats{}, err
	}
	for _, name := range names {
		if _, ok := quarantined(name); !ok {
			continue
		}
		info, err := s.fs.lstat(quarantineDir + "/" + name)
		if missing(err) {
			continue // somebody took it meanwhile
		}
		if err != nil {
			return cas.Stats{}, failed("stat", quarantineDir+"/"+name, err)
		}
		st.Quarantined++
		if info.Mode&unix.S_IFMT == unix.S_IFREG {
			st.QuarantinedBytes += info.Size
		}
	}
	live, err := s.liveSessions()
	st.Sessions = live
	return st, err
}

// liveSessions counts the sessions of all processes whose lease did not end. One
// whose records are damaged counts, something that is no file does not.
func (s *Store) liveSessions() (int64, error) {
	names, err := s.listOrNone(sessionsDir)
	if err != nil {
		return 0, err
	}
	var live int64
	for _, name := range names {
		if !validID(name) {
			continue
		}
		r, err := s.openLease(name)
		if err != nil && !errors.Is(err, kvferry.ErrCorrupt) {
			return 0, fmt.Errorf("dir: stats: %w", err)
		}
		if r == nil {
			continue
		}
		err = r.more(&s.fs, func(digest.Digest) {})
		_ = closeReader(r)
		if err != nil && !errors.Is(err, kvferry.ErrCorrupt) {
			return 0, err
		}
		if err != nil || !s.clock().After(r.until) {
			live++
		}
	}
	return live, nil
}

// openLease opens the file of a session for reading; nil if the session ended
// or its process is gone. Something else than a file is ErrCorrupt; no session
// has it, because its file would be gone, which ends a session.
func (s *Store) openLease(id string) (*leaseReader, error) {
	rel := sessionsDir + "/" + id
	fd, _, err := s.fs.openRegular(rel)
	if errors.Is(err, kvferry.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	free, err := s.fs.tryLock(fd, rel, unix.LOCK_SH)
	if err == nil && !free {
		return &leaseReader{fd: fd, rel: rel}, nil
	}
	_ = unix.Close(fd) // read only; closing unlocks
	return nil, failed("lock", rel, err)
}
