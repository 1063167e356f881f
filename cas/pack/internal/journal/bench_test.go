package journal_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/cas/pack/internal/journal"
)

func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{64, 1 << 10, 64 << 10} {
		for _, flags := range []journal.Flags{0, journal.Durable} {
			b.Run(fmt.Sprintf("size=%d/durable=%t", size, flags == journal.Durable), func(b *testing.B) {
				a := open(b, journal.Options{FS: osFS(b, b.TempDir())})
				parts := [][]byte{make([]byte, size/2), make([]byte, size/2)}
				b.SetBytes(int64(size))
				b.ReportAllocs()
				n := 0
				for b.Loop() {
					w, err := a.j.Lock(b.Context(), a.apply)
					if err != nil {
						b.Fatal(err)
					}
					if err := w.Append(parts, flags); err != nil {
						b.Fatal(err)
					}
					w.Unlock()
					n++
				}
				require.Equal(b, int64(n)*int64((40+size+7)&^7), a.j.Bytes())
			})
		}
	}
}

func BenchmarkFollow(b *testing.B) {
	for _, size := range []int{64, 4 << 10} {
		b.Run(fmt.Sprintf("size=%d", size), func(b *testing.B) {
			const total = 32 << 20
			fs := osFS(b, b.TempDir())
			a := open(b, journal.Options{FS: fs})
			w := a.lock(b)
			txs := make([]journal.Write, total/size)
			for i := range txs {
				txs[i].Parts = [][]byte{make([]byte, size)}
			}
			require.NoError(b, w.AppendAll(txs, true))
			w.Unlock()
			r := open(b, journal.Options{FS: fs, ReadOnly: true})
			b.SetBytes(total)
			b.ReportAllocs()
			n := 0
			count := func(journal.Tx) error { n++; return nil }
			runs := 0
			for b.Loop() {
				if _, err := r.j.Rebase(b.Context()); err != nil {
					b.Fatal(err)
				}
				if err := r.j.Follow(b.Context(), count); err != nil {
					b.Fatal(err)
				}
				runs++
			}
			require.Equal(b, runs*len(txs), n)
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "tx/s")
		})
	}
}

func BenchmarkFresh(b *testing.B) {
	a := open(b, journal.Options{FS: osFS(b, b.TempDir())})
	a.commit(b, 0, "x")
	b.ReportAllocs()
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			if !a.j.Fresh() {
				b.Fail()
			}
		}
	})
}
