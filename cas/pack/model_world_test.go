package pack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/internal/vfs"
)

// modelSoak is how much longer than in its short form a test runs, or 0 in that.
func modelSoak(t testing.TB) int {
	n, err := strconv.Atoi("0" + os.Getenv("KVFERRY_SOAK"))
	require.NoError(t, err)
	return n
}

// modelBlobs are what the model test puts, by number; manifests come on top.
const modelBlobs = 240

// modelBlob returns a content that depends on the number alone: most are small,
// a few take several blocks, and some are nothing but one byte.
func modelBlob(i int) []byte {
	r := rand.New(rand.NewPCG(uint64(i), 0x6d6f64656c))
	n := 40 + r.IntN(600)
	switch i % 12 {
	case 3, 7:
		n = 3000 + r.IntN(6000)
	case 11:
		n = 30000 + r.IntN(20000)
	}
	p := make([]byte, n)
	for k := range p {
		if i%12 == 7 {
			p[k] = byte(i)
		} else {
			p[k] = byte(r.Uint32())
		}
	}
	return p
}

var modelHasher = sync.OnceValue(func() *digest.Hasher {
	h, err := digest.NewHasher(digest.BLAKE3, nil)
	if err != nil {
		panic(err) // without a key it cannot fail
	}
	return h
})

var modelHashMu sync.Mutex

func modelSum(p []byte) digest.Digest {
	modelHashMu.Lock()
	defer modelHashMu.Unlock()
	return modelHasher().Sum(p)
}

// modelManifest lists blobs, one a line, below a number that makes it unique.
func modelManifest(n uint64, refs []digest.Digest) []byte {
	var b bytes.Buffer
	fmt.Fprintln(&b, n)
	for _, d := range refs {
		fmt.Fprintln(&b, d)
	}
	return b.Bytes()
}

func modelRefs(manifest []byte) ([]digest.Digest, error) {
	lines := strings.Fields(string(manifest))
	var out []digest.Digest
	for _, l := range lines[1:] {
		d, err := digest.Parse(l)
		if err != nil {
			return nil, err
		}
		out = append(out, d)
	}
	return out, nil
}

// modelReferences tells what a snapshot needs, from what the store has of it.
func modelReferences(s cas.Store) cas.References {
	return func(ctx context.Context, e cas.Entry, visit func(digest.Digest) error) error {
		r, err := cas.NewReader(s, nil)
		if err != nil {
			return err
		}
		manifest, err := r.KeepDamaged().ReadAll(ctx, e.Root, 1<<20)
		if err != nil {
			return err
		}
		refs, err := modelRefs(manifest)
		if err != nil {
			return err
		}
		for _, d := range append(refs, e.Root) {
			if err := visit(d); err != nil {
				return err
			}
		}
		return nil
	}
}

// modelCatalog is what a catalog should hold.
type modelCatalog struct {
	snapshots map[digest.Digest]cas.Entry // without names
	names     map[string]digest.Digest
}

func (c modelCatalog) clone() modelCatalog {
	return modelCatalog{maps.Clone(c.snapshots), maps.Clone(c.names)}
}

func (c modelCatalog) forget(root digest.Digest) {
	delete(c.snapshots, root)
	maps.DeleteFunc(c.names, func(_ string, r digest.Digest) bool { return r == root })
}

// entries returns the catalog as cas.Catalog.Entries should.
func (c modelCatalog) entries() []cas.Entry {
	out := make([]cas.Entry, 0, len(c.snapshots))
	for _, e := range c.snapshots {
		for name, root := range c.names {
			if root == e.Root {
				e.Names = append(e.Names, name)
			}
		}
		slices.Sort(e.Names)
		out = append(out, e)
	}
	slices.SortFunc(out, func(a, b cas.Entry) int {
		if n := a.Created.Compare(b.Created); n != 0 {
			return n
		}
		return a.Root.Compare(b.Root)
	})
	return out
}

// modelSession is a session and what it holds.
type modelSession struct {
	cas.Session
	class   cas.Class
	lease   time.Duration
	used    time.Time
	held    map[digest.Digest]bool
	flushed map[digest.Digest]bool // other processes see these
}

// modelMember is one of the processes that use the disk.
type modelMember struct {
	proc     *vfs.Process
	s        *Store
	sessions []*modelSession
}

// modelWorld is a disk that two processes use, and what should be on it.
type modelWorld struct {
	t       *testing.T
	r       *rand.Rand
	disk    *vfs.Disk
	members []*modelMember
	seconds atomic.Int64
	unique  uint64

	cat     modelCatalog
	next    modelCatalog // if the operation that runs succeeds
	content map[digest.Digest][]byte
	pool    []digest.Digest
	cached  map[digest.Digest]time.Time // put into the cache, lately then

	fuse   atomic.Int64 // operations of the disk until something happens
	armed  *modelMember // ... to this process
	counts map[string]int
}

func newModelWorld(t *testing.T, seed uint64) *modelWorld {
	w := &modelWorld{
		t: t, r: rand.New(rand.NewPCG(seed, 1)), disk: vfs.NewDisk(),
		cat:     modelCatalog{map[digest.Digest]cas.Entry{}, map[string]digest.Digest{}},
		content: map[digest.Digest][]byte{}, cached: map[digest.Digest]time.Time{}, counts: map[string]int{},
	}
	w.seconds.Store(1_700_000_000)
	for i := range modelBlobs {
		p := modelBlob(i)
		d := modelSum(p)
		w.content[d] = p
		w.pool = append(w.pool, d)
	}
	for range 2 {
		m := &modelMember{}
		w.open(m)
		w.members = append(w.members, m)
	}
	return w
}

func (w *modelWorld) now() time.Time { return time.Unix(w.seconds.Load(), 0) }

const (
	modelCacheBytes = 512 << 10
	modelCacheTTL   = time.Hour
)

func (w *modelWorld) options(fs vfs.FS) Options {
	return Options{
		fs: fs, Clock: w.now, PackBytes: minPackBytes, BufferBytes: 16 << 10, CacheBytes: modelCacheBytes, CacheTTL: modelCacheTTL,
		logBytes: 48 << 10, shortLogBytes: 24 << 10,
	}
}

// open opens the store in a new process.
func (w *modelWorld) open(m *modelMember) {
	m.proc = w.disk.Process()
	s, err := Open("model", w.options(m.proc))
	require.NoError(w.t, err)
	m.s, m.sessions = s, nil
}

// failed reports whether an operation failed as it may when a fuse went off.
func (w *modelWorld) failed(m *modelMember, err error, what string) bool {
	if err == nil {
		return false
	}
	require.True(w.t, w.dead(m), "%s: %v", what, err)
	return true
}

// dead reports whether the process was killed in the middle of an operation.
func (w *modelWorld) dead(m *modelMember) bool { return w.armed == m && w.fuse.Load() <= 0 }

// live reports whether the session's lease has not run out.
func (w *modelWorld) live(x *modelSession) bool { return w.now().Sub(x.used) <= x.lease }

// needed returns what the catalog's snapshots need.
func (w *modelWorld) needed() map[digest.Digest]bool { return w.neededBy(w.cat) }

func (w *modelWorld) neededBy(c modelCatalog) map[digest.Digest]bool {
	out := map[digest.Digest]bool{}
	for root := range c.snapshots {
		out[root] = true
		refs, err := modelRefs(w.content[root])
		require.NoError(w.t, err)
		for _, d := range refs {
			out[d] = true
		}
	}
	return out
}

// mustHave reports whether the store of m must have d.
func (w *modelWorld) mustHave(m *modelMember, d digest.Digest, needed map[digest.Digest]bool) bool {
	if needed[d] {
		return true
	}
	for _, o := range w.members {
		for _, x := range o.sessions {
			if w.live(x) && x.class == cas.Snapshot && (x.flushed[d] || o == m && x.held[d]) {
				return true
			}
		}
	}
	return false
}

// mayHave reports whether a store may have d after a collection by m.
func (w *modelWorld) mayHave(m *modelMember, d digest.Digest, needed map[digest.Digest]bool) bool {
	if at, ok := w.cached[d]; needed[d] || ok && w.now().Sub(at) < modelCacheTTL {
		return true
	}
	for _, o := range w.members {
		for _, x := range o.sessions {
			grace := x.lease/2 + time.Second // a file says half a lease more
			if o == m {
				grace = 0
			}
			if x.held[d] && w.now().Sub(x.used) <= x.lease+grace {
				return true
			}
		}
	}
	return false
}

// look requires that a store gives d's bytes, or that it need not have d.
func (w *modelWorld) look(m *modelMember, d digest.Digest, must bool, got []byte, err error) {
	switch {
	case err == nil:
		require.True(w.t, bytes.Equal(w.content[d], got), "the bytes of %v", d)
	case errors.Is(err, kvferry.ErrNotFound):
		require.False(w.t, must && !w.dead(m), "%v is missing", d)
	default:
		w.failed(m, err, fmt.Sprintf("get %v", d))
	}
}

// wantSame requires that every store has the catalog and all that it needs.
func (w *modelWorld) wantSame() {
	needed := w.needed()
	for _, m := range w.members {
		w.wantCatalog(m, w.cat)
		r, err := cas.NewReader(m.s, nil)
		require.NoError(w.t, err)
		var reqs []cas.Request
		for d := range needed {
			reqs = append(reqs, cas.Request{Digest: d, Dst: make([]byte, len(w.content[d]))})
		}
		require.NoError(w.t, r.GetBatch(context.Background(), reqs))
		for _, q := range reqs {
			w.look(m, q.Digest, true, q.Dst[:q.N], q.Err)
		}
	}
}

func (w *modelWorld) wantCatalog(m *modelMember, c modelCatalog) {
	got, err := m.s.Catalog().Entries(context.Background())
	require.NoError(w.t, err)
	require.Equal(w.t, c.entries(), append([]cas.Entry{}, got...))
}
