package tiered_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/cas/castest"
	"github.com/kvferry/kvferry/cas/mem"
	"github.com/kvferry/kvferry/cas/tiered"
)

// BenchmarkStore is what two tiers cost over one: both are in memory.
func BenchmarkStore(b *testing.B) {
	castest.Bench(b, castest.Config{Open: func(t testing.TB, _ castest.Setup) cas.Store {
		var two [2]cas.Store
		for i := range two {
			store, err := mem.Open(mem.Options{ReserveBytes: 320 << 20, ReserveBlobs: 1 << 16})
			require.NoError(t, err)
			two[i] = store
		}
		return openWith(t, tiered.Options{Near: two[0], Far: two[1]})
	}})
}

// BenchmarkFarRead reads what near does not have, and does not get.
func BenchmarkFarRead(b *testing.B) {
	for _, size := range []int{2 << 10, 64 << 10, 180224} {
		b.Run(fmt.Sprintf("size=%d", size), func(b *testing.B) {
			far := openMem(b, castest.Setup{}, "")
			p := noise(1, size)
			putIn(b, far, p)
			s := openWith(b, tiered.Options{Near: openMem(b, castest.Setup{}, ""), Far: far, Promote: tiered.PromoteNone})
			d, dst := sum(p), make([]byte, size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Get(b.Context(), d, dst); err != nil {
					b.Fatal(err)
				}
			}
			require.Equal(b, p, dst)
		})
	}
}
