/* The cost model. One block's work (estimate_work.c) becomes the time of an SM that holds as many blocks as fit, then
 * waves of them:
 *
 *   section   max(tensor, exp and alu as far as they overlap, shared, L2, load latency over what is in flight) +
 *             barriers
 *   SM        the sum of its blocks' sections + the first load and the last turn, when only one of loads and
 *             arithmetic goes on; a persistent block with a producer hides them behind the tile before, and later
 *             blocks end while others load
 *   launch    waves * SM, the last with fewer blocks an SM; at least the bytes from device memory over its bandwidth
 *
 * Bytes from device memory depend on what the blocks of a wave have in common and on what L2 keeps from wave to wave,
 * so on the raster. The constants below are round figures from hand-written kernels on one H200, and fitted to what
 * bitblas-bench --tuning measured there; the rates are targets.def's. */
#include "passes/estimate.h"
#include "passes/estimate_work.h"
#include "passes/register_budget.h"

#include <math.h>

static const double launch_us[2] = {2.0, 0.7}; /* that a launch takes, and one that overlaps the one ahead */
static const double role_us = 1.4;             /* that one which overlaps takes longer with a role that loads */
/* What it gains where an SM has many blocks at once, whose room it gets one by one. */
static const double room_us = 2.0;
static const double load_clocks = 800; /* from issue to arrival, memory busy */
/* The same of a slot of a ring, with all others under way: that wgmma reads, and warps for themselves. */
static const double slot_clocks[2] = {1600, 800};
static const double direct_clocks =
    400;                                /* of a turn whose codes are asked for when those of the turn before are used */
static const double direct_share = 0.6; /* of its work that does not lie under the loads of other warps */
static const double copy_clocks = 77;   /* of a producer for an instruction of a copy engine, however little it moves */
/* A consumer's barrier, and more for each warp: when a producer role fills the ring, and of the whole block. */
static const double role_turn_clocks[2] = {60, 5}, block_turn_clocks[2] = {200, 20};
static const double whole_turn = 0.39; /* of a role's turn, where a loop has no more of them than stages */
/* A warp, of an iteration whose dots wait for each other's results: with a role that loads, and without. */
static const double chain_clocks[2] = {25, 200};
/* A warpgroup alone that decodes for its wgmma: for each clock that the SM would take; a turn. */
static const double decode_clocks = 1.3, decode_turn_clocks = 220;
static const double lone_clocks = 104;   /* of a turn of one warpgroup, beneath whose wait for its wgmma nobody works */
static const double hbm_reached = 0.945; /* of the nominal bandwidth */
static const double copying = 1.08; /* of warps that compute, when they copy and meet beside it though a role could */
static const double choice_copying = 1.15;  /* the same where codes choose between products */
static const double few_warps_lost = 1.15;  /* without a role that loads, below ENOUGH_WARPS an SM */
static const double few_direct_lost = 1.35; /* where they load their codes themselves, below ENOUGH_DIRECT_WARPS */
static const double role_hbm = 1.05; /* of device memory's time, where one warp asks for all and not each for its own */
static const double direct_hbm =
    1.15; /* where registers hold a turn's codes: less is under way while they are decoded */
static const double sum_clocks = 0.07;  /* of an element of sums that warps add which share k */
static const double most_uneven = 0.2;  /* tail's share of an SM's time with which device memory is still shared out */
static const double l2_kept = 0.6;      /* of the L2 that one tensor may fill and still be there in the next wave */
static const double again_lost = 0.15;  /* of what a block loads again, though all of it should still be in the L2 */
static const double start_clocks = 600; /* of a block that replaces another */
static const double ahead_cost = 0.1;   /* of the time of what is asked for beyond ENOUGH_AHEAD, before work begins */
static const double overlap_slot_clocks = 150; /* of a slot that is filled before a launch waits for the one ahead */

/* Powers: shared memory and what warps compute on an SM, an SM and device memory. */
static const double within_sm = 4, beside_memory = 6;

enum {
  ALU_LANES = 128,
  LARGEST_REGISTERS = 255,
  WORK_REGISTERS = 44,
  CHAIN_REGISTERS = 28,
  PLAIN_REGISTERS = 28,
  NARROW_REGISTERS = 12,
  LEAN_REGISTERS = 22,   /* beside tiles and a quarter more, of a kernel that moves rows, when it has to do with few */
  ENOUGH_THREADS = 1024, /* of an SM to have enough loads in flight, a few of 16 bytes each */
  FEW_THREADS = 512,     /* with fewer, a thread holds so much that a limit would spill */
  RESERVED_SHARED = 1024,
  ENOUGH_AHEAD = 131072, /* bytes under way to an SM that hide all latency; more only queues in front of them */
  MAX_BLOCKS = 32,
  ENOUGH_WARPS = 8,
  ENOUGH_DIRECT_WARPS = 16
};

const char *estimate_term_name(estimate_term term) {
  static const char *const names[ESTIMATE_TERM_COUNT] = {"tensor", "shared", "l2",      "hbm",
                                                         "exp",    "alu",    "latency", "tail"};
  return names[term];
}

typedef struct machine {
  const ir_target_info *target;
  int warps, producers, cluster, raster, min_blocks;
  bool persistent, is_lone, overlaps;
  bool has_roles;       /* its code could leave loads to a role */
  bool loads_fragments; /* the warps that compute read what they multiply from shared memory themselves */
  int block_shared;     /* bytes that a block may have: the target's, where the SM is another's */
  double l2_share;      /* of the bytes that multicast leaves to each block */
  double memory_load;   /* device memory's time by that of the busiest resource, at most 1 */
} machine;

/* -- What fits ----------------------------------------------------------------------------------------------------- */

/* Whether dots wait for each other's results: between them the tiles' registers are what ptxas has. */
static bool has_chains(const block_work *w) {
  for (int i = 0; i < w->section_count; i++)
    if (w->section[i].chains > 0) return true;
  return false;
}

/* Registers of a thread that computes. Without dots ptxas needs fewer beside the tiles; the elements in flight of
 * copies that may go one by one have an address and a condition each. */
static int registers_of(const machine *m, const block_work *w) {
  int beside = w->wgmma_columns && has_chains(w) ? CHAIN_REGISTERS : WORK_REGISTERS;
  /* sums to be promoted live between a dot and its end, when addresses of what comes later do not */
  int within = w->part_registers ? w->part_registers + ESTIMATE_PART_ADDRESSES : 0;
  if (w->has_dots) return w->registers + (within > beside ? within : beside);
  int registers = w->registers + PLAIN_REGISTERS + (w->is_narrow ? w->registers * 3 / 10 + NARROW_REGISTERS : 0);
  int limit = m->target->registers / (m->warps * 32 * m->min_blocks) / 8 * 8;
  return registers < limit || m->min_blocks < 2 ? registers : limit;
}

int estimate_min_blocks(ir_kernel *kernel, int level, arena *scratch) {
  const ir_target_info *target = ir_target_of(kernel->target);
  int threads = (int)ir_attr_get(&kernel->attrs, IR_ATTR_THREADS, ENOUGH_THREADS);
  if (threads * 2 > ENOUGH_THREADS) return 1;
  for (int i = 0; i < kernel->value_count; i++)
    if (kernel->values[i]->space == IR_SHARED) return 1;
  block_work w = {0};
  work_room(kernel, NULL, 0, level, scratch, &w);
  int blocks = ENOUGH_THREADS / threads, needed = w.least_registers * 5 / 4 + LEAN_REGISTERS;
  while (blocks > 1 && needed > target->registers / (threads * blocks) / 8 * 8)
    blocks--;
  return threads * blocks >= FEW_THREADS ? blocks : 1;
}

static const char *refusal_of(const machine *m, const block_work *w, estimate *e) {
  int threads = (m->warps + m->producers) * 32;
  if (w->shared_bytes > m->block_shared) return "shared memory";
  if (threads > 1024) return "threads";
  if (e->registers > register_budget_of(m->target, m->warps, m->producers).consumer) return "registers";
  /* an instruction's accumulators must fit what a thread has at entry, before roles trade registers */
  int entry = m->target->registers / threads / 8 * 8;
  if (w->wgmma_columns && w->wgmma_columns / 2 + 26 > (entry < LARGEST_REGISTERS ? entry : LARGEST_REGISTERS))
    return "registers";
  return NULL;
}

static int blocks_that_fit(const machine *m, const block_work *w, int registers) {
  int threads = (m->warps + m->producers) * 32, room = m->target->registers / threads / 8 * 8;
  int a_thread = m->producers >= 4 || registers > room ? room : registers; /* roles start with an even share */
  if (m->producers >= 4 && a_thread > 168) a_thread = 168;
  int64_t blocks = m->target->registers / ((int64_t)(a_thread < 32 ? 32 : a_thread) * threads);
  int64_t by_shared = (m->target->shared_bytes + RESERVED_SHARED) / (w->shared_bytes + RESERVED_SHARED);
  int by_warps = m->target->max_warps / (m->warps + m->producers);
  blocks = blocks < by_shared ? blocks : by_shared;
  blocks = blocks < by_warps ? blocks : by_warps;
  return blocks < 1 ? 1 : blocks < MAX_BLOCKS ? (int)blocks : MAX_BLOCKS;
}

/* -- An SM --------------------------------------------------------------------------------------------------------- */

static double larger(double a, double b) { return a > b ? a : b; }

static double smaller(double a, double b) { return a < b ? a : b; }

/* What two things take that go on at once, each waiting for the other now and then: a fifth or an eighth more
 * than either where they take the same, and next to nothing more than the slower one where they do not. */
static double together(double a, double b, double power) { return pow(pow(a, power) + pow(b, power), 1 / power); }

/* Clocks in which the SM can do the section's work of `blocks` blocks, if nothing waits. */
static double throughput_clocks(const machine *m, const work *w, double blocks) {
  double tensor = w->tensor * blocks, exp = w->exp * blocks / m->target->exp_clk, alu = w->alu * blocks / ALU_LANES;
  double busiest = larger(tensor, larger(exp, alu));
  /* What one warpgroup computes after its dot, another can do beneath the dot of its own. */
  double apart = blocks * (tensor > 0 ? larger(1.5 * (m->warps / 4), 1) : m->warps);
  double compute = busiest + (tensor + exp + alu - busiest) / apart;
  if (tensor > 0 && !m->producers && m->has_roles) compute *= w->chooses ? choice_copying : copying;
  double l2 = w->l2 * m->l2_share * blocks / m->target->l2_bytes_clk;
  double shared = w->shared * blocks / m->target->shared_bytes_clk, moved = larger(l2, w->copies * copy_clocks);
  /* warps that load what they multiply wait for it now and then; wgmma does not, beneath a role that loads */
  if (tensor > 0 && (!m->producers || m->loads_fragments)) return larger(together(compute, shared, within_sm), moved);
  return larger(compute, larger(shared, moved));
}

/* The least clocks of a loop whose slots are each filled, awaited, read and given back before they are filled
 * again. The dots that read a slot may end one iteration late, since the next ones are issued first. */
static double ring_clocks(const machine *m, const work *w, double blocks) {
  if (w->loads == 0) return 0;
  if (w->is_direct) return w->loads * direct_clocks + direct_share * throughput_clocks(m, w, blocks);
  double transfer = w->l2 * m->l2_share * blocks / m->target->l2_bytes_clk;
  double dots = larger(w->tensor, w->shared / m->target->shared_bytes_clk) * blocks;
  double held = w->dots > 0 ? (m->producers ? 1.5 : 1) * dots : throughput_clocks(m, w, blocks);
  /* without a producer the slot that a turn reads is filled after it, unless there is one for every turn */
  double slots = w->slots >= w->loads ? w->loads : m->producers || w->slots < 2 ? w->slots : w->slots - 1;
  /* what is asked for queues as far as device memory is busy; else its transfer is part of the latency */
  return (w->loads * slot_clocks[m->loads_fragments] + (m->memory_load * transfer + held) / larger(w->dots, 1)) / slots;
}

/* What one warpgroup takes that decodes, multiplies and waits in turn; others work meanwhile, on dots of their own. */
static double decoding_clocks(const machine *m, const work *w) {
  if (w->decodes == 0) return 0;
  return w->tensor / larger(m->warps / 4, 1) + decode_clocks * w->decodes / ALU_LANES + w->turns * decode_turn_clocks;
}

/* Clocks of one section with `blocks` blocks at once: one block's own waits lie beneath the work of the others. */
static double section_clocks(const machine *m, const work *w, double blocks) {
  const double *turn = m->producers ? role_turn_clocks : block_turn_clocks;
  double share = m->producers && w->loads > 0 && w->loads <= w->slots ? whole_turn : 1; /* no slot is given back */
  double clocks = turn[0] + turn[1] * m->warps + (m->is_lone ? lone_clocks : 0);
  /* warps that meet nobody at a turn work while others wait for it */
  if (m->producers && m->loads_fragments && m->warps > 4) clocks = (turn[0] + turn[1] * 4) * 4 / m->warps;
  double turns = w->turns * share * clocks + w->chains * chain_clocks[!m->producers] * m->warps;
  double busy = larger(throughput_clocks(m, w, 1) + turns, decoding_clocks(m, w)), ring = ring_clocks(m, w, 1);
  bool parted = !m->producers && w->tensor < busy / 2; /* warps that load wait for it, unless it all lies under dots */
  double alone = (parted ? together(busy, ring, within_sm) : larger(busy, ring)) + w->sync_waits * load_clocks;
  if (w->is_direct && m->warps * blocks < ENOUGH_DIRECT_WARPS) alone *= few_direct_lost;
  if (parted && m->warps * blocks < ENOUGH_WARPS) alone *= few_warps_lost; /* and nobody else to fill the pause */
  return larger(alone, larger(throughput_clocks(m, w, blocks), ring_clocks(m, w, blocks)));
}

/* What is left to compute when the last bytes have come: the last turn of the loop whose turns are longest. */
static double drain_clocks(const machine *m, const block_work *w, double blocks) {
  double clocks = 0;
  for (int i = 0; i < w->section_count; i++)
    if (w->section[i].loads >= 1)
      clocks = larger(clocks, throughput_clocks(m, &w->section[i], blocks) / w->section[i].loads *
                                  (w->section[i].is_direct ? 0.5 : 1)); /* warps begin each when their own has come */
  return clocks;
}

/* Until the first turn of a loop has come to blocks that all begin at once. Memory serves what was asked for in no
 * order, so that deep rings delay their own first slot; and a launch that overlaps the one ahead fills all slots with
 * one kind of tensor before it asks for the others. */
static double fill_clocks(const machine *m, const block_work *w, double blocks) {
  double first = 0, ahead = 0, filled = 0;
  for (int i = 0; i < w->section_count; i++) {
    const work *s = &w->section[i];
    if (s->loads < 1) continue;
    double slots = s->slots < s->loads ? s->slots : s->loads, turn = s->l2 * m->l2_share * blocks / s->loads;
    first = larger(first, s->is_direct ? 0 : turn);
    ahead += turn * slots;
    filled += s->is_direct ? 0 : slots * blocks;
  }
  double a_clock = m->target->hbm_gbps * hbm_reached / m->target->sms / m->target->clock_ghz;
  return load_clocks + (first + ahead_cost * larger(0, ahead - ENOUGH_AHEAD)) / a_clock +
         (m->overlaps ? overlap_slot_clocks * filled : 0);
}

static double block_clocks(const machine *m, const block_work *w, double blocks, bool follows) {
  double clocks = 0;
  for (int i = 0; i < w->section_count; i++)
    clocks += section_clocks(m, &w->section[i], blocks) + w->section[i].sums * sum_clocks;
  bool hidden = follows && m->persistent && m->producers;
  if (hidden) return clocks;
  return clocks + (follows ? load_clocks + start_clocks : fill_clocks(m, w, blocks) + drain_clocks(m, w, blocks));
}

/* -- Memory -------------------------------------------------------------------------------------------------------- */

/* How many different values of each grid dimension `count` neighbouring blocks have. */
static void spread(const machine *m, const block_work *w, double count, double distinct[3]) {
  double first = w->grid[0], second = w->grid[1];
  if (m->raster > 1 &&
      second > 1) { /* a band of `raster` along the second dimension, walked before the first one moves on */
    double band = larger(1, m->raster < second ? m->raster : second), columns = count / band;
    distinct[1] = count < band ? count : band * larger(1, columns / first);
    distinct[0] = columns < first ? larger(1, columns) : first;
  } else {
    distinct[0] = count < first ? count : first;
    distinct[1] = larger(1, count / first);
  }
  distinct[1] = distinct[1] < second ? distinct[1] : second;
  distinct[2] = larger(1, count / larger(1, first * second));
  distinct[2] = distinct[2] < w->grid[2] ? distinct[2] : w->grid[2];
}

/* Bytes of a wave of `at_once` blocks: of what each block moves first, or of traffic `only` (< 0: all). */
static double wave_bytes(const block_work *w, const double wave[3], int only) {
  double total = 0;
  for (int i = 0; i < w->moved_count; i++) {
    const traffic *t = &w->moved[i];
    double bytes = t->bytes;
    for (int d = 0; d < 3; d++)
      bytes *= t->varies[d] ? wave[d] : 1;
    if (only < 0 ? !t->is_again : only == i) total += bytes;
  }
  return total;
}

/* The share of what a block loads again that the L2 no longer has: all that the blocks of a wave hold passes through it
 * between the two loads. */
static double share_lost(const machine *m, const block_work *w, const double wave[3]) {
  double kept = l2_kept * (double)m->target->l2_bytes, lost = wave_bytes(w, wave, -1) / kept - 1;
  return lost < again_lost ? again_lost : lost < 1 ? lost : 1;
}

/* Bytes of device memory over the whole launch. */
static double memory_bytes(const machine *m, const block_work *w, double blocks, double at_once) {
  double wave[3], total = 0;
  double waves = larger(1, blocks / at_once);
  spread(m, w, at_once < blocks ? at_once : blocks, wave);
  double lost = share_lost(m, w, wave);
  double band = m->raster > 1 ? m->raster : 1, bands = larger(1, w->grid[1] / band);
  for (int i = 0; i < w->moved_count; i++) {
    const traffic *t = &w->moved[i];
    double whole = work_tensor_bytes(w, t->tensor), a_wave = wave_bytes(w, wave, i), all = t->bytes;
    for (int d = 0; d < 3; d++)
      all *= t->varies[d] ? w->grid[d] : 1;
    double once = whole < all ? whole : all, bytes;
    double kept = l2_kept * (double)m->target->l2_bytes;
    if (!t->is_load || once <= kept) {
      bytes = once;
    } else if (m->raster > 1 && t->varies[1] && !t->varies[0] && t->bytes * band <= kept) {
      bytes = once; /* the band stays in L2 while the first dimension sweeps over it */
    } else if (m->raster > 1 && t->varies[0] && !t->varies[1]) {
      bytes = once * bands;
    } else {
      bytes = a_wave * waves;
    }
    bytes = bytes < a_wave * waves ? bytes : a_wave * waves;
    total += t->is_again ? bytes * lost : larger(bytes, t->is_load ? 0 : t->bytes);
  }
  return total;
}

/* The share of the bytes from L2 that is left to each block when the blocks of a cluster load what they have in common
 * once. */
static double multicast_share(const machine *m, const block_work *w) {
  if (m->cluster < 2) return 1;
  double all = 0, most = 0;
  for (int d = 0; d < 3; d++) {
    double common = 0;
    all = 0;
    for (int i = 0; i < w->moved_count; i++) {
      const traffic *t = &w->moved[i];
      all += t->bytes;
      if (w->grid[d] > 1 && t->is_shared_by_cluster && !t->varies[d]) common += t->bytes;
    }
    most = larger(most, common);
  }
  return all > 0 ? 1 - most * (1 - 1.0 / m->cluster) / all : 1;
}

/* -- The launch ---------------------------------------------------------------------------------------------------- */

/* Microseconds of each resource when every SM had an even share of the work. */
static void fill_terms(const machine *m, const block_work *w, double blocks, double per_us, estimate *e) {
  double share = blocks / m->target->sms / per_us;
  for (int i = 0; i < w->section_count; i++) {
    const work *s = &w->section[i];
    e->term[ESTIMATE_TENSOR] += share * s->tensor;
    e->term[ESTIMATE_SHARED] += share * s->shared / m->target->shared_bytes_clk;
    e->term[ESTIMATE_L2] += share * s->l2 * m->l2_share / m->target->l2_bytes_clk;
    e->term[ESTIMATE_EXP] += share * s->exp / m->target->exp_clk;
    e->term[ESTIMATE_ALU] += share * s->alu / ALU_LANES;
  }
}

static double largest_term(const estimate *e) {
  double most = 0;
  for (int i = 0; i < ESTIMATE_TERM_COUNT; i++)
    most = larger(most, e->term[i]);
  return most;
}

ir_target_info estimate_machine(ir_target target, const pass_options *options) {
  ir_target_info info = *(options->speed ? options->speed : ir_target_of(target));
  if (options->sms) info.sms = options->sms;
  return info;
}

void estimate_kernel(ir_kernel *kernel, const pass_options *options, arena *scratch, estimate *out) {
  block_work w;
  const ir_target_info figures = estimate_machine(kernel->target, options);
  work_count(kernel, options, &figures, scratch, &w);
  machine m = {.target = &figures,
               .has_roles = ir_target_of(kernel->target)->has_tma,
               .block_shared = ir_target_of(kernel->target)->shared_bytes,
               .warps = (int)ir_attr_get(&kernel->attrs, IR_ATTR_WARPS, 4),
               .producers = (int)ir_attr_get(&kernel->attrs, IR_ATTR_PRODUCERS, 0),
               .cluster = (int)ir_attr_get(&kernel->attrs, IR_ATTR_CLUSTER, 1),
               .raster = (int)ir_attr_get(&kernel->attrs, IR_ATTR_RASTER, 0),
               .min_blocks = (int)ir_attr_get(&kernel->attrs, IR_ATTR_MIN_BLOCKS, 1),
               .overlaps = ir_attr_get(&kernel->attrs, IR_ATTR_PDL, 0) != 0,
               .persistent = ir_attr_get(&kernel->attrs, IR_ATTR_PERSISTENT, 0) != 0};
  m.l2_share = multicast_share(&m, &w);
  m.loads_fragments = !w.wgmma_columns;
  m.is_lone = w.wgmma_columns && m.producers && m.warps == 4;
  *out = (estimate){.registers = registers_of(&m, &w),
                    .shared_bytes = w.shared_bytes,
                    .uses_fma = w.uses_fma,
                    .uses_wgmma = w.wgmma_columns > 0};
  double blocks = w.grid[0] * w.grid[1] * w.grid[2], per_us = m.target->clock_ghz * 1e3;
  out->blocks = blocks;
  out->refusal = refusal_of(&m, &w, out);
  out->blocks_per_sm = blocks_that_fit(&m, &w, out->registers);
  double sms = m.target->sms / m.cluster * m.cluster, slots = sms * out->blocks_per_sm;
  fill_terms(&m, &w, blocks, per_us, out);
  double memory_us = memory_bytes(&m, &w, blocks, slots) / (m.target->hbm_gbps * 1e3 * hbm_reached);
  m.memory_load = memory_us > 0 ? memory_us / larger(memory_us, largest_term(out)) : 0;

  double waves = (double)(int64_t)(blocks / slots), rest = blocks - waves * slots, clocks = 0;
  if (waves > 0)
    clocks =
        block_clocks(&m, &w, out->blocks_per_sm, false) + (waves - 1) * block_clocks(&m, &w, out->blocks_per_sm, true);
  double rest_per_sm = rest > 0 ? (double)(int64_t)((rest + sms - 1) / sms) : 0;
  if (rest > 0) clocks += block_clocks(&m, &w, rest_per_sm, waves > 0);

  double busy = clocks / per_us, even = waves + rest_per_sm / out->blocks_per_sm;
  double filled = even > 0 ? blocks / (slots * even) : 1;
  double tail = busy * (1 - (filled < 1 ? filled : 1)), waiting = busy - tail - largest_term(out);
  out->term[ESTIMATE_TAIL] = tail;
  out->term[ESTIMATE_LATENCY] = larger(0, waiting);
  bool direct = ir_attr_get(&kernel->attrs, IR_ATTR_DIRECT, 0) != 0;
  out->term[ESTIMATE_HBM] = memory_us * (m.producers ? role_hbm : direct ? direct_hbm : 1);
  for (int i = 1; i < ESTIMATE_TERM_COUNT; i++) {
    if (out->term[i] > out->term[out->bound]) out->bound = (estimate_term)i;
  }
  double at_once = waves > 0 ? out->blocks_per_sm : rest_per_sm, drain = drain_clocks(&m, &w, at_once);
  /* SMs with less work leave device memory to the others, which can take so much of it */
  double shared_out = waves == 0 && tail < most_uneven * busy ? busy - tail : busy;
  double memory = together(shared_out, out->term[ESTIMATE_HBM] + (load_clocks + drain) / per_us, beside_memory);
  out->microseconds = larger(busy, memory) + launch_us[m.overlaps];
  if (m.overlaps && m.producers) out->microseconds += role_us;
  if (m.overlaps && !direct) out->microseconds -= smaller(room_us, busy / 2) * (1 - 1 / larger(1, at_once));
}

/* -- The table ----------------------------------------------------------------------------------------------------- */

void estimate_print_head(str *out) {
  str_printf(out, "  rank  %10s  %-8s", "us", "bound");
  for (int i = 0; i < ESTIMATE_TERM_COUNT; i++)
    str_printf(out, " %9s", estimate_term_name((estimate_term)i));
  str_printf(out, " %9s %4s %7s %4s  plan\n", "blocks", "/SM", "shared", "regs");
}

void estimate_print_row(const estimate *e, int rank, const char *mark, const char *plan, str *out) {
  if (e->refusal)
    str_printf(out, "%-2s%4s  %10s  %-8s", mark, "-", "refused", "");
  else
    str_printf(out, "%-2s%4d  %10.2f  %-8s", mark, rank, e->microseconds, estimate_term_name(e->bound));
  for (int i = 0; i < ESTIMATE_TERM_COUNT; i++)
    str_printf(out, " %9.2f", e->term[i]);
  str_printf(out, " %9.0f %4d %7lld %4d  %s", e->blocks, e->blocks_per_sm, (long long)e->shared_bytes, e->registers,
             plan);
  if (e->refusal) str_printf(out, "  (%s)", e->refusal);
  str_append_char(out, '\n');
}
