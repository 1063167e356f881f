// strict.cpp: SOFTCUDA_STRICT=1 makes breaches and leaks the exit status of a process, for programs that tests start.
//
// A Go program ends by a system call of its own and runs nothing that was registered with exit(3), unless it has the race
// detector. So the function of Go's runtime that makes this call is found in the program, and begins with a jump to here.
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "driver.h"

namespace sc {

namespace {

constexpr int UNCLEAN = 97;
std::atomic<bool> ending;

// verdict is the exit status of a program that would end with code. Breaches were told when they happened.
int verdict(int code) {
    Lock lock(S.mu, std::defer_lock);
    for (int i = 0; i < 5000 && !lock.try_lock(); i++) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    if (!lock) {
        fprintf(stderr, "softcuda: strict: the driver was busy for 5 s at the end: not looked at\n");
        return UNCLEAN;
    }
    std::string left = leaks(0);
    for (size_t at = 0, end; (end = left.find('\n', at)) != std::string::npos; at = end + 1)
        fprintf(stderr, "softcuda: LEAK: %s\n", left.substr(at, end - at).c_str());
    if (left.empty() && S.violations.empty()) return code;
    fprintf(stderr, "softcuda: strict: %zu violations; the exit status is %d instead of %d\n", S.violations.size(), UNCLEAN, code);
    return UNCLEAN;
}

void at_exit() {
    if (ending.exchange(true)) return;
    if (int code = verdict(0)) {
        fflush(nullptr);
        _exit(code);
    }
}

#ifdef __x86_64__
constexpr size_t STACK = 256 << 10;
// Of Go's runtime.exit: mov 8(%rsp),%edi; mov $231,%eax; syscall; ret.
constexpr unsigned char EXIT[12] = {0x8b, 0x7c, 0x24, 0x08, 0xb8, 0xe7, 0, 0, 0, 0x0f, 0x05, 0xc3};

// A goroutine's stack is too small for what follows; the first thread to end the process gets one.
extern "C" char* softcuda_exit_stack;
extern "C" void softcuda_exit(int code);
extern "C" void softcuda_exit_entry();
asm(R"(
.text
.type softcuda_exit_entry, @function
softcuda_exit_entry:
    movl 8(%rsp), %edi
    xorl %eax, %eax
    xchgq %rax, softcuda_exit_stack(%rip)
    testq %rax, %rax
    jz 1f
    movq %rax, %rsp
    call softcuda_exit
1:  pause
    jmp 1b
.size softcuda_exit_entry, .-softcuda_exit_entry
)");
extern "C" {
__attribute__((visibility("hidden"))) char* softcuda_exit_stack;
__attribute__((visibility("hidden"))) void softcuda_exit(int code) {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, nullptr);
    _exit(ending.exchange(true) ? code : verdict(code));
}
}

// exits_of_go finds the function in the program's code.
std::vector<char*> exits_of_go() {
    std::vector<char*> found;
    char self[4096] = {}, line[4608];
    if (readlink("/proc/self/exe", self, sizeof self - 1) < 0) return found;
    FILE* maps = fopen("/proc/self/maps", "r");
    while (maps && fgets(line, sizeof line, maps)) {
        unsigned long lo, hi;
        char rights[8];
        if (sscanf(line, "%lx-%lx %7s", &lo, &hi, rights) != 3 || strcmp(rights, "r-xp") || !strstr(line, self)) continue;
        char *p = reinterpret_cast<char*>(lo), *end = reinterpret_cast<char*>(hi);
        for (; (p = static_cast<char*>(memmem(p, size_t(end - p), EXIT, sizeof EXIT))); p++) found.push_back(p);
    }
    if (maps) fclose(maps);
    return found;
}

bool hook_go() {
    auto found = exits_of_go();
    void* stack = mmap(nullptr, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (found.size() != 1 || stack == MAP_FAILED) return false;
    softcuda_exit_stack = static_cast<char*>(stack) + STACK;
    unsigned char jump[12] = {0x48, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xe0};  // movabs $entry,%rax; jmp *%rax
    auto entry = &softcuda_exit_entry;
    memcpy(jump + 2, &entry, 8);
    int fd = open("/proc/self/mem", O_RDWR | O_CLOEXEC);  // writes through the protection, as debuggers do
    bool ok = fd >= 0 && pwrite(fd, jump, sizeof jump, off_t(uintptr_t(found[0]))) == ssize_t(sizeof jump);
    if (fd >= 0) close(fd);
    return ok;
}
#else
bool hook_go() { return false; }
#endif

}  // namespace

void be_strict() {
    atexit(at_exit);
    if (!hook_go()) fprintf(stderr, "softcuda: strict: only an end by exit(3) is watched: no Go runtime for x86-64 is here\n");
}

}  // namespace sc
