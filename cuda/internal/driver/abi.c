//go:build cuda

// Compiles only if abi.h agrees with the CUDA header at hand.

#include <cuda.h>

#define SAME(what) _Static_assert(what, "abi.h is not what cuda.h says: " #what)

SAME(sizeof(CUdeviceptr) == 8);
SAME(sizeof(CUresult) == sizeof(int) && sizeof(CUstreamCaptureMode) == sizeof(int));
SAME(sizeof(CUjit_option) == sizeof(int) && sizeof(CUjitInputType) == sizeof(int));
SAME(sizeof(CUipcMemHandle) == 64);
SAME(CUDA_SUCCESS == 0 && CUDA_ERROR_INVALID_VALUE == 1 && CUDA_ERROR_NO_DEVICE == 100);
SAME(CUDA_ERROR_OUT_OF_MEMORY == 2 && CUDA_ERROR_INVALID_HANDLE == 400);
SAME(CUDA_ERROR_OPERATING_SYSTEM == 304);
SAME(CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED == 712);
SAME(CUDA_ERROR_NOT_FOUND == 500 && CUDA_ERROR_NOT_READY == 600 && CUDA_ERROR_NOT_SUPPORTED == 801);
SAME(CU_STREAM_CAPTURE_MODE_RELAXED == 2 && CU_STREAM_CAPTURE_STATUS_NONE == 0);
SAME(CUDA_ERROR_STREAM_CAPTURE_IMPLICIT == 906 && sizeof(CUstreamCaptureStatus) == sizeof(int));
SAME(CU_JIT_MAX_REGISTERS == 0 && CU_JIT_INFO_LOG_BUFFER == 3 && CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES == 4);
SAME(CU_JIT_ERROR_LOG_BUFFER == 5 && CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES == 6 && CU_JIT_GENERATE_LINE_INFO == 13);
SAME(CU_JIT_INPUT_PTX == 1);
SAME(CU_MEMHOSTREGISTER_PORTABLE == 1 && CU_MEMHOSTREGISTER_DEVICEMAP == 2);
SAME(CU_POINTER_ATTRIBUTE_MEMORY_TYPE == 2 && CU_POINTER_ATTRIBUTE_IS_MANAGED == 8);
SAME(CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL == 9 && CU_POINTER_ATTRIBUTE_RANGE_START_ADDR == 11);
SAME(CU_MEMORYTYPE_HOST == 1 && CU_MEMORYTYPE_DEVICE == 2);
SAME(CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS == 1);

#if CUDA_VERSION >= 12080

#include <stddef.h>

SAME(CU_MEMCPY_SRC_ACCESS_ORDER_STREAM == 1);
SAME(sizeof(CUmemLocation) == 8 && sizeof(CUmemcpyAttributes) == 24);
SAME(offsetof(CUmemcpyAttributes, srcAccessOrder) == 0 && offsetof(CUmemcpyAttributes, srcLocHint) == 4);
SAME(offsetof(CUmemcpyAttributes, dstLocHint) == 12 && offsetof(CUmemcpyAttributes, flags) == 20);

#endif
