package packfile_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/cas/pack/internal/packfile"
	"github.com/kvferry/kvferry/codec"
	"github.com/kvferry/kvferry/internal/vfs"
)

// benchBytes is what one operation of a throughput benchmark moves, in records
// of benchRecord bytes of payload.
const (
	benchBytes  = 1 << 30
	benchRecord = 1 << 20
)

// benchOptions are a lane's as a store uses it, in a temporary directory on the
// disk that go test uses.
func benchOptions(b *testing.B) packfile.LaneOptions {
	o := options(makeDir(b, ""), true)
	o.PackBytes, o.BufferBytes = 0, 0
	return o
}

// removePacks keeps a benchmark from filling the disk.
func removePacks(b *testing.B, f vfs.FS) {
	for _, info := range list(b, f) {
		require.NoError(b, f.Remove(packfile.Dir+"/"+info.Name))
	}
}

// BenchmarkAppend appends records from two goroutines and makes them durable at
// the end; BenchmarkPwrite is what to compare it with.
func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{16 << 10, 1 << 20, 4 << 20} {
		for _, buffers := range []int{2, 3, 4, 6} {
			b.Run(fmt.Sprintf("record=%dKiB/buffers=%d", size>>10, buffers), func(b *testing.B) {
				o := benchOptions(b)
				o.Buffers = buffers
				b.SetBytes(benchBytes)
				b.ReportAllocs()
				for b.Loop() {
					benchFill(b, o, size)
					b.StopTimer()
					removePacks(b, o.FS)
					b.StartTimer()
				}
			})
		}
	}
}

// benchFill writes benchBytes in records of the given size and returns where
// they are.
func benchFill(b *testing.B, o packfile.LaneOptions, size int) []packfile.Spot {
	src := blobOf(1, size)
	f := src.frame()
	n := packfile.RecordBytes(f.Size())
	spots := make([]packfile.Spot, benchBytes/size)
	l := packfile.NewLane(o)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(spots)); i = next.Add(1) - 1 {
				s, err := l.Append(b.Context(), n, func(dst []byte) { packfile.PutRecord(dst, src.d, written, &f) })
				if err != nil {
					b.Errorf("append: %v", err)
					return
				}
				spots[i] = s
			}
		})
	}
	wg.Wait()
	require.NoError(b, l.Sync(b.Context()))
	require.NoError(b, l.Close(b.Context()))
	return spots
}

// BenchmarkPwrite is what the disk does for loops that write to one
// preallocated file, which is made durable in the end.
func BenchmarkPwrite(b *testing.B) {
	const piece = 4 << 20
	for _, writers := range []int{1, 2, 4} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			fsys := makeDir(b, "")
			b.SetBytes(benchBytes)
			b.ReportAllocs()
			for b.Loop() {
				f, err := fsys.Open(packfile.Path(1), vfs.Create|vfs.Direct)
				require.NoError(b, err)
				_ = f.Allocate(benchBytes) // where it can be had
				alongside(b, writers, piece, benchBytes, f.WriteAt)
				require.NoError(b, f.Sync())
				require.NoError(b, f.Close())
				b.StopTimer()
				removePacks(b, fsys)
				b.StartTimer()
			}
		})
	}
}

// alongside calls do for each piece of a file from several goroutines.
func alongside(b *testing.B, workers, piece int, bytes int64, do func(p []byte, off int64) (int, error)) {
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			buf := vfs.Buffer(piece)
			defer vfs.FreeBuffer(buf)
			copy(buf, blobOf(uint64(w), 1<<20).plain)
			for off := int64(w * piece); off < bytes; off += int64(workers * piece) {
				if _, err := do(buf, off); err != nil {
					b.Errorf("at %d: %v", off, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// BenchmarkSync appends and makes durable one record of 2 KiB per operation in
// each of several goroutines, which share synchronisations.
func BenchmarkSync(b *testing.B) {
	src := blobOf(1, 2<<10)
	f := src.frame()
	n := packfile.RecordBytes(f.Size())
	for _, writers := range []int{1, 16} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			l := openLane(b, benchOptions(b))
			b.ReportAllocs()
			b.SetParallelism(writers)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					_, err := l.Append(b.Context(), n, func(dst []byte) { packfile.PutRecord(dst, src.d, written, &f) })
					if err == nil {
						err = l.Sync(b.Context())
					}
					if err != nil {
						b.Errorf("put: %v", err)
						return
					}
				}
			})
		})
	}
}

// BenchmarkRead reads records one by one, in the order in which they lie and in
// batches, and scans packs. BenchmarkPread is what to compare it with.
func BenchmarkRead(b *testing.B) {
	o := benchOptions(b)
	spots := benchFill(b, o, benchRecord)
	want := blobOf(1, benchRecord).d
	r := packfile.NewReader(packfile.ReaderOptions{FS: o.FS, Direct: true})
	defer func() { require.NoError(b, r.Close()) }()
	for _, threads := range []int{1, 2, 4} {
		b.Run(fmt.Sprintf("how=batch/threads=%d", threads), func(b *testing.B) {
			b.SetBytes(benchBytes)
			b.ReportAllocs()
			for b.Loop() {
				r.ReadBatch(b.Context(), spots, threads, func(_ int, rec []byte, err error) {
					if err == nil {
						err = packfile.CheckStored(rec, want)
					}
					if err != nil {
						b.Errorf("read: %v", err)
					}
				})
			}
		})
		b.Run(fmt.Sprintf("how=scan/threads=%d", threads), func(b *testing.B) { benchScan(b, o.FS, r, threads) })
	}
	b.Run("how=read", func(b *testing.B) {
		b.SetBytes(benchRecord)
		b.ReportAllocs()
		var dec codec.Decoder
		plain := make([]byte, benchRecord)
		i := 0
		for b.Loop() {
			err := r.Read(b.Context(), spots[i%len(spots)], func(rec []byte) error {
				_, err := packfile.Decode(plain, rec, want, &dec)
				return err
			})
			require.NoError(b, err)
			i++
		}
	})
}

func benchScan(b *testing.B, f vfs.FS, r *packfile.Reader, threads int) {
	b.SetBytes(benchBytes)
	b.ReportAllocs()
	infos := list(b, f)
	for b.Loop() {
		var next, found atomic.Int64
		var wg sync.WaitGroup
		for range threads {
			wg.Go(func() {
				for i := next.Add(1) - 1; i < int64(len(infos)); i = next.Add(1) - 1 {
					id, _ := packfile.ParseName(infos[i].Name)
					err := r.Scan(context.Background(), id, 0, 0, func(_ int64, _ []byte, err error) bool {
						found.Add(1)
						return err == nil
					})
					if err != nil {
						b.Errorf("scan: %v", err)
					}
				}
			})
		}
		wg.Wait()
		require.Equal(b, int64(benchBytes/benchRecord), found.Load())
	}
}

// BenchmarkPread is what the disk does for loops that read one file.
func BenchmarkPread(b *testing.B) {
	const piece = 4 << 20
	fsys := makeDir(b, "")
	f, err := fsys.Open(packfile.Path(1), vfs.Create|vfs.Direct)
	require.NoError(b, err)
	alongside(b, 2, piece, benchBytes, f.WriteAt)
	require.NoError(b, f.Sync())
	for _, readers := range []int{1, 2, 4} {
		b.Run(fmt.Sprintf("readers=%d", readers), func(b *testing.B) {
			b.SetBytes(benchBytes)
			b.ReportAllocs()
			for b.Loop() {
				alongside(b, readers, piece, benchBytes, f.ReadAt)
			}
		})
	}
	require.NoError(b, f.Close())
}
