#include "bench/ours.h"

#include <stdlib.h>
#include <string.h>

static const ours_calls *calls_of(case_kind kind) {
  return kind == CASE_WEIGHT ? &ours_matmul_calls : kind == CASE_DECODE ? &ours_decode_calls : &ours_kernel_calls;
}

bitblas_context *ours_context(const ours *o) { return o->c->older ? o->m->older : o->m->context; }

bool ours_create(const machine *m, const bench_case *c, const char *directory, ours **out, complaint *problem) {
  ours *o = *out = calloc(1, sizeof *o);
  if (!o) return complain(problem, "no memory for a case");
  o->m = m;
  o->c = c;
  o->calls = calls_of(c->kind);
  return o->calls->create(o, directory, problem);
}

ours_tensor *ours_add_tensor(ours *o, tensor_source source, bitblas_type type, const int64_t *extents) {
  ours_tensor *t = &o->tensors[o->tensor_count++];
  size_t count = 1;
  t->source = source;
  t->shape.type = type;
  for (; extents[t->shape.rank]; t->shape.rank++) {
    t->shape.shape[t->shape.rank] = extents[t->shape.rank];
    count *= (size_t)extents[t->shape.rank];
  }
  t->bytes = (count * (size_t)bitblas_type_bits(type) + 7) / 8;
  return t;
}

int ours_sets_of(const machine *m, size_t bytes) {
  size_t sets = m->driver ? 2 * m->l2_bytes / (bytes + 1) + 2 : 1;
  return sets < OURS_SETS ? (int)sets : OURS_SETS;
}

/* -- On the device ------------------------------------------------------------------------------------------------- */

static size_t element_count(const ours_tensor *t) {
  size_t count = 1;
  for (int d = 0; d < t->shape.rank; d++)
    count *= (size_t)t->shape.shape[d];
  return count;
}

static bool place_codes(ours *o, ours_tensor *t, int set, void *raw, size_t raw_bytes, complaint *problem) {
  return data_fill(o->d, t->shape.type, t->first[set], element_count(t), raw, problem) &&
         o->calls->pack(o, raw, raw_bytes, t->address[set], t->bytes, problem);
}

static bool place_tensor(ours *o, int index, int set, complaint *problem) {
  ours_tensor *t = &o->tensors[index];
  t->first[set] = data_first(o->d, set * OURS_TENSORS + index);
  if (!is_done(bitblas_allocate(o->m->context, t->bytes, &t->address[set]), "a tensor", problem)) return false;
  switch (t->source) {
  case TENSOR_RANDOM:
    if (t->gain.rows) {
      size_t columns = (size_t)t->shape.shape[t->shape.rank - 1];
      return data_fill_rows(o->d, t->shape.type, t->first[set], element_count(t) / columns, columns, &t->gain,
                            t->address[set], problem);
    }
    return data_fill(o->d, t->shape.type, t->first[set], element_count(t), t->address[set], problem);
  case TENSOR_HOST:
    return is_done(bitblas_upload(o->m->context, t->address[set], t->host, t->bytes, o->m->stream), "a tensor",
                   problem);
  case TENSOR_OUTPUT:
    return machine_fill(o->m, t->address[set], 0xff, t->bytes, problem);
  default:
    break;
  }
  void *raw = NULL;
  size_t raw_bytes = (element_count(t) * (size_t)bitblas_type_bits(t->shape.type) + 7) / 8;
  bool ok = is_done(bitblas_allocate(o->m->context, raw_bytes, &raw), "codes", problem) &&
            place_codes(o, t, set, raw, raw_bytes, problem) && machine_wait(o->m, problem);
  bitblas_free(o->m->context, raw);
  return ok;
}

static bool place_workspace(ours *o, complaint *problem) {
  return is_done(bitblas_allocate(o->m->context, o->workspace_bytes, &o->workspace), "a workspace", problem) &&
         (!o->workspace_bytes || machine_fill(o->m, o->workspace, 0, o->workspace_bytes, problem));
}

bool ours_place(ours *o, const data *d, complaint *problem) {
  size_t bytes = 0;
  for (int t = 0; t < o->tensor_count; t++)
    bytes += o->tensors[t].bytes;
  o->d = d;
  o->set_count = ours_sets_of(o->m, bytes);
  bool ok = place_workspace(o, problem);
  for (int set = 0; set < o->set_count; set++)
    for (int t = 0; ok && t < o->tensor_count; t++)
      ok = place_tensor(o, t, set, problem);
  return ok && machine_wait(o->m, problem);
}

void ours_remove(ours *o) {
  for (int set = 0; set < o->set_count; set++)
    for (int t = 0; t < o->tensor_count; t++) {
      bitblas_free(o->m->context, o->tensors[t].address[set]);
      o->tensors[t].address[set] = NULL;
    }
  bitblas_free(o->m->context, o->workspace);
  o->workspace = NULL;
  o->set_count = 0;
}

bool ours_run(const ours *o, int set, complaint *problem) { return o->calls->run(o, set, problem); }

bool ours_spoil(const ours *o, int set, complaint *problem) {
  const ours_tensor *out = &o->tensors[o->tensor_count - 1];
  return machine_fill(o->m, out->address[set], 0xff, out->bytes, problem);
}

bool ours_check(const ours *o, int set, complaint *problem) {
  return machine_wait(o->m, problem) && o->calls->check(o, set, problem);
}

/* -- Plans --------------------------------------------------------------------------------------------------------- */

bool ours_rank(const ours *o, const char *directory, compile_ranking *ranking, complaint *problem) {
  return o->calls->rank ? o->calls->rank(o, directory, ranking, problem) : complain(problem, "it has one plan");
}

bool ours_create_plan(const ours *o, const char *directory, int plan, bitblas_kernel **kernel, complaint *problem) {
  return o->calls->create_plan(o, directory, plan, kernel, problem);
}

bool ours_use(ours *o, bitblas_kernel *kernel, complaint *problem) {
  bitblas_kernel *before = kernel;
  if (!machine_wait(o->m, problem) || !o->calls->exchange(o, &before, problem)) return false;
  if (!o->first) o->first = before;
  if (!o->set_count) return true;
  bitblas_free(o->m->context, o->workspace);
  o->workspace = NULL;
  return place_workspace(o, problem);
}

static void use_first(ours *o) {
  complaint ignored;
  bitblas_kernel *before = o->first;
  if (o->first) o->calls->exchange(o, &before, &ignored);
  o->first = NULL;
}

void ours_destroy(ours *o) {
  if (!o) return;
  ours_remove(o);
  use_first(o);
  o->calls->destroy(o);
  for (int t = 0; t < o->tensor_count; t++)
    free(o->tensors[t].host);
  free(o->scale_codes);
  free(o->zero_codes);
  free(o);
}
