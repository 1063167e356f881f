// race.cpp: which accesses have no order between them, and which bytes nobody wrote.
#include "driver.h"

namespace sc {

// tidy joins what touches and removes what is told twice.
void tidy(std::vector<Range>& r) {
    std::sort(r.begin(), r.end(), [](const Range& a, const Range& b) { return a.write != b.write ? a.write < b.write : a.lo < b.lo; });
    size_t n = 0;
    for (auto& x : r) {
        if (x.lo >= x.hi) continue;
        if (n && r[n - 1].write == x.write && x.lo <= r[n - 1].hi)
            r[n - 1].hi = std::max(r[n - 1].hi, x.hi);
        else
            r[n++] = x;
    }
    r.resize(n);
}

static bool ordered(const Op& a, const Op& b) {
    return b.clock.at(a.clock_id) >= a.seq || a.clock.at(b.clock_id) >= b.seq;
}

// first_in finds what overlaps r among ranges that ascend and do not overlap each other.
using Ranges = std::vector<Range>::const_iterator;
static Ranges first_in(Ranges from, Ranges to, const Range& r) {
    auto it = std::lower_bound(from, to, r, [](const Range& x, const Range& k) { return x.hi <= k.lo; });
    return it != to && it->overlaps(r) ? it : to;
}

// Tidy touches begin with those that are read.
static Ranges first_write(const std::vector<Range>& t) {
    return std::partition_point(t.begin(), t.end(), [](const Range& r) { return !r.write; });
}

// meet finds where two operations touch the same bytes, one of them writing.
static bool meet(const Op& a, const Op& b, Range* at) {
    auto writes = first_write(b.touches);
    for (auto& x : a.touches) {
        auto it = first_in(writes, b.touches.end(), x), end = b.touches.end();
        if (it == end && x.write) it = first_in(b.touches.begin(), end = writes, x);
        if (it == end) continue;
        *at = {std::max(x.lo, it->lo), std::min(x.hi, it->hi), true};
        return true;
    }
    return false;
}

void race_check(const OpPtr& op) {
    tidy(op->touches);
    bool present = false;
    for (auto& h : S.history) {
        if (h == op) {
            present = true;
            continue;
        }
        Range at;
        if (h->touches.empty() || ordered(*h, *op) || !meet(*h, *op, &at)) continue;
        violation("%s and %s touch [%#lx,%#lx) with no order between them", h->site.text().c_str(), op->site.text().c_str(), at.lo,
                  at.hi);
    }
    if (!present && (op->late || !op->touches.empty())) S.history.push_back(op);
}

// prune forgets what is ordered before everything that is still to come or to be looked at.
void prune() {
    std::vector<const Op*> late;
    for (auto& h : S.history)
        if (h->late && !h->done) late.push_back(h.get());
    auto over = [&](const OpPtr& h) {
        if (!h->done || S.host.at(h->clock_id) < h->seq) return false;
        for (auto* l : late)
            if (l->clock.at(h->clock_id) < h->seq) return false;
        return true;
    };
    S.history.erase(std::remove_if(S.history.begin(), S.history.end(), over), S.history.end());
}

const Op* user_of(const Range& r, bool writes_only) {
    for (auto& h : S.history) {
        if (S.host.at(h->clock_id) >= h->seq || (h->stream && h->stream->ctx->lost)) continue;
        auto& t = h->touches;
        Ranges writes = first_write(t), end = t.end();
        if (first_in(writes, end, r) != end) return h.get();
        if (!writes_only && first_in(t.begin(), writes, r) != writes) return h.get();
    }
    return nullptr;
}
bool open_use(const Range& r, bool writes_only) { return user_of(r, writes_only) != nullptr; }

int check_known(Op& op) {
    for (auto& r : op.touches) {
        Alloc* a = r.write || !is_device(r.lo) ? nullptr : find_memory(S.device_memory, r.lo, r.hi - r.lo);
        if (!a) continue;
        uint64_t p = first_unknown(a, r.lo, r.hi - r.lo);
        if (p == SIZE_MAX) continue;
        violation("%s reads %#lx, which nobody wrote, in [%#lx,%#lx) of device memory [%#lx,%#lx) by %s", op.site.text().c_str(), p,
                  r.lo, r.hi, a->base, a->limit(), a->made.text().c_str());
        mark_known(a, r.lo, r.hi - r.lo);
        return 1;
    }
    return 0;
}

void now_known(Op& op) {
    for (auto& r : op.touches) {
        Alloc* a = r.write && is_device(r.lo) ? find_memory(S.device_memory, r.lo, r.hi - r.lo) : nullptr;
        if (!a) continue;
        mark_known(a, r.lo, r.hi - r.lo);
        check_red(a, "found after", op.site);
    }
}

}  // namespace sc
