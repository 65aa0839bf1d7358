/* FlashAtten: checks, the choice between kernels, and their launches. What is computed is in lib/kernels/flash_*.tl. */
#include "lib/flash_atten.h"
#include "lib/context.h"
#include "lib/embedded.h"
#include "support/diag.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
  KERNEL_COUNT = 3,
  TENSORS_MAX = 11,
  DEFINES_MAX = 24,
  ALIGNMENT = 16,
};

/* In the order of bitblas_flash_atten_get_source. */
typedef enum kernel_kind { WHOLE, PART, MERGE } kernel_kind;

struct bitblas_flash_atten {
  bitblas_context *context;
  bitblas_flash_atten_config config; /* without defaults: every field says what is meant */
  pthread_mutex_t lock;              /* of preparing */
  atomic_bool prepared;              /* the kernels do not change any more */
  bitblas_kernel *kernels[KERNEL_COUNT];
};

bitblas_status bitblas_flash_atten_create(bitblas_context *context, const bitblas_flash_atten_config *given,
                                          bitblas_flash_atten **op) {
  bitblas_flash_atten_config config = BITBLAS_FLASH_ATTEN_CONFIG_INIT;
  if (!context || !op) return lib_fail(BITBLAS_ERROR_ARGUMENT, "flash_atten: %s is null", context ? "op" : "context");
  *op = NULL;
  bitblas_status status =
      lib_take_config("config", given, &config, sizeof config, offsetof(bitblas_flash_atten_config, overlap_launches));
  if (status == BITBLAS_OK) status = flash_atten_take_config(&config);
  if (status != BITBLAS_OK) return status;
  bitblas_flash_atten *made = calloc(1, sizeof *made);
  ASSERT(made);
  context_retain(context);
  made->context = context;
  made->config = config;
  pthread_mutex_init(&made->lock, NULL);
  atomic_init(&made->prepared, false);
  *op = made;
  return BITBLAS_OK;
}

void bitblas_flash_atten_destroy(bitblas_flash_atten *op) {
  if (!op) return;
  for (int i = 0; i < KERNEL_COUNT; i++)
    bitblas_kernel_destroy(op->kernels[i]);
  pthread_mutex_destroy(&op->lock);
  context_release(op->context);
  free(op);
}

/* -- The choice ---------------------------------------------------------------------------------------------------- */

/* The sizes of one run. */
typedef struct call_sizes {
  int64_t batch, queries, keys; /* queries and keys: the extents of Q and K */
  int64_t pages, table;         /* PAGED: how many there are, and columns of the table */
  int64_t longest;              /* sequence of queries */
  int64_t most_keys;            /* that a sequence may have, for the choice of parts */
  int64_t rows;                 /* of O */
  int64_t splits;               /* parts of the keys; 0: whole rows */
} call_sizes;

static int64_t ceildiv(int64_t a, int64_t b) { return a / b + (a % b != 0); }

enum {
  ROWS_SPLIT = 64,  /* rows of queries that share keys, up to which the keys are cut */
  ROWS_WHOLE = 128, /* of a block: BM of flash_atten.tl */
  ROWS_WIDE = 192,
  ROWS_PART = 16,   /* and of flash_decode.tl */
  KEYS_LEAST = 256, /* of a part */
  KEYS_START = 128, /* as many keys as a block could stream while it starts and writes its part */
  BLOCKS_PER_SM = 2,
};

/* Up to 64 rows of queries to a head of K, a block of whole rows is mostly padding, and there are too few of them to
 * draw on all of the memory's bandwidth: the keys are cut. Parts are not so short that filling the pipeline and the
 * merge outweigh them, and where not even two would be long enough, or the queries are many, whole rows need one kernel
 * only. */
static bool few_rows(const bitblas_flash_atten_config *c, int64_t queries) {
  return queries * (c->heads / c->kv_heads) <= ROWS_SPLIT;
}

static bool many_keys(int64_t keys) { return keys >= 2 * KEYS_LEAST; }

/* The number of parts whose blocks are through first: they come in rounds of two to an SM, and what a round takes is
 * the keys of a part and a block's start. Of equals the fewest, which have the least to merge. */
static int64_t fastest_splits(int64_t blocks, int64_t places, int64_t keys) {
  int64_t most = keys / KEYS_LEAST, best = 1, least = INT64_MAX;
  for (int64_t splits = 1; splits <= most && splits <= FLASH_ATTEN_SPLITS_MAX; splits++) {
    int64_t clocks = ceildiv(blocks * splits, places) * (ceildiv(keys, splits) + KEYS_START);
    if (clocks < least) best = splits, least = clocks;
  }
  return best;
}

static int64_t choose_splits(const bitblas_flash_atten *op, const call_sizes *s) {
  const bitblas_flash_atten_config *c = &op->config;
  if (c->splits) return c->splits > 1 ? c->splits : 0;
  if (!few_rows(c, s->longest) || !many_keys(s->most_keys)) return 0;
  int sms =
      op->context->device ? device_get_facts(op->context->device)->sm_count : ir_target_of(op->context->target)->sms;
  int64_t rows = s->longest * (c->heads / c->kv_heads);
  return fastest_splits(s->batch * c->kv_heads * ceildiv(rows, ROWS_PART), (int64_t)BLOCKS_PER_SM * sms, s->most_keys);
}

/* Which kernels runs of this config may need. The merge also serves runs without keys. */
static bool may_need(const bitblas_flash_atten_config *c, kernel_kind kind) {
  bool few = few_rows(c, c->seq_len), many = !c->seq_len || !few; /* both are possible of a run-time length */
  bool far = !c->kv_seq_len || many_keys(c->kv_seq_len), near = !c->kv_seq_len || !far;
  bool part = c->splits > 1 || (!c->splits && few && far);
  bool whole = c->splits == 1 || (!c->splits && (many || near));
  return kind == WHOLE ? whole : kind == PART ? part : true;
}

/* -- Preparing ----------------------------------------------------------------------------------------------------- */

typedef struct define_list {
  bitblas_define items[DEFINES_MAX];
  char values[DEFINES_MAX][32];
  int count;
} define_list;

static void define_text(define_list *list, const char *name, const char *value) {
  ASSERT(list->count < DEFINES_MAX);
  list->items[list->count++] = (bitblas_define){name, value};
}

static void define_number(define_list *list, const char *name, int64_t value) {
  char *text = list->values[list->count];
  snprintf(text, sizeof list->values[0], "%" PRId64, value);
  define_text(list, name, text);
}

static void define_flag(define_list *list, const char *name, bool value) {
  define_text(list, name, value ? "true" : "false");
}

static void define_size(define_list *list, const char *name, int64_t value) {
  if (value) define_number(list, name, value);
}

static void define_params(define_list *list, const bitblas_flash_atten_config *c) {
  static const char *const layouts[] = {"nnn", "ntn", "bhsd"};
  define_text(list, "T", bitblas_type_name(c->dtype));
  define_text(list, "TO", bitblas_type_name(c->out_dtype));
  define_number(list, "D", c->dim);
  define_number(list, "DV", c->v_dim);
  define_text(list, "LAYOUT", layouts[c->layout]);
  define_flag(list, "VARLEN_Q", c->varlen_q);
  define_flag(list, "VARLEN_K", c->varlen_kv);
  define_flag(list, "LENGTHS", c->kv_lengths);
  define_flag(list, "PAGED", c->page_size);
  define_size(list, "PAGE", c->page_size);
  define_flag(list, "CAUSAL", c->causal);
  define_flag(list, "LSE", c->lse);
  snprintf(list->values[list->count], sizeof list->values[0], "%.9g", (double)c->scale);
  define_text(list, "SCALE", list->values[list->count]);
}

/* Queries of a block: three warpgroups of 64 where their registers suffice and a mask does not cut blocks short. */
static int64_t rows_of_block(const bitblas_flash_atten *op, kernel_kind kind) {
  const bitblas_flash_atten_config *c = &op->config;
  bool narrow = c->dim <= 64 && c->v_dim <= 64 && !c->causal && ir_target_of(op->context->target)->has_wgmma;
  bool is_long = !c->seq_len || c->seq_len > 8 * ROWS_WIDE;
  return kind == PART ? ROWS_PART : narrow && is_long ? ROWS_WIDE : ROWS_WHOLE;
}

/* Warps that compute: a block of parts has few rows, and warps that share them meet three times for a block of keys.
 * One does, where the copy engine brings all keys: two of them share an SM, which waits for memory. Its rows are
 * multiples of 16 bytes. */
static int64_t warps_of_part(const bitblas_flash_atten *op) {
  const bitblas_flash_atten_config *c = &op->config;
  bool fits = c->layout != BITBLAS_FLASH_ATTEN_NTN || (c->kv_seq_len && c->kv_seq_len % 8 == 0);
  return fits && ir_target_of(op->context->target)->has_tma ? 1 : 4;
}

static int64_t key_bytes(const bitblas_flash_atten_config *c) { return 2 * ((int64_t)c->dim + c->v_dim); }

/* Shared memory of a block of parts for keys, where BLOCKS_PER_SM share an SM. */
static int64_t room_of_part(const bitblas_flash_atten *op) {
  enum { RESERVED = 2048 };
  return ir_target_of(op->context->target)->shared_bytes / BLOCKS_PER_SM - RESERVED - 2 * ROWS_PART * op->config.dim;
}

/* Keys of a block of whole rows: the most that leaves two buffers of them room in shared memory beside the rows of Q,
 * and (beyond a dim of 128) registers for the scores. Of parts: few, since blocks of an SM hide each other's softmax,
 * but for one warp as many as leave three buffers room. A page is copied at a time, or a part of it. */
static int64_t keys_of_block(const bitblas_flash_atten *op, kernel_kind kind) {
  enum { KEYS_WHOLE = 128, KEYS_WIDE = 64, KEYS_PART = 32, STAGES_PART = 3 };
  const bitblas_flash_atten_config *c = &op->config;
  int64_t rows = rows_of_block(op, kind);
  int64_t room = ir_target_of(op->context->target)->shared_bytes - 2 * rows * c->dim;
  int64_t keys = kind == PART ? KEYS_PART : c->dim > 128 || c->v_dim > 128 ? KEYS_WIDE : KEYS_WHOLE;
  bool fits = 2 * KEYS_PART * STAGES_PART * key_bytes(c) <= room_of_part(op);
  if (kind == PART && fits && warps_of_part(op) == 1) keys *= 2;
  while (2 * keys * key_bytes(c) > room)
    keys /= 2;
  return c->page_size && c->page_size < keys ? c->page_size : keys;
}

/* Buffers of keys: of whole rows, what is in flight does not shrink with the pages, and the compiler takes as many as
 * fit; of parts, as many as leave room for BLOCKS_PER_SM blocks. */
static int64_t stages_of_loop(const bitblas_flash_atten *op, kernel_kind kind, int64_t keys) {
  enum { KEYS_AHEAD_WHOLE = 128, KEYS_AHEAD_PART = 256 };
  int64_t stages = (kind == PART ? KEYS_AHEAD_PART : KEYS_AHEAD_WHOLE) / keys;
  if (kind == PART) {
    int64_t fit = room_of_part(op) / (keys * key_bytes(&op->config));
    stages = stages < fit ? stages : fit;
  }
  return stages < 2 ? 2 : stages;
}

static bitblas_status prepare_kernel(bitblas_flash_atten *op, kernel_kind kind) {
  static const char *const names[] = {"flash_atten.tl", "flash_decode.tl", "flash_merge.tl"};
  const bitblas_flash_atten_config *c = &op->config;
  define_list list = {.count = 0};
  define_params(&list, c);
  if (kind != MERGE) {
    define_number(&list, "H", c->heads);
    define_number(&list, "HKV", c->kv_heads);
    define_size(&list, "B", c->batch);
    define_size(&list, "Sq", c->seq_len);
    define_size(&list, "Sk", c->kv_seq_len);
    const int64_t keys = keys_of_block(op, kind);
    define_number(&list, "BM", rows_of_block(op, kind));
    define_number(&list, "BN", keys);
    define_number(&list, "stages", stages_of_loop(op, kind, keys));
    if (kind == PART) define_number(&list, "WARPS", warps_of_part(op));
    /* Where dots are not asynchronous, nothing runs beside what guessing takes out, and its registers are missing. */
    if (kind == WHOLE && !ir_target_of(op->context->target)->has_wgmma) define_flag(&list, "GUESS", false);
  }
  char path[64];
  snprintf(path, sizeof path, EMBEDDED_DIRECTORY "%s", names[kind]);
  bitblas_kernel_config config = BITBLAS_KERNEL_CONFIG_INIT;
  config.path = path;
  config.text = embedded_text(names[kind], &config.text_length);
  config.defines = list.items;
  config.define_count = list.count;
  /* the merge always follows the parts: its launch lies under their end */
  config.overlap_launches = op->config.overlap_launches || kind == MERGE;
  return bitblas_kernel_create(op->context, &config, &op->kernels[kind]);
}

bitblas_status bitblas_flash_atten_prepare(bitblas_flash_atten *op) {
  if (!op) return lib_fail(BITBLAS_ERROR_ARGUMENT, "flash_atten: op is null");
  bitblas_status status = BITBLAS_OK;
  pthread_mutex_lock(&op->lock);
  for (int k = 0; k < KERNEL_COUNT && status == BITBLAS_OK; k++) {
    if (!op->kernels[k] && may_need(&op->config, (kernel_kind)k)) status = prepare_kernel(op, (kernel_kind)k);
  }
  if (status == BITBLAS_OK) atomic_store(&op->prepared, true);
  pthread_mutex_unlock(&op->lock);
  return status;
}

const char *bitblas_flash_atten_get_source(const bitblas_flash_atten *op, int32_t index, bitblas_source source) {
  if (!op || !atomic_load(&op->prepared) || index < 0 || index >= KERNEL_COUNT) return NULL;
  return bitblas_kernel_source(op->kernels[index], source);
}

/* -- The tensors of a run ------------------------------------------------------------------------------------------ */

static const int64_t ANY = INT64_MIN; /* an extent that the run decides */

/* What a tensor has to be. */
typedef struct wanted_tensor {
  bitblas_type type;
  int rank;
  int64_t shape[4];
} wanted_tensor;

static void describe(str *out, bitblas_type type, int rank, const int64_t *shape) {
  str_printf(out, "%s[", bitblas_type_name(type));
  for (int d = 0; d < rank; d++) {
    if (shape[d] == ANY)
      str_printf(out, "%s*", d ? ", " : "");
    else
      str_printf(out, "%s%" PRId64, d ? ", " : "", shape[d]);
  }
  str_append_char(out, ']');
}

static bitblas_status not_wanted(const char *name, const bitblas_tensor *t, const wanted_tensor *w) {
  str text = STR_EMPTY;
  str_printf(&text, "flash_atten: %s is ", name);
  describe(&text, t->type, t->rank < 0 ? 0 : t->rank > BITBLAS_RANK_MAX ? BITBLAS_RANK_MAX : t->rank, t->shape);
  str_append(&text, " and should be ");
  describe(&text, w->type, w->rank, w->shape);
  bitblas_status status =
      lib_fail(t->type != w->type ? BITBLAS_ERROR_TYPE : BITBLAS_ERROR_SHAPE, "%s", str_text(&text));
  str_free(&text);
  return status;
}

static bitblas_status check_shape(const char *name, const bitblas_tensor *t, const wanted_tensor *w) {
  bool fits = t->type == w->type && t->rank == w->rank;
  for (int d = 0; fits && d < w->rank; d++)
    fits = t->shape[d] >= 0 && (w->shape[d] == ANY || t->shape[d] == w->shape[d]);
  if (!fits) return not_wanted(name, t, w);
  int64_t dense = 1;
  bool plain = true;
  for (int d = 0; d < t->rank; d++)
    plain &= t->stride[d] == 0;
  for (int d = t->rank - 1; d >= 0; d--) {
    if (!plain && t->shape[d] > 1 && t->stride[d] != dense)
      return lib_fail(BITBLAS_ERROR_SHAPE,
                      "flash_atten: the stride of %s along dimension %d is %" PRId64 " and should be %" PRId64, name, d,
                      t->stride[d], dense);
    if (__builtin_mul_overflow(dense, t->shape[d], &dense) || dense > INT64_MAX / 64)
      return lib_fail(BITBLAS_ERROR_SHAPE, "flash_atten: %s is too large", name);
  }
  return BITBLAS_OK;
}

static bitblas_status check_address(const char *name, const bitblas_tensor *t) {
  bool empty = false;
  for (int d = 0; d < t->rank; d++)
    empty |= t->shape[d] == 0;
  if (empty) return BITBLAS_OK;
  if (!t->data) return lib_fail(BITBLAS_ERROR_ARGUMENT, "flash_atten: the data of %s is null", name);
  if ((uintptr_t)t->data % ALIGNMENT)
    return lib_fail(BITBLAS_ERROR_ALIGNMENT, "flash_atten: %s is at %p and must be aligned to %d bytes", name, t->data,
                    ALIGNMENT);
  return BITBLAS_OK;
}

/* The shape of Q (or K, V, O), where `batch` is ANY or known; without a batch for varlen. */
static wanted_tensor head_tensor(const bitblas_flash_atten_config *c, bitblas_type type, bool varlen, bool transposed,
                                 int64_t batch, int64_t length, int64_t heads, int64_t dim) {
  wanted_tensor w = {.type = type};
  if (!varlen) w.shape[w.rank++] = batch;
  bool by_head = c->layout == BITBLAS_FLASH_ATTEN_BHSD;
  w.shape[w.rank++] = transposed ? dim : by_head ? heads : length;
  w.shape[w.rank++] = transposed || !by_head ? heads : length;
  w.shape[w.rank++] = transposed ? length : dim;
  return w;
}

/* Where head_tensor puts the length. */
static int length_index(const bitblas_flash_atten_config *c, bool varlen, bool transposed) {
  return !varlen + (transposed ? 2 : c->layout == BITBLAS_FLASH_ATTEN_BHSD);
}

static int64_t or_any(int64_t fixed) { return fixed ? fixed : ANY; }

/* A tensor that the config asks for, or does not. */
static bitblas_status check_optional(const char *name, const bitblas_tensor *t, bool asked, const wanted_tensor *w) {
  if (asked) return check_shape(name, t, w);
  if (!t->data && t->type == BITBLAS_TYPE_NONE) return BITBLAS_OK;
  return lib_fail(BITBLAS_ERROR_ARGUMENT, "flash_atten: %s is given, and the config does not ask for it", name);
}

static bitblas_status read_sizes(const bitblas_flash_atten_config *c, const bitblas_flash_atten_args *a,
                                 call_sizes *s) {
  bool transposed = c->layout == BITBLAS_FLASH_ATTEN_NTN, paged = c->page_size > 0;
  wanted_tensor i32 = {BITBLAS_TYPE_I32, 1, {ANY}};
  wanted_tensor q =
      head_tensor(c, c->dtype, c->varlen_q, false, or_any(c->batch), or_any(c->seq_len), c->heads, c->dim);
  bitblas_status status = check_shape("Q", &a->Q, &q);
  if (status == BITBLAS_OK && c->varlen_q) status = check_shape("cu_seqlens_q", &a->cu_seqlens_q, &i32);
  if (status != BITBLAS_OK) return status;
  s->batch = c->varlen_q ? a->cu_seqlens_q.shape[0] - 1 : a->Q.shape[0];
  if (s->batch < 0 || (c->batch && s->batch != c->batch))
    return lib_fail(BITBLAS_ERROR_SHAPE,
                    "flash_atten: cu_seqlens_q has %" PRId64 " elements and config.batch is %" PRId64, s->batch + 1,
                    c->batch);
  s->queries = a->Q.shape[length_index(c, c->varlen_q, false)];
  s->longest = c->varlen_q ? a->max_seq_len : s->queries;
  wanted_tensor k = head_tensor(c, c->dtype, c->varlen_kv, transposed, paged ? ANY : s->batch,
                                paged ? c->page_size : or_any(c->kv_seq_len), c->kv_heads, c->dim);
  status = check_shape("K", &a->K, &k);
  if (status != BITBLAS_OK) return status;
  s->pages = paged ? a->K.shape[0] : 0;
  s->keys = a->K.shape[length_index(c, c->varlen_kv, transposed)];
  wanted_tensor table = {BITBLAS_TYPE_I32, 2, {s->batch, ANY}};
  status = check_optional("block_table", &a->block_table, paged, &table);
  if (status != BITBLAS_OK) return status;
  s->table = paged ? a->block_table.shape[1] : 0;
  s->most_keys = paged ? s->table * c->page_size : c->varlen_kv ? ceildiv(s->keys, s->batch ? s->batch : 1) : s->keys;
  s->rows = (c->varlen_q ? 1 : s->batch) * s->queries * c->heads;
  return BITBLAS_OK;
}

/* Shapes and types of everything but Q and K. */
static bitblas_status check_rest(const bitblas_flash_atten_config *c, const bitblas_flash_atten_args *a,
                                 const call_sizes *s) {
  wanted_tensor v =
      head_tensor(c, c->dtype, c->varlen_kv, false, c->page_size ? s->pages : s->batch, s->keys, c->kv_heads, c->v_dim);
  wanted_tensor o = head_tensor(c, c->out_dtype, c->varlen_q, false, s->batch, s->queries, c->heads, c->v_dim);
  wanted_tensor bounds = {BITBLAS_TYPE_I32, 1, {s->batch + 1}}, lengths = {BITBLAS_TYPE_I32, 1, {s->batch}};
  wanted_tensor lse = {BITBLAS_TYPE_F32, 3, {s->batch, c->heads, s->queries}};
  if (c->varlen_q) lse = (wanted_tensor){BITBLAS_TYPE_F32, 2, {c->heads, s->queries}};
  bitblas_status status = check_shape("V", &a->V, &v);
  if (status == BITBLAS_OK) status = check_shape("O", &a->O, &o);
  if (status == BITBLAS_OK) status = check_optional("lse", &a->lse, c->lse, &lse);
  if (status == BITBLAS_OK) status = check_optional("cu_seqlens_q", &a->cu_seqlens_q, c->varlen_q, &bounds);
  if (status == BITBLAS_OK) status = check_optional("cu_seqlens_k", &a->cu_seqlens_k, c->varlen_kv, &bounds);
  if (status == BITBLAS_OK) status = check_optional("kv_lengths", &a->kv_lengths, c->kv_lengths, &lengths);
  int64_t least = s->queries > 0;
  if (status != BITBLAS_OK || !c->varlen_q || (a->max_seq_len >= least && a->max_seq_len <= s->queries)) return status;
  return lib_fail(BITBLAS_ERROR_ARGUMENT,
                  "flash_atten: args.max_seq_len is %" PRId64 " and Q has %" PRId64
                  " queries; the nearest possible is %" PRId64,
                  a->max_seq_len, s->queries, a->max_seq_len < least ? least : s->queries);
}

/* Bytes of part_o, then of part_lse, each rounded up to the alignment of a tensor. */
static bitblas_status part_bytes(const bitblas_flash_atten_config *c, const call_sizes *s, size_t *o, size_t *all) {
  enum { ROUND = 256 };
  int64_t lse = 0, bytes = 0;
  if (__builtin_mul_overflow(s->rows, s->splits * (int64_t)sizeof(float), &lse) ||
      __builtin_mul_overflow(lse, (int64_t)c->v_dim, &bytes) || bytes > INT64_MAX / 4)
    return lib_fail(BITBLAS_ERROR_SHAPE, "flash_atten: %" PRId64 " rows of O in %" PRId64 " parts are too large",
                    s->rows, s->splits);
  *o = (size_t)ceildiv(bytes, ROUND) * ROUND;
  *all = *o + (size_t)ceildiv(lse, ROUND) * ROUND;
  return BITBLAS_OK;
}

/* Everything that can be said without addresses. */
static bitblas_status take_args(const bitblas_flash_atten *op, const bitblas_flash_atten_args *given,
                                bitblas_flash_atten_args *args, call_sizes *s) {
  if (!op) return lib_fail(BITBLAS_ERROR_ARGUMENT, "flash_atten: op is null");
  bitblas_status status = lib_take_config("args", given, args, sizeof *args, sizeof *args);
  if (status == BITBLAS_OK) status = read_sizes(&op->config, args, s);
  if (status == BITBLAS_OK) status = check_rest(&op->config, args, s);
  if (status != BITBLAS_OK) return status;
  s->splits = choose_splits(op, s);
  return BITBLAS_OK;
}

bitblas_status bitblas_flash_atten_workspace_bytes(const bitblas_flash_atten *op, const bitblas_flash_atten_args *given,
                                                   size_t *bytes) {
  bitblas_flash_atten_args args = BITBLAS_FLASH_ATTEN_ARGS_INIT;
  call_sizes s = {0};
  size_t o;
  if (!bytes) return lib_fail(BITBLAS_ERROR_ARGUMENT, "flash_atten: bytes is null");
  bitblas_status status = take_args(op, given, &args, &s);
  return status == BITBLAS_OK ? part_bytes(&op->config, &s, &o, bytes) : status;
}

/* -- Running ------------------------------------------------------------------------------------------------------- */

typedef struct tensor_list {
  bitblas_tensor items[TENSORS_MAX];
  int count;
} tensor_list;

static void add_tensor(tensor_list *list, const bitblas_tensor *t, bool present) {
  if (present) list->items[list->count++] = *t;
}

/* Q, K, V, O and lse as the kernels declare them: of varlen, a batch of one. */
static bitblas_tensor with_batch(const bitblas_tensor *t, bool varlen) {
  bitblas_tensor r = {.data = t->data, .type = t->type, .rank = t->rank + varlen, .shape = {1}};
  memcpy(r.shape + varlen, t->shape, (size_t)t->rank * sizeof *t->shape);
  return r;
}

static bitblas_status launch(const bitblas_flash_atten *op, kernel_kind kind, const tensor_list *tensors,
                             const call_sizes *s, bitblas_stream stream) {
  const bitblas_size known[] = {
      {"B", s->batch},         {"Sq", s->queries},          {"Sk", s->keys},       {"PAGES", s->pages},
      {"TABLE", s->table},     {"longest", s->longest},     {"SPLITS", s->splits}, {"R", s->rows},
      {"H", op->config.heads}, {"HKV", op->config.kv_heads}};
  enum { KNOWN = sizeof known / sizeof *known };
  const bitblas_kernel *kernel = op->kernels[kind];
  bitblas_size sizes[KNOWN];
  int count = 0;
  for (int i = 0; bitblas_kernel_size_name(kernel, i); i++) {
    for (int k = 0; k < KNOWN; k++) {
      if (strcmp(known[k].name, bitblas_kernel_size_name(kernel, i)) == 0) sizes[count++] = known[k];
    }
  }
  bitblas_launch l = BITBLAS_LAUNCH_INIT;
  l.tensors = tensors->items;
  l.tensor_count = tensors->count;
  l.sizes = sizes;
  l.size_count = count;
  l.stream = stream;
  return bitblas_kernel_run(kernel, &l);
}

static void add_positions(tensor_list *list, const bitblas_flash_atten_config *c, const bitblas_flash_atten_args *a) {
  add_tensor(list, &a->cu_seqlens_q, c->varlen_q);
  add_tensor(list, &a->cu_seqlens_k, c->varlen_kv);
  add_tensor(list, &a->kv_lengths, c->kv_lengths);
  add_tensor(list, &a->block_table, c->page_size);
}

static bitblas_status run_whole(const bitblas_flash_atten *op, const bitblas_flash_atten_args *a, const call_sizes *s) {
  const bitblas_flash_atten_config *c = &op->config;
  tensor_list list = {{with_batch(&a->Q, c->varlen_q), with_batch(&a->K, c->varlen_kv), with_batch(&a->V, c->varlen_kv),
                       with_batch(&a->O, c->varlen_q)},
                      4};
  const bitblas_tensor lse = with_batch(&a->lse, c->varlen_q);
  add_tensor(&list, &lse, c->lse);
  add_positions(&list, c, a);
  return launch(op, WHOLE, &list, s, a->stream);
}

static bitblas_status run_parts(const bitblas_flash_atten *op, const bitblas_flash_atten_args *a, const call_sizes *s,
                                size_t o_bytes) {
  const bitblas_flash_atten_config *c = &op->config;
  const bitblas_tensor part_o = {a->workspace, BITBLAS_TYPE_F32, 3, {s->splits, s->rows, c->v_dim}, {0}};
  const bitblas_tensor part_lse = {
      a->workspace ? (char *)a->workspace + o_bytes : NULL, BITBLAS_TYPE_F32, 2, {s->splits, s->rows}, {0}};
  const bitblas_tensor o = {a->O.data, c->out_dtype, 2, {s->rows, c->v_dim}, {0}},
                       lse = with_batch(&a->lse, c->varlen_q);
  bitblas_status status = BITBLAS_OK;
  if (s->splits) {
    tensor_list list = {{with_batch(&a->Q, c->varlen_q), with_batch(&a->K, c->varlen_kv),
                         with_batch(&a->V, c->varlen_kv), part_o, part_lse, o},
                        6};
    add_tensor(&list, &lse, c->lse);
    add_positions(&list, c, a);
    status = launch(op, PART, &list, s, a->stream);
    if (s->splits == 1) return status;
  }
  tensor_list list = {{part_o, part_lse, o}, 3};
  add_tensor(&list, &lse, c->lse);
  add_tensor(&list, &a->cu_seqlens_q, c->varlen_q);
  return status == BITBLAS_OK ? launch(op, MERGE, &list, s, a->stream) : status;
}

static bitblas_status check_addresses(const bitblas_flash_atten_args *a) {
  const struct {
    const char *name;
    const bitblas_tensor *tensor;
  } all[] = {{"Q", &a->Q},
             {"K", &a->K},
             {"V", &a->V},
             {"O", &a->O},
             {"lse", &a->lse},
             {"cu_seqlens_q", &a->cu_seqlens_q},
             {"cu_seqlens_k", &a->cu_seqlens_k},
             {"kv_lengths", &a->kv_lengths},
             {"block_table", &a->block_table}};
  bitblas_status status = BITBLAS_OK;
  for (size_t i = 0; i < sizeof all / sizeof *all && status == BITBLAS_OK; i++)
    if (all[i].tensor->type != BITBLAS_TYPE_NONE) status = check_address(all[i].name, all[i].tensor);
  return status;
}

bitblas_status bitblas_flash_atten_run(const bitblas_flash_atten *op, const bitblas_flash_atten_args *given) {
  bitblas_flash_atten_args args = BITBLAS_FLASH_ATTEN_ARGS_INIT;
  call_sizes s = {0};
  size_t o_bytes = 0, bytes = 0;
  bitblas_status status = take_args(op, given, &args, &s);
  if (status == BITBLAS_OK) status = check_addresses(&args);
  if (status == BITBLAS_OK) status = part_bytes(&op->config, &s, &o_bytes, &bytes);
  if (status != BITBLAS_OK) return status;
  if (!atomic_load(&op->prepared))
    return lib_fail(BITBLAS_ERROR_ARGUMENT, "flash_atten: bitblas_flash_atten_prepare was not called");
  if (bytes && (!args.workspace || args.workspace_bytes < bytes))
    return lib_fail(BITBLAS_ERROR_WORKSPACE, "flash_atten: the workspace has %zu bytes and needs %zu",
                    args.workspace ? args.workspace_bytes : 0, bytes);
  if ((uintptr_t)args.workspace % ALIGNMENT)
    return lib_fail(BITBLAS_ERROR_ALIGNMENT, "flash_atten: the workspace is at %p and must be aligned to %d bytes",
                    args.workspace, ALIGNMENT);
  if (!s.rows) return BITBLAS_OK;
  if (!s.most_keys || (op->config.page_size && !s.pages)) { /* nothing to see: the merge of no parts */
    s.splits = 0;
    return run_parts(op, &args, &s, 0);
  }
  return s.splits ? run_parts(op, &args, &s, o_bytes) : run_whole(op, &args, &s);
}
