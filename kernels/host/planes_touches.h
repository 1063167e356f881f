// What the kernels of planes touch.
#pragma once

namespace {

uint64_t values_bytes(const KfShape& p) { return 2ull * p.segments * p.rows * p.cols; }

void lengths_touches(softcuda::Footprint& f, KfBlock* blocks, KfPayload* places, const unsigned char* pages, const uint2* params, KfShape p)
{
    f.read(params, 8ull * p.segments);
    f.write(blocks, 16ull * p.segments * p.count);
    for (unsigned i = 0; i < p.count; i++) {
        f.read(pages + i * p.stride, values_bytes(p));
        f.read(&places[i].bytes, 4);
        f.write(&places[i].bytes, 4);
    }
}

void offsets_touches(softcuda::Footprint& f, KfPayload* places, KfShape p)
{
    for (unsigned i = 0; i < p.count; i++) f.read(&places[i].bytes, 4);
    f.write(places, 16ull * (p.count + 1));
}

void encode_touches(softcuda::Footprint& f, unsigned char* out, const KfPayload* places, const KfBlock* blocks, const unsigned char* pages,
        const uint2* params, KfShape p)
{
    f.read(params, 8ull * p.segments);
    f.read(places, 16ull * (p.count + 1));
    f.read(blocks, 16ull * p.segments * p.count);
    for (unsigned i = 0; i < p.count; i++) f.read(pages + i * p.stride, values_bytes(p) + p.tail);
    f.write(out, f.load(&places[p.count].offset));
}

void decode_touches(softcuda::Footprint& f, unsigned char* pages, unsigned* bad, const unsigned char* payloads, unsigned long long room,
        const KfPayload* places, KfShape p)
{
    f.read(bad, 4ull * p.count);
    f.write(bad, 4ull * p.count);
    for (unsigned i = 0; i < p.count; i++) {
        const KfPayload place = f.load(places + i);
        if (place.offset <= room && place.bytes <= room - place.offset) f.read(payloads + place.offset, place.bytes);
        f.write(pages + i * p.stride, values_bytes(p) + p.tail);
    }
}

}  // namespace
