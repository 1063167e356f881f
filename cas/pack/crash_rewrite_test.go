package pack

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/cas/pack/internal/packfile"
	"github.com/kvferry/kvferry/internal/vfs"
)

// TestCrashWhileAFlushIsConfirmed: what was flushed last before a power failure
// outlasts another one while it is confirmed.
func TestCrashWhileAFlushIsConfirmed(t *testing.T) {
	t.Parallel()
	w, s := classStore(t)
	dice := rand.NewChaCha8([32]byte{1})
	plain := make([]byte, 4000) // its record fills a block
	_, _ = dice.Read(plain)
	d := putIn(t, s, cas.Snapshot, plain)
	at, p := wantClass(t, s, d, cas.Snapshot)
	require.NoError(t, w.spoil(packfile.Path(p.id), at.Offset()+2*unitBytes))
	require.NoError(t, s.Quarantine(t.Context(), d))
	x, err := s.Begin(t.Context(), cas.SessionOptions{})
	require.NoError(t, err)
	_, err = x.Put(t.Context(), d, plain)
	require.NoError(t, err)
	require.NoError(t, x.Flush(t.Context()))
	require.NoError(t, x.Abort(t.Context()))

	crashed := w.disk.Crash(vfs.CrashOptions{Mode: vfs.LoseAll})
	crashes, lost := 0, 0
	crashed.Before(func(op, path string) {
		if op != "fsync" || !strings.HasPrefix(path, packsDir) {
			return
		}
		for seed := range uint64(300) {
			again, err := Open("again", w.options(crashed.Crash(vfs.CrashOptions{Mode: vfs.Random, Seed: seed}).Process()))
			require.NoError(t, err)
			crashes++
			if _, err := crashRead(t.Context(), again, d); err != nil {
				lost++
			}
			require.NoError(t, again.Close())
		}
	})
	s, err = Open("crashed", w.options(crashed.Process()))
	require.NoError(t, err)
	require.NoError(t, s.Close())
	t.Logf("%d crashes", crashes)
	require.NotZero(t, crashes)
	require.Zero(t, lost)
}
