// capture.cpp: captured streams. Their work is taken down and never run: what is modelled is what a capture forbids.
#include "driver.h"

namespace sc {

thread_local int capture_mode = CU_STREAM_CAPTURE_MODE_GLOBAL;

int capture_of(Stream* s) { return !s->capture ? 0 : s->capture->invalid ? -1 : 1; }

// forbids tells whether a capture keeps this thread from calls that are not safe during one.
static bool forbids(const Capture& c) {
    if (capture_mode == CU_STREAM_CAPTURE_MODE_RELAXED || c.mode == CU_STREAM_CAPTURE_MODE_RELAXED) return false;
    if (c.thread == thread_id()) return true;
    return c.mode == CU_STREAM_CAPTURE_MODE_GLOBAL && capture_mode == CU_STREAM_CAPTURE_MODE_GLOBAL;
}

int check_capture(const char* function) {
    for (auto& c : S.captures) {
        if (!forbids(*c)) continue;
        violation("%s while stream %d is being captured: it ends the engine's capture, unless the thread's mode is relaxed",
                  here().text().c_str(), c->origin->id);
        c->invalid = true;
        c->why = function;
        return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    }
    return 0;
}

}  // namespace sc

using namespace sc;

API CUresult cuThreadExchangeStreamCaptureMode(int* mode) {
    ENTER(cuThreadExchangeStreamCaptureMode, NOTHING);
    if (!mode || *mode < 0 || *mode > 2) return CUDA_ERROR_INVALID_VALUE;
    std::swap(*mode, capture_mode);
    return CUDA_SUCCESS;
}
API CUresult cuStreamBeginCapture_v2(CUstream h, int mode) {
    ENTER(cuStreamBeginCapture, CONTEXT);
    int e;
    auto s = find_stream(h, &e);
    if (!s) return CUresult(e);
    if (s == s->ctx->legacy) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    if (s->capture || mode < 0 || mode > 2) return CUDA_ERROR_INVALID_VALUE;
    s->capture = std::make_shared<Capture>();
    s->capture->mode = mode;
    s->capture->thread = thread_id();
    s->capture->origin = s.get();
    s->capture->streams.insert(s.get());
    S.captures.insert(s->capture);
    return CUDA_SUCCESS;
}
API CUresult cuStreamEndCapture(CUstream h, CUgraph* graph) {
    ENTER(cuStreamEndCapture, CONTEXT);
    int e;
    auto s = find_stream(h, &e);
    if (!s) return CUresult(e);
    auto c = s->capture;
    if (!c || c->origin != s.get()) return CUDA_ERROR_STREAM_CAPTURE_UNMATCHED;
    if (c->mode != CU_STREAM_CAPTURE_MODE_RELAXED && c->thread != thread_id()) return CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD;
    size_t joined = c->streams.size();
    for (auto* t : c->streams) t->capture = nullptr;
    S.captures.erase(c);
    if (graph) *graph = nullptr;
    if (c->invalid) return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    if (joined > 1) return CUDA_ERROR_STREAM_CAPTURE_UNJOINED;  // joins are not modelled
    if (graph) *graph = reinterpret_cast<CUgraph>(new char);
    return CUDA_SUCCESS;
}
API CUresult cuGraphDestroy(CUgraph g) {
    ENTER(cuGraphDestroy, NOTHING);
    delete reinterpret_cast<char*>(g);
    return CUDA_SUCCESS;
}
API CUresult cuStreamIsCapturing(CUstream h, int* status) {
    ENTER(cuStreamIsCapturing, CONTEXT);
    int e;
    auto s = find_stream(h, &e);
    if (!s) return CUresult(e);
    for (auto& t : S.all_streams)
        if (s == s->ctx->legacy && t->ctx == s->ctx && t->ordered_with_legacy() && t->capture)
            return CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;  // and the capture goes on
    int c = capture_of(s.get());
    *status = c == 0 ? CU_STREAM_CAPTURE_STATUS_NONE : c > 0 ? CU_STREAM_CAPTURE_STATUS_ACTIVE : CU_STREAM_CAPTURE_STATUS_INVALIDATED;
    return CUDA_SUCCESS;
}
