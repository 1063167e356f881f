// scatter copies canonical pages to where an engine keeps them.
//
//   memory of page numbers[slot]  =  staging[slot*stride + canonical byte]        slot in 0 .. count-1
//
// Parameters and bounds are those of gather.cu. Bytes of the engine's memory that
// no unit names are neither read nor written. No number may occur twice.
//
// Launch: scatter<<<blocks, 256>>>, any number of blocks from 1 to 2^20.
// Reference: scatterReference in reference_test.go.
#include "runs.h"

extern "C" __global__ void __launch_bounds__(KF_COPY_THREADS, 2) scatter(const KfUnit* __restrict__ units, unsigned per_page,
        const unsigned* __restrict__ numbers, unsigned count, unsigned char* staging, long long stride, unsigned align)
{
    kf_pages<false>(units, per_page, numbers, count, staging, stride, align);
}
