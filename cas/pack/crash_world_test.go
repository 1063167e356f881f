package pack

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/internal/vfs"
)

// crashCatalog is a catalog as it must be.
type crashCatalog struct {
	snaps map[digest.Digest]time.Time // when they were created
	names map[string]digest.Digest
}

func (c crashCatalog) clone() crashCatalog {
	return crashCatalog{maps.Clone(c.snaps), maps.Clone(c.names)}
}

func (c crashCatalog) drop(root digest.Digest) {
	delete(c.snaps, root)
	maps.DeleteFunc(c.names, func(_ string, r digest.Digest) bool { return r == root })
}

// entries returns the catalog as a store lists it.
func (c crashCatalog) entries() []cas.Entry {
	var out []cas.Entry
	for root, created := range c.snaps {
		e := cas.Entry{Root: root, Format: cas.FormatNative, Created: created}
		for name, r := range c.names {
			if r == root {
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

// crashText is what tells one catalog from another.
func crashText(list []cas.Entry) string {
	var b strings.Builder
	for _, e := range list {
		fmt.Fprintf(&b, "%v of %d as %q\n", e.Root, e.Created.UnixNano(), e.Names)
	}
	return b.String()
}

// crashHost is a process that uses the store, with its open sessions.
type crashHost struct {
	p        *vfs.Process
	s        *Store
	sessions []*crashSession
}

type crashSession struct {
	x    cas.Session
	held []digest.Digest
}

// crashWorld is a disk with the processes that use it, and what they were told
// to be done. One goroutine drives it.
type crashWorld struct {
	dice  *rand.Rand
	clock atomic.Int64
	hosts [2]*crashHost
	blob  uint64 // counts those that were made
	notes map[string]int

	mu     sync.Mutex // held while the power fails and what is left is looked at
	disk   *vfs.Disk
	made   bool           // the store was opened once
	maybe  []crashCatalog // what the catalog was when the last call returned: one of these
	flight []func(crashCatalog)
	plain  map[digest.Digest][]byte
	cached []digest.Digest
	known  []digest.Digest        // those that are put for snapshots
	hurt   map[digest.Digest]bool // damaged on purpose
}

func newCrashWorld(seed uint64) *crashWorld {
	w := &crashWorld{
		dice: rand.New(rand.NewPCG(seed, 0)), disk: vfs.NewDisk(), notes: map[string]int{},
		maybe: []crashCatalog{{map[digest.Digest]time.Time{}, map[string]digest.Digest{}}},
		plain: map[digest.Digest][]byte{}, hurt: map[digest.Digest]bool{},
	}
	w.clock.Store(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).UnixNano())
	return w
}

func (w *crashWorld) now() time.Time { return time.Unix(0, w.clock.Load()).UTC() }

// options make everything small, so that packs fill and the cache evicts.
func (w *crashWorld) options(p *vfs.Process) Options {
	return Options{
		fs: p, Clock: w.now, PackBytes: minPackBytes, BufferBytes: 2 * vfs.BlockBytes, CacheBytes: 3 * minPackBytes,
		RepackDead: crashDead,
	}
}

// crashDead is the dead share of a pack that collections tolerate.
const crashDead = 0.2

// allowed returns the catalogs that there may be after a power failure now. The
// caller holds mu.
func (w *crashWorld) allowed() map[string]crashCatalog {
	out := map[string]crashCatalog{}
	for _, base := range w.maybe {
		for mask := range 1 << len(w.flight) {
			c := base.clone()
			for i, change := range w.flight {
				if mask>>i&1 == 1 {
					change(c)
				}
			}
			out[crashText(c.entries())] = c
		}
	}
	return out
}

// attempt makes a call that changes the catalog.
func (w *crashWorld) attempt(change func(crashCatalog), call func() error) error {
	w.mu.Lock()
	at := len(w.flight)
	w.flight = append(w.flight, change)
	w.mu.Unlock()
	err := call()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.flight = w.flight[:at]
	for _, c := range w.maybe {
		change(c)
	}
	return err
}

// the returns the catalog, which is known between calls.
func (w *crashWorld) the() crashCatalog { return w.maybe[0] }

// knows adds a blob that was put. A lane looks at what is left by a power failure
// from a goroutine of its own when it begins another pack.
func (w *crashWorld) knows(d digest.Digest) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.known = append(w.known, d)
}

// make returns a blob that there was not before.
func (w *crashWorld) make() (digest.Digest, []byte) {
	w.blob++
	n := w.dice.IntN(9000)
	if w.dice.IntN(10) == 0 {
		n = w.dice.IntN(3)
	}
	p := make([]byte, 0, n+16)
	p = binary.LittleEndian.AppendUint64(p, w.blob)
	if w.dice.IntN(4) == 0 { // one that can be made shorter
		p = append(p, strings.Repeat("pages of text", n/13)...)
	}
	for len(p) < n {
		p = binary.LittleEndian.AppendUint64(p, w.dice.Uint64())
	}
	return w.name(p), p
}

// name returns the digest of p.
func (w *crashWorld) name(p []byte) digest.Digest {
	d := crashSum(p)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.plain[d] = p
	return d
}

func crashSum(p []byte) digest.Digest {
	h, err := digest.NewHasher(digest.BLAKE3, nil)
	if err != nil {
		panic(err) // without a key it cannot fail
	}
	return h.Sum(p)
}

// crashRoot returns the blob of a snapshot that names others.
func crashRoot(held []digest.Digest) []byte {
	p := binary.LittleEndian.AppendUint64(nil, 1<<63)
	for _, d := range held {
		sum := d.Sum()
		p = append(append(p, byte(d.Algorithm())), sum[:]...)
	}
	return p
}

// crashReferences reads which blobs a snapshot names.
func crashReferences(s *Store) cas.References {
	return func(ctx context.Context, e cas.Entry, visit func(digest.Digest) error) error {
		list, err := crashNamed(ctx, s, e.Root)
		for _, d := range append(list, e.Root) {
			if err == nil {
				err = visit(d)
			}
		}
		return err
	}
}

func crashNamed(ctx context.Context, s *Store, root digest.Digest) ([]digest.Digest, error) {
	p, err := crashRead(ctx, s, root)
	if err != nil {
		return nil, err
	}
	var out []digest.Digest
	for p = p[8:]; len(p) > 0; p = p[sumBytes:] {
		out = append(out, digest.New(digest.Algorithm(p[0]), [digest.Size]byte(p[1:sumBytes])))
	}
	return out, nil
}

// crashRead reads a blob and checks it against its digest.
func crashRead(ctx context.Context, s *Store, d digest.Digest) ([]byte, error) {
	r, err := cas.NewReader(s, nil)
	if err != nil {
		return nil, err
	}
	return r.KeepDamaged().ReadAll(ctx, d, 64<<10)
}

// start opens the store on host i, and goes on with what a power failure left.
func (w *crashWorld) start(i int) error {
	p := w.disk.Process()
	s, err := Open("store", w.options(p))
	if err != nil {
		return err
	}
	w.hosts[i] = &crashHost{p: p, s: s}
	list, _ := s.st().entries()
	w.mu.Lock()
	defer w.mu.Unlock()
	found, ok := w.allowed()[crashText(list)]
	if !ok {
		return fmt.Errorf("opened with the catalog\n%s", crashText(list))
	}
	w.maybe, w.made = []crashCatalog{found}, true
	return nil
}

// kill ends a process as SIGKILL does.
func (w *crashWorld) kill(i int) {
	h := w.hosts[i]
	h.p.Kill()
	_ = h.s.Close() // it has no files any more
}

// power fails: all processes are gone, and the disk has what it has.
func (w *crashWorld) power(c vfs.CrashOptions, hook func(op, path string)) error {
	w.mu.Lock()
	was := w.disk
	w.disk = was.Crash(c)
	w.disk.Before(hook)
	was.Before(nil)
	w.mu.Unlock()
	for i := range w.hosts {
		w.kill(i)
	}
	return errors.Join(w.start(0), w.start(1))
}

// crashMiss is what may become of a blob of the cache.
func crashMiss(err error) bool { return errors.Is(err, kvferry.ErrNotFound) }
