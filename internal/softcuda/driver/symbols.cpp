// symbols.cpp: names of errors, and the driver's own way to find a function.
#include <cstring>

#include "driver.h"

using namespace sc;

#define ABI_NAME(n, v) {v, #n},
static const struct {
    int code;
    const char* name;
} results[] = {ABI_RESULTS(ABI_NAME)};

static const char* name_of(int e) {
    for (auto& r : results)
        if (r.code == e) return r.name;
    return nullptr;
}
API CUresult cuGetErrorName(int e, const char** s) {
    *s = name_of(e);
    return *s ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}
API CUresult cuGetErrorString(int e, const char** s) { return cuGetErrorName(e, s); }

// variant is the exported function that a toolkit of this version gets for a name; null if the driver has none.
static void* variant(const char* name, int version) {
    static const struct {
        const char* name;
        int since;
        const char* exported;
    } versions[] = {
        {"cuMemcpyBatchAsync", 13000, "cuMemcpyBatchAsync_v2"}, {"cuMemcpyBatchAsync", 12080, "cuMemcpyBatchAsync"},
        {"cuMemcpyBatchAsync", 0, nullptr},                     {"cuMemcpyBatchAsync_v2", 13000, "cuMemcpyBatchAsync_v2"},
        {"cuMemcpyBatchAsync_v2", 0, nullptr},
    };
    for (auto& v : versions)
        if (!strcmp(v.name, name) && v.since <= std::min(version, S.settings.driver)) return v.exported ? symbol(v.exported) : nullptr;
    for (const char* suffix : {"_v2", ""})
        if (void* p = symbol((std::string(name) + suffix).c_str())) return p;
    return nullptr;
}
API CUresult cuGetProcAddress_v2(const char* name, void** p, int version, uint64_t, int* status) {
    ENTER(cuGetProcAddress, NOTHING);
    *p = variant(name, version);
    if (status) *status = *p ? 0 : 1;
    return *p || status ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND;
}
API CUresult cuGetProcAddress(const char* name, void** p, int version, uint64_t flags) {
    return cuGetProcAddress_v2(name, p, version, flags, nullptr);
}
