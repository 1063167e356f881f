package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/kvferry/kvferry/bench/harness"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/digest"
)

const (
	smallBytes   = 2 * kiB
	smallWriters = 16
)

// measureSmall puts small blobs, each durable before the next of its writer.
func measureSmall(ctx context.Context, b *bench, s *harness.Section) error {
	s.Note("%d writers, blobs of %s, hashed; each is durable before its writer goes on: put and flush in the stores, "+
		"a file of its own otherwise. One file per blob is done in three ways, and the fastest of them is what the goal is "+
		"held against. The stores' writers have a session each.", smallWriters, harness.SizeText(smallBytes))
	ours := s.Figure("op=put-small/by="+b.store.name, harness.PerSecond)
	kinds := fileKinds()
	files := make([]*harness.Figure, len(kinds))
	for i, k := range kinds {
		files[i] = peer(s, "op=put-small/by=files/how="+k.key, harness.PerSecond)
		files[i].Note = k.name
	}
	dirStore := s.Figure("op=put-small/by=dir", harness.PerSecond)
	for round := range b.rounds {
		x, err := b.smallStore(ctx, b.store, b.smallOurs, uint64(round))
		if err != nil {
			return err
		}
		ours.Add(x)
		for i, k := range kinds {
			if x, err = b.smallFilesOf(ctx, k, uint64(round)); err != nil {
				return err
			}
			files[i].Add(x)
		}
		if x, err = b.smallStore(ctx, backend{"dir", openDir, true}, b.smallFiles, uint64(round)); err != nil {
			return err
		}
		dirStore.Add(x)
	}
	ours.Versus(harness.Fastest(files), harness.Goal{AtLeast: 20})
	dirStore.Versus(harness.Fastest(files), harness.Goal{})
	return nil
}

// smallStore returns puts per second into a new store.
func (b *bench) smallStore(ctx context.Context, st backend, puts int, seed uint64) (float64, error) {
	root, err := b.folder("small")
	if err != nil {
		return 0, err
	}
	s, err := st.open(root)
	if err != nil {
		return 0, err
	}
	p := b.pages(smallBytes, int64(puts)*smallWriters*smallBytes, seed)
	x, err := smallPuts(ctx, s, p, puts)
	if err = errors.Join(err, s.Close()); err != nil {
		return 0, err
	}
	return x, b.drop(root)
}

func smallPuts(ctx context.Context, s cas.Store, p *pages, puts int) (float64, error) {
	hs, err := hashers(smallWriters)
	if err != nil {
		return 0, err
	}
	sessions := make([]cas.Session, smallWriters)
	for i := range sessions {
		if sessions[i], err = s.Begin(ctx, rawSession()); err != nil {
			return 0, err
		}
	}
	start := time.Now()
	err = each(ctx, smallWriters, puts*smallWriters, func(ctx context.Context, w, i int) error {
		plain := p.blob(i)
		if _, err := sessions[w].Put(ctx, hs[w].Sum(plain), plain); err != nil {
			return err
		}
		return sessions[w].Flush(ctx)
	})
	x := harness.Rate(int64(puts)*smallWriters, start)
	for _, sess := range sessions {
		err = errors.Join(err, sess.Abort(context.WithoutCancel(ctx)))
	}
	return x, err
}

// fileKind is one way to keep a blob in a file that is durable.
type fileKind struct {
	key     string
	name    string
	fanOut  bool // 256 folders, as most have that keep blobs in files
	replace bool // a temporary file that is renamed, so that no half file is ever seen
}

func fileKinds() []fileKind {
	return []fileKind{
		{"rename", "fsync, rename, fsync of the folder", false, true},
		{"folders", "the same in 256 folders", true, true},
		{"plain", "fsync and fsync of the folder, no rename", false, false},
	}
}

// smallFilesOf returns files per second.
func (b *bench) smallFilesOf(ctx context.Context, k fileKind, seed uint64) (float64, error) {
	root, err := b.folder("files")
	if err != nil {
		return 0, err
	}
	for i := range 256 {
		if !k.fanOut {
			break
		}
		if err := os.Mkdir(filepath.Join(root, fmt.Sprintf("%02x", i)), 0o755); err != nil {
			return 0, err
		}
	}
	if err := b.settle(); err != nil {
		return 0, err
	}
	hs, err := hashers(smallWriters)
	if err != nil {
		return 0, err
	}
	n := b.smallFiles * smallWriters
	p := b.pages(smallBytes, int64(n)*smallBytes, seed)
	start := time.Now()
	err = each(ctx, smallWriters, n, func(_ context.Context, w, i int) error {
		plain := p.blob(i)
		return k.put(root, hs[w].Sum(plain), plain)
	})
	x := harness.Rate(int64(n), start)
	if err != nil {
		return 0, err
	}
	return x, b.drop(root)
}

// put makes one durable file.
func (k fileKind) put(root string, d digest.Digest, plain []byte) error {
	name := d.Hex()
	folder := root
	if k.fanOut {
		folder = filepath.Join(root, name[:2])
	}
	final := filepath.Join(folder, name)
	path := final
	if k.replace {
		path += ".tmp"
	}
	if err := writeFile(path, plain, true); err != nil {
		return err
	}
	if k.replace {
		if err := os.Rename(path, final); err != nil {
			return err
		}
	}
	f, err := os.Open(folder)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// writeFile makes a new file, and syncs it if that is asked for.
func writeFile(path string, plain []byte, sync bool) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(plain)
	if err == nil && sync {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}
