// What the kernels that hash and compare touch.
#pragma once
#include <vector>

namespace {

const unsigned kUnused = 0xffffffffu;

// parts_of is how many of the entries of p or of a level are in use.
unsigned parts_of(const unsigned (&first)[KF_PARTS])
{
    unsigned n = 1;
    while (n < KF_PARTS && first[n] != kUnused) n++;
    return n;
}

// chunk_results names where the values of the chunks of a page go.
void chunk_results(softcuda::Footprint& f, const KfChunks& p, uint4* values, uint4* digests, unsigned page)
{
    const unsigned parts = parts_of(p.first);
    for (unsigned k = 0; k < parts; k++) {
        const unsigned end = k + 1 < parts ? p.first[k + 1] : p.chunks;
        if (end - p.first[k] == 1) f.write(digests + ((long long)page * p.digests + p.digest + k) * 2, 32);
        else f.write(values + ((long long)page * p.chunks + p.first[k]) * 2, (end - p.first[k]) * 32ull);
    }
}

void chunks_touches(softcuda::Footprint& f, uint4* values, uint4* digests, const unsigned char* pages, long long stride, KfChunks p)
{
    for (unsigned page = 0; page < p.count; page++) {
        for (unsigned k = 0; k < parts_of(p.first); k++)
            if (p.bytes[k]) f.read(pages + page * stride + p.offset[k], p.bytes[k]);
        chunk_results(f, p, values, digests, page);
    }
}

void in_place_touches(softcuda::Footprint& f, uint4* values, uint4* digests, const KfFragment* fragments, unsigned fragment_count,
        const unsigned* numbers, KfChunks p)
{
    std::vector<KfFragment> fs;
    for (unsigned i = 0; i < fragment_count; i++) fs.push_back(f.load(fragments + i));
    for (unsigned page = 0; page < p.count; page++) {
        const uint64_t number = f.load(numbers + page);
        for (unsigned k = 0; k < parts_of(p.first); k++) {
            const uint64_t begin = uint64_t(p.offset[k]), end = begin + p.bytes[k];
            for (unsigned i = 0; i < fragment_count; i++) {
                const uint64_t from = fs[i].canonical > begin ? fs[i].canonical : begin;
                const uint64_t to = i + 1 < fragment_count && fs[i + 1].canonical < end ? fs[i + 1].canonical : end;
                if (from < to) f.read(fs[i].address + number * uint64_t(fs[i].page_stride) + (from - fs[i].canonical), to - from);
            }
        }
        chunk_results(f, p, values, digests, page);
    }
}

void merge_touches(softcuda::Footprint& f, uint4* out, uint4* digests, const uint4* in, KfLevel p)
{
    for (unsigned page = 0; page < p.count; page++)
        for (unsigned k = 0; k < parts_of(p.first_out); k++) {
            f.read(in + ((long long)page * p.in + p.first_in[k]) * 2, p.n[k] * 32ull);
            if (p.n[k] <= 4) f.write(digests + ((long long)page * p.digests + p.digest[k]) * 2, 32);
            else f.write(out + ((long long)page * p.out + p.first_out[k]) * 2, (p.n[k] + 3) / 4 * 32ull);
        }
}

void flags_touches(softcuda::Footprint& f, const uint4* got, const uint4* want, unsigned count, unsigned words, unsigned* flags)
{
    f.read(got, 16ull * words * count);
    f.read(want, 16ull * words * count);
    f.write(flags, (count + 31) / 32 * 4ull);
}

void list_touches(softcuda::Footprint& f, unsigned* changed, unsigned* number, unsigned count)
{
    const unsigned groups = (count + 31) / 32;
    uint64_t found = 0;
    for (unsigned i = 0; i < groups; i++) found += __popc(f.load(changed + (count - groups) + i));
    if (found) f.write(changed, 4 * found);
    f.write(number, 4);
}

}  // namespace
