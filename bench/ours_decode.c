/* Attention of one query to each sequence, through FlashAtten. */
#include "bench/check.h"

static bitblas_flash_atten_args args_of(const ours *o, int set) {
  bitblas_flash_atten_args args = BITBLAS_FLASH_ATTEN_ARGS_INIT;
  bitblas_tensor *const tensors[] = {&args.Q, &args.K, &args.V, &args.O};
  for (int t = 0; t < o->tensor_count; t++) {
    *tensors[t] = o->tensors[t].shape;
    tensors[t]->data = o->tensors[t].address[set];
  }
  args.workspace = o->workspace, args.workspace_bytes = o->workspace_bytes;
  args.stream = o->m->stream;
  return args;
}

static bool decode_create(ours *o, const char *directory, complaint *problem) {
  const bench_case *c = o->c;
  const int64_t query[] = {c->batch, c->heads, 1, c->dim, 0}, key[] = {c->batch, c->kv_heads, c->keys, c->dim, 0};
  (void)directory;
  bitblas_flash_atten_config config = BITBLAS_FLASH_ATTEN_CONFIG_INIT;
  config.heads = (int32_t)c->heads, config.kv_heads = (int32_t)c->kv_heads, config.dim = (int32_t)c->dim;
  config.dtype = c->a;
  config.overlap_launches = o->m->overlaps;
  config.layout = BITBLAS_FLASH_ATTEN_BHSD;
  config.batch = c->batch, config.seq_len = 1, config.kv_seq_len = c->keys;
  ours_add_tensor(o, TENSOR_RANDOM, c->a, query);
  ours_add_tensor(o, TENSOR_RANDOM, c->a, key);
  ours_add_tensor(o, TENSOR_RANDOM, c->a, key);
  ours_add_tensor(o, TENSOR_OUTPUT, c->a, query);
  if (!is_done(bitblas_flash_atten_create(o->m->context, &config, &o->attention), "making FlashAtten", problem) ||
      !is_done(bitblas_flash_atten_prepare(o->attention), "compiling", problem))
    return false;
  bitblas_flash_atten_args args = args_of(o, 0);
  return is_done(bitblas_flash_atten_workspace_bytes(o->attention, &args, &o->workspace_bytes), "workspace", problem);
}

static bool decode_run(const ours *o, int set, complaint *problem) {
  bitblas_flash_atten_args args = args_of(o, set);
  return is_done(bitblas_flash_atten_run(o->attention, &args), "running", problem);
}

static bool decode_check(const ours *o, int set, complaint *problem) {
  known_matrix m[3];
  for (int t = 0; t < 3; t++)
    m[t] = (known_matrix){.d = o->d, .type = o->c->a, .first = o->tensors[t].first[set], .columns = o->c->dim};
  return check_attention(o->m, o->c, &m[0], &m[1], &m[2], o->tensors[3].address[set], problem);
}

static void decode_destroy(ours *o) { bitblas_flash_atten_destroy(o->attention); }

const ours_calls ours_decode_calls = {
    .create = decode_create, .run = decode_run, .check = decode_check, .destroy = decode_destroy};
