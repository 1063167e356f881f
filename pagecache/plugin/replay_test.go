package plugin_test

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/pagecache"
	"github.com/kvferry/kvferry/pagecache/plugin"
)

// step is one line of a trace. The first line has the header's fields.
type step struct {
	Kind string `json:"kind"`
	Mode string `json:"mode"` // separate or group

	I         int     `json:"i"`
	Op        string  `json:"op"`
	Cache     int     `json:"c"`
	Page      int     `json:"page"`
	Extra     int     `json:"extra"`
	Purgeable bool    `json:"purgeable"`
	Size      int     `json:"n"`
	Key       uint32  `json:"k"`
	To        uint32  `json:"to"`
	Limit     uint32  `json:"limit"`
	Flag      uint8   `json:"f"`
	Result    string  `json:"r"` // hit, new or null
	Tag       uint32  `json:"t"` // content of the page from now on
	Discard   uint8   `json:"d"`
	Count     int     `json:"pc"`  // pages of the cache afterwards
	Counts    [][]int `json:"pcs"` // of all caches: number, pages
}

// TestReplay repeats, call by call, what the built-in cache did.
func TestReplay(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join("testdata", "pcache1", "*.jsonl.gz"))
	require.NoError(t, err)
	require.Len(t, files, 33)
	if more := os.Getenv("KVFERRY_GOLDEN_PCACHE1"); more != "" {
		further, err := filepath.Glob(filepath.Join(more, "*.jsonl.gz"))
		require.NoError(t, err)
		require.NotEmpty(t, further, "KVFERRY_GOLDEN_PCACHE1 names a folder without traces")
		files = append(files, further...)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			replayFile(t, file)
		})
	}
}

func replayFile(t *testing.T, file string) {
	f, err := os.Open(file)
	require.NoError(t, err)
	defer func() { require.NoError(t, f.Close()) }()
	z, err := gzip.NewReader(f)
	require.NoError(t, err)
	lines := bufio.NewScanner(z)
	lines.Buffer(nil, 1<<20)
	require.True(t, lines.Scan())
	var head step
	require.NoError(t, json.Unmarshal(lines.Bytes(), &head))
	require.Contains(t, []string{"separate", "group"}, head.Mode)
	r := newReplay(t, head.Mode == "group")
	steps := 0
	for lines.Scan() {
		var s step
		require.NoError(t, json.Unmarshal(lines.Bytes(), &s))
		r.do(s)
		if t.Failed() {
			t.Fatalf("at %s", lines.Bytes())
		}
		steps++
	}
	require.NoError(t, lines.Err())
	require.Greater(t, steps, 2000)
	r.end()
}

// replay holds the caches of one trace.
type replay struct {
	t      *testing.T
	mem    *pagecache.Arena
	group  *plugin.Group // nil in separate mode
	caches map[int]*traced
}

// traced is a cache and what is known of its pages.
type traced struct {
	*plugin.Cache
	byKey     map[uint32]plugin.Page // the latest handle
	byTag     map[uint32]plugin.Page
	addresses map[uint32]*byte // by tag
}

func newReplay(t *testing.T, group bool) *replay {
	r := &replay{t: t, mem: newArena(t, 1<<30), caches: map[int]*traced{}}
	if group {
		r.group = plugin.NewGroup(r.mem)
	}
	return r
}

func (r *replay) do(s step) {
	t, c := r.t, r.caches[s.Cache]
	switch s.Op {
	case "create":
		r.caches[s.Cache] = r.create(s)
		c = r.caches[s.Cache]
	case "destroy":
		require.NoError(t, c.Destroy())
		delete(r.caches, s.Cache)
	case "cachesize":
		require.NoError(t, c.Cachesize(s.Size))
	case "shrink":
		require.NoError(t, c.Shrink())
	case "truncate":
		require.NoError(t, c.Truncate(s.Limit))
	case "pagecount":
	case "fetch":
		c.fetch(t, s)
	case "write":
		mark(t, c.byKey[s.Key], s.Tag)
		c.note(t, s.Key, s.Tag, c.byKey[s.Key])
	case "unpin":
		p := c.byKey[s.Key]
		if s.Key == 0 {
			p = c.byTag[s.Tag] // SQLite names pages by address: so do its recordings
		}
		require.NoError(t, c.Unpin(p, plugin.DiscardStrategy(s.Discard)))
	case "rekey":
		require.NoError(t, c.Rekey(c.byKey[s.Key], s.Key, s.To))
		c.byKey[s.To] = c.byKey[s.Key]
	default:
		t.Fatalf("unknown operation %q", s.Op)
	}
	if s.Op != "destroy" {
		require.Equal(t, s.Count, count(t, c.Cache), "pages of cache %d", s.Cache)
	}
	for _, other := range s.Counts {
		require.Equal(t, other[1], count(t, r.caches[other[0]].Cache), "pages of cache %d", other[0])
	}
}

func (r *replay) create(s step) *traced {
	c := &traced{byKey: map[uint32]plugin.Page{}, byTag: map[uint32]plugin.Page{}, addresses: map[uint32]*byte{}}
	var err error
	if r.group != nil {
		c.Cache, err = r.group.Create(s.Page, s.Extra, s.Purgeable)
	} else {
		c.Cache, err = plugin.Create(r.mem, s.Page, s.Extra, s.Purgeable)
	}
	require.NoError(r.t, err)
	return c
}

// fetch compares the outcome: nothing, a page with a zero extra area, or the
// page with the expected content at its old address.
func (c *traced) fetch(t *testing.T, s step) {
	p, ok, err := c.Fetch(s.Key, plugin.CreateFlag(s.Flag))
	require.NoError(t, err)
	require.Equal(t, s.Result != "null", ok)
	if !ok {
		return
	}
	content, extra := areas(t, p)
	if s.Result == "new" {
		require.True(t, zero(extra), "extra area of a new page")
		mark(t, p, s.Tag)
	} else {
		require.Equal(t, "hit", s.Result)
		require.Equal(t, s.Tag, tagOf(t, p))
		require.Same(t, c.addresses[s.Tag], unsafe.SliceData(content))
	}
	c.note(t, s.Key, s.Tag, p)
}

func (c *traced) note(t *testing.T, key, tag uint32, p plugin.Page) {
	content, _ := areas(t, p)
	c.byKey[key], c.byTag[tag], c.addresses[tag] = p, p, unsafe.SliceData(content)
}

// end destroys what the trace left.
func (r *replay) end() {
	for _, c := range r.caches {
		require.NoError(r.t, c.Destroy())
	}
}
