// selftest.cpp: kernels for the tests of the driver itself. testdata/selftest.ptx has their signatures.
#include "kernel.h"

// out[i] = in[i] + 1
extern "C" __global__ void softcuda_increment(unsigned* out, const unsigned* in, int n) {
    unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < unsigned(n)) out[i] = in[i] + 1;
}
static void increment_touches(softcuda::Footprint& f, unsigned* out, const unsigned* in, int n) {
    f.read(in, 4ull * unsigned(n));
    f.write(out, 4ull * unsigned(n));
}
SOFTCUDA_KERNEL(softcuda_increment, increment_touches)

// Writes value to the n addresses of a table; its footprint names only the first named of them.
extern "C" __global__ void softcuda_scatter(const unsigned long long* table, int n, int named, unsigned value) {
    (void)named;
    for (int i = 0; i < n; i++) *kf_at<unsigned>(table[i]) = value;
}
static void scatter_touches(softcuda::Footprint& f, const unsigned long long* table, int n, int named, unsigned) {
    f.read(table, 8ull * unsigned(n));
    for (int i = 0; i < named; i++) f.write(f.load(table + i), 4);
}
SOFTCUDA_KERNEL(softcuda_scatter, scatter_touches)

// Writes n bytes from out on, and says so of the first said only.
extern "C" __global__ void softcuda_overrun(unsigned char* out, int n, int said) {
    (void)said;
    for (int i = 0; i < n; i++) out[i] = 1;
}
static void overrun_touches(softcuda::Footprint& f, unsigned char* out, int, int said) { f.write(out, unsigned(said)); }
SOFTCUDA_KERNEL(softcuda_overrun, overrun_touches)

// Hangs: only some warps reach the barrier, the others wait for their own lanes.
extern "C" __global__ void softcuda_hang(unsigned* out) {
    if (threadIdx.x < 40)
        __syncthreads();
    else
        __syncwarp();
    out[threadIdx.x] = 1;
}
static void hang_touches(softcuda::Footprint& f, unsigned* out) { f.write(out, 4ull * f.block.x); }
SOFTCUDA_KERNEL_SYNC(softcuda_hang, hang_touches)

// out[i] = sum of in over the warp of thread i; then exclusive prefixes, ballots of odd values, the block's count of them.
extern "C" __global__ void softcuda_warp(unsigned* out, const unsigned* in, int n) {
    unsigned i = blockIdx.x * blockDim.x + threadIdx.x, lane = threadIdx.x & 31, v = in[i], sum = v, prefix = v;
    for (int d = 16; d; d >>= 1) sum += __shfl_xor_sync(0xffffffffu, sum, d);
    for (unsigned d = 1; d < 32; d <<= 1) {
        unsigned u = __shfl_up_sync(0xffffffffu, prefix, d);
        if (lane >= d) prefix += u;
    }
    out[i] = sum;
    out[n + i] = prefix - v;
    out[2 * n + i] = __ballot_sync(0xffffffffu, v & 1);
    out[3 * n + i] = unsigned(__syncthreads_count(v & 1));
}
static void warp_touches(softcuda::Footprint& f, unsigned* out, const unsigned* in, int n) {
    f.read(in, 4ull * unsigned(n));
    f.write(out, 16ull * unsigned(n));
}
SOFTCUDA_KERNEL_SYNC(softcuda_warp, warp_touches)
