package pack

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/cas/pack/internal/packfile"
	"github.com/kvferry/kvferry/internal/vfs"
)

// TestReadsThePackOfThatName: a pack that a reader has open may be gone, and
// another one have its number, as after a crash with the clock turned back. That
// is no damage.
func TestReadsThePackOfThatName(t *testing.T) {
	t.Parallel()
	w, s := classStore(t)
	plain := classPlain()
	d := putIn(t, s, cas.Snapshot, plain)
	_, p := wantClass(t, s, d, cas.Snapshot)
	o := w.options(w.disk.Process())
	o.ReadOnly = true
	ro, err := Open("reader", o)
	require.NoError(t, err)
	defer func() { require.NoError(t, ro.Close()) }()
	got, err := crashRead(t.Context(), ro, d)
	require.NoError(t, err)
	require.Equal(t, plain, got)

	host, path := w.disk.Process(), packfile.Path(p.id)
	old, err := host.Open(path, vfs.ReadWrite)
	require.NoError(t, err)
	image := make([]byte, p.end.Load())
	_, err = old.ReadAt(image, 0)
	require.NoError(t, err)
	_, err = old.WriteAt(make([]byte, len(image)), 0)
	require.NoError(t, err)
	require.NoError(t, old.Close())
	require.NoError(t, host.Remove(path))
	anew, err := host.Open(path, vfs.Create|vfs.Exclusive)
	require.NoError(t, err)
	_, err = anew.WriteAt(image, 0)
	require.NoError(t, err)
	require.NoError(t, anew.Close())

	got, err = crashRead(t.Context(), ro, d)
	require.NoError(t, err)
	require.Equal(t, plain, got)
	sound, err := s.sound(t.Context(), d)
	require.NoError(t, err)
	require.True(t, sound)
}
