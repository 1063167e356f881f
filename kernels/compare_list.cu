// compare_list turns the flags of compare_flags into a list of page indices,
// ascending, and counts them.
//
//   changed[j] = index of the j-th page whose bit is set, number = how many there are
//
// changed has count entries, and the flags are its last ceil(count/32): no
// entry is written before every flag in it was read. What 256 flags become is
// at most 32*256 entries from 32 times the flags before, while a later flag w is
// entry count - ceil(count/32) + w, which is 32*w or more as long as there is one.
//
// Launch: compare_list<<<1, 256>>>.
// Reference: compareReference in reference_test.go.
#include "compare.h"

extern "C" __global__ void __launch_bounds__(KF_COMPARE_THREADS) compare_list(unsigned* changed, unsigned* number, unsigned count)
{
    __shared__ unsigned sums[KF_COMPARE_THREADS];
    const unsigned groups = (count + 31) / 32, t = threadIdx.x;
    const unsigned* flags = changed + (count - groups);
    unsigned found = 0;  // pages of the flags before; the same for all threads
    for (unsigned base = 0; base < groups; base += KF_COMPARE_THREADS) {
        unsigned bits = base + t < groups ? flags[base + t] : 0;
        sums[t] = (unsigned)__popc(bits);
        __syncthreads();
        for (unsigned d = 1; d < KF_COMPARE_THREADS; d *= 2) {  // sums[t] becomes the sum of 0 .. t
            const unsigned before = t >= d ? sums[t - d] : 0;
            __syncthreads();
            sums[t] += before;
            __syncthreads();
        }
        unsigned at = found + sums[t] - (unsigned)__popc(bits);
        found += sums[KF_COMPARE_THREADS - 1];
        for (; bits; bits &= bits - 1) changed[at++] = (base + t) * 32 + (unsigned)__ffs((int)bits) - 1;
        __syncthreads();  // the next round writes sums
    }
    if (t == 0) *number = found;
}
