package pagecache_test

import (
	"context"
	"fmt"

	"github.com/kvferry/kvferry/pagecache"
)

func Example() {
	pool, err := pagecache.New(pagecache.Options[string]{
		LimitBytes: 64 << 20,
		OnEvict:    func(key string, _ []byte) { fmt.Println("to the lower tier:", key) },
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	read := func(_ context.Context, mem []byte) error { // from the lower tier
		copy(mem, "page")
		return nil
	}
	ctx := context.Background()
	frame, err := pool.GetOrFill(ctx, "block 7", 4, pagecache.Wait, read)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%s\n", frame.Bytes())
	frame.Release()

	if _, err := pool.Shrink(0); err != nil {
		fmt.Println(err)
	}
	fmt.Println("hits:", pool.Metrics().Hits, "close:", pool.Close())
	// Output:
	// page
	// to the lower tier: block 7
	// hits: 0 close: <nil>
}
