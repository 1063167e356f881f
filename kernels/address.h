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
