/* What is counted of a run: rows of ir/events.def. */
#ifndef BITBLASC_IR_EVENTS_H
#define BITBLASC_IR_EVENTS_H

typedef enum ir_event {
#define EVENT(id, name, meaning) IR_EVENT_##id,
#include "ir/events.def"
#undef EVENT
  IR_EVENT_COUNT
} ir_event;

/* Stable; scripts match it. */
const char *ir_event_name(ir_event event);
const char *ir_event_meaning(ir_event event);

#endif
