package tiered_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/cas/dir"
	"github.com/kvferry/kvferry/cas/pack"
	"github.com/kvferry/kvferry/cas/tiered"
	"github.com/kvferry/kvferry/digest"
)

// trouble counts the operations on the files of near, far and the queue, and
// fails one of them, or that and all that follow, as for a process that died.
type trouble struct {
	ops   atomic.Int64
	at    int64 // counted from 1; 0 is none
	dead  bool
	fired atomic.Bool
	off   atomic.Bool // while the test itself asks
}

func (x *trouble) hook(op, _ string) error {
	if x.off.Load() {
		return nil
	}
	if x.dead && slices.Contains([]string{"stat", "readdir", "read", "open", "list", "flock"}, op) {
		// To die before one of them is to die before the next one that changes
		// something; the dead do not even read.
		if x.fired.Load() {
			return syscall.EIO
		}
		return nil
	}
	n := x.ops.Add(1)
	if x.at == 0 || n < x.at || n > x.at && !x.dead {
		return nil
	}
	x.fired.Store(true)
	return syscall.EIO
}

// disk is three directories that outlive their stores.
type disk struct {
	root string
	pack bool // near is a store of package pack, to which no trouble comes
}

func (d disk) near(x *trouble) (cas.Store, error) {
	path := filepath.Join(d.root, "near")
	if d.pack {
		return pack.Open(path, pack.Options{})
	}
	return dir.Open(path, dir.Options{Fault: x.hook, DropUnlisted: true})
}

// open opens the stores in them.
func (d disk) open(x *trouble) (s *tiered.Store, end func(), err error) {
	near, err := d.near(x)
	if err != nil {
		return nil, nil, err
	}
	far, err := dir.Open(filepath.Join(d.root, "far"), dir.Options{Fault: x.hook})
	if err != nil {
		return nil, nil, errors.Join(err, near.Close())
	}
	s, err = tiered.Open(context.Background(), tiered.Options{Mode: tiered.WriteBack, Near: near, Far: far, References: references,
		QueueDir: filepath.Join(d.root, "queue"), Fault: x.hook, Retry: time.Millisecond})
	if err != nil {
		return nil, nil, errors.Join(err, near.Close(), far.Close())
	}
	return s, func() {
		_ = s.Close() // a dead process ends nothing in order
		_ = near.Close()
		_ = far.Close()
	}, nil
}

// known is a catalog as far as the tests look: roots, and where names point.
type known struct {
	roots map[digest.Digest]bool
	names map[string]digest.Digest
}

func (k known) clone() known { return known{maps.Clone(k.roots), maps.Clone(k.names)} }

func (k known) equal(o known) bool {
	return maps.Equal(k.roots, o.roots) && maps.Equal(k.names, o.names)
}

func (k known) committed(root digest.Digest, names ...string) known {
	k = k.clone()
	k.roots[root] = true
	for _, name := range names {
		k.names[name] = root
	}
	return k
}

func (k known) dropped(root digest.Digest) known {
	k = k.clone()
	delete(k.roots, root)
	maps.DeleteFunc(k.names, func(_ string, r digest.Digest) bool { return r == root })
	return k
}

// String is short, for messages.
func (k known) String() string {
	var out []string
	for root := range k.roots {
		out = append(out, root.Hex()[:6])
	}
	for name, root := range k.names {
		out = append(out, name+"="+root.Hex()[:6])
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func knownOf(t *testing.T, s cas.Store) known {
	t.Helper()
	entries, err := s.Catalog().Entries(t.Context())
	require.NoError(t, err)
	k := known{map[digest.Digest]bool{}, map[string]digest.Digest{}}
	for _, e := range entries {
		k = k.committed(e.Root, e.Names...)
	}
	return k
}

// step is one step of the scenario, and what the catalog is after it. A commit
// that was cut off may also be seen without names.
type step struct {
	do    func(ctx context.Context, s *tiered.Store) error
	after known
	half  known
}

// scenario is commits that share blobs and take names from each other, changes
// of names, and drops, with copies in between.
func scenario() []step {
	k := known{map[digest.Digest]bool{}, map[string]digest.Digest{}}
	shared := noise(1, 700)
	var steps []step
	add := func(after known, do func(ctx context.Context, s *tiered.Store) error) {
		steps = append(steps, step{do: do, after: after, half: after})
		k = after
	}
	put := func(n int, name string) digest.Digest {
		blob := noise(uint64(10+n), 400)
		root := sum(manifest(shared, blob))
		half := k.committed(root)
		add(k.committed(root, name), func(ctx context.Context, s *tiered.Store) error {
			_, err := commit(ctx, s, n, []string{name}, shared, blob)
			return err
		})
		steps[len(steps)-1].half = half
		return root
	}
	drain := func() { add(k, func(ctx context.Context, s *tiered.Store) error { return s.Drain(ctx) }) }

	a := put(1, "x")
	b := put(2, "x")
	named := k.clone()
	named.names["y"] = a
	add(named, func(ctx context.Context, s *tiered.Store) error { return s.Catalog().SetName(ctx, "y", a) })
	drain()
	c := put(3, "z")
	add(k.dropped(b), func(ctx context.Context, s *tiered.Store) error {
		_, err := s.Catalog().Remove(ctx, "x")
		return err
	})
	put(1, "z") // a again, and the name of c
	add(k.dropped(c), func(ctx context.Context, s *tiered.Store) error { return s.Catalog().Drop(ctx, c) })
	add(k, func(ctx context.Context, s *tiered.Store) error {
		_, err := s.Collect(ctx, cas.CollectOptions{References: references(s)})
		return err
	})
	put(4, "w")
	add(k.dropped(a), func(ctx context.Context, s *tiered.Store) error { return s.Catalog().Drop(ctx, a) })
	drain()
	return steps
}

// play plays the scenario until a step fails, and returns the catalogs that
// may be seen from then on.
func play(ctx context.Context, s *tiered.Store) (may []known, err error) {
	last := known{map[digest.Digest]bool{}, map[string]digest.Digest{}}
	for i, x := range scenario() {
		if err := x.do(ctx, s); err != nil {
			return []known{last, x.half, x.after}, fmt.Errorf("step %d: %w", i, err)
		}
		last = x.after
	}
	return []known{last}, nil
}

// settled requires that the store shows one of the catalogs, whole, and that
// far has it in the end.
func settled(t *testing.T, d disk, may []known, what string) {
	t.Helper()
	far, err := dir.Open(filepath.Join(d.root, "far"), dir.Options{})
	require.NoError(t, err)
	require.NoError(t, whole(t.Context(), far), "%s: far shows half a snapshot", what)
	require.NoError(t, far.Close())

	s, end, err := d.open(&trouble{})
	require.NoError(t, err, what)
	defer end()
	now := knownOf(t, s)
	found := false
	for _, k := range may {
		found = found || k.equal(now)
	}
	require.True(t, found, "%s: the catalog is\n%v\nand may be\n%v", what, now, may)
	require.NoError(t, whole(t.Context(), s), what)
	require.NoError(t, s.Drain(t.Context()), what)
	require.True(t, now.equal(knownOf(t, s)), "%s: copying changed the catalog", what)
	_, err = s.Collect(t.Context(), cas.CollectOptions{References: references(s)})
	require.NoError(t, err, what)
	require.NoError(t, whole(t.Context(), s), what)
	require.Zero(t, s.State().QueuedChanges)
	end()
	far, err = dir.Open(filepath.Join(d.root, "far"), dir.Options{})
	require.NoError(t, err)
	require.True(t, now.equal(knownOf(t, far)), what)
	require.NoError(t, whole(t.Context(), far), what)
	require.NoError(t, far.Close())
}

// TestCrashAnywhere ends the process at every operation on files of the
// scenario: what was acknowledged is there and whole, what was not is whole or
// invisible. Every third time the process that goes on dies too.
func TestCrashAnywhere(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 5))
	crashes := sweep(t, 13, 1, func(t *testing.T, k int64) bool {
		d, x := disk{root: t.TempDir()}, &trouble{at: k, dead: true}
		may := []known{{}}
		s, end, err := d.open(x)
		if err == nil {
			may, _ = play(t.Context(), s) // the error is the death
			end()
		}
		if k%3 == 0 {
			again := &trouble{at: 1 + r.Int64N(120), dead: true}
			if s, end, err := d.open(again); err == nil {
				_ = s.Drain(t.Context()) // as far as it comes
				end()
			}
		}
		settled(t, d, may, fmt.Sprintf("crash at operation %d", k))
		return x.fired.Load()
	})
	t.Logf("%d crashes", crashes)
}

// TestFaultAnywhere fails one operation, at each place: nothing acknowledged
// is lost, a step says when it was not done, and the store goes on or says why
// not.
func TestFaultAnywhere(t *testing.T) {
	t.Parallel()
	faults := sweep(t, 23, 1, func(t *testing.T, k int64) bool {
		d, x := disk{root: t.TempDir()}, &trouble{at: k}
		may := []known{{}}
		s, end, err := d.open(x)
		if err == nil {
			may, err = play(t.Context(), s)
			if err == nil { // the store made up for it
				x.off.Store(true)
				now := knownOf(t, s)
				x.off.Store(false)
				require.True(t, may[0].equal(now), "operation %d failed: the catalog is\n%v\nand should be\n%v", k, now, may[0])
			} else if derr := s.Drain(t.Context()); derr != nil {
				require.ErrorIs(t, derr, kvferry.ErrPoisoned, "after %v", err)
			}
			end()
		}
		settled(t, d, may, fmt.Sprintf("operation %d failed", k))
		return x.fired.Load()
	})
	t.Logf("%d faults", faults)
}

// sweep runs the scenario with trouble at ever later operations, until there
// are no more, and returns how often there was. KVFERRY_SOAK=1 leaves out fewer.
func sweep(t *testing.T, stride, soaking int64, run func(t *testing.T, k int64) bool) (fired int) {
	if soak := os.Getenv("KVFERRY_SOAK"); soak != "" && soak != "0" {
		stride = soaking
	}
	for k := int64(1); ; k += stride {
		if !run(t, k) {
			return fired
		}
		fired++
	}
}
