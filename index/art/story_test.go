package art_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"

	"github.com/kvferry/kvferry/index"
	"github.com/kvferry/kvferry/index/art"
	"github.com/kvferry/kvferry/index/indextest"
	"github.com/kvferry/kvferry/internal/vfs"
)

// small makes snapshots often.
var small = art.Options{CompactBytes: 1500}

// story is what was done to an index, and what of it was acknowledged: after a
// crash the index holds what some first part of the calls made, which is no
// shorter than what is durable. Calls that failed may count or not.
type story struct {
	mu      sync.Mutex
	states  []string // after each call that was begun, the last of which may be under way
	durable int      // states before this one are in the past for good
	acked   int      // calls that returned
}

// picture is a state as text.
func picture(t interface{ Context() context.Context }, x index.Reader) (string, error) {
	var b strings.Builder
	_, err := x.Snapshot(t.Context(), func(r *index.Record) error {
		_, err := fmt.Fprintf(&b, "%q %q %q %d %d %d %s %v %d %d %d %v\n",
			r.Model+"|"+r.Tenant+r.Adapter.String(), r.Prefix, r.Hash, r.Index, r.Group, r.Tokens, r.Worker, r.Tier, r.Bytes, r.LastAccess, r.Refs, r.Pinned)
		return err
	})
	return b.String(), err
}

type contextual struct{ ctx context.Context }

func (c contextual) Context() context.Context { return c.ctx }

// rules under which nothing is stale, so that what is seen is all that there is.
func plain(o art.Options) art.Options {
	o.Rules = index.AsMemory
	return o
}

// doing is one call of a story.
type doing func(ctx context.Context, x index.Index) error

// calls are some of all kinds, as the dice fall.
func calls(seed uint64, n int) []doing {
	dice := rand.New(rand.NewPCG(seed, 7))
	pick := func(of ...string) string { return of[dice.IntN(len(of))] }
	record := func() index.Record {
		return index.Record{
			Key: index.Key{
				Scope:  index.Scope{Model: pick("m", "m\x00"), Tenant: pick("", "a", "b")},
				Prefix: pick("root", "", "h1", "a\x00b"), Hash: pick("h1", "h2", "h3", strings.Repeat("x", 300), "\x00"), Index: uint32(dice.IntN(3)),
			},
			Worker: pick("w0", "w1", "w2"), Tier: index.Tier(1 + dice.IntN(5)), Bytes: uint64(dice.IntN(1000)), LastAccess: uint64(dice.IntN(100)),
		}
	}
	all := make([]doing, n)
	for i := range all {
		switch k := dice.IntN(20); {
		case k < 12:
			rs := make([]index.Record, 1+dice.IntN(3))
			for i := range rs {
				rs[i] = record()
			}
			all[i] = func(ctx context.Context, x index.Index) error { return x.Put(ctx, rs) }
		case k < 15:
			r := record()
			m := index.Removal{Scope: r.Scope, Worker: r.Worker, Hash: r.Hash}
			all[i] = func(ctx context.Context, x index.Index) error {
				_, err := x.Remove(ctx, []index.Removal{m})
				return err
			}
		case k < 16:
			w := pick("w0", "w1", "w2")
			all[i] = func(ctx context.Context, x index.Index) error {
				_, err := x.ClearWorker(ctx, w)
				return err
			}
		case k < 17:
			w, v := pick("w0", "w1"), uint64(1+dice.IntN(2))
			all[i] = func(ctx context.Context, x index.Index) error { return x.Announce(ctx, w, v) }
		case k < 18:
			v := uint64(dice.IntN(60))
			all[i] = func(ctx context.Context, x index.Index) error {
				_, err := x.Expire(ctx, v)
				return err
			}
		case k < 19 && dice.IntN(8) == 0:
			all[i] = func(ctx context.Context, x index.Index) error { return x.Clear(ctx) }
		default:
			all[i] = func(ctx context.Context, x index.Index) error { return x.Flush(ctx) }
		}
	}
	return all
}

// tell makes calls on an index, and notes what a model holds after each.
func (s *story) tell(ctx context.Context, x *art.Index, all []doing, sync bool) error {
	m := indextest.NewModel(plain(small).Options)
	s.add("")
	for i, do := range all {
		if err := do(ctx, m); err != nil {
			return err
		}
		p, err := picture(contextual{ctx}, m)
		if err != nil {
			return err
		}
		s.add(p)
		if err := do(ctx, x); err != nil {
			return err
		}
		s.mu.Lock()
		s.acked = i + 1
		if flushed(all[i]) || sync {
			s.durable = i + 1
		}
		s.mu.Unlock()
	}
	return nil
}

func (s *story) add(p string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.states = append(s.states, p)
}

// flushed is told apart by what it does to an index that counts.
func flushed(do doing) bool {
	c := &flushes{}
	_ = do(context.Background(), c)
	return c.n > 0
}

type flushes struct {
	index.Index
	n int
}

func (c *flushes) Flush(context.Context) error                          { c.n++; return nil }
func (c *flushes) Put(context.Context, []index.Record) error            { return nil }
func (c *flushes) Remove(context.Context, []index.Removal) (int, error) { return 0, nil }
func (c *flushes) ClearWorker(context.Context, string) (int, error)     { return 0, nil }
func (c *flushes) Clear(context.Context) error                          { return nil }
func (c *flushes) Announce(context.Context, string, uint64) error       { return nil }
func (c *flushes) Expire(context.Context, uint64) (int, error)          { return 0, nil }

// crash is check of what a power failure leaves now.
func (s *story) crash(ctx context.Context, d *vfs.Disk, c vfs.CrashOptions) error {
	s.mu.Lock()
	least := s.durable // before the crash: others go on
	s.mu.Unlock()
	return s.check(ctx, d.Crash(c), least)
}

// check opens what is on a disk, twice, and looks for it in the story, from a
// state on.
func (s *story) check(ctx context.Context, d *vfs.Disk, least int) error {
	s.mu.Lock()
	states := slices.Clone(s.states)
	s.mu.Unlock()
	first := ""
	for again := range 2 {
		o := plain(small)
		o.FS = d.Process()
		x, err := art.Open(ctx, "disk", o)
		if err != nil {
			return err
		}
		got, err := picture(contextual{ctx}, x)
		if err == nil {
			err = art.Check(x)
		}
		if err = errors.Join(err, x.Close()); err != nil {
			return err
		}
		if again > 0 && got != first {
			return fmt.Errorf("opened again it is %s, it was %s", got, first)
		}
		first = got
		if len(states) == 0 && got == "" {
			continue
		}
		if !slices.Contains(states[least:], got) {
			return fmt.Errorf("none of the states from %d of %d: %s", least, len(states), got)
		}
	}
	for name := range d.Files() {
		if strings.HasSuffix(name, ".new") {
			return fmt.Errorf("%s is left over", name)
		}
	}
	return nil
}
