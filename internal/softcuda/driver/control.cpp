// control.cpp: what tests ask of the driver. Found with dlsym; a real driver has none of it. See control.go.
#include <cstdlib>
#include <cstring>

#include "driver.h"

namespace sc {

Mode mode_of(const std::string& name);
void read_environment();

namespace {

const char* after(const std::string& command, const char* name) {
    return command.rfind(name, 0) == 0 ? command.c_str() + strlen(name) : nullptr;
}

void add_rule(const std::string& text) {  // name:nth:code
    auto a = text.find(':'), b = text.find(':', a + 1);
    if (a == std::string::npos || b == std::string::npos) return;
    S.rules.push_back({text.substr(0, a), atol(text.c_str() + a + 1), atol(text.c_str() + b + 1)});
}

void disarm() {
    S.held = false;
    S.rules.clear();
    S.fail_at = 0;
    wake_all();
}

void drain(Lock& lock) {
    for (auto* c : S.primary)
        if (c) wait_all(lock, c);
}

// settle ends what a test left, so that its objects can be closed.
void settle(Lock& lock) {
    disarm();
    drain(lock);
}

// revive makes a lost context new: what was in it is gone. References to it are still to be given back.
void revive(Context* c) {
    purge_device(c);
    purge_host(c);
    std::vector<Object*> rest;
    for (auto& [serial, o] : S.live)
        if (o->ctx == c && std::find(c->references.begin(), c->references.end(), o) == c->references.end()) rest.push_back(o);
    for (auto* o : rest) end_object(o);
    auto& all = S.all_streams;
    all.erase(std::remove_if(all.begin(), all.end(), [&](auto& s) { return s->ctx == c && s != c->legacy; }), all.end());
    c->lost = 0;
    wake_all();  // threads of streams that have ended
}

void reset(Lock& lock) {
    settle(lock);
    VectorClock all;
    for (auto& s : S.running) all.join(s->clock);
    learn(all, 0);
    unguard_range(0, UINT64_MAX);
    for (auto& h : S.history)
        if (h->done) S.host.raise(h->clock_id, h->seq);
    S.history.clear();
    S.host.clear();  // nothing is left that an order could be wanted with
    for (auto& s : S.running) S.host.raise(s->id, s->issued);
    for (auto& s : S.running) s->clock = S.host;
    for (auto* c : S.primary)
        if (c) {
            c->past.clear();
            c->past_blocking.clear();
            if (c->lost) revive(c);
        }
    for (auto& c : S.captures)
        for (auto* s : c->streams) s->capture = nullptr;
    S.captures.clear();
    Mode mode = S.settings.mode;
    S.settings = S.defaults;
    S.settings.mode = mode;
    S.violations.clear();
    S.counts.clear();
    S.countable = 0;
    S.spans.clear();
    S.to_host = S.to_device = 0;
    S.host_ns = 0;
    memset(S.engine_ns, 0, sizeof S.engine_ns);
    for (auto& s : S.all_streams) s->end_ns = 0;
}

// number_setting sets one by its name.
bool set_number(const std::string& c) {
    struct {
        const char* name;
        std::function<void(int64_t)> set;
    } all[] = {
        {"hold=", [](int64_t v) { S.held = v != 0; }},
        {"driver=", [](int64_t v) { S.settings.driver = int(v); }},
        {"capability=", [](int64_t v) { S.settings.capability = int(v); }},
        {"devices=", [](int64_t v) { S.settings.devices = int(std::max<int64_t>(0, std::min<int64_t>(8, v))); }},
        {"memory=", [](int64_t v) { S.settings.memory = size_t(v); }},
        {"pinned=", [](int64_t v) { S.settings.pinned = size_t(v); }},
        {"link=", [](int64_t v) { S.settings.link = std::max<int64_t>(1, v); }},
        {"unrecorded=", [](int64_t v) { S.settings.unrecorded = v != 0; }},
        {"mig=", [](int64_t v) { S.settings.mig = v != 0; }},
        {"pageable=", [](int64_t v) { S.settings.pageable = v != 0; }},
        {"lazyms=", [](int64_t v) { S.settings.lazy_ms = v; }},
    };
    for (auto& s : all)
        if (auto* v = after(c, s.name)) {
            s.set(strtoll(v, nullptr, 10));
            wake_all();
            return true;
        }
    return false;
}

int64_t pending() {
    int64_t n = 0;
    for (auto& s : S.running) n += int64_t(s->queue.size());
    return n;
}

std::string timeline() {
    std::string t;
    for (auto& s : S.spans)
        t += print("%d %s %ld %ld %ld %ld %s\n", s.stream, s.kind.c_str(), s.bytes, s.submitted, s.begin, s.end, s.label.c_str());
    return t;
}

}  // namespace

std::string leaks(uint64_t since) {
    std::string t;
    for (auto& [serial, o] : S.live) {
        if (serial <= since || o->excused) continue;
        t += std::string(o->type) + " by " + o->made.text() + "\n";
    }
    return t;
}

}  // namespace sc

using namespace sc;

API long long softcuda_ctl(const char* command) {
    Lock lock(S.mu);
    read_environment();
    at("a reset");
    std::string c = command;
    if (c == "mark") return int64_t(S.serials);
    if (c == "mode") return S.settings.mode;
    if (c == "reset") return reset(lock), 0;
    if (c == "settle") return settle(lock), 0;
    if (c == "totalcalls") return int64_t(S.countable);
    if (c == "tohost") return S.to_host;
    if (c == "todevice") return S.to_device;
    if (c == "pending") return pending();
    if (auto* v = after(c, "label=")) return S.label = v, 0;
    if (auto* v = after(c, "mode=")) return S.settings.mode = mode_of(v), wake_all(), 0;
    if (auto* v = after(c, "fail=")) return add_rule(v), 0;
    if (auto* v = after(c, "calls=")) return int64_t(S.counts[v]);
    if (auto* v = after(c, "failcall=")) {
        const char* colon = strchr(v, ':');
        S.fail_at = S.countable + strtoull(v, nullptr, 10);
        S.fail_code = colon ? atoi(colon + 1) : 0;
        return 0;
    }
    return set_number(c) ? 0 : -1;
}

// The caller frees the text.
API char* softcuda_text(const char* what) {
    Lock lock(S.mu);
    std::string c = what, t;
    if (c == "violations") {
        for (auto& v : S.violations) t += v + "\n";
        S.violations.clear();
    }
    if (c == "timeline") t = timeline();
    if (auto* since = after(c, "leaks ")) t = leaks(strtoull(since, nullptr, 10));
    return strdup(t.c_str());
}

// What every function that is not served answers.
API int softcuda_unsupported(const char* name) {
    Lock lock(S.mu);
    if (int e = enter(name, NOTHING)) return e;
    fprintf(stderr, "softcuda: %s is not served\n", name);
    return CUDA_ERROR_NOT_SUPPORTED;
}
