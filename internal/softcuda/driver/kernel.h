// kernel.h: compiles a kernel's .cu file as plain C++, for the software driver.
//
// A file that is built into the driver includes this, then the .cu files, and registers each kernel with what it touches:
//
//     static void fill_touches(softcuda::Footprint& f, uint4* dst, int n) { f.write(dst, 16ull * n); }
//     SOFTCUDA_KERNEL(fill, fill_touches)             // its threads run one after the other
//     SOFTCUDA_KERNEL_SYNC(sum, sum_touches)          // barriers or warp operations: each thread is a fiber
//
// The function has the kernel's own parameters. It is called when the launch is about to run, so it may load what earlier
// work of the stream wrote. It must name every byte that the kernel may read, and exactly those that it writes; those that it
// may leave alone it names as read, too. The driver reports races, reads of bytes that nobody wrote, writes that were not
// named, named ones that did not happen, and addresses that kf_at is given but the function did not name.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <tuple>
#include <type_traits>
#include <utility>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __restrict__ __restrict
#define __shared__ static thread_local  // a block runs whole on one OS thread
#define __constant__ static
#define __align__(n) __attribute__((aligned(n)))

struct alignas(16) uint4 {
    unsigned x, y, z, w;
};
struct alignas(8) uint2 {
    unsigned x, y;
};
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }

namespace softcuda {

struct Uint3 {
    unsigned x, y, z;
};
struct Dims {
    Uint3 tid, bid, bdim, gdim;
};
struct Recorder;

// Footprint collects what a launch touches. Addresses are the program's: device memory, or mapped pinned memory.
struct Footprint {
    Recorder* to;
    Uint3 grid, block;
    void read(uint64_t address, uint64_t bytes);
    void write(uint64_t address, uint64_t bytes);
    void read(const void* p, uint64_t bytes) { read(uint64_t(uintptr_t(p)), bytes); }
    void write(const void* p, uint64_t bytes) { write(uint64_t(uintptr_t(p)), bytes); }
    // load returns what is at an address now, and counts it as read. Zero if it is not to be had, which ends the launch.
    template <class T> T load(uint64_t address) {
        T v{};
        fetch(address, &v, sizeof v);
        return v;
    }
    template <class T> T load(const T* p) { return load<T>(uint64_t(uintptr_t(p))); }

  private:
    void fetch(uint64_t address, void* out, uint64_t bytes);
};

}  // namespace softcuda

extern "C" {  // in the driver
softcuda::Dims* softcuda_dims();  // of the calling thread
void softcuda_barrier(int warp);
uint64_t softcuda_shuffle(uint64_t v, unsigned arg, int how);
unsigned softcuda_ballot(int p);
unsigned softcuda_count(int p);  // a barrier of the block, and for how many of its threads p holds
void* softcuda_at(uint64_t address, uint64_t bytes);
void softcuda_touch(softcuda::Recorder*, uint64_t address, uint64_t bytes, int write);
void softcuda_fetch(softcuda::Recorder*, uint64_t address, void* out, uint64_t bytes);
}
inline void softcuda::Footprint::read(uint64_t address, uint64_t bytes) { softcuda_touch(to, address, bytes, 0); }
inline void softcuda::Footprint::write(uint64_t address, uint64_t bytes) { softcuda_touch(to, address, bytes, 1); }
inline void softcuda::Footprint::fetch(uint64_t address, void* out, uint64_t bytes) { softcuda_fetch(to, address, out, bytes); }

// kf_at is how a kernel follows an address that it computed or found in memory, and did not get as a pointer parameter. For
// CUDA it is a cast. Here the address must lie in what the launch said it touches.
template <class T> inline T* kf_at(unsigned long long address) { return static_cast<T*>(softcuda_at(address, sizeof(T))); }

#define threadIdx (softcuda_dims()->tid)
#define blockIdx (softcuda_dims()->bid)
#define blockDim (softcuda_dims()->bdim)
#define gridDim (softcuda_dims()->gdim)
inline void __syncthreads() { softcuda_barrier(0); }
inline int __syncthreads_count(int p) { return int(softcuda_count(p)); }
inline int __syncthreads_or(int p) { return softcuda_count(p) != 0; }
inline int __syncthreads_and(int p) { return softcuda_count(!p) == 0; }
inline void __syncwarp(unsigned = ~0u) { softcuda_barrier(1); }
inline void __threadfence() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
inline void __threadfence_block() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
inline void __threadfence_system() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }

// Warp operations: all lanes that are alive take part; other masks are not modelled.
template <class T> T softcuda_shuffled(T v, unsigned arg, int how) {
    static_assert(sizeof(T) <= 8, "shuffle of a wide type");
    uint64_t u = 0;
    memcpy(&u, &v, sizeof v);
    u = softcuda_shuffle(u, arg, how);
    memcpy(&v, &u, sizeof v);
    return v;
}
template <class T> T __shfl_sync(unsigned, T v, int lane) { return softcuda_shuffled(v, unsigned(lane), 0); }
template <class T> T __shfl_up_sync(unsigned, T v, unsigned d) { return softcuda_shuffled(v, d, 1); }
template <class T> T __shfl_down_sync(unsigned, T v, unsigned d) { return softcuda_shuffled(v, d, 2); }
template <class T> T __shfl_xor_sync(unsigned, T v, int x) { return softcuda_shuffled(v, unsigned(x), 3); }
inline unsigned __ballot_sync(unsigned, int p) { return softcuda_ballot(p); }
inline int __any_sync(unsigned, int p) { return softcuda_ballot(p) != 0; }
inline int __all_sync(unsigned, int p) { return softcuda_ballot(!p) == 0; }

template <class T> T __ldg(const T* p) { return *p; }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __clz(int x) { return x ? __builtin_clz(unsigned(x)) : 32; }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline unsigned __funnelshift_r(unsigned lo, unsigned hi, unsigned s) { return unsigned(((uint64_t(hi) << 32) | lo) >> (s & 31)); }
inline unsigned __funnelshift_l(unsigned lo, unsigned hi, unsigned s) {
    return unsigned((((uint64_t(hi) << 32) | lo) << (s & 31)) >> 32);
}
inline unsigned __byte_perm(unsigned x, unsigned y, unsigned s) {
    uint64_t v = (uint64_t(y) << 32) | x;
    unsigned r = 0;
    for (int i = 0; i < 4; i++) r |= unsigned((v >> (8 * ((s >> (4 * i)) & 7))) & 255) << (8 * i);
    return r;
}
template <class T> T atomicAdd(T* p, T v) { return __atomic_fetch_add(p, v, __ATOMIC_RELAXED); }
template <class T> T atomicOr(T* p, T v) { return __atomic_fetch_or(p, v, __ATOMIC_RELAXED); }
template <class T> T atomicAnd(T* p, T v) { return __atomic_fetch_and(p, v, __ATOMIC_RELAXED); }
template <class T> T atomicExch(T* p, T v) { return __atomic_exchange_n(p, v, __ATOMIC_RELAXED); }
template <class T> T atomicMax(T* p, T v) {
    T o = __atomic_load_n(p, __ATOMIC_RELAXED);
    while (o < v && !__atomic_compare_exchange_n(p, &o, v, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
    }
    return o;
}

namespace softcuda {

// Kernel is what a registration leaves for the driver, which finds it by name and compares the parameters with the PTX.
struct Kernel {
    const char* name;
    unsigned nparams;
    const uint32_t* sizes;
    const bool* pointers;  // which parameters are followed as they are, and so are translated
    void (*call)(void** params);
    void (*touches)(Footprint&, void** params);  // its parameters are not translated
    int sync;
};
template <class F> struct Traits;
template <class... A> struct Traits<void (*)(A...)> {
    static constexpr unsigned n = sizeof...(A);
    static constexpr uint32_t sizes[n + 1] = {sizeof(A)..., 0};
    static constexpr bool pointers[n + 1] = {std::is_pointer<A>::value..., false};
    template <auto F, size_t... I> static void go(void** p, std::index_sequence<I...>) {
        F(*static_cast<std::remove_reference_t<A>*>(p[I])...);
    }
    template <auto F> static void call(void** p) { go<F>(p, std::index_sequence_for<A...>{}); }
    template <auto F, size_t... I> static void tell(Footprint& f, void** p, std::index_sequence<I...>) {
        F(f, *static_cast<std::remove_reference_t<A>*>(p[I])...);
    }
    template <auto F> static void touches(Footprint& f, void** p) { tell<F>(f, p, std::index_sequence_for<A...>{}); }
};

}  // namespace softcuda

#define SOFTCUDA_KERNEL(k, touches) SOFTCUDA_KERNEL_(k, touches, 0)
#define SOFTCUDA_KERNEL_SYNC(k, touches) SOFTCUDA_KERNEL_(k, touches, 1)
#define SOFTCUDA_KERNEL_(k, t, sync) \
    extern "C" __attribute__((visibility("default"), used)) const softcuda::Kernel softcuda_kernel_##k = { \
        #k, softcuda::Traits<decltype(&k)>::n, softcuda::Traits<decltype(&k)>::sizes, \
        softcuda::Traits<decltype(&k)>::pointers, &softcuda::Traits<decltype(&k)>::template call<&k>, \
        &softcuda::Traits<decltype(&k)>::template touches<&t>, sync};
