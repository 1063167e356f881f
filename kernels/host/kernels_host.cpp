// The kernels for the software driver, compiled from the sources of the PTX, and
// what each touches: every byte that it reads or writes, and no other.
#include "../../internal/softcuda/driver/kernel.h"

#include "../all.cu"
#include "hash_touches.h"
#include "planes_touches.h"
#include "runs_touches.h"

SOFTCUDA_KERNEL(gather, gather_touches)
SOFTCUDA_KERNEL(scatter, scatter_touches)
SOFTCUDA_KERNEL(blake3_chunks, chunks_touches)
SOFTCUDA_KERNEL(blake3_chunks_mad, chunks_touches)
SOFTCUDA_KERNEL_SYNC(blake3_chunks_tile, chunks_touches)
SOFTCUDA_KERNEL(blake3_in_place, in_place_touches)
SOFTCUDA_KERNEL(blake3_merge, merge_touches)
SOFTCUDA_KERNEL_SYNC(compare_flags, flags_touches)
SOFTCUDA_KERNEL_SYNC(compare_list, list_touches)
SOFTCUDA_KERNEL_SYNC(planes_lengths, lengths_touches)
SOFTCUDA_KERNEL_SYNC(planes_offsets, offsets_touches)
SOFTCUDA_KERNEL_SYNC(planes_encode, encode_touches)
SOFTCUDA_KERNEL_SYNC(planes_decode, decode_touches)
