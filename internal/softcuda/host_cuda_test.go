//go:build cuda

package softcuda_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/internal/softcuda"
)

// TestHostReadsTooEarly: whole pages that a copy writes are caught at the
// instruction, whether or not the copy has run by then.
func TestHostReadsTooEarly(t *testing.T) {
	eachMode(t, func(r *rig) {
		d, s := r.filled(4*page), r.stream()
		host, h := r.pinned(4 * page)
		r.ok("cuMemcpyDtoHAsync_v2", h, d, 4*page, s)
		peek(host[page:])
		r.violates("the host reads", "softcuda_test.peek (host_cuda_test.go:", "cuMemcpyDtoHAsync (call ")
		peek(host[2*page:]) // told once
		r.clean()
		r.ok("cuStreamSynchronize", s)
		require.Equal(r, bytes.Repeat([]byte{7}, 4*page), host)
	})
}

// TestHostReadsInTime: after each way to wait.
func TestHostReadsInTime(t *testing.T) {
	waits := map[string]func(r *rig, s, e uint64){
		"stream":  func(r *rig, s, _ uint64) { r.ok("cuStreamSynchronize", s) },
		"event":   func(r *rig, _, e uint64) { r.ok("cuEventSynchronize", e) },
		"context": func(r *rig, _, _ uint64) { r.ok("cuCtxSynchronize") },
		"event query": func(_ *rig, _, e uint64) {
			for softcuda.Call("cuEventQuery", e) != 0 {
				continue
			}
		},
		"stream query": func(_ *rig, s, _ uint64) {
			for softcuda.Call("cuStreamQuery", s) != 0 {
				continue
			}
		},
	}
	for name, wait := range waits {
		t.Run(name, func(t *testing.T) {
			eachMode(t, func(r *rig) {
				d, s, e := r.filled(2*page), r.stream(), r.event()
				host, h := r.pinned(2 * page)
				r.ok("cuMemcpyDtoHAsync_v2", h, d, 2*page, s)
				r.ok("cuEventRecord", e, s)
				wait(r, s, e)
				require.Equal(r, byte(7), peek(host))
				poke(host)
			})
		})
	}
}

// TestWaitForAnotherCopy is no wait for this one.
func TestWaitForAnotherCopy(t *testing.T) {
	eachMode(t, func(r *rig) {
		d, s, e := r.filled(page), r.stream(), r.event()
		first, a := r.pinned(page)
		second, b := r.pinned(page)
		r.ok("cuMemcpyDtoHAsync_v2", a, d, page, s)
		r.ok("cuEventRecord", e, s)
		r.ok("cuMemcpyDtoHAsync_v2", b, d, page, s)
		r.ok("cuEventSynchronize", e)
		peek(first)
		r.clean()
		peek(second)
		r.violates("the host reads", "cuMemcpyDtoHAsync")
	})
}

// TestHostWritesSource: of a copy that may still read it. Reading is allowed.
func TestHostWritesSource(t *testing.T) {
	eachMode(t, func(r *rig) {
		d, s := r.alloc(2*page), r.stream()
		host, h := r.pinned(2 * page)
		r.ok("cuMemcpyHtoDAsync_v2", d, h, 2*page, s)
		peek(host)
		r.clean()
		poke(host[page:])
		r.violates("the host writes", "softcuda_test.poke (host_cuda_test.go:", "cuMemcpyHtoDAsync (call ")
		r.ok("cuStreamSynchronize", s)
		softcuda.Violations() // the copy may have found the change, too
		poke(host)
	})
}

// TestHostWritesLessThanAPage: what protection does not see is seen by content.
func TestHostWritesLessThanAPage(t *testing.T) {
	eachMode(t, func(r *rig) {
		d, s := r.filled(64), r.stream()
		host, h := r.pinned(256)
		softcuda.Hold()
		r.ok("cuMemcpyHtoDAsync_v2", d, h, 64, s)
		host[3] ^= 1
		softcuda.Release()
		r.ok("cuStreamSynchronize", s)
		r.violates("the host changed", "the source of cuMemcpyHtoDAsync (call ")

		softcuda.Hold()
		r.ok("cuMemcpyDtoHAsync_v2", h+128, d, 64, s)
		require.Equal(r, byte(0xEE), host[130]) // what is there meanwhile is no data
		host[131] = 1
		softcuda.Release()
		r.ok("cuStreamSynchronize", s)
		r.violates("the host wrote", "where cuMemcpyDtoHAsync (call ")
		require.Equal(r, host[:64], host[128:192])
	})
}

// TestChainThroughPinnedMemory is ordered by the stream: out, and in again.
func TestChainThroughPinnedMemory(t *testing.T) {
	eachMode(t, func(r *rig) {
		from, to, s := r.filled(3*page), r.alloc(3*page), r.stream()
		_, h := r.pinned(3 * page)
		host, back := r.pinned(3 * page)
		for range 3 {
			r.ok("cuMemcpyDtoHAsync_v2", h, from, 3*page, s)
			r.ok("cuMemcpyHtoDAsync_v2", to, h, 3*page, s)
			r.ok("cuMemcpyDtoHAsync_v2", back, to, 3*page, s)
		}
		r.ok("cuStreamSynchronize", s)
		require.Equal(r, bytes.Repeat([]byte{7}, 3*page), host)
	})
}

// TestRegisteredMemory is watched like the driver's own, and is the program's again
// when it is unregistered.
func TestRegisteredMemory(t *testing.T) {
	eachMode(t, func(r *rig) {
		d, s := r.filled(2*page), r.stream()
		all, at := softcuda.Scratch(r, 4*page)
		at = (at + page - 1) / page * page
		host := memory(at, 2*page)
		r.ok("cuMemHostRegister_v2", at, 2*page, mapped)
		r.fails(712, "cuMemHostRegister_v2", at+page, page, 0)
		r.ok("cuMemcpyDtoHAsync_v2", at, d, 2*page, s)
		peek(host)
		r.violates("the host reads")
		r.ok("cuStreamSynchronize", s)
		r.ok("cuMemHostUnregister", at)
		clear(all)
		r.clean()
	})
}

// TestUnpinnedMemory is not for asynchronous copies, nor is what lies in two
// registrations.
func TestUnpinnedMemory(t *testing.T) {
	eachMode(t, func(r *rig) {
		d, s := r.filled(2*page), r.stream()
		_, plain := softcuda.Scratch(r, 4*page)
		r.ok("cuMemcpyDtoHAsync_v2", plain, d, page, s)
		r.violates("not pinned")
		r.ok("cuMemcpyDtoH_v2", plain, d, page) // this one waits
		r.clean()
		at := (plain + page - 1) / page * page
		r.ok("cuMemHostRegister_v2", at, page, 0)
		r.ok("cuMemHostRegister_v2", at+page, page, 0)
		r.fails(1, "cuMemcpyDtoHAsync_v2", at, d, 2*page, s)
		r.violates("in two pieces")
		r.ok("cuMemHostUnregister", at)
		r.ok("cuMemHostUnregister", at+page)
	})
}

// TestHostUsesFreedMemory is caught at the instruction.
func TestHostUsesFreedMemory(t *testing.T) {
	eachMode(t, func(r *rig) {
		host, h := r.barePinned(page)
		r.ok("cuMemFreeHost", h)
		poke(host)
		r.violates("the host writes", "softcuda_test.poke", "that cuMemFreeHost (call ", "freed")
	})
}

// TestEventsOfOtherStreams: a wait covers what the event's stream waited for.
func TestEventsOfOtherStreams(t *testing.T) {
	eachMode(t, func(r *rig) {
		d, a, b, e := r.filled(page), r.stream(), r.stream(), r.event()
		host, h := r.pinned(page)
		r.ok("cuMemcpyDtoHAsync_v2", h, d, page, a)
		r.order(a, b)
		r.ok("cuEventRecord", e, b)
		r.ok("cuEventSynchronize", e) // of b, which waited for a
		require.Equal(r, byte(7), peek(host))
	})
}

// TestHostWritesWhatAKernelReads: mapped memory, by protection and by content.
func TestHostWritesWhatAKernelReads(t *testing.T) {
	eachMode(t, func(r *rig) {
		d, s := r.alloc(2*page), r.stream()
		host, h := r.pinned(2 * page)
		r.launch(s, "softcuda_increment", page/4, d, h+page, page/4)
		peek(host[page:])
		r.clean()
		poke(host[page:])
		// The kernel may be that far already, and find the change, too.
		r.violatesBeside("the host changed", "the host writes", "softcuda_test.poke", "cuLaunchKernel of softcuda_increment (call ")
		r.ok("cuStreamSynchronize", s)
		softcuda.Violations() // the kernel may have found the change, too
		poke(host)

		softcuda.Hold()
		r.launch(s, "softcuda_increment", 4, d, h, 4)
		host[5]++
		softcuda.Release()
		r.ok("cuStreamSynchronize", s)
		r.violates("the host changed", "which cuLaunchKernel of softcuda_increment (call ")
	})
}

// TestHostFunction runs in its stream's order, and tells the program what came
// before it. It cannot call Go, so the driver's own control stands in: it makes a
// call fail.
func TestHostFunction(t *testing.T) {
	eachMode(t, func(r *rig) {
		d, s := r.filled(page), r.stream()
		host, h := r.pinned(page)
		r.ok("cuMemcpyDtoHAsync_v2", h, d, page, s)
		r.ok("cuLaunchHostFunc", s, uint64(uintptr(softcuda.Find("softcuda_ctl"))), r.text("fail=cuMemGetInfo:1:2"))
		for softcuda.Call("cuMemGetInfo_v2", r.outAt, r.outAt+8) == 0 {
			continue
		}
		require.Equal(r, byte(7), peek(host))
		softcuda.Fail("op.host", 1, 719)
		r.ok("cuLaunchHostFunc", s, uint64(uintptr(softcuda.Find("softcuda_ctl"))), r.text("mark"))
		r.fails(719, "cuStreamSynchronize", s)
	})
}

//go:noinline
func peek(m []byte) byte { return m[0] }

//go:noinline
func poke(m []byte) { m[0] = 1 }
