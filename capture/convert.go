package capture

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/capture/manifest"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/codec"
	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/identity"
)

// ConvertOptions guide a Convert.
type ConvertOptions struct {
	// Format to write; empty keeps the snapshot's.
	Format cas.Format
	Names  []string
	Codec  codec.Mode
	// Image, if set, publishes a ProcessFork image with the page manifest.
	Image *Image
	// FromKey opens a tenant's snapshot and Key addresses the copy.
	FromKey, Key *digest.Key
	Lenient      bool
	// DropIdentity leaves the snapshot's identity out: for a format that
	// cannot hold it, or for a tenant's snapshot that everybody may share.
	DropIdentity bool
	Lease        time.Duration
	// Now is the copy's time of creation; zero means the clock. Give the
	// original's to keep its age.
	Now      time.Time
	Workers  int
	Progress func(Progress)
}

// Convert copies a snapshot from one store to another (or within one), in the
// same or another format, checking every byte on the way. Pages and sequences
// stay what they are. What the target format cannot hold is ErrUnsupported.
func Convert(ctx context.Context, from cas.Store, root digest.Digest, to cas.Store, o ConvertOptions) (Report, error) {
	start := time.Now()
	l, err := load(ctx, from, root, LoadOptions{Key: o.FromKey, Lenient: o.Lenient})
	if err != nil {
		return Report{}, err
	}
	snap := l.snapshot
	if o.Format == "" {
		o.Format = l.format
	}
	opts := Options{Names: o.Names, Format: o.Format, Key: o.Key, Image: o.Image, Lease: o.Lease, Now: o.Now, Identity: snap.Identity}
	opts.Workers, opts.Progress = o.Workers, o.Progress
	if err := opts.prepareConvert(snap, o.DropIdentity); err != nil {
		return Report{}, fmt.Errorf("capture: convert %v: %w", root, err)
	}
	snap.Identity = opts.Identity
	tune := newTuning(snap.Groups)
	sess, err := to.Begin(ctx, cas.SessionOptions{Owner: "convert", Lease: o.Lease, Hint: tune.hint(snap.Groups, o.Codec)})
	if err != nil {
		return Report{}, fmt.Errorf("capture: convert %v: %w", root, err)
	}
	committed := false
	defer func() {
		if !committed { // also when a store panicked
			_ = sess.Abort(context.WithoutCancel(ctx))
		}
	}()
	c := &taking{opts: opts, session: sess, snapshot: *snap, tune: tune}
	rep, err := c.copyFrom(ctx, from, o.FromKey)
	if err != nil {
		return Report{}, fmt.Errorf("capture: convert %v: %w", root, err)
	}
	committed = true
	rep.Omitted, rep.Elapsed = l.omitted, time.Since(start)
	return rep, nil
}

// prepareConvert fills defaults and refuses what the format cannot hold.
func (o *Options) prepareConvert(s *manifest.Snapshot, dropIdentity bool) error {
	o.ensureDefaults()
	if err := o.validate(); err != nil {
		return err
	}
	if o.Now.IsZero() {
		o.Now = time.Now()
	}
	o.Now = o.Now.UTC()
	if !o.Format.Valid() {
		return fmt.Errorf("format %q: %w", o.Format, kvferry.ErrUnsupported)
	}
	for _, n := range o.Names {
		if err := cas.CheckName(n); err != nil {
			return err
		}
	}
	switch {
	case o.Format == cas.FormatNative && o.Image != nil:
		return fmt.Errorf("a ProcessFork image needs the processfork format: %w", kvferry.ErrInvalid)
	case o.Format == cas.FormatNative:
		if dropIdentity {
			o.Identity = identity.Identity{}
		}
		return checkTenant(o.Identity, o.Key)
	case s.Groups[0].Name != "":
		return fmt.Errorf("the processfork format cannot hold the group name %q: %w", s.Groups[0].Name, kvferry.ErrUnsupported)
	case len(s.Groups) != 1 || !s.Groups[0].Meta.IsPlain() || o.Key != nil:
		return fmt.Errorf("the processfork format holds one group of plain pages, unkeyed: %w", kvferry.ErrUnsupported)
	case s.Identity.Stated() && !dropIdentity:
		return fmt.Errorf("the processfork format cannot hold the snapshot's identity: %w", kvferry.ErrUnsupported)
	}
	o.Identity = identity.Identity{}
	return nil
}

// copyFrom copies every page into the session under its new digests and
// publishes the snapshot.
func (c *taking) copyFrom(ctx context.Context, from cas.Store, key *digest.Key) (Report, error) {
	pages, _, bytes := measure(&c.snapshot)
	m := newMeter(c.opts.Progress, pages, bytes)
	for i := range c.snapshot.Groups {
		g := &c.snapshot.Groups[i]
		if c.opts.Format == cas.FormatProcessFork && g.Indices == nil {
			return Report{}, fmt.Errorf("the snapshot has no engine indices, which the processfork format needs: %w", kvferry.ErrUnsupported)
		}
		if err := c.copyGroup(ctx, i, from, key, m); err != nil {
			return Report{}, err
		}
	}
	return c.publish(ctx)
}

func (c *taking) copyGroup(ctx context.Context, group int, from cas.Store, key *digest.Key, m meter) error {
	g := &c.snapshot.Groups[group]
	table := manifest.NewTable(c.opts.algorithm(), g.Table.Pages(), g.Table.Parts())
	var next atomic.Int64
	var mu sync.Mutex
	eg, gctx := newCrew(ctx)
	for range c.opts.Workers {
		eg.Go(func() error {
			w, err := newWriter(gctx, c.session, c.opts.algorithm(), c.opts.Key)
			if err != nil {
				return err
			}
			rd, err := cas.NewReader(from, key)
			if err != nil {
				return err
			}
			scratch := make([]byte, largestPart(g))
			for {
				n := int(next.Add(1)) - 1
				if n >= g.Table.Pages() {
					mu.Lock()
					c.moved.merge(w.moved)
					mu.Unlock()
					return nil
				}
				for p, part := range g.Meta.Parts {
					if err := checkBlob(gctx, rd, g.Table.Digest(n, p), scratch, part.Bytes); err != nil {
						return fmt.Errorf("page %d, part %d: %w", n, p, err)
					}
					c.tune.meet(group, p, scratch[:part.Bytes])
					d, err := w.put(scratch[:part.Bytes])
					if err != nil {
						return fmt.Errorf("page %d, part %d: %w", n, p, err)
					}
					table.Set(n, p, d)
				}
				m.add(1, int64(g.Meta.PageBytes()))
			}
		})
	}
	if err := eg.Wait(); err != nil {
		return err
	}
	g.Table = table
	return nil
}
