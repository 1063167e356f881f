package pack_test

import (
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/cas/pack"
	"github.com/kvferry/kvferry/codec"
)

// BenchmarkPutFlush puts blobs of 2 KiB, each durable before the next of its
// writer; every writer has a session.
func BenchmarkPutFlush(b *testing.B) {
	for _, writers := range []int{1, 16} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			s := open(b, b.TempDir(), pack.Options{})
			sessions := make([]cas.Session, writers)
			for i := range sessions {
				var err error
				sessions[i], err = s.Begin(b.Context(), cas.SessionOptions{Hint: codec.Hint{Mode: codec.OnlyRaw}})
				require.NoError(b, err)
			}
			var next atomic.Int64
			count := int64(b.N)
			b.SetBytes(2 << 10)
			b.ReportAllocs()
			b.ResetTimer()
			var wg sync.WaitGroup
			for _, x := range sessions {
				wg.Go(func() {
					plain := make([]byte, 2<<10)
					for n := next.Add(1); n <= count; n = next.Add(1) {
						binary.LittleEndian.PutUint64(plain, uint64(n))
						_, err := x.Put(b.Context(), madeUp(uint64(n)), plain)
						if err == nil {
							err = x.Flush(b.Context())
						}
						if err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			for _, x := range sessions {
				require.NoError(b, x.Abort(b.Context()))
			}
		})
	}
}
