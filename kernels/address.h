// Addresses that a kernel finds in device memory, not among its parameters.
#pragma once

// kf_at returns the pointer to device address a. On a GPU it is the same
// number; the software driver, whose device memory lies elsewhere, translates
// and checks it. Every address is put through it before its first use; pointers
// may then be moved within the allocation.
#if defined(__CUDA__) || defined(__CUDACC__)
template <class T>
__device__ __forceinline__ T* kf_at(unsigned long long a)
{
#if defined(__clang__) && defined(__CUDA_ARCH__)
    // Through the global space, so that the compiler need not write generic loads.
    return (T*)(__attribute__((address_space(1))) T*)a;
#else
    return (T*)a;
#endif
}
#endif

// kf_as returns p as a pointer to an element V, which is about to be read or
// written there. A GPU stops a kernel whose element does not lie at a multiple of
// its size; the CPU behind the software driver would not notice, so there such
// a pointer goes to address 1, which no launch may touch.
template <class V, class B>
__device__ __forceinline__ V* kf_as(B* p)
{
#if !defined(__CUDA__) && !defined(__CUDACC__)
    if ((unsigned long long)p % sizeof(V)) return kf_at<V>(1);
#endif
    return (V*)p;
}
