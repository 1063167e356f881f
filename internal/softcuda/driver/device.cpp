// device.cpp: initialisation, devices, contexts.
#include <cstdlib>
#include <cstring>

#include "driver.h"

namespace sc {

extern thread_local std::vector<Context*> contexts_of_thread;

static int64_t number(const char* name, int64_t otherwise) {
    const char* v = getenv(name);
    return v && *v ? strtoll(v, nullptr, 10) : otherwise;
}

Mode mode_of(const std::string& name) { return name == "lazy" ? LAZY : name == "delayed" ? DELAYED : EAGER; }

// read_environment comes with the first call or command, whichever it is: a command sets on top of it.
void read_environment() {
    static bool done = false;
    if (std::exchange(done, true)) return;
    Settings& d = S.defaults;
    const char* mode = getenv("SOFTCUDA_MODE");
    d.mode = mode_of(mode ? mode : "");
    d.seed = uint64_t(number("SOFTCUDA_SEED", 1));
    d.devices = int(std::min<int64_t>(8, std::max<int64_t>(0, number("SOFTCUDA_DEVICES", 1))));
    d.memory = size_t(number("SOFTCUDA_MEMORY_MB", 256)) << 20;
    d.driver = int(number("SOFTCUDA_DRIVER", 13000));
    d.capability = int(number("SOFTCUDA_CAPABILITY", 90));
    d.trace = number("SOFTCUDA_TRACE", 0) != 0;
    S.settings = d;
    S.rng.seed(d.seed);
    if (number("SOFTCUDA_STRICT", 0)) be_strict();
}

static int context_at(int device, Context** out) {
    if (device < 0 || device >= S.settings.devices) return CUDA_ERROR_INVALID_DEVICE;
    Context*& c = S.primary[device];
    if (!c) {
        if (!device_init(device)) return CUDA_ERROR_OUT_OF_MEMORY;
        c = new Context;
        c->type = "context";
        c->device = device;
        c->primary = true;
        S.contexts.insert(c);
        c->legacy = new_stream(c, 0, 0);
    }
    *out = c;
    return 0;
}

static void set_current(Context* c) {
    auto& t = contexts_of_thread;
    if (!t.empty()) t.pop_back();
    if (c) t.push_back(c);
}

static Context* known(CUcontext h, int* e) {
    *e = 0;
    if (S.contexts.count(h)) return reinterpret_cast<Context*>(h);
    *e = CUDA_ERROR_INVALID_CONTEXT;
    return nullptr;
}

}  // namespace sc

using namespace sc;

API CUresult cuInit(unsigned flags) {
    Lock lock(S.mu);
    read_environment();
    if (S.settings.devices < 1) return CUDA_ERROR_NO_DEVICE;
    if (!S.inited) install_handler();
    S.inited = true;
    if (int e = enter("cuInit", NOTHING)) return CUresult(e);
    return flags ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
}
API CUresult cuDriverGetVersion(int* v) {
    Lock lock(S.mu);
    if (S.inited)
        if (int e = enter("cuDriverGetVersion", NOTHING)) return CUresult(e);
    *v = S.settings.driver;
    return CUDA_SUCCESS;
}
#define DEVICE(name) \
    ENTER(name, NOTHING); \
    if (d < 0 || d >= S.settings.devices) return CUDA_ERROR_INVALID_DEVICE
API CUresult cuDeviceGet(CUdevice* out, int d) {
    DEVICE(cuDeviceGet);
    *out = d;
    return CUDA_SUCCESS;
}
API CUresult cuDeviceGetCount(int* n) {
    ENTER(cuDeviceGetCount, NOTHING);
    *n = S.settings.devices;
    return CUDA_SUCCESS;
}
API CUresult cuDeviceGetName(char* s, int n, CUdevice d) {
    DEVICE(cuDeviceGetName);
    std::string name = S.settings.mig ? print("Software GPU %d MIG 1g.10gb", d) : print("Software GPU %d", d);
    if (n > 0) snprintf(s, size_t(n), "%s", name.c_str());
    return CUDA_SUCCESS;
}
static CUresult uuid(CUuuid* u, CUdevice d, bool mig) {
    for (int i = 0; i < 16; i++) u->bytes[i] = char(0x50 + i);
    u->bytes[14] = char(mig);
    u->bytes[15] = char(d);
    return CUDA_SUCCESS;
}
API CUresult cuDeviceGetUuid(CUuuid* u, CUdevice d) {
    DEVICE(cuDeviceGetUuid);
    return uuid(u, d, false);
}
API CUresult cuDeviceGetUuid_v2(CUuuid* u, CUdevice d) {
    DEVICE(cuDeviceGetUuid);
    return uuid(u, d, S.settings.mig);
}
API CUresult cuDeviceGetPCIBusId(char* s, int n, CUdevice d) {
    DEVICE(cuDeviceGetPCIBusId);
    if (n < 13) return CUDA_ERROR_INVALID_VALUE;
    snprintf(s, size_t(n), "FFFF:%02X:00.0", d + 1);
    return CUDA_SUCCESS;
}
API CUresult cuDeviceTotalMem_v2(size_t* n, CUdevice d) {
    DEVICE(cuDeviceTotalMem);
    *n = S.settings.memory;
    return CUDA_SUCCESS;
}
API CUresult cuDeviceGetAttribute(int* v, int which, CUdevice d) {
    DEVICE(cuDeviceGetAttribute);
    switch (which) {
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR:
        *v = S.settings.capability / 10;
        break;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR:
        *v = S.settings.capability % 10;
        break;
    case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT:
        *v = 4;
        break;
    case CU_DEVICE_ATTRIBUTE_ASYNC_ENGINE_COUNT:
        *v = 3;
        break;
    case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK:
    case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X:
        *v = 1024;
        break;
    case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X:
        *v = 0x7fffffff;
        break;
    case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR:
        *v = 2048;
        break;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK:
        *v = 48 << 10;
        break;
    case CU_DEVICE_ATTRIBUTE_WARP_SIZE:
        *v = 32;
        break;
    case CU_DEVICE_ATTRIBUTE_CLOCK_RATE:
        *v = 1000000;
        break;
    case CU_DEVICE_ATTRIBUTE_HOST_NUMA_ID:
        *v = S.settings.driver >= 12020 ? 0 : -1;
        return S.settings.driver >= 12020 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
    case CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID:
        *v = 0xFFFF;  // where no machine has a device
        break;
    case CU_DEVICE_ATTRIBUTE_PCI_BUS_ID:
        *v = d + 1;
        break;
    case CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING:
    case CU_DEVICE_ATTRIBUTE_CAN_MAP_HOST_MEMORY:
    case CU_DEVICE_ATTRIBUTE_CONCURRENT_KERNELS:
    case CU_DEVICE_ATTRIBUTE_STREAM_PRIORITIES_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_HOST_REGISTER_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_CAN_USE_HOST_POINTER_FOR_REGISTERED_MEM:
        *v = 1;
        break;
    default:
        *v = 0;
    }
    return CUDA_SUCCESS;
}

// ---- contexts ----

API CUresult cuDevicePrimaryCtxRetain(CUcontext* out, CUdevice d) {
    ENTER(cuDevicePrimaryCtxRetain, NOTHING);
    Context* c;
    if (int e = context_at(d, &c)) return CUresult(e);
    auto reference = new Object;
    begin_object(reference, "reference to the primary context", c);
    c->references.push_back(reference);
    c->live = true;
    *out = reinterpret_cast<CUcontext>(c);
    return CUDA_SUCCESS;
}
static void excuse_reference(int d) {
    if (d >= 0 && d < 8 && S.primary[d] && !S.primary[d]->references.empty()) excuse(S.primary[d]->references.back());
}
API CUresult cuDevicePrimaryCtxRelease_v2(CUdevice d) {
    ENTER_END(cuDevicePrimaryCtxRelease, NOTHING, excuse_reference(d));
    if (d < 0 || d >= S.settings.devices) return CUDA_ERROR_INVALID_DEVICE;
    Context* c = S.primary[d];
    if (!c || c->references.empty()) {
        violation("%s: device %d has no reference to its primary context", here().text().c_str(), d);
        return CUDA_ERROR_INVALID_CONTEXT;
    }
    end_object(c->references.back());
    c->references.pop_back();
    if (!c->references.empty()) return CUDA_SUCCESS;
    c->live = false;  // and with it, on a real driver, all that is left in it
    for (auto& s : S.running)
        if (s->ctx == c && !s->queue.empty() && !c->lost)
            violation("%s ends the context of device %d while %s is queued", here().text().c_str(), d,
                      s->queue.front()->site.text().c_str());
    return CUDA_SUCCESS;
}
API CUresult cuDevicePrimaryCtxReset_v2(CUdevice d) {
    DEVICE(cuDevicePrimaryCtxReset);
    violation("cuDevicePrimaryCtxReset: the primary context belongs to the engine");
    return CUDA_SUCCESS;
}
API CUresult cuDevicePrimaryCtxSetFlags_v2(CUdevice d, unsigned flags) {
    DEVICE(cuDevicePrimaryCtxSetFlags);
    Context* c;
    if (int e = context_at(d, &c)) return CUresult(e);
    c->flags = flags;
    return CUDA_SUCCESS;
}
API CUresult cuDevicePrimaryCtxGetState(CUdevice d, unsigned* flags, int* active) {
    DEVICE(cuDevicePrimaryCtxGetState);
    Context* c = S.primary[d];
    *flags = c ? c->flags : 0;
    *active = c && c->live;
    return CUDA_SUCCESS;
}
API CUresult cuCtxSetCurrent(CUcontext h) {
    ENTER(cuCtxSetCurrent, NOTHING);
    int e = 0;
    Context* c = h ? known(h, &e) : nullptr;
    if (e) return CUresult(e);
    set_current(c);
    return CUDA_SUCCESS;
}
API CUresult cuCtxGetCurrent(CUcontext* c) {
    ENTER(cuCtxGetCurrent, NOTHING);
    *c = reinterpret_cast<CUcontext>(current());
    return CUDA_SUCCESS;
}
API CUresult cuCtxPushCurrent_v2(CUcontext h) {
    ENTER(cuCtxPushCurrent, NOTHING);
    int e;
    Context* c = known(h, &e);
    if (c) contexts_of_thread.push_back(c);
    return CUresult(e);
}
API CUresult cuCtxPopCurrent_v2(CUcontext* c) {
    ENTER(cuCtxPopCurrent, NOTHING);
    if (!current()) return CUDA_ERROR_INVALID_CONTEXT;
    if (c) *c = reinterpret_cast<CUcontext>(current());
    contexts_of_thread.pop_back();
    return CUDA_SUCCESS;
}
API CUresult cuCtxGetDevice(CUdevice* d) {
    ENTER(cuCtxGetDevice, CONTEXT);
    *d = current()->device;
    return CUDA_SUCCESS;
}
API CUresult cuCtxGetFlags(unsigned* f) {
    ENTER(cuCtxGetFlags, CONTEXT);
    *f = current()->flags;
    return CUDA_SUCCESS;
}
API CUresult cuCtxGetApiVersion(CUcontext, unsigned* v) {
    ENTER(cuCtxGetApiVersion, CONTEXT);
    *v = 3020;
    return CUDA_SUCCESS;
}
API CUresult cuCtxGetStreamPriorityRange(int* least, int* greatest) {
    ENTER(cuCtxGetStreamPriorityRange, CONTEXT);
    if (least) *least = 0;
    if (greatest) *greatest = -5;
    return CUDA_SUCCESS;
}
API CUresult cuCtxSynchronize() {
    ENTER(cuCtxSynchronize, CONTEXT | UNSAFE);
    Context* c = current();
    VectorClock clock = c->past;
    int64_t end = 0;
    for (auto& s : S.running)
        if (s->ctx == c) {
            clock.join(s->clock);
            end = std::max(end, s->end_ns);
        }
    wait_all(lock, c);
    learn(clock, end);
    return CUresult(c->lost);
}
