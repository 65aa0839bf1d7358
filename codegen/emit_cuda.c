/* Translation units and kernels: names, parameters, what is computed once at a kernel's start. Ops are emit_ops.c's,
 * expressions emit_expr.c's. */
#include "codegen/emitter.h"

#include <stdlib.h>
#include <string.h>

enum {
  INDENT = 2,
  WARP_THREADS = 32,
  SUB_PARTITIONS = 4,
  ALLOCATION_UNIT = 8,
  REGISTERS_MAX = 255,
  BLOCK_THREADS_MAX = 1024
};

/* -- Names --------------------------------------------------------------------------------------------------------- */

/* Words of C++ and CUDA, and what the emitter itself calls things. Functions of the prelude and of expressions are
 * asked for apart. */
static const char *const reserved[] = {
    "alignas",
    "alignof",
    "and",
    "and_eq",
    "asm",
    "auto",
    "bitand",
    "bitor",
    "bool",
    "break",
    "case",
    "catch",
    "char",
    "class",
    "compl",
    "concept",
    "const",
    "const_cast",
    "consteval",
    "constexpr",
    "constinit",
    "continue",
    "decltype",
    "default",
    "delete",
    "do",
    "double",
    "dynamic_cast",
    "else",
    "enum",
    "explicit",
    "export",
    "extern",
    "false",
    "float",
    "for",
    "friend",
    "goto",
    "if",
    "inline",
    "int",
    "long",
    "mutable",
    "namespace",
    "new",
    "noexcept",
    "not",
    "not_eq",
    "nullptr",
    "operator",
    "or",
    "or_eq",
    "private",
    "protected",
    "public",
    "register",
    "reinterpret_cast",
    "requires",
    "return",
    "short",
    "signed",
    "sizeof",
    "static",
    "static_assert",
    "static_cast",
    "struct",
    "switch",
    "template",
    "this",
    "thread_local",
    "throw",
    "true",
    "try",
    "typedef",
    "typeid",
    "typename",
    "union",
    "unsigned",
    "using",
    "virtual",
    "void",
    "volatile",
    "wchar_t",
    "while",
    "xor",
    "xor_eq",
    "main",
    "atomicCAS",
    "threadIdx",
    "blockIdx",
    "gridDim",
    "blockDim",
    "warpSize",
    "u32",
    "i64",
    "u64",
    "tid",
    "lane",
    "warp",
    "block",
    "blocks",
    "rank",
    "shared",
    "shared_memory",
    "IEEE",
    "NAN_ONLY",
    "FINITE",
};

/* How the names of intrinsics.c begin. */
static const char *const families[] = {"ld_",       "st_",       "cp_async_",   "tma_",
                                       "ldmatrix_", "stmatrix_", "red_global_", "atomic_global_",
                                       "mma_",      "wgmma_",    "encode_",     "decode_"};

static bool is_reserved(const char *name) {
  for (size_t i = 0; i < sizeof reserved / sizeof *reserved; i++)
    if (strcmp(reserved[i], name) == 0) return true;
  for (size_t i = 0; i < sizeof families / sizeof *families; i++)
    if (strncmp(families[i], name, strlen(families[i])) == 0) return true;
  return emit_is_function(name) || prelude_has(name, strlen(name));
}

/* `name` as an identifier: other characters become '_', and it begins with a letter. */
static char *identifier(arena *memory, const char *name) {
  bool letter = (*name >= 'a' && *name <= 'z') || (*name >= 'A' && *name <= 'Z');
  char *text = arena_printf(memory, "%s%s", letter ? "" : "v", name);
  for (char *p = text; *p; p++) {
    bool good = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9') || *p == '_';
    if (!good) *p = '_';
  }
  return text;
}

static bool is_taken(const emitter *e, const char *name) {
  for (int i = 0; i < e->taken_count; i++)
    if (strcmp(e->taken[i], name) == 0) return true;
  return is_reserved(name);
}

const char *emit_unique_name(emitter *e, const char *wanted) {
  const char *base = identifier(e->memory, wanted), *name = base;
  for (int i = 2; is_taken(e, name); i++)
    name = arena_printf(e->memory, "%s_%d", base, i);
  ARENA_PUSH(e->memory, e->taken, e->taken_count, e->taken_capacity, name);
  return name;
}

const char *emit_entry_name(const ir_kernel *kernel, arena *memory) {
  const char *name = identifier(memory, kernel->name);
  return is_reserved(name) ? arena_printf(memory, "%s_kernel", name) : name;
}

static const char *const local_names[EMIT_LOCAL_COUNT] = {
    [EMIT_TID] = "tid",       [EMIT_LANE] = "lane",     [EMIT_WARP] = "warp",     [EMIT_BLOCK] = "block",
    [EMIT_BLOCKS] = "blocks", [EMIT_CTA_RANK] = "rank", [EMIT_SHARED] = "shared",
};

const char *emit_use_local(emitter *e, emit_local local) {
  e->locals_used[local] = true;
  if (local == EMIT_CTA_RANK) prelude_want(e->functions, "cta_rank");
  return local_names[local];
}

/* -- Lines --------------------------------------------------------------------------------------------------------- */

void emit_line(emitter *e, const char *format, ...) {
  if (format[0] != '#')
    for (int i = 0; i < INDENT * e->indent; i++)
      str_append_char(e->out, ' ');
  va_list args;
  va_start(args, format);
  str_vprintf(e->out, format, args);
  va_end(args);
  str_append_char(e->out, '\n');
  if (e->next_line >= 0) e->next_line++;
}

bool emit_fail(emitter *e, src_loc loc, const char *format, ...) {
  va_list args;
  va_start(args, format);
  diag_verror(e->d, DIAG_EMIT, loc, format, args);
  va_end(args);
  e->failed = true;
  return false;
}

/* CUDA C++ Programming Guide, compute capabilities: each of the four parts of an SM has a quarter of the registers,
 * given out to warps in units of eight a thread. */
int emit_register_cap(const emitter *e) {
  int warps = e->threads / WARP_THREADS * (e->min_blocks > 1 ? e->min_blocks : 1);
  int per_part = (warps + SUB_PARTITIONS - 1) / SUB_PARTITIONS;
  int cap = e->target->registers / SUB_PARTITIONS / (WARP_THREADS * (per_part ? per_part : 1));
  cap = cap / ALLOCATION_UNIT * ALLOCATION_UNIT;
  return cap < REGISTERS_MAX ? cap : REGISTERS_MAX;
}

/* -- Parameters ---------------------------------------------------------------------------------------------------- */

ir_value *const *emit_parameters(const ir_kernel *kernel, arena *memory, int *count) {
  ir_value **list = ARENA_ARRAY(memory, ir_value *, kernel->value_count);
  *count = 0;
  for (int pass = 0; pass < 3; pass++)
    for (int i = 0; i < kernel->value_count; i++) {
      ir_value *value = kernel->values[i];
      bool wanted = pass == 0   ? value->space == IR_GLOBAL
                    : pass == 1 ? value->space == IR_MAP
                                : value->space == IR_SIZE && value->bound < 0;
      if (wanted) list[(*count)++] = value;
    }
  return list;
}

static void write_parameters(emitter *e, str *out) {
  int count;
  ir_value *const *list = emit_parameters(e->kernel, e->memory, &count);
  for (int i = 0; i < count; i++) {
    const ir_value *value = list[i];
    const char *type = value->space == IR_MAP                                   ? "const __grid_constant__ tensor_map "
                       : value->space == IR_SIZE                                ? "int "
                       : value->space == IR_GLOBAL && value->direction == IR_IN ? "const unsigned char *"
                                                                                : "unsigned char *";
    if (value->space == IR_MAP) prelude_want(e->functions, "tensor_map");
    str_printf(out, "%s%s%s", i ? ", " : "", type, e->names[value->number]);
  }
}

/* -- Kernels ------------------------------------------------------------------------------------------------------- */

static bool reads_maps(const ir_kernel *kernel) {
  for (int i = 0; i < kernel->value_count; i++)
    if (kernel->values[i]->space == IR_MAP) return true;
  return false;
}

/* What the body turned out to need, each computed once. The warp's number comes from a shuffle so that the compiler
 * knows it is uniform. */
static void write_locals(emitter *e, str *out) {
  static const char *const text[EMIT_LOCAL_COUNT] = {
      [EMIT_TID] = "const int tid = threadIdx.x;",
      [EMIT_LANE] = "const int lane = threadIdx.x & 31;",
      [EMIT_WARP] = "const int warp = __shfl_sync(0xffffffffu, threadIdx.x >> 5, 0);",
      [EMIT_BLOCK] = "const int block = blockIdx.x;",
      [EMIT_BLOCKS] = "const int blocks = gridDim.x;",
      [EMIT_CTA_RANK] = "const int rank = cta_rank();",
      [EMIT_SHARED] = ("extern __shared__ __align__(1024) unsigned char shared_memory[];\n"
                       "  const u32 shared = (u32)__cvta_generic_to_shared(shared_memory);"),
  };
  for (int i = 0; i < EMIT_LOCAL_COUNT; i++)
    if (e->locals_used[i]) str_printf(out, "  %s\n", text[i]);
  if (!e->locals_used[EMIT_SHARED]) return;
  /* Swizzles act on address bits; the base has the alignment as long as nothing static stands before it. */
  if (reads_maps(e->kernel)) str_append(out, "  if (shared & 1023) __trap();\n");
  for (int i = 0; i < e->kernel->value_count; i++) {
    const ir_value *value = e->kernel->values[i];
    if (!e->buffers_used[i]) continue;
    if (value->offset < 0) emit_fail(e, value->loc, "'%s' has no place in shared memory", value->name);
    str_printf(out, "  const u32 %s = shared + %d;", e->names[i], value->offset);
    if (value->space == IR_SHARED) {
      str_printf(out, " // %s", ir_type_of(value->type)->name);
      for (int d = 0; d < value->rank; d++)
        str_printf(out, "%s%lld", d ? ", " : "[", (long long)ir_extent(value, d));
      str_append_char(out, ']');
    } else {
      str_append(out, " // mbarrier");
    }
    if (value->slots > 1) str_printf(out, " x %d", value->slots);
    str_append_char(out, '\n');
  }
}

static bool check_launch(emitter *e) {
  int64_t threads = ir_attr_get(&e->kernel->attrs, IR_ATTR_THREADS, 0);
  int64_t blocks = ir_attr_get(&e->kernel->attrs, IR_ATTR_MIN_BLOCKS, 1);
  if (e->kernel->form != IR_FORM_THREAD)
    return emit_fail(e, e->kernel->loc, "'%s' is in the %s form: only the thread form becomes CUDA", e->kernel->name,
                     ir_form_name(e->kernel->form));
  if (threads < WARP_THREADS || threads > BLOCK_THREADS_MAX || threads % WARP_THREADS)
    return emit_fail(e, e->kernel->loc, "'%s' has %lld threads a block: give a multiple of 32 up to 1024",
                     e->kernel->name, (long long)threads);
  e->threads = (int)threads;
  e->min_blocks = blocks < 1 ? 1 : blocks > 32 ? 32 : (int)blocks;
  return true;
}

static bool emit_kernel(emitter *e, str *out) {
  const ir_kernel *kernel = e->kernel;
  if (!check_launch(e)) return false;
  e->names = ARENA_ARRAY(e->memory, const char *, kernel->value_count);
  e->ranges = ARENA_ARRAY(e->memory, ir_range, kernel->value_count);
  e->buffers_used = ARENA_ARRAY(e->memory, bool, kernel->value_count);
  for (int i = 0; i < kernel->value_count; i++) {
    e->names[i] = emit_unique_name(e, kernel->values[i]->name);
    e->ranges[i] = (ir_range){1, 0}; /* unknown */
  }
  str text = STR_EMPTY;
  e->out = &text;
  e->indent = 1;
  emit_block(e, &kernel->body);
  str_printf(out, "\nextern \"C\" __global__ void __launch_bounds__(%d, %d)", e->threads, e->min_blocks);
  int64_t cluster = ir_attr_get(&kernel->attrs, IR_ATTR_CLUSTER, 1);
  if (cluster > 1) str_printf(out, " __cluster_dims__(%lld, 1, 1)", (long long)cluster);
  str_printf(out, "\n%s(", emit_entry_name(kernel, e->memory));
  write_parameters(e, out);
  str_append(out, ")\n{\n");
  write_locals(e, out);
  str_append(out, str_text(&text));
  str_append(out, "}\n");
  str_free(&text);
  return !e->failed;
}

bool emit_cuda(const ir_module *module, const emit_options *options, diag *d, str *out) {
  static const emit_options plain = {0};
  const ir_kernel *first = module->kernels;
  if (!first) return true;
  arena *memory = arena_create();
  const ir_target_info *target = ir_target_of(first->target);
  prelude functions;
  prelude_begin(&functions, memory, atoi(target->name + strcspn(target->name, "0123456789")));
  str kernels = STR_EMPTY;
  bool good = true;
  for (const ir_kernel *kernel = first; kernel; kernel = kernel->next) {
    emitter e = {.memory = memory,
                 .d = d,
                 .module = module,
                 .kernel = kernel,
                 .options = options ? options : &plain,
                 .target = target,
                 .functions = &functions,
                 .next_line = -1};
    if (kernel->target != first->target)
      good = emit_fail(&e, kernel->loc, "'%s' is for %s, '%s' for %s: a cubin has one target", kernel->name,
                       ir_target_of(kernel->target)->name, first->name, target->name);
    else
      good &= emit_kernel(&e, &kernels);
  }
  if (good) {
    prelude_write(&functions, out);
    str_append(out, str_text(&kernels));
  }
  str_free(&kernels);
  str_free(&functions.made);
  arena_destroy(memory);
  return good;
}
