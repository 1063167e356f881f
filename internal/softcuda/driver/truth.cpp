// truth.cpp: whether a kernel writes what its footprint says, and nothing else.
//
// What is outside of the ranges that a launch said it writes, in the allocations that it was given, is copied before it runs
// and compared afterwards. Ranges that it said it writes and does not read are filled with a pattern, which must be gone.
#include <cstring>

#include "driver.h"

namespace sc {

namespace {
constexpr uint64_t MOST = 4 << 20;      // bytes copied of one allocation
constexpr uint64_t EDGE = 4 << 10;      // of each gap's ends, where more would have to be copied
constexpr uint64_t MOST_FILLED = 16 << 20;  // bytes filled for one launch
constexpr uint64_t CHANCE = 8;          // fewer bytes of the pattern than this may be there by chance: gigabytes are compared
constexpr uint64_t CHANCE_AT_END = 4;   // and at the end of a range, of which there are not so many; tails are what kernels forget

using Spans = std::vector<Range>;

// without is what of all is in none of holes. Both ascend and do not overlap.
Spans without(const Spans& all, const Spans& holes) {
    Spans rest;
    auto h = holes.begin();
    for (auto r : all) {
        while (h != holes.end() && h->hi <= r.lo) ++h;
        for (auto x = h; x != holes.end() && x->lo < r.hi; ++x) {
            if (x->lo > r.lo) rest.push_back({r.lo, x->lo, false});
            r.lo = std::max(r.lo, x->hi);
        }
        if (r.lo < r.hi) rest.push_back({r.lo, r.hi, false});
    }
    return rest;
}

Spans chosen(const std::vector<Range>& touches, bool write) {
    Spans s;
    for (auto& t : touches)
        if (t.write == write) s.push_back({t.lo, t.hi, false});
    tidy(s);
    return s;
}

// bounded keeps the ends of gaps that are too much together.
Spans bounded(const Spans& gaps) {
    uint64_t sum = 0;
    for (auto& g : gaps) sum += g.hi - g.lo;
    if (sum <= MOST) return gaps;
    Spans ends;
    for (auto& g : gaps) {
        if (ends.size() * EDGE >= MOST) break;
        if (g.hi - g.lo <= 2 * EDGE) {
            ends.push_back(g);
            continue;
        }
        ends.push_back({g.lo, g.lo + EDGE, false});
        ends.push_back({g.hi - EDGE, g.hi, false});
    }
    return ends;
}

unsigned char pattern(uint64_t seed, uint64_t p) {
    uint64_t x = (p >> 3) * 0x9e3779b97f4a7c15u + seed;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    return static_cast<unsigned char>((x ^ x >> 31) >> p % 8 * 8);
}

// written_beside are the ranges that others may have written while op ran: its order with them is open, or they come later.
Spans written_beside(const Op& op) {
    Spans s;
    for (auto& h : S.history) {
        if (h.get() == &op || op.clock.at(h->clock_id) >= h->seq) continue;
        for (auto& t : h->touches)
            if (t.write) s.push_back({t.lo, t.hi, false});
    }
    tidy(s);
    return s;
}

Alloc* own(uint64_t p) {
    Alloc* a = find_memory(S.device_memory, p, 0);
    if (a && a->origin) a = a->origin;
    return a && a->kind == Alloc::DEVICE ? a : nullptr;
}

}  // namespace

void Truth::choose(const Op& op, const std::vector<uint64_t>& pointers) {
    std::set<Alloc*> given;
    for (uint64_t p : pointers) given.insert(own(p));
    for (auto& t : op.touches) given.insert(own(t.lo));
    given.erase(nullptr);
    Spans writes = chosen(op.touches, true);
    for (Alloc* a : given)
        for (auto& g : bounded(without({{a->base, a->limit(), false}}, writes)))
            outside.push_back({g, a->memory + (g.lo - a->base), {}});
    uint64_t sum = 0;
    for (auto& g : without(writes, chosen(op.touches, false))) {
        Alloc* a = own(g.lo);
        if (!a || (sum += g.hi - g.lo) > MOST_FILLED) continue;
        inside.push_back({g, a->memory + (g.lo - a->base), {}});
    }
}

void Truth::begin(uint64_t s) {
    seed = s;
    for (auto& o : outside) o.before.assign(o.memory, o.memory + (o.at.hi - o.at.lo));
    for (auto& i : inside)
        for (uint64_t p = i.at.lo; p < i.at.hi; p++) i.memory[p - i.at.lo] = char(pattern(seed, p));
}

void Truth::check(const Op& op) const {
    Spans others = written_beside(op);
    for (auto& o : outside) {
        if (!memcmp(o.memory, o.before.data(), o.before.size())) continue;
        for (auto& g : without({o.at}, others))
            for (uint64_t p = g.lo; p < g.hi; p++) {
                if (o.memory[p - o.at.lo] == o.before[p - o.at.lo]) continue;
                violation("%s changed %#lx, which its footprint does not say it writes: %s", op.site.text().c_str(), p, describe(p).c_str());
                return;
            }
    }
    for (auto& i : inside) {
        uint64_t same = 0;
        for (uint64_t p = i.at.lo; p < i.at.hi; p++) {
            same = i.memory[p - i.at.lo] == char(pattern(seed, p)) ? same + 1 : 0;
            if (same < (p + 1 == i.at.hi ? CHANCE_AT_END : CHANCE)) continue;
            violation("%s did not write %#lx, though its footprint says that it writes [%#lx,%#lx): %s", op.site.text().c_str(),
                      p + 1 - same, i.at.lo, i.at.hi, describe(p).c_str());
            return;
        }
    }
}

}  // namespace sc
