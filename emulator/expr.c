/* Evaluates postfix programs on the lanes of an agent: one lane when the program is uniform, else 32. */
#include "emulator/expr.h"

#include "ir/numeric.h"

#include <math.h>
#include <string.h>

static bool is_float(domain d) { return d >= DOMAIN_F32; }

/* Brings results back into the domain: integers wrap, f32 rounds. */
static void normalise(const evaluation *v, domain d, cell *x) {
  switch (d) {
  case DOMAIN_PRED:
    EACH_LANE x[l].i = x[l].i & 1;
    break;
  case DOMAIN_I32:
    EACH_LANE x[l].i = (int32_t)(uint32_t)x[l].i;
    break;
  case DOMAIN_U32:
    EACH_LANE x[l].i = (int64_t)(uint32_t)x[l].i;
    break;
  case DOMAIN_F32:
    if (!v->m->reference) EACH_LANE x[l].f = (double)(float)x[l].f;
    break;
  default:
    break;
  }
}

static int64_t wrapping(uint64_t x) {
  int64_t y;
  memcpy(&y, &x, sizeof y);
  return y;
}

static int64_t divide(int64_t a, int64_t b) {
  if (b == -1) return wrapping(0 - (uint64_t)a);
  int64_t q = a / b;
  return q - ((a % b != 0) && ((a < 0) != (b < 0)));
}

static void integer_division(evaluation *v, const step *s, cell *a, const cell *b) {
  EACH_LANE {
    if (b[l].i == 0) {
      if (v->mask >> l & 1)
        finding(v->m, v->a, EMULATOR_ARITHMETIC, nowhere, nowhere, "'%s' divides by zero",
                ir_expr_info_of(s->expr->kind)->text);
      a[l].i = 0;
      continue;
    }
    if (s->operand == DOMAIN_U64) {
      uint64_t x = (uint64_t)a[l].i, y = (uint64_t)b[l].i;
      a[l].i = wrapping(s->expr->kind == IR_EXPR_MOD   ? x % y
                        : s->expr->kind == IR_EXPR_DIV ? x / y
                                                       : x / y + (x % y != 0));
    } else if (s->expr->kind == IR_EXPR_DIV) {
      a[l].i = divide(a[l].i, b[l].i);
    } else if (s->expr->kind == IR_EXPR_MOD) {
      a[l].i = wrapping((uint64_t)a[l].i - (uint64_t)b[l].i * (uint64_t)divide(a[l].i, b[l].i));
    } else {
      a[l].i = wrapping((uint64_t)divide(a[l].i, b[l].i) +
                        (wrapping((uint64_t)b[l].i * (uint64_t)divide(a[l].i, b[l].i)) != a[l].i));
    }
  }
}

static int domain_bits(domain d) { return d == DOMAIN_PRED ? 1 : d == DOMAIN_I64 || d == DOMAIN_U64 ? 64 : 32; }

static void shift(const evaluation *v, const step *s, cell *a, const cell *b) {
  int bits = domain_bits(s->operand);
  bool is_signed = s->operand == DOMAIN_I32 || s->operand == DOMAIN_I64;
  EACH_LANE {
    uint64_t by = b[l].i < 0 ? 64 : (uint64_t)b[l].i;
    if (s->expr->kind == IR_EXPR_SHL)
      a[l].i = by >= (uint64_t)bits ? 0 : wrapping((uint64_t)a[l].i << by);
    else if (is_signed)
      a[l].i = a[l].i >> (by >= (uint64_t)bits ? (uint64_t)bits - 1 : by);
    else
      a[l].i = by >= (uint64_t)bits ? 0 : wrapping((uint64_t)a[l].i >> by);
  }
}

static void compare(const evaluation *v, const step *s, cell *a, const cell *b) {
#define COMPARE(operator)                                                                                              \
  if (is_float(s->operand))                                                                                            \
    EACH_LANE a[l].i = a[l].f operator b[l].f;                                                                         \
  else if (s->operand == DOMAIN_U64)                                                                                   \
    EACH_LANE a[l].i = (uint64_t)a[l].i operator(uint64_t) b[l].i;                                                     \
  else                                                                                                                 \
    EACH_LANE a[l].i = a[l].i operator b[l].i;                                                                         \
  break
  switch (s->expr->kind) {
  case IR_EXPR_EQ:
    COMPARE(==);
  case IR_EXPR_NE:
    COMPARE(!=);
  case IR_EXPR_LT:
    COMPARE(<);
  case IR_EXPR_LE:
    COMPARE(<=);
  case IR_EXPR_GT:
    COMPARE(>);
  default:
    COMPARE(>=);
  }
#undef COMPARE
}

static void arithmetic(evaluation *v, const step *s, cell *a, const cell *b) {
  bool real = is_float(s->operand);
  bool big = s->operand == DOMAIN_U64;
  switch (s->expr->kind) {
  case IR_EXPR_ADD:
    if (real)
      EACH_LANE a[l].f += b[l].f;
    else
      EACH_LANE a[l].i = wrapping((uint64_t)a[l].i + (uint64_t)b[l].i);
    break;
  case IR_EXPR_SUB:
    if (real)
      EACH_LANE a[l].f -= b[l].f;
    else
      EACH_LANE a[l].i = wrapping((uint64_t)a[l].i - (uint64_t)b[l].i);
    break;
  case IR_EXPR_MUL:
    if (real)
      EACH_LANE a[l].f *= b[l].f;
    else
      EACH_LANE a[l].i = wrapping((uint64_t)a[l].i * (uint64_t)b[l].i);
    break;
  case IR_EXPR_MIN:
    if (real)
      EACH_LANE a[l].f = fmin(a[l].f, b[l].f);
    else
      EACH_LANE a[l].i = (big ? (uint64_t)b[l].i < (uint64_t)a[l].i : b[l].i < a[l].i) ? b[l].i : a[l].i;
    break;
  case IR_EXPR_MAX:
    if (real)
      EACH_LANE a[l].f = fmax(a[l].f, b[l].f);
    else
      EACH_LANE a[l].i = (big ? (uint64_t)b[l].i > (uint64_t)a[l].i : b[l].i > a[l].i) ? b[l].i : a[l].i;
    break;
  case IR_EXPR_AND:
    EACH_LANE a[l].i &= b[l].i;
    break;
  case IR_EXPR_OR:
    EACH_LANE a[l].i |= b[l].i;
    break;
  case IR_EXPR_XOR:
    EACH_LANE a[l].i ^= b[l].i;
    break;
  case IR_EXPR_SHL:
  case IR_EXPR_SHR:
    shift(v, s, a, b);
    break;
  default: /* DIV, MOD, CEILDIV */
    if (real)
      EACH_LANE a[l].f /= b[l].f;
    else
      integer_division(v, s, a, b);
    break;
  }
  normalise(v, s->result, a);
}

static void function(const evaluation *v, const step *s, cell *a) {
  bool native = s->operand == DOMAIN_F32 && !v->m->reference;
#define FLOATS(expression)                                                                                             \
  {                                                                                                                    \
    EACH_LANE {                                                                                                        \
      double x = a[l].f;                                                                                               \
      a[l].f = (expression);                                                                                           \
    }                                                                                                                  \
    break;                                                                                                             \
  } /* a block: it follows an if */
  switch (s->expr->kind) {
  case IR_EXPR_EXP2:
    /* .approx.ftz: results below the smallest normal number are zero. */
    if (native) FLOATS(fabs(exp2(x)) < 0x1p-126 ? 0.0 : exp2(x));
    FLOATS(exp2(x));
  case IR_EXPR_LOG2:
    FLOATS(log2(x));
  case IR_EXPR_EXP:
    FLOATS(exp(x));
  case IR_EXPR_LOG:
    FLOATS(log(x));
  case IR_EXPR_SQRT:
    FLOATS(sqrt(x));
  case IR_EXPR_RSQRT:
    FLOATS(1 / sqrt(x));
  case IR_EXPR_RCP:
    FLOATS(1 / x);
  case IR_EXPR_TANH:
    FLOATS(tanh(x));
  case IR_EXPR_ERF:
    FLOATS(erf(x));
  case IR_EXPR_SIN:
    FLOATS(sin(x));
  case IR_EXPR_COS:
    FLOATS(cos(x));
  case IR_EXPR_FLOOR:
    FLOATS(floor(x));
  case IR_EXPR_CEIL:
    FLOATS(ceil(x));
  case IR_EXPR_ROUND:
    FLOATS(nearbyint(x));
  case IR_EXPR_ABS:
    if (is_float(s->operand)) FLOATS(fabs(x));
    EACH_LANE a[l].i = a[l].i < 0 ? wrapping(0 - (uint64_t)a[l].i) : a[l].i;
    break;
  case IR_EXPR_NEG:
    if (is_float(s->operand)) FLOATS(-x);
    EACH_LANE a[l].i = wrapping(0 - (uint64_t)a[l].i);
    break;
  default: /* NOT */
    EACH_LANE a[l].i = s->operand == DOMAIN_PRED ? !a[l].i : ~a[l].i;
    break;
  }
#undef FLOATS
  normalise(v, s->result, a);
}

/* -- Bits of packed words ------------------------------------------------------------------------------------------ */

static uint32_t lop3(uint32_t a, uint32_t b, uint32_t c, uint32_t table) {
  uint32_t result = 0;
  for (uint32_t row = 0; row < 8; row++)
    if (table >> row & 1) result |= (row & 4 ? a : ~a) & (row & 2 ? b : ~b) & (row & 1 ? c : ~c);
  return result;
}

/* The default mode: bit 3 of a selector nibble replicates the sign of the byte. */
static uint32_t prmt(uint32_t a, uint32_t b, uint32_t selector) {
  uint64_t pair = (uint64_t)b << 32 | a;
  uint32_t result = 0;
  for (int i = 0; i < 4; i++) {
    uint32_t nibble = selector >> (4 * i) & 15;
    uint32_t byte = (uint32_t)(pair >> (8 * (nibble & 7))) & 255;
    if (nibble & 8) byte = byte & 128 ? 255 : 0;
    result |= byte << (8 * i);
  }
  return result;
}

static double half_of(const machine *m, ir_type type, int64_t word, int half) {
  return bits_cell(m, type, (uint64_t)word >> (16 * half) & 0xffff).f;
}

static void packed_arithmetic(const evaluation *v, const step *s, cell *a, const cell *b, const cell *c) {
  ir_type type = s->expr->lane_type;
  EACH_LANE {
    uint64_t word = 0;
    for (int half = 0; half < 2; half++) {
      double x = half_of(v->m, type, a[l].i, half), y = half_of(v->m, type, b[l].i, half);
      cell r;
      switch (s->expr->kind) {
      case IR_EXPR_ADD2:
        r.f = x + y;
        break;
      case IR_EXPR_SUB2:
        r.f = x - y;
        break;
      case IR_EXPR_MUL2:
        r.f = x * y;
        break;
      default:
        r.f = fma(x, y, half_of(v->m, type, c[l].i, half));
        break;
      }
      word |= cell_bits(type, r) << (16 * half);
    }
    a[l].i = (int64_t)word;
  }
}

static void typed_bits(evaluation *v, const step *s, cell (*arg)[LANES]) {
  const ir_expr *e = s->expr;
  cell *a = arg[0];
  switch (e->kind) {
  case IR_EXPR_PACK:
    EACH_LANE {
      uint64_t word = 0;
      int bits = ir_bits(e->lane_type);
      for (int i = 0; i < e->arg_count; i++) {
        cell x = arg[i][l];
        if (is_real(e->args[i]->type) != is_real(e->lane_type))
          x = convert_cell(v->m, e->args[i]->type, e->lane_type, x);
        word |= cell_bits(e->lane_type, x) << (bits * i);
      }
      a[l].i = (int64_t)word;
    }
    break;
  case IR_EXPR_UNPACK: {
    int bits = ir_bits(e->lane_type);
    EACH_LANE a[l] = bits_cell(v->m, e->lane_type, (uint64_t)a[l].i >> (bits * (int)(arg[1][l].i & 31)));
    break;
  }
  case IR_EXPR_LOP3:
    EACH_LANE a[l].i = lop3((uint32_t)a[l].i, (uint32_t)arg[1][l].i, (uint32_t)arg[2][l].i, (uint32_t)arg[3][l].i);
    break;
  case IR_EXPR_PRMT:
    EACH_LANE a[l].i = prmt((uint32_t)a[l].i, (uint32_t)arg[1][l].i, (uint32_t)arg[2][l].i);
    break;
  case IR_EXPR_BOTH_HALVES:
    EACH_LANE a[l].i = prmt((uint32_t)a[l].i, 0, arg[1][l].i ? 0x3232 : 0x1010);
    break;
  case IR_EXPR_CVT2:
    EACH_LANE {
      uint64_t low = cell_bits(IR_F16, bits_cell(v->m, e->lane_type, (uint64_t)a[l].i & 255));
      uint64_t high = cell_bits(IR_F16, bits_cell(v->m, e->lane_type, (uint64_t)a[l].i >> 8 & 255));
      a[l].i = (int64_t)(high << 16 | low);
    }
    break;
  default:
    packed_arithmetic(v, s, a, arg[1], e->arg_count > 2 ? arg[2] : arg[1]);
    break;
  }
}

/* -- Lanes of a warp ----------------------------------------------------------------------------------------------- */

static void exchange(evaluation *v, const step *s, cell *a, const cell *b) {
  const char *text = ir_expr_info_of(s->expr->kind)->text;
  if (v->a->mask != ~0u && v->m->thread_form)
    finding(v->m, v->a, EMULATOR_DIVERGENCE, nowhere, nowhere, "'%s' is executed by some lanes of a warp only", text);
  cell from[LANES];
  memcpy(from, a, sizeof from);
  switch (s->expr->kind) {
  case IR_EXPR_SHUFFLE_XOR:
    EACH_LANE a[l] = from[(l ^ b[l].i) & 31];
    break;
  case IR_EXPR_SHUFFLE:
    EACH_LANE a[l] = from[b[l].i & 31];
    break;
  case IR_EXPR_SHUFFLE_UP:
    EACH_LANE if (l >= (b[l].i & 31)) a[l] = from[l - (b[l].i & 31)];
    break;
  default: {
    bool any = false, all = true;
    EACH_LANE {
      any = any || from[l].i;
      all = all && from[l].i;
    }
    EACH_LANE a[l].i = s->expr->kind == IR_EXPR_VOTE_ANY ? any : all;
    break;
  }
  }
}

static void convert_lanes(const evaluation *v, const step *s, cell *a) {
  const ir_expr *e = s->expr;
  if (e->kind == IR_EXPR_BITCAST) {
    EACH_LANE a[l] = bits_cell(v->m, e->type, cell_bits(e->args[0]->type, a[l]));
    return;
  }
  EACH_LANE a[l] = convert_cell(v->m, e->args[0]->type, e->type, a[l]);
}

/* Operands of one operator are arg[0 ..]; the result replaces arg[0]. */
static void operate(evaluation *v, const step *s, cell (*arg)[LANES]) {
  const ir_expr *e = s->expr;
  switch (e->kind) {
  case IR_EXPR_ELEMENT:
    expr_element(v, e, arg);
    return;
  case IR_EXPR_ADDRESS:
    expr_address(v, e, arg[0]);
    return;
  case IR_EXPR_MOVE:
    return;
  case IR_EXPR_CAST:
  case IR_EXPR_BITCAST:
    convert_lanes(v, s, arg[0]);
    return;
  case IR_EXPR_FMA:
    if (is_float(s->operand) && s->operand == DOMAIN_F32 && !v->m->reference)
      EACH_LANE arg[0][l].f = (double)fmaf((float)arg[0][l].f, (float)arg[1][l].f, (float)arg[2][l].f);
    else if (is_float(s->operand))
      EACH_LANE arg[0][l].f = fma(arg[0][l].f, arg[1][l].f, arg[2][l].f);
    else
      EACH_LANE arg[0][l].i = wrapping((uint64_t)arg[0][l].i * (uint64_t)arg[1][l].i + (uint64_t)arg[2][l].i);
    normalise(v, s->result, arg[0]);
    return;
  case IR_EXPR_PACK:
  case IR_EXPR_UNPACK:
  case IR_EXPR_LOP3:
  case IR_EXPR_PRMT:
  case IR_EXPR_BOTH_HALVES:
  case IR_EXPR_ADD2:
  case IR_EXPR_SUB2:
  case IR_EXPR_MUL2:
  case IR_EXPR_FMA2:
  case IR_EXPR_CVT2:
    typed_bits(v, s, arg);
    return;
  case IR_EXPR_SHUFFLE_XOR:
  case IR_EXPR_SHUFFLE:
  case IR_EXPR_SHUFFLE_UP:
  case IR_EXPR_VOTE_ANY:
  case IR_EXPR_VOTE_ALL:
    exchange(v, s, arg[0], arg[1]);
    return;
  case IR_EXPR_EQ:
  case IR_EXPR_NE:
  case IR_EXPR_LT:
  case IR_EXPR_LE:
  case IR_EXPR_GT:
  case IR_EXPR_GE:
    compare(v, s, arg[0], arg[1]);
    return;
  default:
    if (e->arg_count == 0)
      expr_leaf(v, e, arg[0]);
    else if (e->arg_count == 1)
      function(v, s, arg[0]);
    else
      arithmetic(v, s, arg[0], arg[1]);
    return;
  }
}

static int operand_count(const ir_expr *e) {
  if (e->kind == IR_EXPR_ADDRESS) return e->args[0]->slot ? 1 : 0;
  return e->arg_count + (e->slot ? 1 : 0);
}

/* Runs the program; its result is the bottom vector of the stack. */
static const cell *run_program(machine *m, agent *a, const program *p) {
  evaluation state = {m, a, a ? a->mask : 1, p->uniform ? 1 : LANES, m->stack}, *v = &state;
  if (p->uniform) v->mask = 1;
  enum { DEEPEST = 32 };
  uint32_t masks[DEEPEST];
  int nested = 0;
  for (int i = 0; i < p->count; i++) {
    const step *s = &p->steps[i];
    if (s->code == STEP_OPERATOR) {
      v->top -= operand_count(s->expr);
      operate(v, s, v->top);
      v->top++;
      continue;
    }
    /* A select keeps its condition on the stack, below its arms. */
    cell *condition = s->code == STEP_SELECT_TRUE ? v->top[-1] : s->code == STEP_SELECT_FALSE ? v->top[-2] : v->top[-3];
    if (s->code == STEP_SELECT_END) {
      EACH_LANE condition[l] = condition[l].i ? v->top[-2][l] : v->top[-1][l];
      v->top -= 2;
      v->mask = masks[--nested];
      continue;
    }
    if (s->code == STEP_SELECT_TRUE) {
      if (nested == DEEPEST) BUG("selects are nested more than %d deep", DEEPEST);
      masks[nested++] = v->mask;
    }
    uint32_t holds = 0;
    EACH_LANE holds |= (uint32_t)(condition[l].i != 0) << l;
    v->mask = masks[nested - 1] & (s->code == STEP_SELECT_TRUE ? holds : ~holds);
  }
  return m->stack[0];
}

void evaluate(machine *m, agent *a, const program *p, cell *out) {
  const cell *result = run_program(m, a, p);
  if (p->uniform)
    for (int l = 0; l < LANES; l++)
      out[l] = result[0];
  else
    memcpy(out, result, sizeof(cell) * LANES);
}

cell evaluate_uniform(machine *m, agent *a, const program *p) {
  const cell *result = run_program(m, a, p);
  if (p->uniform) return result[0];
  int first = first_lane(a->mask);
  for (int l = first + 1; l < LANES; l++)
    if ((a->mask >> l & 1) && result[l].i != result[first].i) {
      finding(m, a, EMULATOR_DIVERGENCE, nowhere, nowhere,
              "lanes %d and %d disagree about an operand that must be the same in the warp (%lld and %lld)", first, l,
              (long long)result[first].i, (long long)result[l].i);
      break;
    }
  return result[first];
}

uint32_t evaluate_mask(machine *m, agent *a, const program *p) {
  const cell *result = run_program(m, a, p);
  if (p->uniform) return result[0].i ? a->mask : 0;
  uint32_t holds = 0;
  for (int l = 0; l < LANES; l++)
    holds |= (uint32_t)(result[l].i != 0) << l;
  return holds & a->mask;
}

int64_t evaluate_size(machine *m, const ir_expr *expr) {
  const program *p = compile_program(m, expr);
  cell stack[16][LANES], (*saved)[LANES] = m->stack;
  if (m->code.stack_depth > 16)
    m->stack = arena_alloc(m->memory, sizeof(cell) * LANES * (size_t)(m->code.stack_depth + 2));
  else
    m->stack = stack;
  int64_t result = run_program(m, NULL, p)[0].i;
  m->stack = saved;
  return result;
}
