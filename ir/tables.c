/* The rows of the .def tables as arrays, and their lookups. */
#include "ir/ir.h"

#include <stdlib.h>
#include <string.h>

static const ir_type_info types[IR_TYPE_COUNT] = {
    [IR_TYPE_NONE] = {"none", IR_CLASS_UINT, 0, 0, 0, "void"},
#define TYPE(id, name, class, bits, exponent, mantissa, cuda)                                                          \
  [IR_##id] = {name, IR_CLASS_##class, bits, exponent, mantissa, cuda},
#include "ir/types.def"
#undef TYPE
};

static const ir_expr_info expressions[IR_EXPR_KIND_COUNT] = {
#define EXPR(id, text, arity, style, result, meaning)                                                                  \
  [IR_EXPR_##id] = {text, arity, IR_STYLE_##style, IR_RESULT_##result, meaning},
#include "ir/exprs.def"
#undef EXPR
};

/* The names that the forms column of ops.def is written with. */
enum { TILE = IR_FORMS_TILE, PIPE = IR_FORMS_PIPE, THREAD = IR_FORMS_THREAD, ANY = IR_FORMS_ANY };

static const ir_op_info ops[IR_OP_KIND_COUNT] = {
#define OP(id, mnemonic, writes, reads, exprs, bodies, forms, effects, meaning)                                        \
  [IR_OP_##                                                                                                            \
      id] = {mnemonic, writes, reads, exprs[0] - '0', exprs[1] == '+', bodies, forms, IR_EFFECT_##effects, meaning},
#include "ir/ops.def"
#undef OP
};

enum { INT, ENUM };

static const ir_attr_info attributes[IR_ATTR_KIND_COUNT] = {
#define ATTR(id, name, kind, choices, meaning) [IR_ATTR_##id] = {name, (kind) == ENUM, choices, meaning},
#include "ir/attrs.def"
#undef ATTR
};

static const ir_target_info targets[IR_TARGET_COUNT] = {
#define TARGET(id, name, sms, shared_bytes, registers, max_warps, l2_bytes, clock_ghz, hbm_gbps, l2_bytes_clk,         \
               shared_bytes_clk, mma16_macs_clk, mma8_macs_clk, exp_clk, has_cpasync, has_tma, has_wgmma, has_cluster, \
               has_native_fp8_mma)                                                                                     \
  [IR_##id] = {name,      sms,         shared_bytes, registers,        max_warps,      l2_bytes,                       \
               clock_ghz, hbm_gbps,    l2_bytes_clk, shared_bytes_clk, mma16_macs_clk, mma8_macs_clk,                  \
               exp_clk,   has_cpasync, has_tma,      has_wgmma,        has_cluster,    has_native_fp8_mma},
#include "ir/targets.def"
#undef TARGET
};

static bool same_text(const char *text, const char *other, size_t length) {
  return strlen(text) == length && memcmp(text, other, length) == 0;
}

const ir_type_info *ir_type_of(ir_type type) {
  ASSERT((unsigned)type < IR_TYPE_COUNT);
  return &types[type];
}

ir_type ir_type_by_name(const char *name, size_t length) {
  for (int i = IR_TYPE_NONE + 1; i < IR_TYPE_COUNT; i++)
    if (same_text(types[i].name, name, length)) return (ir_type)i;
  return IR_TYPE_NONE;
}

bool ir_is_float(ir_type type) {
  ir_class class = ir_type_of(type)->class;
  return type != IR_TYPE_NONE && (class == IR_CLASS_FLOAT || class == IR_CLASS_SCALE || class == IR_CLASS_TABLE);
}

bool ir_is_integer(ir_type type) {
  ir_class class = ir_type_of(type)->class;
  return type != IR_TYPE_NONE && (class == IR_CLASS_SINT || class == IR_CLASS_UINT);
}

ir_type ir_compute_type(ir_type type) {
  if (ir_is_float(type)) return ir_bits(type) > 32 ? type : IR_F32;
  if (!ir_is_integer(type) || ir_bits(type) >= 32) return type;
  return ir_type_of(type)->class == IR_CLASS_SINT ? IR_I32 : IR_U32;
}

const ir_expr_info *ir_expr_info_of(ir_expr_kind kind) {
  ASSERT((unsigned)kind < IR_EXPR_KIND_COUNT);
  return &expressions[kind];
}

const ir_op_info *ir_op_info_of(ir_op_kind kind) {
  ASSERT((unsigned)kind < IR_OP_KIND_COUNT);
  return &ops[kind];
}

const ir_attr_info *ir_attr_info_of(ir_attr attr) {
  ASSERT((unsigned)attr < IR_ATTR_KIND_COUNT);
  return &attributes[attr];
}

int ir_attr_choice(ir_attr attr, const char *name, size_t length) {
  const char *p = ir_attr_info_of(attr)->choices;
  for (int choice = 0; *p; choice++) {
    size_t width = strcspn(p, "|");
    if (width == length && memcmp(p, name, length) == 0) return choice;
    p += width;
    if (*p) p++;
  }
  return -1;
}

void ir_attr_choice_name(ir_attr attr, int choice, str *out) {
  const char *p = ir_attr_info_of(attr)->choices;
  for (int i = 0; *p; i++) {
    size_t width = strcspn(p, "|");
    if (i == choice) {
      str_append_bytes(out, p, width);
      return;
    }
    p += width;
    if (*p) p++;
  }
  BUG("attribute %s has no choice %d", ir_attr_info_of(attr)->name, choice);
}

_Static_assert(IR_ATTR_KIND_COUNT <= 128, "ir_attrs.present has 128 bits");

bool ir_attr_has(const ir_attrs *attrs, ir_attr attr) { return attrs->present[attr / 64] >> (attr % 64) & 1; }

int64_t ir_attr_get(const ir_attrs *attrs, ir_attr attr, int64_t otherwise) {
  return ir_attr_has(attrs, attr) ? attrs->value[attr] : otherwise;
}

void ir_attr_set(ir_attrs *attrs, ir_attr attr, int64_t value) {
  attrs->present[attr / 64] |= 1ull << (attr % 64);
  attrs->value[attr] = value;
}

void ir_attr_clear(ir_attrs *attrs, ir_attr attr) {
  attrs->present[attr / 64] &= ~(1ull << (attr % 64));
  attrs->value[attr] = 0;
}

const char *ir_space_name(ir_space space) {
  static const char *const names[] = {
      [IR_GLOBAL] = "global",       [IR_SHARED] = "shared",   [IR_TILE] = "tile",
      [IR_REGISTERS] = "registers", [IR_SCALAR] = "scalar",   [IR_INDEX] = "index",
      [IR_SIZE] = "size",           [IR_BARRIER] = "barrier", [IR_MAP] = "map",
  };
  ASSERT((size_t)space < sizeof names / sizeof *names);
  return names[space];
}

const char *ir_form_name(ir_form form) {
  static const char *const names[] = {
      [IR_FORM_TILE] = "tile",         [IR_FORM_FUSED] = "fused",         [IR_FORM_SCHEDULED] = "scheduled",
      [IR_FORM_LAID_OUT] = "laid_out", [IR_FORM_PIPELINED] = "pipelined", [IR_FORM_THREAD] = "thread",
  };
  ASSERT((size_t)form < sizeof names / sizeof *names);
  return names[form];
}

const ir_target_info *ir_target_of(ir_target target) {
  ASSERT((unsigned)target < IR_TARGET_COUNT);
  return &targets[target];
}

int ir_target_by_name(const char *name) {
  for (int i = 0; i < IR_TARGET_COUNT; i++)
    if (strcmp(targets[i].name, name) == 0) return i;
  return -1;
}

const ir_target_info *ir_target_by_capability(int capability) {
  long best = 0;
  const ir_target_info *found = NULL;
  for (int i = 0; i < IR_TARGET_COUNT; i++) {
    long number = strtol(targets[i].name + strlen("sm_"), NULL, 10);
    if (number > capability || number <= best) continue;
    best = number;
    found = &targets[i];
  }
  return found;
}

static void list_forms(int forms, str *out) {
  static const struct {
    int bit;
    const char *name;
  } names[] = {{IR_FORMS_TILE, " tile"}, {IR_FORMS_PIPE, " pipelined"}, {IR_FORMS_THREAD, " thread"}};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (forms & names[i].bit) str_append(out, names[i].name);
}

void ir_list_ops(str *out) {
  str_append(out, "ops\n");
  for (int i = 0; i < IR_OP_KIND_COUNT; i++) {
    const ir_op_info *info = &ops[i];
    str_printf(out, "  %s\n    writes \"%s\" reads \"%s\" expressions %d%s bodies %d forms", info->mnemonic,
               info->writes, info->reads, info->expr_count, info->more_exprs ? "+" : "", info->bodies);
    list_forms(info->forms, out);
    str_printf(out, "\n    %s\n", info->meaning);
  }
  str_append(out, "expressions\n");
  for (int i = 0; i < IR_EXPR_KIND_COUNT; i++)
    str_printf(out, "  %s\n    %s\n", expressions[i].text, expressions[i].meaning);
  str_append(out, "attributes\n");
  for (int i = 0; i < IR_ATTR_KIND_COUNT; i++) {
    const ir_attr_info *info = &attributes[i];
    str_printf(out, "  %s%s%s\n    %s\n", info->name, info->is_enum ? " = " : "", info->choices, info->meaning);
  }
  str_append(out, "types\n");
  for (int i = IR_TYPE_NONE + 1; i < IR_TYPE_COUNT; i++)
    str_printf(out, "  %s\n    %d bits\n", types[i].name, types[i].bits);
  str_append(out, "targets\n");
  for (int i = 0; i < IR_TARGET_COUNT; i++)
    str_printf(out, "  %s\n    %d SMs, %d bytes of shared memory a block\n", targets[i].name, targets[i].sms,
               targets[i].shared_bytes);
}
