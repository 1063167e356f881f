// What clang needs to compile the kernels where no CUDA header is: it is
// included before everything else by scripts/ptx. nvcc has all of it built in,
// and on the software driver fakekernel.h takes its place.
#pragma once
#if defined(__CUDA__) && defined(__clang__) && !defined(__CUDACC_VER_MAJOR__)
#define __global__ __attribute__((global))
#define __device__ __attribute__((device))
#define __host__ __attribute__((host))
#define __shared__ __attribute__((shared))
#define __forceinline__ __inline__ __attribute__((always_inline))
#define __launch_bounds__(...) __attribute__((launch_bounds(__VA_ARGS__)))
#define __restrict__ __restrict

typedef unsigned uint2 __attribute__((ext_vector_type(2)));
typedef unsigned uint4 __attribute__((ext_vector_type(4)));

// threadIdx.x and the like are properties, so that they read a register.
#define KF_SPECIAL(type, reg)                                             \
    struct type {                                                         \
        __declspec(property(get = get_x)) unsigned x;                     \
        static __device__ unsigned get_x() { return __nvvm_read_ptx_sreg_##reg##_x(); } \
    };
KF_SPECIAL(KfTid, tid)
KF_SPECIAL(KfCtaid, ctaid)
KF_SPECIAL(KfNctaid, nctaid)
#undef KF_SPECIAL
extern const __device__ __attribute__((weak)) KfTid threadIdx;
extern const __device__ __attribute__((weak)) KfCtaid blockIdx;
extern const __device__ __attribute__((weak)) KfNctaid gridDim;

static __device__ __forceinline__ void __syncwarp(unsigned mask = 0xffffffffu) { __nvvm_bar_warp_sync(mask); }
static __device__ __forceinline__ unsigned __ballot_sync(unsigned mask, int p) { return __nvvm_vote_ballot_sync(mask, p); }
static __device__ __forceinline__ unsigned __shfl_xor_sync(unsigned mask, unsigned v, int x) { return (unsigned)__nvvm_shfl_sync_bfly_i32(mask, (int)v, x, 31); }
static __device__ __forceinline__ unsigned atomicAdd(unsigned* p, unsigned v) { return __atomic_fetch_add(p, v, __ATOMIC_RELAXED); }
static __device__ __forceinline__ int __popc(unsigned v) { return __builtin_popcount(v); }
static __device__ __forceinline__ int __ffs(int v) { return __builtin_ffs(v); }
#endif
