// planes_lengths tells how long the blocks of pages will be.
//
//   page         = pages + index*stride, even; segment s of it = 2*rows*cols bytes at s*2*rows*cols
//   params       segments times 8 bytes, a multiple of 8: the windows as a block begins with them
//   blocks[index*segments + s] = what planes_encode has to know of the block
//   places[index].bytes       += the lengths of the page's blocks, each padded to a multiple of 8
//
// places and blocks: multiples of 16. See KfShape in planes.h for the bounds.
//
// All windows are functions of a value and of the greatest exponent before it in
// its channel, so nothing has to be kept to count what each of them leaves.
//
// Launch: planes_lengths<<<blocks, 128>>>, any number of blocks from 1.
// Reference: planes.Encoder.
#include "planes.h"

// KfCount counts the values that windows leave.
struct KfCount {
    const unsigned short* from;
    KfWindows w;
    unsigned r1, r2, r3;

    __device__ __forceinline__ unsigned value(unsigned at, bool in, unsigned start)
    {
        if (!in) return 0;
        const unsigned e = *kf_as<const unsigned short>(from + at) >> 7 & 255;
        const unsigned x = (e - start) & 255, y = (kf_outside(x) - w.second) & 255, z = (kf_outside(y) - w.third) & 255;
        const bool on1 = x >= 3, on2 = on1 && y >= 3;
        r1 += on1;
        r2 += on2;
        r3 += on2 && z >= 7;
        return e;
    }
    __device__ __forceinline__ void operator()(unsigned at0, unsigned at1, unsigned, bool in0, bool in1,
            unsigned start0, unsigned start1, unsigned& e0, unsigned& e1)
    {
        e0 = value(at0, in0, start0);
        e1 = value(at1, in1, start1);
    }
};

// kf_zero_rows counts the rows at the end of a segment that hold only zeros.
__device__ __forceinline__ unsigned kf_zero_rows(const unsigned short* from, unsigned rows, unsigned cols, unsigned lane)
{
    unsigned end = rows * cols;  // values before which all are looked at, or the last that is not zero is
    while (end > 0) {
        const bool there = lane < end && *kf_as<const unsigned short>(from + (end - 1 - lane)) != 0;
        const unsigned found = __ballot_sync(0xffffffffu, there);
        if (found) {
            end -= (unsigned)__ffs((int)found) - 1;
            break;
        }
        end = end > 32 ? end - 32 : 0;
    }
    return (rows * cols - end) / cols;
}

extern "C" __global__ void __launch_bounds__(KF_PLANES_THREADS) planes_lengths(KfBlock* blocks, KfPayload* places,
        const unsigned char* __restrict__ pages, const uint2* __restrict__ params, KfShape p)
{
    const unsigned lane = threadIdx.x % 32, total = p.segments * p.count;
    for (unsigned id = blockIdx.x * KF_PLANES_WARPS + threadIdx.x / 32; id < total; id += gridDim.x * KF_PLANES_WARPS) {
        const unsigned page = id / p.segments, segment = id % p.segments, values = p.rows * p.cols;
        const uint2 param = params[segment];
        KfCount c;
        c.from = kf_as<const unsigned short>(pages + ((long long)page * p.stride + 2ll * segment * values));
        c.w = kf_windows(param.x, param.y);
        c.r1 = c.r2 = c.r3 = 0;
        const unsigned zero = kf_zero_rows(c.from, p.rows, p.cols, lane), rows = p.rows - zero;
        kf_walk(rows, p.cols, c.w, lane, c);
        const unsigned r1 = kf_sum(c.r1), r2 = kf_sum(c.r2), r3 = kf_sum(c.r3);
        const unsigned bytes = KF_PARAMS + rows * p.cols + kf_planes1_bytes(rows, p.cols) + 2 * kf_plane_bytes(r1) +
                3 * kf_plane_bytes(r2) + r3;
        if (lane == 0) {
            const bool raw = bytes >= 2 * values;
            const KfBlock b = {raw ? 2 * values : bytes | 1u << 30, zero, r1, r2};
            *kf_as<KfBlock>(blocks + id) = b;
            atomicAdd(&places[page].bytes, kf_pad8(b.entry & KF_LENGTH));
        }
    }
}
