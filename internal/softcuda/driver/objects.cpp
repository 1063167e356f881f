// objects.cpp: what programs make. Handles are never used again, so that one that has ended is known for what it was.
#include "driver.h"

namespace sc {

void begin_object(Object* o, const char* type, Context* c) {
    o->type = type;
    o->ctx = c;
    o->made = here();
    o->serial = ++S.serials;
    o->live = true;
    S.live[o->serial] = o;
}

void end_object(Object* o) {
    o->live = false;
    o->ended = here();
    S.live.erase(o->serial);
}

void excuse(Object* o) {
    o->excused = true;
    if (o->ctx && o->ctx->lost && o->live) end_object(o);
}

// Uses of what has ended, or never was, would be anything on a real driver.
template <class T> T* find_handle(std::set<void*>& set, void* h, const char* what, int* error) {
    *error = CUDA_ERROR_INVALID_HANDLE;
    if (!set.count(h)) {
        violation("%s is given %p, which is no %s", here().text().c_str(), h, what);
        return nullptr;
    }
    T* o = static_cast<T*>(h);
    if (!o->live) {
        violation("%s uses a %s that %s ended", here().text().c_str(), what, o->ended.text().c_str());
        return nullptr;
    }
    *error = 0;
    return o;
}
template Event* find_handle<Event>(std::set<void*>&, void*, const char*, int*);
template Module* find_handle<Module>(std::set<void*>&, void*, const char*, int*);
template Function* find_handle<Function>(std::set<void*>&, void*, const char*, int*);
template Context* find_handle<Context>(std::set<void*>&, void*, const char*, int*);
template Stream* find_handle<Stream>(std::set<void*>&, void*, const char*, int*);

StreamPtr find_stream(CUstream h, int* error) {
    *error = 0;
    if (h == nullptr || reinterpret_cast<uintptr_t>(h) == 1) {
        Context* c = current();
        if (!c) {
            *error = CUDA_ERROR_INVALID_CONTEXT;
            return nullptr;
        }
        return c->legacy;
    }
    Stream* s = find_handle<Stream>(S.streams, h, "stream", error);
    if (!s) return nullptr;
    for (auto& p : S.all_streams)
        if (p.get() == s) return p;
    *error = CUDA_ERROR_INVALID_HANDLE;
    return nullptr;
}

Event* find_event(CUevent h, int* error) { return find_handle<Event>(S.events, h, "event", error); }

bool wrong_context(const Object* o) {
    Context* c = current();
    if (!c || o->ctx == c) return false;
    violation("%s uses a %s of device %d, made by %s, while a context of device %d is current", here().text().c_str(), o->type,
              o->ctx ? o->ctx->device : -1, o->made.text().c_str(), c->device);
    return true;
}

}  // namespace sc
