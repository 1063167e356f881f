package store

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	"github.com/kvferry/kvferry/bench/harness"
)

const (
	kiB = 1 << 10
	miB = 1 << 20
	giB = 1 << 30
)

// workers is how many goroutines capture and restore, and fio's jobs: as the
// goals have it.
const workers = 2

// measure is one of the things to find out.
type measure struct {
	name, title string
	run         func(ctx context.Context, b *bench, s *harness.Section) error
}

// measures lists what a run does, in order.
func measures() []measure {
	return []measure{
		{"write", "Sequential write, durable, hashed", measureWrite},
		{"read", "Cold read, verified", measureRead},
		{"amplify", "Write amplification", measureAmplify},
		{"small", "Durable small puts", measureSmall},
		{"index", "Index of many blobs", measureIndex},
		{"crash", "Opening after a crash", measureCrash},
		{"collect", "Collection of garbage", measureCollect},
		{"peers", "Beside restic and kopia", measurePeers},
		{"chunks", "Beside engines' disk tiers", measureChunks},
	}
}

// scale says how much each measurement moves.
type scale struct {
	fioBytes, writeBytes     int64
	amplifyBytes             int64
	smallOurs, smallFiles    int // puts of each of the writers
	indexBlobs, indexLookups int
	crashBytes               int64
	crashBlobs               int
	collectBytes, foreBytes  int64
	copyBytes, peerBytes     int64
	chunkBytes               int   // of the larger chunk
	chunkAll                 int64 // of all chunks of a size
	poolBytes                int64 // memory that pages are taken from; far more than any cache
}

// scaleOf returns what a scale moves. They are made for a disk of about 1 GB/s:
// the full one for five minutes, the quick one for half a minute.
func scaleOf(s harness.Scale) scale {
	switch s {
	case harness.Full:
		return scale{
			fioBytes: 512 * miB, writeBytes: giB, amplifyBytes: 512 * miB,
			smallOurs: 1024, smallFiles: 64, indexBlobs: 1e7, indexLookups: 1e6,
			crashBytes: 2 * giB, crashBlobs: 600_000, collectBytes: 2 * giB, foreBytes: 64 * miB,
			copyBytes: giB, peerBytes: giB / 2, chunkBytes: 32 * miB, chunkAll: giB / 2, poolBytes: giB,
		}
	case harness.Smoke:
		return scale{
			fioBytes: 4 * miB, writeBytes: 4 * miB, amplifyBytes: 2 * miB,
			smallOurs: 4, smallFiles: 2, indexBlobs: 500, indexLookups: 1000,
			crashBytes: 2 * miB, crashBlobs: 100, collectBytes: 4 * miB, foreBytes: miB,
			copyBytes: 4 * miB, peerBytes: 4 * miB, chunkBytes: miB, chunkAll: 4 * miB, poolBytes: 4 * miB,
		}
	}
	return scale{
		fioBytes: 128 * miB, writeBytes: 256 * miB, amplifyBytes: 64 * miB,
		smallOurs: 256, smallFiles: 16, indexBlobs: 1e6, indexLookups: 2e5,
		crashBytes: 256 * miB, crashBlobs: 100_000, collectBytes: 256 * miB, foreBytes: 32 * miB,
		copyBytes: 256 * miB, peerBytes: 256 * miB, chunkBytes: 32 * miB, chunkAll: 128 * miB, poolBytes: 256 * miB,
	}
}

// bench is one run.
type bench struct {
	*harness.Env
	scale
	rounds int
	root   string // empty, and ours
	store  backend
	// pastCache says that bytes can be moved past the page cache; fio is the
	// binary, empty where there is none or it could not do that.
	pastCache bool
	fio       string
	pool      []byte
	serial    int
}

// newBench finds out what this machine has.
func newBench(ctx context.Context, e *harness.Env, s *harness.Section, o *Options) (*bench, error) {
	st, err := o.backend()
	if err != nil {
		return nil, err
	}
	b := &bench{Env: e, scale: scaleOf(e.Scale), rounds: e.Rounds, root: e.Dir, store: st}
	b.pastCache = b.direct()
	if path, err := exec.LookPath("fio"); err == nil && b.pastCache {
		b.fio = path
		s.Version(version(ctx, path))
	}
	return b, nil
}

// direct reports whether the file system can move bytes past the page cache.
func (b *bench) direct() bool {
	path := filepath.Join(b.root, "direct")
	f, err := openDirect(path, os.O_CREATE|os.O_WRONLY)
	if err != nil {
		return false
	}
	return errors.Join(f.Close(), os.Remove(path)) == nil
}

// told is where the programs that are run say what they have to say.
func (b *bench) told() io.Writer { return logWriter{b.Log} }

// logWriter logs what is written, at most a line of each write.
type logWriter struct {
	log func(format string, args ...any)
}

func (w logWriter) Write(p []byte) (int, error) {
	w.log("%s", bytes.TrimSpace(p))
	return len(p), nil
}

// folder makes a new empty folder for one thing to measure.
func (b *bench) folder(name string) (string, error) {
	b.serial++
	path := filepath.Join(b.root, name+"-"+strconv.Itoa(b.serial))
	return path, os.Mkdir(path, 0o755)
}

// drop removes a folder and lets the disk come to rest, so that nothing of it
// is paid by what is measured next.
func (b *bench) drop(path string) error {
	if err := os.RemoveAll(path); err != nil {
		return err
	}
	return b.settle()
}

// settle waits until everything written on the file system is on the disk.
func (b *bench) settle() error { return harness.SyncFS(b.root) }
