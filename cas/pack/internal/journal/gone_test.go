package journal_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas/pack/internal/journal"
	"github.com/kvferry/kvferry/internal/vfs"
)

func TestLogOfAStoreIsGone(t *testing.T) {
	t.Parallel()
	for _, o := range []journal.Options{{MustExist: true}, {MustExist: true, ReadOnly: true}} {
		fs := vfs.NewDisk().Process()
		o.FS = fs
		_, _, err := opened(t, o)
		require.ErrorIs(t, err, kvferry.ErrCorrupt)
		require.ErrorContains(t, err, "check --repair")
		list, err := fs.List(".")
		require.NoError(t, err)
		require.Empty(t, list, "nothing was made in place of it")
	}
	told := 0
	got, damage, err := opened(t, journal.Options{
		FS: vfs.NewDisk().Process(), MustExist: true, Repair: true,
		Damaged: func() error { told++; return nil },
	})
	require.NoError(t, err)
	require.Empty(t, got)
	require.Len(t, damage, 1)
	require.Equal(t, 1, told)
}

func TestEmptiedLogIsDamage(t *testing.T) {
	t.Parallel()
	image, _ := rotting(t)
	for _, keep := range []int{0, 64, 512, 2048, 4096, 4608, 8192, 8320} {
		for _, length := range []int{keep, len(image)} {
			emptied := make([]byte, length)
			copy(emptied, image[:keep])
			_, _, err := opened(t, journal.Options{FS: rotten(t, emptied), MustExist: true})
			require.ErrorIs(t, err, kvferry.ErrCorrupt, "%d of %d bytes", keep, length)
			fs := rotten(t, emptied)
			_, damage, err := opened(t, journal.Options{FS: fs, ReadOnly: true, MustExist: true})
			require.NoError(t, err)
			require.NotEmpty(t, damage, "%d of %d bytes", keep, length)
			told := 0
			_, damage, err = opened(t, journal.Options{FS: fs, Repair: true, MustExist: true, Damaged: func() error { told++; return nil }})
			require.NoError(t, err)
			require.NotEmpty(t, damage)
			require.Equal(t, 1, told)
		}
	}
}
