// blake3_in_place hashes the chunks of parts of pages where an engine keeps them.
//
// It is blake3_chunks with another source: byte offset of page numbers[index] lies
// in the fragment with the greatest canonical offset that is not above it, at
//
//   address + numbers[index]*page_stride + (offset - canonical)
//
// fragments  count fragment_count, at least 1, ascending by canonical, the first
//            at 0. No chunk crosses from one to the next. Addresses and strides
//            are multiples of 16.
// numbers    count page numbers that the engine's memory has
//
// Launch: blake3_in_place<<<blocks, 128>>>, any number of blocks from 1.
// Reference: gatherReference in reference_test.go, then digest.Hasher.
#include "blake3.h"

struct KfFragment {
    unsigned long long address, canonical;
    long long page_stride, unused;
};

extern "C" __global__ void __launch_bounds__(KF_HASH_THREADS, 9) blake3_in_place(uint4* values, uint4* digests,
        const KfFragment* __restrict__ fragments, unsigned fragment_count, const unsigned* __restrict__ numbers, KfChunks p)
{
    const unsigned total = p.chunks * p.count;
    for (unsigned id = blockIdx.x * KF_HASH_THREADS + threadIdx.x; id < total; id += gridDim.x * KF_HASH_THREADS) {
        const KfPlace r = kf_place(p, id);
        unsigned at = 0, end = fragment_count;  // the one that is looked for is in [at, end)
        while (end - at > 1) {
            const unsigned middle = at + (end - at) / 2;
            if (fragments[middle].canonical <= (unsigned long long)r.offset) at = middle;
            else end = middle;
        }
        const KfFragment f = fragments[at];
        const unsigned long long place = f.address + (unsigned long long)numbers[r.page] * (unsigned long long)f.page_stride;
        // A part of 0 bytes at the end of a page lies nowhere.
        const unsigned char* from = r.len ? kf_at<const unsigned char>(place + ((unsigned long long)r.offset - f.canonical)) : 0;
        uint4* const to = kf_place_value(p, r, id, values, digests);
        unsigned h[8];
        kf_key(h, p.key);
        kf_chunk(h, from, r.len, r.chunk, p.flags, r.only);
        kf_store(to, h);
    }
}
