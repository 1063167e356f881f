package pack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"time"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/digest"
)

// The test binary runs itself as another process with these variables.
const (
	childRoot = "KVFERRY_TEST_PACK_CHILD"
	childJob  = "KVFERRY_TEST_PACK_JOB"
	childSeed = "KVFERRY_TEST_PACK_SEED"
)

// What each writer says, a line each, with a full stop so that nobody believes
// half a line. It says what it is about to do, and that it was done.
const (
	sayCommit    = "commit"
	sayCommitted = "committed"
	sayDrop      = "drop"
	sayDropped   = "dropped"
	sayDone      = "done" // something else worth counting
	sayError     = "error"
)

func say(word string, args ...any) { fmt.Println(append(append([]any{word}, args...), ".")...) }

// RunChild runs this process as a child of a test, if it is one, until it is
// killed or something is wrong, which it says.
func RunChild() bool {
	root := os.Getenv(childRoot)
	if root == "" {
		return false
	}
	var seed uint64
	if _, err := fmt.Sscan(os.Getenv(childSeed), &seed); err != nil {
		say(sayError, err)
		return true
	}
	c := &child{root: root, r: rand.New(rand.NewPCG(seed, 3)), say: say}
	jobs := map[string]func(context.Context) error{
		"writer0": func(ctx context.Context) error { return c.write(ctx, 0) },
		"writer1": func(ctx context.Context) error { return c.write(ctx, 1) },
		"reader":  c.read,
		"collect": c.collect,
	}
	for {
		if err := jobs[os.Getenv(childJob)](context.Background()); err != nil {
			say(sayError, strings.ReplaceAll(err.Error(), "\n", "; "))
			return true
		}
	}
}

// childOptions make everything happen often.
func childOptions() Options {
	return Options{PackBytes: 256 << 10, BufferBytes: 32 << 10, CacheBytes: 1 << 20, logBytes: 64 << 10, shortLogBytes: 32 << 10}
}

// child is a process that uses the store.
type child struct {
	root string
	r    *rand.Rand
	s    *Store
	say  func(word string, args ...any)
}

// open opens the store for one round of the job.
func (c *child) open(o Options) (err error) {
	c.s, err = Open(c.root, o)
	return err
}

// write commits and drops snapshots for a while, then closes the store.
func (c *child) write(ctx context.Context, number int) error {
	if err := c.open(childOptions()); err != nil {
		return err
	}
	own, err := c.own(ctx, number)
	if err != nil {
		return err
	}
	for range 20 + c.r.IntN(60) {
		switch {
		case len(own) > 12 || len(own) > 4 && c.r.IntN(3) == 0:
			i := c.r.IntN(len(own))
			err = c.drop(ctx, own[i])
			own = append(own[:i], own[i+1:]...)
		case number == 1 && c.r.IntN(3) == 0:
			err = c.cache(ctx)
		default:
			var root digest.Digest
			if root, err = c.commit(ctx, number); root.Valid() {
				own = append(own, root)
			}
		}
		if err != nil {
			return err
		}
	}
	return c.s.Close()
}

// own lists the snapshots that the writer of this number made, also before it
// was killed.
func (c *child) own(ctx context.Context, number int) ([]digest.Digest, error) {
	entries, err := c.s.Catalog().Entries(ctx)
	var own []digest.Digest
	for _, e := range entries {
		if e.Sequences == int64(number) {
			own = append(own, e.Root)
		}
	}
	return own, err
}

// commit makes a snapshot of blobs that others have, too, and of some that
// nobody else has; now and then it gives up.
func (c *child) commit(ctx context.Context, number int) (root digest.Digest, err error) {
	x, err := c.s.Begin(ctx, cas.SessionOptions{Owner: fmt.Sprintf("writer %d", number)})
	if err != nil {
		return root, err
	}
	defer func() { err = errors.Join(err, x.Abort(ctx)) }()
	var refs []digest.Digest
	from := c.r.IntN(modelBlobs)
	for i := range 1 + c.r.IntN(30) {
		p := modelBlob((from + i) % modelBlobs)
		if c.r.IntN(3) == 0 {
			p = modelBlob(modelBlobs + int(c.r.Uint32()>>4))
		}
		d := modelSum(p)
		if err := c.need(ctx, x, d, p); err != nil {
			return root, err
		}
		refs = append(refs, d)
		if c.r.IntN(40) == 0 {
			if err := x.Flush(ctx); err != nil {
				return root, err
			}
		}
	}
	if c.r.IntN(8) == 0 {
		return root, nil
	}
	manifest := modelManifest(c.r.Uint64(), refs)
	d := modelSum(manifest)
	if _, err := x.Put(ctx, d, manifest); err != nil {
		return root, err
	}
	e := cas.Entry{Root: d, Format: cas.FormatNative, Created: time.Now().UTC(), Sequences: int64(number)}
	e.Names = []string{fmt.Sprintf("writer-%d", number), fmt.Sprintf("some-%d", c.r.IntN(3))}
	c.say(sayCommit, d)
	if err := x.Commit(ctx, e); err != nil {
		return root, err
	}
	c.say(sayCommitted, d)
	return d, nil
}

// need makes a session hold a blob, which then must be there.
func (c *child) need(ctx context.Context, x cas.Session, d digest.Digest, p []byte) error {
	has, err := x.Has(ctx, d)
	if err != nil {
		return err
	}
	if !has {
		if _, err := x.Put(ctx, d, p); err != nil {
			return err
		}
	}
	if c.r.IntN(4) > 0 {
		return nil
	}
	return c.want(ctx, d, p)
}

func (c *child) want(ctx context.Context, d digest.Digest, p []byte) error {
	buf := make([]byte, len(p))
	if _, err := c.s.Get(ctx, d, buf); err != nil {
		return err
	}
	if !bytes.Equal(p, buf) {
		return fmt.Errorf("the bytes of %v are others", d)
	}
	return nil
}

func (c *child) drop(ctx context.Context, root digest.Digest) error {
	c.say(sayDrop, root)
	if err := c.s.Catalog().Drop(ctx, root); err != nil {
		return err
	}
	c.say(sayDropped, root)
	return nil
}

// cache puts blobs into the cache and reads others from it.
func (c *child) cache(ctx context.Context) (err error) {
	x, err := c.s.Begin(ctx, cas.SessionOptions{Class: cas.Cache, Owner: "cache"})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, x.Abort(ctx)) }()
	from := c.r.IntN(2000)
	for i := range 20 {
		p := modelBlob(from + i)
		if _, err := x.Put(ctx, modelSum(p), p); err != nil && !errors.Is(err, kvferry.ErrQuota) {
			return err
		}
		p = modelBlob(c.r.IntN(2000))
		if err := c.want(ctx, modelSum(p), p); err != nil && !errors.Is(err, kvferry.ErrNotFound) {
			return err
		}
	}
	c.say(sayDone)
	return x.Flush(ctx)
}

// collect collects a few times.
func (c *child) collect(ctx context.Context) error {
	if err := c.open(childOptions()); err != nil {
		return err
	}
	for range 1 + c.r.IntN(20) {
		_, err := c.s.Collect(ctx, cas.CollectOptions{References: modelReferences(c.s), DryRun: c.r.IntN(8) == 0})
		if err != nil {
			return err
		}
		c.say(sayDone)
	}
	return c.s.Close()
}

// read reads snapshots that stay in the catalog.
func (c *child) read(ctx context.Context) error {
	o := childOptions()
	o.ReadOnly = c.r.IntN(2) == 0
	if err := c.open(o); err != nil {
		return err
	}
	r, err := cas.NewReader(c.s, nil)
	if err != nil {
		return err
	}
	for range 1 + c.r.IntN(40) {
		entries, err := c.s.Catalog().Entries(ctx)
		if err != nil {
			return err
		}
		if len(entries) == 0 {
			continue
		}
		e := entries[c.r.IntN(len(entries))]
		if err := readWhole(ctx, r, e.Root); err != nil && c.listed(ctx, e.Root) {
			return fmt.Errorf("snapshot %v (read-only: %t): %w", e.Root, o.ReadOnly, err)
		}
		c.say(sayDone)
	}
	return c.s.Close()
}

func (c *child) listed(ctx context.Context, root digest.Digest) bool {
	entries, err := c.s.Catalog().Entries(ctx)
	for _, e := range entries {
		if e.Root == root {
			return true
		}
	}
	return err != nil
}

// readWhole reads a snapshot and all that it lists.
func readWhole(ctx context.Context, r *cas.Reader, root digest.Digest) error {
	manifest, err := r.ReadAll(ctx, root, 1<<20)
	if err != nil {
		return err
	}
	refs, err := modelRefs(manifest)
	if err != nil {
		return err
	}
	reqs := make([]cas.Request, len(refs))
	for i, d := range refs {
		reqs[i] = cas.Request{Digest: d, Dst: make([]byte, 64<<10)}
	}
	if err := r.GetBatch(ctx, reqs); err != nil {
		return err
	}
	for _, q := range reqs {
		if q.Err != nil {
			return q.Err
		}
	}
	return nil
}
