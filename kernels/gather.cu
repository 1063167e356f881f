// gather copies pages from where an engine keeps them to canonical pages.
//
//   staging[slot*stride + canonical byte]  =  memory of page numbers[slot]        slot in 0 .. count-1
//
// units     per_page of them, at least 1: a page's fragments in memory and where
//           they go, see runs.h. They cover a page's canonical bytes once.
// numbers   count page numbers; that the engine's memory has such pages is the
//           caller's to know.
// staging   writes count pages, one every stride bytes, and nothing between them
// align     1, 2, 4, 8 or 16; divides staging and stride
// Any alignment and length works. Reads and writes 16 bytes at a time wherever
// both sides are equally aligned.
//
// Launch: gather<<<blocks, 256>>>, any number of blocks from 1 to 2^20.
// Reference: gatherReference in reference_test.go.
#include "runs.h"

extern "C" __global__ void __launch_bounds__(KF_COPY_THREADS, 2) gather(const KfUnit* __restrict__ units, unsigned per_page,
        const unsigned* __restrict__ numbers, unsigned count, unsigned char* staging, long long stride, unsigned align)
{
    kf_pages<true>(units, per_page, numbers, count, staging, stride, align);
}
