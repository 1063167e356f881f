// exec.cpp: blocks, fibers, barriers and warp operations. A block runs whole on one thread of the process; in a kernel with
// barriers each CUDA thread is a fiber, and fibers go on in random order between barriers.
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "driver.h"
#ifndef __x86_64__
#include <ucontext.h>
#endif

namespace sc {
namespace {

constexpr size_t STACK = 64 << 10;
enum State : char { RUN, AT_BLOCK, AT_WARP, DONE };

#ifdef __x86_64__
struct Fiber {
    void* sp;
};
extern "C" void softcuda_switch(void** save, void* to);
asm(R"(
.text
.type softcuda_switch, @function
softcuda_switch:
    pushq %rbp; pushq %rbx; pushq %r12; pushq %r13; pushq %r14; pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15; popq %r14; popq %r13; popq %r12; popq %rbx; popq %rbp
    ret
.size softcuda_switch, .-softcuda_switch
)");
void start_fiber(Fiber& f, char* stack, void (*fn)()) {
    void** sp = reinterpret_cast<void**>(stack + STACK) - 1;
    *--sp = reinterpret_cast<void*>(fn);  // fn finds the stack 8 below a multiple of 16, as after a call
    for (int i = 0; i < 6; i++) *--sp = nullptr;
    f.sp = sp;
}
void switch_fiber(Fiber& from, Fiber& to) { softcuda_switch(&from.sp, to.sp); }
#else
struct Fiber {
    ucontext_t u;
};
void start_fiber(Fiber& f, char* stack, void (*fn)()) {
    getcontext(&f.u);
    f.u.uc_stack.ss_sp = stack;
    f.u.uc_stack.ss_size = STACK;
    f.u.uc_link = nullptr;
    makecontext(&f.u, fn, 0);
}
void switch_fiber(Fiber& from, Fiber& to) { swapcontext(&from.u, &to.u); }
#endif

struct Block {
    std::vector<Fiber> fibers;
    std::vector<State> state;
    std::vector<uint64_t> shown;  // by each lane to its warp
    Fiber main;
    size_t running = 0;
    const softcuda::Kernel* kernel = nullptr;
    void** params = nullptr;
};
thread_local Block* block;
thread_local softcuda::Dims dims;
thread_local sigjmp_buf* fault;
thread_local uint64_t fault_address;

// Stacks are used again from block to block, and when a thread ends by the next one. A process maps only so many pieces of
// memory, and mapping costs more than most kernels.
struct Spare {
    std::mutex mu;
    std::vector<char*> stacks;
};
Spare& spare = *new Spare;

char* new_stack() {
    {
        std::lock_guard<std::mutex> g(spare.mu);
        if (!spare.stacks.empty()) {
            char* s = spare.stacks.back();
            spare.stacks.pop_back();
            return s;
        }
    }
    void* m = mmap(nullptr, PAGE + STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (m == MAP_FAILED) abort();
    mprotect(m, PAGE, PROT_NONE);
    return static_cast<char*>(m) + PAGE;
}
struct Stacks {
    std::vector<char*> all;
    ~Stacks() {
        std::lock_guard<std::mutex> g(spare.mu);
        spare.stacks.insert(spare.stacks.end(), all.begin(), all.end());
    }
};
char* stack_of(size_t t) {
    static thread_local Stacks pool;
    while (pool.all.size() <= t) pool.all.push_back(new_stack());
    return pool.all[t];
}
void set_thread(size_t t) {
    unsigned x = dims.bdim.x, y = dims.bdim.y;
    dims.tid = {unsigned(t % x), unsigned(t / x % y), unsigned(t / x / y)};
}
void fiber_main() {
    Block* b = block;
    b->kernel->call(b->params);
    b->state[b->running] = DONE;
    switch_fiber(b->fibers[b->running], b->main);
    abort();
}

// release lets the waiters of complete barriers go on: those at which all wait that are alive in their scope.
bool release(Block& b) {
    bool any = false;
    size_t n = b.state.size(), alive = 0, at_block = 0;
    for (size_t w = 0; w < n; w += 32) {
        size_t end = std::min(n, w + 32), live = 0, waiting = 0;
        for (size_t t = w; t < end; t++) {
            live += b.state[t] != DONE;
            waiting += b.state[t] == AT_WARP;
            at_block += b.state[t] == AT_BLOCK;
        }
        alive += live;
        if (!waiting || waiting != live) continue;
        any = true;
        for (size_t t = w; t < end; t++)
            if (b.state[t] == AT_WARP) b.state[t] = RUN;
    }
    if (!at_block || at_block != alive) return any;
    for (auto& s : b.state)
        if (s == AT_BLOCK) s = RUN;
    return true;
}

bool run_fibers(Block& b, size_t n, std::mt19937_64& rng) {
    b.fibers.resize(n);
    b.state.assign(n, RUN);
    b.shown.assign(n, 0);
    std::vector<size_t> order(n);
    for (size_t t = 0; t < n; t++) {
        start_fiber(b.fibers[t], stack_of(t), fiber_main);
        order[t] = t;
    }
    do {
        std::shuffle(order.begin(), order.end(), rng);
        for (size_t t : order) {
            if (b.state[t] != RUN) continue;
            b.running = t;
            set_thread(t);
            switch_fiber(b.main, b.fibers[t]);
        }
    } while (release(b));
    return std::all_of(b.state.begin(), b.state.end(), [](State s) { return s == DONE; });
}

std::string who_waits(const Block& b) {
    size_t at_block = size_t(std::count(b.state.begin(), b.state.end(), AT_BLOCK)),
           at_warp = size_t(std::count(b.state.begin(), b.state.end(), AT_WARP));
    return print("in block (%u,%u,%u) %zu threads wait at __syncthreads and %zu at a warp barrier that the others never reach",
                 dims.bid.x, dims.bid.y, dims.bid.z, at_block, at_warp);
}

bool run_block(Block& b, size_t threads, std::mt19937_64& rng) {
    if (b.kernel->sync) {
        block = &b;
        bool done = run_fibers(b, threads, rng);
        block = nullptr;
        return done;
    }
    for (size_t t = 0; t < threads; t++) {
        set_thread(t);
        b.kernel->call(b.params);
    }
    return true;
}

}  // namespace

constexpr size_t SIGNAL_STACK = 64 << 10;
static thread_local void* signal_stack;

void exec_thread_init() {  // a stack for the handler of faults
    stack_t s = {};
    signal_stack = mmap(nullptr, SIGNAL_STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    s.ss_size = SIGNAL_STACK;
    s.ss_sp = signal_stack;
    sigaltstack(&s, nullptr);
}
void exec_thread_end() {
    stack_t s = {};
    s.ss_flags = SS_DISABLE;
    sigaltstack(&s, nullptr);
    munmap(signal_stack, SIGNAL_STACK);
}

bool exec_fault(int signal, uint64_t address) {
    if (!fault || !signal) return fault != nullptr;
    fault_address = address;
    siglongjmp(*fault, 1);
}

Ran run_kernel(const softcuda::Kernel* k, void** params, softcuda::Uint3 g, softcuda::Uint3 b, uint64_t seed, uint64_t* address,
               std::string* why) {
    static thread_local Block one;
    std::mt19937_64 rng(seed);
    size_t blocks = size_t(g.x) * g.y * g.z, threads = size_t(b.x) * b.y * b.z;
    std::vector<size_t> order(blocks);
    for (size_t i = 0; i < blocks; i++) order[i] = i;
    std::shuffle(order.begin(), order.end(), rng);
    sigjmp_buf jump;
    if (sigsetjmp(jump, 1)) {
        fault = nullptr;
        block = nullptr;
        *address = fault_address;
        return Ran::BAD_ADDRESS;
    }
    fault = &jump;
    one.kernel = k;
    one.params = params;
    dims.gdim = g;
    dims.bdim = b;
    Ran ran = Ran::OK;
    for (size_t i : order) {
        dims.bid = {unsigned(i % g.x), unsigned(i / g.x % g.y), unsigned(i / g.x / g.y)};
        if (run_block(one, threads, rng)) continue;
        *why = who_waits(one);
        ran = Ran::BARRIER;
        break;
    }
    fault = nullptr;
    return ran;
}

}  // namespace sc

using namespace sc;

API softcuda::Dims* softcuda_dims() { return &dims; }
API void softcuda_barrier(int warp) {
    Block* b = block;
    if (!b) {
        fprintf(stderr, "softcuda: a kernel with barriers is registered without SYNC\n");
        abort();
    }
    b->state[b->running] = warp ? AT_WARP : AT_BLOCK;
    switch_fiber(b->fibers[b->running], b->main);
}
// exchange shows a value to the warp, and gives the place where lane 0's lies. Each use is followed by a second barrier.
static size_t show(uint64_t v) {
    if (!block) softcuda_barrier(1);
    block->shown[block->running] = v;
    softcuda_barrier(1);
    return block->running & ~size_t(31);
}
API uint64_t softcuda_shuffle(uint64_t v, unsigned arg, int how) {
    size_t base = show(v);
    unsigned lane = unsigned(block->running & 31);
    unsigned from = how == 0 ? arg & 31 : how == 1 ? lane - arg : how == 2 ? lane + arg : lane ^ arg;
    uint64_t got = from < 32 && base + from < block->shown.size() ? block->shown[base + from] : v;
    softcuda_barrier(1);
    return got;
}
API unsigned softcuda_ballot(int p) {
    size_t base = show(p != 0);
    unsigned m = 0;
    for (size_t l = 0; l < 32 && base + l < block->shown.size(); l++)
        if (block->state[base + l] != DONE && block->shown[base + l]) m |= 1u << l;
    softcuda_barrier(1);
    return m;
}
API unsigned softcuda_count(int p) {
    if (!block) softcuda_barrier(0);
    block->shown[block->running] = p != 0;
    softcuda_barrier(0);
    unsigned n = 0;
    for (size_t t = 0; t < block->shown.size(); t++) n += block->state[t] != DONE && block->shown[t];
    softcuda_barrier(0);
    return n;
}
