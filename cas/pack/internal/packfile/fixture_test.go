package packfile_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/kvferry/kvferry/cas/pack/internal/packfile"
	"github.com/kvferry/kvferry/codec"
	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/internal/vfs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var storeID = [16]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}

// written is when the records of these tests were written.
const written = 1_700_000_000

// now is a clock that stands still.
func now() time.Time { return time.Unix(written, 5) }

// makeDir returns a file system in a fresh directory below root, with a
// directory for packs; the default directory for temporary files if root is
// empty.
func makeDir(t testing.TB, root string) vfs.FS {
	dir := t.TempDir()
	if root != "" {
		var err error
		dir, err = os.MkdirTemp(root, "kvferry-test-") //nolint:usetesting // in memory, where t.TempDir may not be
		if err != nil {
			t.Skipf("no temporary directory in %s: %v", root, err)
		}
		t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	}
	require.NoError(t, os.Mkdir(filepath.Join(dir, packfile.Dir), 0o700))
	f, err := vfs.OS(dir)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, f.Close()) })
	return f
}

// makeDisk returns an empty disk in memory with a directory for packs.
func makeDisk(t testing.TB) *vfs.Disk {
	d := vfs.NewDisk()
	p := d.Process()
	require.NoError(t, p.Mkdir(packfile.Dir))
	require.NoError(t, p.SyncDir("."))
	require.NoError(t, p.Close())
	return d
}

// onEach runs test on every kind of file system and mode.
func onEach(t *testing.T, test func(t *testing.T, f vfs.FS, direct bool)) {
	places := []struct {
		name string
		make func(t testing.TB) vfs.FS
	}{
		{"temporary", func(t testing.TB) vfs.FS { return makeDir(t, "") }},
		{"memory", func(t testing.TB) vfs.FS { return makeDir(t, "/dev/shm") }},
		{"disk", func(t testing.TB) vfs.FS { return makeDisk(t).Process() }},
	}
	for _, p := range places {
		for _, direct := range []bool{false, true} {
			t.Run(fmt.Sprintf("fs=%s/direct=%v", p.name, direct), func(t *testing.T) {
				t.Parallel()
				test(t, p.make(t), direct)
			})
		}
	}
}

// counter returns ids 1, 2, 3, …
func counter() func() uint64 {
	var n atomic.Uint64
	return func() uint64 { return n.Add(1) }
}

// losses collects what Lost is told.
type losses struct {
	mu   sync.Mutex
	from map[uint64]int64
}

func (l *losses) lost(pack uint64, from int64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, twice := l.from[pack]; twice || err == nil {
		panic("a pack was lost twice, or without a reason")
	}
	l.from[pack] = from
}

// has tells whether s is lost.
func (l *losses) has(s packfile.Spot) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	from, ok := l.from[s.Pack]
	return ok && s.Off >= from
}

// options are those of a lane with small buffers and packs.
func options(f vfs.FS, direct bool) packfile.LaneOptions {
	return packfile.LaneOptions{
		FS: f, Class: packfile.Snapshot, StoreID: storeID, Stream: 9, Direct: direct,
		PackBytes: 1 << 20, BufferBytes: 64 << 10, NextID: counter(), Now: now,
	}
}

// openLane returns a lane that is closed when the test ends.
func openLane(t testing.TB, o packfile.LaneOptions) *packfile.Lane {
	l := packfile.NewLane(o)
	t.Cleanup(func() { _ = l.Close(t.Context()) }) // tests that care close it themselves
	return l
}

func openReader(t testing.TB, f vfs.FS, direct bool) *packfile.Reader {
	r := packfile.NewReader(packfile.ReaderOptions{FS: f, Direct: direct})
	t.Cleanup(func() { require.NoError(t, r.Close()) })
	return r
}

// blob is what a test stores.
type blob struct {
	plain []byte
	rec   []byte
	d     digest.Digest
	at    packfile.Spot
}

// blobOf returns a blob of n bytes that do not compress and depend on seed.
func blobOf(seed uint64, n int) blob {
	r := rand.New(rand.NewPCG(seed, 11))
	p := make([]byte, 0, n+8)
	for len(p) < n {
		p = binary.LittleEndian.AppendUint64(p, r.Uint64())
	}
	h, err := digest.NewHasher(digest.BLAKE3, nil)
	if err != nil {
		panic(err)
	}
	b := blob{plain: p[:n], d: h.Sum(p[:n])}
	b.rec = b.record()
	return b
}

// frame returns the blob's codec frame.
func (b *blob) frame() codec.Frame {
	var e codec.Encoder
	f, err := e.Encode(codec.Hint{Mode: codec.OnlyRaw}, b.plain)
	if err != nil {
		panic(err)
	}
	return f
}

// record returns the blob's record.
func (b *blob) record() []byte {
	f := b.frame()
	rec := make([]byte, packfile.RecordBytes(f.Size()))
	packfile.PutRecord(rec, b.d, written, &f)
	return rec
}

// put appends the blob to the lane and remembers where it is.
func (b *blob) put(t testing.TB, l *packfile.Lane) error {
	var err error
	b.at, err = l.Append(t.Context(), int64(len(b.rec)), func(dst []byte) { copy(dst, b.rec) })
	return err
}

// requireStored reads the blobs and compares them.
func requireStored(t testing.TB, r *packfile.Reader, blobs ...blob) {
	t.Helper()
	for i := range blobs {
		b := &blobs[i]
		require.NoError(t, r.Read(t.Context(), b.at, func(rec []byte) error { return b.check(rec) }))
	}
}

// check tells whether rec is the blob's record.
func (b *blob) check(rec []byte) error {
	if !bytes.Equal(rec, b.rec) {
		return errors.New("another record than was stored")
	}
	var dec codec.Decoder
	plain := make([]byte, len(b.plain))
	n, err := packfile.Decode(plain, rec, b.d, &dec)
	if err != nil {
		return err
	}
	if n != len(plain) || string(plain) != string(b.plain) {
		return fmt.Errorf("other bytes than were stored, %d of %d", n, len(plain))
	}
	return packfile.CheckStored(rec, b.d)
}
