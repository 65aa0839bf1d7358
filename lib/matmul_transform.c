/* Weights, scales and zeros into the order that a matmul's kernels take. */
#include "lib/matmul.h"

#include "ir/numeric.h"
#include "lib/embedded.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* One operand: what it is made of, and where the kernel has it. */
typedef struct operand {
  const char *name, *tensor; /* of the argument; of the kernel's tensor */
  bool present;
  bool is_code;               /* numbers narrower than a byte may come one a byte */
  bool by_group;              /* quantized zeros come as [groups, N] */
  bitblas_type given, wanted; /* types */
  int64_t rows, columns;      /* as the kernel has it */
} operand;

static operand describe(const bitblas_matmul *op, bitblas_operand which) {
  const bitblas_matmul_config *c = &op->config;
  bool tb = c->layout == BITBLAS_LAYOUT_NT || c->layout == BITBLAS_LAYOUT_TT;
  bool quantized = c->zeros_mode == BITBLAS_ZEROS_QUANTIZED;
  bitblas_type scale = matmul_kernel_scale(op), weight = matmul_kernel_weight(op);
  switch (which) {
  case BITBLAS_OPERAND_WEIGHT:
    return (operand){"weight", "W", true, true, false, c->W_dtype, weight, tb ? c->N : c->K, tb ? c->K : c->N};
  case BITBLAS_OPERAND_SCALES:
    return (operand){"scales", "S", c->with_scaling, false, false, c->scale_dtype, scale, c->N, op->groups};
  default:
    return (operand){"zeros",
                     "Z",
                     c->with_zeros,
                     quantized,
                     quantized,
                     quantized ? c->W_dtype : c->scale_dtype,
                     quantized ? weight : scale,
                     c->N,
                     op->groups};
  }
}

static int tensor_of(const bitblas_kernel *kernel, const char *name) {
  for (int i = 0; i < kernel->record->tensor_count; i++)
    if (strcmp(kernel->record->tensors[i].name, name) == 0) return i;
  return -1;
}

/* Sizes that tensor_bytes wants and the weight does not depend on. */
static int any_sizes(const bitblas_matmul *op, bitblas_size *sizes) {
  int count = 0;
  if (!op->config.M) sizes[count++] = (bitblas_size){"M", 1};
  if (op->config.A_strided) sizes[count++] = (bitblas_size){"lda", (op->config.K + 127) / 128 * 128};
  return count;
}

static bitblas_status find_operand(bitblas_matmul *op, bitblas_operand which, operand *o, const bitblas_kernel **kernel,
                                   size_t *bytes) {
  *bytes = 0;
  if (which < BITBLAS_OPERAND_WEIGHT || which > BITBLAS_OPERAND_ZEROS)
    return lib_fail(BITBLAS_ERROR_ARGUMENT, "operand is %d, not one of 0 to 2", (int)which);
  *o = describe(op, which);
  if (!o->present) return BITBLAS_OK;
  bitblas_size sizes[2];
  bitblas_status status = matmul_any_kernel(op, kernel);
  if (status != BITBLAS_OK) return status;
  return bitblas_kernel_tensor_bytes(*kernel, tensor_of(*kernel, o->tensor), sizes, any_sizes(op, sizes), bytes);
}

bitblas_status bitblas_matmul_operand_bytes(bitblas_matmul *op, bitblas_operand which, size_t *bytes) {
  operand o;
  const bitblas_kernel *kernel = NULL;
  if (!op || !bytes) return lib_fail(BITBLAS_ERROR_ARGUMENT, "%s is null", op ? "bytes" : "op");
  return find_operand(op, which, &o, &kernel, bytes);
}

/* -- What is given ------------------------------------------------------------------------------------------------- */

/* Bytes of what is given. Rows of packed quantized zeros are whole bytes; other streams run on. */
static size_t given_bytes(const operand *o, bitblas_form form) {
  size_t bits = (size_t)bitblas_type_bits(o->given), count = (size_t)o->rows * (size_t)o->columns;
  if (form == BITBLAS_FORM_VALUES && bits < 8) return count;
  if (o->by_group) return (size_t)o->columns * (((size_t)o->rows * bits + 7) / 8);
  return (count * bits + 7) / 8;
}

/* The code that a byte's value stands for; false: none. */
static bool code_of_value(const operand *o, uint8_t byte, uint64_t *code) {
  int bits = bitblas_type_bits(o->given), value = (int8_t)byte;
  ir_type type = lib_ir_type(o->given);
  if (o->given == BITBLAS_TYPE_I1) {
    *code = value == 1;
    return value == 1 || value == -1;
  }
  *code = byte & ((1u << bits) - 1);
  if (ir_is_integer(type) && ir_type_of(type)->class == IR_CLASS_SINT)
    return value >= -(1 << (bits - 1)) && value < 1 << (bits - 1);
  return byte < 1u << bits;
}

typedef struct reader {
  const operand *o;
  bitblas_form form;
  const uint8_t *from;
  int bits;
  ir_type type;
  uint64_t raised; /* what signed codes of BITBLAS_FORM_BIASED are flipped by */
} reader;

static bitblas_status read_code(const reader *r, int64_t row, int64_t column, uint64_t *code) {
  const operand *o = r->o;
  size_t at = o->by_group ? (size_t)(column * o->rows + row) : (size_t)(row * o->columns + column);
  if (r->form == BITBLAS_FORM_VALUES && r->bits < 8) {
    if (code_of_value(o, r->from[at], code)) return BITBLAS_OK;
    return lib_fail(BITBLAS_ERROR_ARGUMENT, "%s[%" PRId64 ", %" PRId64 "] is %d, which %s has not", o->name,
                    o->by_group ? column : row, o->by_group ? row : column,
                    ir_type_of(r->type)->class == IR_CLASS_SINT ? (int)(int8_t)r->from[at] : (int)r->from[at],
                    bitblas_type_name(o->given));
  }
  if (o->by_group)
    at = (size_t)column * (((size_t)o->rows * (size_t)r->bits + 7) / 8 * 8 / (size_t)r->bits) + (size_t)row;
  *code = ir_get_bits(r->from, at, r->bits) ^ r->raised;
  return BITBLAS_OK;
}

/* Row-major elements of the kernel's type, in a stream of bits. */
static bitblas_status read_all(const reader *r, void *elements) {
  const operand *o = r->o;
  ir_type wanted = lib_ir_type(o->wanted);
  int bits = ir_bits(wanted);
  bool converts = o->given != o->wanted && !o->is_code;
  for (int64_t row = 0; row < o->rows; row++)
    for (int64_t column = 0; column < o->columns; column++) {
      uint64_t code = 0;
      bitblas_status status = read_code(r, row, column, &code);
      if (status != BITBLAS_OK) return status;
      if (converts) code = ir_encode(wanted, ir_decode(r->type, code));
      ir_put_bits(elements, (size_t)(row * o->columns + column), bits, code);
    }
  return BITBLAS_OK;
}

/* -- The whole ----------------------------------------------------------------------------------------------------- */

static bitblas_status transform(bitblas_matmul *op, const operand *o, const bitblas_kernel *kernel, bitblas_form form,
                                const void *from, void *to, size_t to_bytes) {
  ir_type type = lib_ir_type(o->given);
  int bits = ir_bits(type);
  bool is_signed = o->is_code && o->given != BITBLAS_TYPE_I1 && ir_type_of(type)->class == IR_CLASS_SINT;
  reader r = {o, form, from, bits, type, form == BITBLAS_FORM_BIASED && is_signed && bits < 8 ? 1ull << (bits - 1) : 0};
  int index = tensor_of(kernel, o->tensor);
  bool plain = (form != BITBLAS_FORM_VALUES || bits >= 8) && !r.raised && !o->by_group && o->given == o->wanted;
  bool packed = kernel->record->tensors[index].packing != NULL;
  size_t stream = ((size_t)o->rows * (size_t)o->columns * (size_t)bitblas_type_bits(o->wanted) + 7) / 8;
  if (!packed && stream != to_bytes)
    return lib_fail(BITBLAS_ERROR_INTERNAL, "%s has %zu bytes in the kernel and %zu here", o->name, to_bytes, stream);
  if (plain && !packed) {
    memcpy(to, from, stream);
    return BITBLAS_OK;
  }
  void *elements = plain || !packed ? NULL : calloc(1, stream + 1);
  ASSERT(plain || !packed || elements);
  if (!packed) memset(to, 0, to_bytes);
  bitblas_status status = plain ? BITBLAS_OK : read_all(&r, packed ? elements : to);
  bitblas_size sizes[2];
  if (status == BITBLAS_OK && packed)
    status = bitblas_kernel_pack(kernel, index, sizes, any_sizes(op, sizes), plain ? from : elements, to, to_bytes);
  free(elements);
  return status;
}

static bitblas_status check_form(bitblas_form form) {
  if (form >= BITBLAS_FORM_VALUES && form <= BITBLAS_FORM_BIASED) return BITBLAS_OK;
  return lib_fail(BITBLAS_ERROR_ARGUMENT, "form is %d, not one of 0 to 2", (int)form);
}

static bitblas_status check_sizes(const operand *o, bitblas_form form, size_t from_bytes, size_t to_bytes,
                                  size_t wanted) {
  if (from_bytes != given_bytes(o, form))
    return lib_fail(BITBLAS_ERROR_SHAPE, "from has %zu bytes, and the %s of %" PRId64 " x %" PRId64 " %s %zu",
                    from_bytes, o->name, o->rows, o->columns, bitblas_type_name(o->given), given_bytes(o, form));
  if (to_bytes != wanted)
    return lib_fail(BITBLAS_ERROR_SHAPE, "to has %zu bytes, and the transformed %s have %zu", to_bytes, o->name,
                    wanted);
  return BITBLAS_OK;
}

bitblas_status bitblas_matmul_transform(bitblas_matmul *op, bitblas_operand which, bitblas_form form, const void *from,
                                        size_t from_bytes, void *to, size_t to_bytes) {
  operand o;
  const bitblas_kernel *kernel = NULL;
  size_t bytes = 0;
  if (!op || !from || !to) return lib_fail(BITBLAS_ERROR_ARGUMENT, "%s is null", !op ? "op" : from ? "to" : "from");
  bitblas_status status = check_form(form);
  if (status == BITBLAS_OK) status = find_operand(op, which, &o, &kernel, &bytes);
  if (status != BITBLAS_OK) return status;
  if (!o.present) return lib_fail(BITBLAS_ERROR_ARGUMENT, "the config has no %s", o.name);
  status = check_sizes(&o, form, from_bytes, to_bytes, bytes);
  return status == BITBLAS_OK ? transform(op, &o, kernel, form, from, to, to_bytes) : status;
}
size_t matmul_given_bytes(const bitblas_matmul *op, bitblas_operand which, bitblas_form form) {
  operand o = describe(op, which);
  return o.present ? given_bytes(&o, form) : 0;
}

bitblas_status matmul_restore(bitblas_matmul *op, bitblas_operand which, const void *packed, void *elements) {
  operand o;
  const bitblas_kernel *kernel = NULL;
  size_t bytes = 0;
  bitblas_status status = find_operand(op, which, &o, &kernel, &bytes);
  if (status != BITBLAS_OK) return status;
  const record_tensor *t = &kernel->record->tensors[tensor_of(kernel, o.tensor)];
  memset(elements, 0, bytes);
  if (t->packing)
    kernel_unpack(t, o.rows, o.columns, packed, elements);
  else
    memcpy(elements, packed, bytes);
  return BITBLAS_OK;
}

/* -- On the device ------------------------------------------------------------------------------------------------- */

enum { ORDER_BITS = 14, BLOCK_WORDS = 512 }; /* as lib/kernels/pack.tl has them */

/* Compiles pack.tl for the weight's order and the form that it comes in. */
static bitblas_status create_pack(const bitblas_matmul *op, const record_packing *p, bitblas_form form,
                                  int64_t row_bytes, bitblas_kernel **kernel) {
  arena *memory = arena_create();
  int bits = p->code_bits, source = form == BITBLAS_FORM_VALUES ? 8 : bits;
  bool ones = op->config.W_dtype == BITBLAS_TYPE_I1 && form == BITBLAS_FORM_VALUES;
  bool is_signed = ir_type_of(lib_ir_type(op->config.W_dtype))->class == IR_CLASS_SINT;
  bool raised = form == BITBLAS_FORM_BIASED && is_signed && bits < 8 && op->config.W_dtype != BITBLAS_TYPE_I1;
  const struct {
    const char *name;
    int value;
  } known[] = {{"BITS", bits},
               {"SOURCE", source},
               {"ROWS", p->block_rows},
               {"COLS", p->block_columns},
               {"FLIP", ones     ? 255
                        : raised ? 1 << (bits - 1)
                                 : 0},
               {"SHIFT", ones},
               {"ALIGN", row_bytes % 16 == 0 ? 16 : 1}};
  enum { KNOWN = sizeof known / sizeof *known };
  bitblas_define defines[KNOWN + ORDER_BITS];
  for (int i = 0; i < KNOWN; i++)
    defines[i] = (bitblas_define){known[i].name, arena_printf(memory, "%d", known[i].value)};
  for (int i = 0; i < ORDER_BITS; i++)
    defines[KNOWN + i] = (bitblas_define){arena_printf(memory, "C%d", i),
                                          arena_printf(memory, "%d", i < p->column_count ? (int)p->columns[i] : 0)};
  bitblas_kernel_config config = BITBLAS_KERNEL_CONFIG_INIT;
  config.path = EMBEDDED_DIRECTORY "pack.tl";
  config.text = embedded_text("pack.tl", &config.text_length);
  config.defines = defines, config.define_count = KNOWN + ORDER_BITS;
  bitblas_status status = bitblas_kernel_create(op->context, &config, kernel);
  arena_destroy(memory);
  return status;
}

/* When another thread was faster, its kernel stays. */
static bitblas_status find_pack(bitblas_matmul *op, const record_packing *p, bitblas_form form, int64_t row_bytes,
                                const bitblas_kernel **kernel) {
  bitblas_kernel *made = NULL, *none = NULL;
  *kernel = atomic_load(&op->pack[form]);
  if (*kernel) return BITBLAS_OK;
  bitblas_status status = create_pack(op, p, form, row_bytes, &made);
  if (status != BITBLAS_OK) return status;
  if (!atomic_compare_exchange_strong(&op->pack[form], &none, made)) bitblas_kernel_destroy(made);
  *kernel = atomic_load(&op->pack[form]);
  return BITBLAS_OK;
}

/* Bits that a code takes in the form. */
static int source_bits(const operand *o, bitblas_form form) {
  return form == BITBLAS_FORM_VALUES ? 8 : bitblas_type_bits(o->given);
}

static const record_packing *packing_of(const bitblas_kernel *kernel, const operand *o) {
  return kernel->record->tensors[tensor_of(kernel, o->tensor)].packing;
}

bool matmul_has_device_order(bitblas_matmul *op, bitblas_form form) {
  operand o;
  const bitblas_kernel *kernel = NULL;
  size_t bytes = 0;
  return find_operand(op, BITBLAS_OPERAND_WEIGHT, &o, &kernel, &bytes) == BITBLAS_OK && packing_of(kernel, &o) &&
         o.columns * source_bits(&o, form) % 8 == 0;
}

bitblas_status bitblas_matmul_transform_on_device(bitblas_matmul *op, bitblas_form form, const void *from,
                                                  size_t from_bytes, void *to, size_t to_bytes, bitblas_stream stream) {
  operand o;
  const bitblas_kernel *kernel = NULL, *pack = NULL;
  size_t bytes = 0;
  if (!op || !from || !to) return lib_fail(BITBLAS_ERROR_ARGUMENT, "%s is null", !op ? "op" : from ? "to" : "from");
  bitblas_status status = check_form(form);
  if (status == BITBLAS_OK) status = find_operand(op, BITBLAS_OPERAND_WEIGHT, &o, &kernel, &bytes);
  if (status == BITBLAS_OK) status = check_sizes(&o, form, from_bytes, to_bytes, bytes);
  if (status != BITBLAS_OK) return status;
  const record_packing *p = packing_of(kernel, &o);
  int source = source_bits(&o, form);
  if (!p || o.columns * source % 8)
    return lib_fail(BITBLAS_ERROR_UNSUPPORTED, "%s: transform it on the host",
                    p ? "a row of these codes is no whole number of bytes"
                      : "the kernels take this weight in plain rows");
  int64_t row_bytes = o.columns * source / 8;
  status = find_pack(op, p, form, row_bytes, &pack);
  if (status != BITBLAS_OK) return status;
  int64_t high = (o.rows + p->block_rows - 1) / p->block_rows,
          wide = (o.columns + p->block_columns - 1) / p->block_columns;
  const bitblas_tensor tensors[] = {{(void *)(uintptr_t)from, BITBLAS_TYPE_U8, 2, {o.rows, row_bytes}, {0}},
                                    {to, BITBLAS_TYPE_U32, 3, {high, wide, BLOCK_WORDS}, {0}}};
  bitblas_launch launch = BITBLAS_LAUNCH_INIT;
  launch.tensors = tensors;
  launch.tensor_count = 2;
  launch.stream = stream;
  return bitblas_kernel_run(pack, &launch);
}
