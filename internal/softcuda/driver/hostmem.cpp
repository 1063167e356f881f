// hostmem.cpp: catches the program when it touches host memory that the device may be using.
//
// The whole pages of a copy's host side are taken from the program until it has waited for the copy: those that are written
// lose all access, those that are read become read-only. The driver itself reads and writes them by way of /proc/self/mem. A
// program that touches them all the same faults; the handler tells of it, gives the pages back, and lets it go on.
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include <cstring>

#include "driver.h"

namespace sc {

namespace {
struct Guard {
    uint64_t lo, hi;
    bool write;
    OpPtr op;
};
struct Freed {
    uint64_t lo, hi;
    Site by;
};
auto& guards = *new std::vector<Guard>;
auto& freed = *new std::deque<Freed>;  // the latest
constexpr size_t MOST_FREED = 4096;
struct sigaction old_segv, old_bus;
thread_local bool in_handler;

int memory_file() {
    static int fd = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
    return fd;
}

// protect gives a range the strictest protection that its guards want.
void protect(uint64_t lo, uint64_t hi) {
    std::vector<uint64_t> cuts{lo, hi};
    for (auto& g : guards)
        for (uint64_t p : {g.lo, g.hi})
            if (p > lo && p < hi) cuts.push_back(p);
    std::sort(cuts.begin(), cuts.end());
    for (size_t i = 0; i + 1 < cuts.size(); i++) {
        if (cuts[i] == cuts[i + 1]) continue;
        int prot = PROT_READ | PROT_WRITE;
        for (auto& g : guards)
            if (g.lo <= cuts[i] && g.hi >= cuts[i + 1]) prot = g.write ? PROT_NONE : prot & PROT_READ;
        mprotect(reinterpret_cast<void*>(cuts[i]), cuts[i + 1] - cuts[i], prot);
    }
}

template <class Condition> void drop(Condition done) {
    std::vector<std::pair<uint64_t, uint64_t>> gone;
    for (auto& g : guards)
        if (done(g)) gone.push_back({g.lo, g.hi});
    if (gone.empty()) return;
    guards.erase(std::remove_if(guards.begin(), guards.end(), done), guards.end());
    for (auto& [lo, hi] : gone) protect(lo, hi);
}

// touched tells of a program's access at pc, and makes it possible. False if the address is none of ours.
bool touched(uint64_t p, uint64_t pc, bool write, bool kernel) {
    for (auto& g : guards) {
        if (p < g.lo || p >= g.hi) continue;
        OpPtr op = g.op;
        if (!kernel)
            violation("the host %s pinned memory at %#lx, at pc=%#lx, that %s %s: nothing waited for it",
                      write ? "writes" : "reads", p, pc, op->site.text().c_str(), g.write ? "writes" : "reads");
        drop([&](const Guard& x) { return x.op == op; });
        return true;
    }
    for (auto& f : freed) {
        if (p < f.lo || p >= f.hi) continue;
        violation("the host %s pinned memory at %#lx, at pc=%#lx, that %s freed", write ? "writes" : "reads", p, pc,
                  f.by.text().c_str());
        mprotect(reinterpret_cast<void*>(f.lo), f.hi - f.lo, PROT_READ | PROT_WRITE);
        memset(reinterpret_cast<void*>(f.lo), HOST_POISON, f.hi - f.lo);
        f.hi = f.lo;
        return true;
    }
    if (is_device(p)) fprintf(stderr, "softcuda: the host follows device address %#lx\n", p);
    return false;
}

void on_fault(int signal, siginfo_t* info, void* context) {
    uint64_t p = uint64_t(uintptr_t(info->si_addr)), pc = 0;
    bool write = false;
#if defined(__x86_64__)
    auto* u = static_cast<ucontext_t*>(context);
    pc = uint64_t(u->uc_mcontext.gregs[REG_RIP]);
    write = u->uc_mcontext.gregs[REG_ERR] & 2;
#elif defined(__aarch64__)
    pc = static_cast<ucontext_t*>(context)->uc_mcontext.pc;
#endif
    if (!in_handler) {
        in_handler = true;
        // The fault is the program's own, outside of the driver, so the lock is at most another thread's.
        bool locked = false;
        for (int i = 0; i < 100000 && !(locked = S.mu.try_lock()); i++) sched_yield();
        bool mine = locked && touched(p, pc, write, exec_fault(0, p));
        if (locked) S.mu.unlock();
        in_handler = false;
        if (mine || exec_fault(signal, p)) return;
        struct sigaction& old = signal == SIGBUS ? old_bus : old_segv;
        if (old.sa_flags & SA_SIGINFO && old.sa_sigaction && old.sa_sigaction != on_fault) {
            in_handler = true;  // one that hands the fault back to us has none of its own
            old.sa_sigaction(signal, info, context);
            in_handler = false;
            return;
        }
    }
    ::signal(signal, SIG_DFL);
}
}  // namespace

// The Go runtime installs its own handlers when it starts, so this comes after, and hands on what is not ours.
void install_handler() {
    for (int sig : {SIGSEGV, SIGBUS}) {
        struct sigaction now;
        sigaction(sig, nullptr, &now);
        if (now.sa_flags & SA_SIGINFO && now.sa_sigaction == on_fault) continue;
        (sig == SIGBUS ? old_bus : old_segv) = now;
        struct sigaction sa = {};
        sa.sa_sigaction = on_fault;
        sa.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
        sa.sa_mask = now.sa_mask;
        sigaction(sig, &sa, nullptr);
    }
}

void guard(const OpPtr& op, uint64_t lo, uint64_t hi, bool write) {
    Alloc* a = find_memory(S.host_memory, lo, hi - lo);
    if (!a) return;
    lo = (lo + PAGE - 1) / PAGE * PAGE;
    hi = a->kind == Alloc::HOST && hi == a->limit() ? a->base + a->mapped : hi / PAGE * PAGE;
    if (lo >= hi) return;
    install_handler();
    guards.push_back({lo, hi, write, op});
    protect(lo, hi);
}

void unguard_done() {
    drop([](const Guard& g) { return S.host.at(g.op->clock_id) >= g.op->seq; });
}
void unguard_range(uint64_t lo, uint64_t hi) {
    drop([&](const Guard& g) { return g.lo < hi && lo < g.hi; });
}

void remember_freed(uint64_t lo, uint64_t hi, const Site& by) {
    freed.push_back({lo, hi, by});
    if (freed.size() > MOST_FREED) freed.pop_front();
}

uint64_t checksum(const char* p, size_t n) {
    uint64_t h = 1469598103934665603u, v;
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        memcpy(&v, p + i, 8);
        h = (h ^ v) * 1099511628211u;
        h ^= h >> 29;
    }
    for (; i < n; i++) h = (h ^ uint8_t(p[i])) * 1099511628211u;
    return h;
}

// Both fail where the mapping is shared: it cannot be reached through its protection.
bool host_read(void* to, uint64_t from, size_t n) {
    for (size_t done = 0; done < n;) {
        ssize_t got = pread(memory_file(), static_cast<char*>(to) + done, n - done, off_t(from + done));
        if (got <= 0) return false;
        done += size_t(got);
    }
    return true;
}
bool host_write(uint64_t to, const void* from, size_t n) {
    for (size_t done = 0; done < n;) {
        ssize_t put = pwrite(memory_file(), static_cast<const char*>(from) + done, n - done, off_t(to + done));
        if (put <= 0) return false;
        done += size_t(put);
    }
    return true;
}

}  // namespace sc
