package journal_test

import (
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas/pack/internal/journal"
	"github.com/kvferry/kvferry/internal/fault"
	"github.com/kvferry/kvferry/internal/vfs"
)

// only returns an injector that counts operations of one kind on logs.
func only(op string) *fault.Injector {
	var i fault.Injector
	i.Only(func(o, path string) bool { return o == op && strings.HasSuffix(path, ".log") })
	return &i
}

func TestAFailedSyncPoisons(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	i := only("fsync")
	a := open(t, journal.Options{FS: vfs.WithFaults(osFS(t, dir), i.Hook)})
	b := open(t, journal.Options{FS: osFS(t, dir)})
	a.commit(t, journal.Durable, "one")
	a.commit(t, 0, "two")
	i.Reset()
	i.Fail(0, syscall.EIO)
	w := a.lock(t)
	err := w.Append([][]byte{[]byte("three")}, journal.Durable)
	require.ErrorIs(t, err, kvferry.ErrPoisoned)
	require.ErrorIs(t, err, syscall.EIO)
	require.ErrorIs(t, w.Append(nil, 0), kvferry.ErrPoisoned)
	require.ErrorIs(t, w.Sync(), kvferry.ErrPoisoned)
	require.ErrorIs(t, w.Switch(t.Context(), 2, w.Position()), kvferry.ErrPoisoned)
	w.Unlock()
	_, err = a.j.Lock(t.Context(), a.apply)
	require.ErrorIs(t, err, kvferry.ErrPoisoned)
	require.ErrorIs(t, err, syscall.EIO)

	b.commit(t, journal.Durable, "four")
	require.Equal(t, []string{"0000000000000002.log"}, names(t, dir, "log"), "the log is copied, not trusted")
	require.Equal(t, []string{"1:one", "2:two", "3:four"}, b.got)
	require.Equal(t, b.got, a.follow(t), "reading goes on")
	require.Equal(t, b.got, open(t, journal.Options{FS: osFS(t, dir)}).follow(t))
}

func TestAFullDisk(t *testing.T) {
	t.Parallel()
	const long = "a longer payload, half of which is written"
	for what, c := range map[string]struct {
		fail    int // of the writes: the transaction, the words; zeros ahead are there
		want    error
		not     error
		present []string
	}{
		"transaction": {0, kvferry.ErrNoSpace, kvferry.ErrPoisoned, []string{"1:one", "2:two"}},
		"words":       {1, kvferry.ErrPoisoned, nil, []string{"1:one", "2:" + long}}, // it may have become durable
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			i := only("write")
			a := open(t, journal.Options{FS: vfs.WithFaults(osFS(t, dir), i.Hook)})
			a.commit(t, journal.Durable, "one")
			i.Reset()
			i.Fail(c.fail, syscall.ENOSPC)
			w := a.lock(t)
			err := w.Append([][]byte{[]byte(long)}, journal.Durable)
			w.Unlock()
			require.ErrorIs(t, err, c.want)
			require.ErrorIs(t, err, syscall.ENOSPC)
			if c.not != nil {
				require.NotErrorIs(t, err, c.not)
				i.Reset()
				i.Fail(0, syscall.ENOSPC) // no room for zeros ahead, but for the transaction
				a.commit(t, journal.Durable, "two")
				require.Len(t, i.Fired(), 1)
			}
			require.Equal(t, c.present, open(t, journal.Options{FS: osFS(t, dir)}).follow(t))
		})
	}
}

func TestWhatIsBesideFails(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a := open(t, journal.Options{FS: osFS(t, dir)})
	w := a.lock(t)
	txs := []journal.Write{{Parts: [][]byte{[]byte("x")}}}
	require.ErrorIs(t, w.AppendBeside(txs, func() error { return os.ErrClosed }), os.ErrClosed)
	a.add(t, w, journal.Durable, "one")
	w.Unlock()
	require.Equal(t, []string{"1:one"}, open(t, journal.Options{FS: osFS(t, dir)}).follow(t))
	require.Equal(t, a.got, a.follow(t))
}

func TestInvalidAppends(t *testing.T) {
	t.Parallel()
	a := open(t, journal.Options{FS: osFS(t, t.TempDir())})
	w := a.lock(t)
	defer w.Unlock()
	require.ErrorIs(t, w.Append(nil, 4), kvferry.ErrInvalid)
	big := make([]byte, 256<<20)
	require.ErrorIs(t, w.Append([][]byte{big, big, big, big, {0}}, 0), kvferry.ErrInvalid)
	require.NoError(t, w.AppendAll(nil, true))
}
