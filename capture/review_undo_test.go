package capture_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/capture"
	"github.com/kvferry/kvferry/pager"
	"github.com/kvferry/kvferry/pager/synthetic"
)

// hooked is an engine that calls functions of the test. Those of Pause and
// Resume get the number of the call, from 1.
type hooked struct {
	pager.Pager
	pause, resume   func(n int) error
	write, release  func()
	paused, resumed int
}

// hook returns the hooks and the engine with the abilities that it has.
func hook(p pager.Pager) (*hooked, pager.Pager) {
	h := &hooked{Pager: p}
	a := pager.AbilitiesOf(p)
	if a.Releaser != nil {
		a.Releaser = releasing{h, a.Releaser}
	}
	return h, pager.Compose(h, a)
}

type releasing struct {
	h     *hooked
	inner pager.Releaser
}

func (r releasing) ReleasePages(ctx context.Context, ids []pager.PageID) error {
	if r.h.release != nil {
		r.h.release()
	}
	return r.inner.ReleasePages(ctx, ids)
}

func (h *hooked) Pause(ctx context.Context) error {
	h.paused++
	if h.pause != nil {
		if err := h.pause(h.paused); err != nil {
			return err
		}
	}
	return h.Pager.Pause(ctx)
}

// Resume resumes the engine in any case.
func (h *hooked) Resume(ctx context.Context) error {
	h.resumed++
	err := h.Pager.Resume(ctx)
	if h.resume != nil {
		err = errors.Join(err, h.resume(h.resumed))
	}
	return err
}

func (h *hooked) WritePage(ctx context.Context, id pager.PageID, src []byte) error {
	if h.write != nil {
		h.write()
	}
	return h.Pager.WritePage(ctx, id, src)
}

// adds lets the engine begin another sequence.
func adds(t *testing.T, e *synthetic.Engine, id string) {
	t.Helper()
	ids, err := e.AllocatePages(t.Context(), 1)
	require.NoError(t, err)
	require.NoError(t, e.WritePage(t.Context(), ids[0], make([]byte, e.Meta().PageBytes())))
	seqs, err := e.LogicalSeqs(t.Context())
	require.NoError(t, err)
	require.NoError(t, e.InstallLogicalSeqs(t.Context(), append(seqs, pager.LogicalSeq{ID: id, Pages: ids})))
}

// twoBusy is an engine of the groups a and b, which run a sequence each, and
// whose group a cannot be resumed the second time. Group b begins a sequence
// just after it was.
func twoBusy(t *testing.T) (w *world, a, b *hooked) {
	t.Helper()
	w = newWorld(t, newMem(t), 0, synthetic.Releaser, synthetic.Releaser).stored(t, 6, capture.Options{})
	for _, e := range w.engines {
		adds(t, e, "own")
	}
	a, w.groups[0].Pager = hook(w.groups[0].Pager)
	b, w.groups[1].Pager = hook(w.groups[1].Pager)
	fail := func(n int) error {
		if n == 2 {
			return errMarker
		}
		return nil
	}
	a.resume = fail
	b.resume = func(n int) error {
		if n == 2 {
			adds(t, w.engines[1], "born")
		}
		return nil
	}
	return w, a, b
}

func idsOf(t *testing.T, e *synthetic.Engine) (ids []string) {
	t.Helper()
	seqs, err := e.LogicalSeqs(t.Context())
	require.NoError(t, err)
	for _, s := range seqs {
		ids = append(ids, s.ID)
	}
	return ids
}

// TestFailedResumeKeepsWhatWasBorn: when a group cannot be resumed after the
// installation, others may run already. What they began stays, what was
// restored goes.
func TestFailedResumeKeepsWhatWasBorn(t *testing.T) {
	t.Parallel()
	w, a, b := twoBusy(t)
	free := []int{w.engines[0].FreePages(), w.engines[1].FreePages()}
	_, err := capture.RestoreGroups(t.Context(), w.store, w.root, w.groups, capture.RestoreOptions{Busy: true, Transfer: w.transfer(2)})
	require.ErrorIs(t, err, errMarker)
	require.NotContains(t, err.Error(), "keeps")
	require.Equal(t, []string{"own"}, idsOf(t, w.engines[0]))
	require.Equal(t, []string{"own", "born"}, idsOf(t, w.engines[1]))
	require.Equal(t, free[0], w.engines[0].FreePages())
	require.Equal(t, free[1]-1, w.engines[1].FreePages())
	require.Equal(t, []int{3, 3}, []int{a.paused, b.paused}, "it is taken out of an engine that stands still")
	require.Equal(t, []int{3, 3}, []int{a.resumed, b.resumed})
	require.Zero(t, w.alloc.live.Load())
	w.balanced(t)
}

// TestFailedResumeThenFailedPause: what cannot be taken out is named.
func TestFailedResumeThenFailedPause(t *testing.T) {
	t.Parallel()
	refuse := errors.New("no third pause")
	for _, first := range []bool{true, false} {
		w, a, b := twoBusy(t)
		free := w.engines[1].FreePages()
		h := b
		if first {
			h = a
		}
		h.pause = func(n int) error {
			if n == 3 {
				return refuse
			}
			return nil
		}
		_, err := capture.RestoreGroups(t.Context(), w.store, w.root, w.groups, capture.RestoreOptions{Busy: true, Transfer: w.transfer(2)})
		require.ErrorIs(t, err, errMarker)
		require.ErrorIs(t, err, refuse)
		require.ErrorContains(t, err, `group "b" keeps 3 restored sequences and their 7 pages`)
		require.ElementsMatch(t, []string{"own", "born", "left", "idle", "right"}, idsOf(t, w.engines[1]))
		require.Equal(t, free-1-7, w.engines[1].FreePages())
		if first {
			require.ErrorContains(t, err, `group "a" keeps 3 restored sequences and their 7 pages`)
		} else {
			require.Equal(t, []string{"own"}, idsOf(t, w.engines[0]), "the group that was paused is cleaned up")
		}
		w.balanced(t)
	}
}

// TestPanicsOnTheWayOut: a second panic, in what undoes the first one's work,
// leaves no group standing.
func TestPanicsOnTheWayOut(t *testing.T) {
	t.Parallel()
	for _, busy := range []bool{false, true} {
		w := newWorld(t, newMem(t), 0, synthetic.Releaser, synthetic.Releaser).stored(t, 6, capture.Options{})
		for i := range w.groups {
			var h *hooked
			h, w.groups[i].Pager = hook(w.groups[i].Pager)
			h.write = func() { panic("write") }
			h.release = func() { panic("release") }
		}
		crash, _ := guarded(func() error {
			_, err := capture.RestoreGroups(t.Context(), w.store, w.root, w.groups, capture.RestoreOptions{Busy: busy, Transfer: w.transfer(2)})
			return err
		})
		require.Equal(t, "release", crash)
		require.Zero(t, w.alloc.live.Load())
		w.balanced(t)
	}
}

// TestPanicOfAResume: the other groups are resumed all the same.
func TestPanicOfAResume(t *testing.T) {
	t.Parallel()
	for _, bad := range []int{0, 1, 2} {
		set := synthetic.Releaser
		w := newWorld(t, newMem(t), 0, set, set, set).stored(t, 6, capture.Options{})
		plain := w.groups
		for name, f := range map[string]func([]capture.Group) error{
			"restore": func(g []capture.Group) error {
				_, err := capture.RestoreGroups(t.Context(), w.store, w.root, g, capture.RestoreOptions{Transfer: w.transfer(2)})
				return err
			},
			"capture": func(g []capture.Group) error {
				_, err := capture.Groups(t.Context(), g, w.store, capture.Options{Transfer: w.transfer(2)})
				return err
			},
		} {
			for _, first := range []string{"", "sequences", "read", "write"} { // what fails before
				groups := slices.Clone(plain)
				var h *hooked
				h, groups[bad].Pager = hook(groups[bad].Pager)
				h.resume = func(int) error { panic("resume") }
				w.calls.failFirst(first, errMarker)
				if first == "" {
					w.calls.disarm()
				}
				crash, _ := guarded(func() error { return f(groups) })
				w.calls.disarm()
				require.Equal(t, "resume", crash, name)
				w.balanced(t)
				require.Zero(t, w.alloc.live.Load(), name)
				require.Zero(t, w.condition(t).Sessions, name)
			}
		}
	}
}

// panicAt makes call k of the given kind panic.
func (c *calls) panicAt(op string, k int) {
	c.arm(k, false, func(string) error { panic(errMarker) }, op)
}

// TestPanicsOfTheStore: a store that panics leaves no memory taken, no session
// open and no engine standing.
func TestPanicsOfTheStore(t *testing.T) {
	t.Parallel()
	for _, set := range []synthetic.Ability{synthetic.Releaser, synthetic.Releaser | synthetic.Mover} {
		for _, k := range []int{0, 3, 20} {
			w := newWorld(t, newMem(t), 24, set)
			before := w.condition(t)
			w.calls.panicAt("put", k)
			crash, _ := guarded(func() error {
				_, err := capture.Groups(t.Context(), w.groups, w.store, capture.Options{Transfer: w.transfer(2)})
				return err
			})
			require.Equal(t, errMarker, crash)
			require.Zero(t, w.alloc.live.Load(), "capture: all staging memory is free")
			w.calls.disarm()
			require.Equal(t, before, w.condition(t))
			w.balanced(t)

			w = newWorld(t, newMem(t), 0, set).stored(t, 24, capture.Options{})
			before = w.condition(t)
			w.calls.panicAt("store get", k+8) // after the manifest and its chunks
			crash, _ = guarded(func() error {
				_, err := capture.RestoreGroups(t.Context(), w.store, w.root, w.groups, capture.RestoreOptions{Transfer: w.transfer(2)})
				return err
			})
			require.Equal(t, errMarker, crash)
			require.Zero(t, w.alloc.live.Load(), "restore: all staging memory is free")
			w.calls.disarm()
			require.Equal(t, before, w.condition(t))
			w.balanced(t)
		}
	}
}

// TestConvertPanics: likewise for a copy from store to store.
func TestConvertPanics(t *testing.T) {
	t.Parallel()
	w := newWorld(t, newMem(t), 0, 0).stored(t, 6, capture.Options{})
	to := newWorld(t, newMem(t), 0, 0)
	before := to.condition(t)
	for _, op := range []string{"put", "commit"} {
		to.calls.panicAt(op, 0)
		o := capture.ConvertOptions{Workers: 1, Names: []string{"copy"}}
		crash, _ := guarded(func() error {
			_, err := capture.Convert(t.Context(), w.inner, w.root, to.store, o)
			return err
		})
		require.NotNil(t, crash, op)
		to.calls.disarm()
		require.Equal(t, before, to.condition(t), "%s: no session is left, nothing is published", op)
	}
	rep, err := capture.Convert(t.Context(), w.inner, w.root, to.store, capture.ConvertOptions{})
	require.NoError(t, err)
	to.verify(t, rep.Root)
}

// TestRenameIsAskedOnce: a sequence that lives in several groups has one new
// name, whatever the caller's function does when it is asked again.
func TestRenameIsAskedOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, newMem(t), 0, 0, 0, 0).stored(t, 6, capture.Options{})
	asked := map[string]int{}
	n := 0
	rep, err := capture.RestoreGroups(t.Context(), w.store, w.root, w.groups, capture.RestoreOptions{
		Transfer: w.transfer(2),
		Rename:   func(id string) string { asked[id]++; n++; return string(rune('p' + n)) },
	})
	require.NoError(t, err)
	require.Equal(t, map[string]int{"left": 1, "idle": 1, "right": 1}, asked)
	require.Equal(t, 3, rep.Sequences)
	for _, e := range w.engines {
		require.ElementsMatch(t, []string{"q", "r", "s"}, idsOf(t, e))
	}
}

// TestPanicsOfReaders: what a store or the caller's own function panics with
// comes out where it can be caught.
func TestPanicsOfReaders(t *testing.T) {
	t.Parallel()
	w := newWorld(t, newMem(t), 0, synthetic.Releaser).stored(t, 6, capture.Options{})
	w.calls.panicAt("store get", 3)
	told := func(capture.Progress) { panic(errMarker) }
	for name, f := range map[string]func() error{
		"verify": func() error {
			_, err := capture.Verify(t.Context(), w.inner, w.root, capture.VerifyOptions{Progress: told})
			return err
		},
		"check": func() error {
			_, err := capture.Check(t.Context(), w.inner, capture.CheckOptions{Progress: told})
			return err
		},
		"convert": func() error {
			_, err := capture.Convert(t.Context(), w.inner, w.root, newMem(t), capture.ConvertOptions{Progress: told})
			return err
		},
		"restore": func() error {
			o := capture.RestoreOptions{Transfer: w.transfer(2)}
			o.Progress = told
			_, err := capture.RestoreGroups(t.Context(), w.inner, w.root, w.groups, o)
			return err
		},
		"verify, store": func() error {
			w.calls.panicAt("store get", 3)
			_, err := capture.Verify(t.Context(), w.store, w.root, capture.VerifyOptions{})
			return err
		},
		"check, store": func() error {
			w.calls.panicAt("store get", 3)
			_, err := capture.Check(t.Context(), w.store, capture.CheckOptions{})
			return err
		},
	} {
		crash, _ := guarded(f)
		require.Equal(t, errMarker, crash, name)
	}
	w.calls.disarm()
	w.balanced(t)
	require.Zero(t, w.alloc.live.Load())

	w = newWorld(t, newMem(t), 6, synthetic.Digester)
	w.calls.panicAt("session has", 1)
	crash, _ := guarded(func() error {
		_, err := capture.Groups(t.Context(), w.groups, w.store, capture.Options{Transfer: w.transfer(2)})
		return err
	})
	require.Equal(t, errMarker, crash, "a look-up during the pause")
	w.calls.disarm()
	w.balanced(t)
	require.Zero(t, w.alloc.live.Load())
	require.Zero(t, w.condition(t).Sessions)
}
