// launch.cpp: kernels. A launch's footprint is worked out when it is about to run, since it may depend on what earlier work of
// the stream wrote, and then takes part in every check.
#include <cstring>

#include "driver.h"

namespace softcuda {
struct Recorder {  // what a footprint function tells
    sc::Op* op;
    const Kernel* kernel;
    bool early;  // at submission, when what it would load may not be there yet
    bool bad = false;
};
}  // namespace softcuda

namespace sc {
namespace {

struct Launch {
    const softcuda::Kernel* kernel;
    std::vector<std::vector<char>> params;
    softcuda::Uint3 grid, block;
    uint64_t seed;
    struct Source {
        Range range;
        uint64_t sum;
    };
    std::vector<Source> sources;  // host memory that it reads, as far as that was known at submission
};

// What the running kernel said it touches, for kf_at.
struct Reach {
    std::vector<Range> ranges;   // ascending, joined, reads and writes alike
    std::vector<char*> memory;  // where each begins
    size_t last = 0;
    char* find(uint64_t p, uint64_t n) {
        auto in = [&](size_t i) { return p >= ranges[i].lo && p + n <= ranges[i].hi; };
        if (last >= ranges.size() || !in(last)) {
            auto it = std::upper_bound(ranges.begin(), ranges.end(), p, [](uint64_t k, const Range& x) { return k < x.hi; });
            if (it == ranges.end() || !in(size_t(it - ranges.begin()))) return nullptr;
            last = size_t(it - ranges.begin());
        }
        return memory[last] + (p - ranges[last].lo);
    }
    std::string outside;  // the first address that is not in there
};
thread_local Reach* reach;

std::vector<void*> addresses(std::vector<std::vector<char>>& params) {
    std::vector<void*> p;
    for (auto& v : params) p.push_back(v.data());
    return p;
}

void tell(softcuda::Recorder& r, Launch& l) {
    softcuda::Footprint f;
    f.to = &r;
    f.grid = l.grid;
    f.block = l.block;
    l.kernel->touches(f, addresses(l.params).data());
}

// watch takes down the mapped memory that a launch will read, so that a change before it has run is told.
void watch(const Op& op, Launch& l) {
    Op early = op;
    softcuda::Recorder r{&early, l.kernel, true};
    tell(r, l);
    tidy(early.touches);
    for (auto& t : early.touches) {
        if (t.write || is_device(t.lo) || open_use({t.lo, t.hi, true}, true)) continue;
        l.sources.push_back({t, checksum(reinterpret_cast<char*>(t.lo), t.hi - t.lo)});
    }
}

void check_sources(const Op& op, const Launch& l) {
    for (auto& s : l.sources) {
        std::vector<char> now(s.range.hi - s.range.lo);
        if (!host_read(now.data(), s.range.lo, now.size()) || checksum(now.data(), now.size()) == s.sum) continue;
        Lock lock(S.mu);
        violation("the host changed [%#lx,%#lx), which %s reads: nothing waited for it", s.range.lo, s.range.hi, op.site.text().c_str());
    }
}

// footprint fills in what a launch touches. With mu held.
bool footprint(const OpPtr& op, Launch& l) {
    softcuda::Recorder r{op.get(), l.kernel, false};
    op->touches.clear();
    tell(r, l);
    if (r.bad) return false;
    race_check(op);
    check_known(*op);
    for (auto& t : op->touches)
        if (!is_device(t.lo)) (t.write ? op->to_host : op->to_device) += int64_t(t.hi - t.lo);
    return true;
}

std::vector<Range> joined(std::vector<Range> r) {
    for (auto& x : r) x.write = false;
    tidy(r);
    return r;
}

int run(const OpPtr& op, Launch& l) {
    std::vector<std::vector<char>> params = l.params;
    Reach mine;
    Truth truth;
    std::vector<uint64_t> pointers;
    check_sources(*op, l);
    {
        Lock lock(S.mu);
        if (!footprint(op, l)) return CUDA_ERROR_ILLEGAL_ADDRESS;
        mine.ranges = joined(op->touches);
        for (auto& r : mine.ranges) mine.memory.push_back(follow(r.lo));
        for (unsigned i = 0; i < l.kernel->nparams; i++) {
            if (!l.kernel->pointers[i]) continue;
            uint64_t p;
            memcpy(&p, params[i].data(), 8);
            pointers.push_back(p);
            char* to = follow(p);
            memcpy(params[i].data(), &to, 8);
        }
        truth.choose(*op, pointers);
    }
    truth.begin(l.seed);
    uint64_t address = 0;
    std::string why;
    reach = &mine;
    Ran ran = run_kernel(l.kernel, addresses(params).data(), l.grid, l.block, l.seed, &address, &why);
    reach = nullptr;
    Lock lock(S.mu);
    if (ran == Ran::OK) {
        truth.check(*op);
        return 0;
    }
    if (ran == Ran::BARRIER) {
        violation("%s hangs: %s", op->site.text().c_str(), why.c_str());
        return CUDA_ERROR_LAUNCH_FAILED;
    }
    if (!mine.outside.empty())
        violation("%s follows %s", op->site.text().c_str(), mine.outside.c_str());
    else
        violation("%s touches %#lx: %s", op->site.text().c_str(), program_address(address),
                  describe(program_address(address)).c_str());
    return CUDA_ERROR_ILLEGAL_ADDRESS;
}

bool fits(unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz) {
    return gx && gy && gz && bx && by && bz && gx <= 0x7fffffff && gy <= 65535 && gz <= 65535 && bx <= 1024 && by <= 1024 &&
           bz <= 64 && uint64_t(bx) * by * bz <= 1024;
}

}  // namespace
}  // namespace sc

using namespace sc;

// ---- what kernels and their footprints call ----

API void softcuda_touch(softcuda::Recorder* r, uint64_t p, uint64_t n, int write) {
    if (!n || r->bad) return;
    Op& op = *r->op;
    auto refuse = [&](const char* why) {
        r->bad = true;
        if (r->early) return;
        violation("%s %s [%#lx,%#lx), %s: %s", op.site.text().c_str(), write ? "writes" : "reads", p, p + n, why, describe(p).c_str());
    };
    if (p + n < p) return refuse("which is no range");
    if (!is_device(p)) {
        Alloc* a = find_memory(S.host_memory, p, n);
        if (!a || !(a->flags & CU_MEMHOSTALLOC_DEVICEMAP)) return refuse("which is not in mapped pinned memory");
        op.touches.push_back({p, p + n, write != 0});
        return;
    }
    Alloc* a = find_memory(S.device_memory, p, n);
    if (!a) return refuse("outside of device memory");
    if (a->device != op.stream->ctx->device) return refuse("on another device");
    op.touches.push_back({origin(a, p), origin(a, p) + n, write != 0});
}

API void softcuda_fetch(softcuda::Recorder* r, uint64_t p, void* out, uint64_t n) {
    memset(out, 0, n);
    softcuda_touch(r, p, n, 0);
    if (r->bad) return;
    if (r->early) {  // it is settled if nothing that is queued may write it
        r->bad = open_use({p, p + n, false}, true);
        for (auto& h : S.history) r->bad |= h->late && !h->done;
        if (r->bad) return;
    }
    if (!is_device(p)) {
        if (!host_read(out, p, n)) memcpy(out, reinterpret_cast<void*>(p), n);
        return;
    }
    Alloc* a = find_memory(S.device_memory, p, n);
    if (first_unknown(a, p, n) != SIZE_MAX) {
        r->bad = true;
        if (r->early) return;
        violation("%s follows %#lx, which nobody wrote: %s", r->op->site.text().c_str(), p, describe(p).c_str());
        return;
    }
    memcpy(out, a->memory + (p - a->base), n);
}

API void* softcuda_at(uint64_t p, uint64_t n) {
    Reach* r = reach;
    if (!r) return follow(p);
    if (char* to = r->find(p, n)) return to;
    uint64_t q = p;
    {
        Lock lock(S.mu);
        if (Alloc* a = find_memory(S.device_memory, p, n)) q = origin(a, p);
    }
    if (char* to = q == p ? nullptr : r->find(q, n)) return to;
    if (r->outside.empty()) r->outside = print("%#lx (%lu bytes), which its footprint does not name", p, n);
    return reinterpret_cast<void*>(8);  // faults
}

API CUresult cuLaunchKernel(CUfunction h, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                            unsigned shared, CUstream stream, void** params, void** extra) {
    ENTER(cuLaunchKernel, CONTEXT);
    int e;
    auto s = find_stream(stream, &e);
    auto f = s ? find_handle<Function>(S.functions, h, "function", &e) : nullptr;
    if (!f) return CUresult(e);
    if (wrong_context(s.get()) || wrong_context(f)) return CUDA_ERROR_INVALID_CONTEXT;
    if (f->ctx != s->ctx) return CUDA_ERROR_INVALID_HANDLE;
    if (!fits(gx, gy, gz, bx, by, bz) || extra || (f->kernel->nparams && !params)) return CUDA_ERROR_INVALID_VALUE;
    if (shared > 48 << 10) return CUDA_ERROR_INVALID_VALUE;
    auto l = std::make_shared<Launch>();
    l->kernel = f->kernel;
    l->grid = {gx, gy, gz};
    l->block = {bx, by, bz};
    l->seed = S.rng();
    for (unsigned i = 0; i < f->kernel->nparams; i++) {  // by value, now
        std::vector<char> v((f->kernel->sizes[i] + 15) & ~15u);
        memcpy(v.data(), params[i], f->kernel->sizes[i]);
        l->params.push_back(std::move(v));
    }
    OpPtr op = new_op(s, "kernel");
    op->site.detail = f->kernel->name;
    op->late = true;
    std::weak_ptr<Op> self = op;
    op->run = [l, self](Op&) { return run(self.lock(), *l); };
    if (!s->capture) watch(*op, *l);
    if (int r = push(op, 5000 + int64_t(gx) * gy * gz * 100, 2)) return CUresult(r);
    for (auto& source : l->sources) guard(op, source.range.lo, source.range.hi, false);
    return CUDA_SUCCESS;
}
