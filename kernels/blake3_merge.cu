// blake3_merge merges the values of trees, up to four into one: two levels of
// BLAKE3's trees, which pair neighbours level by level and let an odd last one
// move up unchanged.
//
//   out[id] = node of in[page*in + first_in[k] + 4*node .. +3], as many as the tree has
//   id = page*out + first_out[k] + node, node in 0 .. ceil(n[k]/4)-1
//
// A tree of at most four values ends: its root goes to
// digests[page*digests + digest[k]] instead. See KfLevel in blake3.h for the
// bounds. in, out and digests: multiples of 16; in and out do not overlap.
//
// Launch: blake3_merge<<<blocks, 128>>>, any number of blocks from 1, once for
// each level that any tree has.
// Reference: digest.Hasher.
#include "blake3.h"

// kf_parent: h = the parent of the values at left and right.
__device__ __forceinline__ void kf_parent(unsigned (&h)[8], const KfLevel& p, uint4 l0, uint4 l1, uint4 r0, uint4 r1, unsigned root)
{
    unsigned m[16];
    kf_words(m, 0, l0);
    kf_words(m, 4, l1);
    kf_words(m, 8, r0);
    kf_words(m, 12, r1);
    kf_key(h, p.key);
    kf_compress(h, m, 0, 64, p.flags | KF_PARENT | root);
}

extern "C" __global__ void __launch_bounds__(KF_HASH_THREADS, 8) blake3_merge(uint4* out, uint4* digests, const uint4* __restrict__ in, KfLevel p)
{
    const unsigned total = p.out * p.count;
    for (unsigned id = blockIdx.x * KF_HASH_THREADS + threadIdx.x; id < total; id += gridDim.x * KF_HASH_THREADS) {
        const unsigned page = id / p.out, c = id % p.out;
        unsigned n = p.n[0], first_in = p.first_in[0], first_out = 0, digest = p.digest[0];
#pragma unroll
        for (int k = 1; k < KF_PARTS; k++)
            if (c >= p.first_out[k]) {
                n = p.n[k];
                first_in = p.first_in[k];
                first_out = p.first_out[k];
                digest = p.digest[k];
            }
        const unsigned from = 4 * (c - first_out), left = n - from;
        const unsigned root = n <= 4 ? KF_ROOT : 0;
        const uint4* v = in + ((long long)page * p.in + first_in + from) * 2;
        uint4* o = root ? digests + ((long long)page * p.digests + digest) * 2 : out + (long long)id * 2;
        if (left == 1) {
            o[0] = v[0];
            o[1] = v[1];
            continue;
        }
        unsigned h[8];
        kf_parent(h, p, v[0], v[1], v[2], v[3], left == 2 ? root : 0);
        if (left > 2) {
            const uint4 a = {h[0], h[1], h[2], h[3]}, b = {h[4], h[5], h[6], h[7]};
            uint4 c0 = v[4], c1 = v[5];
            if (left > 3) {
                kf_parent(h, p, c0, c1, v[6], v[7], 0);
                const uint4 d0 = {h[0], h[1], h[2], h[3]}, d1 = {h[4], h[5], h[6], h[7]};
                c0 = d0;
                c1 = d1;
            }
            kf_parent(h, p, a, b, c0, c1, root);
        }
        kf_store(o, h);
    }
}
