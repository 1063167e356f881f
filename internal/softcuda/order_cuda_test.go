//go:build cuda

package softcuda_test

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/internal/softcuda"
)

// TestOrderOfStreams: two streams that touch the same bytes, one writing, need an
// event between them, in both directions.
func TestOrderOfStreams(t *testing.T) {
	eachMode(t, func(r *rig) {
		d, a, b := r.alloc(page), r.stream(), r.stream()
		_, h := r.pinned(page)
		r.ok("cuMemsetD8Async", d, 1, page, a)
		r.order(a, b)
		r.ok("cuMemcpyDtoHAsync_v2", h, d, page, b)
		r.clean()
		r.ok("cuMemsetD8Async", d+8, 2, 8, a) // b may still read
		v := r.violates("cuMemcpyDtoHAsync (call ", "cuMemsetD8Async (call ", "no order between them", r.Name())
		require.Contains(r, v, "stream ")
		r.ok("cuStreamSynchronize", b)
		r.ok("cuMemsetD8Async", d+8, 2, 8, a) // the host has waited
		r.order(a, b)
		r.ok("cuMemcpyDtoHAsync_v2", h, d, page, b)
		r.clean()
		r.ok("cuCtxSynchronize")
	})
}

// TestReadersNeedNoOrder: bytes that are only read, and bytes side by side.
func TestReadersNeedNoOrder(t *testing.T) {
	eachMode(t, func(r *rig) {
		d, a, b := r.filled(2*page), r.stream(), r.stream()
		_, h := r.pinned(2 * page)
		r.ok("cuMemcpyDtoHAsync_v2", h, d, page, a)
		r.ok("cuMemcpyDtoHAsync_v2", h+page, d, page, b)
		r.ok("cuMemsetD8Async", d+page, 1, 64, a)
		r.ok("cuMemsetD8Async", d+page+64, 1, 64, b)
		r.ok("cuCtxSynchronize")
	})
}

// TestOrderOfKernels: a kernel's footprint takes part, on either side.
func TestOrderOfKernels(t *testing.T) {
	eachMode(t, func(r *rig) {
		in, out, a, b := r.filled(page), r.alloc(page), r.stream(), r.stream()
		_, h := r.pinned(page)
		r.launch(a, "softcuda_increment", 1, out, in, 1)
		r.order(a, b)
		r.ok("cuMemcpyDtoHAsync_v2", h, out, 4, b)
		r.ok("cuCtxSynchronize")
		r.clean()

		r.launch(a, "softcuda_increment", 1, out, in, 1)
		r.ok("cuMemcpyDtoHAsync_v2", h, out, 4, b) // before its producer
		r.ok("cuCtxSynchronize")
		r.violates("cuLaunchKernel of softcuda_increment (call ", "cuMemcpyDtoHAsync (call ", "no order")

		r.launch(a, "softcuda_increment", 1, out, in, 1)
		r.ok("cuMemsetD8Async", in, 3, 4, b) // overwrites what it reads
		r.ok("cuCtxSynchronize")
		r.violates("cuLaunchKernel of softcuda_increment (call ", "cuMemsetD8Async (call ", "no order")
	})
}

// TestOrderByTable: what a kernel touches is written by earlier work of its
// stream, and known only when it runs.
func TestOrderByTable(t *testing.T) {
	eachMode(t, func(r *rig) {
		target, table, a, b := r.filled(page), r.alloc(64), r.stream(), r.stream()
		host, h := r.pinned(64)
		binary.NativeEndian.PutUint64(host, target+128)
		scatter := func() {
			r.ok("cuMemcpyHtoDAsync_v2", table, h, 8, a)
			r.launch(a, "softcuda_scatter", 1, table, 1, 1, 42)
		}
		scatter()
		r.ok("cuMemsetD8Async", target, 1, 128, b) // beside it
		r.ok("cuCtxSynchronize")
		r.clean()
		scatter()
		r.ok("cuMemsetD8Async", target+128, 1, 1, b)
		r.ok("cuCtxSynchronize")
		r.violates("cuLaunchKernel of softcuda_scatter", "cuMemsetD8Async", "no order")
	})
}

// TestLegacyStreamOrders: it waits for blocking streams and they for it, and it
// is unordered with streams of ours.
func TestLegacyStreamOrders(t *testing.T) {
	eachMode(t, func(r *rig) {
		d, ours := r.alloc(page), r.stream()
		r.ok("cuStreamCreate", r.outAt, 0)
		blocking := r.result()
		r.later("cuStreamDestroy_v2", blocking)
		r.ok("cuMemsetD8Async", d, 1, page, blocking)
		r.ok("cuMemsetD8Async", d, 2, page, 0)
		r.ok("cuMemsetD8Async", d, 3, page, blocking)
		r.clean()
		r.ok("cuMemsetD8Async", d, 4, page, ours)
		require.NotEmpty(r, softcuda.Violations())
		r.ok("cuCtxSynchronize")
	})
}

// batch submits copies by cuMemcpyBatchAsync_v2 with one source order for all.
func (r *rig) batch(order uint32, stream uint64, to, from []uint64, bytes uint64) int {
	n := len(to)
	m, at := softcuda.Scratch(r, 24*n+64)
	for i := range n {
		binary.NativeEndian.PutUint64(m[8*i:], to[i])
		binary.NativeEndian.PutUint64(m[8*(n+i):], from[i])
		binary.NativeEndian.PutUint64(m[8*(2*n+i):], bytes)
	}
	attributes := at + uint64(24*n)
	binary.NativeEndian.PutUint32(m[24*n:], order)
	at8 := func(i int) uint64 { return at + uint64(8*i) }
	return softcuda.Call("cuMemcpyBatchAsync_v2", at, at8(n), at8(2*n), uint64(n), attributes, attributes+32, 1, stream)
}

const (
	inStreamOrder = 1
	duringCall    = 2
	anyOrder      = 3
)

// TestSourceOrder: a batch that may read its source at any time reads it before
// its producer has ended.
func TestSourceOrder(t *testing.T) {
	eachMode(t, func(r *rig) {
		d, s := r.filled(page), r.stream()
		host, h := r.pinned(page)
		r.ok("cuMemsetD8Async", d, 9, page, s)
		require.Zero(r, r.batch(inStreamOrder, s, []uint64{h}, []uint64{d}, page))
		r.ok("cuStreamSynchronize", s)
		require.Equal(r, byte(9), host[0])
		r.clean()
		for _, order := range []uint32{anyOrder, duringCall} {
			r.ok("cuMemsetD8Async", d, 10, page, s)
			require.Zero(r, r.batch(order, s, []uint64{h}, []uint64{d}, page))
			r.violates("cuMemsetD8Async (call ", "cuMemcpyBatchAsync")
			r.ok("cuStreamSynchronize", s)
			require.Zero(r, r.batch(order, s, []uint64{h}, []uint64{d}, page)) // the producer has ended
			r.ok("cuStreamSynchronize", s)
			r.clean()
		}
	})
}

// TestBatchOverlaps: copies of a batch run in any order.
func TestBatchOverlaps(t *testing.T) {
	eachMode(t, func(r *rig) {
		from, to, s := r.filled(page), r.alloc(page), r.stream()
		require.Zero(r, r.batch(inStreamOrder, s, []uint64{to, to + 64}, []uint64{from, from}, 64))
		r.clean()
		require.Zero(r, r.batch(inStreamOrder, s, []uint64{to, to + 63}, []uint64{from, from + 64}, 64))
		r.violates("overlap", "cuMemcpyBatchAsync")
		require.Zero(r, r.batch(inStreamOrder, s, []uint64{to, to + 64}, []uint64{from, to}, 64)) // one reads what the other writes
		r.violates("overlap")
		require.Equal(r, 1, r.batch(inStreamOrder, 0, []uint64{to}, []uint64{from}, 64)) // not on the legacy stream
		r.ok("cuCtxSynchronize")
	})
}
