package pack

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/internal/vfs"
)

// do runs the operation of the given name as the process m.
func (w *modelWorld) do(name string, m *modelMember) {
	ctx := context.Background()
	switch name {
	case "begin":
		w.begin(ctx, m)
	case "put", "has", "flush", "commit", "abort":
		w.inSession(ctx, name, m)
	case "ask", "get", "batch":
		w.read(ctx, name, m)
	case "set name", "remove name", "drop", "look up":
		w.change(ctx, name, m)
	case "quarantine": // what is sound stays
		if err := m.s.Quarantine(ctx, w.any()); !errors.Is(err, kvferry.ErrNotFound) {
			w.failed(m, err, name)
		}
	case "collect":
		w.collect(ctx, m)
	case "check":
		w.check(ctx, m)
	case "stats":
		_, err := m.s.Stats(ctx)
		w.failed(m, err, name)
	case "checkpoint":
		w.failed(m, m.s.checkpoint(ctx), name)
	case "time":
		w.seconds.Add(w.r.Int64N(60))
		if w.r.IntN(20) == 0 {
			w.seconds.Add(int64(20 * time.Minute / time.Second))
		}
	case "reopen":
		require.NoError(w.t, m.s.Close())
		w.open(m)
	case "kill":
		m.proc.Kill()
		_ = m.s.Close() // of a process that was killed
		w.open(m)
		w.wantSame()
	case "power failure":
		w.replace(w.disk.Crash(vfs.CrashOptions{Seed: w.r.Uint64(), Mode: vfs.CrashMode(w.r.IntN(4))}))
		w.wantSame()
	case "alone":
		w.alone(m)
	}
}

// any returns a blob that may be there.
func (w *modelWorld) any() digest.Digest {
	if w.r.IntN(8) == 0 && len(w.cat.snapshots) > 0 {
		return w.anySnapshot()
	}
	return w.pool[w.r.IntN(len(w.pool))]
}

func (w *modelWorld) anySnapshot() digest.Digest {
	all := slices.SortedFunc(maps.Keys(w.cat.snapshots), digest.Digest.Compare)
	return all[w.r.IntN(len(all))]
}

func (w *modelWorld) begin(ctx context.Context, m *modelMember) {
	if len(m.sessions) >= 4 {
		return
	}
	x := &modelSession{lease: time.Duration(1+w.r.IntN(15)) * time.Minute, used: w.now(), held: map[digest.Digest]bool{}, flushed: map[digest.Digest]bool{}}
	if w.r.IntN(4) == 0 {
		x.class = cas.Cache
	}
	var err error
	x.Session, err = m.s.Begin(ctx, cas.SessionOptions{Class: x.class, Owner: "model", Lease: x.lease})
	if !w.failed(m, err, "begin") {
		m.sessions = append(m.sessions, x)
	}
}

func (m *modelMember) end(x *modelSession) {
	m.sessions = slices.DeleteFunc(m.sessions, func(o *modelSession) bool { return o == x })
}

// inSession calls a method of a session, or sees that it expired.
func (w *modelWorld) inSession(ctx context.Context, name string, m *modelMember) {
	if len(m.sessions) == 0 {
		return
	}
	x := m.sessions[w.r.IntN(len(m.sessions))]
	if name != "abort" && !w.live(x) {
		_, err := x.Has(ctx, w.any())
		require.ErrorIs(w.t, err, kvferry.ErrExpired)
		m.end(x)
		return
	}
	x.used = w.now()
	switch name {
	case "put":
		w.put(ctx, m, x, w.pool[w.r.IntN(len(w.pool))])
	case "has":
		w.has(ctx, m, x)
	case "flush":
		if !w.failed(m, x.Flush(ctx), name) {
			x.flushed = maps.Clone(x.held)
		}
	case "abort":
		w.failed(m, x.Abort(ctx), name)
		m.end(x)
	case "commit":
		w.commit(ctx, m, x)
	}
}

func (w *modelWorld) put(ctx context.Context, m *modelMember, x *modelSession, d digest.Digest) bool {
	_, err := x.Put(ctx, d, w.content[d])
	if w.failed(m, err, "put") {
		return false
	}
	if x.class == cas.Cache {
		w.cached[d] = w.now()
	}
	x.held[d] = true
	return true
}

func (w *modelWorld) has(ctx context.Context, m *modelMember, x *modelSession) {
	d := w.any()
	must := w.mustHave(m, d, w.needed())
	ok, err := x.Has(ctx, d)
	if w.failed(m, err, "session has") {
		return
	}
	require.False(w.t, must && !ok, "a session has no %v", d)
	if ok {
		x.held[d] = true
	}
	if ok && x.class == cas.Snapshot {
		w.mustGet(ctx, m, d)
	}
}

func (w *modelWorld) mustGet(ctx context.Context, m *modelMember, d digest.Digest) {
	buf := make([]byte, len(w.content[d]))
	n, err := m.s.Get(ctx, d, buf)
	w.look(m, d, true, buf[:n], err)
}

// commit makes a snapshot of some of what a session holds.
func (w *modelWorld) commit(ctx context.Context, m *modelMember, x *modelSession) {
	if x.class == cas.Cache {
		w.failed(m, x.Abort(ctx), "abort")
		m.end(x)
		return
	}
	refs := slices.SortedFunc(maps.Keys(x.held), digest.Digest.Compare)
	if len(refs) > 1 {
		refs = refs[:1+w.r.IntN(len(refs)-1)]
	}
	w.unique++
	manifest := modelManifest(w.unique, refs)
	e := cas.Entry{Root: modelSum(manifest), Format: cas.FormatNative, Created: w.now().UTC(), Pages: int64(len(refs))}
	if w.r.IntN(10) == 0 && len(w.cat.snapshots) > 0 { // commit one again
		root := w.anySnapshot()
		e, manifest = w.cat.snapshots[root], w.content[root]
		e.Bytes++
		again, err := modelRefs(manifest)
		require.NoError(w.t, err)
		for _, d := range again {
			if !w.put(ctx, m, x, d) {
				return
			}
		}
	}
	w.content[e.Root] = manifest
	if !w.put(ctx, m, x, e.Root) {
		return
	}
	w.next = w.cat.clone()
	w.next.snapshots[e.Root] = e
	for range w.r.IntN(3) {
		name := w.anyName()
		e.Names = append(e.Names, name)
		w.next.names[name] = e.Root
	}
	if !w.failed(m, x.Commit(ctx, e), "commit") {
		m.end(x)
	}
}

func (w *modelWorld) anyName() string { return fmt.Sprintf("name-%d", w.r.IntN(12)) }

func (w *modelWorld) read(ctx context.Context, name string, m *modelMember) {
	needed := w.needed()
	switch name {
	case "ask":
		d := w.any()
		ok, err := m.s.Has(ctx, d)
		if !w.failed(m, err, "has") {
			require.False(w.t, !ok && w.mustHave(m, d, needed), "has no %v", d)
		}
	case "get":
		d := w.any()
		buf := make([]byte, len(w.content[d]))
		n, err := m.s.Get(ctx, d, buf)
		w.look(m, d, w.mustHave(m, d, needed), buf[:n], err)
	case "batch":
		reqs := make([]cas.Request, w.r.IntN(20))
		for i := range reqs {
			d := w.any()
			reqs[i] = cas.Request{Digest: d, Dst: make([]byte, len(w.content[d]))}
		}
		if w.failed(m, m.s.GetBatch(ctx, reqs), "get batch") {
			return
		}
		for _, q := range reqs {
			w.look(m, q.Digest, w.mustHave(m, q.Digest, needed), q.Dst[:q.N], q.Err)
		}
	}
}

// change changes the catalog, or looks at a name.
func (w *modelWorld) change(ctx context.Context, name string, m *modelMember) {
	label := w.anyName()
	root, ok := w.cat.names[label]
	w.next = w.cat.clone()
	var err error
	switch name {
	case "look up":
		_, err = m.s.Catalog().Lookup(ctx, label)
	case "remove name":
		delete(w.next.names, label)
		if ok && !slices.Contains(slices.Collect(maps.Values(w.next.names)), root) {
			w.next.forget(root)
		}
		_, err = m.s.Catalog().Remove(ctx, label)
	default:
		root, ok = modelSum([]byte("no snapshot")), false
		if n := len(w.cat.snapshots); n > 0 && w.r.IntN(10) > 0 {
			root, ok = w.anySnapshot(), true
		}
		if name == "drop" {
			w.next.forget(root)
			err = m.s.Catalog().Drop(ctx, root)
		} else {
			if ok {
				w.next.names[label] = root
			}
			err = m.s.Catalog().SetName(ctx, label, root)
		}
	}
	if !ok && err != nil && errors.Is(err, kvferry.ErrNotFound) {
		return
	}
	if !w.failed(m, err, name) {
		require.True(w.t, ok, "%s: there is none", name)
	}
}

// collect collects, with or without a policy, or in a dry run, and looks that
// what nobody needs is gone.
func (w *modelWorld) collect(ctx context.Context, m *modelMember) {
	o := cas.CollectOptions{References: modelReferences(m.s), Now: w.now(), DryRun: w.r.IntN(5) == 0}
	switch w.r.IntN(4) {
	case 0:
		o.KeepLast = 1 + w.r.IntN(20)
	case 1:
		o.KeepWithin = time.Duration(1+w.r.IntN(60)) * time.Minute
	}
	kept, dropped := o.Split(w.cat.entries(), w.now())
	if !o.DryRun {
		w.next = w.cat.clone()
		for _, e := range dropped {
			w.next.forget(e.Root)
		}
	}
	r, err := m.s.Collect(ctx, o)
	if w.failed(m, err, "collect") {
		return
	}
	require.Len(w.t, r.Kept, len(kept))
	require.Len(w.t, r.Dropped, len(dropped))
	m.sessions = slices.DeleteFunc(m.sessions, func(x *modelSession) bool { return !w.live(x) })
	if o.DryRun || w.armed != nil {
		return
	}
	needed := w.neededBy(w.next)
	for _, d := range w.pool {
		if w.mayHave(m, d, needed) {
			continue
		}
		_, err := m.s.Get(ctx, d, make([]byte, len(w.content[d])))
		require.ErrorIs(w.t, err, kvferry.ErrNotFound, "%v is garbage", d)
	}
}

// check looks for damage, of which there is none.
func (w *modelWorld) check(ctx context.Context, m *modelMember) {
	report := func(p cas.Problem) { require.True(w.t, p.Leftover || w.dead(m), "%v: %v", p.Path, p.Err) }
	w.failed(m, m.s.Check(ctx, report), "check")
	w.failed(m, m.s.Scrub(ctx, cas.ScrubOptions{Report: report}), "scrub")
}

// alone ends one process and lets the other collect: then nothing is on the disk
// that should not be.
func (w *modelWorld) alone(m *modelMember) {
	ctx := context.Background()
	for _, o := range w.members {
		require.NoError(w.t, o.s.Close())
		o.sessions = nil
	}
	w.open(m)
	for range 2 { // the first one leaves what it wrote itself
		_, err := m.s.Collect(ctx, cas.CollectOptions{References: modelReferences(m.s), Now: w.now()})
		require.NoError(w.t, err)
	}
	require.NoError(w.t, m.s.Close())
	o := w.options(w.disk.Process())
	o.ReadOnly = true
	s, err := Open("model", o)
	require.NoError(w.t, err)
	modelTidy(w.t, s, w.needed())
	require.NoError(w.t, s.Close())
	for _, o := range w.members {
		w.open(o)
	}
	w.wantSame()
}
