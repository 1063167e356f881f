package pack

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/internal/vfs"
)

// hostileStore makes a store with two snapshots, a checkpoint and some packs in
// a directory of the system, and returns what is known of it.
func hostileStore(t *testing.T) (root string, w *faultWorld) {
	t.Helper()
	root = filepath.Join(t.TempDir(), "store")
	w = newFaultWorld(t)
	s := hostileOpen(t, root, w)
	w.capture(t.Context(), s, "first", 12, nil, "one")
	require.NoError(t, s.checkpoint(t.Context()))
	w.capture(t.Context(), s, "second", 12, w.digests("first", 3), "two")
	require.Empty(t, w.errs)
	require.NoError(t, s.Close())
	return root, w
}

func hostileOptions(w *faultWorld) Options {
	o := w.options(nil)
	o.fs = nil
	return o
}

func hostileOpen(t *testing.T, root string, w *faultWorld) *Store {
	t.Helper()
	s, err := Open(root, hostileOptions(w))
	require.NoError(t, err)
	return s
}

func hostileWrite(t *testing.T, path string, text []byte) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o750))
	require.NoError(t, os.WriteFile(path, text, 0o600))
}

// hostileFind returns the one file that matches, or the last.
func hostileFind(t *testing.T, root, pattern string) string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(root, pattern))
	require.NoError(t, err)
	require.NotEmpty(t, all, pattern)
	return all[len(all)-1]
}

// hostilePatch changes bytes of a file.
func hostilePatch(t *testing.T, path string, change func(b []byte)) {
	t.Helper()
	b, err := os.ReadFile(path) //nolint:gosec // of the test
	require.NoError(t, err)
	change(b)
	hostileWrite(t, path, b)
}

// hostileWorks looks whether the store is whole and of use.
func hostileWorks(t *testing.T, root string, w *faultWorld) {
	t.Helper()
	s := hostileOpen(t, root, w)
	w.wholeIn(s, "reopened")
	w.sound(s, "reopened")
	w.errs = nil
	w.capture(t.Context(), s, "again", 5, nil, "again")
	w.collect(t.Context(), s)
	require.Empty(t, w.errs)
	w.wholeIn(s, "collected")
	require.NoError(t, s.Close())
}

// TestHostileMarker opens stores whose first file is not what it should be.
func TestHostileMarker(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(t *testing.T, marker string)
		want   error
		says   string
	}{
		"newer": {func(t *testing.T, m string) {
			hostilePatch(t, m, func(b []byte) { copy(b[bytes.Index(b, []byte(": 1")):], ": 2") })
		}, kvferry.ErrUnsupported, "update kvferry"},
		"another format": {func(t *testing.T, m string) {
			hostilePatch(t, m, func(b []byte) { copy(b[bytes.Index(b, []byte("kvferry-pack")):], "kvferry-bags") })
		}, kvferry.ErrInvalid, "kvferry-bags"},
		"damaged": {func(t *testing.T, m string) {
			hostilePatch(t, m, func(b []byte) { b[0] = '?' })
		}, kvferry.ErrCorrupt, markerName},
		"another id": {func(t *testing.T, m string) {
			hostilePatch(t, m, func(b []byte) { i := bytes.Index(b, []byte(`"id"`)); b[i+7] ^= 1; b[i+8] ^= 2 })
		}, kvferry.ErrCorrupt, "check --repair"},
		"no id":     {func(t *testing.T, m string) { hostileWrite(t, m, []byte(`{"format":"kvferry-pack","version":1}`)) }, kvferry.ErrCorrupt, markerName},
		"empty":     {func(t *testing.T, m string) { hostileWrite(t, m, nil) }, kvferry.ErrCorrupt, markerName},
		"endless":   {func(t *testing.T, m string) { hostileWrite(t, m, bytes.Repeat([]byte(" "), 1<<20)) }, kvferry.ErrCorrupt, markerName},
		"missing":   {func(t *testing.T, m string) { require.NoError(t, os.Remove(m)) }, kvferry.ErrCorrupt, "put it back"},
		"directory": {func(t *testing.T, m string) { require.NoError(t, os.Remove(m)); require.NoError(t, os.Mkdir(m, 0o700)) }, kvferry.ErrInvalid, markerName},
		"link": {func(t *testing.T, m string) {
			require.NoError(t, os.Rename(m, m+".old"))
			require.NoError(t, os.Symlink(m+".old", m))
		}, kvferry.ErrInvalid, markerName},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root, w := hostileStore(t)
			marker := filepath.Join(root, markerName)
			sound, err := os.ReadFile(marker) //nolint:gosec // of the test
			require.NoError(t, err)
			c.change(t, marker)
			_, err = Open(root, hostileOptions(w))
			require.ErrorIs(t, err, c.want)
			require.ErrorContains(t, err, c.says)
			_, err = Open(root, Options{ReadOnly: true})
			require.ErrorIs(t, err, c.want)
			s, err := Open(root, Options{Repair: true})
			if errors.Is(c.want, kvferry.ErrCorrupt) { // the other files tell what it was
				require.NoError(t, err)
				w.wholeIn(s, "repaired")
				require.NoError(t, s.Close())
				hostileWorks(t, root, w)
			} else { // what it is can be told, and is not ours to change
				require.ErrorIs(t, err, c.want)
			}
			require.NoError(t, os.RemoveAll(marker))
			hostileWrite(t, marker, sound)
			hostileWorks(t, root, w)
		})
	}
}

// TestHostilePlaces opens what is no store.
func TestHostilePlaces(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	hostileWrite(t, filepath.Join(dir, "file"), []byte("content"))
	hostileWrite(t, filepath.Join(dir, "files", "blobs", "x"), []byte("content"))
	hostileWrite(t, filepath.Join(dir, "photos", "holiday.jpg"), []byte("content"))
	require.NoError(t, os.Symlink("nowhere", filepath.Join(dir, "dangling")))
	for name, want := range map[string]error{
		"file": kvferry.ErrInvalid, "file/below": kvferry.ErrInvalid, "files": kvferry.ErrInvalid,
	} {
		_, err := Open(filepath.Join(dir, name), Options{})
		require.ErrorIs(t, err, want, name)
	}
	for _, o := range []Options{{ReadOnly: true}, {MustExist: true}} {
		for _, name := range []string{"missing", "missing/below", "photos", "dangling"} {
			_, err := Open(filepath.Join(dir, name), o)
			require.ErrorIs(t, err, kvferry.ErrNotFound, name)
		}
	}
	s, err := Open(filepath.Join(dir, "photos"), Options{}) // what is there does not matter
	require.NoError(t, err)
	require.NoError(t, s.Close())
	b, err := os.ReadFile(filepath.Join(dir, "photos", "holiday.jpg")) //nolint:gosec // of the test
	require.NoError(t, err)
	require.Equal(t, "content", string(b))
}

// TestHostileVersions meets files of a newer version, whose checksums are right.
func TestHostileVersions(t *testing.T) {
	t.Parallel()
	for _, pattern := range []string{"log/*.log", "index/*.idx"} {
		t.Run(filepath.Dir(pattern), func(t *testing.T) {
			t.Parallel()
			root, w := hostileStore(t)
			path := hostileFind(t, root, pattern)
			sound, err := os.ReadFile(path) //nolint:gosec // of the test
			require.NoError(t, err)
			hostilePatch(t, path, hostileNewer)
			for _, o := range []Options{hostileOptions(w), {ReadOnly: true}, {Repair: true}} {
				_, err := Open(root, o)
				require.ErrorIs(t, err, kvferry.ErrUnsupported)
				require.ErrorContains(t, err, "version")
			}
			hostileWrite(t, path, sound)
			hostileWorks(t, root, w)
		})
	}
}

// A collection does not run over a session that it cannot read, whose process
// is of a newer version.
func TestHostileNewerSession(t *testing.T) {
	t.Parallel()
	root, w := hostileStore(t)
	newer := hostileOpen(t, root, w)
	sess, err := newer.Begin(t.Context(), cas.SessionOptions{})
	require.NoError(t, err)
	hostilePatch(t, hostileFind(t, root, "streams/*.1"), func(b []byte) { b[8] = 2 })
	s := hostileOpen(t, root, w)
	_, err = s.Collect(t.Context(), cas.CollectOptions{References: w.references})
	require.ErrorIs(t, err, kvferry.ErrUnsupported)
	require.ErrorContains(t, err, "update kvferry")
	w.capture(t.Context(), s, "third", 3, nil, "three")
	require.NoError(t, sess.Abort(t.Context()))
	w.collect(t.Context(), s)
	require.Empty(t, w.errs)
	w.wholeIn(s, "beside a newer version")
	require.NoError(t, s.Close())
	require.NoError(t, newer.Close())
}

// TestHostileTogether makes a store in several processes at once.
func TestHostileTogether(t *testing.T) {
	t.Parallel()
	for range 5 {
		root := filepath.Join(t.TempDir(), "new")
		var wg sync.WaitGroup
		stores, errs := make([]*Store, 8), make([]error, 8)
		for i := range stores {
			wg.Go(func() { stores[i], errs[i] = Open(root, Options{}) })
		}
		wg.Wait()
		w := newFaultWorld(t)
		for i, s := range stores {
			require.NoError(t, errs[i])
			require.Equal(t, stores[0].id, s.id)
			w.capture(t.Context(), s, strings.Repeat("x", i+1), 2, nil)
		}
		require.Empty(t, w.errs)
		for _, s := range stores {
			w.wholeIn(s, "together")
			require.NoError(t, s.Close())
		}
		all, err := os.ReadDir(root)
		require.NoError(t, err)
		require.Len(t, all, 5, "%v", all)
		hostileWorks(t, root, w)
	}
}

// TestHostilePermissions uses a store that nobody may write any more.
func TestHostilePermissions(t *testing.T) {
	t.Parallel()
	w, f := faultStore(t, changes)
	f.on(fs.ErrPermission)
	_, err := w.s.Begin(t.Context(), cas.SessionOptions{})
	require.ErrorIs(t, err, kvferry.ErrReadOnly)
	require.Error(t, w.s.Catalog().Drop(t.Context(), faultRoot("first")))
	w.wholeIn(w.s, "refused")
	for _, fresh := range []bool{true, false} {
		disk := w.disk
		if fresh {
			disk = vfs.NewDisk()
		}
		o := w.options(vfs.WithFaults(disk.Process(), f.hook))
		s, err := Open("disk", o)
		if err == nil {
			_, err = s.Begin(t.Context(), cas.SessionOptions{})
			require.NoError(t, s.Close())
		}
		require.ErrorIs(t, err, kvferry.ErrReadOnly)
		o = w.options(vfs.WithFaults(disk.Process(), f.hook))
		o.ReadOnly = true
		s, err = Open("disk", o)
		if fresh {
			require.ErrorIs(t, err, kvferry.ErrNotFound)
			continue
		}
		require.NoError(t, err)
		w.wholeIn(s, "for reading")
		require.NoError(t, s.Close())
	}
	f.off()
}

// hostileNewer makes each header of a log or checkpoint say that it is of the
// next version.
func hostileNewer(b []byte) {
	for at := 0; at+64 <= 4096; at += 64 {
		if h := b[at : at+64]; string(h[:4]) == "KVFR" {
			h[8]++
			binary.LittleEndian.PutUint32(h[60:], crc32.Checksum(h[:60], castagnoli))
		}
	}
}
