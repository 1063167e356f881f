// Makes a machine one without a driver, for a process that has this preloaded:
// libcuda.so.1 is found in the folder of LD_LIBRARY_PATH and nowhere else.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int hidden(const char *name)
{
	char allowed[4096];
	const char *slash = strrchr(name, '/'), *folder = getenv("LD_LIBRARY_PATH");
	if (strcmp(slash ? slash + 1 : name, "libcuda.so.1"))
		return 0;
	if (!folder || !*folder)
		return 1;
	snprintf(allowed, sizeof allowed, "%s/libcuda.so.1", folder);
	return slash ? strcmp(name, allowed) != 0 : faccessat(AT_FDCWD, allowed, F_OK, 0) != 0;
}

void *dlopen(const char *name, int flags)
{
	void *(*next)(const char *, int) = (void *(*)(const char *, int))dlsym(RTLD_NEXT, "dlopen");
	return next(name && hidden(name) ? "libcuda.so.1 is hidden" : name, flags);
}

int access(const char *name, int mode)
{
	if (!hidden(name))
		return faccessat(AT_FDCWD, name, mode, 0);
	errno = ENOENT;
	return -1;
}
