package capture

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/capture/manifest"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/pager"
)

// Outcome is what became of a blob in a repair.
type Outcome string

// The outcomes of a repair.
const (
	// Healed: a sound copy of the blob is stored now.
	Healed Outcome = "healed"
	// Quarantined: the blob was set aside, and no snapshot misses it.
	Quarantined Outcome = "quarantined"
	// Lost: there is no sound copy, and a snapshot needs the blob, or it could
	// not even be set aside.
	Lost Outcome = "lost"
)

// Mended says what a repair did to one blob.
type Mended struct {
	Digest  digest.Digest
	Outcome Outcome
	// Err is what was wrong with the blob, and if it is Lost why it could not
	// be mended.
	Err error
}

// mending is one repair on its way.
type mending struct {
	c       *checking
	here    *cas.Reader
	from    *cas.Reader // nil: there is no other store
	session cas.Session // nil until something is healed
	tried   map[digest.Digest]*patient
}

// patient is a blob that is damaged or missed.
type patient struct {
	needed bool  // by a snapshot
	put    bool  // a sound copy was put
	aside  bool  // what was there is out of the way
	wrong  error // with the blob
	why    error // it was not mended
}

// repair mends what is damaged, and what the snapshots miss.
func (c *checking) repair(ctx context.Context, entries []cas.Entry) (err error) {
	m := &mending{c: c, tried: map[digest.Digest]*patient{}}
	if m.here, err = cas.NewReader(c.store, c.opts.Key); err != nil {
		return err
	}
	if c.opts.From != nil {
		if m.from, err = cas.NewReader(c.opts.From, c.opts.Key); err != nil {
			return err
		}
		m.from.KeepDamaged()
	}
	defer func() {
		if m.session != nil { // what was flushed stays: snapshots need it
			err = errors.Join(err, m.session.Abort(context.WithoutCancel(ctx)))
			m.session = nil
		}
	}()
	for _, e := range entries {
		if err := m.snapshot(ctx, e); err != nil {
			return err
		}
	}
	for _, d := range sorted(c.bad) { // also what no snapshot needs, or no longer tells that it does
		if newer(c.bad[d]) {
			continue
		}
		if _, err := m.mend(ctx, d, c.bad[d]); err != nil {
			return err
		}
	}
	if m.session != nil {
		if err := m.session.Flush(ctx); err != nil {
			return err
		}
	}
	return m.conclude(ctx)
}

// snapshot mends what one snapshot needs, from its root downwards. What cannot
// be mended, so that the rest is not to be told, the snapshot's health says.
func (m *mending) snapshot(ctx context.Context, e cas.Entry) error {
	read := fetcher(ctx, m.here)
	var failed error
	need := func(d digest.Digest, wrong error) (sound bool) {
		p, err := m.mend(ctx, d, wrong)
		p.needed = true
		failed = errors.Join(failed, err)
		return err == nil && p.put
	}
	fetch := func(d digest.Digest, limit int) ([]byte, error) {
		data, err := read(d, limit)
		if m.mendable(d, err) && need(d, err) {
			data, err = read(d, limit)
		}
		if err != nil && !broken(err) && !newer(err) { // it is not the blob's fault
			failed = errors.Join(failed, err)
		}
		return data, err
	}
	visit := func(d digest.Digest) error {
		wrong, err := m.wrong(ctx, d)
		if failed = errors.Join(failed, err); wrong != nil && !newer(wrong) && failed == nil {
			need(d, wrong)
		}
		return failed
	}
	if e.Image.Valid() {
		_ = visitImage(e.Image, fetch, visit)
	}
	e.Image = digest.Digest{}
	_ = visitAll(e, fetch, visit)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return failed
}

// wrong says what is wrong with a blob that a snapshot needs.
func (m *mending) wrong(ctx context.Context, d digest.Digest) (wrong, err error) {
	if wrong = errors.Join(m.c.bad[d], m.c.foreign[d]); wrong != nil {
		return wrong, nil
	}
	has, err := m.c.store.Has(ctx, d)
	if err != nil || has {
		return nil, err
	}
	return fmt.Errorf("capture: blob %v: %w", d, kvferry.ErrNotFound), nil
}

// mendable reports whether a blob that could not be read is to be mended: a
// keyed one that is there may be sound, and another tenant's.
func (m *mending) mendable(d digest.Digest, err error) bool {
	switch {
	case err == nil, newer(err), m.tried[d] != nil:
		return false
	case m.c.bad[d] != nil, errors.Is(err, kvferry.ErrNotFound):
		return true
	}
	return errors.Is(err, kvferry.ErrCorrupt) && d.Algorithm() != digest.KeyedBLAKE3
}

// broken reports whether a blob cannot be read because of its own state.
func broken(err error) bool {
	return errors.Is(err, kvferry.ErrCorrupt) || errors.Is(err, kvferry.ErrNotFound)
}

// newer reports whether a blob only needs another build to be read.
func newer(err error) bool {
	return errors.Is(err, kvferry.ErrUnsupported) && !errors.Is(err, kvferry.ErrCorrupt)
}

// mend sets a blob aside and puts a sound copy in its place. It tries once. Its
// error is not the blob's, and what it returns is never nil.
func (m *mending) mend(ctx context.Context, d digest.Digest, wrong error) (*patient, error) {
	if p, ok := m.tried[d]; ok {
		return p, nil
	}
	if known := m.c.bad[d]; known != nil {
		wrong = known // what was reported of it
	}
	p := &patient{wrong: wrong, aside: errors.Is(wrong, kvferry.ErrNotFound)}
	m.tried[d] = p
	plain, why := m.copyOf(ctx, d)
	if ctx.Err() != nil {
		return p, context.Cause(ctx)
	}
	p.why = why
	if q, ok := m.c.store.(cas.Quarantiner); ok && !p.aside {
		if err := q.Quarantine(ctx, d); err != nil && !errors.Is(err, kvferry.ErrNotFound) {
			return p, err
		}
		p.aside = true
	}
	if why == nil {
		err := m.store(ctx, d, plain)
		p.put = err == nil
		return p, err
	}
	return p, nil
}

// store puts a sound copy into the session, the first one into a new session.
func (m *mending) store(ctx context.Context, d digest.Digest, plain []byte) (err error) {
	if m.session == nil {
		if m.session, err = m.c.store.Begin(ctx, cas.SessionOptions{Owner: "repair"}); err != nil {
			return err
		}
	}
	_, err = m.session.Put(ctx, d, plain)
	return err
}

// copyOf returns a blob's bytes from the other store.
func (m *mending) copyOf(ctx context.Context, d digest.Digest) ([]byte, error) {
	if m.from == nil {
		return nil, errors.New("there is no other store to heal it from")
	}
	plain, err := m.from.ReadAll(ctx, d, maxBlobBytes)
	if err != nil {
		return nil, fmt.Errorf("in the other store: %w", err)
	}
	return plain, nil
}

// maxBlobBytes bounds what a repair holds in memory.
const maxBlobBytes = max(pager.MaxPageBytes, manifest.MaxDocumentBytes)

// conclude reads what was mended once more, and takes what is well now out of
// the list of damage.
func (m *mending) conclude(ctx context.Context) error {
	c := m.c
	well := map[digest.Digest]bool{}
	for _, d := range sorted(m.tried) {
		data, err := m.here.ReadAll(ctx, d, maxBlobBytes)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		done := m.tried[d].outcome(err)
		done.Digest = d
		if err == nil {
			delete(c.foreign, d)
			c.noteLocked(d, len(data)) // nobody else is there
		}
		if done.Outcome != Lost {
			well[d] = true
			delete(c.bad, d)
		}
		c.report.Mended = append(c.report.Mended, done)
	}
	c.report.Bad = slices.DeleteFunc(c.report.Bad, func(p cas.Problem) bool { return well[p.Digest] })
	return nil
}

// outcome says what became of a blob that was read again with this error.
func (p *patient) outcome(err error) Mended {
	switch {
	case err == nil:
		return Mended{Outcome: Healed, Err: p.wrong}
	case p.put:
		return Mended{Outcome: Lost, Err: fmt.Errorf("%w; healed in vain: %w", p.wrong, err)}
	case p.aside && !p.needed:
		return Mended{Outcome: Quarantined, Err: p.wrong}
	}
	return Mended{Outcome: Lost, Err: fmt.Errorf("%w; %w", p.wrong, p.why)}
}

// sorted returns the digests of a map in their order.
func sorted[V any](of map[digest.Digest]V) []digest.Digest {
	ds := make([]digest.Digest, 0, len(of))
	for d := range of {
		ds = append(ds, d)
	}
	slices.SortFunc(ds, digest.Digest.Compare)
	return ds
}
