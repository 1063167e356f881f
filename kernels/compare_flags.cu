// compare_flags marks the pages whose digests changed.
//
//   bit i%32 of flags[i/32] = some digest of page i in got differs from the one in want,
//                             or all of want's are zero bytes                       i in 0 .. count-1
//
// got and want hold count x words, 16 bytes each (two words make a digest), at
// multiples of 16. Bits of pages beyond count are 0.
//
// Launch: compare_flags<<<ceil(count/256), 256>>>.
// Reference: compareReference in reference_test.go.
#include "compare.h"

extern "C" __global__ void __launch_bounds__(KF_COMPARE_THREADS) compare_flags(const uint4* __restrict__ got,
        const uint4* __restrict__ want, unsigned count, unsigned words, unsigned* flags)
{
    const unsigned i = blockIdx.x * KF_COMPARE_THREADS + threadIdx.x;
    unsigned apart = 0, known = 0;
    if (i < count)
        for (unsigned w = 0; w < words; w++) {
            const uint4 a = got[(long long)i * words + w], b = want[(long long)i * words + w];
            apart |= (a.x ^ b.x) | (a.y ^ b.y) | (a.z ^ b.z) | (a.w ^ b.w);
            known |= b.x | b.y | b.z | b.w;
        }
    const unsigned bits = __ballot_sync(0xffffffffu, i < count && (apart != 0 || known == 0));
    if (threadIdx.x % 32 == 0 && i < count) flags[i / 32] = bits;
}
