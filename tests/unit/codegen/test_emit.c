/* The CUDA emitter: its tables are complete, every type, operator and instruction shape makes text that NVRTC takes on every target, and what
 * has no instruction is a diagnostic. */
#include "codegen/emitter.h"
#include "codegen/nvrtc.h"
#include "tests/unit/unit.h"

typedef struct fixture {
  arena *memory;
  diag *d;
  str out;
  str messages;
} fixture;

static void begin(fixture *f) { *f = (fixture){arena_create(), diag_create(), STR_EMPTY, STR_EMPTY}; }

static void end(fixture *f) {
  str_free(&f->out);
  str_free(&f->messages);
  diag_destroy(f->d);
  arena_destroy(f->memory);
}

static ir_module *parse(fixture *f, const char *text) {
  uint16_t file = diag_add_file(f->d, "test.tir", text, strlen(text));
  ir_module *module = ir_parse_module(f->memory, f->d, file, text, strlen(text));
  bool good = module && ir_verify(module->kernels, f->d);
  if (!good) {
    diag_render(f->d, DIAG_FORMAT_TEXT, NULL, &f->messages);
    fail_msg("%s\n%s", str_text(&f->messages), text);
  }
  return module;
}

/* Emits, and where NVRTC is installed compiles: no spills, nothing serialised, no warnings. */
static void compile(fixture *f, const char *text) {
  ir_module *module = parse(f, text);
  bool good = emit_cuda(module, NULL, f->d, &f->out);
  diag_render(f->d, DIAG_FORMAT_TEXT, NULL, &f->messages);
  if (!good) fail_msg("%s", str_text(&f->messages));
  const char *error = NULL;
  nvrtc *n = nvrtc_open(&(nvrtc_search){.path = NULL}, f->memory, NULL, &error);
  if (!n) return;
  nvrtc_result r = nvrtc_compile(n, str_text(&f->out), "test.cu",
                                 &(nvrtc_options){.arch = ir_target_of(module->kernels->target)->name}, f->memory);
  if (r.status != NVRTC_OK) fail_msg("%s\n%s", r.log, str_text(&f->out));
  for (int i = 0; i < r.warning_count; i++)
    fail_msg("%s", r.warnings[i]);
  assert_int_equal(r.kernel_count, 1);
  assert_int_equal(r.kernels[0].spill_store_bytes, 0);
  assert_int_equal(r.kernels[0].spill_load_bytes, 0);
  nvrtc_close(n);
}

static void tables_are_complete(void **state) {
  (void)state;
  for (int i = 0; i < IR_OP_KIND_COUNT; i++)
    if (ir_op_info_of((ir_op_kind)i)->forms & IR_FORMS_THREAD)
      if (!emit_has_op((ir_op_kind)i)) fail_msg("emit.def has no row for %s", ir_op_info_of((ir_op_kind)i)->mnemonic);
  for (int i = 0; i < IR_EXPR_KIND_COUNT; i++)
    if (!emit_has_expr((ir_expr_kind)i))
      fail_msg("emit_expr.def has no row for %s", ir_expr_info_of((ir_expr_kind)i)->text);
}

/* -- Expressions --------------------------------------------------------------------------------------------------- */

/* A kernel whose body mixes every expression given by expr() into %w[3]. */
typedef struct mixer {
  str declarations, body;
  int count;
} mixer;

static void expr(mixer *m, const char *type, const char *format, ...) __attribute__((format(printf, 3, 4)));
static void expr(mixer *m, const char *type, const char *format, ...) {
  int n = m->count++;
  str_printf(&m->declarations, "  alloc %%v%d: scalar %s\n", n, type);
  str_printf(&m->body, "  let %%v%d <- ", n);
  va_list args;
  va_start(args, format);
  str_vprintf(&m->body, format, args);
  va_end(args);
  const char *compute = ir_type_of(ir_compute_type(ir_type_by_name(type, strlen(type))))->name;
  bool is_word = strcmp(compute, "u32") == 0, is_single = strcmp(compute, "f32") == 0 || strcmp(compute, "i32") == 0;
  str_printf(&m->body, "\n  %%w[3] <- %%w[3] * 31u + %s(%%v%d)\n", is_word ? "" : is_single ? "bitcast.u32" : "u32", n);
}

static void types(mixer *m) {
  for (int t = IR_TYPE_NONE + 1; t < IR_TYPE_COUNT; t++) {
    ir_type type = (ir_type)t;
    const char *name = ir_type_of(type)->name, *compute = ir_type_of(ir_compute_type(type))->name;
    if (type == IR_PRED) continue;
    const char *source = ir_is_float(type) ? "%f[0]" : ir_type_of(type)->class == IR_CLASS_SINT ? "%i[0]" : "%w[0]";
    expr(m, name, "%s(%%f[1])", name);
    expr(m, name, "%s(%%i[1])", name);
    expr(m, name, "%s(%%d[1])", name);
    expr(m, name, "%s(%%l[1])", name);
    if (ir_bits(type) > 32) continue;
    int lanes = 32 / ir_bits(type);
    expr(m, compute, "unpack.%s(%%w[0], 0)", name);
    expr(m, compute, "unpack.%s(%%w[0], %d)", name, lanes - 1);
    expr(m, "u32", "pack.%s(%s)", name, source);
    str all = STR_EMPTY;
    for (int i = 0; i < lanes; i++)
      str_printf(&all, "%s%s", i ? ", " : "", source);
    expr(m, "u32", "pack.%s(%s)", name, str_text(&all));
    str_free(&all);
  }
}

static void operators(mixer *m) {
  static const char *const sources[][2] = {{"i32", "i"}, {"u32", "w"}, {"i64", "l"}, {"f32", "f"}, {"f64", "d"}};
  for (int kind = 0; kind < IR_EXPR_KIND_COUNT; kind++) {
    const ir_expr_info *info = ir_expr_info_of((ir_expr_kind)kind);
    bool math = kind >= IR_EXPR_EXP2 && kind <= IR_EXPR_ROUND && kind != IR_EXPR_ABS;
    bool bits = kind >= IR_EXPR_AND && kind <= IR_EXPR_SHR;
    for (size_t s = 0; s < sizeof sources / sizeof *sources; s++) {
      const char *type = sources[s][0], *a = sources[s][1];
      bool is_float = *type == 'f';
      if (math ? !is_float : (bits || kind == IR_EXPR_MOD || kind == IR_EXPR_CEILDIV) && is_float) continue;
      const char *result = info->result == IR_RESULT_PRED ? "pred" : type;
      if (kind == IR_EXPR_SHL || kind == IR_EXPR_SHR)
        expr(m, type, "%%%s[0] %s 3", a, info->text);
      else if (info->style == IR_STYLE_INFIX)
        expr(m, result, "%%%s[0] %s %%%s[1]", a, info->text, a);
      else if (info->style == IR_STYLE_PREFIX)
        expr(m, type, "%s%%%s[0]", info->text, a);
      else if (kind == IR_EXPR_MIN || kind == IR_EXPR_MAX || kind == IR_EXPR_CEILDIV)
        expr(m, type, "%s(%%%s[0], %%%s[1])", info->text, a, a);
      else if (kind == IR_EXPR_SHUFFLE || kind == IR_EXPR_SHUFFLE_XOR || kind == IR_EXPR_SHUFFLE_UP)
        expr(m, type, "%s(%%%s[0], 3)", info->text, a);
      else if (math || (kind == IR_EXPR_ABS && *type != 'u'))
        expr(m, type, "%s(%%%s[0])", info->text, a);
      else if (kind == IR_EXPR_FMA)
        expr(m, type, "fma(%%%s[0], %%%s[1], %%%s[0])", a, a, a);
    }
  }
}

static void specials(mixer *m, ir_target target) {
  static const char *const lanes[] = {"f16", "bf16"};
  expr(m, "i32", "ceildiv(%%n, %%k) + %%n / %%k + %%n %% %%k + (%%n - 3) / 8 + (%%n - 3) %% 8");
  expr(m, "pred", "~(%%f[0] > 1.0) ^ (%%i[0] == 2) & vote_all(%%i[0] > 1) | shuffle(%%i[0] > 3, 1)");
  expr(m, "f32", "select(%%f[0] > 1.0, inf, select(%%f[0] < 0.0, -inf, nan)) + -1e-30");
  expr(m, "i64", "bitcast.i64(%%d[0]) + -9223372036854775807L");
  expr(m, "f64", "bitcast.f64(%%l[0]) * 0.1d");
  expr(m, "u32",
       "lop3(%%w[0], %%w[1], %%w[2], 234) ^ prmt(%%w[0], %%w[1], 51520u) ^ both_halves(%%w[0], 0) ^ "
       "both_halves(%%w[1], 1)");
  expr(m, "u32", "u32(vote_any(%%i[0] == 3)) + u32(tid() + lane() + warp() + block() + blocks())");
  for (size_t i = 0; i < sizeof lanes / sizeof *lanes; i++)
    expr(m, "u32", "add2.%s(%%w[0], sub2.%s(%%w[1], mul2.%s(%%w[2], fma2.%s(%%w[0], %%w[1], %%w[2]))))", lanes[i],
         lanes[i], lanes[i], lanes[i]);
  expr(m, "u32", "cvt2.f8e4m3(%%w[0]) ^ cvt2.f8e5m2(%%w[1])");
  if (ir_target_of(target)->has_cluster) expr(m, "i32", "cta_rank()");
}

static void expressions_compile(void **state) {
  (void)state;
  for (int target = 0; target < IR_TARGET_COUNT; target++) {
    fixture f;
    begin(&f);
    mixer m = {STR_EMPTY, STR_EMPTY, 0};
    types(&m);
    operators(&m);
    specials(&m, (ir_target)target);
    str text = STR_EMPTY;
    str_printf(
        &text,
        "source \"all.tl\"\nkernel @all target %s form thread {threads = 128}\n  size %%n\n  size %%k\n  arg %%x: "
        "global u32[%%n] inout\n"
        "  blocks 1\n  alloc %%w: registers u32[4]\n  alloc %%f: registers f32[2]\n  alloc %%i: registers i32[2]\n"
        "  alloc %%l: registers i64[2]\n  alloc %%d: registers f64[2]\n%sdo\n  declare %%w, %%f\n  declare %%i, %%l, "
        "%%d\n",
        ir_target_of((ir_target)target)->name, str_text(&m.declarations));
    static const char registers[] = "wfild";
    for (int i = 0; registers[i]; i++)
      str_printf(&text, "  %%%c[0] <- ld.global %%x, i64(tid()) * 16L + %dL, tid() < %%n {width = %d}\n", registers[i],
                 4096 * i, registers[i] == 'f' || registers[i] == 'i' ? 8 : 16);
    str_printf(&text, "%s  %%x <- st.global %%w[0], i64(tid()) * 16L, true {width = 16}\nend\n", str_text(&m.body));
    compile(&f, str_text(&text));
    str_free(&text);
    str_free(&m.declarations);
    str_free(&m.body);
    end(&f);
  }
}

/* -- Tensor cores -------------------------------------------------------------------------------------------------- */

typedef struct product {
  const char *acc, *a, *b;
  int k;
  const char *since; /* the first target that has it */
} product;

/* One register array a type: as accumulators `c_`, as operands `r_`. */
static void tensor_kernel(ir_target target, const char *shared, const char *body, str *text) {
  static const char *const accumulators[] = {"f32", "f16", "i32", "f64"};
  static const char *const operands[] = {"f16",    "bf16", "tf32", "f32", "f64", "f8e4m3",
                                         "f8e5m2", "i8",   "u8",   "i4",  "u4"};
  str declare = STR_EMPTY;
  str_printf(text,
             "source \"t.tl\"\nkernel @tensor target %s form thread {threads = 128}\n  size %%n\n  arg %%x: global "
             "u32[%%n] in\n  blocks 1\n%s",
             ir_target_of(target)->name, shared);
  for (size_t i = 0; i < sizeof accumulators / sizeof *accumulators; i++) {
    str_printf(text, "  alloc %%c_%s: registers %s[16]\n", accumulators[i], accumulators[i]);
    str_printf(&declare, "  declare %%c_%s\n  %%c_%s[0] <- ld.global %%x, 16L, true {width = 8}\n", accumulators[i],
               accumulators[i]);
  }
  for (size_t i = 0; i < sizeof operands / sizeof *operands; i++) {
    ir_type type = ir_type_by_name(operands[i], strlen(operands[i]));
    str_printf(text, "  alloc %%r_%s: registers %s[%d]\n", operands[i], operands[i],
               4 * 32 / (ir_bits(type) < 32 ? ir_bits(type) : 32));
    str_printf(&declare, "  declare %%r_%s\n  %%r_%s[0] <- ld.global %%x, 16L, true {width = 16}\n", operands[i],
               operands[i]);
  }
  str_printf(text, "do\n%s%send\n", str_text(&declare), body);
  str_free(&declare);
}

static void mma_shapes_compile(void **state) {
  (void)state;
  static const product products[] = {
      {"f32", "f16", "f16", 16, "sm_80"},       {"f32", "f16", "f16", 8, "sm_80"},
      {"f16", "f16", "f16", 16, "sm_80"},       {"f32", "bf16", "bf16", 16, "sm_80"},
      {"f32", "bf16", "bf16", 8, "sm_80"},      {"f32", "tf32", "tf32", 8, "sm_80"},
      {"f32", "f32", "f32", 4, "sm_80"},        {"i32", "i8", "i8", 32, "sm_80"},
      {"i32", "u8", "i8", 32, "sm_80"},         {"i32", "i8", "u8", 16, "sm_80"},
      {"i32", "u4", "i4", 64, "sm_80"},         {"i32", "i4", "u4", 32, "sm_80"},
      {"f32", "f8e4m3", "f8e4m3", 32, "sm_89"}, {"f32", "f8e5m2", "f8e4m3", 32, "sm_89"},
      {"f64", "f64", "f64", 4, "sm_80"},
  };
  for (int target = 0; target < IR_TARGET_COUNT; target++) {
    fixture f;
    begin(&f);
    str body = STR_EMPTY, text = STR_EMPTY;
    for (size_t i = 0; i < sizeof products / sizeof *products; i++) {
      const product *p = &products[i];
      if (target < ir_target_by_name(p->since)) continue;
      str_printf(&body, "  %%c_%s[0] <- mma %%r_%s[0], %%r_%s[0] {m = %d, n = 8, k = %d}\n", p->acc, p->a, p->b,
                 strcmp(p->a, "f64") == 0 ? 8 : 16, p->k);
    }
    str_append(&body, "  declare %e\n  %e[0] <- ld.global %x, 16L, true {width = 4}\n");
    for (int selector = 0; selector < 2; selector++)
      for (int type = 0; type < 2; type++)
        str_printf(&body, "  %%c_f32[0] <- mma %%r_%s[0], %%r_%s[0], %%e[0] {m = 16, n = 8, k = 32, selector = %d}\n",
                   type ? "bf16" : "f16", type ? "bf16" : "f16", selector);
    tensor_kernel((ir_target)target, "  alloc %e: registers u32[1]\n", str_text(&body), &text);
    compile(&f, str_text(&text));
    str_free(&body);
    str_free(&text);
    end(&f);
  }
}

static void wgmma_shapes_compile(void **state) {
  (void)state;
  static const product products[] = {
      {"f32", "f16", "f16", 16, ""},  {"f16", "f16", "f16", 16, ""},       {"f32", "bf16", "bf16", 16, ""},
      {"f32", "tf32", "tf32", 8, ""}, {"f32", "f8e4m3", "f8e5m2", 32, ""}, {"f16", "f8e5m2", "f8e4m3", 32, ""},
      {"i32", "i8", "u8", 32, ""},    {"i32", "u8", "i8", 32, ""},
  };
  static const struct {
    const char *type;
    int columns;
  } buffers[] = {{"f16", 64}, {"bf16", 64}, {"tf32", 32}, {"f8e4m3", 128}, {"f8e5m2", 128}, {"i8", 128}, {"u8", 128}};
  fixture f;
  begin(&f);
  str shared = STR_EMPTY, body = STR_EMPTY, text = STR_EMPTY;
  for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++)
    str_printf(&shared, "  alloc %%s_%s: shared %s[64, %d] offset 0 layout #shared[64x%d %db]{swizzle 128}\n",
               buffers[i].type, buffers[i].type, buffers[i].columns, buffers[i].columns, 1024 / buffers[i].columns);
  str_append(&body, "  wgmma.fence\n");
  for (size_t i = 0; i < sizeof products / sizeof *products; i++) {
    const product *p = &products[i];
    for (int from_registers = 0; from_registers < 2; from_registers++)
      for (int form = 0; form < (p->k == 16 ? 4 : 2); form++)
        str_printf(&body,
                   "  %%c_%s[0] <- wgmma %s%s, %%s_%s, address(%%s_%s) >> 4, address(%%s_%s) >> 4, %s "
                   "{transpose_b = %d, n = 16, k = %d}\n",
                   p->acc, from_registers ? arena_printf(f.memory, "%%r_%s[0], none", p->a) : "none, %s_",
                   from_registers ? "" : p->a, p->b, from_registers ? p->b : p->a, p->b,
                   form % 2 ? "false" : "tid() > 3", form / 2, p->k);
  }
  str_append(&body, "  wgmma.commit\n  wgmma.wait {pending = 0}\n");
  tensor_kernel(IR_SM_90A, str_text(&shared), str_text(&body), &text);
  compile(&f, str_text(&text));
  str_free(&shared);
  str_free(&body);
  str_free(&text);
  end(&f);
}

/* -- Copies, atomics, barriers ------------------------------------------------------------------------------------- */

static void copies_compile(void **state) {
  (void)state;
  for (int target = 0; target < IR_TARGET_COUNT; target++) {
    bool has_tma = ir_target_of((ir_target)target)->has_tma;
    fixture f;
    begin(&f);
    str head = STR_EMPTY, body = STR_EMPTY, text = STR_EMPTY;
    for (int width = 4; width <= 16; width *= 2) {
      str_printf(&body, "  %%S <- cp.async %%x, address(%%S), 16L, %d {width = %d}\n", width, width);
      str_printf(&body, "  %%S <- cp.async %%x, address(%%S), 16L, tid() {width = %d}\n", width);
      str_printf(&body, "  %%w[0] <- ld.global %%x, 16L, tid() < %%n {width = %d}\n", width);
      str_printf(&body, "  %%f[0] <- ld.global %%y, 16L, true {width = %d}\n", width);
      str_printf(&body, "  %%y <- st.global %%f[0], 16L, tid() < 3 {width = %d}\n", width);
    }
    if (has_tma) str_append(&body, "  %S <- bulk.load %x, %bar@1, address(%S), 64L, 128\n");
    for (int rank = 1; has_tma && rank <= IR_MAX_RANK; rank++) {
      static const char zeros[] = ", 0, 0, 0, 0, 0";
      str_printf(&body, "  %%S <- tma.load %%m%d, %%bar, address(%%S), 0%.*s\n", rank, 3 * rank, zeros);
      str_printf(&body, "  %%S <- tma.load %%m%d, %%bar@(tid()), address(%%S), 3%.*s\n", rank, 3 * rank, zeros);
      for (int add = 0; add < 2; add++)
        str_printf(&body, "  %%m%d <- tma.store %%S, address(%%S)%.*s {reduce = %s}\n", rank, 3 * rank, zeros,
                   add ? "add" : "none");
    }
    for (int width = 1; width <= 16; width *= 2) {
      str_printf(&body,
                 "  %%w[0] <- ld.shared %%S, address(%%S), tid() < 3 {width = %d}\n  %%w[0] <- ld.shared %%S, "
                 "address(%%S), true {width = %d}\n",
                 width, width);
      str_printf(&body, "  %%S <- st.shared %%w[0], address(%%S), tid() < 3 {width = %d}\n", width);
    }
    for (int count = 1; count <= 4; count *= 2)
      for (int transpose = 0; transpose < 2; transpose++) {
        str_printf(&body, "  %%w[0] <- ldmatrix %%S, address(%%S) {count = %d, transpose = %d}\n", count, transpose);
        if (has_tma)
          str_printf(&body, "  %%S <- stmatrix %%f[0], address(%%S) {count = %d, transpose = %d}\n", count, transpose);
      }
    static const char *const reduced[] = {"f32", "f16", "bf16", "f64", "i32", "u32", "i64", "u64"};
    for (size_t i = 0; i < sizeof reduced / sizeof *reduced; i++) {
      str_printf(&head, "  arg %%g_%s: global %s[%%n] inout\n", reduced[i], reduced[i]);
      str_printf(&body,
                 "  declare %%q_%s\n  %%q_%s[0] <- ld.global %%x, 8L, true {width = 8}\n  %%g_%s <- red.global "
                 "%%q_%s[0], 16L, tid() < 3 {operation = sum}\n",
                 reduced[i], reduced[i], reduced[i], reduced[i]);
    }
    for (int rank = 1; has_tma && rank <= IR_MAX_RANK; rank++) {
      static const char extents[] = ", %n, %n, %n, %n, %n";
      str_printf(&head, "  arg %%t%d: global f16[%.*s] inout\n", rank, 4 * rank - 2, extents + 2);
    }
    str_append(&head, "  blocks 1\n");
    for (size_t i = 0; i < sizeof reduced / sizeof *reduced; i++)
      str_printf(&head, "  alloc %%q_%s: registers %s[4]\n", reduced[i], reduced[i]);
    for (int rank = 1; has_tma && rank <= IR_MAX_RANK; rank++) {
      static const char boxes[] = "2, 2, 2, 2, 64";
      str_printf(&head, "  alloc %%m%d: map of %%t%d box [%s] swizzle 128\n", rank, rank,
                 boxes + 3 * (IR_MAX_RANK - rank));
    }
    str_append(&body, "  mbar.init %bar, 3\n  mbar.init %bar@1, 3\n  mbar.arrive %bar@1\n  mbar.wait %bar, 1\n  "
                      "bar.sync {id = 0, threads = 128}\n"
                      "  bar.sync {id = 3, threads = 64}\n  bar.arrive {id = 4, threads = 128}\n  warp.sync\n  "
                      "cp.commit\n  cp.wait {pending = 2}\n"
                      "  %g_f32 <- red.global %q_f32[0], 16L, true {operation = max}\n  %old <- atomic.global %g_u32, "
                      "4L, 1u {operation = sum}\n"
                      "  %w[0] <- %w[0] + %old\n");
    if (has_tma)
      str_append(&body, "  mbar.expect %bar, 128\n  mbar.arrive %bar, 1\n  fence.async\n  fence.mbar_init\n  "
                        "cluster.sync\n  bulk.commit\n"
                        "  bulk.wait {pending = 1}\n  bulk.wait {pending = 0, read = 1}\n  grid.wait\n  grid.launch\n  "
                        "setmaxnreg {registers = 160}\n"
                        "  tma.prefetch %m1\n");
    str_printf(&text,
               "source \"c.tl\"\nkernel @copies target %s form thread {threads = 128%s}\n  size %%n {multiple_of = "
               "64}\n  arg %%x: global u32[%%n] in\n"
               "  arg %%y: global u32[%%n] inout\n%s  alloc %%S: shared f16[64, 64] offset 0 layout #shared[64x64 "
               "16b]{swizzle 128}\n"
               "  alloc %%bar: barrier slots 2 arrivals 1 offset 8192\n  alloc %%w: registers u32[4]\n  alloc %%f: "
               "registers f32[4]\n"
               "  alloc %%old: scalar u32\ndo\n  declare %%w, %%f\n%s  trap\nend\n",
               ir_target_of((ir_target)target)->name, has_tma ? ", cluster = 2" : "", str_text(&head), str_text(&body));
    compile(&f, str_text(&text));
    str_free(&head);
    str_free(&body);
    str_free(&text);
    end(&f);
  }
}

/* -- Text ---------------------------------------------------------------------------------------------------------- */

static const char small_kernel[] = "source \"small.tl\"\n"
                                   "kernel @main target sm_90a form thread {threads = 64} @1:1\n"
                                   "  size %max\n"
                                   "  arg %tid: global f32[%max] inout\n"
                                   "  blocks 1\n"
                                   "  alloc %while: registers f32[1]\n"
                                   "  alloc %i: index\n"
                                   "do\n"
                                   "  declare %while @2:1\n"
                                   "  for %i in 0 .. %max step 1 {unroll = 0} @3:1 do\n"
                                   "    %while[0] <- ld.global %tid, i64(%i) * 4L, true {width = 4} @4:1\n"
                                   "    %tid <- st.global %while[0], 0L, true {width = 4} @4:1\n"
                                   "  end\n"
                                   "end\n";

static void names_do_not_collide(void **state) {
  (void)state;
  fixture f;
  begin(&f);
  assert_true(emit_cuda(parse(&f, small_kernel), NULL, f.d, &f.out));
  assert_non_null(strstr(str_text(&f.out), "main_kernel(unsigned char *tid_2, int max_2)"));
  assert_non_null(strstr(str_text(&f.out), "float while_2[1];"));
  assert_non_null(strstr(
      str_text(&f.out),
      "  // small.tl:4\n    ld_global_4_f32(while_2, tid_2 + (i64)i * 4ll);\n    st_global_4_f32(tid_2, while_2);\n"));
  end(&f);
}

static void lines_lead_back_to_the_source(void **state) {
  (void)state;
  fixture f;
  begin(&f);
  str again = STR_EMPTY;
  emit_options options = {.line_directives = true, .source_text = "kernel\ntile x\n  for i {\nx = y\n"};
  ir_module *module = parse(&f, small_kernel);
  assert_true(emit_cuda(module, &options, f.d, &f.out));
  assert_true(emit_cuda(module, &options, f.d, &again));
  assert_string_equal(str_text(&f.out), str_text(&again));
  assert_non_null(strstr(str_text(&f.out), "  // 3: for i {\n#line 3 \"small.tl\"\n#pragma unroll 1\n"));
  assert_non_null(strstr(str_text(&f.out), "    // 4: x = y\n#line 4 \"small.tl\"\n    ld_global_4_f32(while_2, tid_2 "
                                           "+ (i64)i * 4ll);\n#line 4 \"small.tl\"\n    st_global"));
  str_free(&again);
  end(&f);
}

static void what_has_no_instruction_is_reported(void **state) {
  (void)state;
  static const struct {
    const char *target, *op, *message;
  } cases[] = {
      {"sm_80", "%c[0] <- mma %a[0], %a[0] {m = 16, n = 8, k = 32}",
       "error: sm_80 has no mma m16n8k32 of f8e4m3 and f8e4m3 into f32 [emit]"},
      {"sm_90a", "%c[0] <- mma %a[0], %a[0] {m = 16, n = 8, k = 8}",
       "error: sm_90a has no mma m16n8k8 of f8e4m3 and f8e4m3 into f32 [emit]"},
      {"sm_89", "fence.async", "error: sm_89 has no instruction for 'fence.async' [emit]"},
      {"sm_90a", "%x <- red.global %c[0], 0L, true {operation = mul}", "error: red.global has no 'mul' of f32 [emit]"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    fixture f;
    begin(&f);
    const char *text =
        arena_printf(f.memory,
                     "source \"e.tl\"\nkernel @e target %s form thread {threads = 128}\n  size %%n\n  arg %%x: global "
                     "f32[%%n] inout\n  blocks 1\n"
                     "  alloc %%c: registers f32[4]\n  alloc %%a: registers f8e4m3[16]\ndo\n  declare %%c, %%a\n"
                     "  %%c[0] <- ld.global %%x, 0L, true {width = 16}\n  %%a[0] <- ld.global %%x, 0L, true {width = "
                     "16}\n  %s\nend\n",
                     cases[i].target, cases[i].op);
    assert_false(emit_cuda(parse(&f, text), NULL, f.d, &f.out));
    diag_render(f.d, DIAG_FORMAT_TEXT, NULL, &f.messages);
    if (!strstr(str_text(&f.messages), cases[i].message)) fail_msg("%s", str_text(&f.messages));
    assert_string_equal(str_text(&f.out), "");
    end(&f);
  }
}

/* -- The launch record --------------------------------------------------------------------------------------------- */

static void the_record_follows_the_parameters(void **state) {
  (void)state;
  fixture f;
  begin(&f);
  ir_module *module = parse(
      &f, "source \"dir/r.tl\"\nkernel @r target sm_90a form thread {persistent = 1, threads = 128, cluster = 2, "
          "shared_bytes = 4096, pdl = 1}\n"
          "  size %M\n  size %K {multiple_of = 4}\n  size %F {bound = 3}\n  arg %W: global i4[%M, %K] in\n"
          "  arg %C: global f32[%M, %K] out stride [%K * 2, 1]\n  fact %K >= %F * 2 @4:2\n  fact %F == 3\n  blocks "
          "ceildiv(%M, 64)\n"
          "  alloc %W_map: map of %W box [64, 32] swizzle 0\n  alloc %w: registers f32[4]\ndo\n  tma.prefetch %W_map\n"
          "  declare %w\n  %w[0] <- 0.0\n  %C <- st.global %w[0], 0L, true {width = 8}\nend\n");
  record *r = fill_record(module, module->kernels, f.memory, f.d);
  const char *error = "";
  assert_non_null(r);
  if (!record_verify(r, f.memory, &error)) fail_msg("%s", error);
  assert_string_equal(r->source_file, "r.tl");
  assert_true(r->persistent && r->pdl);
  assert_int_equal(r->size_count, 2);
  assert_int_equal(r->tensor_count, 2);
  assert_int_equal(r->tensors[0].alignment, 16);
  assert_int_equal(r->tensors[1].alignment, 8);
  assert_int_equal(r->map_count, 1);
  assert_string_equal(r->maps[0].type, "u8");
  assert_int_equal(r->maps[0].box[0], 16);
  assert_int_equal(r->maps[0].box[1], 64);
  record_to_json(r, false, &f.out);
  const char *const parts[] = {"\"ceildiv(K*4, 8)\"", "\"ceildiv(M, 64)\"", "K >= 6",
                               "the rows of W are multiples of 16 bytes apart", "\"K*2\""};
  for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
    if (!strstr(str_text(&f.out), parts[i])) fail_msg("no %s in %s", parts[i], str_text(&f.out));
  assert_int_equal(r->constraint_count, 2);
  static const record_parameter_kind kinds[] = {RECORD_TENSOR, RECORD_TENSOR, RECORD_MAP, RECORD_SIZE, RECORD_SIZE};
  assert_int_equal(r->parameter_count, 5);
  for (int i = 0; i < 5; i++)
    assert_int_equal(r->parameters[i].kind, kinds[i]);
  end(&f);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(tables_are_complete),
      cmocka_unit_test(expressions_compile),
      cmocka_unit_test(mma_shapes_compile),
      cmocka_unit_test(wgmma_shapes_compile),
      cmocka_unit_test(copies_compile),
      cmocka_unit_test(names_do_not_collide),
      cmocka_unit_test(lines_lead_back_to_the_source),
      cmocka_unit_test(what_has_no_instruction_is_reported),
      cmocka_unit_test(the_record_follows_the_parameters),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
