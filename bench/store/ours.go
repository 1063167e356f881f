package store

import (
	"context"
	"errors"
	"io"
	"os"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas"
)

// ours does with the store under test what the peers do with theirs: page
// files go in, each as the two parts of a page, and come back as files.
type ours struct {
	repo  string
	bench *bench
	snap  captured
}

func (b *bench) ourTool(repo string) peerTool { return &ours{repo: repo, bench: b} }

// partBytes is half of a page file.
const partBytes = fileBytes / 2

func (o *ours) prepare(context.Context) error {
	return o.with(func(cas.Store) error { return nil })
}

// with opens the store for one thing, as a program would.
func (o *ours) with(do func(cas.Store) error) error {
	s, err := o.bench.store.open(o.repo)
	if err != nil {
		return err
	}
	return errors.Join(do(s), s.Close())
}

func (o *ours) backup(ctx context.Context, source string) error {
	bufs := make([][]byte, workers)
	for w := range bufs {
		bufs[w] = make([]byte, partBytes)
	}
	return o.with(func(s cas.Store) (err error) {
		o.snap, err = capture(ctx, s, 2*o.bench.peerFiles(), func(w, i int) ([]byte, error) {
			return bufs[w], readPart(pageFile(source, i/2), bufs[w], int64(i%2)*partBytes)
		})
		return err
	})
}

func readPart(path string, dst []byte, at int64) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	_, err = f.ReadAt(dst, at)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return errors.Join(err, f.Close())
}

// restore writes each file at once, and past the page cache where it can: nobody
// reads them soon, and the sync that follows finds nothing to do.
func (o *ours) restore(ctx context.Context, target string) error {
	heads := make([][]byte, o.bench.peerFiles()) // first parts, until the second is there
	return o.with(func(s cas.Store) error {
		return restore(ctx, s, o.snap, partBytes, 2*workers, func(i int, plain []byte) error {
			if i%2 == 0 { // its batch has the other part, too
				heads[i/2] = plain
				return nil
			}
			path, flags := pageFile(target, i/2), os.O_CREATE|os.O_WRONLY
			f, err := openDirect(path, flags)
			if errors.Is(err, kvferry.ErrUnsupported) {
				f, err = os.OpenFile(path, flags, 0o644)
			}
			if err != nil {
				return err
			}
			return errors.Join(writeParts(f, heads[i/2], plain), f.Close())
		})
	})
}
