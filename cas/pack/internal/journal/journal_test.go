package journal_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas/pack/internal/journal"
	"github.com/kvferry/kvferry/internal/vfs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var storeID = [16]byte{1, 2, 3}

// reader is a state made of a journal: the transactions it was given.
type reader struct {
	j   *journal.Journal
	got []string
}

func (r *reader) apply(t journal.Tx) error {
	r.got = append(r.got, fmt.Sprintf("%d:%s", t.Seq, t.Payload))
	return nil
}

func open(t testing.TB, o journal.Options) *reader {
	t.Helper()
	o.StoreID = storeID
	j, err := journal.Open(context.Background(), o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, j.Close()) })
	return &reader{j: j}
}

func (r *reader) follow(t testing.TB) []string {
	t.Helper()
	require.NoError(t, r.j.Follow(t.Context(), r.apply))
	require.True(t, r.j.Fresh())
	return r.got
}

func (r *reader) lock(t testing.TB) *journal.Writer {
	t.Helper()
	w, err := r.j.Lock(t.Context(), r.apply)
	require.NoError(t, err)
	return w
}

// add appends payloads and makes them effective.
func (r *reader) add(t testing.TB, w *journal.Writer, flags journal.Flags, payloads ...string) {
	t.Helper()
	for _, p := range payloads {
		require.NoError(t, w.Append([][]byte{[]byte(p[:len(p)/2]), []byte(p[len(p)/2:])}, flags))
		r.got = append(r.got, fmt.Sprintf("%d:%s", w.Position().Seq, p))
	}
}

func (r *reader) commit(t testing.TB, flags journal.Flags, payloads ...string) {
	t.Helper()
	w := r.lock(t)
	r.add(t, w, flags, payloads...)
	w.Unlock()
}

// checkpoint replaces the log by one that begins after from.
func (r *reader) checkpoint(t testing.TB, fs vfs.FS, base uint64, from journal.Position) {
	t.Helper()
	writeCheckpoint(t, fs, base)
	w := r.lock(t)
	require.NoError(t, w.Switch(t.Context(), base, from))
	w.Unlock()
}

func writeCheckpoint(t testing.TB, fs vfs.FS, base uint64) {
	t.Helper()
	f, err := fs.Open(fmt.Sprintf("index/%016x.idx", base), vfs.Create)
	require.NoError(t, err)
	require.NoError(t, f.Sync())
	require.NoError(t, f.Close())
}

func osFS(t testing.TB, dir string) vfs.FS {
	t.Helper()
	fs, err := vfs.OS(dir)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, fs.Close()) })
	return fs
}

func names(t testing.TB, dir, sub string) []string {
	t.Helper()
	all, err := os.ReadDir(filepath.Join(dir, sub))
	require.NoError(t, err)
	out := []string{}
	for _, e := range all {
		out = append(out, e.Name())
	}
	return out
}

func TestFollowsWhatOthersAppend(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a, b := open(t, journal.Options{FS: osFS(t, dir)}), open(t, journal.Options{FS: osFS(t, dir)})
	require.Empty(t, a.follow(t))
	require.Empty(t, b.follow(t))
	require.Zero(t, a.j.Base())

	a.commit(t, journal.Durable, "one", "two", "")
	require.True(t, a.j.Fresh(), "own transactions need no following")
	require.False(t, b.j.Fresh())
	require.Equal(t, []string{"1:one", "2:two", "3:"}, b.follow(t))

	b.commit(t, 0, "four")
	a.commit(t, journal.Durable, "five")
	want := []string{"1:one", "2:two", "3:", "4:four", "5:five"}
	require.Equal(t, want, a.got)
	require.Equal(t, want, b.follow(t))
	require.Equal(t, a.j.Bytes(), b.j.Bytes())

	ro := open(t, journal.Options{FS: osFS(t, dir), ReadOnly: true})
	require.Equal(t, want, ro.follow(t))
	_, err := ro.j.Lock(t.Context(), ro.apply)
	require.ErrorIs(t, err, kvferry.ErrReadOnly)
	a.commit(t, journal.Durable, "six")
	require.Equal(t, a.got, ro.follow(t))
	require.Equal(t, a.got, open(t, journal.Options{FS: osFS(t, dir)}).follow(t))
}

func TestLargeTransactionsAndBatches(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a, b := open(t, journal.Options{FS: osFS(t, dir)}), open(t, journal.Options{FS: osFS(t, dir)})
	var want []string
	w := a.lock(t)
	for i, n := range []int{0, 1, 7, 8, 4096, 255 << 10, 3 << 20, 1<<20 - 40, 5} {
		p := make([]byte, n)
		for k := range p {
			p[k] = byte(i + k)
		}
		want = append(want, fmt.Sprintf("%d:%s", len(want)+1, p), fmt.Sprintf("%d:x", len(want)+2))
		require.NoError(t, w.AppendAll([]journal.Write{{Parts: [][]byte{p[:n/3], nil, p[n/3:]}}, {Parts: [][]byte{[]byte("x")}}}, i%2 == 0))
	}
	require.NoError(t, w.Sync())
	w.Unlock()
	require.Len(t, b.follow(t), len(want))
	require.True(t, equal(want, b.got))
	require.True(t, equal(want, open(t, journal.Options{FS: osFS(t, dir)}).follow(t)))
	require.Equal(t, []string{"0000000000000001.log"}, names(t, dir, "log"), "an orderly log is not replaced")
}

func equal(a, b []string) bool { // without printing megabytes
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

func TestSwitchKeepsWhatIsNotInTheCheckpoint(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	fs := osFS(t, dir)
	a, b, c := open(t, journal.Options{FS: fs}), open(t, journal.Options{FS: fs}), open(t, journal.Options{FS: fs, ReadOnly: true})
	a.commit(t, journal.Durable, "one", "two")
	require.Len(t, b.follow(t), 2)
	w := a.lock(t)
	from := w.Position()
	w.Unlock()
	b.commit(t, journal.Durable, "three")
	a.checkpoint(t, fs, 7, from)
	require.Equal(t, uint64(7), a.j.Base())
	require.Equal(t, []string{"0000000000000007.log"}, names(t, dir, "log"))
	require.False(t, b.j.Fresh())
	require.Equal(t, []string{"1:one", "2:two", "3:three"}, b.follow(t))
	require.Equal(t, uint64(7), b.j.Base())
	require.Equal(t, b.got, c.follow(t), "the old log is read while it is open")

	b.commit(t, journal.Durable, "four")
	a.commit(t, journal.Durable, "five")
	require.Equal(t, []string{"1:one", "2:two", "3:three", "4:four", "5:five"}, c.follow(t))
	d := open(t, journal.Options{FS: fs})
	require.Equal(t, []string{"3:three", "4:four", "5:five"}, d.follow(t))

	w = a.lock(t)
	require.ErrorIs(t, w.Switch(t.Context(), 9, from), journal.ErrMoved)
	require.ErrorIs(t, w.Switch(t.Context(), 7, w.Position()), kvferry.ErrInvalid)
	require.ErrorIs(t, w.Switch(t.Context(), 9, w.Position()), os.ErrNotExist, "a checkpoint is needed")
	bad := w.Position()
	bad.Offset -= 8
	writeCheckpoint(t, fs, 9)
	require.Error(t, w.Switch(t.Context(), 9, bad))
	require.NoError(t, w.Switch(t.Context(), 9, w.Position()))
	a.add(t, w, journal.Durable, "six")
	w.Unlock()
	require.Equal(t, a.got, b.follow(t))
	require.Equal(t, []string{"0000000000000009.log"}, names(t, dir, "log"))
	require.Equal(t, []string{"0000000000000009.idx"}, names(t, dir, "index"))
}

func TestOvertakenByCheckpoints(t *testing.T) {
	t.Parallel()
	fs := osFS(t, t.TempDir())
	a, b := open(t, journal.Options{FS: fs}), open(t, journal.Options{FS: fs})
	require.Empty(t, b.follow(t))
	for _, base := range []uint64{2, 3} {
		a.commit(t, journal.Durable, "x", "y")
		w := a.lock(t)
		from := w.Position()
		w.Unlock()
		a.checkpoint(t, fs, base, from)
	}
	a.commit(t, journal.Durable, "z")
	require.ErrorIs(t, b.j.Follow(t.Context(), b.apply), journal.ErrRebased)
	_, err := b.j.Lock(t.Context(), b.apply)
	require.ErrorIs(t, err, journal.ErrRebased)
	require.Equal(t, []string{"1:x", "2:y"}, b.got, "what the old log still told")
	base, err := b.j.Rebase(t.Context())
	require.NoError(t, err)
	require.Equal(t, uint64(3), base)
	b.got = nil
	require.Equal(t, []string{"5:z"}, b.follow(t))
	b.commit(t, journal.Durable, "more")
	require.Equal(t, []string{"5:z", "6:more"}, b.got)
}

func TestApplyFailures(t *testing.T) {
	t.Parallel()
	fs := osFS(t, t.TempDir())
	a, b := open(t, journal.Options{FS: fs}), open(t, journal.Options{FS: fs})
	a.commit(t, 0, "one", "two")
	n := 0
	err := b.j.Follow(t.Context(), func(x journal.Tx) error {
		if n++; n == 2 {
			return os.ErrDeadlineExceeded
		}
		return b.apply(x)
	})
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	require.False(t, b.j.Fresh())
	require.Equal(t, []string{"1:one", "2:two"}, b.follow(t))
}

func TestWaitingForTheLock(t *testing.T) {
	t.Parallel()
	fs := osFS(t, t.TempDir())
	a, b := open(t, journal.Options{FS: fs}), open(t, journal.Options{FS: fs})
	w := a.lock(t)
	for _, r := range []*reader{a, b} {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() {
			_, err := r.j.Lock(ctx, r.apply)
			done <- err
		}()
		require.NoError(t, r.j.Follow(t.Context(), r.apply), "following never waits")
		cancel()
		require.ErrorIs(t, <-done, context.Canceled)
	}
	w.Unlock()
	require.Error(t, w.Append(nil, 0))
	b.commit(t, 0, "x")
	a.commit(t, 0, "y")
	require.Equal(t, []string{"1:x", "2:y"}, a.got)
}

func TestHostileDirectories(t *testing.T) {
	t.Parallel()
	const name = "log/0000000000000001.log"
	for what, damage := range map[string]func(t *testing.T, dir string){
		"removed": func(t *testing.T, dir string) { require.NoError(t, os.Remove(filepath.Join(dir, name))) },
		"replaced": func(t *testing.T, dir string) {
			b, err := os.ReadFile(filepath.Join(dir, name))
			require.NoError(t, err)
			require.NoError(t, os.Rename(filepath.Join(dir, name), filepath.Join(dir, "gone")))
			require.NoError(t, os.WriteFile(filepath.Join(dir, name), b, 0o600))
		},
		"cut off": func(t *testing.T, dir string) { require.NoError(t, os.Truncate(filepath.Join(dir, name), 8200)) },
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			a := open(t, journal.Options{FS: osFS(t, dir)})
			a.commit(t, journal.Durable, "one", "two")
			damage(t, dir)
			_, err := a.j.Lock(t.Context(), a.apply)
			require.ErrorIs(t, err, kvferry.ErrCorrupt)
			require.NotErrorIs(t, err, kvferry.ErrPoisoned)
		})
	}
	t.Run("other store", func(t *testing.T) {
		t.Parallel()
		fs := osFS(t, t.TempDir())
		open(t, journal.Options{FS: fs})
		_, err := journal.Open(t.Context(), journal.Options{FS: fs, StoreID: [16]byte{9}})
		require.ErrorIs(t, err, kvferry.ErrCorrupt)
	})
	t.Run("newer version", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		open(t, journal.Options{FS: osFS(t, dir)})
		b, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		for _, at := range []int{0, 2048} {
			b[at+8] = 2
			binary.LittleEndian.PutUint32(b[at+60:], journal.CRC(b[at:at+60]))
		}
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), b, 0o600))
		_, err = journal.Open(t.Context(), journal.Options{FS: osFS(t, dir), StoreID: storeID})
		require.ErrorIs(t, err, kvferry.ErrUnsupported)
		_, err = journal.Open(t.Context(), journal.Options{FS: osFS(t, dir), StoreID: storeID, Repair: true})
		require.ErrorIs(t, err, kvferry.ErrUnsupported, "what is newer is not repaired")
	})
	t.Run("no log but a checkpoint", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		fs := osFS(t, dir)
		a := open(t, journal.Options{FS: fs})
		writeCheckpoint(t, fs, 4)
		require.NoError(t, os.Remove(filepath.Join(dir, name)))
		_ = a
		_, err := journal.Open(t.Context(), journal.Options{FS: fs, StoreID: storeID})
		require.ErrorIs(t, err, kvferry.ErrCorrupt)
		r := open(t, journal.Options{FS: fs, Repair: true})
		require.Equal(t, uint64(4), r.j.Base())
	})
	t.Run("nothing, read only", func(t *testing.T) {
		t.Parallel()
		_, err := journal.Open(t.Context(), journal.Options{FS: osFS(t, t.TempDir()), StoreID: storeID, ReadOnly: true})
		require.ErrorIs(t, err, kvferry.ErrNotFound)
	})
}

func TestFreshDoesNotAllocate(t *testing.T) {
	fs := osFS(t, t.TempDir())
	a := open(t, journal.Options{FS: fs})
	a.commit(t, 0, "x")
	require.Zero(t, testing.AllocsPerRun(100, func() {
		if !a.j.Fresh() {
			t.Fail()
		}
	}))
}
