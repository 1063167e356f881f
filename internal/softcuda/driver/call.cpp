// call.cpp: what every call does first: it is counted, may be made to fail, and needs a context that works.
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdio>

#include "driver.h"

namespace sc {

thread_local std::vector<Context*> contexts_of_thread;
static thread_local const char* function_now = "";
static thread_local uint64_t call_now;
static thread_local bool was_injected;

long thread_id() { return syscall(SYS_gettid); }
bool injected() { return was_injected; }

Context* current() { return contexts_of_thread.empty() ? nullptr : contexts_of_thread.back(); }

void at(const char* what) { function_now = what; }

Site here(const Stream* s) {
    Site at;
    at.function = function_now;
    at.call = call_now;
    at.stream = s ? s->id : -1;
    at.label = S.label;
    return at;
}

bool sticky(int code) {
    switch (code) {
    case CUDA_ERROR_ECC_UNCORRECTABLE:
    case CUDA_ERROR_ILLEGAL_ADDRESS:
    case CUDA_ERROR_LAUNCH_TIMEOUT:
    case CUDA_ERROR_ASSERT:
    case CUDA_ERROR_HARDWARE_STACK_ERROR:
    case CUDA_ERROR_ILLEGAL_INSTRUCTION:
    case CUDA_ERROR_MISALIGNED_ADDRESS:
    case CUDA_ERROR_INVALID_ADDRESS_SPACE:
    case CUDA_ERROR_INVALID_PC:
    case CUDA_ERROR_LAUNCH_FAILED:
        return true;
    }
    return false;
}

void lose(Context* c, int code) {
    if (!c) c = S.primary[0];
    if (c && !c->lost) c->lost = code;
    wake_all();
}

static int inject(const char* function, int need) {
    int code = 0;
    if (!(need & UNCOUNTED) && S.fail_at && S.countable == S.fail_at) {
        code = S.fail_code;
        S.fail_at = 0;
    }
    for (auto& r : S.rules)
        if (r.name == function && (++r.seen == r.nth || r.nth == 0)) code = int(r.code);
    if (!code) return 0;
    was_injected = true;
    if (sticky(code)) lose(current(), code);
    return code;
}

int enter(const char* function, int need) {
    function_now = function;
    call_now = ++S.calls;
    was_injected = false;
    if (!(need & UNCOUNTED)) S.countable++;
    S.counts[function]++;
    if (S.settings.trace) fprintf(stderr, "softcuda: call %llu: %s\n", static_cast<unsigned long long>(S.calls), function);
    if (int e = inject(function, need)) return e;
    if (!S.inited) return CUDA_ERROR_NOT_INITIALIZED;
    Context* c = current();
    if (need & CONTEXT) {
        if (!c) return CUDA_ERROR_INVALID_CONTEXT;
        if (!c->live) return CUDA_ERROR_CONTEXT_IS_DESTROYED;
        if (c->lost) return c->lost;
    }
    return need & UNSAFE ? check_capture(function) : 0;
}

}  // namespace sc
