// Compiles only if abi.h agrees with the cuda.h on the include path: g++ -std=c++17 -fsyntax-only -I FOLDER abi_check.cpp
#include <cuda.h>
#include <cstddef>
#define ABI_CHECK
#include "abi.h"
#define SAME(n, v) static_assert(static_cast<long>(n) == v, #n);
ABI_RESULTS(SAME)
ABI_CONSTANTS(SAME)
#define FIELD(s, f) static_assert(offsetof(s, f) == offsetof(abi::s, f) && sizeof(s::f) == sizeof(abi::s::f), #s "." #f);
FIELD(CUDA_MEMCPY2D, srcXInBytes)
FIELD(CUDA_MEMCPY2D, srcMemoryType)
FIELD(CUDA_MEMCPY2D, srcHost)
FIELD(CUDA_MEMCPY2D, srcDevice)
FIELD(CUDA_MEMCPY2D, srcPitch)
FIELD(CUDA_MEMCPY2D, dstXInBytes)
FIELD(CUDA_MEMCPY2D, dstMemoryType)
FIELD(CUDA_MEMCPY2D, dstHost)
FIELD(CUDA_MEMCPY2D, dstDevice)
FIELD(CUDA_MEMCPY2D, dstPitch)
FIELD(CUDA_MEMCPY2D, WidthInBytes)
FIELD(CUDA_MEMCPY2D, Height)
#define SIZE(s) static_assert(sizeof(s) == sizeof(abi::s), #s);
SIZE(CUDA_MEMCPY2D)
SIZE(CUuuid)
SIZE(CUdeviceptr)
SIZE(CUipcMemHandle)
#if CUDA_VERSION >= 12020
ABI_CONSTANTS_12_2(SAME)
#endif
#if CUDA_VERSION >= 12080
ABI_CONSTANTS_12_8(SAME)
FIELD(CUmemcpyAttributes, srcAccessOrder)
FIELD(CUmemcpyAttributes, flags)
static_assert(offsetof(CUmemcpyAttributes, srcLocHint) == offsetof(abi::CUmemcpyAttributes, srcLocType), "srcLocHint");
static_assert(offsetof(CUmemcpyAttributes, dstLocHint) == offsetof(abi::CUmemcpyAttributes, dstLocType), "dstLocHint");
SIZE(CUmemcpyAttributes)
#endif
