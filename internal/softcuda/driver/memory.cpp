// memory.cpp: device memory. Its addresses are a range that nobody can follow; the bytes lie elsewhere in the process, where
// every allocation stands between inaccessible pages and red zones.
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>

#include "driver.h"

namespace sc {

namespace {
constexpr uint64_t SPACE = uint64_t(16) << 30;  // addresses of one device; they are used again only when all are spent
struct Space {
    uint64_t lo = 0, next = 0;
    char* memory = nullptr;
    int fd = -1;
    std::map<uint64_t, uint64_t> freed;  // address, length
};
Space* const spaces = new Space[8];

uint64_t take(Space& s, uint64_t bytes) {
    if (s.next + bytes <= s.lo + SPACE) {
        uint64_t at = s.next;
        s.next += bytes;
        return at;
    }
    for (auto it = s.freed.begin(); it != s.freed.end(); ++it) {
        if (it->second < bytes) continue;
        uint64_t at = it->first, rest = it->second - bytes;
        s.freed.erase(it);
        if (rest) s.freed[at + bytes] = rest;
        return at;
    }
    return 0;
}
void give(Space& s, uint64_t at, uint64_t bytes) {
    auto it = s.freed.emplace(at, bytes).first;
    auto next = std::next(it);
    if (next != s.freed.end() && at + bytes == next->first) {
        it->second += next->second;
        s.freed.erase(next);
    }
    if (it != s.freed.begin()) {
        auto before = std::prev(it);
        if (before->first + before->second == it->first) {
            before->second += it->second;
            s.freed.erase(it);
        }
    }
}
size_t up(size_t n, size_t to) { return (n + to - 1) / to * to; }
char* real(int device, uint64_t p) { return spaces[device].memory + (p - spaces[device].lo); }
uint8_t* new_bits(size_t bytes) {
    void* m = mmap(nullptr, bytes / 8 + 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return m == MAP_FAILED ? nullptr : static_cast<uint8_t*>(m);
}
}  // namespace

bool device_init(int device) {
    Space& s = spaces[device];
    if (s.memory) return true;
    s.fd = memfd_create("softcuda", MFD_CLOEXEC);
    if (s.fd < 0 || ftruncate(s.fd, off_t(SPACE))) return false;
    void* lo = mmap(nullptr, SPACE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    void* m = mmap(nullptr, SPACE, PROT_NONE, MAP_SHARED | MAP_NORESERVE, s.fd, 0);
    if (lo == MAP_FAILED || m == MAP_FAILED) return false;
    s.lo = s.next = uint64_t(uintptr_t(lo));
    s.memory = static_cast<char*>(m);
    return true;
}

bool is_device(uint64_t p) {
    for (int d = 0; d < 8; d++)
        if (spaces[d].memory && p >= spaces[d].lo && p < spaces[d].lo + SPACE) return true;
    return false;
}

// program_address is the device address of what lies at a place of ours, or the place itself.
uint64_t program_address(uint64_t p) {
    for (int d = 0; d < 8; d++) {
        uint64_t m = uint64_t(uintptr_t(spaces[d].memory));
        if (m && p >= m && p < m + SPACE) return p - m + spaces[d].lo;
    }
    return p;
}

// follow is where kernels find a device address. One that is in no allocation faults there.
char* follow(uint64_t p) {
    if (Alloc* a = find_memory(S.device_memory, p, 0)) return a->memory + (p - a->base);
    for (int d = 0; d < 8; d++)
        if (spaces[d].memory && p >= spaces[d].lo && p < spaces[d].lo + SPACE) return real(d, p);
    return reinterpret_cast<char*>(uintptr_t(p));
}

Alloc* find_memory(std::map<uint64_t, Alloc*>& m, uint64_t p, uint64_t bytes) {
    auto it = m.upper_bound(p);
    if (it == m.begin()) return nullptr;
    Alloc* a = (--it)->second;
    return p >= a->base && p <= a->limit() && bytes <= a->limit() - p ? a : nullptr;
}

std::string describe(uint64_t p) {
    const char* word = is_device(p) ? "device" : "host";
    for (auto* m : {&S.device_memory, &S.host_memory}) {
        auto it = m->upper_bound(p);
        if (it == m->begin()) continue;
        Alloc* a = (--it)->second;
        if (p < a->limit() + PAGE)
            return print("%s memory [%#lx,%#lx) by %s", word, a->base, a->limit(), a->made.text().c_str());
    }
    auto it = S.ended_memory.upper_bound(p);
    if (it != S.ended_memory.begin()) {
        Alloc* a = (--it)->second;
        if (p < a->limit())
            return print("%s memory [%#lx,%#lx) by %s, freed by %s", word, a->base, a->limit(), a->made.text().c_str(),
                         a->ended.text().c_str());
    }
    return print("%s memory that was never allocated", word);
}

uint64_t origin(const Alloc* a, uint64_t p) { return a->origin ? p - a->base + a->origin->base : p; }

static Alloc* bits_of(Alloc* a, uint64_t& p) {
    p = origin(a, p);
    return a->origin ? a->origin : a;
}
void mark_known(Alloc* a, uint64_t p, uint64_t bytes) {
    a = bits_of(a, p);
    if (!a->known || !bytes) return;
    uint64_t i = p - a->base, end = i + bytes;
    for (; i < end && i % 8; i++) a->known[i / 8] = uint8_t(a->known[i / 8] | 1 << i % 8);
    if (end > i) memset(a->known + i / 8, 0xFF, (end - i) / 8);
    for (i = std::max(i, end / 8 * 8); i < end; i++) a->known[i / 8] = uint8_t(a->known[i / 8] | 1 << i % 8);
}
uint64_t first_unknown(Alloc* a, uint64_t p, uint64_t bytes) {
    uint64_t asked = p;
    a = bits_of(a, p);
    if (!a->known) return SIZE_MAX;
    for (uint64_t i = p - a->base, start = i, end = i + bytes; i < end;) {
        if (i % 8 == 0 && end - i >= 8 && a->known[i / 8] == 0xFF) {
            i += 8;
            continue;
        }
        if (!(a->known[i / 8] >> i % 8 & 1)) return asked + (i - start);
        i++;
    }
    return SIZE_MAX;
}

// check_red tells of writes beside an allocation, once.
void check_red(Alloc* a, const char* when, const Site& at) {
    if (a->kind != Alloc::DEVICE) return;
    auto* m = reinterpret_cast<uint8_t*>(a->memory);
    uint64_t before = a->base - a->at, body = up(a->bytes, 256);
    auto tell = [&](uint64_t p, uint8_t* bad) {
        violation("%s of %s: a write to %#lx, outside of device memory [%#lx,%#lx) by %s", when, at.text().c_str(), p, a->base,
                  a->limit(), a->made.text().c_str());
        *bad = RED;
    };
    for (uint64_t i = 1; i <= before && i <= 256; i++)
        if (m[-int64_t(i)] != RED) return tell(a->base - i, m - i);
    for (uint64_t i = a->bytes; i < body; i++)
        if (m[i] != RED) return tell(a->base + i, m + i);
}

static int take_memory(CUdeviceptr* out, size_t n) {
    Context* c = current();
    int d = c->device;
    size_t body = up(n, 256), map = up(body, PAGE);
    if (n > S.settings.memory || S.used[d] + map > S.settings.memory) return CUDA_ERROR_OUT_OF_MEMORY;
    uint64_t at = take(spaces[d], map + PAGE);
    if (!at) return CUDA_ERROR_OUT_OF_MEMORY;
    auto a = new Alloc;
    begin_object(a, "device memory", c);
    a->kind = Alloc::DEVICE;
    a->device = d;
    a->at = at;
    a->bytes = n;
    a->mapped = map;
    a->base = at + map - body;  // an overrun of more than the red zone faults
    a->memory = real(d, a->base);
    a->known = new_bits(n);
    char* m = real(d, at);
    mprotect(m, map, PROT_READ | PROT_WRITE);
    memset(m, RED, map);
    memset(a->memory, DEVICE_POISON, n);
    S.device_memory[a->base] = a;
    S.used[d] += map;
    *out = a->base;
    return 0;
}

static void drop_memory(Alloc* a) {
    if (a->kind == Alloc::DEVICE) {
        char* m = real(a->device, a->at);
        madvise(m, a->mapped, MADV_REMOVE);
        mprotect(m, a->mapped, PROT_NONE);
        S.used[a->device] -= a->mapped;
    } else if (a->foreign) {
        munmap(a->memory - (a->base - a->at), a->mapped);
    }
    if (a->known) munmap(a->known, a->bytes / 8 + 1);
    a->known = nullptr;
    if (a->origin) a->origin->imports--;
    give(spaces[a->device], a->at, a->mapped + PAGE);
    S.device_memory.erase(a->base);
    S.ended_memory[a->base] = a;
    end_object(a);
}

void purge_device(const Context* c) {
    std::vector<Alloc*> all;
    for (auto& [base, a] : S.device_memory)
        if (a->ctx == c) all.push_back(a);
    for (auto* a : all) drop_memory(a);
}

// check_unused tells of what may still use memory that is given back.
static void check_unused(Alloc* a) {
    uint64_t lo = origin(a, a->base);
    if (auto* op = user_of({lo, lo + a->bytes, true}, false))
        violation("%s frees device memory that %s may still use: nothing waited for it", here().text().c_str(),
                  op->site.text().c_str());
}

static Alloc* to_free(CUdeviceptr p, bool imported, int* error) {
    auto it = S.device_memory.find(p);
    *error = CUDA_ERROR_INVALID_VALUE;
    if (it == S.device_memory.end()) {
        violation("%s frees %#llx: %s", here().text().c_str(), p, describe(p).c_str());
        return nullptr;
    }
    Alloc* a = it->second;
    if ((a->kind == Alloc::IMPORTED) != imported) {
        violation("%s frees %s", here().text().c_str(), imported ? "memory that no handle opened" : "imported memory");
        return nullptr;
    }
    *error = 0;
    return a;
}

// excuse_memory keeps what a failing call could not free from being called a leak. With a lost context it is gone.
static void excuse_memory(Lock& lock, CUdeviceptr p) {
    auto it = S.device_memory.find(p);
    if (it == S.device_memory.end()) return;
    Alloc* a = it->second;
    a->excused = true;
    if (!a->ctx->lost) return;
    wait_all(lock, a->ctx);  // for what is being run
    if (a->live) drop_memory(a);
}

static CUresult free_memory(Lock& lock, CUdeviceptr p, bool imported) {
    int e;
    Alloc* a = to_free(p, imported, &e);
    if (!a) return CUresult(e);
    wrong_context(a);
    Site mine = here();
    wait_all(lock, a->ctx);  // as the driver does; the program must not count on it
    if (!a->live) return CUDA_ERROR_INVALID_VALUE;
    check_unused(a);
    if (a->imports) violation("%s frees device memory that is still imported", mine.text().c_str());
    check_red(a, "found at the end", mine);
    drop_memory(a);
    return CUDA_SUCCESS;
}

// ---- memory of other processes ----

struct Handle {  // what a CUipcMemHandle holds
    uint64_t magic, serial, at, offset, bytes;
    int pid, fd, device;
};
constexpr uint64_t HANDLE_MAGIC = 0x6b76666172736f66;
static_assert(sizeof(Handle) <= sizeof(CUipcMemHandle), "a handle's size is the driver's");

static Alloc* import(const Handle& h, int device) {
    auto a = new Alloc;
    a->kind = Alloc::IMPORTED;
    a->device = device;
    a->bytes = h.bytes;
    a->mapped = up(h.bytes + h.offset, PAGE);
    if (h.pid == getpid()) {
        for (auto& [base, o] : S.device_memory)
            if (o->serial == h.serial && o->kind == Alloc::DEVICE) a->origin = o;
        if (!a->origin) return nullptr;
        a->memory = a->origin->memory;
        a->origin->imports++;
    } else {
        int fd = -1;
        std::string path = print("/proc/%d/fd/%d", h.pid, h.fd);
        if (FILE* f = fopen(path.c_str(), "r+")) {
            fd = dup(fileno(f));
            fclose(f);
        }
        void* m = fd < 0 ? MAP_FAILED : mmap(nullptr, a->mapped, PROT_READ | PROT_WRITE, MAP_SHARED, fd, off_t(h.at));
        if (fd >= 0) close(fd);
        if (m == MAP_FAILED) return nullptr;
        a->foreign = true;
        a->memory = static_cast<char*>(m) + h.offset;
    }
    a->at = take(spaces[device], a->mapped + PAGE);
    a->base = a->at + h.offset;
    begin_object(a, "imported memory", current());
    S.device_memory[a->base] = a;
    return a;
}

}  // namespace sc

using namespace sc;

API CUresult cuMemGetInfo_v2(size_t* available, size_t* total) {
    ENTER(cuMemGetInfo, CONTEXT);
    int d = current()->device;
    *total = S.settings.memory;
    *available = S.settings.memory - std::min(S.settings.memory, S.used[d]);
    return CUDA_SUCCESS;
}
API CUresult cuMemAlloc_v2(CUdeviceptr* p, size_t n) {
    ENTER(cuMemAlloc, CONTEXT | UNSAFE);
    if (!p || !n) return CUDA_ERROR_INVALID_VALUE;
    return CUresult(take_memory(p, n));
}
API CUresult cuMemAllocPitch_v2(CUdeviceptr* p, size_t* pitch, size_t width, size_t height, unsigned) {
    ENTER(cuMemAllocPitch, CONTEXT | UNSAFE);
    if (!p || !pitch || !width || !height || width > SIZE_MAX / 2 / height) return CUDA_ERROR_INVALID_VALUE;
    *pitch = up(width, 512);
    return CUresult(take_memory(p, *pitch * height));
}
API CUresult cuMemFree_v2(CUdeviceptr p) {
    ENTER_END(cuMemFree, CONTEXT | UNSAFE, excuse_memory(lock, p));
    return p ? free_memory(lock, p, false) : CUDA_SUCCESS;
}
API CUresult cuMemGetAddressRange_v2(CUdeviceptr* base, size_t* n, CUdeviceptr p) {
    ENTER(cuMemGetAddressRange, CONTEXT);
    Alloc* a = find_memory(S.device_memory, p, 1);
    if (!a) return CUDA_ERROR_NOT_FOUND;
    if (base) *base = a->base;
    if (n) *n = a->bytes;
    return CUDA_SUCCESS;
}
API CUresult cuIpcGetMemHandle(CUipcMemHandle* out, CUdeviceptr p) {
    ENTER(cuIpcGetMemHandle, CONTEXT);
    Alloc* a = find_memory(S.device_memory, p, 1);
    if (!out || !a || a->kind != Alloc::DEVICE) return CUDA_ERROR_INVALID_VALUE;
    Space& s = spaces[a->device];
    Handle h = {HANDLE_MAGIC, a->serial, a->at - s.lo, a->base - a->at, a->bytes, getpid(), s.fd, a->device};
    memset(out, 0, sizeof *out);
    memcpy(out, &h, sizeof h);
    return CUDA_SUCCESS;
}
// A handle may be opened in the process that made it, which a real driver refuses, so that one process can test both sides.
API CUresult cuIpcOpenMemHandle_v2(CUdeviceptr* p, CUipcMemHandle in, unsigned flags) {
    ENTER(cuIpcOpenMemHandle, CONTEXT | UNSAFE);
    Handle h;
    memcpy(&h, &in, sizeof h);
    if (!p || flags != CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS || h.magic != HANDLE_MAGIC) return CUDA_ERROR_INVALID_VALUE;
    Alloc* a = import(h, current()->device);
    if (!a) return CUDA_ERROR_MAP_FAILED;
    *p = a->base;
    return CUDA_SUCCESS;
}
API CUresult cuIpcOpenMemHandle(CUdeviceptr* p, CUipcMemHandle h, unsigned f) { return cuIpcOpenMemHandle_v2(p, h, f); }
API CUresult cuIpcCloseMemHandle(CUdeviceptr p) {
    ENTER_END(cuIpcCloseMemHandle, CONTEXT | UNSAFE, excuse_memory(lock, p));
    return free_memory(lock, p, true);
}
