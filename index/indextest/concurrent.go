package indextest

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index"
)

var concurrentTests = []test{
	{name: "clients with scopes of their own", run: testOwnScopes},
	{name: "clients of one scope", run: testOneScope},
	{name: "closed under load", run: testCloseUnderLoad},
}

// each runs clients in parallel, until all of them end.
func (s *subject) each(clients int, client func(i int) error) {
	s.Helper()
	s.start(clients, client)()
}

// start starts clients, and returns what waits until all of them have ended.
func (s *subject) start(clients int, client func(i int) error) (wait func()) {
	errs := make(chan error, clients)
	for i := range clients {
		go func() { errs <- client(i) }()
	}
	return func() {
		s.Helper()
		var all []error
		for range clients {
			all = append(all, <-errs)
		}
		require.NoError(s, errors.Join(all...))
	}
}

// testOwnScopes: each client is like a model of its own, whatever the others do,
// while somebody looks at everything and replays it.
func testOwnScopes(s *subject) {
	const clients = 4
	steps := 300
	if s.config.Slow {
		steps = 80
	}
	seed := runSeed(s, 1)
	models := make([]*Model, clients)
	f := s.follow()
	ctx, cancel := context.WithCancel(s.Context())
	watching := make(chan error, 1)
	go func() { watching <- lookAtEverything(ctx, s.Index) }()
	s.each(clients, func(i int) error {
		u := newUniverse(seed + uint64(i))
		u.scopes = []index.Scope{{Model: "m", Tenant: fmt.Sprint("tenant-", i)}, {Model: "m", Tenant: fmt.Sprint("tenant-", i), Adapter: index.Named("")}}
		u.workers = []string{fmt.Sprint("w", i), fmt.Sprint("v", i)}
		models[i] = NewModel(s.options)
		for range steps {
			o := u.read()
			if u.IntN(2) == 0 {
				o = u.write()
			}
			if o.kind == opClear || o.kind == opExpire || o.kind == opByHash {
				continue // these are of everybody
			}
			want, got := o.apply(s.Context(), models[i]), o.apply(s.Context(), s)
			if err := same(&want, &got); err != nil {
				return fmt.Errorf("client %d: %v: %w", i, o, err)
			}
		}
		return nil
	})
	cancel()
	require.NoError(s, <-watching)
	var want []index.Record
	for _, m := range models {
		rs, err := snapshot(s.Context(), m)
		require.NoError(s, err)
		want = append(want, rs...)
	}
	index.Sort(want)
	requireRecords(s, want, s.all())
	f.like(s)
}

// lookAtEverything reads, until ctx ends, what goes over all scopes: in order, and
// no record twice.
func lookAtEverything(ctx context.Context, x index.Index) error {
	for ctx.Err() == nil {
		rs, err := snapshot(ctx, x)
		for i := 1; i < len(rs) && err == nil; i++ {
			if index.Compare(&rs[i-1], &rs[i]) >= 0 {
				err = fmt.Errorf("record %d of a snapshot, %+v, is not before %+v", i-1, rs[i-1], rs[i])
			}
		}
		if err == nil {
			rs, err = x.ByHash(ctx, "h0", rs[:0])
		}
		if slices.ContainsFunc(rs, func(r index.Record) bool { return r.Hash != "h0" && err == nil }) {
			err = errors.New("another hash than the one that was asked for")
		}
		if err == nil {
			_, err = x.Workers(ctx)
		}
		if err == nil {
			_, err = x.Metrics(ctx)
		}
		if err != nil && !errors.Is(err, context.Canceled) {
			return err
		}
	}
	return nil
}

// testOneScope: many clients put and remove the same few records. What is left is
// what the changes say, replayed on a snapshot from before, and on those that
// were taken while records came and went.
func testOneScope(s *subject) {
	seed := runSeed(s, 1)
	steps := 200
	if s.config.Slow {
		steps = 60
	}
	followers := []*follower{s.follow()}
	before := s.metrics()
	wait := s.start(6, func(i int) error {
		u := newUniverse(seed)
		u.Rand = newUniverse(seed + uint64(i)).Rand // the same few of everything, in another order
		u.scopes = u.scopes[:1]
		for range steps {
			o := u.write()
			if u.IntN(3) == 0 {
				o = u.read()
			}
			got := o.apply(s.Context(), s)
			if got.err != nil {
				return fmt.Errorf("client %d: %v: %w", i, o, got.err)
			}
			for _, r := range got.records[min(1, len(got.records)):] {
				if o.kind != opByHash && r.Scope != u.scopes[0] {
					return fmt.Errorf("client %d: %v gave %+v", i, o, r)
				}
			}
		}
		return nil
	})
	for range 3 {
		followers = append(followers, s.follow())
	}
	wait()
	for _, f := range followers {
		f.like(s)
	}
	m := s.metrics()
	all := s.all()
	require.Equal(s, uint64(len(all)), m.ResidentBlocks)
	var bytes uint64
	for _, r := range all {
		bytes += r.Bytes
	}
	require.Equal(s, bytes, m.ResidentBytes)
	require.Greater(s, m.Puts, before.Puts)
}

// testCloseUnderLoad: every call ends well or with ErrClosed.
func testCloseUnderLoad(s *subject) {
	seed := runSeed(s, 1)
	working := make(chan struct{}, 4)
	s.each(5, func(i int) error {
		if i == 4 {
			for range 4 {
				<-working
			}
			return s.Close()
		}
		u := newUniverse(seed + uint64(i))
		for n := 0; ; n++ {
			o := u.read()
			if u.IntN(2) == 0 {
				o = u.write()
			}
			err := o.apply(s.Context(), s.Index).err
			if n == 20 || (err != nil && n < 20) {
				working <- struct{}{}
			}
			if errors.Is(err, kvferry.ErrClosed) {
				return nil
			}
			if err != nil {
				return fmt.Errorf("client %d: %v: %w", i, o, err)
			}
		}
	})
}
