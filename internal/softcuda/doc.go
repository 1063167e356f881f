// Package softcuda is a CUDA driver on the CPU, and the handle by which tests
// turn its screws. It proves the GPU path on machines without a GPU; nothing
// that ships imports it.
//
// The driver is a libcuda.so.1 that scripts/softcuda builds from driver/ with a
// C++ compiler and nothing else. A test binary that was built with the tag cuda
// takes it for the driver when it lies in LD_LIBRARY_PATH; the same binary runs
// on a real one. It is stricter than a GPU about what it accepts, and slower to
// finish than a GPU ever is where work may finish late:
//
//   - eager: queued work runs at once, in a thread of its stream
//   - delayed: it runs after a while that a seed draws
//   - lazy: it runs only when something waits for it, and only what that needs
//
// What it watches, whatever the mode and the timing: accesses of streams, of
// kernels and of the host that overlap with no order between them, by vector
// clocks; host memory that is read or written while a copy may use it; device
// memory that is read before it was written; use after free, double free, leaks;
// objects of one context used in another; addresses out of bounds; events and
// captured streams misused; kernels whose footprint is not true. Each breach is a violation that names both sites.
//
// A footprint is believed for what is read. For what is written it is compared
// with the device memory of every allocation that a launch was given: bytes that
// changed outside of the ranges that it names, and ranges of 4 bytes and more that
// it names, does not read and left alone. Not seen: a byte that is written with
// what it was; a byte that another operation without an order to the launch, or
// behind it, may write; of an allocation with more than 4 MiB outside, what is
// further than 4 KiB from the ends of a gap; unwritten ranges beyond 16 MiB of a
// launch; mapped host memory, and memory of another process.
//
// Of host memory that a copy uses, or that a kernel reads, whole pages are taken
// from the program until it has waited, so any early access is told. Of the rest
// of a range, the parts of pages at its ends, or all of it if it is short of a
// page, early writes are told by the content when the copy or kernel runs, and an
// early read of a copy's destination is not told: it finds bytes of 0xEE, which a
// test has to look at, and once the copy has run nothing is seen of it. Mapped
// memory that a kernel writes is not taken from the program, whole pages neither:
// early reads and writes of it by the host are not seen, and it holds its former
// content until the kernel runs, which lazy puts off until something waits.
//
// Driver calls can be made to fail, by name or by number, the device can be
// lost, streams can be held still. It says nothing about speed, except by its
// logical time line.
//
// The environment: SOFTCUDA_MODE, SOFTCUDA_SEED, SOFTCUDA_SHARE (see Mine), SOFTCUDA_DEVICES (0 to 8),
// SOFTCUDA_MEMORY_MB, SOFTCUDA_DRIVER (13000), SOFTCUDA_CAPABILITY (90),
// SOFTCUDA_TRACE=1, and for programs that tests start SOFTCUDA_STRICT=1, by which
// violations and leaks make 97 the exit status (of Go programs on x86-64; of
// others only if they end by exit(3), which the driver then says). KVFERRY_CUDA_REQUIRED=1 turns a test that skips for want of
// a device into one that fails.
package softcuda
