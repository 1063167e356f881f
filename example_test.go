package kvferry_test

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/kvferry/kvferry/capture"
	"github.com/kvferry/kvferry/cas/pack"
	"github.com/kvferry/kvferry/pager"
	"github.com/kvferry/kvferry/pager/synthetic"
)

// README.md shows this function; a test compares the two.
func quickStart(ctx context.Context, engine, fresh pager.Pager, path string) (err error) {
	store, err := pack.Open(path, pack.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()

	out, err := capture.Capture(ctx, engine, store, capture.Options{Names: []string{"first"}})
	if err != nil {
		return err // the engine goes on, nothing is visible in the store
	}
	fmt.Printf("%d pages, %d sequences out\n", out.Pages, out.Sequences)

	// In another process, maybe, and days later.
	back, err := capture.Restore(ctx, store, out.Root, fresh, capture.RestoreOptions{})
	if err != nil {
		return err // the engine is as it was
	}
	fmt.Printf("%d pages, %d sequences back\n", back.Pages, back.Sequences)
	return nil
}

func Example() {
	path, err := os.MkdirTemp("", "kvferry")
	if err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(path) }()
	engine, err := synthetic.New(synthetic.Options{})
	if err != nil {
		panic(err)
	}
	if err := engine.Populate(64, 0); err != nil {
		panic(err)
	}
	fresh, err := synthetic.New(synthetic.Options{})
	if err != nil {
		panic(err)
	}
	if err := quickStart(context.Background(), engine, fresh, path); err != nil {
		panic(err)
	}
	// Output:
	// 64 pages, 1 sequences out
	// 64 pages, 1 sequences back
}
