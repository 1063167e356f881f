//go:build cuda

package driver

/*
#cgo noescape kv_query
#cgo nocallback kv_query
#cgo noescape kv_capturing
#cgo nocallback kv_capturing
#cgo noescape submit
#cgo nocallback submit
#include <stdlib.h>
#include "submit.h"

// The arguments one by one: a struct in Go's memory could not point to Go's memory.
static void submit(kv_handle context, kv_handle stream, const kv_step *steps, int64_t count, const kv_copy *copies,
		   const unsigned char *params, const uint32_t *slots, uintptr_t scratch, int batch, int foreign, kv_result *r)
{
	kv_list list = {context, stream, copies, params, slots, (void *)scratch, batch, foreign};
	kv_submit(list, steps, count, r);
}
*/
import "C"

import "unsafe"

// MaxParams is the most parameters of one launch, MaxBatchCopies the most copies
// of one cuMemcpyBatchAsync; more are several.
const (
	MaxParams      = C.KV_MAX_PARAMS
	MaxBatchCopies = C.KV_BATCH_COPIES
)

// Batch says which form of cuMemcpyBatchAsync a driver has.
type Batch int32

// The forms. The first came with CUDA 12.8, the second with 13.0.
const (
	NoBatch     Batch = 0
	FirstBatch  Batch = 1
	SecondBatch Batch = 2
)

// BatchOf returns the form to use with a driver of the given version.
func BatchOf(version int) Batch {
	switch {
	case version >= 13000 && Has("cuMemcpyBatchAsync_v2"):
		return SecondBatch
	case version >= 12080 && Has("cuMemcpyBatchAsync"):
		return FirstBatch
	}
	return NoBatch
}

// Scratch is C memory in which a stream's batches are laid out, outside the Go
// heap because there is none for a submission without them.
type Scratch uintptr

// NewScratch takes the memory; 0 if there is none.
func NewScratch() Scratch { return Scratch(uintptr(C.malloc(C.KV_BATCH_BYTES))) }

// Free gives it back.
func (s Scratch) Free() { C.free(*(*unsafe.Pointer)(unsafe.Pointer(&s))) }

// List is what Submit queues: steps that lie in memory as kv_step of submit.h, and
// what they refer to. The pointers may be nil where there is nothing.
type List struct {
	Context, Stream uintptr
	Steps           unsafe.Pointer
	Count           int
	Copies          unsafe.Pointer
	Params          *byte
	Slots           *uint32
	Scratch         Scratch
	Batch           Batch
	Foreign         bool
}

// Submit queues the steps on the stream, in order, up to the first that fails. It
// queues none on a foreign stream that is being captured: r.Captured says so.
func Submit(l *List, r *Result) {
	var foreign C.int
	if l.Foreign {
		foreign = 1
	}
	C.submit(C.kv_handle(l.Context), C.kv_handle(l.Stream), (*C.kv_step)(l.Steps), C.int64_t(l.Count),
		(*C.kv_copy)(l.Copies), (*C.uchar)(l.Params), (*C.uint32_t)(l.Slots),
		C.uintptr_t(l.Scratch), C.int(l.Batch), foreign, r.c())
}

// QueryCapture asks whether a stream is being captured: r.Captured.
func QueryCapture(context, stream uintptr, r *Result) {
	C.kv_capturing(C.kv_handle(context), C.kv_handle(stream), r.c())
}

// Captured tells that nothing was queued because the stream is being captured.
func (r *Result) Captured() bool { return r.Done == C.KV_CAPTURED }

// QueryEvent asks whether an event is done; r.Done is then 1.
func QueryEvent(context, event uintptr, r *Result) {
	C.kv_query(C.kv_handle(context), C.kv_handle(event), r.c())
}
