/* schedule: choose how the block does its work, and write it down.
 *
 *   dots      instruction (wgmma, mma, fma) and the grid of warps
 *   copies    engine (tma, bulk, cpasync, simt)
 *   loops     stages that fit
 *   kernel    warps that compute, warps that only move data, persistent, raster, threads
 *
 * Rules, in order; each refusal is a remark with its reason.
 * 1. All dots use wgmma when every one can (tensor_core.h), else mma when every one can, else each the best it can;
 *    -O0 never uses wgmma.
 * 2. With wgmma a warpgroup owns m / groups rows of every tile: as few groups as the accumulators' registers and m
 *    allow, at least two when m has 128 rows. With mma 16 x 8 fragments are spread over four or eight warps; along m
 *    only when rows are reduced, so that a row stays in a warp.
 * 3. A copy into shared memory is a tensor-map load where the target has it and the tensor's rows are known to be
 *    multiples of 16 bytes (-O2), else cp.async in 16-, 8- or 4-byte pieces, else ordinary loads and stores.
 * 4. A producer role takes the loads over when there is a tensor core to keep busy and a load on an mbarrier; blocks
 *    are then persistent.
 * 5. Stages are what the source asks for, less what does not fit into shared memory. Results are staged whole where that
 *    costs no stage, else in as few slices as cost none: columns of a wgmma accumulator, rows of a transposed one. Rather
 *    than leave a loop with fewer than three of the stages that it asks for, results go to memory unstaged (direct).
 * 6. Without dots and shared buffers, time goes by waiting for memory: registers are limited so that as many blocks are
 *    on an SM at once as the tiles allow, up to 1024 threads.
 * 7. Codes that no two threads share go from device memory to the registers of the threads that decode them where the kernel
 *    is asked to (direct), and then no role loads: a buffer in shared memory becomes a tile. Their copy stands behind those
 *    of what all threads wait for: what an SM's threads load arrives in the order in which they asked for it.
 * 8. Sums that dots promote get as many columns of registers as there are beside the accumulators (promotion.h).
 *
 * A kernel attribute that is already there (a pin) is kept. Requires the fused form. */
#include "passes/choose_products.h"
#include "passes/estimate.h"
#include "passes/pass.h"
#include "passes/promotion.h"
#include "passes/region.h"
#include "passes/split_dots.h"
#include "passes/tensor_core.h"
#include "passes/variance.h"

#include <string.h>

enum { ENOUGH_STAGES = 3 };
enum { MOST_SHARED_COLUMNS = 32 };           /* of a dot whose k warps share: they exchange all their sums */
enum { LEAST_SLICES = 3, MOST_SLICES = 16 }; /* of a staged tile; two would take as much room as all of it */
enum { SLICE_BYTES = 64 };                   /* of a row of a slice: a swizzle wide enough for matrix stores */
enum { SLICE_ROWS = 16 };                    /* of a transposed fragment */
enum { BULK_BITS = 128 };                    /* that a bulk copy moves a multiple of */
enum { MAX_DOTS = 16, MAX_COPIES = 64, RESERVED_SHARED_BYTES = 2048 };

typedef struct survey {
  pass_env *env;
  ir_kernel *kernel;
  ir_op *dot[MAX_DOTS];
  int dot_count;
  ir_op *copy[MAX_COPIES];
  int copy_count;
  ir_op *loop[MAX_COPIES];
  int loop_count;
  bool direct;     /* some codes go to registers */
  bool reduces;    /* a reduction or scan runs along some row */
  int64_t largest; /* elements of the largest tile */
} survey;

static bool collect(void *data, ir_block *block, ir_op *op) {
  survey *s = data;
  (void)block;
  if (op->kind == IR_OP_DOT && s->dot_count < MAX_DOTS) s->dot[s->dot_count++] = op;
  if (op->kind == IR_OP_COPY && s->copy_count < MAX_COPIES) s->copy[s->copy_count++] = op;
  if (op->kind == IR_OP_FOR && s->loop_count < MAX_COPIES) s->loop[s->loop_count++] = op;
  s->reduces |= op->kind == IR_OP_REDUCE || op->kind == IR_OP_SCAN;
  return true;
}

/* -- Dots ---------------------------------------------------------------------------------------------------------- */

static bool all_dots(survey *s, const char *(*refusal)(const ir_kernel *, const ir_op *), const char *topic) {
  bool all = s->dot_count > 0;
  for (int i = 0; i < s->dot_count; i++) {
    const char *why = refusal(s->kernel, s->dot[i]);
    if (!why) continue;
    all = false;
    diag_remark(s->env->diagnostics, "schedule", topic, false, s->dot[i]->loc, "the dot into %s cannot use %s: %s",
                s->dot[i]->write[0].value->name, topic, why);
  }
  return all;
}

/* Registers a thread that the accumulators and register operands of all dots need, with `groups` warpgroups. */
static int dot_registers(const survey *s, int groups) {
  int64_t words = 0;
  for (int i = 0; i < s->dot_count; i++) {
    dot_shape d = dot_shape_of(s->dot[i]);
    bool counted = false;
    for (int j = 0; j < i; j++)
      counted |= s->dot[j]->write[0].value == d.accumulator;
    if (!counted) words += ir_element_count(d.accumulator) * ir_bits(d.accumulator->type) / 32;
    if (d.rows->value->space == IR_TILE) words += ir_element_count(d.rows->value) * ir_bits(d.rows->value->type) / 32;
  }
  return (int)(words / (groups * 128));
}

/* Warps that compute, as asked for; 0 when nobody did. */
static int pinned_warps(const survey *s) { return (int)ir_attr_get(&s->kernel->attrs, IR_ATTR_WARPS, 0); }

static int choose_warpgroups(const survey *s) {
  int smallest = 1 << 30;
  for (int i = 0; i < s->dot_count; i++) {
    int m = dot_shape_of(s->dot[i]).m;
    smallest = m < smallest ? m : smallest;
  }
  int blocks = smallest / 64, pinned = pinned_warps(s) / 4;
  if (pinned > 0 && pinned_warps(s) % 4 == 0 && blocks % pinned == 0) return pinned;
  int groups = blocks >= 2 && blocks % 2 == 0 ? 2 : blocks == 3 ? 3 : 1;
  while (groups < 4 && blocks % (groups * 2) == 0 && dot_registers(s, groups) > 200)
    groups *= 2;
  return groups;
}

static void set_dot(ir_op *dot, ir_instruction instruction, warp_grid grid) {
  ir_attr_set(&dot->attrs, IR_ATTR_INSTRUCTION, instruction);
  ir_attr_set(&dot->attrs, IR_ATTR_WARPS_M, grid.warps_m);
  ir_attr_set(&dot->attrs, IR_ATTR_WARPS_N, grid.warps_n);
  if (grid.warps_k > 1) ir_attr_set(&dot->attrs, IR_ATTR_WARPS_K, grid.warps_k);
}

/* The largest power of two that divides `count`, at most `most`. */
static int power_dividing(int count, int most) {
  int power = 1;
  while (power * 2 <= most && count % (power * 2) == 0)
    power *= 2;
  return power;
}

/* Warps of an mma dot: along m alone when rows are reduced, else as square as the fragments allow. Where rows come from
 * registers, what is left shares k, and a warp keeps two row blocks, whose products do not wait for each other; more where
 * codes choose between products. */
static void choose_mma_grid(const survey *s, const ir_op *dot, int warps, warp_grid *grid) {
  dot_shape d = dot_shape_of(dot);
  int m_blocks = d.m / MMA_ROWS, n_blocks = d.n < MMA_COLUMNS ? 1 : d.n / MMA_COLUMNS;
  bool in_registers = d.rows->value->space == IR_TILE;
  int parts = in_registers && !s->reduces && s->env->options->level >= 2 && d.n <= MOST_SHARED_COLUMNS
                  ? split_dots_parts(s->kernel, dot, warps)
                  : 1;
  grid->warps_m = power_dividing(m_blocks, warps);
  int kept = parts > 1 && dot_may_choose(s->kernel, dot) ? CHOICE_ROW_BLOCKS : 2;
  while (parts > 1 && grid->warps_m > 1 && m_blocks < kept * grid->warps_m &&
         power_dividing(2 * warps / grid->warps_m, parts) * grid->warps_m >= 2 * warps)
    grid->warps_m /= 2;
  grid->warps_k = power_dividing(warps / grid->warps_m, parts);
  grid->warps_n = power_dividing(n_blocks, warps / (grid->warps_m * grid->warps_k));
  if (s->reduces || in_registers) return;
  while (grid->warps_m > 1 && grid->warps_m * 16 * 2 > grid->warps_n * 8 * 4 && n_blocks % (grid->warps_n * 2) == 0 &&
         d.m / grid->warps_m < d.n / grid->warps_n) {
    grid->warps_m /= 2;
    grid->warps_n *= 2;
  }
}

static int choose_mma_warps(const survey *s) {
  int warps = 4;
  for (int i = 0; i < s->dot_count; i++) {
    dot_shape d = dot_shape_of(s->dot[i]);
    if ((int64_t)d.m * d.n > 128 * 64) warps = 8;
  }
  if (pinned_warps(s) > 0) warps = power_dividing(pinned_warps(s), 32);
  /* every dot must be able to use all of them, so that tiles passed from one to the next stay in their warps */
  for (int i = 0; i < s->dot_count; i++) {
    warp_grid grid;
    choose_mma_grid(s, s->dot[i], warps, &grid);
    int used = grid.warps_m * grid.warps_n * grid.warps_k;
    if (used < warps) warps = used;
  }
  return warps;
}

static int schedule_dots(survey *s) {
  ir_kernel *kernel = s->kernel;
  const ir_target_info *target = ir_target_of(kernel->target);
  if (!s->dot_count) {
    int warps = pinned_warps(s);
    if (!warps) warps = s->largest >= 8192 ? 8 : s->largest >= 1024 ? 4 : s->largest >= 512 ? 2 : 1;
    return warps;
  }
  bool narrow = true; /* few columns: wgmma's rate does not matter, and mma needs no warpgroup */
  for (int i = 0; i < s->dot_count; i++)
    narrow &= dot_shape_of(s->dot[i]).n < 32 && dot_shape_of(s->dot[i]).swapped;
  if (target->has_wgmma && s->env->options->level >= 2 && !narrow && all_dots(s, wgmma_refusal, "wgmma")) {
    int groups = choose_warpgroups(s);
    for (int i = 0; i < s->dot_count; i++)
      set_dot(s->dot[i], IR_INSTRUCTION_WGMMA, (warp_grid){groups * 4, 1, 1});
    return groups * 4;
  }
  bool mma = all_dots(s, mma_refusal, "mma");
  int warps = mma ? choose_mma_warps(s) : 8;
  for (int i = 0; i < s->dot_count; i++) {
    warp_grid grid = {warps, 1, 1};
    bool possible = !mma_refusal(kernel, s->dot[i]);
    if (possible) choose_mma_grid(s, s->dot[i], warps, &grid);
    if (possible && grid.warps_m * grid.warps_n * grid.warps_k != warps) possible = false;
    if (!possible) grid = (warp_grid){warps, 1, 1};
    set_dot(s->dot[i], possible ? IR_INSTRUCTION_MMA : IR_INSTRUCTION_FMA, grid);
  }
  return warps;
}

/* -- Copies -------------------------------------------------------------------------------------------------------- */

static bool converts(const ir_op *copy) { return copy->write[0].value->type != copy->read[0].value->type; }

static bool fills_zero(const ir_op *copy) { return !copy->expr_count || ir_is_zero(copy->expr[0]); }

typedef struct packing {
  const ir_value *buffer;
  bool decoded; /* read by a fused decode */
  bool other;
} packing;

static void packing_visit(void *data, ir_op *op, ir_value *value, bool written) {
  packing *p = data;
  if (value != p->buffer || written) return;
  if (op->kind == IR_OP_DECODE && ir_attr_get(&op->attrs, IR_ATTR_PLACE, 0) == IR_PLACE_OPERAND)
    p->decoded = true;
  else
    p->other = true;
}

/* Whether the buffer only holds an operand of fused decodes, so that it is filled in packed order, whole blocks at a
 * time. */
static bool holds_fused_codes(survey *s, const ir_value *buffer) {
  packing p = {buffer, false, false};
  for (ir_op *op = s->kernel->body.first; op; op = op->next)
    ir_op_visit(op, true, packing_visit, &p);
  return p.decoded && !p.other;
}

/* Rule 7, for a decode in the register operand of a dot whose warps have codes of their own each. */
static bool load_directly(void *data, ir_block *block, ir_op *op) {
  survey *s = data;
  if (op->kind != IR_OP_DECODE || ir_attr_get(&op->attrs, IR_ATTR_PLACE, 0) != IR_PLACE_OPERAND) return true;
  const ir_op *dot = dot_of_rows(&s->kernel->body, op->write[0].value);
  if (!dot || ir_attr_get(&dot->attrs, IR_ATTR_INSTRUCTION, 0) != IR_INSTRUCTION_MMA ||
      ir_attr_get(&dot->attrs, IR_ATTR_WARPS_N, 1) > 1)
    return true;
  ir_value *codes = op->read[0].value;
  ir_op *copy = op->previous;
  while (copy && !(copy->kind == IR_OP_COPY && copy->write[0].value == codes))
    copy = copy->previous;
  if (!copy || codes->space != IR_SHARED) return true;
  codes->space = IR_TILE;
  ir_attr_set(&copy->attrs, IR_ATTR_DIRECT, 1);
  ir_block_remove(block, copy);
  ir_block_insert_before(block, op, copy);
  s->direct = true;
  return true;
}

static ir_engine choose_engine(survey *s, ir_op *copy) {
  ir_value *to = copy->write[0].value, *from = copy->read[0].value;
  const ir_target_info *target = ir_target_of(s->kernel->target);
  int level = s->env->options->level;
  /* loads on an mbarrier are a producer role's */
  bool on_barrier = target->has_tma && level >= 2 && ir_attr_get(&s->kernel->attrs, IR_ATTR_PRODUCERS, 1) > 0;
  if (from->space != IR_GLOBAL || to->space != IR_SHARED || region_exchanged(s->env->scratch, s->kernel)[from->number])
    return IR_ENGINE_SIMT;
  if (holds_fused_codes(s, to)) {
    int piece_rows = packed_piece_rows((int)ir_extent(to, 0));
    bool wide = piece_rows * from->packed->k * from->packed->code_bits % BULK_BITS == 0;
    return on_barrier && wide ? IR_ENGINE_BULK : target->has_cpasync && level >= 1 ? IR_ENGINE_CPASYNC : IR_ENGINE_SIMT;
  }
  if (converts(copy) || level < 1) return IR_ENGINE_SIMT;
  if (on_barrier) {
    const char *why = fills_zero(copy) ? region_tma_refusal(s->env->memory, &copy->read[0])
                                       : "elements outside the tensor are not zero";
    diag_remark(s->env->diagnostics, "schedule", "tma", !why, copy->loc,
                why ? "the copy to %s cannot use a tensor map: %s" : "the copy to %s uses a tensor map%s", to->name,
                why ? why : "");
    if (!why) return IR_ENGINE_TMA;
  }
  if (target->has_cpasync && fills_zero(copy) && region_access_bytes(s->env->memory, &copy->read[0]) >= 4)
    return IR_ENGINE_CPASYNC;
  return IR_ENGINE_SIMT;
}

/* -- Stages -------------------------------------------------------------------------------------------------------- */

static int64_t buffer_bytes(const ir_value *value) {
  int64_t bytes = (ir_element_count(value) * ir_bits(value->type) + 7) / 8;
  return (bytes + 1023) / 1024 * 1024;
}

/* Shared bytes of the buffers that the loop's own body fills from device memory asynchronously. */
static int64_t ring_bytes(const ir_op *loop) {
  int64_t bytes = 0;
  for (const ir_op *op = loop->body.first; op; op = op->next)
    if (op->kind == IR_OP_COPY && op->write[0].value->space == IR_SHARED && op->read[0].value->space == IR_GLOBAL &&
        ir_attr_get(&op->attrs, IR_ATTR_ENGINE, 0) != IR_ENGINE_SIMT)
      bytes += buffer_bytes(op->write[0].value);
  return bytes;
}

/* The dimension that the registers of a thread run along in all results: columns of wgmma's. -1: there is none. */
static int slice_axis(const survey *s) {
  bool swapped = s->dot_count && dot_shape_of(s->dot[0]).swapped;
  for (int i = 0; i < s->dot_count; i++)
    if (ir_attr_get(&s->dot[i]->attrs, IR_ATTR_INSTRUCTION, 0) != IR_INSTRUCTION_WGMMA ||
        dot_shape_of(s->dot[i]).swapped != swapped)
      return -1;
  return !s->dot_count ? -1 : swapped ? 0 : 1;
}

/* The fewest slices along the axis, at least `least`, that the stored tile can be cut into; else the most. */
static int count_slices(const ir_op *store, int axis, int least) {
  const ir_ref *tile = &store->read[0];
  int found = 1;
  if (axis < 0 || region_rank(tile) != 2 || region_rank(&store->write[0]) != 2) return found;
  int64_t extent = region_extent(tile, axis), bits = ir_bits(store->write[0].value->type);
  for (int parts = LEAST_SLICES; parts <= MOST_SLICES && found < least; parts++) {
    int64_t width = extent / parts, bytes = width * bits / 8;
    bool fits = axis ? bytes == SLICE_BYTES || bytes % (2 * SLICE_BYTES) == 0 : width % SLICE_ROWS == 0;
    if (extent % parts == 0 && width && fits) found = parts;
  }
  return found;
}

/* Writes down in how many slices a tile is stored; 0: without staging. */
static void set_slices(ir_op *store, int axis, int parts) {
  ir_attr_clear(&store->attrs, IR_ATTR_AXIS);
  ir_attr_clear(&store->attrs, IR_ATTR_SLICES);
  if (!parts) ir_attr_set(&store->attrs, IR_ATTR_DIRECT, 1);
  if (parts < 2) return;
  ir_attr_set(&store->attrs, IR_ATTR_AXIS, axis);
  ir_attr_set(&store->attrs, IR_ATTR_SLICES, parts);
}

/* The staging that stage-stores will add where every tile passes in at least that many slices, if it can; 0: none. */
static int64_t staging_bytes(survey *s, int slices) {
  int64_t bytes = 0;
  int axis = slice_axis(s);
  for (int i = 0; i < s->copy_count && ir_attr_get(&s->kernel->attrs, IR_ATTR_PRODUCERS, 0); i++) {
    ir_op *copy = s->copy[i];
    if (copy->read[0].value->space != IR_TILE || copy->write[0].value->space != IR_GLOBAL ||
        region_tma_refusal(s->env->memory, &copy->write[0]))
      continue;
    int parts = slices ? count_slices(copy, axis, slices) : 0, buffers = parts > 1 ? 2 : parts;
    set_slices(copy, axis, parts);
    if (!parts) continue;
    int64_t elements = ir_element_count(copy->read[0].value) / parts;
    bytes += buffers * ((elements * ir_bits(copy->write[0].value->type) / 8 + 1023) / 1024 * 1024);
  }
  return bytes;
}

/* The stages of every loop that fit beside `fixed` bytes, the first loop first. Whether each loop gets what it asks for,
 * or three. */
static bool count_stages(const survey *s, int64_t fixed, int *stages) {
  int64_t budget = ir_target_of(s->kernel->target)->shared_bytes, ring = 0;
  bool enough = true;
  for (int i = 0; i < s->loop_count; i++) {
    int64_t bytes = ring_bytes(s->loop[i]);
    int asked = (int)ir_attr_get(&s->loop[i]->attrs, IR_ATTR_STAGES, 1);
    stages[i] = s->env->options->level < 1 || !bytes ? 1 : asked;
    int wanted = stages[i] < ENOUGH_STAGES ? stages[i] : ENOUGH_STAGES;
    while (stages[i] > 1 && fixed + ring + (stages[i] - 1) * bytes > budget)
      stages[i]--;
    ring += (stages[i] - 1) * bytes;
    enough &= stages[i] >= wanted;
  }
  return enough;
}

static bool is_loaded_in(const ir_block *block, const ir_value *buffer) {
  for (const ir_op *op = block->first; op; op = op->next)
    if ((op->kind == IR_OP_COPY && op->write[0].value == buffer) || is_loaded_in(&op->body, buffer) ||
        is_loaded_in(&op->other, buffer))
      return true;
  return false;
}

/* What a tile loads outside of its loops has a second slot where all of it fits into `room` bytes: a producer that walks
 * tiles then loads it while the tile before is still computed. */
static void load_ahead_of_tiles(survey *s, int64_t room) {
  int64_t bytes = 0;
  for (int turn = 0; turn < 2; turn++) {
    for (ir_op *op = s->kernel->body.first; op; op = op->next) {
      int64_t engine = ir_attr_get(&op->attrs, IR_ATTR_ENGINE, IR_ENGINE_SIMT);
      if (op->kind != IR_OP_COPY || (engine != IR_ENGINE_TMA && engine != IR_ENGINE_BULK)) continue;
      for (ir_op *other = s->kernel->body.first; other; other = other->next)
        if (is_loaded_in(&other->body, op->write[0].value)) return;
      if (turn == 1)
        ir_attr_set(&op->attrs, IR_ATTR_STAGES, 2);
      else
        bytes += buffer_bytes(op->write[0].value);
    }
    if (bytes > room) return;
  }
}

/* Chooses how results are staged beside `fixed` bytes, and the stages of every loop: in as few slices as leave the loops
 * the most stages. Staging gives way where a loop would be short of stages: a block stores once, and waits for every load
 * of a loop that cannot run ahead. */
static int64_t fit_staging(survey *s, int64_t fixed, int *stages) {
  int best = 1, most = -1;
  for (int slices = 1; slices <= MOST_SLICES; slices++) {
    int total = 0;
    count_stages(s, fixed + staging_bytes(s, slices), stages);
    for (int i = 0; i < s->loop_count; i++)
      total += stages[i];
    if (total <= most) continue;
    best = slices;
    most = total;
  }
  int64_t staging = staging_bytes(s, best);
  if (count_stages(s, fixed + staging, stages)) return staging;
  if (count_stages(s, fixed, stages)) return staging_bytes(s, 0);
  count_stages(s, fixed + staging, stages);
  return staging;
}

static void fit_stages(survey *s) {
  int64_t fixed = RESERVED_SHARED_BYTES + decode_table_bytes(s->kernel);
  for (int i = 0; i < s->kernel->value_count; i++)
    if (s->kernel->values[i]->space == IR_SHARED) fixed += buffer_bytes(s->kernel->values[i]);
  for (int i = 0; i < s->dot_count; i++) { /* what warps that share k exchange */
    int64_t parts = ir_attr_get(&s->dot[i]->attrs, IR_ATTR_WARPS_K, 1);
    const ir_value *sums = s->dot[i]->write[0].value;
    if (parts > 1) fixed += parts * ir_element_count(sums) * ir_bits(sums->type) / 8;
  }
  int stages[MAX_COPIES];
  int64_t staging = fit_staging(s, fixed, stages);
  int64_t room = ir_target_of(s->kernel->target)->shared_bytes - fixed - staging;
  for (int i = 0; i < s->loop_count; i++)
    room -= (stages[i] - 1) * ring_bytes(s->loop[i]);
  if (ir_attr_get(&s->kernel->attrs, IR_ATTR_PERSISTENT, 0)) load_ahead_of_tiles(s, room);
  for (int i = 0; i < s->loop_count; i++) {
    ir_op *loop = s->loop[i];
    int asked = (int)ir_attr_get(&loop->attrs, IR_ATTR_STAGES, 1);
    if (stages[i] == asked || !ir_attr_has(&loop->attrs, IR_ATTR_STAGES)) continue;
    const char *why = s->env->options->level < 1 ? "-O0 does not overlap"
                      : !ring_bytes(loop)        ? "nothing in the loop is copied asynchronously"
                                                 : "more do not fit into shared memory";
    diag_remark(s->env->diagnostics, "schedule", "stages", false, loop->loc, "%d stages instead of %d: %s", stages[i],
                asked, why);
    ir_attr_set(&loop->attrs, IR_ATTR_STAGES, stages[i]);
  }
}

/* -- Kernel -------------------------------------------------------------------------------------------------------- */

/* Bands of tiles pay when neighbours along either of the first two grid dimensions load something in common. */
static bool bands_pay(ir_kernel *kernel, pass_env *env) {
  if (kernel->grid_count < 2 || env->options->level < 1) return false;
  for (int d = 0; d < 2; d++)
    if (!common_load_bytes(&kernel->body, variance_of(env->scratch, kernel, kernel->grid[d].index))) return false;
  return true;
}

/* What a caller or a source may pin, and between what. */
static const struct {
  ir_attr attr;
  int64_t least, most, otherwise;
} pinnable[] = {
    {IR_ATTR_WARPS, 1, 32, 0},      {IR_ATTR_PRODUCERS, 0, 8, 0}, {IR_ATTR_PERSISTENT, 0, 1, 0},
    {IR_ATTR_RASTER, 0, 1024, 0},   {IR_ATTR_CLUSTER, 1, 16, 1},  {IR_ATTR_REVERSE, 0, 1, 0},
    {IR_ATTR_MIN_BLOCKS, 1, 32, 1}, {IR_ATTR_PDL, 0, 1, 0},       {IR_ATTR_DIRECT, 0, 1, 0},
};
enum { PINNABLE = sizeof pinnable / sizeof *pinnable };

/* Writes the caller's pins beside those of the source, which they replace. */
static bool take_pins(ir_kernel *kernel, pass_env *env) {
  for (int i = 0; i < env->options->pin_count; i++) {
    const pass_number *p = &env->options->pins[i];
    int k = 0;
    while (k < PINNABLE && strcmp(p->name, ir_attr_info_of(pinnable[k].attr)->name))
      k++;
    if (k == PINNABLE)
      return diag_error(env->diagnostics, DIAG_SCHEDULE, kernel->loc,
                        "'%s' cannot be pinned; warps, producers, persistent, raster, cluster, reverse, min_blocks, "
                        "pdl and direct can",
                        p->name);
    if (p->value < pinnable[k].least || p->value > pinnable[k].most)
      return diag_error(env->diagnostics, DIAG_SCHEDULE, kernel->loc,
                        "%s = %lld cannot be pinned: it is from %lld to %lld", p->name, (long long)p->value,
                        (long long)pinnable[k].least, (long long)pinnable[k].most);
    ir_attr_set(&kernel->attrs, pinnable[k].attr, p->value);
  }
  return true;
}

/* Says which of the pins in `asked` the schedule could not obey. */
static void report_pins(const ir_kernel *kernel, const ir_attrs *asked, pass_env *env) {
  for (int k = 0; k < PINNABLE; k++) {
    if (!ir_attr_has(asked, pinnable[k].attr)) continue;
    int64_t wanted = ir_attr_get(asked, pinnable[k].attr, 0),
            got = ir_attr_get(&kernel->attrs, pinnable[k].attr, pinnable[k].otherwise);
    if (wanted == got) continue;
    diag_remark(env->diagnostics, "schedule", "pin", false, kernel->loc,
                "%s is %lld, not %lld as asked: its dots and copies do not allow that",
                ir_attr_info_of(pinnable[k].attr)->name, (long long)got, (long long)wanted);
  }
}

bool schedule(ir_kernel *kernel, pass_env *env) {
  if (!take_pins(kernel, env)) return false;
  const ir_attrs asked = kernel->attrs;
  survey s = {.env = env, .kernel = kernel};
  ir_walk(&kernel->body, collect, &s);
  for (int i = 0; i < kernel->value_count; i++)
    if (kernel->values[i]->space == IR_TILE || kernel->values[i]->space == IR_SHARED) {
      int64_t elements = ir_element_count(kernel->values[i]);
      s.largest = elements > s.largest ? elements : s.largest;
    }
  const ir_target_info *target = ir_target_of(kernel->target);
  int warps = schedule_dots(&s);
  ir_attr_set(&kernel->attrs, IR_ATTR_WARPS, warps);
  ir_attr_set(&kernel->attrs, IR_ATTR_LEVEL, env->options->level);
  bool direct = ir_attr_get(&kernel->attrs, IR_ATTR_DIRECT, 0) && !ir_attr_get(&kernel->attrs, IR_ATTR_PRODUCERS, 0);
  if (direct && env->options->level >= 2) ir_walk(&kernel->body, load_directly, &s);
  if (s.direct)
    ir_attr_set(&kernel->attrs, IR_ATTR_PRODUCERS, 0);
  else
    ir_attr_clear(&kernel->attrs, IR_ATTR_DIRECT);

  bool on_barrier = false, wgmma = false;
  for (int i = 0; i < s.copy_count; i++) {
    ir_engine engine = choose_engine(&s, s.copy[i]);
    ir_attr_set(&s.copy[i]->attrs, IR_ATTR_ENGINE, engine);
    on_barrier |= engine == IR_ENGINE_TMA || engine == IR_ENGINE_BULK;
  }
  for (int i = 0; i < s.dot_count; i++)
    wgmma |= ir_attr_get(&s.dot[i]->attrs, IR_ATTR_INSTRUCTION, 0) == IR_INSTRUCTION_WGMMA;
  int producers = 0;
  if (on_barrier) producers = wgmma ? 4 : 1;
  if (env->options->level < 2 || !target->has_tma) producers = 0;
  if (producers) {
    int asked_for = (int)ir_attr_get(&kernel->attrs, IR_ATTR_PRODUCERS, producers);
    producers = wgmma && asked_for % 4 ? producers : asked_for; /* warpgroups trade registers whole */
  }
  ir_attr_set(&kernel->attrs, IR_ATTR_THREADS, (warps + producers) * 32);
  if (producers || ir_attr_has(&kernel->attrs, IR_ATTR_PRODUCERS))
    ir_attr_set(&kernel->attrs, IR_ATTR_PRODUCERS, producers);
  if (producers)
    ir_attr_set(&kernel->attrs, IR_ATTR_PERSISTENT, ir_attr_get(&kernel->attrs, IR_ATTR_PERSISTENT, s.dot_count > 0));
  if (!producers || ir_attr_get(&kernel->attrs, IR_ATTR_CLUSTER, 1) < 2) /* multicast is a producer's */
    ir_attr_clear(&kernel->attrs, IR_ATTR_CLUSTER);
  if (s.dot_count && bands_pay(kernel, env))
    ir_attr_set(&kernel->attrs, IR_ATTR_RASTER, ir_attr_get(&kernel->attrs, IR_ATTR_RASTER, 8));
  plan_promotion(kernel, env);
  bool heavier = kernel->grid_count && ir_attr_get(&kernel->attrs, IR_ATTR_PERSISTENT, 0) &&
                 work_trend(env->scratch, kernel, 0) > 0;
  if (ir_attr_get(&kernel->attrs, IR_ATTR_REVERSE,
                  heavier)) /* the heaviest tiles first, so that the last to finish are light */
    ir_attr_set(&kernel->attrs, IR_ATTR_REVERSE, 1);
  fit_stages(&s);
  int min_blocks =
      s.dot_count || producers || env->options->level < 2 || ir_attr_has(&kernel->attrs, IR_ATTR_MIN_BLOCKS)
          ? 1
          : estimate_min_blocks(kernel, env->options->level, env->scratch);
  if (min_blocks > 1) ir_attr_set(&kernel->attrs, IR_ATTR_MIN_BLOCKS, min_blocks);
  report_pins(kernel, &asked, env);
  kernel->form = IR_FORM_SCHEDULED;
  if (env->explain) {
    estimate e;
    estimate_kernel(kernel, env->options, env->scratch, &e);
    str_printf(env->explain, "plan of %s for %s:\n", kernel->name, target->name);
    estimate_print_head(env->explain);
    estimate_print_row(&e, 0, "*", "as it stands", env->explain);
  }
  return true;
}
