package disk_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/internal/fault"
	"github.com/kvferry/kvferry/internal/vfs"
	"github.com/kvferry/kvferry/pipelinecache"
	"github.com/kvferry/kvferry/pipelinecache/disk"
)

const crashKeys = 4

// script does what caches do: puts, replacements, flushes, damage, a rejected
// put and a collection. It knows what has to be on the disk after a crash.
type script struct {
	s     *disk.Store
	files vfs.FS // behind the cache's back
	now   map[int][]byte
	sure  map[int][]byte // what a flush made durable and nobody touched since
	seen  map[int][][]byte
	errs  []error
	torn  int // files that crashes left and that no put had written so
}

func newScript(s *disk.Store, files vfs.FS) *script {
	return &script{s: s, files: files, now: map[int][]byte{}, sure: map[int][]byte{}, seen: map[int][][]byte{}}
}

func (x *script) note(err error) bool {
	if err != nil {
		x.errs = append(x.errs, err)
	}
	return err == nil
}

func (x *script) put(ctx context.Context, k, round, length int) {
	artifact := noise(uint64(k*1000+round), length)
	delete(x.sure, k)
	x.seen[k] = append(x.seen[k], artifact)
	if x.note(x.s.Put(ctx, key(k), artifact)) {
		x.now[k] = artifact
	}
}

func (x *script) flush(ctx context.Context) {
	if x.note(x.s.Flush(ctx)) {
		for k, artifact := range x.now {
			x.sure[k] = artifact
		}
	}
}

func (x *script) damage(ctx context.Context, k int) {
	delete(x.sure, k)
	delete(x.now, k)
	f, err := x.files.Open(key(k).String()+".bin", vfs.Create)
	if err == nil {
		_, err = f.WriteAt([]byte("garbage"), 3)
		err = errors.Join(err, f.Close())
	}
	if x.note(err) {
		_, err = x.s.Get(ctx, key(k))
		if !errors.Is(err, kvferry.ErrCorrupt) || strings.Contains(err.Error(), "out of the way") {
			x.note(err)
		}
	}
}

func (x *script) run(ctx context.Context) {
	for round := range 3 {
		for k := range crashKeys {
			x.put(ctx, k, round, 100+2500*k)
			if k%2 == 1 {
				x.flush(ctx)
			}
		}
		_, err := x.s.Get(ctx, key(round))
		x.note(err)
		x.put(ctx, 0, round+10, 700)
	}
	x.damage(ctx, 2)
	x.flush(ctx)
	delete(x.sure, 1)
	delete(x.now, 1)
	if err := x.s.Put(ctx, key(1), make([]byte, pipelinecache.MaxArtifactBytes+1)); !errors.Is(err, kvferry.ErrInvalid) || strings.Contains(err.Error(), "still there") {
		x.note(err)
	}
	_, err := x.s.Collect(ctx, disk.CollectOptions{Aside: true, Stale: true, Corrupt: true})
	x.note(err)
	x.put(ctx, 2, 50, 10)
	x.flush(ctx)
}

// requireSound opens what a crash left. Whatever is served was put for its key,
// and what is sure is there.
func (x *script) requireSound(t testing.TB, left *vfs.Disk, what string) {
	t.Helper()
	s, err := disk.OpenFS(left.Process(), disk.Options{})
	require.NoError(t, err, what)
	for k := range crashKeys {
		got, err := s.Get(t.Context(), key(k))
		if want, sure := x.sure[k]; sure {
			require.NoError(t, err, "%s: key %d was flushed", what, k)
			require.Equal(t, want, got, what)
		} else if errors.Is(err, kvferry.ErrCorrupt) {
			x.torn++
		} else if err == nil {
			require.True(t, wasPut(x.seen[k], got), "%s: key %d has %d bytes that nobody put", what, k, len(got))
		}
		require.NoError(t, s.Put(t.Context(), key(k), []byte("again")), what)
		requireHas(t, s, key(k), []byte("again"))
	}
	require.NoError(t, s.Flush(t.Context()), what)
}

func wasPut(all [][]byte, got []byte) bool {
	for _, a := range all {
		if string(a) == string(got) {
			return true
		}
	}
	return false
}

// TestCrashes lets the power fail before every operation of the script and after
// it, and looks at what may be left: renames without their data, data without
// names, torn and old sectors, garbage.
func TestCrashes(t *testing.T) {
	t.Parallel()
	d := vfs.NewDisk()
	p := d.Process()
	s, err := disk.OpenFS(p, disk.Options{})
	require.NoError(t, err)
	x := newScript(s, p)
	crashes := 0
	crash := func(op, path string) {
		d.Before(nil) // what looks at the crash is not crashed itself
		defer d.Before(nil)
		for i, mode := range []vfs.CrashMode{vfs.LoseAll, vfs.KeepAll, vfs.Random, vfs.Random, vfs.Random, vfs.Garbage, vfs.Garbage, vfs.Garbage} {
			left := d.Crash(vfs.CrashOptions{Seed: uint64(crashes*10 + i), Mode: mode})
			x.requireSound(t, left, fmt.Sprintf("crash %d, before %s %s, mode %d", crashes, op, path, mode))
		}
		crashes++
	}
	var hook func(op, path string)
	hook = func(op, path string) {
		crash(op, path)
		d.Before(hook)
	}
	d.Before(hook)
	x.run(t.Context())
	d.Before(nil)
	require.Empty(t, x.errs)
	crash("the end", "")
	require.Greater(t, crashes, 100)
	require.Len(t, x.sure, 3, "the script ends with something durable")
	require.Greater(t, x.torn, 100, "crashes that tear nothing prove nothing")
	t.Logf("%d moments, 8 crashes each, %d torn files", crashes, x.torn)
}

// TestFaults fails each operation of the script in turn. The fault surfaces, the
// cache serves nothing wrong, and works once it is over.
func TestFaults(t *testing.T) {
	t.Parallel()
	for _, c := range sentinelsOf() {
		t.Run(c.cause.Error(), func(t *testing.T) {
			t.Parallel()
			fired := 0
			for k := 0; runWithFault(t, k, c.cause, c.want); k++ {
				fired++
			}
			require.Greater(t, fired, 100)
			t.Logf("%d operations failed in turn", fired)
		})
	}
}

func runWithFault(t *testing.T, k int, cause, want error) bool {
	var in fault.Injector
	// The lock of a temporary file and what removes it are advice.
	in.Only(func(op, path string) bool {
		return op != "flock" && (op != "unlink" || path[0] != '.')
	})
	d := vfs.NewDisk()
	p := d.Process()
	s, err := disk.OpenFS(vfs.WithFaults(p, in.Hook), disk.Options{})
	require.NoError(t, err)
	in.Reset()
	in.Fail(k, cause)
	x := newScript(s, p)
	x.run(t.Context())
	if len(in.Fired()) == 0 {
		require.Empty(t, x.errs)
		return false
	}
	if fired := in.Fired()[0]; !strings.HasPrefix(fired, "close ") || strings.HasSuffix(fired, ".tmp") {
		require.NotEmpty(t, x.errs, "%s went unnoticed", fired) // closing what was only read matters to nobody
	}
	for _, err := range x.errs {
		if !errors.Is(err, kvferry.ErrNotFound) { // a get of what was never put
			require.ErrorIs(t, err, want, "%v", in.Fired())
		}
	}
	for k := range crashKeys {
		if got, err := s.Get(t.Context(), key(k)); err == nil {
			require.True(t, wasPut(x.seen[k], got), "%v", in.Fired())
		}
	}
	for k, artifact := range x.sure {
		requireHas(t, s, key(k), artifact)
	}
	put(t, s, key(0), []byte("over"))
	require.NoError(t, s.Flush(t.Context()))
	requireHas(t, s, key(0), []byte("over"))
	for name := range d.Files() {
		require.NotContains(t, name, ".tmp", "%v left a temporary file", in.Fired())
	}
	return true
}
