package pack

import (
	"io/fs"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/internal/vfs"
)

func TestStoreWithoutItsLogIsNoNewStore(t *testing.T) {
	t.Parallel()
	for _, rest := range []bool{false, true} {
		d := buildRuin(t, rest).disk
		remove(t, d, "log/*.log")
		before := contentOf(t, d)
		for _, o := range []Options{{}, {MustExist: true}, {ReadOnly: true}} {
			o.fs = d.Process()
			_, err := Open("ruin", o)
			require.ErrorIs(t, err, kvferry.ErrCorrupt)
			require.ErrorContains(t, err, "check --repair")
		}
		require.Equal(t, before, contentOf(t, d))
	}
}

func TestLostMarker(t *testing.T) {
	t.Parallel()
	d := buildRuin(t, false).disk
	remove(t, d, "kvferry.json")
	remove(t, d, "log/*")
	before := contentOf(t, d)
	for _, o := range []Options{{}, {MustExist: true}} {
		o.fs = d.Process()
		_, err := Open("ruin", o)
		require.ErrorIs(t, err, kvferry.ErrCorrupt)
		require.ErrorContains(t, err, "lost kvferry.json")
	}
	require.Equal(t, before, contentOf(t, d), "no store was made over it")
}

func TestMarkerIsTakenFromTheOtherFiles(t *testing.T) {
	t.Parallel()
	r := buildRuin(t, true)
	name := "kvferry.json"
	spoil := map[string]func(d *vfs.Disk){
		"gone":    func(d *vfs.Disk) { remove(t, d, name) },
		"no JSON": func(d *vfs.Disk) { flipBits(t, d.Process(), name, 0) },
		"other id": func(d *vfs.Disk) {
			flipBits(t, d.Process(), name, int64(8*(len(contentOf(t, d)[name])-6))) // a digit stays one
		},
	}
	for what, do := range spoil {
		d := r.disk.Snapshot()
		do(d)
		_, err := Open("ruin", ruinOptions(d.Process()))
		require.ErrorIs(t, err, kvferry.ErrCorrupt, what)
		require.ErrorContains(t, err, "check --repair", what)
		o := ruinOptions(d.Process())
		o.ReadOnly = true
		_, err = Open("ruin", o)
		require.ErrorIs(t, err, kvferry.ErrCorrupt, what)
		require.ErrorContains(t, err, "check --repair", what)

		o = ruinOptions(d.Process())
		o.Repair = true
		s, err := Open("ruin", o)
		require.NoError(t, err, what)
		require.NotEmpty(t, problems(t, s), what)
		require.True(t, r.same(t, s), what)
		require.NoError(t, s.Close())
		require.Equal(t, contentOf(t, r.disk)[name], contentOf(t, d)[name], what)
	}
}

func TestPacksOfOtherStoresStay(t *testing.T) {
	t.Parallel()
	r, other := buildRuin(t, true), buildRuin(t, false)
	for name, b := range contentOf(t, other.disk) {
		if p := r.disk.Process(); len(name) > 6 && name[:6] == "packs/" {
			f, err := p.Open("packs/00000000000000ab.pack", vfs.Create)
			require.NoError(t, err)
			_, err = f.WriteAt([]byte(b), 0)
			require.NoError(t, err)
			require.NoError(t, f.Close())
		}
	}
	s, err := Open("ruin", ruinOptions(r.disk.Process()))
	require.NoError(t, err)
	_, err = s.Collect(t.Context(), r.collect())
	require.NoError(t, err)
	require.NoError(t, s.Close())
	require.Len(t, files(r.disk, "packs/00000000000000ab.pack"), 1)
}

// mounted is a file system that cannot be written.
type mounted struct{ vfs.FS }

func (m mounted) Open(name string, how vfs.Mode) (vfs.File, error) {
	if how&(vfs.ReadWrite|vfs.Create) != 0 {
		return nil, refused("open", name)
	}
	return m.FS.Open(name, how)
}

func (m mounted) Mkdir(name string) error     { return refused("mkdir", name) }
func (m mounted) Remove(name string) error    { return refused("remove", name) }
func (m mounted) Rename(from, _ string) error { return refused("rename", from) }

func refused(op, name string) error { return &fs.PathError{Op: op, Path: name, Err: syscall.EROFS} }

func TestReadOnlyFileSystem(t *testing.T) {
	t.Parallel()
	r := buildRuin(t, true)
	_, err := Open("ruin", ruinOptions(mounted{r.disk.Process()}))
	require.ErrorIs(t, err, kvferry.ErrReadOnly)
	o := ruinOptions(mounted{r.disk.Process()})
	o.ReadOnly = true
	s, err := Open("ruin", o)
	require.NoError(t, err)
	require.True(t, r.same(t, s))
	require.NoError(t, s.Close())
}

func TestWithoutStreams(t *testing.T) {
	t.Parallel()
	r := buildRuin(t, true)
	require.NoError(t, r.disk.Process().Remove("streams"))
	o := ruinOptions(r.disk.Process())
	o.ReadOnly = true
	s, err := Open("ruin", o)
	require.NoError(t, err)
	require.True(t, r.same(t, s))
	require.Empty(t, problems(t, s))
	_, err = s.Stats(t.Context())
	require.NoError(t, err)
	require.NoError(t, s.Close())
	s, err = Open("ruin", ruinOptions(r.disk.Process()))
	require.NoError(t, err)
	r.commit(t, s, "new", 3, nil)
	require.NoError(t, s.Close())
}
