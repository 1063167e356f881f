package pack

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/digest"
)

// TestHostileLostWhileClosed takes files away from a store that nobody uses.
func TestHostileLostWhileClosed(t *testing.T) {
	t.Parallel()
	for _, pattern := range []string{"log/*.log", "index/*.idx", "packs/*.pack", "log", "index", "packs"} {
		t.Run(pattern, func(t *testing.T) {
			t.Parallel()
			root, w := hostileStore(t)
			path := hostileFind(t, root, pattern)
			away := filepath.Join(t.TempDir(), "away")
			require.NoError(t, os.Rename(path, away))
			s, err := Open(root, hostileOptions(w))
			if err == nil { // it was a pack: what is in others is there
				var told []cas.Problem
				require.NoError(t, s.Check(t.Context(), func(p cas.Problem) { told = append(told, p) }))
				require.NotEmpty(t, told)
				require.ErrorIs(t, told[0].Err, kvferry.ErrCorrupt)
				lost := 0
				for d := range w.plain {
					if _, err := s.Get(t.Context(), d, make([]byte, 16<<10)); err != nil {
						require.ErrorIs(t, err, kvferry.ErrCorrupt)
						lost++
					}
				}
				require.NotZero(t, lost)
				require.NoError(t, s.Close())
			} else {
				require.ErrorIs(t, err, kvferry.ErrCorrupt)
				require.ErrorContains(t, err, "check --repair")
			}
			require.NoError(t, os.RemoveAll(path))
			require.NoError(t, os.Rename(away, path))
			hostileWorks(t, root, w) // nothing but what was taken was lost
		})
	}
}

// TestHostileLostInUse takes files away from a store in use. What it can still
// do it does, or it says why not, and nothing is lost that was not taken.
func TestHostileLostInUse(t *testing.T) {
	t.Parallel()
	for _, pattern := range []string{"log/*.log", "index/*.idx", "packs/*.pack", "streams/*", markerName} {
		t.Run(pattern, func(t *testing.T) {
			t.Parallel()
			root, w := hostileStore(t)
			s := hostileOpen(t, root, w)
			w.capture(t.Context(), s, "third", 6, nil, "three")
			sess, err := s.Begin(t.Context(), cas.SessionOptions{})
			require.NoError(t, err)
			p, d := w.content("open", 0)
			_, err = sess.Put(t.Context(), d, p)
			require.NoError(t, err)

			away := map[string]string{}
			all, err := filepath.Glob(filepath.Join(root, pattern))
			require.NoError(t, err)
			require.NotEmpty(t, all)
			for i, path := range all {
				away[path] = filepath.Join(t.TempDir(), string(rune('a'+i)))
				require.NoError(t, os.Rename(path, away[path]))
			}
			w.errs = nil
			w.refs[d] = []digest.Digest{d}
			w.note(sess.Commit(t.Context(), cas.Entry{Root: d, Format: cas.FormatNative}))
			w.note(sess.Abort(t.Context()))
			w.capture(t.Context(), s, "fourth", 6, nil, "four")
			w.setName(t.Context(), s, "name", faultRoot("third"))
			w.readAll(t.Context(), s)
			w.collect(t.Context(), s)
			w.note(s.Close())
			for _, err := range w.errs {
				require.ErrorIs(t, err, kvferry.ErrCorrupt)
			}
			if pattern == "streams/*" || pattern == "index/*.idx" { // nobody needs them now
				require.Empty(t, w.errs)
			} else {
				require.NotEmpty(t, w.errs)
			}
			for path, at := range away {
				if _, err := os.Lstat(path); err != nil {
					require.NoError(t, os.Rename(at, path))
				}
			}
			hostileWorks(t, root, w)
		})
	}
}

// TestHostileClock lets clocks jump, also between processes.
func TestHostileClock(t *testing.T) {
	t.Parallel()
	const year = 365 * 24 * time.Hour
	for _, jump := range []time.Duration{-30 * year, -year, -time.Hour, time.Minute, year, 80 * year} {
		t.Run(jump.String(), func(t *testing.T) {
			t.Parallel()
			root, w := hostileStore(t)
			ctx := t.Context()
			o := hostileOptions(w)
			o.CacheTTL = time.Hour
			s, err := Open(root, o)
			require.NoError(t, err)
			sess, err := s.Begin(ctx, cas.SessionOptions{Owner: "before"})
			require.NoError(t, err)
			p, d := w.content("before", 0)
			_, err = sess.Put(ctx, d, p)
			require.NoError(t, err)
			require.NoError(t, sess.Flush(ctx))
			cached, err := s.Begin(ctx, cas.SessionOptions{Class: cas.Cache})
			require.NoError(t, err)
			q, e := w.content("cached", 0)
			_, err = cached.Put(ctx, e, q)
			require.NoError(t, err)

			w.clock.Turn(jump)
			other := hostileOpen(t, root, w) // takes the session for one that may be over
			w.collect(ctx, other)
			w.capture(ctx, other, "other", 4, nil, "other")
			require.Empty(t, w.errs)
			w.refs[d] = []digest.Digest{d}
			if err := sess.Commit(ctx, cas.Entry{Root: d, Format: cas.FormatNative, Created: w.clock.Now()}); err != nil {
				require.ErrorIs(t, err, kvferry.ErrExpired)
				require.Greater(t, jump, cas.DefaultLease)
			} else {
				w.there[d] = true
			}
			n, err := s.Get(ctx, e, make([]byte, 16<<10))
			if err != nil {
				require.ErrorIs(t, err, kvferry.ErrNotFound)
				require.Greater(t, jump, o.CacheTTL)
			} else {
				require.Len(t, q, n)
			}
			w.capture(ctx, s, "after", 4, nil, "after")
			w.clock.Turn(-jump) // and back
			w.capture(ctx, s, "back", 4, nil, "back")
			w.collect(ctx, s)
			require.Empty(t, w.errs)
			w.wholeIn(s, "after the jump")
			require.NoError(t, s.Close())
			require.NoError(t, other.Close())
			hostileWorks(t, root, w)
		})
	}
}
