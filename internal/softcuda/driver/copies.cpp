// copies.cpp: copies and fills. What a copy does to host memory from its submission to its end is made visible.
#include <cstring>

#include "driver.h"

namespace sc {
namespace {

enum Want { HOST_SIDE, DEVICE_SIDE, EITHER };
enum Engine { TO_HOST, TO_DEVICE, INSIDE };

struct Side {
    bool device = false, pinned = false;
    uint64_t p = 0;         // as the program says it; of device memory as its origin does
    char* memory = nullptr; // of device memory, and of memory that is not pinned
};

struct Piece {
    Side to, from;
    size_t bytes;
    std::shared_ptr<std::vector<char>> staged;  // the source, read at submission
    bool poisoned = false, summed = false;
    uint64_t sum = 0;
};

struct Plan {  // a copy or a batch of them
    OpPtr op;
    std::vector<Piece> pieces;
    bool waits = false;  // with memory that is not pinned a copy is done when the call returns
    size_t longest = 0;
};

int no_memory(uint64_t p, size_t n, const char* which, const Op& op) {
    violation("%s: its %s [%#lx,%#lx) is outside of memory: %s", op.site.text().c_str(), which, p, p + n, describe(p).c_str());
    return CUDA_ERROR_INVALID_VALUE;
}

int device_side(uint64_t p, size_t n, const char* which, const Op& op, Side& out) {
    Alloc* a = find_memory(S.device_memory, p, n);
    if (!a) return no_memory(p, n, which, op);
    if (a->device != op.stream->ctx->device) {
        violation("%s: its %s is device memory of device %d, by %s", op.site.text().c_str(), which, a->device,
                  a->made.text().c_str());
        return CUDA_ERROR_INVALID_VALUE;
    }
    out.device = true;
    out.p = origin(a, p);
    out.memory = a->memory + (p - a->base);
    return 0;
}

int side(uint64_t p, size_t n, Want want, const char* which, bool async, const Op& op, Side& out) {
    if (p + n < p) return CUDA_ERROR_INVALID_VALUE;
    if (is_device(p)) return want == HOST_SIDE ? no_memory(p, n, which, op) : device_side(p, n, which, op, out);
    if (want == DEVICE_SIDE) return no_memory(p, n, which, op);
    out.p = p;
    out.memory = reinterpret_cast<char*>(uintptr_t(p));
    out.pinned = find_memory(S.host_memory, p, n);
    if (out.pinned) return 0;
    for (auto& [base, a] : S.host_memory)
        if (base < p + n && p < a->limit()) {
            violation("%s: its %s [%#lx,%#lx) is only partly in pinned memory, or in two pieces: %s", op.site.text().c_str(), which, p,
                      p + n, describe(p).c_str());
            return CUDA_ERROR_INVALID_VALUE;
        }
    for (auto& [base, a] : S.ended_memory)
        if (base < p + n && p < a->limit() && a->kind == Alloc::HOST) return no_memory(p, n, which, op);
    if (async && !S.settings.pageable) violation("%s: its %s %#lx is host memory that is not pinned", op.site.text().c_str(), which, p);
    return 0;
}

// early reads a source before the copy's turn, as orders other than the stream's allow.
void early(Plan& plan, Piece& piece, unsigned order) {
    Range read{piece.from.p, piece.from.p + piece.bytes, false};
    if (order == CU_MEMCPY_SRC_ACCESS_ORDER_ANY) {
        auto before = std::make_shared<Op>(*plan.op);  // an operation of its own, with no order after the stream's
        before->clock_id = ++S.stream_ids;
        before->seq = 1;
        before->clock = S.host;
        before->clock.raise(before->clock_id, 1);
        before->touches = {read};
        before->done = true;
        before->site.detail += "the source of a copy that may be read at any time";
        race_check(before);
        plan.op->stream->clock.raise(before->clock_id, 1);
    } else if (auto* op = user_of(read, true)) {
        violation("%s reads [%#lx,%#lx) during the call, and %s writes it", plan.op->site.text().c_str(), read.lo, read.hi,
                  op->site.text().c_str());
    }
    piece.staged = std::make_shared<std::vector<char>>(piece.bytes);
    if (piece.from.pinned && host_read(piece.staged->data(), piece.from.p, piece.bytes)) return;
    if (piece.from.pinned) unguard_range(piece.from.p, piece.from.p + piece.bytes);
    memcpy(piece.staged->data(), piece.from.memory, piece.bytes);
}

// add checks one copy and says what it does when it runs.
int add(Plan& plan, uint64_t to, Want tw, uint64_t from, Want fw, size_t n, bool async, unsigned order) {
    Piece piece{{}, {}, n, nullptr, false, false, 0};
    Op& op = *plan.op;
    if (int e = side(to, n, tw, "destination", async, op, piece.to)) return e;
    if (int e = side(from, n, fw, "source", async, op, piece.from)) return e;
    Range writes{piece.to.p, piece.to.p + n, true}, reads{piece.from.p, piece.from.p + n, false};
    bool pageable_source = !piece.from.device && !piece.from.pinned;
    if (pageable_source) order = CU_MEMCPY_SRC_ACCESS_ORDER_DURING_API_CALL;
    if (order != CU_MEMCPY_SRC_ACCESS_ORDER_STREAM) {
        early(plan, piece, order);
    } else {
        op.touches.push_back(reads);
    }
    op.touches.push_back(writes);
    if (piece.to.device && !piece.from.device) op.to_device += int64_t(n);
    if (!piece.to.device && piece.from.device) op.to_host += int64_t(n);
    plan.waits |= !piece.to.device && !piece.to.pinned;
    plan.longest = std::max(plan.longest, n);
    plan.pieces.push_back(std::move(piece));
    return 0;
}

// watch makes visible what the program does to host memory while the copy is in flight. What other work may still use is left.
void watch(Piece& p) {
    Range writes{p.to.p, p.to.p + p.bytes, true}, reads{p.from.p, p.from.p + p.bytes, false};
    if (p.from.pinned && !p.staged && !open_use(reads, true)) {
        p.summed = true;
        p.sum = checksum(p.from.memory, p.bytes);
    }
    if (p.to.pinned && !open_use(writes, false)) {
        p.poisoned = true;
        memset(p.to.memory, IN_FLIGHT, p.bytes);
    }
}

// A mapping that is shared cannot be reached through its protection, and is given back for it.
void read_pinned(void* to, uint64_t from, size_t n) {
    if (host_read(to, from, n)) return;
    {
        Lock lock(S.mu);
        unguard_range(from, from + n);
    }
    memcpy(to, reinterpret_cast<void*>(from), n);
}
void write_pinned(uint64_t to, const void* from, size_t n) {
    if (host_write(to, from, n)) return;
    {
        Lock lock(S.mu);
        unguard_range(to, to + n);
    }
    memcpy(reinterpret_cast<void*>(to), from, n);
}

void to_pinned(const Op& op, const Piece& p, const char* from) {
    std::vector<char> now(std::min<size_t>(p.bytes, 1 << 16));
    for (size_t i = 0; p.poisoned && i < p.bytes; i += now.size()) {
        size_t n = std::min(now.size(), p.bytes - i);
        read_pinned(now.data(), p.to.p + i, n);
        auto bad = std::find_if(now.begin(), now.begin() + long(n), [](char c) { return uint8_t(c) != IN_FLIGHT; });
        if (bad == now.begin() + long(n)) continue;
        Lock lock(S.mu);
        violation("the host wrote %#lx, where %s was to write: nothing waited for it", p.to.p + i + size_t(bad - now.begin()),
                  op.site.text().c_str());
        break;
    }
    write_pinned(p.to.p, from, p.bytes);
}

void run_piece(const Op& op, const Piece& p, std::vector<char>& buffer) {
    const char* from = p.staged ? p.staged->data() : p.from.memory;
    if (!p.staged && p.from.pinned) {
        char* to = p.to.device ? p.to.memory : buffer.data();
        read_pinned(to, p.from.p, p.bytes);
        from = to;
    }
    if (p.summed && checksum(from, p.bytes) != p.sum) {
        Lock lock(S.mu);
        violation("the host changed [%#lx,%#lx), the source of %s: nothing waited for it", p.from.p, p.from.p + p.bytes,
                  op.site.text().c_str());
    }
    if (p.to.pinned)
        to_pinned(op, p, from);
    else if (from != p.to.memory)
        memmove(p.to.memory, from, p.bytes);
}

// submit queues a plan, and waits for it where the call does.
CUresult submit(Lock& lock, Plan& plan, bool async) {
    OpPtr op = plan.op;
    auto s = op->stream;
    int64_t link = std::max<int64_t>(1, S.settings.link), bytes = op->to_host + op->to_device;
    int engine = op->to_host ? TO_HOST : op->to_device ? TO_DEVICE : INSIDE;
    for (auto& r : op->touches)
        if (!bytes && r.write) bytes += int64_t(r.hi - r.lo) / 20;
    auto pieces = std::make_shared<std::vector<Piece>>(std::move(plan.pieces));
    if (async && !s->capture)
        for (auto& p : *pieces) watch(p);
    size_t longest = plan.longest;
    op->run = [pieces, longest](Op& o) {
        std::vector<char> buffer(longest);
        for (auto& p : *pieces) run_piece(o, p, buffer);
        return 0;
    };
    auto nanoseconds = int64_t(double(bytes) * 1e9 / double(link)) + 2000;
    if (int e = push(op, nanoseconds, engine)) return CUresult(e);
    if (s->capture) return CUDA_SUCCESS;
    if (async)
        for (auto& r : op->touches)
            if (!is_device(r.lo)) guard(op, r.lo, r.hi, r.write);
    if (async && !plan.waits) return CUDA_SUCCESS;
    wait_for(lock, s, op->seq);
    learn(op->clock, op->end_ns);
    return CUresult(s->ctx->lost);
}

CUresult copy(Lock& lock, uint64_t to, Want tw, uint64_t from, Want fw, size_t n, CUstream h, bool async) {
    int e;
    auto s = find_stream(h, &e);
    if (!s) return CUresult(e);
    if (wrong_context(s.get())) return CUDA_ERROR_INVALID_CONTEXT;
    if (!n) return CUDA_SUCCESS;
    Plan plan;
    plan.op = new_op(s, "copy");
    if (int r = add(plan, to, tw, from, fw, n, async && !s->capture, CU_MEMCPY_SRC_ACCESS_ORDER_STREAM)) return CUresult(r);
    return submit(lock, plan, async);
}

// overlaps tells of copies of one batch that touch the same bytes, since they run in any order.
void overlaps(const Op& op) {
    auto sorted = op.touches;
    std::sort(sorted.begin(), sorted.end(), [](const Range& a, const Range& b) { return a.lo < b.lo; });
    uint64_t written = 0, read = 0;
    for (auto& r : sorted) {
        if (r.lo < written || (r.write && r.lo < read)) {
            violation("copies of one batch overlap at %#lx: %s", r.lo, op.site.text().c_str());
            return;
        }
        (r.write ? written : read) = std::max(r.write ? written : read, r.hi);
    }
}

struct Batch {
    CUdeviceptr *to, *from;
    size_t* bytes;
    size_t count;
    CUmemcpyAttributes* attributes;
    size_t *first, attribute_count, *failed;
};

CUresult batch(const char* name, int since, const Batch& b, CUstream h) {
    Lock lock(S.mu);
    if (int e = enter(name, CONTEXT)) return CUresult(e);
    if (S.settings.driver < since) return CUDA_ERROR_NOT_SUPPORTED;
    int e;
    auto s = find_stream(h, &e);
    if (!s) return CUresult(e);
    if (wrong_context(s.get())) return CUDA_ERROR_INVALID_CONTEXT;
    if (b.failed) *b.failed = SIZE_MAX;
    bool bad = s == s->ctx->legacy || !b.count || !b.attribute_count || b.attribute_count > b.count || b.first[0] != 0;
    for (size_t i = 1; !bad && i < b.attribute_count; i++) bad = b.first[i] <= b.first[i - 1] || b.first[i] >= b.count;
    if (bad) return CUDA_ERROR_INVALID_VALUE;
    Plan plan;
    plan.op = new_op(s, "copy");
    for (size_t i = 0, a = 0; i < b.count; i++) {
        while (a + 1 < b.attribute_count && b.first[a + 1] <= i) a++;
        unsigned order = b.attributes[a].srcAccessOrder;
        bool known = order >= CU_MEMCPY_SRC_ACCESS_ORDER_STREAM && order <= CU_MEMCPY_SRC_ACCESS_ORDER_ANY;
        int r = known && b.bytes[i] ? add(plan, b.to[i], EITHER, b.from[i], EITHER, b.bytes[i], !s->capture, order)
                                    : int(CUDA_ERROR_INVALID_VALUE);
        if (!r) continue;
        if (b.failed) *b.failed = i;
        return CUresult(r);
    }
    overlaps(*plan.op);
    std::shuffle(plan.pieces.begin(), plan.pieces.end(), S.rng);
    return submit(lock, plan, true);
}

CUresult fill(const char* name, uint64_t p, uint32_t value, size_t width, size_t count, CUstream h, bool async) {
    Lock lock(S.mu);
    if (int e = enter(name, async ? CONTEXT : CONTEXT | UNSAFE)) return CUresult(e);
    int e;
    auto s = find_stream(h, &e);
    if (!s) return CUresult(e);
    if (wrong_context(s.get())) return CUDA_ERROR_INVALID_CONTEXT;
    if (!count) return CUDA_SUCCESS;
    if (p % width || count > SIZE_MAX / width) return CUDA_ERROR_INVALID_VALUE;
    auto op = new_op(s, "fill");
    Side to;
    size_t bytes = width * count;
    if (int r = device_side(p, bytes, "destination", *op, to)) return CUresult(r);
    op->touches.push_back({to.p, to.p + bytes, true});
    op->run = [=](Op&) {
        for (size_t i = 0; i < count; i++) memcpy(to.memory + i * width, &value, width);
        return 0;
    };
    if (int r = push(op, 2000 + int64_t(bytes) / 500, INSIDE)) return CUresult(r);
    if (async || s->capture) return CUDA_SUCCESS;
    wait_for(lock, s, op->seq);
    learn(op->clock, op->end_ns);
    return CUresult(s->ctx->lost);
}

}  // namespace
}  // namespace sc

using namespace sc;

#define COPY(NAME, ABI, DT, DW, ST, SW) \
    API CUresult ABI(DT d, ST s, size_t n) { \
        ENTER(NAME, CONTEXT | UNSAFE); \
        return copy(lock, uint64_t(d), DW, uint64_t(s), SW, n, nullptr, false); \
    }
#define COPY_ASYNC(NAME, ABI, DT, DW, ST, SW) \
    API CUresult ABI(DT d, ST s, size_t n, CUstream h) { \
        ENTER(NAME, CONTEXT); \
        return copy(lock, uint64_t(d), DW, uint64_t(s), SW, n, h, true); \
    }
COPY(cuMemcpy, cuMemcpy, CUdeviceptr, EITHER, CUdeviceptr, EITHER)
COPY(cuMemcpyHtoD, cuMemcpyHtoD_v2, CUdeviceptr, DEVICE_SIDE, const void*, HOST_SIDE)
COPY(cuMemcpyDtoH, cuMemcpyDtoH_v2, void*, HOST_SIDE, CUdeviceptr, DEVICE_SIDE)
COPY(cuMemcpyDtoD, cuMemcpyDtoD_v2, CUdeviceptr, DEVICE_SIDE, CUdeviceptr, DEVICE_SIDE)
COPY_ASYNC(cuMemcpyAsync, cuMemcpyAsync, CUdeviceptr, EITHER, CUdeviceptr, EITHER)
COPY_ASYNC(cuMemcpyHtoDAsync, cuMemcpyHtoDAsync_v2, CUdeviceptr, DEVICE_SIDE, const void*, HOST_SIDE)
COPY_ASYNC(cuMemcpyDtoHAsync, cuMemcpyDtoHAsync_v2, void*, HOST_SIDE, CUdeviceptr, DEVICE_SIDE)
COPY_ASYNC(cuMemcpyDtoDAsync, cuMemcpyDtoDAsync_v2, CUdeviceptr, DEVICE_SIDE, CUdeviceptr, DEVICE_SIDE)

API CUresult cuMemcpyBatchAsync(CUdeviceptr* d, CUdeviceptr* s, size_t* n, size_t count, CUmemcpyAttributes* a, size_t* ai,
                                size_t na, size_t* failed, CUstream h) {
    return batch("cuMemcpyBatchAsync", 12080, {d, s, n, count, a, ai, na, failed}, h);
}
API CUresult cuMemcpyBatchAsync_v2(CUdeviceptr* d, CUdeviceptr* s, size_t* n, size_t count, CUmemcpyAttributes* a, size_t* ai,
                                   size_t na, CUstream h) {
    return batch("cuMemcpyBatchAsync", 13000, {d, s, n, count, a, ai, na, nullptr}, h);
}

API CUresult cuMemcpy2DAsync_v2(const CUDA_MEMCPY2D* c, CUstream h) {
    ENTER(cuMemcpy2DAsync, CONTEXT);
    int e;
    auto s = find_stream(h, &e);
    if (!s) return CUresult(e);
    if (wrong_context(s.get())) return CUDA_ERROR_INVALID_CONTEXT;
    CUDA_MEMCPY2D m = *c;
    if (!m.Height || !m.WidthInBytes) return CUDA_SUCCESS;
    auto base = [](unsigned t, CUdeviceptr d, const void* p) { return t == CU_MEMORYTYPE_HOST ? uint64_t(uintptr_t(p)) : d; };
    size_t from_pitch = m.srcPitch ? m.srcPitch : m.WidthInBytes, to_pitch = m.dstPitch ? m.dstPitch : m.WidthInBytes;
    uint64_t from = base(m.srcMemoryType, m.srcDevice, m.srcHost) + m.srcY * from_pitch + m.srcXInBytes;
    uint64_t to = base(m.dstMemoryType, m.dstDevice, m.dstHost) + m.dstY * to_pitch + m.dstXInBytes;
    Plan plan;
    plan.op = new_op(s, "copy");
    for (size_t y = 0; y < m.Height; y++)
        if (int r = add(plan, to + y * to_pitch, EITHER, from + y * from_pitch, EITHER, m.WidthInBytes, true,
                        CU_MEMCPY_SRC_ACCESS_ORDER_STREAM))
            return CUresult(r);
    return submit(lock, plan, true);
}

API CUresult cuMemsetD8_v2(CUdeviceptr p, unsigned char v, size_t n) { return fill("cuMemsetD8", p, v, 1, n, nullptr, false); }
API CUresult cuMemsetD16_v2(CUdeviceptr p, unsigned short v, size_t n) { return fill("cuMemsetD16", p, v, 2, n, nullptr, false); }
API CUresult cuMemsetD32_v2(CUdeviceptr p, unsigned v, size_t n) { return fill("cuMemsetD32", p, v, 4, n, nullptr, false); }
API CUresult cuMemsetD8Async(CUdeviceptr p, unsigned char v, size_t n, CUstream h) {
    return fill("cuMemsetD8Async", p, v, 1, n, h, true);
}
API CUresult cuMemsetD16Async(CUdeviceptr p, unsigned short v, size_t n, CUstream h) {
    return fill("cuMemsetD16Async", p, v, 2, n, h, true);
}
API CUresult cuMemsetD32Async(CUdeviceptr p, unsigned v, size_t n, CUstream h) {
    return fill("cuMemsetD32Async", p, v, 4, n, h, true);
}
