package plugin_test

import (
	"errors"
	"fmt"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/pagecache"
	"github.com/kvferry/kvferry/pagecache/plugin"
)

// A pager fills a page that is new, lets it go, and finds it again.
func ExampleCache() {
	mem, err := pagecache.NewArena(pagecache.ArenaOptions{LimitBytes: 64 << 20})
	if err != nil {
		fmt.Println(err)
		return
	}
	c, err := plugin.Create(mem, 4096, 208, true)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("size:", c.Cachesize(100))

	page, _, _ := c.Fetch(7, plugin.Allocate)
	content, _ := page.Bytes()
	copy(content, "read from the file")
	fmt.Println("unpin:", c.Unpin(page, plugin.CanDecide))

	again, found, _ := c.Fetch(7, plugin.NoAllocation)
	content, _ = again.Bytes()
	fmt.Printf("found: %v, %s\n", found, content[:18])

	_, err = page.Bytes()
	fmt.Println("the old page is invalid:", errors.Is(err, kvferry.ErrInvalid))
	fmt.Println("destroy:", c.Destroy(), mem.Close())
	// Output:
	// size: <nil>
	// unpin: <nil>
	// found: true, read from the file
	// the old page is invalid: true
	// destroy: <nil> <nil>
}
