// What gather and scatter touch.
#pragma once
#include <vector>

namespace {

// pages_touch names the bytes of pages: fragments that are neighbours in memory
// as one range. Units cover a page's canonical bytes, so the page in staging is
// one range, too.
void pages_touch(softcuda::Footprint& f, const KfUnit* units, unsigned per_page, const unsigned* numbers, unsigned count,
        unsigned char* staging, long long stride, bool out)
{
    std::vector<KfUnit> us;
    uint64_t page_bytes = 0;
    for (unsigned i = 0; i < per_page; i++) {
        us.push_back(f.load(units + i));
        page_bytes += uint64_t(us.back().bytes) * us.back().count;
    }
    for (unsigned slot = 0; slot < count; slot++) {
        const uint64_t number = f.load(numbers + slot);
        uint64_t from = 0, bytes = 0;
        auto flush = [&] {
            if (bytes && out) f.read(from, bytes);
            if (bytes && !out) f.write(from, bytes);
        };
        for (const KfUnit& u : us)
            for (unsigned i = 0; i < u.count; i++) {
                const uint64_t at = u.address + number * uint64_t(u.page_stride) + i * uint64_t(u.local_stride);
                if (at != from + bytes) {
                    flush();
                    from = at;
                    bytes = 0;
                }
                bytes += u.bytes;
            }
        flush();
        unsigned char* page = staging + (long long)slot * stride;
        if (out) f.write(page, page_bytes);
        else f.read(page, page_bytes);
    }
}

void gather_touches(softcuda::Footprint& f, const KfUnit* units, unsigned per_page, const unsigned* numbers, unsigned count,
        unsigned char* staging, long long stride, unsigned)
{
    pages_touch(f, units, per_page, numbers, count, staging, stride, true);
}

void scatter_touches(softcuda::Footprint& f, const KfUnit* units, unsigned per_page, const unsigned* numbers, unsigned count,
        unsigned char* staging, long long stride, unsigned)
{
    pages_touch(f, units, per_page, numbers, count, staging, stride, false);
}

}  // namespace
