/* --count-events: lines before an op that add what it does to counters of the module, as count.def says. The counters
 * are an array <entry>_event_counts of u64 in global memory, one an event, zero when the module is loaded. */
#include "codegen/emitter.h"
#include "ir/events.h"

#include <string.h>

typedef struct count_row {
  ir_op_kind op;
  ir_event event;
  const char *amount;
} count_row;

static const count_row rows[] = {
#define COUNT(op, event, amount) {IR_OP_##op, IR_EVENT_##event, amount},
#include "codegen/count.def"
#undef COUNT
};

static long long box_bytes(const ir_op *op) {
  const ir_value *map = op->kind == IR_OP_TMA_STORE ? op->write[0].value : op->read[0].value;
  int64_t elements = 1;
  for (int d = 0; d < map->rank; d++)
    elements *= map->box[d];
  return (long long)(elements * ir_map_bits(map->tensor) / 8);
}

static long long element_bytes(const ir_op *op) {
  const ir_value *tensor = op->kind == IR_OP_ATOMIC_GLOBAL ? op->read[0].value : op->write[0].value;
  return ir_bits(tensor->type) / 8;
}

/* A mask of 0 is no multicast: the copy goes to the block's own memory. */
static void append_blocks(emitter *e, const ir_op *op, str *out) {
  int64_t mask;
  if (!ir_is_constant(op->expr[1], &mask))
    str_printf(out, "__popc(%s)", emit_expr_text(e, op->expr[1], EMIT_TERNARY));
  else
    str_printf(out, "%d", mask ? __builtin_popcountll((unsigned long long)mask) : 1);
}

static void append_field(emitter *e, const ir_op *op, const char *field, size_t length, str *out) {
  const char *name = arena_strndup(e->memory, field, length);
  if (strcmp(name, "box") == 0)
    str_printf(out, "%lld", box_bytes(op));
  else if (strcmp(name, "blocks") == 0)
    append_blocks(e, op, out);
  else if (strcmp(name, "element") == 0)
    str_printf(out, "%lld", element_bytes(op));
  else if (strcmp(name, "warp") == 0)
    str_append(out, "(threadIdx.x % 32 == 0)");
  else if (strcmp(name, "group") == 0)
    str_append(out, "(threadIdx.x % 128 == 0)");
  else
    emit_field(e, op, field, length, out);
}

void emit_counts(emitter *e, const ir_op *op) {
  const char *counts = emit_counts_name(emit_entry_name(e->kernel, e->memory), e->memory);
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    if (rows[i].op != op->kind) continue;
    str amount = STR_EMPTY;
    for (const char *text = rows[i].amount; *text;) {
      size_t plain = strcspn(text, "{");
      str_append_bytes(&amount, text, plain);
      text += plain;
      if (!*text) break;
      size_t length = strcspn(text + 1, "}");
      append_field(e, op, text + 1, length, &amount);
      text += length + 2;
    }
    prelude_want(e->functions, "count_event");
    emit_line(e, "count_event(&%s[%d], %s); // %s", counts, (int)rows[i].event, str_text(&amount),
              ir_event_name(rows[i].event));
    str_free(&amount);
  }
}
