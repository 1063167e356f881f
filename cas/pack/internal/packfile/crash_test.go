package packfile_test

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/cas/pack/internal/packfile"
	"github.com/kvferry/kvferry/internal/vfs"
)

func contextThatEnded(t *testing.T) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx, cancel
}

// TestCrashes crashes the disk before every operation of a story, in every mode:
// what was acknowledged by then is there, scans bear with what is left, and a
// lane can go on in any pack behind what was acknowledged.
func TestCrashes(t *testing.T) {
	t.Parallel()
	for _, direct := range []bool{false, true} {
		d := makeDisk(t)
		s := newStory()
		var k atomic.Uint64
		d.Before(func(string, string) {
			acked, seed := s.durable(), k.Add(1)
			if raceEnabled && seed%8 != 0 {
				return
			}
			for _, mode := range []vfs.CrashMode{vfs.LoseAll, vfs.KeepAll, vfs.Random, vfs.Garbage} {
				survive(t, d.Crash(vfs.CrashOptions{Seed: seed, Mode: mode}).Process(), acked, seed)
			}
		})
		s.tell(t, d.Process(), direct)
		require.Empty(t, s.errs)
		require.Greater(t, k.Load(), uint64(60))
		require.Greater(t, len(s.acked), 20)
	}
}

// survive checks what a crash left.
func survive(t *testing.T, f vfs.FS, acked []blob, seed uint64) {
	r := packfile.NewReader(packfile.ReaderOptions{FS: f})
	defer func() { _ = r.Close() }()
	for i := range acked {
		if err := r.Read(t.Context(), acked[i].at, acked[i].check); err != nil {
			t.Errorf("acknowledged before the crash at %d: %v", seed, err)
		}
	}
	ends := map[uint64]int64{}
	for _, b := range acked {
		ends[b.at.Pack] = max(ends[b.at.Pack], b.at.Off+b.at.Bytes)
	}
	for pack, end := range ends {
		seen := map[int64]bool{}
		err := r.Scan(t.Context(), pack, 0, 0, func(off int64, _ []byte, err error) bool {
			seen[off] = err == nil
			return true
		})
		if err != nil {
			t.Errorf("crash at %d: %v", seed, err)
		}
		for _, b := range acked {
			if b.at.Pack == pack && !seen[b.at.Off] {
				t.Errorf("crash at %d: the scan overlooks %+v", seed, b.at)
			}
		}
		if seed%4 == 0 {
			goOn(t, f, r, pack, end)
		}
	}
	for i := range acked { // also after others were written behind them
		if err := r.Read(t.Context(), acked[i].at, acked[i].check); err != nil {
			t.Errorf("after going on from the crash at %d: %v", seed, err)
		}
	}
}

// goOn adopts a pack, appends to it and reads it to its end.
func goOn(t *testing.T, f vfs.FS, r *packfile.Reader, pack uint64, end int64) {
	o := options(f, false)
	offered := false
	o.NextID = func() uint64 { panic("the pack was not adopted") }
	o.Adopt = func() (uint64, int64, bool) {
		first := !offered
		offered = true
		return pack, end, first
	}
	if o.PackBytes < end+1000 {
		return // it is full
	}
	l := packfile.NewLane(o)
	b := blobOf(7, 200)
	err := b.put(t, l)
	if err == nil {
		err = l.Sync(t.Context())
	}
	if err == nil {
		err = l.Close(t.Context())
	}
	if err == nil {
		err = r.Read(t.Context(), b.at, b.check)
	}
	if err != nil {
		t.Errorf("pack %d: %v", pack, err)
		return
	}
	err = r.Scan(t.Context(), pack, end, 0, func(off int64, _ []byte, err error) bool {
		if err != nil || off != b.at.Off {
			t.Errorf("pack %d, end %d: at %d: %v", pack, end, off, err)
		}
		return true
	})
	if err != nil {
		t.Errorf("pack %d: %v", pack, err)
	}
}
