//go:build cuda

package driver

/*
#include "link.h"
*/
import "C"

import "unsafe"

// Link compiles PTX, which is closed by a zero byte, for the device of the
// current context. Both logs are returned, whether it works or not.
func Link(ptx []byte, maxRegisters int, lineInfo bool, r *Result) (image []byte, info, failure string) {
	var out C.kv_linked
	var line C.int
	if lineInfo {
		line = 1
	}
	C.kv_link(unsafe.Pointer(&ptx[0]), C.size_t(len(ptx)), C.uint(maxRegisters), line, &out, r.c())
	defer C.kv_link_free(&out)
	if r.code == 0 {
		image = C.GoBytes(out.image, C.int(out.bytes))
	}
	return image, text(out.info), text(out.error)
}

func text(s *C.char) string {
	if s == nil {
		return ""
	}
	return C.GoString(s)
}
