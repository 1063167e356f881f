package captures

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/bench/harness"
)

// pfCache is the peer: ProcessFork's own capture and restore.
const pfCache = "pf-cache"

// Its stores. The one of files compresses with zstd at level 19, which takes
// minutes for more than these bytes.
const (
	peerMemory    = "memory"
	peerFile      = "file"
	peerFileBytes = 2 << 20
)

// beside are the peer's figures; none if it is not installed.
type beside struct{ memory, file []*harness.Figure }

// peers adds those of pf-cache to what is measured: the same pages, and for its
// store of files the first ones.
func (w *world) peers(ctx context.Context, op string) (b beside, err error) {
	if w.env.PeerPath(pfCache) == "" {
		w.s.Miss(pfCache, w.env.Why(pfCache))
		return b, nil
	}
	if b.memory, err = w.peer(ctx, op, peerMemory, len(w.flat)); err == nil && w.c.times == 1 {
		b.file, err = w.peer(ctx, op, peerFile, peerFileBytes)
	}
	return b, err
}

// peer adds a figure of one store of pf-cache. It is tried once before, so that
// one that does not work is told as such.
func (w *world) peer(ctx context.Context, op, store string, bytes int) ([]*harness.Figure, error) {
	size := w.meta.PageBytes()
	n := max(min(bytes, len(w.flat))/size, 1)
	data := filepath.Join(w.dir, "pages-"+store)
	args := []string{
		"--dir", w.dir, "--pages", strconv.Itoa(n), "--data", data, "--store", store, "--label", "data=" + w.c.name,
		"--geometry", fmt.Sprintf("%d,%d,%d,%d,bf16", w.c.geometry.Tokens, w.c.geometry.Layers, w.c.geometry.Heads, w.c.geometry.Dim),
	}
	if err := os.WriteFile(data, w.flat[:n*size], 0o600); err != nil {
		return nil, err
	}
	who := pfCache + " " + store
	name := w.name(op, "store=pf-cache-"+store)
	once := func(ctx context.Context) (harness.PeerLine, error) {
		lines, err := w.env.RunPeer(ctx, pfCache, args...)
		if err != nil {
			return harness.PeerLine{}, err
		}
		for _, l := range lines {
			if l.Error != "" {
				return l, fmt.Errorf("bench: %s: %s: %w", pfCache, l.Error, kvferry.ErrInvalid)
			}
			if l.Name == name {
				return l, nil
			}
		}
		return harness.PeerLine{}, fmt.Errorf("bench: %s tells nothing of %s: %w", pfCache, name, kvferry.ErrInvalid)
	}
	l, err := once(ctx)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return nil, errors.Join(cause, err)
		}
		w.s.Fail(who, err)
		return nil, nil
	}
	w.s.Version(l.Version)
	f := w.figure(name, harness.Peer)
	f.Note = l.Note
	w.all = append(w.all, harness.Measure{
		Figure: f,
		Once: func(ctx context.Context) (float64, error) {
			l, err := once(ctx)
			return l.Value, err
		},
		Failed: func(err error) { w.s.Fail(who, err, f) },
	})
	return []*harness.Figure{f}, nil
}
