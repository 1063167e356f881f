// pinned.cpp: host memory that the device can reach, and what the driver tells of addresses.
#include <sys/mman.h>

#include <cstring>

#include "driver.h"

namespace sc {

static bool over_limit(size_t bytes) { return S.settings.pinned && S.pinned + bytes > S.settings.pinned; }

static Alloc* new_host(Alloc::Kind kind, const char* type, void* p, size_t bytes, size_t mapped, unsigned flags) {
    auto a = new Alloc;
    begin_object(a, type, current());
    a->kind = kind;
    a->base = a->at = uint64_t(uintptr_t(p));
    a->bytes = bytes;
    a->mapped = mapped;
    a->memory = static_cast<char*>(p);
    a->flags = flags;
    a->device = current()->device;
    S.host_memory[a->base] = a;
    S.pinned += bytes;
    return a;
}

static void drop_host(Alloc* a) {
    unguard_range(a->base, a->base + a->mapped);
    if (a->kind == Alloc::HOST) {
        for (size_t i = a->bytes; i < a->mapped; i++)
            if (uint8_t(a->memory[i]) != RED) {
                violation("%s: a write to %#lx, past the end of pinned memory by %s", here().text().c_str(), a->base + i,
                          a->made.text().c_str());
                break;
            }
        mprotect(a->memory, a->mapped, PROT_NONE);  // the addresses are not used again, so that late accesses are caught
        madvise(a->memory, a->mapped, MADV_DONTNEED);
        remember_freed(a->base, a->base + a->mapped, here());
    }
    S.pinned -= a->bytes;
    S.host_memory.erase(a->base);
    S.ended_memory[a->base] = a;
    end_object(a);
}

// forget_host drops what is no longer pinned, without a look at it.
static void forget_host(Alloc* a) {
    unguard_range(a->base, a->base + a->mapped);
    S.pinned -= a->bytes;
    S.host_memory.erase(a->base);
    S.ended_memory[a->base] = a;
    end_object(a);
}

static void excuse_host(Lock& lock, void* p) {
    auto it = S.host_memory.find(uint64_t(uintptr_t(p)));
    if (it == S.host_memory.end()) return;
    Alloc* a = it->second;
    a->excused = true;
    if (!a->ctx->lost) return;
    wait_all(lock, a->ctx);  // for what is being run
    if (a->live) forget_host(a);
}

// forget_excused drops registrations in a range whose end was made to fail: the program may have unmapped the memory.
static void forget_excused(uint64_t lo, uint64_t hi) {
    std::vector<Alloc*> all;
    for (auto& [base, a] : S.host_memory)
        if (a->excused && base < hi && lo < a->limit()) all.push_back(a);
    for (auto* a : all) forget_host(a);
}

void purge_host(const Context* c) {
    std::vector<Alloc*> all;
    for (auto& [base, a] : S.host_memory)
        if (a->ctx == c) all.push_back(a);
    for (auto* a : all) forget_host(a);
}

static CUresult end_host(Lock& lock, void* p, Alloc::Kind kind, int missing) {
    auto it = S.host_memory.find(uint64_t(uintptr_t(p)));
    if (it == S.host_memory.end() || it->second->kind != kind) {
        violation("%s ends %p: %s", here().text().c_str(), p, describe(uint64_t(uintptr_t(p))).c_str());
        return CUresult(missing);
    }
    Alloc* a = it->second;
    Site mine = here();
    if (auto* op = user_of({a->base, a->limit(), true}, false))
        violation("%s ends pinned memory that %s may still use: nothing waited for it", mine.text().c_str(),
                  op->site.text().c_str());
    wait_all(lock, a->ctx);
    if (a->live) drop_host(a);
    return CUDA_SUCCESS;
}

}  // namespace sc

using namespace sc;

API CUresult cuMemHostAlloc(void** out, size_t n, unsigned flags) {
    ENTER(cuMemHostAlloc, CONTEXT | UNSAFE);
    if (!out || !n || flags > 7) return CUDA_ERROR_INVALID_VALUE;
    if (n > SIZE_MAX / 2 || over_limit(n)) return CUDA_ERROR_OUT_OF_MEMORY;
    size_t map = (n + PAGE - 1) / PAGE * PAGE;
    void* m = mmap(nullptr, map + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (m == MAP_FAILED) return CUDA_ERROR_OUT_OF_MEMORY;
    mprotect(static_cast<char*>(m) + map, PAGE, PROT_NONE);
    memset(m, HOST_POISON, n);
    memset(static_cast<char*>(m) + n, RED, map - n);
    new_host(Alloc::HOST, "pinned memory", m, n, map, flags);
    *out = m;
    return CUDA_SUCCESS;
}
API CUresult cuMemAllocHost_v2(void** p, size_t n) { return cuMemHostAlloc(p, n, 0); }
API CUresult cuMemFreeHost(void* p) {
    ENTER_END(cuMemFreeHost, CONTEXT | UNSAFE, excuse_host(lock, p));
    return end_host(lock, p, Alloc::HOST, CUDA_ERROR_INVALID_VALUE);
}
API CUresult cuMemHostRegister_v2(void* p, size_t n, unsigned flags) {
    ENTER(cuMemHostRegister, CONTEXT | UNSAFE);
    uint64_t lo = uint64_t(uintptr_t(p));
    if (!p || !n || flags > 15 || lo + n < lo) return CUDA_ERROR_INVALID_VALUE;
    forget_excused(lo, lo + n);
    for (auto& [base, a] : S.host_memory)
        if (base < lo + n && lo < a->limit()) return CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED;
    if (over_limit(n)) return CUDA_ERROR_OUT_OF_MEMORY;
    new_host(Alloc::REGISTERED, "registered memory", p, n, n, flags);
    return CUDA_SUCCESS;
}
API CUresult cuMemHostUnregister(void* p) {
    ENTER_END(cuMemHostUnregister, CONTEXT | UNSAFE, excuse_host(lock, p));
    return end_host(lock, p, Alloc::REGISTERED, CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED);
}
API CUresult cuMemHostGetDevicePointer_v2(CUdeviceptr* out, void* p, unsigned flags) {
    ENTER(cuMemHostGetDevicePointer, CONTEXT);
    Alloc* a = find_memory(S.host_memory, uint64_t(uintptr_t(p)), 1);
    if (!out || flags || !a || !(a->flags & CU_MEMHOSTALLOC_DEVICEMAP)) return CUDA_ERROR_INVALID_VALUE;
    *out = CUdeviceptr(uintptr_t(p));
    return CUDA_SUCCESS;
}
API CUresult cuMemHostGetFlags(unsigned* flags, void* p) {
    ENTER(cuMemHostGetFlags, CONTEXT);
    Alloc* a = find_memory(S.host_memory, uint64_t(uintptr_t(p)), 1);
    if (!flags || !a) return CUDA_ERROR_INVALID_VALUE;
    *flags = a->flags;
    return CUDA_SUCCESS;
}

// attribute writes one attribute of what is at p.
static int attribute(void* out, int which, Alloc* a, bool device, CUdeviceptr p) {
    auto put = [out](auto v) {
        memcpy(out, &v, sizeof v);
        return 0;
    };
    switch (which) {
    case CU_POINTER_ATTRIBUTE_CONTEXT:
        return put(a->ctx);
    case CU_POINTER_ATTRIBUTE_MEMORY_TYPE:
        return put(unsigned(device ? CU_MEMORYTYPE_DEVICE : CU_MEMORYTYPE_HOST));
    case CU_POINTER_ATTRIBUTE_DEVICE_POINTER:
        if (!device && !(a->flags & CU_MEMHOSTALLOC_DEVICEMAP)) return CUDA_ERROR_INVALID_VALUE;
        return put(p);
    case CU_POINTER_ATTRIBUTE_HOST_POINTER:
        return device ? int(CUDA_ERROR_INVALID_VALUE) : put(p);
    case CU_POINTER_ATTRIBUTE_BUFFER_ID:
        return put(static_cast<unsigned long long>(a->serial));
    case CU_POINTER_ATTRIBUTE_IS_MANAGED:
        return put(0);
    case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL:
        return put(a->device);
    case CU_POINTER_ATTRIBUTE_IS_LEGACY_CUDA_IPC_CAPABLE:
        return put(int(device && a->kind == Alloc::DEVICE));
    case CU_POINTER_ATTRIBUTE_RANGE_START_ADDR:
        return put(CUdeviceptr(a->base));
    case CU_POINTER_ATTRIBUTE_RANGE_SIZE:
        return put(a->bytes);
    case CU_POINTER_ATTRIBUTE_MAPPED:
        return put(1);
    }
    return CUDA_ERROR_NOT_SUPPORTED;
}
API CUresult cuPointerGetAttribute(void* out, int which, CUdeviceptr p) {
    ENTER(cuPointerGetAttribute, CONTEXT);
    Alloc *d = find_memory(S.device_memory, p, 1), *h = find_memory(S.host_memory, p, 1);
    if (!out || (!d && !h)) return CUDA_ERROR_INVALID_VALUE;
    return CUresult(attribute(out, which, d ? d : h, d, p));
}
// Of an address that nobody knows this gives zeros, and no error.
API CUresult cuPointerGetAttributes(unsigned n, const int* which, void** out, CUdeviceptr p) {
    ENTER(cuPointerGetAttributes, CONTEXT);
    if (!n || !which || !out) return CUDA_ERROR_INVALID_VALUE;
    Alloc *d = find_memory(S.device_memory, p, 1), *h = find_memory(S.host_memory, p, 1);
    for (unsigned i = 0; i < n; i++) {
        bool small = which[i] == CU_POINTER_ATTRIBUTE_MEMORY_TYPE || which[i] == CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL ||
                     which[i] == CU_POINTER_ATTRIBUTE_IS_MANAGED || which[i] == CU_POINTER_ATTRIBUTE_MAPPED ||
                     which[i] == CU_POINTER_ATTRIBUTE_IS_LEGACY_CUDA_IPC_CAPABLE;
        memset(out[i], 0, small ? 4 : 8);
        if (which[i] == CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL) memset(out[i], 0xFF, 4);
        if (d || h) attribute(out[i], which[i], d ? d : h, d, p);
    }
    return CUDA_SUCCESS;
}
