// blake3_chunks_tile is blake3_chunks with another way to read: the same
// parameters, bounds and results.
//
// A warp reads 64 bytes of each of its 32 chunks per step: four lanes read one
// chunk's 64 bytes, so that a request is 8 stretches of 64 bytes and not 32
// lines. A tile in shared memory turns them round. 16-byte piece q of row r lies
// at r*4 + (q ^ (r>>1 & 3)), so that no bank is hit twice, neither by the lanes that
// write rows nor by those that read their own.
//
// A warp with a chunk that does not begin at a multiple of 16 reads as
// blake3_chunks does. p.steps is the number of 64-byte blocks of the longest chunk.
//
// Which of the two is faster has to be measured on a device: this one has more
// registers and instructions, the other more lines per request.
//
// Launch: blake3_chunks_tile<<<blocks, 128>>>, any number of blocks from 1.
// Reference: digest.Hasher.
#include "blake3.h"

extern "C" __global__ void __launch_bounds__(KF_HASH_THREADS, 6) blake3_chunks_tile(uint4* values, uint4* digests,
        const unsigned char* __restrict__ pages, long long stride, KfChunks p)
{
    __shared__ uint4 tiles[KF_HASH_THREADS * 4];
    __shared__ const unsigned char* rows[KF_HASH_THREADS];  // where each thread's chunk begins
    __shared__ int lens[KF_HASH_THREADS];
    const unsigned total = p.chunks * p.count, t = threadIdx.x, warp = t & ~31u, lane = t & 31u;
    uint4* const tile = tiles + warp * 4;
    const unsigned swizzle = lane >> 1 & 3;
    for (unsigned base = blockIdx.x * KF_HASH_THREADS; base < total; base += gridDim.x * KF_HASH_THREADS) {
        // Threads beyond the end work on the last chunk and store nothing.
        const unsigned id = base + t < total ? base + t : total - 1;
        const KfPlace r = kf_place(p, id);
        const unsigned char* from = pages + ((long long)r.page * stride + r.offset);
        uint4* const to = kf_place_value(p, r, id, values, digests);
        unsigned h[8];
        kf_key(h, p.key);
        if (__ballot_sync(0xffffffffu, ((unsigned)(unsigned long long)from & 15) != 0)) {
            kf_chunk(h, from, r.len, r.chunk, p.flags, r.only);
        } else {
            rows[t] = from;
            lens[t] = r.len;
            __syncwarp();
            int left = r.len;
            unsigned now = p.flags | KF_START;
#pragma unroll 1
            for (unsigned step = 0; step < p.steps; step++) {
                uint4 w[4];
#pragma unroll
                for (unsigned i = 0; i < 4; i++) {
                    const unsigned row = warp + i * 8 + (lane >> 2), at = step * 64 + (lane & 3) * 16;
                    if ((int)at + 16 <= lens[row]) w[i] = *kf_as<const uint4>(rows[row] + at);
                }
                __syncwarp();  // every lane has read its row of the step before
#pragma unroll
                for (unsigned i = 0; i < 4; i++) {
                    const unsigned row = i * 8 + (lane >> 2), at = step * 64 + (lane & 3) * 16;
                    if ((int)at + 16 <= lens[warp + row]) tile[row * 4 + ((lane & 3) ^ (row >> 1 & 3))] = w[i];
                }
                __syncwarp();
                if (left > 0 || step == 0) {
                    const int have = left < 64 ? left : 64;
                    unsigned m[16];
                    if (have == 64) {
#pragma unroll
                        for (unsigned q = 0; q < 4; q++) kf_words(m, 4 * (int)q, tile[lane * 4 + (q ^ swizzle)]);
                    } else {
                        kf_block(m, from + step * 64, have);
                    }
                    kf_compress(h, m, r.chunk, (unsigned)have, left <= 64 ? now | KF_END | r.only : now);
                    left -= 64;
                    now = p.flags;
                }
            }
            // Nobody looks at rows or lens after the last step's second barrier.
        }
        if (base + t < total) kf_store(to, h);
    }
}
