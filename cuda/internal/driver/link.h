#pragma once

#include "context.h"

// kv_linked is what the compiler of the driver made. kv_link_free frees it.
typedef struct {
	void *image;
	size_t bytes;
	char *info, *error; // its logs, each closed by a zero byte
} kv_linked;

// kv_link compiles PTX that is closed by a zero byte, which bytes counts.
void kv_link(void *ptx, size_t bytes, unsigned max_registers, int line_info, kv_linked *out, kv_result *r);
void kv_link_free(kv_linked *l);
