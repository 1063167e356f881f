package capture_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/capture"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/cas/dir"
	"github.com/kvferry/kvferry/cas/mem"
	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/identity"
	"github.com/kvferry/kvferry/pager"
	"github.com/kvferry/kvferry/pager/synthetic"
)

// TestRestoreRefusesAndLeavesTheEngine: every reason to refuse a restore
// before or while it touches the engine.
func TestRestoreRefusesAndLeavesTheEngine(t *testing.T) {
	t.Parallel()
	type options = capture.RestoreOptions
	rename := func(string) string { return "one name" }
	for name, c := range map[string]struct {
		engine int // pages that it holds
		spare  int // pages that are free; 0: plenty
		set    synthetic.Ability
		o      options
		want   error
	}{
		"pages in the engine":        {sweepPages, 0, synthetic.AllAbilities, options{}, kvferry.ErrNotEmpty},
		"unknown sequence":           {0, 0, synthetic.AllAbilities, options{Sequences: []string{"left", "nobody"}}, kvferry.ErrNotFound},
		"unknown sequence, busy":     {sweepPages, 0, synthetic.AllAbilities, options{Busy: true, Sequences: []string{""}}, kvferry.ErrNotFound},
		"id in use":                  {sweepPages, 0, synthetic.AllAbilities, options{Busy: true, Sequences: []string{"idle"}}, kvferry.ErrExists},
		"ids in use":                 {sweepPages, 0, synthetic.AllAbilities, options{Busy: true}, kvferry.ErrExists},
		"two under one id":           {sweepPages, 0, synthetic.AllAbilities, options{Busy: true, Rename: rename}, kvferry.ErrExists},
		"too few pages":              {0, sweepPages, synthetic.AllAbilities, options{}, kvferry.ErrOutOfMemory},
		"too few pages, no releaser": {0, sweepPages, 0, options{}, kvferry.ErrOutOfMemory},
		"too few pages, busy": {
			sweepPages, 3, synthetic.AllAbilities, options{Busy: true, Rename: func(s string) string { return "x" + s }}, kvferry.ErrOutOfMemory,
		},
		"indices in use": {
			sweepPages, 0, synthetic.AllAbilities,
			options{Busy: true, KeepIndices: true, Rename: func(s string) string { return "x" + s }}, kvferry.ErrExists,
		},
		"indices beyond the engine": {0, sweepPages, synthetic.AllAbilities, options{KeepIndices: true}, kvferry.ErrNotFound},
		"no reserver":               {0, 0, synthetic.Releaser, options{KeepIndices: true}, kvferry.ErrUnsupported},
		"negative workers":          {0, 0, 0, options{Transfer: capture.Transfer{Workers: -1}}, kvferry.ErrInvalid},
		"another identity":          {0, 0, 0, options{Identity: &identity.Identity{Model: "m"}}, kvferry.ErrIdentityMismatch},
	} {
		for _, f := range bothFormats() {
			t.Run(name+"/"+string(f), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, newMem(t), c.engine, c.set).stored(t, sweepPages+2, capture.Options{Format: f})
				want := c.want
				if c.spare > 0 {
					_, err := w.engines[0].AllocatePages(t.Context(), w.engines[0].FreePages()-c.spare)
					require.NoError(t, err)
					if c.o.KeepIndices { // those that remain are the last
						require.NotZero(t, w.engines[0].FreePages())
						want = kvferry.ErrExists
					}
				}
				before := w.condition(t)
				_, err := capture.RestoreGroups(t.Context(), w.store, w.root, w.groups, c.o)
				require.ErrorIs(t, err, want)
				require.Equal(t, before, w.condition(t))
				w.balanced(t)
			})
		}
	}
}

// TestIdentityIsHeldAgainst: each field of it counts.
func TestIdentityIsHeldAgainst(t *testing.T) {
	t.Parallel()
	adapter := "lora"
	full := identity.Identity{Model: "m", Weights: "w", Tokenizer: "t", Adapter: &adapter, Tenant: "a", Rank: 1, World: 2}
	s := newMem(t)
	e := populated(t, 4, 2, 2, 4, pager.BF16, 3, 1<<40)
	key := digest.DeriveKey([]byte("tenant a"))
	rep, err := capture.Capture(t.Context(), e, s, capture.Options{Identity: full, Key: &key})
	require.NoError(t, err)
	other := "other"
	for field, change := range map[string]func(*identity.Identity){
		"model": func(i *identity.Identity) { i.Model = other }, "weights": func(i *identity.Identity) { i.Weights = "" },
		"tokenizer": func(i *identity.Identity) { i.Tokenizer = other }, "adapter": func(i *identity.Identity) { i.Adapter = &other },
		"no adapter": func(i *identity.Identity) { i.Adapter = nil }, "tenant": func(i *identity.Identity) { i.Tenant = "b" },
		"rank": func(i *identity.Identity) { i.Rank = 0 }, "world": func(i *identity.Identity) { i.World = 3 },
	} {
		want := full
		change(&want)
		dst := fresh(t, e)
		_, err := capture.Restore(t.Context(), s, rep.Root, dst, capture.RestoreOptions{Identity: &want, Key: &key})
		require.ErrorIs(t, err, kvferry.ErrIdentityMismatch, field)
		require.Zero(t, dst.Pauses())
	}
	_, err = capture.Restore(t.Context(), s, rep.Root, fresh(t, e), capture.RestoreOptions{Identity: &full, Key: &key})
	require.NoError(t, err)
	_, err = capture.Capture(t.Context(), e, s, capture.Options{Identity: full})
	require.ErrorIs(t, err, kvferry.ErrInvalid, "a tenant's pages are addressed by its key")
	_, err = capture.Capture(t.Context(), e, s, capture.Options{Identity: full, Format: cas.FormatProcessFork})
	require.ErrorIs(t, err, kvferry.ErrUnsupported, "ProcessFork's format has no place for it")
	_, err = capture.Convert(t.Context(), s, rep.Root, s, capture.ConvertOptions{Format: cas.FormatProcessFork, FromKey: &key})
	require.ErrorIs(t, err, kvferry.ErrUnsupported)
	_, err = capture.Convert(t.Context(), s, rep.Root, s, capture.ConvertOptions{Format: cas.FormatProcessFork, FromKey: &key, DropIdentity: true})
	require.NoError(t, err)
}

// TestTenantsShareNothing: keyed snapshots have blobs of their own and are
// opened by their key alone. Trying another one does no harm.
func TestTenantsShareNothing(t *testing.T) {
	t.Parallel()
	a, b := digest.DeriveKey([]byte("tenant a")), digest.DeriveKey([]byte("tenant b"))
	d, _ := newDir(t)
	for _, s := range []cas.Store{newMem(t), d} {
		e := populated(t, 4, 2, 2, 4, pager.BF16, 3, 1<<40)
		roots := map[*digest.Key]digest.Digest{}
		for _, key := range []*digest.Key{nil, &a, &b} {
			rep, err := capture.Capture(t.Context(), e, s, capture.Options{Key: key})
			require.NoError(t, err)
			require.EqualValues(t, 6, rep.NewBlobs, "nothing tells one tenant what another holds")
			roots[key] = rep.Root
		}
		for _, key := range []*digest.Key{nil, &b} {
			dst := fresh(t, e)
			_, err := capture.Restore(t.Context(), s, roots[&a], dst, capture.RestoreOptions{Key: key})
			want := kvferry.ErrUnsupported
			if key != nil {
				want = kvferry.ErrCorrupt
			}
			require.ErrorIs(t, err, want)
			require.Zero(t, dst.Pauses())
			_, err = capture.Verify(t.Context(), s, roots[&a], capture.VerifyOptions{LoadOptions: capture.LoadOptions{Key: key}})
			require.ErrorIs(t, err, want)
			_, err = capture.Convert(t.Context(), s, roots[&a], s, capture.ConvertOptions{FromKey: key})
			require.ErrorIs(t, err, want)
			_, err = capture.Check(t.Context(), s, capture.CheckOptions{Key: key})
			require.NoError(t, err)
			_, err = s.(cas.Collector).Collect(t.Context(), cas.CollectOptions{References: capture.References(s, key)})
			require.Error(t, err, "what cannot be read stops a collection")
		}
		st, err := s.(cas.Stater).Stats(t.Context())
		require.NoError(t, err)
		require.Zero(t, st.Quarantined, "a wrong key is no damage")
		for key, root := range roots {
			_, err := capture.Restore(t.Context(), s, root, fresh(t, e), capture.RestoreOptions{Key: key})
			require.NoError(t, err)
		}
		plain, err := capture.Convert(t.Context(), s, roots[&a], s, capture.ConvertOptions{FromKey: &a})
		require.NoError(t, err)
		require.Equal(t, roots[nil], plain.Root)
	}
}

// TestStoresThatCannotTakeACapture: the engine runs on, nothing is visible.
func TestStoresThatCannotTakeACapture(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	s, err := dir.Open(path, dir.Options{})
	require.NoError(t, err)
	require.NoError(t, s.Close())
	closed, err := mem.Open(mem.Options{})
	require.NoError(t, err)
	require.NoError(t, closed.Close())
	small, err := mem.Open(mem.Options{QuotaBytes: 3000})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, small.Close()) })
	for name, c := range map[string]struct {
		s    cas.Store
		o    capture.Options
		want error
	}{
		"read-only":     {openDir(t, path, dir.Options{ReadOnly: true}), capture.Options{}, kvferry.ErrReadOnly},
		"closed":        {closed, capture.Options{}, kvferry.ErrClosed},
		"quota":         {small, capture.Options{}, kvferry.ErrQuota},
		"quota of dir":  {openDir(t, t.TempDir(), dir.Options{QuotaBytes: 3000}), capture.Options{}, kvferry.ErrQuota},
		"lease ran out": {newMem(t), capture.Options{Lease: 1}, kvferry.ErrExpired},
		"format":        {newMem(t), capture.Options{Format: "other"}, kvferry.ErrUnsupported},
		"keyed":         {newMem(t), capture.Options{Format: cas.FormatProcessFork, Key: new(digest.Key)}, kvferry.ErrUnsupported},
		"image":         {newMem(t), capture.Options{Image: &capture.Image{}}, kvferry.ErrInvalid},
	} {
		e := populated(t, 4, 2, 2, 4, pager.BF16, 40, 1<<40)
		before, _ := content(t, e)
		_, err := capture.Capture(t.Context(), e, c.s, c.o)
		require.ErrorIs(t, err, c.want, name)
		require.False(t, e.Paused(), name)
		after, _ := content(t, e)
		require.Equal(t, before, after)
		if entries, err := c.s.Catalog().Entries(t.Context()); err == nil {
			require.Empty(t, entries, name)
		}
	}
}

// TestPauseEndsBeforeTheStoreIsDone: with a ring that holds the cache, the
// engine runs again while pages wait to be stored.
func TestPauseEndsBeforeTheStoreIsDone(t *testing.T) {
	t.Parallel()
	for _, set := range []synthetic.Ability{synthetic.NoAbility, synthetic.AllAbilities} {
		w := newWorld(t, newMem(t), 30, set)
		s := &patient{Store: w.inner, running: make(chan struct{})}
		w.groups[0].Pager = pager.Compose(telling{w.groups[0].Pager, s.running}, pager.AbilitiesOf(w.groups[0].Pager))
		rep, err := capture.Groups(t.Context(), w.groups, s, capture.Options{Transfer: capture.Transfer{Workers: 1, StagingBytes: 1 << 20}})
		require.NoError(t, err)
		require.Positive(t, s.after, "pages were stored after the engine went on")
		require.Positive(t, rep.Pause.Total)
		require.GreaterOrEqual(t, rep.Pause.Total, rep.Pause.Tables+rep.Pause.Digest+rep.Pause.Copy)
		require.GreaterOrEqual(t, rep.Elapsed, rep.Pause.Total)
		w.verify(t, rep.Root)
	}
}

// telling closes a channel when the engine was resumed.
type telling struct {
	pager.Pager
	running chan struct{}
}

func (p telling) Resume(ctx context.Context) error {
	defer close(p.running)
	return p.Pager.Resume(ctx)
}

// patient is a store that takes no page before the engine runs again.
type patient struct {
	cas.Store
	running chan struct{}
	after   int
}

func (s *patient) Begin(ctx context.Context, o cas.SessionOptions) (cas.Session, error) {
	x, err := s.Store.Begin(ctx, o)
	return patientSession{x, s}, err
}

type patientSession struct {
	cas.Session
	s *patient
}

func (x patientSession) Put(ctx context.Context, d digest.Digest, plain []byte) (cas.PutResult, error) {
	select {
	case <-x.s.running:
	case <-time.After(10 * time.Second):
		return cas.PutResult{}, errors.New("the engine waits for the store")
	}
	x.s.after++ // there is one worker
	return x.Session.Put(ctx, d, plain)
}
