package journal_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/cas/pack/internal/journal"
	"github.com/kvferry/kvferry/internal/vfs"
)

// TestReadersSeeARecovery: whoever reads a log that a crash left with torn words
// sees what is committed once another process has recovered it.
func TestReadersSeeARecovery(t *testing.T) {
	t.Parallel()
	for word := range 5 {
		d := vfs.NewDisk()
		s, err := openStore(t.Context(), d.Process(), journal.Options{})
		require.NoError(t, err)
		require.NoError(t, s.commit(t.Context(), true, "before"))
		require.NoError(t, s.j.Close())

		// A successor was named, but its own name was lost and a word torn. So the
		// one who recovers writes the word again that everybody watches.
		f, err := d.Process().Open("log/0000000000000001.log", vfs.ReadWrite)
		require.NoError(t, err)
		var b [32]byte
		_, err = f.ReadAt(b[:], 4096)
		require.NoError(t, err)
		w := [4]uint64{journal.Unseal(b[:8]) | 1, journal.Unseal(b[8:16]), 2}
		copy(b[:], slices.Concat(journal.Seal(w[0]), journal.Seal(w[1]), journal.Seal(w[2]), journal.Seal(w[3])))
		if word < 4 {
			b[8*word+7] ^= 0xff
		} else { // the first words are new, and the others old
			copy(b[16:], journal.Seal(0))
			_, err = f.WriteAt([]byte("torn"), int64(w[0]&^1)) // a transaction was, too
			require.NoError(t, err)
		}
		_, err = f.WriteAt(b[:], 4096)
		require.NoError(t, err)
		require.NoError(t, f.Close())

		ro, err := openStore(t.Context(), d.Process(), journal.Options{ReadOnly: true})
		require.NoError(t, err)
		require.Equal(t, []string{"before"}, ro.list)
		s, err = openStore(t.Context(), d.Process(), journal.Options{})
		require.NoError(t, err)
		require.NoError(t, s.commit(t.Context(), true, "after"))

		require.False(t, ro.j.Fresh(), "word %d", word)
		require.NoError(t, ro.renew(t.Context(), ro.j.Follow(t.Context(), ro.apply)))
		require.Equal(t, []string{"before", "after"}, ro.list, "word %d", word)
		require.True(t, ro.j.Fresh())
		require.NoError(t, ro.j.Close())
		require.NoError(t, s.j.Close())
	}
}
