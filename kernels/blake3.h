// BLAKE3's compression and the hash of one chunk, for the blake3_*.cu.
#pragma once
#include "address.h"

#define KF_HASH_THREADS 128
#define KF_CHUNK 1024
#define KF_PARTS 8  // of a page in one launch

enum { KF_START = 1, KF_END = 2, KF_PARENT = 4, KF_ROOT = 8 };

// KfChunks says which chunks a page has. Unused entries have first = 2^32-1.
struct KfChunks {
    long long offset[KF_PARTS];  // of each part in the page
    unsigned bytes[KF_PARTS];    // < 2^31
    unsigned first[KF_PARTS];    // the part's first chunk, counted through the page; a part of 0 bytes has one
    unsigned key[8];             // BLAKE3's initial value, or the key
    unsigned chunks, count;      // of a page; pages. Their product is below 2^31
    unsigned flags;              // of every compression: 0 or KEYED_HASH
    unsigned digest, digests;    // the first part's digest in a page; digests of a page
    unsigned steps;              // 64-byte blocks of the longest chunk, 1 to 16
    unsigned one;                // 1, which the compiler cannot know
    unsigned unused;
};

// KfLevel says which nodes of the trees are merged. Unused entries have
// first_out = 2^32-1.
struct KfLevel {
    unsigned n[KF_PARTS];          // values of the tree at this level, at least 2
    unsigned first_in[KF_PARTS];   // the first of them in a page's values
    unsigned first_out[KF_PARTS];  // the first of ceil(n/4) new ones
    unsigned digest[KF_PARTS];     // which digest of the page the tree's root is
    unsigned key[8];
    unsigned in, out, count;  // values of a page, before and after; pages. out*count is below 2^31
    unsigned flags, digests;
};

#define KF_ROTR(x, n) ((x) >> (n) | (x) << (32 - (n)))
#define KF_G(a, b, c, d, x, y) \
    a = kf_add<MAD>(a, b, one) + x; d = KF_ROTR(d ^ a, 16); c = c + d; b = KF_ROTR(b ^ c, 12); \
    a = kf_add<MAD>(a, b, one) + y; d = KF_ROTR(d ^ a, 8); c = c + d; b = KF_ROTR(b ^ c, 7);
#define KF_ROUND(i0, i1, i2, i3, i4, i5, i6, i7, i8, i9, i10, i11, i12, i13, i14, i15) \
    KF_G(v0, v4, v8, v12, m[i0], m[i1]) KF_G(v1, v5, v9, v13, m[i2], m[i3]) \
    KF_G(v2, v6, v10, v14, m[i4], m[i5]) KF_G(v3, v7, v11, v15, m[i6], m[i7]) \
    KF_G(v0, v5, v10, v15, m[i8], m[i9]) KF_G(v1, v6, v11, v12, m[i10], m[i11]) \
    KF_G(v2, v7, v8, v13, m[i12], m[i13]) KF_G(v3, v4, v9, v14, m[i14], m[i15])

// kf_add adds. With MAD it multiplies by one and adds: that is another pipe of a
// multiprocessor, and the one for additions is what BLAKE3 is short of.
template <bool MAD>
__device__ __forceinline__ unsigned kf_add(unsigned a, unsigned b, unsigned one)
{
    return MAD ? a * one + b : a + b;
}

// kf_compress: h = the first half of BLAKE3's compression of h and m. The words
// are named or indexed by constants only, so that all of them stay in registers.
// The counter's high word is 0: a part has fewer than 2^21 chunks.
template <bool MAD = false>
__device__ __forceinline__ void kf_compress(unsigned (&h)[8], const unsigned (&m)[16], unsigned counter, unsigned len, unsigned flags,
        unsigned one = 1)
{
    unsigned v0 = h[0], v1 = h[1], v2 = h[2], v3 = h[3], v4 = h[4], v5 = h[5], v6 = h[6], v7 = h[7];
    unsigned v8 = 0x6A09E667u, v9 = 0xBB67AE85u, v10 = 0x3C6EF372u, v11 = 0xA54FF53Au;
    unsigned v12 = counter, v13 = 0, v14 = len, v15 = flags;
    KF_ROUND(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
    KF_ROUND(2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8)
    KF_ROUND(3, 4, 10, 12, 13, 2, 7, 14, 6, 5, 9, 0, 11, 15, 8, 1)
    KF_ROUND(10, 7, 12, 9, 14, 3, 13, 15, 4, 0, 11, 2, 5, 8, 1, 6)
    KF_ROUND(12, 13, 9, 11, 15, 10, 14, 8, 7, 2, 5, 3, 0, 1, 6, 4)
    KF_ROUND(9, 14, 11, 5, 8, 12, 15, 1, 13, 3, 0, 10, 2, 6, 4, 7)
    KF_ROUND(11, 15, 5, 0, 1, 9, 8, 6, 14, 10, 2, 12, 3, 4, 7, 13)
    h[0] = v0 ^ v8; h[1] = v1 ^ v9; h[2] = v2 ^ v10; h[3] = v3 ^ v11;
    h[4] = v4 ^ v12; h[5] = v5 ^ v13; h[6] = v6 ^ v14; h[7] = v7 ^ v15;
}

__device__ __forceinline__ void kf_words(unsigned (&m)[16], int i, uint4 w) { m[i] = w.x; m[i + 1] = w.y; m[i + 2] = w.z; m[i + 3] = w.w; }

__device__ __forceinline__ void kf_store(uint4* o, const unsigned (&h)[8])
{
    const uint4 a = {h[0], h[1], h[2], h[3]}, b = {h[4], h[5], h[6], h[7]};
    o[0] = a;
    o[1] = b;
}

// kf_block reads have bytes (1 to 64, or 0 of an empty part) and fills up with
// zeros: 16 bytes at a time where from allows it, else 4, else 1. Nothing beyond
// them is read.
__device__ __forceinline__ void kf_block(unsigned (&m)[16], const unsigned char* from, int have)
{
    const unsigned low = (unsigned)(unsigned long long)from;
    if (have == 64 && (low & 15) == 0) {
#pragma unroll
        for (int q = 0; q < 4; q++) kf_words(m, 4 * q, *kf_as<const uint4>(from + 16 * q));
    } else if (have == 64 && (low & 3) == 0) {
#pragma unroll
        for (int i = 0; i < 16; i++) m[i] = *kf_as<const unsigned>(from + 4 * i);
    } else {
#pragma unroll
        for (int i = 0; i < 16; i++) {
            m[i] = 0;
#pragma unroll
            for (int k = 0; k < 4; k++)
                if (4 * i + k < have) m[i] |= (unsigned)*kf_as<const unsigned char>(from + 4 * i + k) << 8 * k;
        }
    }
}

// kf_chunk: h = the value of the chunk of len bytes; only is ROOT if the part has no
// other chunk.
template <bool MAD = false>
__device__ __forceinline__ void kf_chunk(unsigned (&h)[8], const unsigned char* from, int len, unsigned chunk, unsigned flags, unsigned only,
        unsigned one = 1)
{
    unsigned now = flags | KF_START;
#pragma unroll 1
    for (;; len -= 64, from += 64) {
        const int have = len < 64 ? len : 64;
        unsigned m[16];
        kf_block(m, from, have);
        kf_compress<MAD>(h, m, chunk, (unsigned)have, len <= 64 ? now | KF_END | only : now, one);
        if (len <= 64) break;
        now = flags;
    }
}

// KfPlace is the chunk that a thread works on.
struct KfPlace {
    unsigned page, part, chunk;
    int len;
    unsigned only;     // KF_ROOT if it is its part's only one
    long long offset;  // in the page
};

// kf_place finds chunk id of all pages' chunks. The parts are compared one by one
// and differences added up: the compiler would turn a choice among them into
// an index, and an index that is no constant puts them all into local memory.
__device__ __forceinline__ KfPlace kf_place(const KfChunks& p, unsigned id)
{
    KfPlace r;
    r.page = id / p.chunks;
    const unsigned c = id % p.chunks;
    unsigned first = 0, bytes = p.bytes[0];
    r.part = 0;
    r.offset = p.offset[0];
#pragma unroll
    for (int k = 1; k < KF_PARTS; k++) {
        const bool beyond = c >= p.first[k];
        first = beyond ? p.first[k] : first;
        bytes += beyond ? p.bytes[k] - p.bytes[k - 1] : 0;
        r.offset += beyond ? p.offset[k] - p.offset[k - 1] : 0;
        r.part += beyond;
    }
    r.chunk = c - first;
    const unsigned left = bytes - r.chunk * KF_CHUNK;
    r.len = left < KF_CHUNK ? (int)left : KF_CHUNK;
    r.only = bytes <= KF_CHUNK ? KF_ROOT : 0;
    r.offset += (long long)r.chunk * KF_CHUNK;
    return r;
}

__device__ __forceinline__ void kf_key(unsigned (&h)[8], const unsigned (&key)[8])
{
#pragma unroll
    for (int i = 0; i < 8; i++) h[i] = key[i];
}

// kf_place_value is where the chunk's value goes: among the values, or to the digests if it is one.
__device__ __forceinline__ uint4* kf_place_value(const KfChunks& p, const KfPlace& r, unsigned id, uint4* values, uint4* digests)
{
    return r.only ? digests + ((long long)r.page * p.digests + p.digest + r.part) * 2 : values + (long long)id * 2;
}
