// All kernels in one translation unit, so that they travel as one PTX text.
#include "gather.cu"
#include "scatter.cu"
#include "blake3_chunks.cu"
#include "blake3_chunks_tile.cu"
#include "blake3_in_place.cu"
#include "blake3_merge.cu"
#include "compare_flags.cu"
#include "compare_list.cu"
