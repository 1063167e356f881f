//go:build cuda

#include "context.h"

enum { MODE_UNKNOWN = -1 }; // the driver has no capture modes: nothing to put back

static int exchange(int *mode)
{
	int code = cuThreadExchangeStreamCaptureMode(mode);
	if (code == KV_NOT_FOUND) {
		*mode = MODE_UNKNOWN;
		return 0;
	}
	return code;
}

// A context that stays on the stack would become the caller's current one, so a
// pop that failed is tried once more.
static int pop(void)
{
	kv_handle popped;
	int code = cuCtxPopCurrent_v2(&popped);
	if (code)
		cuCtxPopCurrent_v2(&popped);
	return code;
}

int kv_enter(kv_handle context, int *mode, kv_result *r)
{
	if (kv_fail(r, KV_OP_PUSH, cuCtxPushCurrent_v2(context)))
		return r->code;
	*mode = KV_CAPTURE_RELAXED;
	if (kv_fail(r, KV_OP_CAPTURE_MODE, exchange(mode)))
		pop();
	return r->code;
}

void kv_leave(int mode, kv_result *r)
{
	if (mode != MODE_UNKNOWN) {
		int again = mode;
		if (kv_fail(r, KV_OP_CAPTURE_MODE, exchange(&mode)))
			exchange(&again);
	}
	kv_fail(r, KV_OP_POP, pop());
}
