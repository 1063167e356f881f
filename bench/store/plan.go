package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
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
	run         func(ctx context.Context, b *bench, s *section) error
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
	rounds                   int
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

// scales are what -scale chooses from. The full scale is made for a disk of
// about 1 GB/s and ten minutes.
func scales() map[string]scale {
	return map[string]scale{
		"full": {
			rounds: 5, fioBytes: giB, writeBytes: 2 * giB, amplifyBytes: 512 * miB,
			smallOurs: 1024, smallFiles: 64, indexBlobs: 1e7, indexLookups: 2e6,
			crashBytes: 4 * giB, crashBlobs: 600_000, collectBytes: 2 * giB, foreBytes: 64 * miB,
			copyBytes: giB, peerBytes: 2 * giB, chunkBytes: 32 * miB, chunkAll: giB, poolBytes: giB,
		},
		"smoke": {
			rounds: 1, fioBytes: 4 * miB, writeBytes: 4 * miB, amplifyBytes: 2 * miB,
			smallOurs: 4, smallFiles: 2, indexBlobs: 500, indexLookups: 1000,
			crashBytes: 2 * miB, crashBlobs: 100, collectBytes: 4 * miB, foreBytes: miB,
			copyBytes: 4 * miB, peerBytes: 4 * miB, chunkBytes: miB, chunkAll: 4 * miB, poolBytes: 4 * miB,
		},
	}
}

// bench is one run.
type bench struct {
	scale
	root   string // removed in the end
	store  backend
	fio    string // binary; empty where there is none
	peers  string
	self   string // this program, for children
	stderr io.Writer
	report *report
	pool   []byte
	serial int
}

func newBench(ctx context.Context, o options, stderr io.Writer) (*bench, error) {
	sc, ok := scales()[o.scale]
	if !ok {
		return nil, fmt.Errorf("no scale %q", o.scale)
	}
	if o.rounds > 0 {
		sc.rounds = o.rounds
	}
	st, err := backendNamed(o.store)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	root, err := os.MkdirTemp(o.dir, "bench-store-")
	if err != nil {
		return nil, err
	}
	if root, err = filepath.Abs(root); err != nil {
		return nil, err
	}
	b := &bench{scale: sc, root: root, store: st, self: self, stderr: stderr}
	if o.peers != "" {
		if b.peers, err = filepath.Abs(o.peers); err != nil {
			return nil, err
		}
	}
	if b.fio, err = exec.LookPath("fio"); err != nil || !b.direct() {
		b.logf("no fio, or no O_DIRECT in %s: fio's figures are left out", o.dir)
		b.fio = ""
	}
	b.report = newReport(conditions(ctx, b, o))
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

func (b *bench) close() {
	if err := os.RemoveAll(b.root); err != nil {
		b.logf("%v", err)
	}
}

func (b *bench) logf(format string, args ...any) {
	_, _ = fmt.Fprintf(b.stderr, "store: "+format+"\n", args...) // nobody can be told
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
func (b *bench) settle() error { return syncFS(b.root) }
