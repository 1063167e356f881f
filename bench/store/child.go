package store

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"time"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/bench/harness"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/digest"
)

// task is what a child does with a store: a process of its own, one that can be
// killed, or whose memory is only what the task needs.
type task struct {
	Store string `json:"store"`
	Dir   string `json:"dir"`
	// Blobs of blobBytes are put, in sessions of at most sessionBlobs.
	Blobs     int `json:"blobs"`
	BlobBytes int `json:"blob_bytes"`
	// Crash ends the process by a kill after the last commit, without Close.
	Crash bool `json:"crash"`
	// Lookups is how often each way of asking is tried; of Blobs that are there.
	Lookups int `json:"lookups"`
}

// taskResult is what it found.
type taskResult struct {
	OpenSeconds float64 `json:"open_seconds"`
	PutSeconds  float64 `json:"put_seconds"`
	// Memory that the process has more after opening than before, and what the
	// store says of its index; -1 if it does not say.
	ResidentBytes int64 `json:"resident_bytes"`
	IndexBytes    int64 `json:"index_bytes"`
	// Nanoseconds and allocations of one question.
	HasNanos        float64 `json:"has_nanos"`
	HasAllocs       float64 `json:"has_allocs"`
	AbsentNanos     float64 `json:"absent_nanos"`
	SessionNanos    float64 `json:"session_nanos"`
	SessionAllocs   float64 `json:"session_allocs"`
	MissingOfBlobs  int     `json:"missing_of_blobs"`
	PresentOfAbsent int     `json:"present_of_absent"`
}

// child runs a task in a process of its own.
func (b *bench) child(ctx context.Context, t task) (taskResult, error) {
	if len(b.Self) == 0 {
		return taskResult{}, fmt.Errorf("no command for children: %w", kvferry.ErrInvalid)
	}
	t.Store = b.store.name
	arg, err := json.Marshal(t)
	if err != nil {
		return taskResult{}, err
	}
	args := slices.Concat(b.Self[1:], []string{"store", "child", string(arg)})
	cmd := exec.CommandContext(ctx, b.Self[0], args...)
	cmd.Stderr = b.told()
	out, err := cmd.Output()
	var exit *exec.ExitError
	if t.Crash && errors.As(err, &exit) && !exit.Exited() {
		err = nil // killed, as it had to be
	}
	if err != nil {
		return taskResult{}, fmt.Errorf("child: %w", err)
	}
	var r taskResult
	if err := json.Unmarshal(out, &r); err != nil {
		return r, fmt.Errorf("child's result: %w", err)
	}
	if r.MissingOfBlobs > 0 || r.PresentOfAbsent > 0 {
		return r, fmt.Errorf("child: %d of %d blobs are missing, %d are there that were never put",
			r.MissingOfBlobs, t.Lookups, r.PresentOfAbsent)
	}
	return r, nil
}

// Child does the task that its one argument describes, and prints what it
// found: what Env.Self runs in a process of its own.
func Child(ctx context.Context, args []string, stdout io.Writer) error {
	var t task
	if len(args) != 1 {
		return fmt.Errorf("bench store: a child wants one task: %w", kvferry.ErrInvalid)
	}
	if err := json.Unmarshal([]byte(args[0]), &t); err != nil {
		return fmt.Errorf("bench store: task %q: %w: %w", args[0], kvferry.ErrInvalid, err)
	}
	r, s, err := t.open()
	if err != nil {
		return err
	}
	if t.Lookups > 0 {
		err = t.lookUp(ctx, s, &r)
	} else if t.Blobs > 0 {
		err = t.put(ctx, s, &r)
	}
	if err == nil {
		err = json.NewEncoder(stdout).Encode(r)
	}
	if err == nil && t.Crash {
		return killSelf()
	}
	return errors.Join(err, s.Close())
}

// killSelf ends the process as kill -9 does.
func killSelf() error {
	p, err := os.FindProcess(os.Getpid())
	if err != nil {
		return err
	}
	if err := p.Kill(); err != nil {
		return err
	}
	select {} // the signal is on its way
}

// open opens the store and takes the time and the memory of that.
func (t task) open() (r taskResult, s cas.Store, err error) {
	st, err := backendNamed(t.Store)
	if err != nil {
		return r, nil, err
	}
	runtime.GC()
	before, err := residentBytes()
	if err != nil {
		return r, nil, err
	}
	start := time.Now()
	if s, err = st.open(t.Dir); err != nil {
		return r, nil, err
	}
	r.OpenSeconds = time.Since(start).Seconds()
	after, err := residentBytes()
	if err != nil {
		return r, nil, errors.Join(err, s.Close())
	}
	r.ResidentBytes, r.IndexBytes = after-before, -1
	if x, ok := s.(indexed); ok {
		r.IndexBytes = x.IndexBytes()
	}
	return r, s, nil
}

// sessionBlobs bounds a session, as snapshots of a large store are many.
const sessionBlobs = 1 << 20

// put stores the blobs of the task under made-up names, of which the store
// knows no better: hashing is not what is measured here.
func (t task) put(ctx context.Context, s cas.Store, r *taskResult) error {
	start := time.Now()
	pool := newPool(max(16*miB, 2*workers*t.BlobBytes))
	p := &pages{size: t.BlobBytes, count: t.Blobs, pool: pool}
	for first := 0; first < t.Blobs; first += sessionBlobs {
		if err := putMadeUp(ctx, s, p, first, min(first+sessionBlobs, t.Blobs)); err != nil {
			return err
		}
	}
	r.PutSeconds = time.Since(start).Seconds()
	return nil
}

func putMadeUp(ctx context.Context, s cas.Store, p *pages, first, end int) error {
	sess, err := s.Begin(ctx, rawSession())
	if err != nil {
		return err
	}
	err = each(ctx, workers, end-first, func(ctx context.Context, _, i int) error {
		_, err := sess.Put(ctx, madeUp(uint64(first+i)), p.blob(first+i))
		return err
	})
	if err == nil {
		err = sess.Commit(ctx, cas.Entry{Root: madeUp(uint64(first)), Format: cas.FormatNative, Created: time.Now().UTC()})
	}
	if err != nil {
		return errors.Join(err, sess.Abort(context.WithoutCancel(ctx)))
	}
	return nil
}

// madeUp returns the name of blob n of a task.
func madeUp(n uint64) digest.Digest {
	var sum [digest.Size]byte
	for i := range uint64(len(sum) / 8) {
		binary.LittleEndian.PutUint64(sum[8*i:], mix((n*4+i+1)*gamma))
	}
	return digest.New(digest.BLAKE3, sum)
}

// lookUp asks for blobs in no order, there and not there.
func (t task) lookUp(ctx context.Context, s cas.Store, r *taskResult) error {
	there := make([]digest.Digest, t.Lookups)
	for i := range there {
		there[i] = madeUp(mix(uint64(i)) % uint64(t.Blobs))
	}
	absent := make([]digest.Digest, t.Lookups)
	for i := range absent {
		absent[i] = madeUp(uint64(t.Blobs) + mix(uint64(i))>>16)
	}
	sess, err := s.Begin(ctx, rawSession())
	if err != nil {
		return err
	}
	var found int
	if r.HasNanos, r.HasAllocs, found, err = ask(ctx, s.Has, there); err != nil {
		return err
	}
	r.MissingOfBlobs = t.Lookups - found
	if r.AbsentNanos, _, r.PresentOfAbsent, err = ask(ctx, s.Has, absent); err != nil {
		return err
	}
	if r.SessionNanos, r.SessionAllocs, _, err = ask(ctx, sess.Has, there); err != nil {
		return err
	}
	return sess.Abort(ctx)
}

// ask returns what one question takes: the median of ten pieces, so that an
// interruption by something else does not count.
func ask(ctx context.Context, has func(context.Context, digest.Digest) (bool, error), ds []digest.Digest) (nanos, allocs float64, found int, err error) {
	var before, after runtime.MemStats
	var took []float64
	runtime.ReadMemStats(&before)
	for piece := range slices.Chunk(ds, max(len(ds)/10, 1)) {
		start := time.Now()
		for _, d := range piece {
			ok, err := has(ctx, d)
			if err != nil {
				return 0, 0, found, err
			}
			if ok {
				found++
			}
		}
		took = append(took, float64(time.Since(start).Nanoseconds())/float64(len(piece)))
	}
	runtime.ReadMemStats(&after)
	return harness.Median(took), float64(after.Mallocs-before.Mallocs) / float64(len(ds)), found, nil
}
