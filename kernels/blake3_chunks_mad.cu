// blake3_chunks_mad is blake3_chunks with a third of its additions as products
// with 1 and a sum: the same parameters, bounds and results.
//
// A multiprocessor adds, shifts and combines bits in one pipe and multiplies in
// another, at the same time. BLAKE3 fills the first: by ptxas 12.9 for sm_90
// blake3_chunks has 568 such instructions for 64 bytes and 109 for the second
// pipe, this one 456 and 333. Whether that is faster has to be measured on a
// device.
//
// Launch: blake3_chunks_mad<<<blocks, 128>>>, any number of blocks from 1.
// Reference: digest.Hasher.
#include "blake3.h"

extern "C" __global__ void __launch_bounds__(KF_HASH_THREADS, 9) blake3_chunks_mad(uint4* values, uint4* digests,
        const unsigned char* __restrict__ pages, long long stride, KfChunks p)
{
    const unsigned total = p.chunks * p.count;
    for (unsigned id = blockIdx.x * KF_HASH_THREADS + threadIdx.x; id < total; id += gridDim.x * KF_HASH_THREADS) {
        const KfPlace r = kf_place(p, id);
        uint4* const to = kf_place_value(p, r, id, values, digests);
        unsigned h[8];
        kf_key(h, p.key);
        kf_chunk<true>(h, pages + ((long long)r.page * stride + r.offset), r.len, r.chunk, p.flags, r.only, p.one);
        kf_store(to, h);
    }
}
