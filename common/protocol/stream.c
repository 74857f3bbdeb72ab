#include "common/protocol/stream.h"

void stream_init(struct stream_flow *flow, uint32_t window)
{
    TG_INVARIANT(window >= STREAM_WINDOW_MIN && window <= STREAM_WINDOW_MAX);
    *flow = (struct stream_flow){
        .phase = STREAM_OPENING, .window = window, .send_credit = window, .recv_credit = window};
}

enum tg_code stream_opened(struct stream_flow *flow, struct tg_error *err)
{
    TG_ENSURE(flow->phase == STREAM_OPENING, err, TG_OUT_OF_RANGE,
              "OPENED for a stream that is not being opened");
    flow->phase = STREAM_OPEN;
    return TG_OK;
}

size_t stream_may_send(const struct stream_flow *flow, size_t want)
{
    if (flow->phase != STREAM_OPEN || flow->sent_close)
        return 0;
    if (want > flow->send_credit)
        want = flow->send_credit;
    return want < FRAME_PAYLOAD_MAX ? want : FRAME_PAYLOAD_MAX;
}

void stream_sent(struct stream_flow *flow, size_t len)
{
    TG_INVARIANT(flow->phase == STREAM_OPEN && !flow->sent_close && len > 0 && len <= flow->send_credit);
    flow->send_credit -= (uint32_t)len;
}

static void end_when_both_closed(struct stream_flow *flow)
{
    if (flow->sent_close && flow->received_close)
        flow->phase = STREAM_ENDED;
}

void stream_sent_close(struct stream_flow *flow)
{
    TG_INVARIANT(flow->phase == STREAM_OPEN && !flow->sent_close);
    flow->sent_close = true;
    end_when_both_closed(flow);
}

enum tg_code stream_received(struct stream_flow *flow, size_t len, struct tg_error *err)
{
    TG_ENSURE(flow->phase == STREAM_OPEN, err, TG_OUT_OF_RANGE, "DATA on a stream that is not open yet");
    TG_ENSURE(!flow->received_close, err, TG_OUT_OF_RANGE, "DATA after CLOSE");
    TG_ENSURE(len > 0, err, TG_OUT_OF_RANGE, "empty DATA");
    TG_ENSURE(len <= flow->recv_credit, err, TG_OUT_OF_RANGE, "%zu bytes of DATA with a credit of %u", len,
              flow->recv_credit);
    flow->recv_credit -= (uint32_t)len;
    return TG_OK;
}

enum tg_code stream_received_credit(struct stream_flow *flow, uint32_t credit, struct tg_error *err)
{
    TG_ENSURE(flow->phase == STREAM_OPEN, err, TG_OUT_OF_RANGE, "WINDOW on a stream that is not open yet");
    TG_ENSURE(credit > 0 && credit <= STREAM_WINDOW_MAX - flow->send_credit, err, TG_OUT_OF_RANGE,
              "WINDOW of %u on top of a credit of %u", credit, flow->send_credit);
    flow->send_credit += credit;
    return TG_OK;
}

enum tg_code stream_received_close(struct stream_flow *flow, unsigned code, struct tg_error *err)
{
    if (code != TG_OK) {
        stream_end(flow);
        return TG_OK;
    }
    TG_ENSURE(flow->phase == STREAM_OPEN, err, TG_OUT_OF_RANGE,
              "CLOSE with OK on a stream that is not open yet");
    TG_ENSURE(!flow->received_close, err, TG_OUT_OF_RANGE, "CLOSE given twice");
    flow->received_close = true;
    end_when_both_closed(flow);
    return TG_OK;
}

uint32_t stream_give_back(struct stream_flow *flow, size_t len)
{
    TG_INVARIANT(len <= flow->window - flow->recv_credit - flow->passed_on);
    flow->passed_on += (uint32_t)len;
    if (flow->phase != STREAM_OPEN || flow->received_close || flow->passed_on < flow->window / 4)
        return 0;
    uint32_t credit = flow->passed_on;
    flow->passed_on = 0;
    flow->recv_credit += credit;
    return credit;
}

void stream_end(struct stream_flow *flow)
{
    flow->phase = STREAM_ENDED;
}
