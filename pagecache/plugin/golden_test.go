package plugin_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/pagecache/plugin"
)

// TestGoldenSequences are short sequences of calls with what the built-in
// cache answers. F fetches a range of keys with a flag, U unpins them with or
// without discarding, R rekeys, T truncates, S sets the size, H shrinks. After
// = stands the result; after / the page count, for a range the count after
// each.
func TestGoldenSequences(t *testing.T) {
	t.Parallel()
	for name, calls := range map[string]string{
		"purgeable, no size":                "F1,1=null/0 F1,2=new/1 U1,0/0",
		"90 percent pinned refuse flag 1":   "S10/0 F1-9,1=new/1-9 F10,1=null/9 F10,2=new/10 U1,0/10 F11,1=null/10 F11,2=new/10 F1,0=null/10",
		"surplus goes at unpin":             "S3/0 F1-5,2=new/1-5 U1,0/4 F1,0=null/4 U2,0/3 U3,0/3 F3,0=hit/3",
		"the oldest unpin goes":             "S5/0 F1-4,2=new/1-4 U2,0/4 U1,0/4 U3,0/4 F5,2=new/4 F2,0=null/4 F1,0=hit/4 F6,2=new/4 F3,0=null/4",
		"truncate drops pinned pages":       "S100/0 F1-5,2=new/1-5 U4,0/5 T3/2 F3,0=null/2 F4,0=null/2 F2,0=hit/2",
		"a smaller size drops the oldest":   "S10/0 F1-8,2=new/1-8 U1-8,0/8-8 S4/4 F4,0=null/4 F5,0=hit/4",
		"shrink":                            "S10/0 F1-4,2=new/1-4 U1,0/4 U2,0/4 H0/2 F1,0=null/2 F3,0=hit/2",
		"rekey":                             "S100/0 F7,2=new/1 F9,2=new/2 R7,3/2 F7,0=null/2 F3,0=hit/2 T9/1 F3,0=hit/1",
		"pins are not counted":              "S100/0 F1,2=new/1 F1,2=hit/1 F1,2=hit/1 U1,0/1 F1,0=hit/1 U1,1/0 F1,0=null/0",
		"not purgeable, size means nothing": "N S5/0 F1,1=null/0",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rest, resident := strings.CutPrefix(calls, "N ")
			c := newCache(t, 4096, 208, !resident)
			pages := map[uint32]plugin.Page{}
			for call := range strings.FieldsSeq(rest) {
				golden(t, c, pages, call)
			}
		})
	}
}

// golden does one call of a sequence and compares.
func golden(t *testing.T, c *plugin.Cache, pages map[uint32]plugin.Page, call string) {
	action, counts, ok := strings.Cut(call, "/")
	require.True(t, ok, call)
	action, want, _ := strings.Cut(action, "=")
	keys, argument, _ := strings.Cut(action[1:], ",")
	first, last := span(t, keys)
	count0, _ := span(t, counts)
	other, _ := span(t, argument)
	ranged := strings.Contains(counts, "-")
	for key := first; key <= last; key++ {
		switch action[0] {
		case 'F':
			require.Equal(t, want, outcome(t, c, pages, key, plugin.CreateFlag(other)), call)
		case 'U':
			require.NoError(t, c.Unpin(pages[key], plugin.DiscardStrategy(other)), call)
		case 'R':
			require.NoError(t, c.Rekey(pages[key], key, other), call)
		case 'T':
			require.NoError(t, c.Truncate(key), call)
		case 'S':
			require.NoError(t, c.Cachesize(int(key)), call)
		case 'H':
			require.NoError(t, c.Shrink(), call)
		default:
			t.Fatal(call)
		}
		wantCount := int(count0)
		if ranged && action[0] == 'F' {
			wantCount += int(key - first)
		}
		require.Equal(t, wantCount, count(t, c), "%s at %d", call, key)
	}
}

// span parses "3" or "3-7"; "" is 0.
func span(t *testing.T, s string) (first, last uint32) {
	if s == "" {
		return 0, 0
	}
	if n, err := fmt.Sscanf(s, "%d-%d", &first, &last); n == 2 && err == nil {
		return first, last
	}
	_, err := fmt.Sscanf(s, "%d", &first)
	require.NoError(t, err, s)
	return first, first
}

// outcome fetches and says what came, with the key as content of new pages.
func outcome(t *testing.T, c *plugin.Cache, pages map[uint32]plugin.Page, key uint32, create plugin.CreateFlag) string {
	p, ok, err := c.Fetch(key, create)
	require.NoError(t, err)
	if !ok {
		return "null"
	}
	pages[key] = p
	if _, extra := areas(t, p); zero(extra) {
		mark(t, p, key)
		return "new"
	}
	tagOf(t, p)
	return "hit"
}

// fact is a line of the measured facts.
type fact struct {
	Fact string            `json:"fact"`
	Rows []json.RawMessage `json:"rows"`
}

// TestLimits compares how many pages flag 1 grants, by size, with what was
// measured of the built-in cache.
func TestLimits(t *testing.T) {
	t.Parallel()
	f, err := os.Open(filepath.Join("testdata", "pcache1", "pcache-facts-3.40.1.jsonl"))
	require.NoError(t, err)
	defer func() { require.NoError(t, f.Close()) }()
	compared := 0
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		var x fact
		require.NoError(t, json.Unmarshal(lines.Bytes(), &x))
		for _, row := range x.Rows {
			switch x.Fact {
			case "pages flag 1 gives, all pinned, by cachesize", "the same for large sizes, up to 5000 pages tried":
				var r [2]int // size, pages
				require.NoError(t, json.Unmarshal(row, &r))
				require.Equal(t, r[1], granted(t, r[0]), "size %d", r[0])
				compared++
			case "group mode: pages flag 1 gives the first cache, by cachesize of each":
				var r struct{ Sizes, Pages any }
				require.NoError(t, json.Unmarshal(row, &r))
				require.EqualValues(t, r.Pages, granted(t, ints(r.Sizes)...), "sizes %v", r.Sizes)
				compared++
			}
		}
	}
	require.NoError(t, lines.Err())
	require.Equal(t, 41+8+8, compared)
}

func ints(list any) []int {
	var out []int
	for _, x := range list.([]any) {
		out = append(out, int(x.(float64)))
	}
	return out
}

// granted returns how many pages flag 1 gives the first cache of a group with
// the given sizes, if it gets no more than 5000.
func granted(t *testing.T, sizes ...int) int {
	g := plugin.NewGroup(newArena(t, 1<<30))
	var first *plugin.Cache
	for _, size := range sizes {
		c, err := g.Create(512, 8, true)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, c.Destroy()) })
		require.NoError(t, c.Cachesize(size))
		if first == nil {
			first = c
		}
	}
	for n := range 5000 {
		_, ok, err := first.Fetch(uint32(n+1), plugin.AllocateIfConvenient)
		require.NoError(t, err)
		if !ok {
			return n
		}
	}
	return 5000
}

// TestGroupBound: the sizes of a group add up to 0x7fff0000 at most. What the
// first cache has taken, the second does not get.
func TestGroupBound(t *testing.T) {
	t.Parallel()
	g := plugin.NewGroup(newArena(t, 1<<20))
	var caches []*plugin.Cache
	for range 2 {
		c, err := g.Create(512, 8, true)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, c.Destroy()) })
		caches = append(caches, c)
	}
	require.NoError(t, caches[0].Cachesize(0x7fff0000-20))
	require.NoError(t, caches[1].Cachesize(1<<31-1))
	for key := uint32(1); key <= 20; key++ {
		_, ok, err := caches[1].Fetch(key, plugin.AllocateIfConvenient)
		require.NoError(t, err)
		require.Equal(t, key <= 18, ok, "90 percent of the 20 pages that were left: key %d", key)
	}
}
