#pragma once

#include "abi.h"

// The driver's functions that a call here may fail in; driver.go has their names.
enum {
	KV_OP_NONE = 0,
	KV_OP_PUSH,
	KV_OP_CAPTURE_MODE,
	KV_OP_POP,
	KV_OP_WAIT,
	KV_OP_RECORD,
	KV_OP_COPY,
	KV_OP_BATCH,
	KV_OP_FILL,
	KV_OP_LAUNCH,
	KV_OP_QUERY,
	KV_OP_CAPTURING,
	KV_OP_LINK_CREATE,
	KV_OP_LINK_ADD,
	KV_OP_LINK_COMPLETE,
	KV_OP_LINK_DESTROY,
};

// kv_result is how a call ended.
typedef struct {
	int32_t op;   // the function that failed
	int32_t code; // its CUresult; 0 if none failed
	int64_t done; // steps that were queued, at least in part
} kv_result;

// kv_enter makes context the calling thread's current one, on top of the caller's,
// and its capture mode relaxed, so that no call here can disturb a stream capture
// that the engine has under way. kv_leave puts both back, and puts what failed into
// r if nothing did before. *mode goes from one to the other.
int kv_enter(kv_handle context, int *mode, kv_result *r);
void kv_leave(int mode, kv_result *r);

static inline int kv_fail(kv_result *r, int op, int code)
{
	if (code && !r->code) {
		r->op = op;
		r->code = code;
	}
	return code;
}
