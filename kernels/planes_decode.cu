// planes_decode turns payloads back into pages.
//
//   page index = pages + index*stride, even; from payloads + places[index].offset, places[index].bytes long
//
// Every payload must be of shape p. One that planes_encode and planes.Encoder do not
// write sets bad[index] to 1, whatever else it is: nothing outside of it is read,
// and the page is written as a whole, with zeros for the blocks that are not right.
// bad has count words, which are 0 before. payloads has room bytes and lies at a
// multiple of 8, as every place in it has to.
//
// A warp decodes a block. It counts first what each window left, which tells where
// everything lies; then it walks the segment, and takes from the windows behind
// the first 64 values whenever it runs short of them.
//
// Launch: planes_decode<<<blocks, 128>>>, any number of blocks from 1.
// Reference: planes.Decoder.
#include "planes.h"

// kf_left counts the values of n, in groups of 64, of which all depth bits are set.
__device__ __forceinline__ unsigned kf_left(const unsigned char* planes, unsigned n, unsigned depth, unsigned lane)
{
    unsigned count = 0;
#pragma unroll 1
    for (unsigned i = lane; i < kf_plane_bytes(n); i += 32) {
        const unsigned group = i / 8, there = n - 64 * group, bytes = there < 64 ? (there + 7) / 8 : 8;
        const unsigned char* const at = planes + 8 * depth * group + i % 8;
        unsigned all = at[0] & at[bytes];
        if (depth == 3) all &= at[2 * bytes];
        const unsigned values = there - 8 * (i % 8);
        if (values < 8) all &= (1u << values) - 1;
        count += (unsigned)__popc(all);
    }
    return kf_sum(count);
}

// KfDecode reads a block of planes.
struct KfDecode {
    unsigned short* to;
    const unsigned char* from;
    unsigned rests, planes1, planes2, planes3, bytes;  // where in from the next is
    unsigned char *ring1, *ring2;
    KfWindows w;
    unsigned lane, below;
    unsigned r1, r2;      // values that the first and the second window left
    unsigned put1, got1;  // values that came to ring1 and left it; likewise for ring2
    unsigned put2, got2;

    // bit is bit i of a plane.
    __device__ __forceinline__ unsigned bit(unsigned plane, unsigned i) const { return (unsigned)(from[plane + i / 8] >> (i % 8)) & 1; }

    // code is code i of n codes of two bits.
    __device__ __forceinline__ unsigned code(unsigned planes, unsigned n, unsigned i) const
    {
        return i < n ? bit(planes, i) | bit(planes + (n + 7) / 8, i) << 1 : 0;
    }

    // third decodes the next values of ring2.
    __device__ __forceinline__ void third()
    {
        const unsigned n = r2 - put2 < 64 ? r2 - put2 : 64, size = (n + 7) / 8;
        unsigned z0 = code(planes3, n, lane), z1 = code(planes3, n, lane + 32);
        if (lane < n) z0 |= bit(planes3 + 2 * size, lane) << 2;
        if (lane + 32 < n) z1 |= bit(planes3 + 2 * size, lane + 32) << 2;
        planes3 += 3 * size;
        const unsigned lo = __ballot_sync(0xffffffffu, z0 == 7), hi = __ballot_sync(0xffffffffu, z1 == 7);
        if (z0 == 7) z0 = from[bytes + (unsigned)__popc(lo & below)];
        bytes += (unsigned)__popc(lo);
        if (z1 == 7) z1 = from[bytes + (unsigned)__popc(hi & below)];
        bytes += (unsigned)__popc(hi);
        __syncwarp();  // every lane has taken what lay there
        if (lane < n) ring2[kf_slot(put2 + lane)] = (unsigned char)kf_back((z0 + w.third) & 255);
        if (lane + 32 < n) ring2[kf_slot(put2 + lane + 32)] = (unsigned char)kf_back((z1 + w.third) & 255);
        __syncwarp();
        put2 += n;
    }

    // second decodes the next values of ring1.
    __device__ __forceinline__ void second()
    {
        const unsigned n = r1 - put1 < 64 ? r1 - put1 : 64;
        unsigned y0 = code(planes2, n, lane), y1 = code(planes2, n, lane + 32);
        planes2 += 2 * ((n + 7) / 8);
        const unsigned lo = __ballot_sync(0xffffffffu, y0 == 3), hi = __ballot_sync(0xffffffffu, y1 == 3);
        const unsigned middle = (unsigned)__popc(lo), need = middle + (unsigned)__popc(hi);
        if (put2 - got2 < need) third();
        if (y0 == 3) y0 = ring2[kf_slot(got2 + (unsigned)__popc(lo & below))];
        if (y1 == 3) y1 = ring2[kf_slot(got2 + middle + (unsigned)__popc(hi & below))];
        got2 += need;
        __syncwarp();
        if (lane < n) ring1[kf_slot(put1 + lane)] = (unsigned char)kf_back((y0 + w.second) & 255);
        if (lane + 32 < n) ring1[kf_slot(put1 + lane + 32)] = (unsigned char)kf_back((y1 + w.second) & 255);
        __syncwarp();
        put1 += n;
    }

    __device__ __forceinline__ unsigned value(unsigned at, bool in, unsigned i, unsigned x)
    {
        if (!in) return 0;
        const unsigned e = x & 255, v = e << 8 | from[rests + i];
        *kf_as<unsigned short>(to + at) = (unsigned short)(v >> 1 | v << 15);
        return e;
    }

    __device__ __forceinline__ void operator()(unsigned at0, unsigned at1, unsigned n, bool in0, bool in1,
            unsigned start0, unsigned start1, unsigned& e0, unsigned& e1)
    {
        unsigned x0 = code(planes1, n, lane), x1 = code(planes1, n, lane + 32);
        planes1 += 2 * ((n + 7) / 8);
        const unsigned lo = __ballot_sync(0xffffffffu, x0 == 3), hi = __ballot_sync(0xffffffffu, x1 == 3);
        const unsigned middle = (unsigned)__popc(lo), need = middle + (unsigned)__popc(hi);
        if (put1 - got1 < need) second();
        if (x0 == 3) x0 = ring1[kf_slot(got1 + (unsigned)__popc(lo & below))];
        if (x1 == 3) x1 = ring1[kf_slot(got1 + middle + (unsigned)__popc(hi & below))];
        got1 += need;
        e0 = value(at0, in0, lane, x0 + start0);
        e1 = value(at1, in1, lane + 32, x1 + start1);
        rests += n;
    }

    // block decodes a block of length bytes to rows of cols values and reports
    // whether it is right; if not, nothing was written.
    __device__ __forceinline__ bool block(unsigned length, unsigned rows, unsigned cols)
    {
        if (length < KF_PARAMS) return false;
        const unsigned a = *kf_as<const unsigned>(from), b = *kf_as<const unsigned>(from + 4), zero = b >> 16;
        if (zero > rows) return false;
        unsigned left = length - KF_PARAMS;
        rows -= zero;
        const unsigned n = rows * cols, size1 = kf_planes1_bytes(rows, cols);
        if (left < n || left - n < size1) return false;
        left -= n + size1;
        rests = KF_PARAMS;
        planes1 = rests + n;
        r1 = 0;
        unsigned at = planes1;
        const unsigned whole = cols / 64 * rows * 64;
        if (whole) r1 = kf_left(from + at, whole, 2, lane);
        at += whole / 4;
#pragma unroll 1
        for (unsigned width = 32; width; width /= 2)
            if (cols & width) {
                r1 += kf_left(from + at, rows * width, 2, lane);
                at += 2 * kf_plane_bytes(rows * width);
            }
        const unsigned size2 = 2 * kf_plane_bytes(r1);
        if (left < size2) return false;
        left -= size2;
        planes2 = at;
        r2 = kf_left(from + planes2, r1, 2, lane);
        const unsigned size3 = 3 * kf_plane_bytes(r2);
        if (left < size3) return false;
        left -= size3;
        planes3 = planes2 + size2;
        bytes = planes3 + size3;
        if (left != kf_left(from + planes3, r2, 3, lane)) return false;
        w = kf_windows(a, b);
        put1 = got1 = put2 = got2 = 0;
        kf_walk(rows, cols, w, lane, *this);
#pragma unroll 1
        for (unsigned i = lane; i < zero * cols; i += 32) *kf_as<unsigned short>(to + n + i) = 0;
        __syncwarp();  // the next block's values come to the rings
        return true;
    }
};

// kf_before adds up the padded lengths of the first n blocks that entries tell of.
__device__ __forceinline__ unsigned long long kf_before(const unsigned* entries, unsigned n, unsigned lane)
{
    unsigned low = 0, high = 0;  // of numbers below 2^27, in units of 8 bytes
#pragma unroll 1
    for (unsigned s = lane; s < n; s += 32) {
        const unsigned units = kf_pad8(entries[s] & KF_LENGTH) / 8;
        low += units & 0xfff;
        high += units >> 12;
    }
    return 8 * (kf_sum(low) + ((unsigned long long)kf_sum(high) << 12));
}

// kf_plain decodes what is not in a block, and reports whether it is right.
__device__ __forceinline__ bool kf_plain(const unsigned char* from, unsigned bytes, unsigned char* tail, const KfShape& p, unsigned lane)
{
    const unsigned* const words = kf_as<const unsigned>(from);
    if (words[0] != (0x101u | p.rows << 16) || words[1] != p.cols || words[2] != p.segments || words[3] != 0) return false;
    if (kf_head_bytes(p) + kf_before(words + KF_HEAD / 4, p.segments, lane) + p.tail != bytes) return false;
    if (p.tail) kf_move(tail, from + (bytes - p.tail), p.tail, lane);
    return true;
}

extern "C" __global__ void __launch_bounds__(KF_PLANES_THREADS) planes_decode(unsigned char* pages, unsigned* bad,
        const unsigned char* __restrict__ payloads, unsigned long long room, const KfPayload* __restrict__ places, KfShape p)
{
    __shared__ unsigned char rings[KF_PLANES_WARPS][2][KF_RING];
    const unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32, per = p.segments + 1, total = per * p.count;
    for (unsigned id = blockIdx.x * KF_PLANES_WARPS + warp; id < total; id += gridDim.x * KF_PLANES_WARPS) {
        const unsigned page = id / per, segment = id % per, values = p.rows * p.cols;
        const KfPayload place = places[page];
        const unsigned char* const from = payloads + place.offset;
        unsigned char* const to = pages + ((long long)page * p.stride + 2ll * segment * values);
        const unsigned size = segment < p.segments ? 2 * values : p.tail;
        bool good = place.offset % 8 == 0 && place.offset <= room && place.bytes <= room - place.offset && kf_head_bytes(p) <= place.bytes;
        if (good && segment == p.segments) {
            good = kf_plain(from, place.bytes, to, p, lane);
        } else if (good) {
            const unsigned* const entries = kf_as<const unsigned>(from + KF_HEAD);
            const unsigned long long at = kf_head_bytes(p) + kf_before(entries, segment, lane);
            const unsigned entry = entries[segment], length = entry & KF_LENGTH;
            good = at + kf_pad8(length) <= place.bytes;
            if (good && entry >> 30 == 1) {
                KfDecode d;
                d.to = kf_as<unsigned short>(to);
                d.from = from + at;
                d.ring1 = rings[warp][0];
                d.ring2 = rings[warp][1];
                d.lane = lane;
                d.below = (1u << lane) - 1;
                good = d.block(length, p.rows, p.cols);
            } else if (good) {
                good = entry >> 30 == 0 && length == size;
                if (good) kf_move(to, from + at, size, lane);
            }
        }
        if (good) continue;
#pragma unroll 1
        for (unsigned i = lane; i < size; i += 32) to[i] = 0;
        if (lane == 0) bad[page] = 1;
    }
}
