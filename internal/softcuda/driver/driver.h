// driver.h: what the files of the software driver share. One lock, mu, guards everything here but what a comment excepts.
#pragma once
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "abi.h"
#include "clock.h"
#include "kernel.h"

#define API extern "C" __attribute__((visibility("default")))
#define ALIAS(n, of) extern "C" __attribute__((alias(#of), visibility("default"))) decltype(of) n

namespace sc {

constexpr size_t PAGE = 4096;
constexpr unsigned char DEVICE_POISON = 0xA5, HOST_POISON = 0xC3, IN_FLIGHT = 0xEE, RED = 0xFB;

// ---- the program's calls ----

// Site is where something was submitted or made: enough to find the line, in a run that is repeated.
struct Site {
    const char* function = "";
    uint64_t call = 0;  // the number of the driver call
    int stream = -1;
    std::string detail, label;
    std::string text() const;
};

// Object is what a program makes and has to end.
struct Object {
    const char* type = "";
    Site made;
    struct Context* ctx = nullptr;
    uint64_t serial = 0;
    bool live = false;
    bool excused = false;  // its end was made to fail, so it is no leak
    Site ended;
};

struct Context : Object {
    int device = 0;
    unsigned flags = 0;
    bool primary = false;
    int lost = 0;                           // the sticky error
    std::vector<Object*> references;        // of a primary context
    std::shared_ptr<struct Stream> legacy;  // its stream 0
    VectorClock past, past_blocking;        // the work of streams that were destroyed
};

// ---- memory ----

struct Alloc : Object {
    enum Kind { DEVICE, HOST, REGISTERED, IMPORTED } kind = DEVICE;
    uint64_t base = 0;
    size_t bytes = 0, mapped = 0;  // asked for; and how much is mapped from at
    uint64_t at = 0;
    char* memory = nullptr;   // where the driver finds base
    uint8_t* known = nullptr; // a bit for each byte that was written
    int device = 0;
    unsigned flags = 0;
    bool foreign = false;      // of another process
    Alloc* origin = nullptr;  // of an imported one in this process
    int imports = 0;
    uint64_t limit() const { return base + bytes; }
};

struct Range {
    uint64_t lo, hi;
    bool write;
    bool overlaps(const Range& o) const { return lo < o.hi && o.lo < hi; }
};

// ---- streams ----

struct Op {
    std::shared_ptr<Stream> stream;
    int clock_id = 0;  // whose number seq is: the stream's, or one of its own for what stands outside of the order
    uint64_t seq = 0;
    const char* kind = "";
    Site site;
    std::function<int(Op&)> run;  // without mu
    std::vector<std::pair<std::shared_ptr<Stream>, uint64_t>> deps;
    std::vector<Range> touches;      // addresses of the origin, not of an import
    bool late = false;               // touches are known only when it runs
    bool demanded = false, done = false;
    VectorClock clock;               // what is done before it begins, and itself
    struct Event* waits = nullptr;
    int64_t submitted_us = 0;
    int64_t end_ns = 0;              // on the logical time line
    int64_t to_host = 0, to_device = 0;
};
using OpPtr = std::shared_ptr<Op>;

struct Capture {
    int mode;
    long thread;
    bool invalid = false;
    std::string why;
    Stream* origin;
    std::set<Stream*> streams;
};

struct Stream : Object {
    int id = 0;
    unsigned flags = 0;
    int priority = 0;
    uint64_t issued = 0, done = 0;
    int polls = 0;
    std::condition_variable wake;  // of its thread
    std::deque<OpPtr> queue;
    VectorClock clock;
    int64_t end_ns = 0;
    std::shared_ptr<Capture> capture;
    bool ordered_with_legacy() const { return !(flags & CU_STREAM_NON_BLOCKING); }
};
using StreamPtr = std::shared_ptr<Stream>;

struct Record {  // one cuEventRecord
    StreamPtr stream;
    uint64_t seq = 0;
    VectorClock clock;
    int64_t end_ns = 0;
};
struct Event : Object {
    unsigned flags = 0;
    int polls = 0;
    std::shared_ptr<Record> record;
    std::shared_ptr<Capture> captured;
};

struct Module : Object {
    std::map<std::string, std::vector<uint32_t>> entries;  // of the PTX: sizes of parameters
    std::vector<struct Function*> functions;
};
struct Function : Object {
    const softcuda::Kernel* kernel = nullptr;
    Module* module = nullptr;
};

// ---- state ----

enum Mode { EAGER, DELAYED, LAZY };

struct Settings {
    Mode mode = EAGER;
    uint64_t seed = 1;
    int64_t delay_us = 300, lazy_ms = 50;
    int driver = 13000, capability = 90, devices = 1;
    size_t memory = size_t(256) << 20, pinned = 0;
    int64_t link = 25'000'000'000;
    bool unrecorded = false, mig = false, trace = false, pageable = false;
};

struct Rule {  // a fault to inject
    std::string name;
    long nth, code, seen = 0;
};

struct Span {
    int stream;
    std::string kind, label;
    int64_t bytes, submitted, begin, end;
};

// State is made once and never destroyed, since threads of streams use it until the process ends.
struct State {
    std::mutex mu;
    std::condition_variable progress;  // something was done
    bool inited = false, held = false;
    Settings settings, defaults;
    std::mt19937_64 rng;
    uint64_t calls = 0, countable = 0, fail_at = 0;
    int fail_code = 0;
    std::map<std::string, uint64_t> counts;
    std::vector<Rule> rules;
    std::string label = "-";

    uint64_t serials = 0;
    std::map<uint64_t, Object*> live;
    std::set<void*> streams, events, modules, functions, links, contexts;  // handles, also of what has ended
    std::vector<StreamPtr> all_streams;                                    // that have not ended
    std::set<StreamPtr> running;                                           // that have a thread
    int stream_ids = 0;
    Context* primary[8] = {};

    std::map<uint64_t, Alloc*> device_memory, host_memory;
    std::map<uint64_t, Alloc*> ended_memory;  // what was there last
    size_t used[8] = {}, pinned = 0;

    VectorClock host;  // what the program knows to be done
    int64_t host_ns = 0, engine_ns[8][3] = {};
    std::deque<OpPtr> history;  // whose order with later ones is still open
    std::set<std::shared_ptr<Capture>> captures;
    std::vector<std::string> violations;
    std::vector<Span> spans;
    int64_t to_host = 0, to_device = 0;
};
extern State& S;
using Lock = std::unique_lock<std::mutex>;

// ---- report.cpp ----
__attribute__((format(printf, 1, 2))) void violation(const char* format, ...);
std::string print(const char* format, ...) __attribute__((format(printf, 1, 2)));

// ---- strict.cpp, control.cpp ----
void be_strict();  // from now on breaches and leaks are the exit status
std::string leaks(uint64_t since);

// ---- call.cpp ----
enum Need { NOTHING = 0, CONTEXT = 1, UNSAFE = 2, UNCOUNTED = 4, ENDS = 8 };
// enter is what every function does first, with mu held: count, trace, inject, check. The result other than 0 is the answer.
int enter(const char* function, int need);
void at(const char* what);             // instead of a call, for what the control does
Site here(const Stream* s = nullptr);  // the call under way on this thread
Context* current();
void lose(Context* c, int code);
bool sticky(int code);
// ended is enter for functions that end o: once it fails, or the device is lost, o is no leak.
#define ENTER(name, need) \
    Lock lock(S.mu); \
    if (int e_ = enter(#name, need)) return CUresult(e_)
#define ENTER_END(name, need, excuse) \
    Lock lock(S.mu); \
    if (int e_ = enter(#name, (need) | ENDS)) { \
        excuse; \
        return CUresult(e_); \
    }
long thread_id();
bool injected();  // the last enter of this thread failed by injection

// ---- objects.cpp ----
void begin_object(Object* o, const char* type, Context* c);
void end_object(Object* o);
void excuse(Object* o);  // of a call that failed to end it: it is no leak. With a lost context it is gone
StreamPtr find_stream(CUstream h, int* error);
Event* find_event(CUevent h, int* error);
template <class T> T* find_handle(std::set<void*>& set, void* h, const char* what, int* error);
bool wrong_context(const Object* o);  // reports that o is not of the current context

// ---- memory.cpp, pinned.cpp ----
bool is_device(uint64_t p);
uint64_t program_address(uint64_t p);  // the device address of a place of the driver's
char* follow(uint64_t p);              // where kernels find an address
Alloc* find_memory(std::map<uint64_t, Alloc*>& m, uint64_t p, uint64_t bytes);  // that holds the range whole
std::string describe(uint64_t p);                                               // what is or was at an address
uint64_t origin(const Alloc* a, uint64_t p);                                    // an address of an import, as its origin's
void mark_known(Alloc* a, uint64_t p, uint64_t bytes);
uint64_t first_unknown(Alloc* a, uint64_t p, uint64_t bytes);  // SIZE_MAX if there is none
void check_red(Alloc* a, const char* when, const Site& at);
bool device_init(int device);
void purge_device(const Context* c);  // what a lost context took with it
void purge_host(const Context* c);

// ---- hostmem.cpp: host memory that a queued operation uses is protected from the program ----
void guard(const OpPtr& op, uint64_t lo, uint64_t hi, bool write);
void unguard_done();                                 // what the program now knows to be done
void unguard_range(uint64_t lo, uint64_t hi);
void remember_freed(uint64_t lo, uint64_t hi, const Site& freed);
bool host_read(void* to, uint64_t from, size_t n);  // through protection
uint64_t checksum(const char* p, size_t n);
bool host_write(uint64_t to, const void* from, size_t n);
void install_handler();

// ---- streams.cpp ----
StreamPtr new_stream(Context* c, unsigned flags, int priority);
// push queues op. Under capture it is not queued, and the error may be told.
int push(const OpPtr& op, int64_t duration_ns = 0, int engine = -1);
OpPtr new_op(const StreamPtr& s, const char* kind);
void demand(Stream* s, uint64_t upto);
void wake_all();
void wait_for(Lock& lock, const StreamPtr& s, uint64_t seq);
void wait_all(Lock& lock, Context* c);
bool poll(Stream* s, uint64_t seq, int& polls);
void learn(const VectorClock& c, int64_t at_ns);  // the program knows c to be done

// ---- race.cpp ----
void tidy(std::vector<Range>& r);
void race_check(const OpPtr& op);
bool open_use(const Range& r, bool writes_only);  // something touches r that the program does not know to be done
const Op* user_of(const Range& r, bool writes_only);
void prune();
int check_known(Op& op);                                // reads of memory that nobody wrote
void now_known(Op& op);

// ---- truth.cpp ----
// Truth compares what a launch says it writes with what it writes. Both ends with mu held, begin without.
struct Truth {
    struct Piece {
        Range at;
        char* memory;
        std::vector<char> before;
    };
    std::vector<Piece> outside, inside;
    uint64_t seed = 0;
    void choose(const Op& op, const std::vector<uint64_t>& pointers);
    void begin(uint64_t seed);
    void check(const Op& op) const;
};

// ---- capture.cpp ----
int check_capture(const char* function);
int capture_of(Stream* s);  // 0 if the stream does not capture; else whether its capture is still good: 1, or -1
thread_local extern int capture_mode;

// ---- module.cpp, exec.cpp ----
const softcuda::Kernel* find_kernel(const std::string& name);
void* symbol(const char* name);
enum class Ran { OK, BAD_ADDRESS, BARRIER };
Ran run_kernel(const softcuda::Kernel* k, void** params, softcuda::Uint3 grid, softcuda::Uint3 block, uint64_t seed,
               uint64_t* address, std::string* why);
void exec_thread_init();
void exec_thread_end();
// exec_fault lets the kernel that this thread runs end, if one does; else false.
bool exec_fault(int signal, uint64_t address);

}  // namespace sc
