// The part of the driver's interface that is called here, declared by hand. It is
// the same in all versions; abi.c compares it with the header at hand.
#pragma once

#include <stddef.h>
#include <stdint.h>

typedef uint64_t kv_ptr; // CUdeviceptr
// CUcontext, CUstream, CUevent, CUfunction, CUlinkState: pointers, but Go may only
// hold them as numbers, for some are none.
typedef uintptr_t kv_handle;

enum {
	KV_SUCCESS = 0,
	KV_INVALID_VALUE = 1,
	KV_OUT_OF_MEMORY = 2,
	KV_NO_DEVICE = 100,
	KV_OPERATING_SYSTEM = 304,
	KV_INVALID_HANDLE = 400,
	KV_NOT_FOUND = 500,
	KV_NOT_READY = 600,
	KV_ALREADY_REGISTERED = 712,
	KV_NOT_SUPPORTED = 801,
	KV_CAPTURE_IMPLICIT = 906,
	KV_CAPTURE_RELAXED = 2,
	KV_CAPTURE_STATUS_NONE = 0,
	KV_SOURCE_IN_STREAM_ORDER = 1,
	KV_JIT_MAX_REGISTERS = 0,
	KV_JIT_INFO_LOG = 3,
	KV_JIT_INFO_LOG_BYTES = 4,
	KV_JIT_ERROR_LOG = 5,
	KV_JIT_ERROR_LOG_BYTES = 6,
	KV_JIT_LINE_INFO = 13,
	KV_INPUT_PTX = 1,
};

// CUmemLocation and CUmemcpyAttributes.
typedef struct {
	int type, id;
} kv_location;

typedef struct {
	int source_order;
	kv_location source, destination;
	unsigned flags;
} kv_copy_attributes;

// CUipcMemHandle; the driver takes it by value.
typedef struct {
	char bytes[64];
} kv_ipc_handle;

int cuCtxPushCurrent_v2(kv_handle context);
int cuCtxPopCurrent_v2(kv_handle *context);
int cuThreadExchangeStreamCaptureMode(int *mode);

int cuDriverGetVersion(int *version);
int cuDeviceGetCount(int *count);
int cuDeviceGetUuid(char *uuid, int device);
int cuDeviceGetUuid_v2(char *uuid, int device);

int cuMemGetAddressRange_v2(kv_ptr *base, size_t *bytes, kv_ptr p);
int cuPointerGetAttribute(void *value, int attribute, kv_ptr p);
int cuIpcGetMemHandle(kv_ipc_handle *handle, kv_ptr p);
int cuIpcOpenMemHandle_v2(kv_ptr *p, kv_ipc_handle handle, unsigned flags);
int cuIpcCloseMemHandle(kv_ptr p);
int cuMemHostRegister_v2(void *p, size_t bytes, unsigned flags);
int cuMemHostUnregister(void *p);
int cuMemHostGetDevicePointer_v2(kv_ptr *device, void *p, unsigned flags);

int cuStreamIsCapturing(kv_handle stream, int *status);
int cuStreamGetCtx(kv_handle stream, kv_handle *context);
int cuStreamWaitEvent(kv_handle stream, kv_handle event, unsigned flags);
int cuEventRecord(kv_handle event, kv_handle stream);
int cuEventQuery(kv_handle event);
int cuMemcpyAsync(kv_ptr dst, kv_ptr src, size_t bytes, kv_handle stream);
int cuMemcpyBatchAsync(kv_ptr *dsts, kv_ptr *srcs, size_t *bytes, size_t count, kv_copy_attributes *attributes,
		       size_t *attribute_from, size_t attribute_count, size_t *failed, kv_handle stream);
int cuMemcpyBatchAsync_v2(kv_ptr *dsts, kv_ptr *srcs, size_t *bytes, size_t count, kv_copy_attributes *attributes,
			  size_t *attribute_from, size_t attribute_count, kv_handle stream);
int cuMemsetD8Async(kv_ptr p, unsigned char value, size_t bytes, kv_handle stream);
int cuLaunchKernel(kv_handle function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
		   unsigned block_y, unsigned block_z, unsigned shared_bytes, kv_handle stream, void **params,
		   void **extra);

int cuLinkCreate_v2(unsigned count, int *options, void **values, kv_handle *link);
int cuLinkAddData_v2(kv_handle link, int type, void *data, size_t bytes, const char *name, unsigned count,
		     int *options, void **values);
int cuLinkComplete(kv_handle link, void **image, size_t *bytes);
int cuLinkDestroy(kv_handle link);
