package pack

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/kvferry/kvferry"
)

// room says which part of the room that the log keeps a request may use: on a
// full disk there is room for saying what frees room.
type room uint8

const (
	spends   room = iota // none of it
	prepares             // half of it: what it prepares takes as much again
	frees                // all of it
)

// The log keeps room for saying of each blob twice that it goes, within bounds.
const (
	goneBytes    = 80
	minKeepBytes = 64 << 10
	maxKeepBytes = 1 << 20
)

// keep returns how much of the room in the log a request leaves to others.
func (s *Store) keep(r room) int64 {
	all := min(max(s.st().table.Len()*goneBytes, minKeepBytes), maxKeepBytes)
	switch r {
	case spends:
		return all
	case prepares:
		return all / 2
	}
	return 1
}

// freeing does those requests of a step that failed that make room: they need
// nothing of what failed. It returns the others.
func (c *committer) freeing(ctx context.Context, group []*request) (others []*request) {
	var able []*request
	for _, r := range group {
		if r.room == spends || r.flush || r.err != nil {
			others = append(others, r)
		} else {
			able = append(able, r)
		}
	}
	if len(able) == 0 {
		return others
	}
	err := c.write(ctx, able, [2]bool{})
	for _, r := range able {
		if r.err == nil {
			r.err = err
		}
	}
	return others
}

// fewBlobs is how many blobs a transaction names when there is little room.
const fewBlobs = 256

// piece is some of the garbage of one pack.
type piece struct {
	p    *packInfo
	list []stored
}

// pieces visits the garbage in as few parts as fit a transaction, since between
// one and the next the log may be replaced, and then all begins anew. What the
// log has no room for is none of the garbage of this round.
func (c *collection) pieces(visit func(part []piece) error) error {
	order := c.order()
	done := map[*packInfo][]stored{}
	for most := listMax; ; {
		part := c.part(order, done, most)
		if len(part) == 0 {
			return nil
		}
		err := visit(part)
		switch {
		case err == nil:
			for _, x := range part {
				done[x.p] = c.garbage[x.p][:len(done[x.p])+len(x.list)]
			}
		case !errors.Is(err, kvferry.ErrNoSpace) || errors.Is(err, kvferry.ErrPoisoned):
			return err
		case most > fewBlobs:
			most = fewBlobs
		default:
			c.short, c.garbage = err, done
			return nil
		}
	}
}

// part returns what of the garbage comes next: of one pack only, if it is to be
// few blobs.
func (c *collection) part(order []*packInfo, done map[*packInfo][]stored, most int) (out []piece) {
	room := most
	for _, p := range order {
		list := c.garbage[p][len(done[p]):]
		if len(list) == 0 {
			continue
		}
		list = list[:min(len(list), room)]
		out = append(out, piece{p, list})
		if room -= len(list); room == 0 || most == fewBlobs {
			return out
		}
	}
	return out
}

// order lists the packs with garbage: first those that are nothing else, which
// go without being copied, of them those that take the least to say so.
func (c *collection) order() []*packInfo {
	return slices.SortedFunc(maps.Keys(c.garbage), func(a, b *packInfo) int {
		part := func(p *packInfo) int {
			if int64(len(c.garbage[p])) == p.blobs.Load() {
				return 0
			}
			return 1
		}
		return cmp.Or(part(a)-part(b), len(c.garbage[a])-len(c.garbage[b]), cmp.Compare(a.id, b.id))
	})
}

// rounds sweeps and repacks until all garbage is gone. That takes more than one
// round if the log had no room to name all of it: each makes some.
func (c *collection) rounds(ctx context.Context) error {
	for {
		c.short = nil
		before := c.report.Deleted
		if err := c.sweep(ctx); err != nil {
			return err
		}
		err := c.repack(ctx)
		if c.short == nil || err != nil && !errors.Is(err, kvferry.ErrNoSpace) {
			return err
		}
		if c.report.Deleted == before {
			return errors.Join(c.short, err)
		}
	}
}
