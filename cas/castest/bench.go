package castest

import (
	"context"
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/digest"
)

// benchSizes are a small page, a page of a few layers, and a part of 16
// tokens, 22 layers, 4 heads of 64 in bf16.
var benchSizes = []int{64, 2 << 10, 64 << 10, 180224}

// benchBytes is how much is put before the store is emptied, outside the
// timed region.
const benchBytes = 256 << 20

// Bench measures a store: put of new blobs, put and has of blobs that are
// there, get, and view where there is one. Hashing is not included: digests
// are made up.
func Bench(b *testing.B, c Config) {
	for _, size := range benchSizes {
		plain := noise(1, size)
		for _, x := range []struct {
			name string
			run  func(*testing.B, Config, []byte)
		}{
			{"put-new", benchPutNew},
			{"put-present", benchPutPresent},
			{"has", benchHas},
			{"get", benchGet},
			{"view", benchView},
		} {
			if x.name == "view" && !c.can(Views) {
				continue
			}
			b.Run(fmt.Sprintf("op=%s/size=%d", x.name, size), func(b *testing.B) {
				b.SetBytes(int64(size))
				b.ReportAllocs()
				x.run(b, c, plain)
			})
		}
	}
}

// madeUp returns a digest of nothing in particular.
func madeUp(n uint64) digest.Digest {
	var sum [digest.Size]byte
	n *= 0x9e3779b97f4a7c15 // so that stores which shard by any byte see them spread
	for i := 0; i < len(sum); i += 8 {
		binary.LittleEndian.PutUint64(sum[i:], n+uint64(i))
	}
	return digest.New(digest.BLAKE3, sum)
}

func benchPutNew(b *testing.B, c Config, plain []byte) {
	s := c.open(b)
	sess := begin(b, s)
	ctx := context.Background()
	var n uint64
	left := benchBytes
	for b.Loop() {
		if left -= len(plain); left < 0 {
			b.StopTimer()
			s, sess = emptied(b, c, s, sess)
			left = benchBytes
			b.StartTimer()
		}
		n++
		if _, err := sess.Put(ctx, madeUp(n), plain); err != nil {
			b.Fatal(err)
		}
	}
}

// emptied returns a store without blobs: the same after a collection, or a
// new one.
func emptied(b *testing.B, c Config, s cas.Store, sess cas.Session) (cas.Store, cas.Session) {
	if err := sess.Abort(context.Background()); err != nil {
		b.Fatal(err)
	}
	if x, ok := s.(cas.Collector); ok {
		if _, err := x.Collect(context.Background(), cas.CollectOptions{References: rootOnly}); err != nil {
			b.Fatal(err)
		}
		return s, begin(b, s)
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	s = c.open(b)
	return s, begin(b, s)
}

const benchPresent = 64

// present returns a store that holds madeUp(0) to madeUp(benchPresent-1).
func present(b *testing.B, c Config, plain []byte) (cas.Store, cas.Session) {
	s := c.open(b)
	sess := begin(b, s)
	for i := range uint64(benchPresent) {
		if _, err := sess.Put(context.Background(), madeUp(i), plain); err != nil {
			b.Fatal(err)
		}
	}
	return s, sess
}

func benchPutPresent(b *testing.B, c Config, plain []byte) {
	_, sess := present(b, c, plain)
	ctx := context.Background()
	var n uint64
	for b.Loop() {
		n++
		if r, err := sess.Put(ctx, madeUp(n%benchPresent), plain); err != nil || r.New {
			b.Fatal(r, err)
		}
	}
}

func benchHas(b *testing.B, c Config, plain []byte) {
	_, sess := present(b, c, plain)
	ctx := context.Background()
	var n uint64
	for b.Loop() {
		n++
		if has, err := sess.Has(ctx, madeUp(n%benchPresent)); err != nil || !has {
			b.Fatal(has, err)
		}
	}
}

func benchGet(b *testing.B, c Config, plain []byte) {
	s, _ := present(b, c, plain)
	ctx := context.Background()
	dst := make([]byte, len(plain))
	var n uint64
	for b.Loop() {
		n++
		if _, err := s.Get(ctx, madeUp(n%benchPresent), dst); err != nil {
			b.Fatal(err)
		}
	}
	if string(dst) != string(plain) {
		b.Fatal("read back differently")
	}
}

func benchView(b *testing.B, c Config, plain []byte) {
	s, _ := present(b, c, plain)
	ctx := context.Background()
	var n uint64
	for b.Loop() {
		n++
		v, err := s.(cas.Viewer).View(ctx, madeUp(n%benchPresent))
		if err != nil || len(v.Bytes()) != len(plain) {
			b.Fatal(err)
		}
		v.Release()
	}
}
