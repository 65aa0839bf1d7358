/* A launch record with something of everything, for tests. */
#ifndef BITBLASC_TESTS_SAMPLE_RECORD_H
#define BITBLASC_TESTS_SAMPLE_RECORD_H

#include "codegen/record.h"

static inline const size_expr *sample_expr(arena *a, const char *text) {
  static const char *const names[] = {"M", "N"};
  const char *error = NULL;
  return size_parse(a, text, (size_names){names, 2}, &error);
}

/* D[M, N] = f(A[M, 256], W packed [N, 256]): persistent, cluster of 2, one tensor map, workspace. */
static inline record *sample_record(arena *a) {
  static const uint32_t columns[] = {1, 2, 4, 16, 8, 32};
  static const record_packing packing = {4, 16, 4, 6, columns};
  record *r = ARENA_NEW(a, record);
  r->entry = "sample";
  r->target = "sm_90a";
  r->version = "0.1.0";
  r->source_file = "sample.tl";
  r->source_hash = "0123456789abcdef";
  r->block_threads = 384;
  r->cluster[0] = 2;
  r->cluster[1] = r->cluster[2] = 1;
  r->min_blocks = 1;
  r->shared_bytes = 65536;
  r->pdl = true;
  r->persistent = true;
  r->tiles = sample_expr(a, "ceildiv(M, 128)*ceildiv(N, 64)");

  record_size *sizes = ARENA_ARRAY(a, record_size, 2);
  sizes[0] = (record_size){"M", 1};
  sizes[1] = (record_size){"N", 8};
  r->size_count = 2;
  r->sizes = sizes;

  record_tensor *tensors = ARENA_ARRAY(a, record_tensor, 3);
  tensors[0] = (record_tensor){.name = "A", .type = "f16", .bits = 16, .access = RECORD_IN, .rank = 2, .alignment = 16};
  tensors[0].extents[0] = sample_expr(a, "M");
  tensors[0].extents[1] = size_const(a, 256);
  tensors[1] = (record_tensor){
      .name = "W", .type = "u4", .bits = 4, .access = RECORD_IN, .rank = 2, .alignment = 128, .packing = &packing};
  tensors[1].extents[0] = sample_expr(a, "N");
  tensors[1].extents[1] = size_const(a, 256);
  tensors[2] =
      (record_tensor){.name = "D", .type = "f16", .bits = 16, .access = RECORD_OUT, .rank = 2, .alignment = 16};
  tensors[2].extents[0] = sample_expr(a, "M");
  tensors[2].extents[1] = sample_expr(a, "N");
  tensors[2].strides[0] = sample_expr(a, "N + 8");
  tensors[2].strides[1] = size_const(a, 1);
  r->tensor_count = 3;
  r->tensors = tensors;

  record_scalar *scalars = ARENA_ARRAY(a, record_scalar, 1);
  scalars[0] = (record_scalar){"alpha", "f32"};
  r->scalar_count = 1;
  r->scalars = scalars;

  record_map *maps = ARENA_ARRAY(a, record_map, 1);
  maps[0] = (record_map){.tensor = 0,
                         .type = "f16",
                         .rank = 2,
                         .box = {64, 128},
                         .element_strides = {1, 1},
                         .swizzle_bytes = 128,
                         .promotion_bytes = 256};
  maps[0].extents[0] = size_const(a, 256);
  maps[0].extents[1] = sample_expr(a, "M");
  maps[0].strides[0] = size_const(a, 512);
  r->map_count = 1;
  r->maps = maps;

  static const record_parameter parameters[] = {{RECORD_MAP, 0},      {RECORD_TENSOR, 1}, {RECORD_TENSOR, 2},
                                                {RECORD_SCALAR, 0},   {RECORD_SIZE, 0},   {RECORD_SIZE, 1},
                                                {RECORD_WORKSPACE, 0}};
  r->parameter_count = 7;
  r->parameters = parameters;

  record_constraint *constraints = ARENA_ARRAY(a, record_constraint, 1);
  constraints[0] = (record_constraint){sample_expr(a, "N <= 4096"), "N <= 4096"};
  r->constraint_count = 1;
  r->constraints = constraints;

  r->workspace_bytes = sample_expr(a, "4*ceildiv(M, 128)");
  r->workspace_zero = true;
  return r;
}

#endif
