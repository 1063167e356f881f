// blake3_chunks hashes the chunks of parts of canonical pages.
//
//   page   = pages + index*stride; part k of it = bytes[k] bytes at offset[k]
//   chunk  = 1024 bytes of a part, the last of it shorter; a part of 0 bytes has one
//   values[id] = BLAKE3's chaining value, 32 bytes, id = index*chunks + number of the chunk in its page
//
// The chunk of a part that has no other is the part's digest and goes to
// digests[index*digests + digest + k] instead. See KfChunks in blake3.h for the
// bounds. Pages may lie at any address: at multiples of 16 they are read 16 bytes
// at a time, at multiples of 4 four, else one. values and digests: multiples of 16.
//
// One thread per chunk reads its own chunk: no shared memory, no barriers, few
// registers, at the price of 32 cache lines per request. blake3_chunks_tile.cu and
// blake3_chunks_mad.cu are other ways.
//
// Launch: blake3_chunks<<<blocks, 128>>>, any number of blocks from 1.
// Reference: digest.Hasher.
#include "blake3.h"

extern "C" __global__ void __launch_bounds__(KF_HASH_THREADS, 9) blake3_chunks(uint4* values, uint4* digests,
        const unsigned char* __restrict__ pages, long long stride, KfChunks p)
{
    const unsigned total = p.chunks * p.count;
    for (unsigned id = blockIdx.x * KF_HASH_THREADS + threadIdx.x; id < total; id += gridDim.x * KF_HASH_THREADS) {
        const KfPlace r = kf_place(p, id);
        uint4* const to = kf_place_value(p, r, id, values, digests);
        unsigned h[8];
        kf_key(h, p.key);
        kf_chunk(h, pages + ((long long)r.page * stride + r.offset), r.len, r.chunk, p.flags, r.only);
        kf_store(to, h);
    }
}
