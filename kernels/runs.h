// The units that gather and scatter copy, and how a warp copies one.
#pragma once
#include "address.h"

#define KF_COPY_THREADS 256
#define KF_COPY_WARPS (KF_COPY_THREADS / 32)
#define KF_AHEAD 4  // loads that a lane has under way

// KfUnit is a share of a page that one warp copies: count fragments of bytes
// bytes each, or one piece of a long fragment (count 1). Runs are cut into units
// on the host, see units.go.
//
//   memory     address + page*page_stride + i*local_stride
//   canonical  staging + slot*stride + canonical + i*canonical_stride      i in 0 .. count-1
struct KfUnit {
    unsigned long long address;
    long long page_stride, local_stride, canonical, canonical_stride;
    unsigned bytes, count;  // bytes*count <= 2^31
    unsigned align;         // count > 1: 1 to 16, divides bytes, the strides and both offsets
    unsigned unused[3];
};

// kf_flat copies n elements.
template <class V>
__device__ __forceinline__ void kf_flat(unsigned char* d, const unsigned char* s, unsigned n, unsigned lane)
{
    V* to = (V*)d + lane;
    const V* from = (const V*)s + lane;
    V v[KF_AHEAD];
#pragma unroll 1
    for (; n >= 32 * KF_AHEAD; n -= 32 * KF_AHEAD, to += 32 * KF_AHEAD, from += 32 * KF_AHEAD) {
#pragma unroll
        for (unsigned k = 0; k < KF_AHEAD; k++) v[k] = *kf_as<const V>(from + 32 * k);
#pragma unroll
        for (unsigned k = 0; k < KF_AHEAD; k++) *kf_as<V>(to + 32 * k) = v[k];
    }
#pragma unroll
    for (unsigned k = 0; k < KF_AHEAD; k++)
        if (lane + 32 * k < n) v[k] = *kf_as<const V>(from + 32 * k);
#pragma unroll
    for (unsigned k = 0; k < KF_AHEAD; k++)
        if (lane + 32 * k < n) *kf_as<V>(to + 32 * k) = v[k];
}

// kf_strided copies count fragments of per elements, one after the other, as if
// they were one row of elements: lanes that are neighbours copy neighbours.
template <class V>
__device__ __forceinline__ void kf_strided(unsigned char* d, const unsigned char* s, long long ds, long long ss,
        unsigned per, unsigned count, unsigned lane)
{
    // e / per is the high word of e * magic as long as e * per < 2^32.
    const unsigned n = per * count, magic = per > 1 ? 0xffffffffu / per + 1 : 0;
#pragma unroll 1
    for (unsigned first = lane; first < n; first += 32 * KF_AHEAD) {
        V v[KF_AHEAD];
        unsigned e = first;
#pragma unroll
        for (unsigned k = 0; k < KF_AHEAD; k++, e += 32) {
            const unsigned i = per > 1 ? (unsigned)((unsigned long long)e * magic >> 32) : e;
            if (e < n) v[k] = *kf_as<const V>(s + (i * ss + (e - i * per) * (long long)sizeof(V)));
        }
        e = first;
#pragma unroll
        for (unsigned k = 0; k < KF_AHEAD; k++, e += 32) {
            const unsigned i = per > 1 ? (unsigned)((unsigned long long)e * magic >> 32) : e;
            if (e < n) *kf_as<V>(d + (i * ds + (e - i * per) * (long long)sizeof(V))) = v[k];
        }
    }
}

// kf_piece copies bytes that lie together on both sides, with the widest
// elements that both allow: they may begin anywhere, if equally far from a
// multiple of the width.
__device__ __forceinline__ void kf_piece(unsigned char* d, const unsigned char* s, unsigned bytes, unsigned lane)
{
    const unsigned apart = ((unsigned)(unsigned long long)d ^ (unsigned)(unsigned long long)s) | 16;
    const unsigned width = apart & (0u - apart);
    unsigned head = (0u - (unsigned)(unsigned long long)d) & (width - 1);
    if (head > bytes) head = bytes;
    const unsigned tail = (bytes - head) & (width - 1), body = bytes - head - tail;
    if (lane < head) *kf_as<unsigned char>(d + lane) = *kf_as<const unsigned char>(s + lane);
    if (lane < tail) *kf_as<unsigned char>(d + head + body + lane) = *kf_as<const unsigned char>(s + head + body + lane);
    d += head;
    s += head;
    switch (width) {
    case 16: kf_flat<uint4>(d, s, body / 16, lane); break;
    case 8: kf_flat<uint2>(d, s, body / 8, lane); break;
    case 4: kf_flat<unsigned>(d, s, body / 4, lane); break;
    case 2: kf_flat<unsigned short>(d, s, body / 2, lane); break;
    default: kf_flat<unsigned char>(d, s, body, lane);
    }
}

__device__ __forceinline__ void kf_fragments(unsigned char* d, const unsigned char* s, long long ds, long long ss,
        unsigned bytes, unsigned count, unsigned align, unsigned lane)
{
    switch (align) {
    case 16: kf_strided<uint4>(d, s, ds, ss, bytes / 16, count, lane); break;
    case 8: kf_strided<uint2>(d, s, ds, ss, bytes / 8, count, lane); break;
    case 4: kf_strided<unsigned>(d, s, ds, ss, bytes / 4, count, lane); break;
    case 2: kf_strided<unsigned short>(d, s, ds, ss, bytes / 2, count, lane); break;
    default: kf_strided<unsigned char>(d, s, ds, ss, bytes, count, lane);
    }
}

// kf_pages copies pages: OUT to staging, else from there. A warp takes every
// so-manieth unit of all pages, in the order of pages and units; align divides
// staging and stride.
template <bool OUT>
__device__ __forceinline__ void kf_pages(const KfUnit* __restrict__ units, unsigned per_page,
        const unsigned* __restrict__ numbers, unsigned count, unsigned char* staging, long long stride, unsigned align)
{
    const unsigned lane = threadIdx.x % 32, warps = gridDim.x * KF_COPY_WARPS;
    const unsigned warp = blockIdx.x * KF_COPY_WARPS + threadIdx.x / 32;
    const unsigned more_pages = warps / per_page, more_units = warps % per_page;
    unsigned slot = warp / per_page, at = warp % per_page;
    while (slot < count) {
        const KfUnit u = units[at];
        unsigned char* m = kf_at<unsigned char>(u.address + (unsigned long long)numbers[slot] * (unsigned long long)u.page_stride);
        unsigned char* c = staging + (long long)slot * stride + u.canonical;
        unsigned char *d = OUT ? c : m, *s = OUT ? m : c;
        if (u.count == 1)
            kf_piece(d, s, u.bytes, lane);
        else
            kf_fragments(d, s, OUT ? u.canonical_stride : u.local_stride, OUT ? u.local_stride : u.canonical_stride,
                    u.bytes, u.count, u.align < align ? u.align : align, lane);
        slot += more_pages;
        at += more_units;
        if (at >= per_page) {
            at -= per_page;
            slot++;
        }
    }
}
