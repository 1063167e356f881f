package disk_test

import (
	"bytes"
	"encoding/hex"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/internal/vfs"
	"github.com/kvferry/kvferry/pipelinecache"
	"github.com/kvferry/kvferry/pipelinecache/disk"
)

// damages are files that hold no artifact and never did.
func damages(t testing.TB) map[string][]byte {
	t.Helper()
	sound := frame(t, noise(1, 500))
	flipped := append([]byte(nil), sound...)
	flipped[100] ^= 1
	footer := append(sound[:len(sound)-digest.Size:len(sound)-digest.Size], bytes.Repeat([]byte{0xA5}, digest.Size)...)
	return map[string][]byte{
		"empty":    {},
		"short":    sound[:31],
		"cut":      sound[:300],
		"flipped":  flipped,
		"footer":   footer,
		"extended": append(append([]byte(nil), sound...), 0),
		"zeros":    make([]byte, 538),
		"garbage":  noise(2, 538),
		"magic":    []byte("VPC0\x01\x00 and nothing that belongs to it follows here"),
	}
}

// TestDamagedFile looks at each kind of damage under each option: the first get
// is ErrCorrupt, and unless files are left the next ones find nothing to read.
func TestDamagedFile(t *testing.T) {
	t.Parallel()
	for name, b := range damages(t) {
		for _, how := range []disk.Damaged{disk.SetAside, disk.Remove, disk.Leave} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				root := t.TempDir()
				s := open(t, root, disk.Options{Damaged: how, Unversioned: len(name)%2 == 0})
				put(t, s, key(2), []byte("beside"))
				require.NoError(t, os.WriteFile(file(root, key(1)), b, 0o600))
				requireMiss(t, s, key(1), kvferry.ErrCorrupt)
				if how == disk.Leave {
					requireMiss(t, s, key(1), kvferry.ErrCorrupt)
					require.FileExists(t, file(root, key(1)))
				} else {
					requireMiss(t, s, key(1), kvferry.ErrNotFound)
				}
				if how == disk.SetAside {
					got, err := os.ReadFile(aside(root, key(1)))
					require.NoError(t, err)
					require.Equal(t, b, got)
				} else {
					require.NoFileExists(t, aside(root, key(1)))
				}
				put(t, s, key(1), []byte("new"))
				requireHas(t, s, key(1), []byte("new"))
				requireHas(t, s, key(2), []byte("beside"))
			})
		}
	}
}

// TestOtherGenerations keeps what others can read.
func TestOtherGenerations(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	stale, err := hex.DecodeString("565043300000636f6d70696c65642d6172746966616374147ff4d564a68ed7727a803ac6d7c0d46cfdd73ae467cd2837db3b1f3b865d18")
	require.NoError(t, err)
	next := footed(t, []byte("VPC0\x02\x00artifact"))
	unknown := append([]byte("VPC0\x02\x00"), noise(1, 200)...) // with another footer
	legacy := footed(t, []byte("an unversioned artifact"))
	empty := footed(t, nil)
	for i, b := range [][]byte{stale, next, unknown, legacy, empty} {
		require.NoError(t, os.WriteFile(file(root, key(i)), b, 0o600))
	}
	before := names(t, root)
	s := open(t, root, disk.Options{})
	for range 2 {
		requireMiss(t, s, key(0), kvferry.ErrUnsupported)
		requireMiss(t, s, key(1), kvferry.ErrUnsupported)
		requireMiss(t, s, key(2), kvferry.ErrCorrupt)
		requireMiss(t, s, key(3), kvferry.ErrUnsupported)
		requireMiss(t, s, key(4), kvferry.ErrUnsupported)
	}
	require.Equal(t, before, names(t, root))
	both := open(t, root, disk.Options{Unversioned: true})
	requireHas(t, both, key(3), []byte("an unversioned artifact"))
	requireHas(t, both, key(4), nil)
	requireMiss(t, both, key(0), kvferry.ErrUnsupported)
	require.Equal(t, before, names(t, root))
}

// TestVersionedFirst: every frame is an unversioned file, too, whose artifact
// would begin with six bytes too many.
func TestVersionedFirst(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), disk.Options{Unversioned: true})
	put(t, s, key(1), []byte("artifact"))
	requireHas(t, s, key(1), []byte("artifact"))
}

func footed(t testing.TB, b []byte) []byte {
	t.Helper()
	h, err := digest.NewHasher(digest.BLAKE3, nil)
	require.NoError(t, err)
	d := h.Sum(b)
	sum := d.Sum()
	return append(append([]byte(nil), b...), sum[:]...)
}

// TestGarbageFiles: 256 files of 1 to 1023 random bytes are misses.
func TestGarbageFiles(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	s := open(t, root, disk.Options{})
	dice := rand.New(rand.NewPCG(1, 2))
	for i := range 256 {
		require.NoError(t, os.WriteFile(file(root, key(i)), noise(uint64(i), 1+dice.IntN(1023)), 0o600))
	}
	for i := range 256 {
		requireMiss(t, s, key(i), kvferry.ErrCorrupt)
		requireMiss(t, s, key(i), kvferry.ErrNotFound)
	}
	require.Equal(t, uint64(512), s.Metrics().Misses)
}

// TestNoRegularFile: a link is a miss even where it leads to a sound frame, and
// so is everything else; a put replaces a link and not what it leads to.
func TestNoRegularFile(t *testing.T) {
	t.Parallel()
	root, outside := t.TempDir(), filepath.Join(t.TempDir(), "outside")
	require.NoError(t, os.WriteFile(outside, frame(t, []byte("outside")), 0o600))
	s := open(t, root, disk.Options{})
	require.NoError(t, os.Symlink("/etc/passwd", file(root, key(1))))
	require.NoError(t, os.Symlink(outside, file(root, key(2))))
	require.NoError(t, os.Mkdir(file(root, key(3)), 0o700))
	require.NoError(t, syscall.Mkfifo(file(root, key(4)), 0o600))
	before := names(t, root)
	for i := 1; i <= 4; i++ {
		requireMiss(t, s, key(i), kvferry.ErrCorrupt)
	}
	require.Equal(t, before, names(t, root))

	put(t, s, key(2), []byte("inside"))
	requireHas(t, s, key(2), []byte("inside"))
	got, err := os.ReadFile(outside)
	require.NoError(t, err)
	require.Equal(t, frame(t, []byte("outside")), got)

	require.Error(t, s.Put(t.Context(), key(3), []byte("over a directory")))
	require.Equal(t, before, names(t, root), "a temporary file is left")
	require.Equal(t, uint64(1), s.Metrics().RejectedPuts)
}

// TestTooLong: a file or artifact beyond the bound is refused before it is read
// or written, and what was there before is gone.
func TestTooLong(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	s := open(t, root, disk.Options{})
	require.NoError(t, os.WriteFile(file(root, key(1)), nil, 0o600))
	require.NoError(t, os.Truncate(file(root, key(1)), int64(pipelinecache.MaxFrameBytes)+1)) // a hole
	requireMiss(t, s, key(1), kvferry.ErrCorrupt)

	put(t, s, key(2), []byte("old"))
	long := make([]byte, pipelinecache.MaxArtifactBytes+1)
	require.ErrorIs(t, s.Put(t.Context(), key(2), long), kvferry.ErrInvalid)
	requireMiss(t, s, key(2), kvferry.ErrNotFound)
	require.Equal(t, []string{filepath.Base(aside(root, key(1)))}, names(t, root))
	require.Equal(t, uint64(1), s.Metrics().RejectedPuts)
	require.NoError(t, s.Flush(t.Context()), "what was pending is gone")
	require.True(t, s.DurabilityReport().Durable)

	put(t, s, key(2), long[1:])
	requireHas(t, s, key(2), long[1:])
}

// TestReplacedWhileLookedAt puts a new file between the look at a damaged one
// and what happens to it.
func TestReplacedWhileLookedAt(t *testing.T) {
	t.Parallel()
	for _, how := range []disk.Damaged{disk.SetAside, disk.Remove} {
		for _, moment := range []string{"stat", "rename", "unlink"} {
			root := t.TempDir()
			f, err := vfs.OS(root)
			require.NoError(t, err)
			other := open(t, root, disk.Options{})
			armed := false
			s, err := disk.OpenFS(vfs.WithFaults(f, func(op, path string) error {
				if armed && op == moment && path != "." {
					armed = false
					return other.Put(t.Context(), key(1), []byte("new"))
				}
				return nil
			}), disk.Options{Damaged: how})
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(file(root, key(1)), noise(1, 100), 0o600))
			armed = true
			_, err = s.Get(t.Context(), key(1))
			require.ErrorIs(t, err, kvferry.ErrCorrupt)
			got, err := s.Get(t.Context(), key(1))
			if moment == "unlink" && how == disk.Remove { // removed what was put: a miss at worst
				require.ErrorIs(t, err, kvferry.ErrNotFound)
			} else if !armed {
				require.NoError(t, err)
				require.Equal(t, []byte("new"), got)
			}
			require.NoError(t, f.Close())
		}
	}
}

// damageInPlace cuts a file, if there is one.
func damageInPlace(path string) error {
	if err := os.Truncate(path, 1000); err != nil && !os.IsNotExist(err) {
		return err
	}
	return nil
}
