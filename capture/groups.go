package capture

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/capture/manifest"
	"github.com/kvferry/kvferry/capture/processfork"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/identity"
)

// Groups takes one snapshot of all KV groups of an engine into s.
//
// Every group is paused, in order; the pages are copied out through the
// staging ring while workers hash, encode and store them; the groups are
// resumed, in reverse order, with the last copy; then the rest is stored and
// the snapshot committed. Memory is bounded by Transfer.StagingBytes and the
// page tables, whatever the size of the cache.
//
// With Options.Since the capture is incremental: pages are matched with those
// of that snapshot by engine index, and an engine that can compares their
// digests with the snapshot's where they live. Pages that did not change keep
// the digests and blobs that they had and are not copied; a page whose blob is
// not in the store any more is copied like one that changed. The snapshot is
// the same, bit for bit, as without Since. What an engine calls unchanged is
// believed: only bytes that arrive here can be held against their digests. An
// engine that cannot digest its pages is captured in full, and the report says
// so. A base of another geometry is ErrLayoutMismatch, of another identity
// ErrIdentityMismatch, of another algorithm ErrInvalid, a damaged one
// ErrCorrupt, one that is not there ErrNotFound.
//
// On error nothing is published: the session is aborted and the groups are
// resumed. If only resuming fails, the snapshot is published all the same, and
// both the report and the error are returned.
func Groups(ctx context.Context, groups []Group, s cas.Store, o Options) (Report, error) {
	start := time.Now()
	if err := o.prepare(groups); err != nil {
		return Report{}, err
	}
	metas := metasOf(groups)
	tune := newTuning(metas)
	sess, err := s.Begin(ctx, cas.SessionOptions{Owner: "capture", Lease: o.Lease, Hint: tune.hint(metas, o.Codec)})
	if err != nil {
		return Report{}, fmt.Errorf("capture: begin: %w", err)
	}
	committed := false
	defer func() {
		if !committed { // also when a pager panicked
			_ = sess.Abort(context.WithoutCancel(ctx))
		}
	}()
	c := &taking{opts: o, groups: groups, session: sess, tune: tune}
	if err := c.open(ctx, s); err != nil {
		return Report{}, fmt.Errorf("capture: base snapshot %v: %w", o.Since, err)
	}
	resumeErr, err := c.take(ctx)
	if err != nil {
		return Report{}, errors.Join(fmt.Errorf("capture: %w", err), resumeErr)
	}
	rep, err := c.publish(ctx)
	if err != nil {
		return Report{}, errors.Join(fmt.Errorf("capture: publish: %w", err), resumeErr)
	}
	committed = true
	rep.Elapsed = time.Since(start)
	return rep, resumeErr
}

// prepare fills defaults and refuses what cannot be captured.
func (o *Options) prepare(groups []Group) error {
	o.ensureDefaults()
	if o.Format == "" {
		o.Format = cas.FormatNative
	}
	if o.Now.IsZero() {
		o.Now = time.Now()
	}
	o.Now = o.Now.UTC()
	if err := o.validate(); err != nil {
		return err
	}
	if !o.Format.Valid() {
		return fmt.Errorf("capture: format %q: %w", o.Format, kvferry.ErrUnsupported)
	}
	for _, n := range o.Names {
		if err := cas.CheckName(n); err != nil {
			return err
		}
	}
	if err := errors.Join(checkGroups(groups), o.checkSince()); err != nil {
		return err
	}
	if o.Format == cas.FormatProcessFork {
		return o.checkProcessFork(groups)
	}
	if o.Image != nil {
		return fmt.Errorf("capture: a ProcessFork image needs the processfork format: %w", kvferry.ErrInvalid)
	}
	return checkTenant(o.Identity, o.Key)
}

// checkTenant refuses to keep a tenant's pages where everybody's are.
func checkTenant(i identity.Identity, key *digest.Key) error {
	if i.Tenant != "" && key == nil {
		return fmt.Errorf("capture: the blobs of tenant %q need the tenant's key: %w", i.Tenant, kvferry.ErrInvalid)
	}
	return nil
}

func (o *Options) checkProcessFork(groups []Group) error {
	switch {
	case len(groups) != 1:
		return fmt.Errorf("capture: the processfork format holds one KV group, not %d: %w", len(groups), kvferry.ErrUnsupported)
	case o.Key != nil:
		return fmt.Errorf("capture: the processfork format has no keyed digests: %w", kvferry.ErrUnsupported)
	case o.Identity.Stated():
		return fmt.Errorf("capture: the processfork format cannot hold an identity: %w", kvferry.ErrUnsupported)
	case groups[0].Name != "":
		return fmt.Errorf("capture: the processfork format cannot hold the group name %q: %w", groups[0].Name, kvferry.ErrUnsupported)
	}
	// What holds for an empty cache of this geometry holds for any.
	m := groups[0].Pager.Meta()
	_, err := processfork.EncodeManifest(&manifest.Group{Meta: m, Table: manifest.NewTable(digest.SHA256, 0, len(m.Parts))})
	if err != nil {
		return fmt.Errorf("capture: %v in the processfork format: %w", m, err)
	}
	return nil
}

func checkGroups(groups []Group) error {
	if len(groups) == 0 {
		return fmt.Errorf("capture: no KV group: %w", kvferry.ErrInvalid)
	}
	seen := map[string]bool{}
	for _, g := range groups {
		if g.Pager == nil || seen[g.Name] {
			return fmt.Errorf("capture: KV group %q is nil or given twice: %w", g.Name, kvferry.ErrInvalid)
		}
		seen[g.Name] = true
		if err := g.Pager.Meta().Validate(); err != nil {
			return fmt.Errorf("capture: KV group %q: %w", g.Name, err)
		}
	}
	return nil
}

// algorithm returns the function that addresses the snapshot's blobs.
func (o *Options) algorithm() digest.Algorithm {
	switch {
	case o.Format == cas.FormatProcessFork:
		return digest.SHA256
	case o.Key != nil:
		return digest.KeyedBLAKE3
	}
	return digest.BLAKE3
}

// metasOf returns the groups' geometries alone.
func metasOf(groups []Group) []manifest.Group {
	out := make([]manifest.Group, len(groups))
	for i, g := range groups {
		out[i] = manifest.Group{Name: g.Name, Meta: g.Pager.Meta()}
	}
	return out
}
