// planes_offsets turns the lengths of the blocks of pages into where payloads lie.
//
//   places[i].bytes  = length of payload i: head, blocks, tail     i in 0 .. count-1
//   places[i].offset = sum of the lengths before it, each padded to a multiple of 16     i in 0 .. count
//
// In places[i].bytes it finds the lengths of the blocks alone. places has count+1
// entries, at a multiple of 16; the last one's offset is the length of all, and its
// bytes become 0.
//
// Launch: planes_offsets<<<1, 256>>>.
// Reference: payloadsReference in planes_cuda_test.go.
#include "planes.h"

#define KF_OFFSETS_THREADS 256

extern "C" __global__ void __launch_bounds__(KF_OFFSETS_THREADS) planes_offsets(KfPayload* places, KfShape p)
{
    __shared__ unsigned long long sums[KF_OFFSETS_THREADS];
    const unsigned t = threadIdx.x;
    unsigned long long found = 0;  // of the pages before; the same for all threads
    for (unsigned base = 0; base < p.count; base += KF_OFFSETS_THREADS) {
        const bool here = base + t < p.count;
        const unsigned bytes = here ? kf_head_bytes(p) + places[base + t].bytes + p.tail : 0;
        const unsigned long long padded = (bytes + 15ull) & ~15ull;
        sums[t] = padded;
        __syncthreads();
        for (unsigned d = 1; d < KF_OFFSETS_THREADS; d *= 2) {  // sums[t] becomes the sum of 0 .. t
            const unsigned long long before = t >= d ? sums[t - d] : 0;
            __syncthreads();
            sums[t] += before;
            __syncthreads();
        }
        if (here) {
            const KfPayload to = {found + sums[t] - padded, bytes, 0};
            *kf_as<KfPayload>(places + base + t) = to;
        }
        found += sums[KF_OFFSETS_THREADS - 1];
        __syncthreads();  // the next round writes sums
    }
    if (t == 0) {
        const KfPayload end = {found, 0, 0};
        *kf_as<KfPayload>(places + p.count) = end;
    }
}
