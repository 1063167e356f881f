//go:build cuda

#include "submit.h"

_Static_assert(sizeof(kv_step) == 56 && offsetof(kv_step, a) == 32, "kv_step is not cuda.step");
_Static_assert(sizeof(kv_copy) == 24, "kv_copy is not cuda.Copy");

static int singles(const kv_list *l, const kv_copy *c, uint64_t n, kv_result *r)
{
	for (uint64_t i = 0; i < n; i++) {
		if (kv_fail(r, KV_OP_COPY, cuMemcpyAsync(c[i].dst, c[i].src, c[i].bytes, l->stream))) {
			r->done += i > 0; // a part of the step is under way
			return r->code;
		}
	}
	return 0;
}

// The sources are read in stream order, those in host memory too: the stream waits
// for their producer by an event, which "during the call" and "any" would pass by.
static int batch(const kv_list *l, const kv_copy *c, size_t n)
{
	kv_ptr *dst = l->scratch, *src = dst + KV_BATCH_COPIES;
	size_t *bytes = (size_t *)(src + KV_BATCH_COPIES), from = 0, failed;
	kv_copy_attributes attributes = {.source_order = KV_SOURCE_IN_STREAM_ORDER};
	for (size_t i = 0; i < n; i++) {
		dst[i] = c[i].dst;
		src[i] = c[i].src;
		bytes[i] = c[i].bytes;
	}
	if (l->batch == 2)
		return cuMemcpyBatchAsync_v2(dst, src, bytes, n, &attributes, &from, 1, l->stream);
	return cuMemcpyBatchAsync(dst, src, bytes, n, &attributes, &from, 1, &failed, l->stream);
}

static int copies(const kv_list *l, const kv_step *s, kv_result *r)
{
	const kv_copy *c = l->copies + s->a;
	if (s->c != 0 || !l->batch)
		return singles(l, c, s->b, r);
	for (uint64_t i = 0; i < s->b; i += KV_BATCH_COPIES) {
		uint64_t n = s->b - i < KV_BATCH_COPIES ? s->b - i : KV_BATCH_COPIES;
		int code = batch(l, c + i, n);
		if (code == KV_NOT_SUPPORTED && i == 0)
			return singles(l, c, s->b, r); // the driver has it, this system does not
		if (kv_fail(r, KV_OP_BATCH, code)) {
			r->done++; // the driver does not promise that it queued nothing
			return r->code;
		}
	}
	return 0;
}

static int launch(const kv_list *l, const kv_step *s, kv_result *r)
{
	void *params[KV_MAX_PARAMS];
	if (!s->a)
		return kv_fail(r, KV_OP_LAUNCH, KV_INVALID_HANDLE);
	if (s->c > KV_MAX_PARAMS)
		return kv_fail(r, KV_OP_LAUNCH, KV_INVALID_VALUE);
	for (uint64_t i = 0; i < s->c; i++)
		params[i] = (void *)(l->params + l->slots[s->b + i]);
	return kv_fail(r, KV_OP_LAUNCH,
		       cuLaunchKernel((kv_handle)s->a, s->grid[0], s->grid[1], s->grid[2], s->block[0], s->block[1],
				      s->block[2], s->shared, l->stream, params, NULL));
}

// A handle of 0 is of something that was closed meanwhile.
static int wait(const kv_list *l, const kv_step *s)
{
	return s->a ? cuStreamWaitEvent(l->stream, (kv_handle)s->a, 0) : KV_INVALID_HANDLE;
}

static int record(const kv_list *l, const kv_step *s)
{
	return s->a ? cuEventRecord((kv_handle)s->a, l->stream) : KV_INVALID_HANDLE;
}

static int step(const kv_list *l, const kv_step *s, kv_result *r)
{
	switch (s->kind) {
	case KV_WAIT:
		return kv_fail(r, KV_OP_WAIT, wait(l, s));
	case KV_RECORD:
		return kv_fail(r, KV_OP_RECORD, record(l, s));
	case KV_COPIES:
		return copies(l, s, r);
	case KV_FILL:
		return kv_fail(r, KV_OP_FILL, cuMemsetD8Async(s->a, (unsigned char)s->c, s->b, l->stream));
	case KV_LAUNCH:
		return launch(l, s, r);
	}
	return kv_fail(r, KV_OP_NONE, KV_INVALID_VALUE);
}

// The question does not disturb a capture. Of the legacy stream the driver answers
// with a failure when what is queued there would end another stream's. A capture
// that is broken is one nevertheless, until its owner ends it.
static int captured(kv_handle stream, kv_result *r)
{
	int status = KV_CAPTURE_STATUS_NONE;
	int code = cuStreamIsCapturing(stream, &status);
	if (code == KV_NOT_FOUND)
		return 0; // the driver has no captures
	if (code != KV_CAPTURE_IMPLICIT && kv_fail(r, KV_OP_CAPTURING, code))
		return 1;
	if (!code && status == KV_CAPTURE_STATUS_NONE)
		return 0;
	r->done = KV_CAPTURED;
	return 1;
}

void kv_submit(kv_list l, const kv_step *steps, int64_t count, kv_result *r)
{
	int mode;
	if (kv_enter(l.context, &mode, r))
		return;
	if (!l.foreign || !captured(l.stream, r))
		for (int64_t i = 0; i < count && !step(&l, &steps[i], r); i++)
			r->done++;
	kv_leave(mode, r);
}

void kv_capturing(kv_handle context, kv_handle stream, kv_result *r)
{
	int mode;
	if (kv_enter(context, &mode, r))
		return;
	captured(stream, r);
	kv_leave(mode, r);
}

void kv_query(kv_handle context, kv_handle event, kv_result *r)
{
	int mode;
	if (kv_enter(context, &mode, r))
		return;
	int code = cuEventQuery(event);
	if (code != KV_NOT_READY) {
		r->done = !code;
		kv_fail(r, KV_OP_QUERY, code);
	}
	kv_leave(mode, r);
}
