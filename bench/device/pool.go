package main

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/kvferry/kvferry/pager"
	"github.com/kvferry/kvferry/pager/synthetic"
)

// tail makes the pool's length share no more than 16 with any stride: repeated
// over a memory, no two pages of it begin alike, so a page that was taken for
// another one is seen.
const tail = 16

// tinyLlama is the shape of TinyLlama-1.1B's cache: pages of 352 KiB.
func tinyLlama() (pager.Meta, error) { return pager.Plain(16, 22, 4, 64, pager.BF16) }

// llama8B is the shape of Llama-3-8B's: pages of 2 MiB.
func llama8B() (pager.Meta, error) { return pager.Plain(16, 32, 8, 128, pager.BF16) }

// pool returns bytes that look like keys and values of a model.
func (b *bench) pool() ([]byte, error) {
	if b.data != nil {
		return b.data, nil
	}
	meta, err := tinyLlama()
	if err != nil {
		return nil, err
	}
	want := int(b.scale.poolBytes) + tail
	n := (want + meta.PageBytes() - 1) / meta.PageBytes()
	e, err := synthetic.New(synthetic.Options{Meta: meta, Capacity: n})
	if err != nil {
		return nil, err
	}
	if err := e.PopulateKV(n, 1); err != nil {
		return nil, err
	}
	data := make([]byte, n*meta.PageBytes())
	for i := range n {
		at := data[i*meta.PageBytes():][:meta.PageBytes()]
		if err := e.ReadPage(b.ctx, pager.PageID(i), at); err != nil {
			return nil, err
		}
	}
	b.data = data[:want]
	return b.data, nil
}

// pattern is the pool repeated without end.
type pattern []byte

// copy fills dst with what lies at offset at.
func (p pattern) copy(dst []byte, at int64) {
	for len(dst) > 0 {
		from := int(at % int64(len(p)))
		n := copy(dst, p[from:])
		dst, at = dst[n:], at+int64(n)
	}
}

// equal reports whether got is what lies at offset at.
func (p pattern) equal(got []byte, at int64) bool {
	for len(got) > 0 {
		from := int(at % int64(len(p)))
		n := min(len(got), len(p)-from)
		if !bytes.Equal(got[:n], p[from:from+n]) {
			return false
		}
		got, at = got[n:], at+int64(n)
	}
	return true
}

// parallel calls f for 0 to n-1 on every core, and returns the first failure.
func parallel(ctx context.Context, n int, f func(i int) error) error {
	return parallelOn(ctx, runtime.GOMAXPROCS(0), n, f)
}

// parallelOn does so on a number of goroutines.
func parallelOn(ctx context.Context, workers, n int, f func(i int) error) error {
	var (
		next  atomic.Int64
		group sync.WaitGroup
		once  sync.Once
		first error
	)
	for range min(workers, n) {
		group.Go(func() {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				err := ctx.Err()
				if err == nil {
					err = f(int(i))
				}
				if err != nil {
					once.Do(func() { first = err })
					next.Store(int64(n))
					return
				}
			}
		})
	}
	group.Wait()
	return first
}

// wrongPage says which page has not the bytes that it has to have.
func wrongPage(id pager.PageID) error { return fmt.Errorf("page %d: %w", id, errWrong) }
