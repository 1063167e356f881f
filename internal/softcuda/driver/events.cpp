// events.cpp: points in streams, by which other streams and the program wait.
#include "driver.h"

using namespace sc;

namespace {
void excuse_event(CUevent h) {
    if (S.events.count(h)) excuse(reinterpret_cast<Event*>(h));
}
// in_capture answers questions about an event whose record lies in a capture.
int in_capture(Event* e) {
    if (!e->captured) return 0;
    violation("%s asks for an event that was recorded into a capture", here().text().c_str());
    return CUDA_ERROR_CAPTURED_EVENT;
}
}  // namespace

API CUresult cuEventCreate(CUevent* h, unsigned flags) {
    ENTER(cuEventCreate, CONTEXT);
    if (!h || flags > 7) return CUDA_ERROR_INVALID_VALUE;
    auto e = new Event;
    begin_object(e, "event", current());
    e->flags = flags;
    S.events.insert(e);
    *h = reinterpret_cast<CUevent>(e);
    return CUDA_SUCCESS;
}
API CUresult cuEventDestroy_v2(CUevent h) {
    ENTER_END(cuEventDestroy, CONTEXT, excuse_event(h));
    int err;
    auto e = find_event(h, &err);
    if (!e) return CUresult(err);
    wrong_context(e);
    for (auto& s : S.running)
        for (auto& o : s->queue)
            if (o->waits == e)
                violation("%s destroys an event that %s still waits for", here().text().c_str(), o->site.text().c_str());
    end_object(e);
    return CUDA_SUCCESS;
}
API CUresult cuEventRecord(CUevent h, CUstream stream) {
    ENTER(cuEventRecord, CONTEXT);
    int err;
    auto e = find_event(h, &err);
    auto s = e ? find_stream(stream, &err) : nullptr;
    if (!s) return CUresult(err);
    if (e->ctx != s->ctx) {
        violation("%s records an event of device %d, made by %s, in stream %d of device %d", here().text().c_str(), e->ctx->device,
                  e->made.text().c_str(), s->id, s->ctx->device);
        return CUDA_ERROR_INVALID_HANDLE;
    }
    if (wrong_context(s.get())) return CUDA_ERROR_INVALID_CONTEXT;
    auto op = new_op(s, "record");
    if (int c = push(op)) return CUresult(c);
    e->captured = s->capture;
    e->polls = 0;
    if (s->capture) return CUDA_SUCCESS;
    e->record = std::make_shared<Record>(Record{s, op->seq, op->clock, op->end_ns});
    return CUDA_SUCCESS;
}
API CUresult cuEventRecordWithFlags(CUevent h, CUstream s, unsigned) { return cuEventRecord(h, s); }
API CUresult cuStreamWaitEvent(CUstream stream, CUevent h, unsigned) {
    ENTER(cuStreamWaitEvent, CONTEXT);
    int err;
    auto e = find_event(h, &err);
    auto s = e ? find_stream(stream, &err) : nullptr;
    if (!s) return CUresult(err);
    if (wrong_context(s.get())) return CUDA_ERROR_INVALID_CONTEXT;
    if (e->captured) {  // the stream joins the capture
        if (s->capture && s->capture != e->captured) return CUDA_ERROR_STREAM_CAPTURE_MERGE;
        s->capture = e->captured;
        s->capture->streams.insert(s.get());
        return CUDA_SUCCESS;
    }
    if (!e->record) {
        if (S.settings.unrecorded) violation("%s waits for an event that was never recorded", here(s.get()).text().c_str());
        return CUDA_SUCCESS;
    }
    if (capture_of(s.get())) {
        s->capture->invalid = true;
        violation("%s lets stream %d, which is being captured, wait for an event from outside", here().text().c_str(), s->id);
        return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    }
    auto op = new_op(s, "wait");
    op->waits = e;
    op->deps.push_back({e->record->stream, e->record->seq});
    s->clock.join(e->record->clock);
    s->end_ns = std::max(s->end_ns, e->record->end_ns);
    return CUresult(push(op));
}
API CUresult cuEventQuery(CUevent h) {
    ENTER(cuEventQuery, CONTEXT | UNSAFE);
    int err;
    auto e = find_event(h, &err);
    if (!e) return CUresult(err);
    if (int c = in_capture(e)) return CUresult(c);
    if (!e->record) return CUDA_SUCCESS;
    if (!poll(e->record->stream.get(), e->record->seq, e->polls)) return CUDA_ERROR_NOT_READY;
    learn(e->record->clock, e->record->end_ns);
    return CUresult(e->ctx->lost);
}
API CUresult cuEventSynchronize(CUevent h) {
    ENTER(cuEventSynchronize, CONTEXT | UNSAFE);
    int err;
    auto e = find_event(h, &err);
    if (!e) return CUresult(err);
    if (int c = in_capture(e)) return CUresult(c);
    auto r = e->record;
    if (!r) return CUDA_SUCCESS;
    wait_for(lock, r->stream, r->seq);
    learn(r->clock, r->end_ns);
    return CUresult(e->ctx->lost);
}
API CUresult cuEventElapsedTime(float* ms, CUevent from, CUevent to) {
    ENTER(cuEventElapsedTime, CONTEXT);
    int err;
    auto a = find_event(from, &err);
    auto b = a ? find_event(to, &err) : nullptr;
    if (!b) return CUresult(err);
    if ((a->flags | b->flags) & CU_EVENT_DISABLE_TIMING || !a->record || !b->record) return CUDA_ERROR_INVALID_HANDLE;
    for (auto* e : {a, b})
        if (e->record->stream->done < e->record->seq) return CUDA_ERROR_NOT_READY;
    *ms = float(b->record->end_ns - a->record->end_ns) / 1e6f;
    return CUDA_SUCCESS;
}
ALIAS(cuEventElapsedTime_v2, cuEventElapsedTime);
