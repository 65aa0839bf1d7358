/* Families of device functions, one made for each shape that a unit uses: loads and stores by width, mma by type,
 * wgmma by size. Each is one inline PTX instruction; the comment above it names the section of the PTX ISA. */
#include "codegen/emitter.h"

#include "ir/numeric.h"

#include <math.h>
#include <string.h>

#define DEVICE "__device__ __forceinline__ "

static bool make(emitter *e, const char *name) { return !prelude_made(e->functions, name); }

/* How words of a register array are named in C and in an asm operand. */
typedef struct word_kind {
  const char *type;
  const char *suffix; /* of function names */
  char constraint;
  int bytes;
} word_kind;

static word_kind word_of(ir_type type) {
  if (ir_bits(type) < 32) return (word_kind){"u32", "", 'r', 4};
  switch (ir_compute_type(type)) {
  case IR_I32:
    return (word_kind){"int", "_i32", 'r', 4};
  case IR_U32:
    return (word_kind){"u32", "", 'r', 4};
  case IR_F32:
    return (word_kind){"float", "_f32", 'f', 4};
  case IR_F64:
    return (word_kind){"double", "_f64", 'd', 8};
  case IR_I64:
    return (word_kind){"i64", "_i64", 'l', 8};
  default:
    return (word_kind){"u64", "_u64", 'l', 8};
  }
}

/* "%3, %4, %5" */
static void numbered(int first, int count, str *out) {
  for (int i = 0; i < count; i++)
    str_printf(out, "%s%%%d", i ? ", " : "", first + i);
}

/* `"+f"(d[0]), "+f"(d[1])`, eight a line where there are many */
static void operands(const char *constraint, const char *array, int count, str *out) {
  for (int i = 0; i < count; i++)
    str_printf(out, "%s\"%s\"(%s[%d])", i == 0 ? "" : i % 8 == 0 ? ",\n      " : ", ", constraint, array, i);
}

/* `.v4.b32 `, or the unsigned type of one element narrower than a word */
static void access_type(int width, word_kind word, str *out) {
  int count = width / word.bytes;
  if (count > 1)
    str_printf(out, ".v%d.b%d", count, 8 * word.bytes);
  else if (width < word.bytes)
    str_printf(out, ".u%d", 8 * width);
  else
    str_printf(out, ".b%d", 8 * word.bytes);
}

static void registers_list(int first, int count, str *out) {
  if (count > 1) str_append_char(out, '{');
  numbered(first, count, out);
  if (count > 1) str_append_char(out, '}');
}

static int words_of(int width, word_kind word) { return width > word.bytes ? width / word.bytes : 1; }

/* -- Loads and stores ---------------------------------------------------------------------------------------------- */

const char *intrinsic_load(emitter *e, bool shared, const ir_value *registers, int width, bool conditional) {
  word_kind word = word_of(registers->type);
  const char *space = shared ? "shared" : "global";
  const char *name = arena_printf(e->memory, "ld_%s_%d%s%s", space, width, word.suffix, conditional ? "_if" : "");
  if (!make(e, name)) return name;
  str *out = &e->functions->made;
  int count = words_of(width, word);
  str_printf(out, "\n// PTX ISA: ld\n" DEVICE "void %s(%s *r, %s%s)\n{\n", name, word.type,
             shared ? "u32 p" : "const unsigned char *p", conditional ? ", bool condition" : "");
  if (conditional) {
    str_append(out, "  ");
    for (int i = 0; i < count; i++)
      str_printf(out, "r[%d] = ", i);
    str_append(out, "0;\n");
  }
  str_append(out, "  asm volatile(\"");
  if (conditional) str_printf(out, "{ .reg .pred q; setp.ne.b32 q, %%%d, 0; @q ", count + 1);
  str_printf(out, "ld.%s", space);
  access_type(width, word, out);
  str_append_char(out, ' ');
  registers_list(0, count, out);
  str_printf(out, ", [%%%d]", count);
  str_append(out, conditional ? "; }\"\n    : " : ";\"\n    : ");
  operands((char[]){conditional ? '+' : '=', word.constraint, 0}, "r", count, out);
  str_printf(out, "\n    : \"%s\"(p)", shared ? "r" : "l");
  if (conditional) str_append(out, ", \"r\"((int)condition)");
  str_append(out, " : \"memory\");\n}\n");
  return name;
}

const char *intrinsic_store(emitter *e, bool shared, const ir_value *registers, int width) {
  word_kind word = word_of(registers->type);
  const char *space = shared ? "shared" : "global";
  const char *name = arena_printf(e->memory, "st_%s_%d%s", space, width, word.suffix);
  if (!make(e, name)) return name;
  str *out = &e->functions->made;
  int count = words_of(width, word);
  str_printf(out, "\n// PTX ISA: st\n" DEVICE "void %s(%s, const %s *r)\n{\n  asm volatile(\"st.%s", name,
             shared ? "u32 p" : "unsigned char *p", word.type, space);
  access_type(width, word, out);
  str_append(out, " [%0], ");
  registers_list(1, count, out);
  str_printf(out, ";\"\n    :: \"%s\"(p), ", shared ? "r" : "l");
  operands((char[]){word.constraint, 0}, "r", count, out);
  str_append(out, " : \"memory\");\n}\n");
  return name;
}

const char *intrinsic_cp_async(emitter *e, int width, bool partial, bool conditional) {
  const char *name =
      arena_printf(e->memory, "cp_async_%d%s%s", width, partial ? "_partial" : "", conditional ? "_if" : "");
  if (!make(e, name)) return name;
  str *out = &e->functions->made;
  const int bytes = 2, when = partial ? 3 : 2; /* operands */
  str_printf(out, "\n// PTX ISA: cp.async%s\n" DEVICE "void %s(u32 destination, const unsigned char *source%s%s)\n{\n",
             partial ? "; what lies beyond `bytes` is zeros" : "", name, partial ? ", int bytes" : "",
             conditional ? ", bool condition" : "");
  str_append(out, "  asm volatile(\"");
  if (conditional) str_printf(out, "{ .reg .pred q; setp.ne.b32 q, %%%d, 0; @q ", when);
  str_printf(out, "cp.async.%s.shared.global", width == 16 ? "cg" : "ca");
  if (width == 16) str_append(out, ".L2::128B");
  str_printf(out, " [%%0], [%%1], %d", width);
  if (partial) str_printf(out, ", %%%d", bytes);
  str_printf(out, ";%s\"\n    :: \"r\"(destination), \"l\"(source)%s", conditional ? " }" : "",
             partial ? ", \"r\"(bytes)" : "");
  str_printf(out, "%s : \"memory\");\n}\n", conditional ? ", \"r\"((int)condition)" : "");
  return name;
}

/* -- Tensor copies ------------------------------------------------------------------------------------------------- */

static void coordinate_parameters(int rank, str *out) {
  for (int i = 0; i < rank; i++)
    str_printf(out, ", int c%d", i);
}

static void coordinate_operands(int rank, str *out) {
  for (int i = 0; i < rank; i++)
    str_printf(out, ", \"r\"(c%d)", i);
}

const char *intrinsic_tma_load(emitter *e, int rank, bool multicast) {
  const char *name = arena_printf(e->memory, "tma_load_%dd%s", rank, multicast ? "_multicast" : "");
  prelude_want(e->functions, "tensor_map");
  if (!make(e, name)) return name;
  str *out = &e->functions->made;
  str_printf(out,
             "\n// PTX ISA: cp.async.bulk.tensor\n" DEVICE "void %s(u32 destination, const tensor_map *map, u32 bar%s",
             name, multicast ? ", u32 mask" : "");
  coordinate_parameters(rank, out);
  str_printf(
      out,
      ")\n{\n  asm volatile(\"cp.async.bulk.tensor.%dd.shared::cluster.global.tile.mbarrier::complete_tx::bytes%s "
      "[%%0], [%%1, {",
      rank, multicast ? ".multicast::cluster" : "");
  numbered(3, rank, out);
  str_append(out, "}], [%2]");
  if (multicast) str_printf(out, ", %%%d", 3 + rank);
  str_append(out, ";\"\n    :: \"r\"(destination), \"l\"(map), \"r\"(bar)");
  coordinate_operands(rank, out);
  if (multicast) str_append(out, ", \"h\"((unsigned short)mask)");
  str_append(out, " : \"memory\");\n}\n");
  return name;
}

const char *intrinsic_tma_store(emitter *e, int rank, bool add) {
  const char *name = arena_printf(e->memory, "tma_%s_%dd", add ? "add" : "store", rank);
  prelude_want(e->functions, "tensor_map");
  if (!make(e, name)) return name;
  str *out = &e->functions->made;
  str_printf(out, "\n// PTX ISA: %s\n" DEVICE "void %s(const tensor_map *map, u32 source",
             add ? "cp.reduce.async.bulk.tensor" : "cp.async.bulk.tensor", name);
  coordinate_parameters(rank, out);
  str_printf(out, ")\n{\n  asm volatile(\"cp.%sasync.bulk.tensor.%dd.global.shared::cta%s.tile.bulk_group [%%0, {",
             add ? "reduce." : "", rank, add ? ".add" : "");
  numbered(2, rank, out);
  str_append(out, "}], [%1];\"\n    :: \"l\"(map), \"r\"(source)");
  coordinate_operands(rank, out);
  str_append(out, " : \"memory\");\n}\n");
  return name;
}

const char *intrinsic_matrix(emitter *e, bool store, int count, bool transpose, ir_type type) {
  word_kind word = word_of(type);
  if (word.bytes != 4) return NULL;
  const char *op = store ? "stmatrix" : "ldmatrix";
  const char *name = arena_printf(e->memory, "%s_x%d%s%s", op, count, transpose ? "_trans" : "", word.suffix);
  if (!make(e, name)) return name;
  str *out = &e->functions->made;
  str_printf(out, "\n// PTX ISA: %s\n" DEVICE "void %s(", op, name);
  str_printf(out, store ? "u32 p, const %s *r)\n{\n" : "%s *r, u32 p)\n{\n", word.type);
  str_printf(out, "  asm volatile(\"%s.sync.aligned.m8n8.x%d%s.shared.b16 ", op, count, transpose ? ".trans" : "");
  char constraint = 'r';
  const char *bits = word.constraint == 'f' ? "f" : "r";
  str_append(out, store ? "[%0], {" : "{");
  numbered(store ? 1 : 0, count, out);
  if (store)
    str_append(out, "};\"\n    :: \"r\"(p), ");
  else
    str_printf(out, "}, [%%%d];\"\n    : ", count);
  operands(store ? bits : (char[]){'=', *bits, 0}, "r", count, out);
  if (!store) str_printf(out, " : \"%c\"(p)", constraint);
  str_append(out, " : \"memory\");\n}\n");
  return name;
}

/* -- Atomics ------------------------------------------------------------------------------------------------------- */

/* The type of atom and red for an operation: ".s32", ".b32"; NULL when PTX has none. */
static const char *atomic_type(ir_operation operation, ir_type type) {
  bool is_bits = operation == IR_AND || operation == IR_OR || operation == IR_XOR;
  bool is_sum = operation == IR_SUM;
  if (operation == IR_MUL) return NULL;
  switch (type) {
  case IR_I32:
    return is_bits ? "b32" : is_sum ? "u32" : "s32";
  case IR_U32:
    return is_bits ? "b32" : "u32";
  case IR_I64:
    return is_bits ? "b64" : is_sum ? "u64" : "s64";
  case IR_U64:
    return is_bits ? "b64" : "u64";
  case IR_F32:
    return is_sum ? "f32" : NULL;
  case IR_F64:
    return is_sum ? "f64" : NULL;
  case IR_F16:
    return is_sum ? "noftz.f16" : NULL;
  case IR_BF16:
    return is_sum ? "noftz.bf16" : NULL;
  default:
    return NULL;
  }
}

static const char *const operation_name[] = {
    [IR_SUM] = "add", [IR_MAX] = "max", [IR_MIN] = "min", [IR_MUL] = "mul",
    [IR_AND] = "and", [IR_OR] = "or",   [IR_XOR] = "xor",
};

/* max and min of floats order as those of their bits: signed when the new one is positive, reversed and unsigned when
 * it is negative. */
static void reduce_extreme(emitter *e, const char *name, ir_operation operation, bool shared) {
  bool is_max = operation == IR_MAX;
  const char *space = shared ? "cta.shared" : "gpu.global";
  str_printf(&e->functions->made,
             "\n// PTX ISA: red; floats order as their bits do, as signed numbers when x is positive, the other way "
             "round as unsigned ones when it is negative\n" DEVICE "void %s(%sp, float x)\n{\n"
             "  if (__float_as_int(x) >= 0) asm volatile(\"red.relaxed.%s.%s.s32 [%%0], %%1;\" :: \"%c\"(p), "
             "\"r\"(__float_as_int(x)) : \"memory\");\n"
             "  else asm volatile(\"red.relaxed.%s.%s.u32 [%%0], %%1;\" :: \"%c\"(p), \"r\"(__float_as_int(x)) "
             ": \"memory\");\n}\n",
             name, shared ? "u32 " : "unsigned char *", space, is_max ? "max" : "min", shared ? 'r' : 'l', space,
             is_max ? "min" : "max", shared ? 'r' : 'l');
}

/* bf16 has no atomic sum before sm_90: the word around it is exchanged until nobody else has changed it. */
static void reduce_bf16_by_swap(emitter *e, const char *name) {
  prelude_want(e->functions, "unpack_bf16");
  prelude_want(e->functions, "encode_bf16");
  str_printf(&e->functions->made,
             "\n// PTX ISA: atom.cas, on the word that holds the element\n" DEVICE
             "void %s(unsigned char *p, u32 x)\n{\n"
             "  u32 *word = (u32 *)((u64)p & ~3ull);\n"
             "  const u32 shift = ((u64)p & 2) * 8;\n"
             "  u32 old = *(volatile u32 *)word, seen;\n"
             "  for (;; old = seen) {\n"
             "    u32 sum = encode_bf16(unpack_bf16<0>(old >> shift) + unpack_bf16<0>(x));\n"
             "    seen = atomicCAS(word, old, (old & ~(0xffffu << shift)) | sum << shift);\n"
             "    if (seen == old) break;\n"
             "  }\n}\n",
             name);
}

const char *intrinsic_reduce(emitter *e, ir_operation operation, ir_type type, bool shared) {
  const char *name = arena_printf(e->memory, "red_%s_%s_%s", shared ? "shared" : "global", operation_name[operation],
                                  ir_type_of(type)->name);
  const char *ptx = atomic_type(operation, type);
  bool is_extreme = type == IR_F32 && (operation == IR_MAX || operation == IR_MIN);
  bool swaps = type == IR_BF16 && e->functions->arch < EMIT_ARCH_HOPPER;
  if ((!ptx && !is_extreme) || (swaps && shared)) return NULL;
  if (!make(e, name)) return name;
  if (is_extreme) {
    reduce_extreme(e, name, operation, shared);
    return name;
  }
  if (swaps) {
    reduce_bf16_by_swap(e, name);
    return name;
  }
  word_kind word = word_of(type);
  bool is_half = ir_bits(type) == 16;
  str_printf(&e->functions->made,
             "\n// PTX ISA: red\n" DEVICE "void %s(%sp, %s x)\n{ asm volatile(\"red.relaxed.%s.%s.%s [%%0], %%1;\" :: "
             "\"%c\"(p), \"%c\"(%sx) : \"memory\"); }\n",
             name, shared ? "u32 " : "unsigned char *", word.type, shared ? "cta.shared" : "gpu.global",
             operation_name[operation], ptx, shared ? 'r' : 'l', is_half ? 'h' : word.constraint,
             is_half ? "(unsigned short)" : "");
  return name;
}

const char *intrinsic_atomic(emitter *e, ir_operation operation, ir_type type) {
  const char *ptx = type == IR_I32 || type == IR_U32 ? atomic_type(operation, type) : NULL;
  if (!ptx) return NULL;
  const char *name = arena_printf(e->memory, "atomic_global_%s_%s", operation_name[operation], ir_type_of(type)->name);
  if (!make(e, name)) return name;
  word_kind word = word_of(type);
  str_printf(&e->functions->made,
             "\n// PTX ISA: atom\n" DEVICE "%s %s(%sunsigned char *p, %s x)\n"
             "{ %s old; asm volatile(\"atom.acq_rel.gpu.global.%s.%s %%0, [%%1], %%2;\" : \"=r\"(old) : \"l\"(p), "
             "\"r\"(x) : \"memory\"); return old; }\n",
             word.type, name, "", word.type, word.type, operation_name[operation], ptx);
  return name;
}

/* -- Tensor cores -------------------------------------------------------------------------------------------------- */

/* As PTX writes an operand type; NULL when no tensor core takes it. */
static const char *matrix_type(ir_type type) {
  switch (type) {
  case IR_F16:
    return "f16";
  case IR_BF16:
    return "bf16";
  case IR_TF32:
  case IR_F32:
    return "tf32";
  case IR_F64:
    return "f64";
  case IR_F8E4M3:
    return "e4m3";
  case IR_F8E5M2:
    return "e5m2";
  case IR_I8:
    return "s8";
  case IR_U8:
    return "u8";
  case IR_I4:
    return "s4";
  case IR_U4:
    return "u4";
  default:
    return NULL;
  }
}

static const char *accumulator_type(ir_type type) {
  return type == IR_F32 ? "f32" : type == IR_F16 ? "f16" : type == IR_I32 ? "s32" : type == IR_F64 ? "f64" : NULL;
}

/* Whether tensor cores multiply the two types with each other. */
static bool operands_agree(ir_type a, ir_type b) {
  bool both_fp8 = (a == IR_F8E4M3 || a == IR_F8E5M2) && (b == IR_F8E4M3 || b == IR_F8E5M2);
  bool both_int = ir_is_integer(a) && ir_is_integer(b) && ir_bits(a) == ir_bits(b);
  bool both_tf32 = ir_bits(a) == 32 && ir_bits(b) == 32 && ir_is_float(a) && ir_is_float(b);
  return a == b || both_fp8 || both_int || both_tf32;
}

/* Integers accumulate in s32, f16 and the 8-bit floats in f32 or f16, all others in f32 (f64 in f64). */
static bool accumulator_agrees(ir_type acc, ir_type operand) {
  if (ir_is_integer(operand)) return acc == IR_I32;
  if (operand == IR_F64) return acc == IR_F64;
  return acc == IR_F32 || (acc == IR_F16 && (operand == IR_F16 || ir_bits(operand) == 8));
}

static const char *mma_operand(ir_type type, const char *array, int index, arena *memory) {
  return word_of(type).constraint == 'f'
             ? arena_printf(memory, "\"r\"(__float_as_uint(%s[%d]))", array, index)
             : arena_printf(memory, "\"%c\"(%s[%d])", word_of(type).constraint, array, index);
}

const char *intrinsic_mma(emitter *e, int m, int n, int k, ir_type acc, ir_type a, ir_type b) {
  const char *d = accumulator_type(acc), *pa = matrix_type(a), *pb = matrix_type(b);
  if (!d || !pa || !pb || !operands_agree(a, b) || !accumulator_agrees(acc, a)) return NULL;
  int bits = ir_bits(a);
  bool is_double = a == IR_F64;
  if (is_double ? m != 8 || n != 8 || k != 4 : m != 16 || n != 8 || (k * bits != 256 && k * bits != 128)) return NULL;
  if (ir_is_float(a) && bits == 8 && (e->functions->arch < EMIT_ARCH_FP8_CVT || k != 32)) return NULL;
  const char *name = arena_printf(e->memory, "mma_m%dn%dk%d_%s_%s_%s", m, n, k, d, pa, pb);
  if (!make(e, name)) return name;
  int a_count = is_double ? 1 : k * bits / 64, b_count = is_double ? 1 : k * bits / 128;
  int d_count = is_double ? 2 : acc == IR_F16 ? 2 : 4;
  word_kind word = word_of(acc);
  str *out = &e->functions->made;
  str_printf(
      out,
      "\n// PTX ISA: mma\n" DEVICE
      "void %s(%s *d, const %s *a, const %s *b)\n{\n  asm volatile(\"mma.sync.aligned.m%dn%dk%d.row.col.%s.%s.%s.%s {",
      name, word.type, word_of(a).type, word_of(b).type, m, n, k, d, pa, pb, d);
  numbered(0, d_count, out);
  str_append(out, "}, {");
  numbered(d_count, a_count, out);
  str_append(out, "}, {");
  numbered(d_count + a_count, b_count, out);
  str_append(out, "}, {");
  numbered(0, d_count, out);
  str_append(out, "};\"\n    : ");
  operands((char[]){'+', word.constraint, 0}, "d", d_count, out);
  str_append(out, "\n    : ");
  for (int i = 0; i < a_count; i++)
    str_printf(out, "%s%s", i ? ", " : "", mma_operand(a, "a", i, e->memory));
  for (int i = 0; i < b_count; i++)
    str_printf(out, ", %s", mma_operand(b, "b", i, e->memory));
  str_append(out, ");\n}\n");
  return name;
}

/* From PTX ISA 8.5 on metadata may be said to be in order, without which sm_90 is said to be slower. */
static const char ordered_metadata[] =
    "\n// PTX ISA: mma.sp; two places of four, the lower one first\n"
    "#if __CUDACC_VER_MAJOR__ * 100 + __CUDACC_VER_MINOR__ >= 1205\n"
    "#define MMA_SP \"mma.sp::ordered_metadata\"\n#else\n#define MMA_SP \"mma.sp\"\n#endif\n";

const char *intrinsic_mma_sparse(emitter *e, int k, ir_type acc, ir_type a, ir_type b, int selector) {
  if (a != b || (a != IR_F16 && a != IR_BF16) || acc != IR_F32 || k != 32) return NULL;
  const char *type = matrix_type(a);
  const char *name = arena_printf(e->memory, "mma_sp%d_m16n8k%d_f32_%s", selector, k, type);
  if (!make(e, name)) return name;
  str *out = &e->functions->made;
  if (make(e, "MMA_SP")) str_append(out, ordered_metadata);
  str_printf(out,
             "\n// PTX ISA: mma.sp\n" DEVICE "void %s(float *d, const u32 *a, const u32 *b, const u32 *metadata)\n{\n"
             "  asm volatile(MMA_SP \".sync.aligned.m16n8k%d.row.col.f32.%s.%s.f32 {",
             name, k, type, type);
  numbered(0, 4, out);
  str_append(out, "}, {");
  numbered(4, 4, out);
  str_append(out, "}, {");
  numbered(8, 4, out);
  str_append(out, "}, {");
  numbered(0, 4, out);
  str_printf(out, "}, %%12, %d;\"\n    : ", selector);
  operands("+f", "d", 4, out);
  str_append(out, "\n    : ");
  operands("r", "a", 4, out);
  str_append(out, ", ");
  operands("r", "b", 4, out);
  str_append(out, ", \"r\"(metadata[0]));\n}\n");
  return name;
}

/* Columns of wgmma: multiples of 8 up to 256; for integers of 16 from 32 on, and 8, 16, 24. */
static bool wgmma_columns(const wgmma_form *form) {
  if (form->n < 8 || form->n > 256 || form->n % 8) return false;
  return !ir_is_integer(form->a) || form->n <= 24 || form->n % 16 == 0;
}

const char *intrinsic_wgmma(emitter *e, const wgmma_form *form) {
  const char *d = accumulator_type(form->acc), *pa = matrix_type(form->a), *pb = matrix_type(form->b);
  int bits = ir_bits(form->a);
  if (!d || !pa || !pb || !operands_agree(form->a, form->b) || !accumulator_agrees(form->acc, form->a)) return NULL;
  if (bits < 8 || bits > 32 || form->k * bits != 256 || !wgmma_columns(form)) return NULL;
  if (bits != 16 && (form->transpose_a || form->transpose_b)) return NULL;
  if (form->a_in_registers && form->transpose_a) return NULL;
  const char *name = arena_printf(e->memory, "wgmma_m64n%dk%d_%s_%s_%s%s%s%s%s", form->n, form->k, d, pa, pb,
                                  form->a_in_registers ? "_rs" : "", form->transpose_a ? "_ta" : "",
                                  form->transpose_b ? "_tb" : "", form->is_new ? "_new" : "");
  if (!make(e, name)) return name;
  word_kind word = word_of(form->acc), a_word = word_of(form->a);
  int count = form->acc == IR_F16 ? form->n / 4 : form->n / 2, a_count = form->a_in_registers ? 4 : 1;
  str *out = &e->functions->made;
  str_printf(out, "\n// PTX ISA: wgmma.mma_async; d = a * b%s\n" DEVICE "void %s(%s *d, ",
             form->is_new ? "; the old d need not live until here" : ", plus the old d when `accumulate`", name,
             word.type);
  if (form->a_in_registers)
    str_printf(out, "const %s *a", a_word.type);
  else
    str_append(out, "u64 a");
  const char *accumulate = form->is_new ? "0" : arena_printf(e->memory, "%%%d", count + a_count + 1);
  str_printf(out,
             ", u64 b%s)\n{\n  asm volatile(\"{\\n.reg .pred p;\\nsetp.ne.b32 p, %s, 0;\\n\"\n"
             "    \"wgmma.mma_async.sync.aligned.m64n%dk%d.%s.%s.%s \"\n    \"{",
             form->is_new ? "" : ", bool accumulate", accumulate, form->n, form->k, d, pa, pb);
  for (int i = 0; i < count; i++)
    str_printf(out, "%s%s%%%d", i ? ", " : "", i && i % 16 == 0 ? "\"\n    \"" : "", i);
  str_append(out, "}, \"\n    \"");
  registers_list(count, a_count, out);
  str_printf(out, ", %%%d, p", count + a_count);
  if (!ir_is_integer(form->a)) str_append(out, ", 1, 1");
  if (bits == 16 && !form->a_in_registers) str_append(out, form->transpose_a ? ", 1" : ", 0");
  if (bits == 16) str_append(out, form->transpose_b ? ", 1" : ", 0");
  str_append(out, ";\\n}\"\n    : ");
  operands((char[]){form->is_new ? '=' : '+', word.constraint, 0}, "d", count, out);
  str_append(out, "\n    : ");
  if (form->a_in_registers)
    for (int i = 0; i < a_count; i++)
      str_printf(out, "%s%s", i ? ", " : "", mma_operand(form->a, "a", i, e->memory));
  else
    str_append(out, "\"l\"(a)");
  str_append(out, form->is_new ? ", \"l\"(b));\n}\n" : ", \"l\"(b), \"r\"((int)accumulate));\n}\n");
  return name;
}

/* -- Tables -------------------------------------------------------------------------------------------------------- */

/* A shortest f32 literal that the comparison with it is exact for: the largest f32 not above `bound`. */
static float below(double bound) {
  float nearest = (float)bound;
  return (double)nearest > bound ? nextafterf(nearest, -INFINITY) : nearest;
}

static void decode_table(ir_type type, int low, int bit, str *out) {
  if (bit < 0) {
    str_append_double(out, ir_decode(type, (uint64_t)low));
    str_append_char(out, 'f');
    return;
  }
  str_printf(out, "%s(code & %d ? ", bit == ir_bits(type) - 1 ? "" : "\n    ", 1 << bit);
  decode_table(type, low | 1 << bit, bit - 1, out);
  str_append(out, " : ");
  decode_table(type, low, bit - 1, out);
  str_append_char(out, ')');
}

const char *intrinsic_table(emitter *e, bool encode, ir_type type) {
  const char *name = arena_printf(e->memory, "%s_%s", encode ? "encode" : "decode", ir_type_of(type)->name);
  if (!make(e, name)) return name;
  str *out = &e->functions->made;
  if (!encode) {
    str_printf(out, "\n" DEVICE "float %s(u32 code)\n{\n  return ", name);
    decode_table(type, 0, ir_bits(type) - 1, out);
    str_append(out, ";\n}\n");
    return name;
  }
  /* The values ascend with the code: the nearest code is the number of midpoints passed. A midpoint itself goes to the
   * even code. */
  str_printf(out,
             "\n// the nearest of the table, ties to the even code\n" DEVICE
             "u32 %s(float x)\n{\n  if (x != x) return %lluu;\n  u32 code = 0;\n",
             name, (unsigned long long)ir_encode(type, (double)NAN));
  for (int code = 1; code < 1 << ir_bits(type); code++) {
    double middle = (ir_decode(type, (uint64_t)code - 1) + ir_decode(type, (uint64_t)code)) / 2;
    float bound = below(middle);
    bool inclusive = code % 2 == 0 && (double)bound == middle;
    str_printf(out, "  code += x %s ", inclusive ? ">=" : ">");
    str_append_double(out, (double)bound);
    str_append(out, "f;\n");
  }
  str_append(out, "  return code;\n}\n");
  return name;
}
