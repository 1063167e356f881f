package dir

import (
	"context"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/digest"
)

// device keeps of a directory what a power failure would leave: the content of
// files that were synchronised, and of directories the entries that they had
// when they were. It learns of each operation before it is done, one at a
// time, so a synchronisation counts when the next operation comes.
type device struct {
	t    *testing.T
	root string

	mu      sync.Mutex
	pending func()
	files   map[uint64][]byte            // durable content by inode
	dirs    map[string]map[string]uint64 // durable entries by directory
	events  int
	at      func(event int) // called before an operation
}

func newDevice(t *testing.T, root string) *device {
	d := &device{t: t, root: root, files: map[uint64][]byte{}, dirs: map[string]map[string]uint64{}}
	d.syncTree()
	return d
}

func inode(info fs.FileInfo) uint64 { return info.Sys().(*syscall.Stat_t).Ino }

// syncTree makes everything durable.
func (d *device) syncTree() {
	require.NoError(d.t, filepath.WalkDir(d.root, func(path string, e fs.DirEntry, err error) error {
		if err == nil {
			rel, _ := filepath.Rel(d.root, path)
			d.syncPath(rel)
		}
		return err
	}))
}

func (d *device) syncPath(rel string) {
	path := filepath.Join(d.root, rel)
	info, err := os.Lstat(path)
	if err != nil {
		return // the operation failed
	}
	if !info.IsDir() {
		b, err := os.ReadFile(path)
		require.NoError(d.t, err)
		d.files[inode(info)] = b
		return
	}
	entries := map[string]uint64{}
	list, err := os.ReadDir(path)
	require.NoError(d.t, err)
	for _, e := range list {
		info, err := e.Info()
		require.NoError(d.t, err)
		entries[e.Name()] = inode(info)
	}
	d.dirs[rel] = entries
}

func (d *device) hook(op, rel string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.pending != nil {
		d.pending()
		d.pending = nil
	}
	if d.at != nil {
		d.at(d.events)
	}
	d.events++
	switch op {
	case "fsync":
		d.pending = func() { d.syncPath(rel) }
	case "syncfs":
		d.pending = d.syncTree
	}
	return nil
}

// clone writes what is left after a power failure to a new directory. Changes
// that were not made durable are lost, or have happened; torn gives what files
// have whose content was not made durable.
func (d *device) clone(happened bool, torn func(full []byte) []byte) string {
	to := memory(d.t)
	var copyDir func(rel string)
	copyDir = func(rel string) {
		entries := d.dirs[rel]
		if happened {
			entries = maps.Clone(entries)
			list, err := os.ReadDir(filepath.Join(d.root, rel))
			require.NoError(d.t, err)
			clear(entries)
			if entries == nil {
				entries = map[string]uint64{}
			}
			for _, e := range list {
				info, err := e.Info()
				require.NoError(d.t, err)
				entries[e.Name()] = inode(info)
			}
		}
		for name, ino := range entries {
			from := filepath.Join(d.root, rel, name)
			info, err := os.Lstat(from)
			if err == nil && info.IsDir() {
				require.NoError(d.t, os.Mkdir(filepath.Join(to, rel, name), 0o755))
				copyDir(filepath.Join(rel, name))
				continue
			}
			content, durable := d.files[ino]
			if !durable {
				full, _ := os.ReadFile(from) // gone in the meantime: it may be anything
				content = torn(full)
			}
			require.NoError(d.t, os.WriteFile(filepath.Join(to, rel, name), content, 0o644))
		}
	}
	copyDir(".")
	return to
}

// TestPowerFailure cuts the power before every operation of a session, and
// again when the commit returned. Whatever the catalog then has is whole, what
// was committed is there, and a new session that stores the same content is
// not misled by what it finds.
func TestPowerFailure(t *testing.T) {
	t.Parallel()
	for _, group := range []int{-1, 0} { // one by one, and together
		s, root := openForCrash(t, group)
		ctx := context.Background()
		var parts [][]byte
		for i := range 3 {
			parts = append(parts, slices.Repeat([]byte{byte(i), 2, 3, 5, 7, 11, 13, 17, 19}, 300))
		}
		first := crashCommit(ctx, t, s, "first", parts[:2])
		d := newDevice(t, root)
		s.fs.fault = d.hook
		crashes := 0
		tear := map[string]func([]byte) []byte{
			"empty": func([]byte) []byte { return nil },
			"zeros": func(full []byte) []byte { return make([]byte, len(full)) },
			"half":  func(full []byte) []byte { return full[:len(full)/2] },
		}
		d.at = func(int) {
			for name, torn := range tear {
				for _, happened := range []bool{false, true} {
					if happened == (name != "empty") {
						crashes++
						crashed(t, d.clone(happened, torn), parts, first)
					}
				}
			}
		}
		second := crashCommit(ctx, t, s, "second", parts)
		d.at = nil
		require.NoError(t, d.hook("end", ""))
		for name, torn := range tear {
			t.Log(name)
			crashed(t, d.clone(false, torn), parts, first, second)
		}
		s.fs.fault = nil
		require.NoError(t, s.Close())
		require.Greater(t, crashes, 75)
	}
}

// memory is a directory in memory where there is one: the test opens hundreds
// of stores.
func memory(t testing.TB) string {
	root, err := os.MkdirTemp("/dev/shm", "kvferry-test-") //nolint:usetesting // in memory, where t.TempDir may not be
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(root)) })
	return root
}

func openForCrash(t *testing.T, group int) (*Store, string) {
	root := memory(t)
	s, err := Open(root, Options{})
	require.NoError(t, err)
	s.workers = 1
	s.group = group
	return s, root
}

// crashCommit commits a snapshot whose root is the digests of the parts.
func crashCommit(ctx context.Context, t *testing.T, s *Store, name string, parts [][]byte) digest.Digest {
	sess, err := s.Begin(ctx, cas.SessionOptions{})
	require.NoError(t, err)
	h, err := digest.NewHasher(digest.BLAKE3, nil)
	require.NoError(t, err)
	var list []string
	for _, p := range parts {
		d := h.Sum(p)
		_, err := sess.Put(ctx, d, p)
		require.NoError(t, err)
		list = append(list, d.String())
	}
	text := []byte(strings.Join(list, "\n"))
	root := h.Sum(text)
	_, err = sess.Put(ctx, root, text)
	require.NoError(t, err)
	require.NoError(t, sess.Commit(ctx, cas.Entry{Root: root, Format: cas.FormatNative, Created: time.Unix(1, 0), Names: []string{name}}))
	return root
}

// crashed opens what a power failure left.
func crashed(t *testing.T, root string, parts [][]byte, want ...digest.Digest) {
	ctx := context.Background()
	s, err := Open(root, Options{})
	require.NoError(t, err)
	entries, err := s.Catalog().Entries(ctx)
	require.NoError(t, err)
	var got []digest.Digest
	for _, e := range entries {
		got = append(got, e.Root)
		wantReadable(t, s, e.Root)
	}
	require.Subset(t, got, want)
	wantReadable(t, s, crashCommit(ctx, t, s, "again", parts))
	require.NoError(t, s.Close())
	require.NoError(t, os.RemoveAll(root))
}

func wantReadable(t *testing.T, s *Store, root digest.Digest) {
	r, err := cas.NewReader(s, nil)
	require.NoError(t, err)
	text, err := r.ReadAll(context.Background(), root, 1<<20)
	require.NoError(t, err)
	for _, line := range strings.Split(string(text), "\n") {
		d, err := digest.Parse(line)
		require.NoError(t, err)
		_, err = r.ReadAll(context.Background(), d, 1<<20)
		require.NoError(t, err)
	}
}
