#pragma once

#include "context.h"

// The kinds of a step; cuda.Submission writes them.
enum { KV_WAIT = 1, KV_RECORD = 2, KV_COPIES = 3, KV_FILL = 4, KV_LAUNCH = 5 };

// kv_step, kv_copy are cuda.step and cuda.Copy as they lie in Go's memory.
typedef struct {
	uint32_t kind, shared, grid[3], block[3];
	uint64_t a, b, c;
} kv_step;

typedef struct {
	uint64_t dst, src, bytes;
} kv_copy;

enum {
	KV_BATCH_COPIES = 16384, // the most of one cuMemcpyBatchAsync
	KV_BATCH_BYTES = KV_BATCH_COPIES * 24,
	KV_MAX_PARAMS = 512, // of one launch
};

// kv_list is what the steps refer to.
typedef struct {
	kv_handle context, stream;
	const kv_copy *copies;
	const unsigned char *params;
	const uint32_t *slots;
	void *scratch; // KV_BATCH_BYTES, for copies as cuMemcpyBatchAsync wants them
	int batch;     // which cuMemcpyBatchAsync: 1 the first, 2 _v2, 0 none
	int foreign;   // the stream may be captured by its owner: ask first
} kv_list;

// kv_submit queues the steps in order, up to the first that fails. It queues none
// on a foreign stream that is being captured: done is then KV_CAPTURED.
enum { KV_CAPTURED = -1 };
void kv_submit(kv_list list, const kv_step *steps, int64_t count, kv_result *r);

// kv_capturing asks whether a stream is being captured; done is then KV_CAPTURED.
void kv_capturing(kv_handle context, kv_handle stream, kv_result *r);

// kv_query asks whether an event is done; done is then 1.
void kv_query(kv_handle context, kv_handle event, kv_result *r);
