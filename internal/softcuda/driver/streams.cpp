// streams.cpp: each stream is a queue and a thread that runs it, when the mode lets it.
#include <unistd.h>

#include <chrono>
#include <thread>

#include "driver.h"

namespace sc {

static int64_t now_us() {
    return std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

static bool ready(const Op& o) {
    for (auto& [s, n] : o.deps)
        if (s->done < n) return false;
    return true;
}

// demand lets work and what it waits for run in lazy mode.
void demand(Stream* s, uint64_t upto) {
    for (auto& o : s->queue) {
        if (o->seq > upto) break;
        if (o->demanded) continue;
        o->demanded = true;
        s->wake.notify_one();
        for (auto& [d, n] : o->deps) demand(d.get(), n);
    }
}

void wake_all() {
    for (auto& s : S.running) s->wake.notify_one();
    S.progress.notify_all();
}

// tell wakes those that wait for s.
static void tell(const Stream* s) {
    for (auto& t : S.running) {
        if (t->queue.empty()) continue;
        for (auto& [d, n] : t->queue.front()->deps)
            if (d.get() == s) t->wake.notify_one();
    }
    S.progress.notify_all();
}

static bool may_run(const Stream& s) {
    if (s.queue.empty() || !ready(*s.queue.front())) return false;
    if (S.held && !s.ctx->lost) return false;
    return S.settings.mode != LAZY || s.queue.front()->demanded || s.ctx->lost;
}

// rule_for finds a fault that is to happen within a stream.
static int rule_for(const char* kind) {
    for (auto& r : S.rules)
        if (r.name == std::string("op.") + kind && (++r.seen == r.nth || r.nth == 0)) return int(r.code);
    return 0;
}

static int execute(Lock& lock, const OpPtr& o, int64_t delay_us) {
    int err = rule_for(o->kind);
    if (err || !o->run) return err;
    if (!o->late) check_known(*o);
    lock.unlock();
    if (delay_us) usleep(useconds_t(delay_us));
    err = o->run(*o);
    lock.lock();
    if (err) return err;
    now_known(*o);
    S.to_host += o->to_host;
    S.to_device += o->to_device;
    return 0;
}

static void run_queue(const StreamPtr& s) {
    Lock lock(S.mu);
    std::mt19937_64 rng(S.rng() ^ uint64_t(s->id));
    for (;;) {
        if (s->queue.empty() && !s->live) return;
        if (!may_run(*s)) {
            bool lazy = S.settings.mode == LAZY && S.settings.lazy_ms && !s->queue.empty() && !S.held;
            if (lazy && now_us() - s->queue.front()->submitted_us > S.settings.lazy_ms * 1000)
                demand(s.get(), s->queue.front()->seq);
            if (may_run(*s)) continue;
            if (lazy)
                s->wake.wait_for(lock, std::chrono::milliseconds(10));
            else
                s->wake.wait(lock);
            continue;
        }
        OpPtr o = s->queue.front();
        int64_t delay = S.settings.mode == DELAYED ? int64_t(rng() % uint64_t(S.settings.delay_us + 1)) : 0;
        if (!s->ctx->lost) {
            if (int err = execute(lock, o, delay)) {
                fprintf(stderr, "softcuda: %s failed with %d: the context is lost\n", o->site.text().c_str(), err);
                lose(s->ctx, err);
            }
        }
        o->run = nullptr;
        o->done = true;
        s->queue.pop_front();
        s->done = o->seq;
        tell(s.get());
    }
}

static void run_stream(StreamPtr s) {
    exec_thread_init();
    run_queue(s);
    exec_thread_end();
    Lock lock(S.mu);
    S.running.erase(s);
}

StreamPtr new_stream(Context* c, unsigned flags, int priority) {
    auto s = std::make_shared<Stream>();
    s->id = ++S.stream_ids;
    s->ctx = c;
    s->live = true;
    s->flags = flags;
    s->priority = priority;
    s->clock = S.host;
    s->end_ns = S.host_ns;
    S.all_streams.push_back(s);
    S.running.insert(s);
    std::thread(run_stream, s).detach();
    return s;
}

OpPtr new_op(const StreamPtr& s, const char* kind) {
    auto o = std::make_shared<Op>();
    o->stream = s;
    o->kind = kind;
    o->site = here(s.get());
    return o;
}

// behind makes an operation wait for all that is queued in t.
static void behind(Op& o, const StreamPtr& t) {
    o.deps.push_back({t, t->issued});
    o.stream->clock.join(t->clock);
    o.stream->end_ns = std::max(o.stream->end_ns, t->end_ns);
}

// legacy_order makes the legacy stream and the blocking streams of a context wait for each other.
static int legacy_order(Op& o) {
    auto& s = o.stream;
    bool legacy = s == s->ctx->legacy;
    if (!legacy && !s->ordered_with_legacy()) return 0;
    if (legacy) s->clock.join(s->ctx->past_blocking);
    for (auto& t : S.all_streams) {
        if (t == s || t->ctx != s->ctx || !t->ordered_with_legacy()) continue;
        if (legacy && t->capture) {
            t->capture->invalid = true;
            violation("%s uses the legacy stream while stream %d, which waits for it, is being captured", o.site.text().c_str(), t->id);
            return CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
        }
        if (legacy || t == s->ctx->legacy) behind(o, t);
    }
    return 0;
}

static void on_time_line(Op& o, int64_t duration_ns, int engine) {
    auto& s = *o.stream;
    int64_t begin = std::max(S.host_ns, s.end_ns);
    if (engine >= 0) begin = std::max(begin, S.engine_ns[s.ctx->device][engine]);
    s.end_ns = o.end_ns = begin + duration_ns;
    if (engine >= 0) S.engine_ns[s.ctx->device][engine] = o.end_ns;
    if (!duration_ns || S.spans.size() >= 1 << 20) return;
    std::string label = o.site.detail.empty() ? o.site.function : o.site.detail;
    int64_t bytes = o.to_host + o.to_device;
    if (!bytes)
        for (auto& r : o.touches) bytes += r.write ? int64_t(r.hi - r.lo) : 0;
    S.spans.push_back({s.id, o.kind, label, bytes, S.host_ns, begin, o.end_ns});
}

int push(const OpPtr& o, int64_t duration_ns, int engine) {
    auto& s = o->stream;
    if (int c = capture_of(s.get())) return c > 0 ? 0 : int(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
    s->clock.join(S.host);
    if (int e = legacy_order(*o)) return e;
    o->clock_id = s->id;
    o->seq = ++s->issued;
    s->clock.raise(s->id, o->seq);
    o->clock = s->clock;
    o->submitted_us = now_us();
    on_time_line(*o, duration_ns, engine);
    if (S.calls % 16 == 0 || S.history.size() < 64) prune();
    race_check(o);
    s->queue.push_back(o);
    s->wake.notify_one();
    return 0;
}

void wait_for(Lock& lock, const StreamPtr& s, uint64_t seq) {
    S.progress.wait(lock, [&] {
        demand(s.get(), seq);
        return s->done >= seq;
    });
}

void wait_all(Lock& lock, Context* c) {
    auto all = S.running;
    for (auto& s : all)
        if (s->ctx == c) wait_for(lock, s, s->issued);
}

// poll is a query. In lazy mode the third one lets the work run, so that polling ends.
bool poll(Stream* s, uint64_t seq, int& polls) {
    if (s->done >= seq) return true;
    if (S.settings.mode == LAZY && ++polls >= 3) demand(s, seq);
    return false;
}

void learn(const VectorClock& c, int64_t at_ns) {
    S.host_ns = std::max(S.host_ns, at_ns);
    if (S.host.join(c)) unguard_done();
}

}  // namespace sc

using namespace sc;

static void excuse_stream(CUstream h) {
    if (S.streams.count(h)) excuse(reinterpret_cast<Stream*>(h));
}

API CUresult cuStreamCreateWithPriority(CUstream* h, unsigned flags, int priority) {
    ENTER(cuStreamCreateWithPriority, CONTEXT);
    if (!h || flags > CU_STREAM_NON_BLOCKING) return CUDA_ERROR_INVALID_VALUE;
    auto s = new_stream(current(), flags, std::max(-5, std::min(0, priority)));
    begin_object(s.get(), "stream", current());
    S.streams.insert(s.get());
    static auto& kept = *new std::vector<StreamPtr>;  // so that no handle is used twice
    kept.push_back(s);
    *h = reinterpret_cast<CUstream>(s.get());
    return CUDA_SUCCESS;
}
API CUresult cuStreamCreate(CUstream* h, unsigned flags) { return cuStreamCreateWithPriority(h, flags, 0); }
API CUresult cuStreamDestroy_v2(CUstream h) {
    ENTER_END(cuStreamDestroy, CONTEXT, excuse_stream(h));
    int e;
    auto s = find_stream(h, &e);
    if (!s || s == s->ctx->legacy) return CUDA_ERROR_INVALID_HANDLE;
    wrong_context(s.get());
    if (s->capture) {
        s->capture->invalid = true;
        violation("%s destroys stream %d while it is being captured", here().text().c_str(), s->id);
    }
    end_object(s.get());  // what is queued still runs
    s->ctx->past.join(s->clock);
    if (s->ordered_with_legacy()) s->ctx->past_blocking.join(s->clock);
    demand(s.get(), s->issued);
    S.all_streams.erase(std::find(S.all_streams.begin(), S.all_streams.end(), s));
    s->wake.notify_one();
    return CUDA_SUCCESS;
}
#define STREAM(name, need) \
    ENTER(name, need); \
    int e; \
    auto s = find_stream(h, &e); \
    if (!s) return CUresult(e)
API CUresult cuStreamGetPriority(CUstream h, int* p) {
    STREAM(cuStreamGetPriority, CONTEXT);
    *p = s->priority;
    return CUDA_SUCCESS;
}
API CUresult cuStreamGetFlags(CUstream h, unsigned* f) {
    STREAM(cuStreamGetFlags, CONTEXT);
    *f = s->flags;
    return CUDA_SUCCESS;
}
API CUresult cuStreamGetCtx(CUstream h, CUcontext* c) {
    STREAM(cuStreamGetCtx, CONTEXT);
    *c = reinterpret_cast<CUcontext>(s->ctx);
    return CUDA_SUCCESS;
}
// conflict answers a call that cannot be made on a stream that is being captured, whatever the thread's mode is.
static int conflict(Stream* s) {
    if (!capture_of(s)) return 0;
    s->capture->invalid = true;
    violation("%s on stream %d, which is being captured", here().text().c_str(), s->id);
    return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
}
API CUresult cuStreamSynchronize(CUstream h) {
    STREAM(cuStreamSynchronize, CONTEXT | UNSAFE);
    if (int c = conflict(s.get())) return CUresult(c);
    VectorClock clock = s->clock;
    int64_t end = s->end_ns;
    wait_for(lock, s, s->issued);
    learn(clock, end);
    return CUresult(s->ctx->lost);
}
API CUresult cuStreamQuery(CUstream h) {
    STREAM(cuStreamQuery, CONTEXT | UNSAFE);
    if (int c = conflict(s.get())) return CUresult(c);
    if (!poll(s.get(), s->issued, s->polls)) return CUDA_ERROR_NOT_READY;
    s->polls = 0;
    learn(s->clock, s->end_ns);
    return CUresult(s->ctx->lost);
}
API CUresult cuLaunchHostFunc(CUstream h, CUhostFn fn, void* user) {
    STREAM(cuLaunchHostFunc, CONTEXT);
    if (!fn) return CUDA_ERROR_INVALID_VALUE;
    if (wrong_context(s.get())) return CUDA_ERROR_INVALID_CONTEXT;
    auto op = new_op(s, "host");
    op->run = [fn, user](Op& o) {
        {
            Lock lock(S.mu);
            learn(o.clock, o.end_ns);  // the function may tell the program
        }
        fn(user);
        return 0;
    };
    return CUresult(push(op, 1000));
}
