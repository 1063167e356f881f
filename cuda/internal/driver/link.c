//go:build cuda

#include <stdlib.h>
#include <string.h>

#include "link.h"

enum { LOG_BYTES = 16384 };

// The driver writes into the logs, and the lengths that it used into the values of
// the options, until the link is destroyed: all of it has to stay where it is that
// long. gorgonia.org/cu leaves the values to Go's collector, so it is done here.
typedef struct {
	int options[6];
	void *values[6];
	unsigned count;
} option_list;

static void add(option_list *l, int option, void *value)
{
	l->options[l->count] = option;
	l->values[l->count++] = value;
}

static void keep(kv_handle link, kv_linked *out, kv_result *r)
{
	void *image;
	size_t bytes;
	if (kv_fail(r, KV_OP_LINK_COMPLETE, cuLinkComplete(link, &image, &bytes)))
		return;
	out->image = malloc(bytes ? bytes : 1);
	if (!out->image) {
		kv_fail(r, KV_OP_LINK_COMPLETE, KV_OUT_OF_MEMORY);
		return;
	}
	memcpy(out->image, image, bytes);
	out->bytes = bytes;
}

void kv_link(void *ptx, size_t bytes, unsigned max_registers, int line_info, kv_linked *out, kv_result *r)
{
	option_list l = {.count = 0};
	kv_handle link;
	out->info = calloc(1, LOG_BYTES);
	out->error = calloc(1, LOG_BYTES);
	if (!out->info || !out->error) {
		kv_fail(r, KV_OP_LINK_CREATE, KV_OUT_OF_MEMORY);
		return;
	}
	add(&l, KV_JIT_INFO_LOG, out->info);
	add(&l, KV_JIT_INFO_LOG_BYTES, (void *)(uintptr_t)(LOG_BYTES - 1));
	add(&l, KV_JIT_ERROR_LOG, out->error);
	add(&l, KV_JIT_ERROR_LOG_BYTES, (void *)(uintptr_t)(LOG_BYTES - 1));
	if (max_registers)
		add(&l, KV_JIT_MAX_REGISTERS, (void *)(uintptr_t)max_registers);
	if (line_info)
		add(&l, KV_JIT_LINE_INFO, (void *)1);
	if (kv_fail(r, KV_OP_LINK_CREATE, cuLinkCreate_v2(l.count, l.options, l.values, &link)))
		return;
	if (!kv_fail(r, KV_OP_LINK_ADD, cuLinkAddData_v2(link, KV_INPUT_PTX, ptx, bytes, "kvferry", 0, NULL, NULL)))
		keep(link, out, r);
	kv_fail(r, KV_OP_LINK_DESTROY, cuLinkDestroy(link));
}

void kv_link_free(kv_linked *l)
{
	free(l->image);
	free(l->info);
	free(l->error);
}
