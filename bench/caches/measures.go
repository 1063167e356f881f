package caches

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/pagecache"
	"github.com/kvferry/kvferry/pagecache/plugin"
	"github.com/kvferry/kvferry/pipelinecache"
	"github.com/kvferry/kvferry/pipelinecache/disk"
	"github.com/kvferry/kvferry/pipelinecache/memory"
)

const (
	kernels     = 1024
	kernelBytes = 4 << 10
	pages       = 4096
	pageBytes   = 4 << 10
)

var diskSizes = []int{64 << 10, 1 << 20, 16 << 20}

// measures makes the caches and what is measured of them.
func measures(ctx context.Context, dir string) (all []measure, closeAll func() error, err error) {
	var closers []func() error
	closeAll = func() error {
		var errs []error
		for _, c := range closers {
			errs = append(errs, c())
		}
		return errors.Join(errs...)
	}
	for _, add := range []func() ([]measure, func() error, error){
		func() ([]measure, func() error, error) { return memoryMeasures(ctx) },
		func() ([]measure, func() error, error) { return diskMeasures(ctx, dir) },
		func() ([]measure, func() error, error) { return poolMeasures(ctx) },
		pluginMeasures,
	} {
		more, done, err := add()
		if done != nil {
			closers = append(closers, done)
		}
		if err != nil {
			return nil, closeAll, err
		}
		all = append(all, more...)
	}
	return all, closeAll, nil
}

// fingerprint is that of kernel i, spread as hashes are.
func fingerprint(i int) (f pipelinecache.Fingerprint) {
	r := rand.New(rand.NewPCG(uint64(i), 1)) //nolint:gosec // names, not secrets
	for k := 0; k < len(f); k += 8 {
		binary.LittleEndian.PutUint64(f[k:], r.Uint64())
	}
	return f
}

func memoryMeasures(ctx context.Context) ([]measure, func() error, error) {
	s, err := memory.New(memory.Options{})
	if err != nil {
		return nil, nil, err
	}
	keys := make([]pipelinecache.Fingerprint, kernels)
	plain := map[pipelinecache.Fingerprint][]byte{}
	for i := range keys {
		keys[i] = fingerprint(i)
		artifact := make([]byte, kernelBytes)
		plain[keys[i]] = artifact
		if err := s.PutShared(ctx, keys[i], artifact); err != nil {
			return nil, nil, err
		}
	}
	hit := func(seed, n int) error {
		for i := range n {
			if _, err := s.GetShared(ctx, keys[(i*7+seed)%kernels]); err != nil {
				return err
			}
		}
		return nil
	}
	var mu sync.Mutex
	return []measure{
		{name: "a map behind a mutex, hit", key: "op=hit/cache=map-and-mutex", run: func(_ context.Context, n int) error {
			for i := range n {
				mu.Lock()
				artifact := plain[keys[i*7%kernels]]
				mu.Unlock()
				if artifact == nil {
					return kvferry.ErrNotFound
				}
			}
			return nil
		}},
		{name: "pipeline cache in memory, shared hit", key: "op=hit/cache=pipeline-memory", against: "a map behind a mutex, hit", run: func(_ context.Context, n int) error { return hit(0, n) }},
		{name: "... on all processors", key: "op=hit/cache=pipeline-memory/goroutines=all", against: "pipeline cache in memory, shared hit", run: func(_ context.Context, n int) error { return onAll(n, hit) }},
	}, nil, nil
}

func diskMeasures(ctx context.Context, dir string) (all []measure, _ func() error, _ error) {
	s, err := disk.Open(dir, disk.Options{})
	if err != nil {
		return nil, nil, err
	}
	h, err := digest.NewHasher(digest.BLAKE3, nil)
	if err != nil {
		return nil, s.Close, err
	}
	for i, size := range diskSizes {
		key, artifact := fingerprint(i), make([]byte, size)
		for k := 0; k < size; k += 8 {
			binary.LittleEndian.PutUint64(artifact[k:], uint64(k)*0x9e3779b97f4a7c15)
		}
		if err := s.Put(ctx, key, artifact); err != nil {
			return nil, s.Close, err
		}
		path := filepath.Join(dir, key.String()+".bin")
		least := fmt.Sprintf("read and BLAKE3 of a file of %d KiB", size>>10)
		all = append(all,
			measure{name: least, key: fmt.Sprintf("op=read-and-hash/size=%dKiB", size>>10), bytes: size, run: func(_ context.Context, n int) error {
				for range n {
					b, err := os.ReadFile(path) //nolint:gosec // a file of this run
					if err != nil {
						return err
					}
					if !h.Sum(b[:len(b)-digest.Size]).Valid() {
						return kvferry.ErrCorrupt
					}
				}
				return nil
			}},
			measure{name: fmt.Sprintf("pipeline cache on disk, hit of %d KiB", size>>10), key: fmt.Sprintf("op=hit/cache=pipeline-disk/size=%dKiB", size>>10), bytes: size, against: least, run: func(ctx context.Context, n int) error {
				for range n {
					if _, err := s.Get(ctx, key); err != nil {
						return err
					}
				}
				return nil
			}})
	}
	return all, s.Close, nil
}

func poolMeasures(ctx context.Context) ([]measure, func() error, error) {
	p, err := pagecache.New(pagecache.Options[pipelinecache.Fingerprint]{
		LimitBytes: pages * pagecache.RoundedBytes(pageBytes),
		Hash:       func(k pipelinecache.Fingerprint) uint64 { return binary.LittleEndian.Uint64(k[:]) },
	})
	if err != nil {
		return nil, nil, err
	}
	keys := make([]pipelinecache.Fingerprint, pages)
	for i := range keys {
		keys[i] = fingerprint(i)
		f, err := p.Insert(ctx, keys[i], make([]byte, pageBytes), pagecache.Refuse)
		if err != nil {
			return nil, p.Close, err
		}
		f.Release()
	}
	hit := func(seed, n int) error {
		for i := range n {
			f, ok := p.Get(keys[(i*7+seed)%pages])
			if !ok {
				return kvferry.ErrNotFound
			}
			f.Release()
		}
		return nil
	}
	return []measure{
		{name: "page cache, get and release", key: "op=hit/cache=pages", against: "a map behind a mutex, hit", run: func(_ context.Context, n int) error { return hit(0, n) }},
		{name: "... by all processors", key: "op=hit/cache=pages/goroutines=all", against: "page cache, get and release", run: func(_ context.Context, n int) error { return onAll(n, hit) }},
	}, p.Close, nil
}

func pluginMeasures() ([]measure, func() error, error) {
	mem, err := pagecache.NewArena(pagecache.ArenaOptions{LimitBytes: 2 * pages * pagecache.RoundedBytes(pageBytes)})
	if err != nil {
		return nil, nil, err
	}
	c, err := plugin.Create(mem, pageBytes, 208, true)
	if err != nil {
		return nil, mem.Close, err
	}
	done := func() error { return errors.Join(c.Destroy(), mem.Close()) }
	if err := c.Cachesize(2 * pages); err != nil {
		return nil, done, err
	}
	touch := func(i int) error {
		p, ok, err := c.Fetch(uint32(i%pages)+1, plugin.Allocate)
		if err != nil || !ok {
			return errors.Join(err, kvferry.ErrOutOfMemory)
		}
		return c.Unpin(p, plugin.CanDecide)
	}
	for i := range pages {
		if err := touch(i); err != nil {
			return nil, done, err
		}
	}
	return []measure{{name: "SQLite's page cache, fetch of a page that is there, and unpin", key: "op=fetch-unpin/cache=plugin", run: func(_ context.Context, n int) error {
		for i := range n {
			if err := touch(i * 7); err != nil {
				return err
			}
		}
		return nil
	}}}, done, nil
}
