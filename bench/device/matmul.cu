// The product C = A x B of square bf16 matrices, row by row, sums in float: the
// work of a model, to see what copies beside it cost. It is compiled where the
// suite runs and never ships.
//
// n is a multiple of 128. A block of 256 threads makes 128 x 128 of C, a warp 64 x
// 32 of that; the next 32 columns of A and rows of B are fetched while the last
// ones are multiplied. Grid: (n/128, n/128).
#include <cuda_bf16.h>
#include <cuda_pipeline.h>
#include <mma.h>

using namespace nvcuda;

static const int TILE = 128, DEPTH = 32, THREADS = 256;
static const int A_ROW = DEPTH + 8, B_ROW = TILE + 8;  // padded, so that rows lie in different banks; pieces of 16 x 16 begin at multiples of 32 bytes

struct Stage {
    __nv_bfloat16 a[TILE * A_ROW];
    __nv_bfloat16 b[DEPTH * B_ROW];
};

// fetch begins to copy a stage: 16 bytes at a time, two rounds for each matrix.
static __device__ void fetch(Stage& s, const __nv_bfloat16* a, const __nv_bfloat16* b, int n, int k)
{
    for (int i = threadIdx.x; i < TILE * DEPTH / 8; i += THREADS) {
        int row = i / (DEPTH / 8), column = i % (DEPTH / 8) * 8;
        __pipeline_memcpy_async(&s.a[row * A_ROW + column], &a[(size_t)row * n + k + column], 16);
    }
    for (int i = threadIdx.x; i < DEPTH * TILE / 8; i += THREADS) {
        int row = i / (TILE / 8), column = i % (TILE / 8) * 8;
        __pipeline_memcpy_async(&s.b[row * B_ROW + column], &b[(size_t)(k + row) * n + column], 16);
    }
    __pipeline_commit();
}

extern "C" __global__ void __launch_bounds__(THREADS) matmul(const __nv_bfloat16* a, const __nv_bfloat16* b, float* c, int n)
{
    __shared__ __align__(32) Stage stages[2];
    int warp = threadIdx.x / 32, down = warp / 4 * 64, across = warp % 4 * 32;
    a += (size_t)blockIdx.y * TILE * n;
    b += (size_t)blockIdx.x * TILE;

    wmma::fragment<wmma::accumulator, 16, 16, 16, float> sum[4][2];
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 2; j++) wmma::fill_fragment(sum[i][j], 0.0f);

    fetch(stages[0], a, b, n, 0);
    for (int k = 0; k < n; k += DEPTH) {
        Stage& s = stages[k / DEPTH % 2];
        if (k + DEPTH < n) {
            fetch(stages[(k / DEPTH + 1) % 2], a, b, n, k + DEPTH);
            __pipeline_wait_prior(1);
        } else {
            __pipeline_wait_prior(0);
        }
        __syncthreads();
        for (int d = 0; d < DEPTH; d += 16) {
            wmma::fragment<wmma::matrix_a, 16, 16, 16, __nv_bfloat16, wmma::row_major> fa[4];
            wmma::fragment<wmma::matrix_b, 16, 16, 16, __nv_bfloat16, wmma::row_major> fb[2];
            for (int i = 0; i < 4; i++) wmma::load_matrix_sync(fa[i], &s.a[(down + i * 16) * A_ROW + d], A_ROW);
            for (int j = 0; j < 2; j++) wmma::load_matrix_sync(fb[j], &s.b[d * B_ROW + across + j * 16], B_ROW);
            for (int i = 0; i < 4; i++)
                for (int j = 0; j < 2; j++) wmma::mma_sync(sum[i][j], fa[i], fb[j], sum[i][j]);
        }
        __syncthreads();  // the next round fetches into what was just read
    }
    c += ((size_t)blockIdx.y * TILE + down) * n + (size_t)blockIdx.x * TILE + across;
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 2; j++) wmma::store_matrix_sync(&c[(size_t)i * 16 * n + j * 16], sum[i][j], n, wmma::mem_row_major);
}
