// planes_encode writes the payloads of pages, one behind the other.
//
//   payload of page index = out + places[index].offset, places[index].bytes long, zeros up to places[index+1].offset
//
// pages, params, blocks   as planes_lengths had and made them
// places                  as planes_offsets made them
// out                     a multiple of 16, with room for what places says
//
// A warp writes a block where it belongs: no room is lost, and nothing is moved
// afterwards. What a window leaves goes on to the next one by way of a ring of 128
// values in shared memory, 64 at a time, in the order of the format. One more warp
// for each page writes what is not in a block.
//
// Launch: planes_encode<<<blocks, 128>>>, any number of blocks from 1, after
// planes_lengths and planes_offsets.
// Reference: planes.Encoder.
#include "planes.h"

// KfEncode writes a block of planes.
struct KfEncode {
    const unsigned short* from;
    unsigned char *rests, *planes1, *planes2, *planes3, *bytes;  // where the next goes
    unsigned char *ring1, *ring2;
    KfWindows w;
    unsigned lane, below;   // bits of the lanes before this one
    unsigned put1, got1;    // values that came to ring1 and left it; likewise for ring2
    unsigned put2, got2;

    // put writes a bit plane of n values, bits of values 0 to 31 in lo, and returns
    // what is behind it.
    __device__ __forceinline__ unsigned char* plane(unsigned char* to, unsigned n, bool bit0, bool bit1)
    {
        const unsigned lo = __ballot_sync(0xffffffffu, bit0), hi = __ballot_sync(0xffffffffu, bit1);
        const unsigned bytes = (n + 7) / 8;
        if (lane < bytes) to[lane] = (unsigned char)((lane < 4 ? lo : hi) >> (8 * (lane & 3)));
        return to + bytes;
    }

    // push appends the values of the lanes for which on0 and on1 hold to a ring.
    __device__ __forceinline__ void push(unsigned char* ring, unsigned& put, bool on0, bool on1, unsigned v0, unsigned v1)
    {
        const unsigned lo = __ballot_sync(0xffffffffu, on0), hi = __ballot_sync(0xffffffffu, on1);
        if (!(lo | hi)) return;
        const unsigned middle = put + (unsigned)__popc(lo);
        __syncwarp();  // every lane has taken what lay there
        if (on0) ring[kf_slot(put + (unsigned)__popc(lo & below))] = (unsigned char)v0;
        if (on1) ring[kf_slot(middle + (unsigned)__popc(hi & below))] = (unsigned char)v1;
        __syncwarp();
        put = middle + (unsigned)__popc(hi);
    }

    __device__ __forceinline__ unsigned rest(unsigned at, bool in, unsigned i)
    {
        if (!in) return 0;
        const unsigned v = *kf_as<const unsigned short>(from + at);
        rests[i] = (unsigned char)(v << 1 | v >> 15);
        return v >> 7 & 255;
    }

    __device__ __forceinline__ void operator()(unsigned at0, unsigned at1, unsigned n, bool in0, bool in1,
            unsigned start0, unsigned start1, unsigned& e0, unsigned& e1)
    {
        e0 = rest(at0, in0, lane);
        e1 = rest(at1, in1, lane + 32);
        rests += n;
        const unsigned x0 = in0 ? (e0 - start0) & 255 : 0, x1 = in1 ? (e1 - start1) & 255 : 0;
        const unsigned k0 = x0 < 3 ? x0 : 3, k1 = x1 < 3 ? x1 : 3;
        planes1 = plane(planes1, n, k0 & 1, k1 & 1);
        planes1 = plane(planes1, n, k0 & 2, k1 & 2);
        push(ring1, put1, k0 == 3, k1 == 3, x0, x1);
        if (put1 - got1 >= 64) second(64);
    }

    // second codes n values from ring1.
    __device__ __forceinline__ void second(unsigned n)
    {
        unsigned y0 = 0, y1 = 0;
        if (lane < n) y0 = (kf_outside(ring1[kf_slot(got1 + lane)]) - w.second) & 255;
        if (lane + 32 < n) y1 = (kf_outside(ring1[kf_slot(got1 + lane + 32)]) - w.second) & 255;
        got1 += n;
        const unsigned k0 = y0 < 3 ? y0 : 3, k1 = y1 < 3 ? y1 : 3;
        planes2 = plane(planes2, n, k0 & 1, k1 & 1);
        planes2 = plane(planes2, n, k0 & 2, k1 & 2);
        push(ring2, put2, k0 == 3, k1 == 3, y0, y1);
        if (put2 - got2 >= 64) third(64);
    }

    // third codes n values from ring2.
    __device__ __forceinline__ void third(unsigned n)
    {
        unsigned z0 = 0, z1 = 0;
        if (lane < n) z0 = (kf_outside(ring2[kf_slot(got2 + lane)]) - w.third) & 255;
        if (lane + 32 < n) z1 = (kf_outside(ring2[kf_slot(got2 + lane + 32)]) - w.third) & 255;
        got2 += n;
        const unsigned k0 = z0 < 7 ? z0 : 7, k1 = z1 < 7 ? z1 : 7;
        planes3 = plane(planes3, n, k0 & 1, k1 & 1);
        planes3 = plane(planes3, n, k0 & 2, k1 & 2);
        planes3 = plane(planes3, n, k0 & 4, k1 & 4);
        const unsigned lo = __ballot_sync(0xffffffffu, k0 == 7), hi = __ballot_sync(0xffffffffu, k1 == 7);
        if (k0 == 7) bytes[__popc(lo & below)] = (unsigned char)z0;
        bytes += __popc(lo);
        if (k1 == 7) bytes[__popc(hi & below)] = (unsigned char)z1;
        bytes += __popc(hi);
    }

    // block writes the block that b tells of.
    __device__ __forceinline__ void block(unsigned char* to, const KfBlock& b, uint2 param, const KfShape& p)
    {
        const unsigned rows = p.rows - b.zero;
        if (lane < 2) *kf_as<unsigned>(to + 4 * lane) = lane ? (param.y & 0xffff) | b.zero << 16 : param.x;
        rests = to + KF_PARAMS;
        planes1 = rests + rows * p.cols;
        planes2 = planes1 + kf_planes1_bytes(rows, p.cols);
        planes3 = planes2 + 2 * kf_plane_bytes(b.r1);
        bytes = planes3 + 3 * kf_plane_bytes(b.r2);
        w = kf_windows(param.x, param.y);
        put1 = got1 = put2 = got2 = 0;
        kf_walk(rows, p.cols, w, lane, *this);
        if (put1 != got1) second(put1 - got1);
        if (put2 != got2) third(put2 - got2);
        __syncwarp();  // the next block's values come to the rings
    }
};

// kf_around writes what is not in a block: head, entries, tail, and zeros up to
// the next payload.
__device__ __forceinline__ void kf_around(unsigned char* to, unsigned char* end, const KfPayload& place, const KfBlock* blocks,
        const unsigned char* tail, const KfShape& p, unsigned lane)
{
    unsigned* const words = kf_as<unsigned>(to);
    if (lane < 4) words[lane] = lane == 0 ? 0x101u | p.rows << 16 : lane == 1 ? p.cols : lane == 2 ? p.segments : 0;
#pragma unroll 1
    for (unsigned s = lane; s < p.segments; s += 32) words[KF_HEAD / 4 + s] = blocks[s].entry;
    if (p.segments % 2 && lane == 0) words[KF_HEAD / 4 + p.segments] = 0;
    unsigned char* const behind = to + place.bytes;
    if (p.tail) kf_move(behind - p.tail, tail, p.tail, lane);
    if (behind + lane < end) behind[lane] = 0;
}

extern "C" __global__ void __launch_bounds__(KF_PLANES_THREADS) planes_encode(unsigned char* out, const KfPayload* __restrict__ places,
        const KfBlock* __restrict__ blocks, const unsigned char* __restrict__ pages, const uint2* __restrict__ params, KfShape p)
{
    __shared__ unsigned char rings[KF_PLANES_WARPS][2][KF_RING];
    const unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32, per = p.segments + 1, total = per * p.count;
    for (unsigned id = blockIdx.x * KF_PLANES_WARPS + warp; id < total; id += gridDim.x * KF_PLANES_WARPS) {
        const unsigned page = id / per, segment = id % per, values = p.rows * p.cols;
        const KfPayload place = places[page];
        const KfBlock* const mine = blocks + (long long)page * p.segments;
        const unsigned char* const from = pages + ((long long)page * p.stride + 2ll * segment * values);
        unsigned char* to = out + place.offset;
        if (segment == p.segments) {
            kf_around(to, out + places[page + 1].offset, place, mine, from, p, lane);
            continue;
        }
        unsigned before = 0;
#pragma unroll 1
        for (unsigned s = lane; s < segment; s += 32) before += kf_pad8(mine[s].entry & KF_LENGTH);
        to += kf_head_bytes(p) + kf_sum(before);
        const KfBlock b = mine[segment];
        const unsigned bytes = b.entry & KF_LENGTH;
        if (b.entry >> 30) {
            KfEncode e;
            e.from = kf_as<const unsigned short>(from);
            e.ring1 = rings[warp][0];
            e.ring2 = rings[warp][1];
            e.lane = lane;
            e.below = (1u << lane) - 1;
            e.block(to, b, params[segment], p);
        } else {
            kf_move(to, from, bytes, lane);
        }
        if (bytes + lane < kf_pad8(bytes)) to[bytes + lane] = 0;
    }
}
