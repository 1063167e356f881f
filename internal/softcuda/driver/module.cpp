// module.cpp: PTX, links, modules. The machine code of a kernel is in this library; the PTX is read for its version, target
// and parameters, so that what was committed and the sources cannot drift apart.
#include <dlfcn.h>

#include <cctype>
#include <cstring>

#include "driver.h"

namespace sc {
namespace {

void* self() {  // this library, however it was loaded
    static void* h = [] {
        Dl_info i;
        return dladdr(reinterpret_cast<void*>(&self), &i) ? dlopen(i.dli_fname, RTLD_NOW | RTLD_NOLOAD) : nullptr;
    }();
    return h ? h : RTLD_DEFAULT;
}

// isa is the newest PTX that this driver reads, as 70 for 7.0.
int isa() {
    int major = S.settings.driver / 1000, minor = S.settings.driver % 1000 / 10;
    if (major <= 11) return 70 + minor;
    if (major == 12) return 80 + (minor < 6 ? minor : minor - 1);
    return 90 + minor;
}

uint32_t size_of_type(const std::string& t) {
    if (t.find("64") != std::string::npos) return 8;
    if (t.find("32") != std::string::npos) return 4;
    return t.find("16") != std::string::npos ? 2 : 1;
}

std::vector<uint32_t> parameters(const char* from) {
    std::vector<uint32_t> sizes;
    const char* end = strchr(from, ')');
    for (const char* p = from; end && (p = strstr(p, ".param")) && p < end; p++) {
        p += 6;
        while (isspace(*p)) p++;
        if (!strncmp(p, ".align", 6)) {
            const char* bracket = strchr(p, '[');
            sizes.push_back(bracket ? uint32_t(atoi(bracket + 1)) : 0);
            continue;
        }
        const char* q = p;
        while (*q && !isspace(*q)) q++;
        sizes.push_back(size_of_type(std::string(p, q)));
    }
    return sizes;
}

struct Ptx {
    std::map<std::string, std::vector<uint32_t>> entries;
    std::string error;
};

int read_ptx(const std::string& text, Ptx& out) {
    const char *t = text.c_str(), *v = strstr(t, ".version"), *target = strstr(t, ".target");
    int major, minor, sm;
    if (!v || !target || sscanf(v, ".version %d.%d", &major, &minor) != 2 || sscanf(target, ".target sm_%d", &sm) != 1) {
        out.error = "ptxas fatal   : Missing .version or .target directive";
        return CUDA_ERROR_INVALID_PTX;
    }
    if (major * 10 + minor > isa()) {
        out.error = print("ptxas fatal   : Unsupported .version %d.%d; current version is '%d.%d'", major, minor, isa() / 10, isa() % 10);
        return CUDA_ERROR_UNSUPPORTED_PTX_VERSION;
    }
    if (sm > S.settings.capability) {
        out.error = print("ptxas fatal   : PTX for sm_%d does not run on sm_%d", sm, S.settings.capability);
        return CUDA_ERROR_NO_BINARY_FOR_GPU;
    }
    int depth = 0;
    for (const char* p = t; *p; p++) depth += *p == '{' ? 1 : *p == '}' ? -1 : 0;
    if (depth) {
        out.error = print("ptxas fatal   : Parsing error near end of file: %d blocks are open", depth);
        return CUDA_ERROR_INVALID_PTX;
    }
    for (const char* p = t; (p = strstr(p, ".entry"));) {
        p += 6;
        while (isspace(*p)) p++;
        const char* q = p;
        while (isalnum(*q) || *q == '_' || *q == '$') q++;
        out.entries[std::string(p, q)] = parameters(q);
        p = q;
    }
    return 0;
}

// parse is read_ptx, which remembers what it read: tests load the same text thousands of times.
int parse(const std::string& text, Ptx& out) {
    static auto& known = *new std::map<std::string, Ptx>;
    std::string key = print("%d %d\n", S.settings.driver, S.settings.capability) + text;
    auto it = known.find(key);
    if (it != known.end()) {
        out = it->second;
        return 0;
    }
    if (int e = read_ptx(text, out)) return e;
    if (known.size() < 16) known[key] = out;
    return 0;
}

// ---- the image that a link makes: a header that names driver and device, and the PTX ----

const char MAGIC[] = "\177ELFsoftcuda\n";
struct Header {
    char magic[16];
    int driver, capability;
    uint64_t bytes, sum;
};
std::string image_of(const std::string& ptx) {
    Header h = {};
    memcpy(h.magic, MAGIC, sizeof MAGIC);
    h.driver = S.settings.driver;
    h.capability = S.settings.capability;
    h.bytes = ptx.size();
    h.sum = checksum(ptx.data(), ptx.size());
    return std::string(reinterpret_cast<char*>(&h), sizeof h) + ptx;
}
int ptx_of(const char* image, std::string& ptx) {
    if (memcmp(image, "\177ELF", 4)) {
        ptx = image;
        return 0;
    }
    Header h;
    if (strncmp(image, MAGIC, sizeof MAGIC)) return CUDA_ERROR_NO_BINARY_FOR_GPU;
    memcpy(&h, image, sizeof h);
    if (h.capability / 10 != S.settings.capability / 10 || h.capability > S.settings.capability) return CUDA_ERROR_NO_BINARY_FOR_GPU;
    if (h.bytes > 64 << 20 || checksum(image + sizeof h, h.bytes) != h.sum) return CUDA_ERROR_INVALID_IMAGE;
    ptx.assign(image + sizeof h, h.bytes);
    return 0;
}

// Options are two arrays, of numbers and of what they stand for: an address, or a number in its place.
struct Options {
    unsigned n;
    const int* which;
    void** values;
    void* find(int option) const {
        for (unsigned i = 0; i < n; i++)
            if (which[i] == option) return values[i];
        return nullptr;
    }
    // log writes into a buffer of the options, and how long it became where its size was.
    void log(int buffer, int size, const std::string& text) const {
        auto* b = static_cast<char*>(find(buffer));
        size_t room = reinterpret_cast<uintptr_t>(find(size)), used = 0;
        if (b && room) {
            used = std::min(room - 1, text.size());
            memcpy(b, text.data(), used);
            b[used] = 0;
        }
        for (unsigned i = 0; i < n; i++)
            if (which[i] == size) values[i] = reinterpret_cast<void*>(used);
    }
    void logs(const std::string& info, const std::string& error) const {
        log(CU_JIT_INFO_LOG_BUFFER, CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES, info);
        log(CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES, error);
    }
};

struct Link : Object {
    Options options;
    std::string ptx, image;
};

std::string info_log(const Ptx& p) {
    std::string t = print("ptxas info    : %zu entry functions for 'sm_%d'\n", p.entries.size(), S.settings.capability);
    for (auto& [name, sizes] : p.entries) t += print("ptxas info    : Compiling entry function '%s'\n", name.c_str());
    return t;
}

int load(CUmodule* out, const char* image, const Options& options) {
    if (!image || !out) return CUDA_ERROR_INVALID_VALUE;
    std::string text;
    if (int e = ptx_of(image, text)) return e;
    Ptx ptx;
    if (int e = parse(text, ptx)) {
        options.logs("", ptx.error);
        return e;
    }
    options.logs(info_log(ptx), "");
    auto m = new Module;
    begin_object(m, "module", current());
    m->entries = ptx.entries;
    S.modules.insert(m);
    *out = reinterpret_cast<CUmodule>(m);
    return 0;
}

void excuse_one(const std::set<void*>& set, void* h) {
    if (set.count(h)) excuse(static_cast<Object*>(h));
}

// busy tells of a launch of the module's that may still run.
void check_idle(Module* m) {
    for (auto& s : S.running)
        for (auto& o : s->queue)
            for (auto* f : m->functions)
                if (o->site.detail == f->kernel->name && std::string(o->kind) == "kernel" && !m->ctx->lost) {
                    violation("%s unloads a module whose %s is still queued", here().text().c_str(), o->site.text().c_str());
                    return;
                }
}

}  // namespace

void* symbol(const char* name) { return dlsym(self(), name); }

const softcuda::Kernel* find_kernel(const std::string& name) {
    return static_cast<const softcuda::Kernel*>(symbol(("softcuda_kernel_" + name).c_str()));
}

}  // namespace sc

using namespace sc;

API CUresult cuModuleLoadDataEx(CUmodule* m, const void* image, unsigned n, int* options, void** values) {
    ENTER(cuModuleLoadDataEx, CONTEXT | UNSAFE);
    return CUresult(load(m, static_cast<const char*>(image), {n, options, values}));
}
API CUresult cuModuleLoadData(CUmodule* m, const void* image) {
    ENTER(cuModuleLoadData, CONTEXT | UNSAFE);
    return CUresult(load(m, static_cast<const char*>(image), {0, nullptr, nullptr}));
}
API CUresult cuModuleUnload(CUmodule h) {
    ENTER_END(cuModuleUnload, CONTEXT | UNSAFE, excuse_one(S.modules, h));
    int e;
    auto m = find_handle<Module>(S.modules, h, "module", &e);
    if (!m) return CUresult(e);
    wrong_context(m);
    check_idle(m);
    for (auto* f : m->functions) {
        f->live = false;
        f->ended = here();
    }
    end_object(m);
    return CUDA_SUCCESS;
}
API CUresult cuModuleGetFunction(CUfunction* out, CUmodule h, const char* name) {
    ENTER(cuModuleGetFunction, CONTEXT);
    int e;
    auto m = find_handle<Module>(S.modules, h, "module", &e);
    if (!m) return CUresult(e);
    if (wrong_context(m)) return CUDA_ERROR_INVALID_CONTEXT;
    auto it = m->entries.find(name);
    if (it == m->entries.end()) return CUDA_ERROR_NOT_FOUND;
    auto k = find_kernel(name);
    if (!k) {
        violation("kernel %s is in the PTX, and the software driver was built without it", name);
        return CUDA_ERROR_NOT_FOUND;
    }
    if (it->second != std::vector<uint32_t>(k->sizes, k->sizes + k->nparams)) {
        violation("kernel %s: the PTX and the source have different parameters", name);
        return CUDA_ERROR_INVALID_IMAGE;
    }
    auto f = new Function;
    f->type = "function";
    f->ctx = m->ctx;
    f->made = here();
    f->live = true;
    f->kernel = k;
    f->module = m;
    m->functions.push_back(f);
    S.functions.insert(f);
    *out = reinterpret_cast<CUfunction>(f);
    return CUDA_SUCCESS;
}

API CUresult cuLinkCreate_v2(unsigned n, int* options, void** values, CUlinkState* out) {
    ENTER(cuLinkCreate, CONTEXT | UNSAFE);
    auto l = new Link;
    begin_object(l, "link", current());
    l->options = {n, options, values};  // which have to live as long as the link
    S.links.insert(l);
    *out = reinterpret_cast<CUlinkState>(l);
    return CUDA_SUCCESS;
}
API CUresult cuLinkAddData_v2(CUlinkState h, int type, void* data, size_t n, const char*, unsigned, int*, void**) {
    ENTER(cuLinkAddData, CONTEXT | UNSAFE);
    if (!S.links.count(h)) return CUDA_ERROR_INVALID_HANDLE;
    auto l = reinterpret_cast<Link*>(h);
    if (!l->live || !data) return CUDA_ERROR_INVALID_HANDLE;
    if (type != CU_JIT_INPUT_PTX) return CUDA_ERROR_NOT_SUPPORTED;
    std::string text(static_cast<char*>(data), strnlen(static_cast<char*>(data), n));
    if (text.size() == n) violation("cuLinkAddData: PTX has to end in a zero byte that its size counts");
    Ptx ptx;
    int e = parse(text, ptx);
    l->options.logs(e ? "" : info_log(ptx), ptx.error);
    if (e) return CUresult(e);
    l->ptx += text;
    return CUDA_SUCCESS;
}
API CUresult cuLinkComplete(CUlinkState h, void** image, size_t* n) {
    ENTER(cuLinkComplete, CONTEXT | UNSAFE);
    if (!S.links.count(h)) return CUDA_ERROR_INVALID_HANDLE;
    auto l = reinterpret_cast<Link*>(h);
    if (!l->live) return CUDA_ERROR_INVALID_HANDLE;
    l->image = image_of(l->ptx);
    *image = &l->image[0];
    *n = l->image.size();
    return CUDA_SUCCESS;
}
API CUresult cuLinkDestroy(CUlinkState h) {
    ENTER_END(cuLinkDestroy, CONTEXT | UNSAFE, excuse_one(S.links, h));
    if (!S.links.count(h)) return CUDA_ERROR_INVALID_HANDLE;
    auto l = reinterpret_cast<Link*>(h);
    if (!l->live) return CUDA_ERROR_INVALID_HANDLE;
    memset(&l->image[0], RED, l->image.size());  // it belongs to the link, and a real driver frees it here
    end_object(l);
    return CUDA_SUCCESS;
}
API CUresult cuFuncGetAttribute(int* v, int which, CUfunction h) {
    ENTER(cuFuncGetAttribute, CONTEXT);
    int e;
    if (!find_handle<Function>(S.functions, h, "function", &e)) return CUresult(e);
    switch (which) {
    case CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK:
        *v = 1024;
        break;
    case CU_FUNC_ATTRIBUTE_NUM_REGS:
        *v = 32;
        break;
    case CU_FUNC_ATTRIBUTE_PTX_VERSION:
        *v = 80;
        break;
    case CU_FUNC_ATTRIBUTE_BINARY_VERSION:
        *v = S.settings.capability;
        break;
    default:
        *v = 0;
    }
    return CUDA_SUCCESS;
}
API CUresult cuFuncSetAttribute(CUfunction, int, int) {
    ENTER(cuFuncSetAttribute, CONTEXT);
    return CUDA_SUCCESS;
}
API CUresult cuOccupancyMaxActiveBlocksPerMultiprocessor(int* n, CUfunction, int b, size_t) {
    ENTER(cuOccupancyMaxActiveBlocksPerMultiprocessor, CONTEXT);
    *n = b > 0 ? std::min(32, 2048 / b) : 0;
    return CUDA_SUCCESS;
}
