#include "ir/events.h"

static const struct {
  const char *name, *meaning;
} events[IR_EVENT_COUNT] = {
#define EVENT(id, name, meaning) [IR_EVENT_##id] = {name, meaning},
#include "ir/events.def"
#undef EVENT
};

const char *ir_event_name(ir_event event) { return events[event].name; }

const char *ir_event_meaning(ir_event event) { return events[event].meaning; }
