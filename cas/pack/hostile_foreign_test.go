//go:build unix

package pack

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// TestHostileForeign puts things into every folder that are not the store's,
// under names of every form. Nothing is followed, changed, or waited for.
func TestHostileForeign(t *testing.T) {
	t.Parallel()
	root, w := hostileStore(t)
	outside := filepath.Join(t.TempDir(), "outside")
	hostileWrite(t, outside, []byte("not the store's"))
	const high, low = "000fffffffffffff", "0000000000000000"
	for folder, names := range map[string][]string{
		".":        {"README", ".hidden", "kvferry.json.bak", "reserve", "blobs.txt"},
		packsDir:   {"README", high, low + ".pack.bak", "X" + low + ".pack", high + ".PACK", high + ".pack"},
		logDir:     {"README", high + ".LOG", "x.log", "x.new", high + ".log", low + ".log"},
		indexDir:   {"README", "x.new", "x.idx", high + ".idx", high + ".new"},
		streamsDir: {"README", "x", high + ".bak", high, high + ".1"},
	} {
		for i, name := range names {
			at := filepath.Join(root, folder, name)
			if i < 2 || name == high+".bak" {
				hostileWrite(t, at, []byte("foreign"))
			}
			for suffix, create := range map[string]func(at string) error{
				"":  func(at string) error { return os.Symlink(outside, at) },
				"-": func(at string) error { return os.Mkdir(at, 0o700) },
				"+": func(at string) error { return unix.Mkfifo(at, 0o600) },
			} {
				if _, err := os.Lstat(at + suffix); err != nil {
					require.NoError(t, create(at+suffix))
				}
			}
		}
	}
	// Under a name of ours: a directory and a fifo, too.
	require.NoError(t, os.Mkdir(filepath.Join(root, packsDir, "000ffffffffffffe.pack"), 0o700))
	require.NoError(t, unix.Mkfifo(filepath.Join(root, logDir, "0000000000001000.log"), 0o600))
	require.NoError(t, os.Symlink(outside, filepath.Join(root, logDir, "0000000000001001.log")))
	require.NoError(t, unix.Mkfifo(filepath.Join(root, streamsDir, "000ffffffffffffe"), 0o600))
	require.NoError(t, os.Mkdir(filepath.Join(root, indexDir, "0000000000001000.idx"), 0o700))
	before := hostileTree(t, root)

	hostileWorks(t, root, w)
	s := hostileOpen(t, root, w)
	w.capture(t.Context(), s, "more", 12, nil, "more")
	w.drop(t.Context(), s, faultRoot("first"))
	w.collect(t.Context(), s)
	require.NoError(t, s.checkpoint(t.Context()))
	_, err := s.Stats(t.Context())
	require.NoError(t, err)
	require.Empty(t, w.errs)
	require.NoError(t, s.Close())
	hostileWorks(t, root, w)

	after := hostileTree(t, root)
	for name, what := range before {
		if what != "" {
			require.Equal(t, what, after[name], name)
		}
	}
	b, err := os.ReadFile(outside) //nolint:gosec // of the test
	require.NoError(t, err)
	require.Equal(t, "not the store's", string(b))
}

// hostileTree describes what is not the store's: the content of files, and the
// kind of everything else. Of the store's own files it tells nothing.
func hostileTree(t *testing.T, root string) map[string]string {
	t.Helper()
	all := map[string]string{}
	require.NoError(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == root {
			return err
		}
		what := ""
		if !d.Type().IsRegular() {
			what = d.Type().String()
		} else if b, err := os.ReadFile(path); err == nil && string(b) == "foreign" { //nolint:gosec // of the test
			what = "foreign"
		}
		all[path] = what
		return nil
	}))
	return all
}
