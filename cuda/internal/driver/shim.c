//go:build cuda

#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "shim.h"

#define HIDDEN __attribute__((visibility("hidden")))

// One pointer and one jump through it for each function. A jump instead of a
// call keeps all arguments where they are, whatever the signature.
#if defined(__x86_64__)
#define JUMP(n) "\tjmp *kv_at_" #n "(%rip)\n"
#define BRANCH_TARGET "\tendbr64\n"
#elif defined(__aarch64__)
// x16 is the register that the procedure call standard leaves to veneers.
#define JUMP(n) "\tadrp x16, kv_at_" #n "\n\tldr x16, [x16, :lo12:kv_at_" #n "]\n\tbr x16\n"
#define BRANCH_TARGET "\thint #34\n"
#else
#error "kvferry: no jump to the CUDA driver is written for this processor"
#endif

#define F(n)                                                                 \
	HIDDEN void *kv_at_##n;                                              \
	__asm__(".text\n.p2align 4\n.globl " #n "\n.hidden " #n "\n.type " #n \
		", %function\n" #n ":\n" BRANCH_TARGET JUMP(n) ".size " #n ", .-" #n "\n");
#include "symbols.h"
#undef F

// Where the driver lies when the loader does not find it by its name: folders
// into which container runtimes and distributions put it. The compatibility
// folder of a toolkit comes last: it works with few kernel modules.
static const char *const places[] = {
	"/usr/local/nvidia/lib64/libcuda.so.1",
	"/usr/local/nvidia/lib/libcuda.so.1",
#if defined(__x86_64__)
	"/usr/lib/x86_64-linux-gnu/libcuda.so.1",
#else
	"/usr/lib/aarch64-linux-gnu/libcuda.so.1",
	"/usr/lib/aarch64-linux-gnu/nvidia/libcuda.so.1",
	"/usr/lib/aarch64-linux-gnu/tegra/libcuda.so.1",
#endif
	"/usr/lib64/libcuda.so.1",
	"/usr/lib64/nvidia/libcuda.so.1",
	"/usr/lib/libcuda.so.1",
	"/usr/lib/wsl/lib/libcuda.so.1",
	"/run/opengl-driver/lib/libcuda.so.1",
	"/run/nvidia/driver/usr/lib/x86_64-linux-gnu/libcuda.so.1",
	"/usr/local/cuda/compat/libcuda.so.1",
};

static void *library;
static char library_path[512];
static char reasons[2048];
static int (*real_init)(unsigned);
static pthread_mutex_t starting = PTHREAD_MUTEX_INITIALIZER;
static int init_code = 100; // CUDA_ERROR_NO_DEVICE, until the driver says otherwise

static int no_driver(void) { return 100; }
static int no_function(void) { return 500; } // CUDA_ERROR_NOT_FOUND

static void remember(const char *path)
{
	const char *why = dlerror();
	size_t used = strlen(reasons);
	snprintf(reasons + used, sizeof reasons - used, "%s%s", used ? "; " : "", why ? why : path);
}

static void *open_library(const char *path)
{
	void *l = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!l)
		remember(path);
	else if (!dlsym(l, "cuInit")) {
		remember(path);
		dlclose(l);
		l = NULL;
	} else {
		Dl_info at;
		int known = dladdr(dlsym(l, "cuInit"), &at) && at.dli_fname;
		snprintf(library_path, sizeof library_path, "%s", known ? at.dli_fname : path);
	}
	return l;
}

static void open_driver(void)
{
	library = open_library("libcuda.so.1");
	for (size_t i = 0; !library && i < sizeof places / sizeof *places; i++)
		if (access(places[i], F_OK) == 0)
			library = open_library(places[i]);
}

// Names that a newer header gives to a function that has not changed: a program
// built with that header runs with drivers that only have the old name.
static const char *older(const char *name)
{
	if (!strcmp(name, "cuEventElapsedTime_v2"))
		return "cuEventElapsedTime";
	if (!strcmp(name, "cuDeviceGetUuid_v2"))
		return "cuDeviceGetUuid";
	return NULL;
}

static void *find(const char *name)
{
	if (!library)
		return (void *)no_driver;
	void *at = dlsym(library, name);
	if (!at && older(name))
		at = dlsym(library, older(name));
	return at ? at : (void *)no_function;
}

__attribute__((constructor)) static void fill(void)
{
	open_driver();
#define F(n) kv_at_##n = find(#n);
#include "symbols.h"
#undef F
	if (library)
		real_init = (int (*)(unsigned))dlsym(library, "cuInit");
}

// gorgonia.org/cu calls cuInit when the process starts and ends it if that fails.
// Here that does nothing: a process that only has the library keeps the right to
// fork, and may choose its devices before their first use.
HIDDEN int cuInit(unsigned flags)
{
	(void)flags;
	return 0;
}

// A driver that did not start is tried again: its module may be loaded by now.
int kv_start(void)
{
	pthread_mutex_lock(&starting);
	if (init_code && real_init)
		init_code = real_init(0);
	int code = init_code;
	pthread_mutex_unlock(&starting);
	return code;
}

const char *kv_library(void) { return library_path; }

const char *kv_reasons(void) { return reasons; }

int kv_has(const char *name) { return library && dlsym(library, name) != NULL; }
