// Pages of bfloat16 values in the format that package codec/planes draws: what the
// kernels of it share. A warp codes a block, walking its segment in the order of
// the format, 64 values at a time: lane i has values i and i+32 of a group.
#pragma once
#include "address.h"

#define KF_PLANES_THREADS 128
#define KF_PLANES_WARPS (KF_PLANES_THREADS / 32)
#define KF_HEAD 16            // bytes of a payload before its entries
#define KF_PARAMS 8           // bytes of a block before its values
#define KF_LENGTH 0x3fffffffu // bits of an entry that are a block's length
#define KF_RING 128           // values that wait for the next window, at most 127

// KfShape is that of pages.
struct KfShape {
    unsigned segments, rows, cols; // each at least 1, rows <= 65535, segments*rows*cols < 2^30
    unsigned tail;                 // bytes behind the last segment
    unsigned count, unused;        // pages; count*(segments+1) < 2^31
    long long stride;              // from a page to the next
};

// KfPayload says where the payload of a page is.
struct KfPayload {
    unsigned long long offset; // a multiple of 16 where we write it, of 8 where we read it
    unsigned bytes, unused;
};

// KfBlock is what is known of a block before it is written.
struct KfBlock {
    unsigned entry; // length and kind, as in the payload
    unsigned zero;  // rows of zeros at the end
    unsigned r1, r2; // values that the first and the second window leave
};

// KfWindows are the first 6 bytes of a block.
struct KfWindows {
    unsigned first, down, low, top, second, third;
};

__device__ __forceinline__ KfWindows kf_windows(unsigned a, unsigned b)
{
    const KfWindows w = {a & 255, a >> 8 & 255, a >> 16 & 255, a >> 24, b & 255, b >> 8 & 255};
    return w;
}

// kf_start is where the first window starts under a channel's maximum.
__device__ __forceinline__ unsigned kf_start(const KfWindows& w, unsigned top)
{
    unsigned m = top > w.down ? top - w.down : 0;
    if (m < w.low) m = w.low;
    return m < w.top ? m : w.top;
}

// kf_outside closes the hole that a window of three leaves; kf_back opens it.
__device__ __forceinline__ unsigned kf_outside(unsigned x) { return x - 1 < 127 ? (x - 3) & 255 : x; }
__device__ __forceinline__ unsigned kf_back(unsigned y) { return y < 128 ? y + 3 : y; }

// kf_slot is where value i of those that came to a ring lies in it.
__device__ __forceinline__ unsigned kf_slot(unsigned i) { return i % KF_RING; }

// kf_plane_bytes is the length of a bit plane of n values.
__device__ __forceinline__ unsigned kf_plane_bytes(unsigned n) { return n / 64 * 8 + (n % 64 + 7) / 8; }

// kf_head_bytes is where the first block of a payload begins.
__device__ __forceinline__ unsigned kf_head_bytes(const KfShape& p) { return (KF_HEAD + 4 * p.segments + 7) & ~7u; }

__device__ __forceinline__ unsigned kf_pad8(unsigned n) { return (n + 7) & ~7u; }

// kf_elements copies n elements.
template <class V>
__device__ __forceinline__ void kf_elements(unsigned char* to, const unsigned char* from, unsigned n, unsigned lane)
{
#pragma unroll 1
    for (unsigned i = lane; i < n; i += 32) *kf_as<V>((V*)to + i) = *kf_as<const V>((const V*)from + i);
}

// kf_move copies bytes as they are, which is what seldom happens: with few
// registers, not fast.
__device__ __forceinline__ void kf_move(unsigned char* to, const unsigned char* from, unsigned bytes, unsigned lane)
{
    const unsigned apart = (unsigned)(unsigned long long)to | (unsigned)(unsigned long long)from | bytes;
    if (apart % 16 == 0) kf_elements<uint4>(to, from, bytes / 16, lane);
    else if (apart % 4 == 0) kf_elements<unsigned>(to, from, bytes / 4, lane);
    else kf_elements<unsigned char>(to, from, bytes, lane);
}

// kf_sum adds v up over the warp.
__device__ __forceinline__ unsigned kf_sum(unsigned v)
{
#pragma unroll
    for (unsigned d = 16; d; d /= 2) v += __shfl_xor_sync(0xffffffffu, v, (int)d);
    return v;
}

// kf_larger is the larger one.
__device__ __forceinline__ unsigned kf_larger(unsigned a, unsigned b) { return a > b ? a : b; }

// kf_stripes calls f(shift, col) with the stripes of cols channels, 1<<shift
// channels wide, in order.
template <class F>
__device__ __forceinline__ void kf_stripes(unsigned cols, F f)
{
    unsigned col = 0;
#pragma unroll 1
    for (int shift = 6; shift >= 0;) {
        if (cols - col < 1u << shift) {
            shift--;
            continue;
        }
        f((unsigned)shift, col);
        col += 1u << shift;
    }
}

// kf_planes1_bytes is the length of the planes of the first window.
__device__ __forceinline__ unsigned kf_planes1_bytes(unsigned rows, unsigned cols)
{
    unsigned bytes = cols / 64 * rows * 16;
#pragma unroll 1
    for (unsigned width = 32; width; width /= 2)
        if (cols & width) bytes += 2 * kf_plane_bytes(rows * width);
    return bytes;
}

// kf_walk calls f(at0, at1, n, in0, in1, start0, start1, e0, e1) for each group of
// a segment, with all lanes: n values, of which this lane has those at at0 and at1
// of the segment if in0 and in1 hold, and whose windows start at start0 and
// start1. f sets e0 and e1, the values' exponents, 0 for one that is not there.
template <class F>
__device__ __forceinline__ void kf_walk(unsigned rows, unsigned cols, const KfWindows& w, unsigned lane, F& f)
{
    kf_stripes(cols, [&](unsigned shift, unsigned col) __attribute__((always_inline)) {
        const unsigned fold = 64u >> shift, mask = (1u << shift) - 1;
        const unsigned row0 = lane >> shift, row1 = (lane + 32) >> shift;
        const unsigned at0 = row0 * cols + col + (lane & mask), at1 = row1 * cols + col + ((lane + 32) & mask);
        unsigned top0 = 0, top1 = 0, start0 = w.first, start1 = w.first;
#pragma unroll 1
        for (unsigned r = 0; r < rows; r += fold) {
            const unsigned left = rows - r;
            unsigned e0, e1;
            f(r * cols + at0, r * cols + at1, left < fold ? left << shift : 64, row0 < left, row1 < left, start0, start1, e0, e1);
            top0 = kf_larger(top0, e0);
            top1 = kf_larger(top1, e1);
            if (shift < 6) {
                top0 = kf_larger(top0, top1);
#pragma unroll 1
                for (unsigned d = 16; d >> shift; d /= 2) top0 = kf_larger(top0, __shfl_xor_sync(0xffffffffu, top0, (int)d));
                top1 = top0;
            }
            start0 = kf_start(w, top0);
            start1 = kf_start(w, top1);
        }
    });
}
