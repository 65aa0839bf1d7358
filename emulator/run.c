/* A launch: sizes, tensors, facts, and the blocks one cluster after another. */
#include "emulator/machine.h"

#include "ir/numeric.h"

#include <string.h>

enum { DEFAULT_STEP_GIGA = 4 };

/* -- The machine --------------------------------------------------------------------------------------------------- */

static void bind_sizes(machine *m) {
  int next = 0;
  m->sizes = ARENA_ARRAY(m->memory, cell, m->kernel->value_count);
  for (int i = 0; i < m->kernel->value_count; i++) {
    const ir_value *value = m->kernel->values[i];
    if (value->space != IR_SIZE) continue;
    if (next >= m->launch->size_count) {
      finding(m, NULL, EMULATOR_LAUNCH, value->loc, nowhere, "the launch gives %d sizes, none for '%s'",
              m->launch->size_count, value->name);
      continue;
    }
    int64_t given = m->launch->sizes[next++];
    m->sizes[i].i = given;
    if (given < 0 || given > INT32_MAX)
      finding(m, NULL, EMULATOR_LAUNCH, value->loc, nowhere, "size '%s' is %lld: it must be an i32, at least 0",
              value->name, (long long)given);
    if (value->bound >= 0 && given != value->bound)
      finding(m, NULL, EMULATOR_LAUNCH, value->loc, nowhere, "size '%s' is %lld, but the kernel was compiled for %lld",
              value->name, (long long)given, (long long)value->bound);
    if (value->multiple_of > 1 && given % value->multiple_of != 0)
      finding(m, NULL, EMULATOR_LAUNCH, value->loc, nowhere, "size '%s' is %lld, not a multiple of %lld", value->name,
              (long long)given, (long long)value->multiple_of);
  }
  if (next < m->launch->size_count)
    finding(m, NULL, EMULATOR_LAUNCH, m->kernel->loc, nowhere, "the launch gives %d sizes, the kernel has %d",
            m->launch->size_count, next);
}

static void bind_tensor(machine *m, const ir_value *value, const emulator_tensor *given) {
  tensor *t = &m->tensors[value->number];
  *t = (tensor){.value = value, .bytes = given->bytes, .byte_size = given->byte_size, .bits = ir_bits(value->type)};
  int64_t stride = 1, last = 0;
  for (int d = value->rank - 1; d >= 0; d--) {
    t->extent[d] = evaluate_size(m, value->extent[d]);
    t->stride[d] = value->stride[d] ? evaluate_size(m, value->stride[d]) : stride;
    stride *= t->extent[d];
    if (t->extent[d] <= 0) last = -1;
    if (last >= 0) last += (t->extent[d] - 1) * t->stride[d];
  }
  if (!value->packed && last >= 0 && !tensor_holds(t, last))
    finding(m, NULL, EMULATOR_LAUNCH, value->loc, nowhere,
            "tensor '%s' needs %lld elements of %d bits, but has %zu bytes", value->name, (long long)last + 1, t->bits,
            t->byte_size);
  if (value->packed && !m->thread_form && value->rank == 2)
    t->packed_columns = (t->extent[1] + value->packed->k - 1) / value->packed->k;
  if (m->checks && value->direction != IR_IN && !m->code.has_atomics) {
    size_t count = m->thread_form ? t->byte_size : t->byte_size * 8 / (size_t)t->bits;
    t->writer = arena_alloc(m->memory, sizeof(uint32_t) * (count + 1));
  }
  if (!m->reference || !given->wide || m->stopped) return;
  for (int64_t i = 0; tensor_holds(t, i); i++)
    given->wide[i] = ir_decode(value->type, ir_get_bits(t->bytes, (size_t)i, t->bits));
  t->wide = given->wide;
}

static void bind_tensors(machine *m) {
  int next = 0;
  m->tensors = ARENA_ARRAY(m->memory, tensor, m->kernel->value_count);
  for (int i = 0; i < m->kernel->value_count; i++) {
    const ir_value *value = m->kernel->values[i];
    if (value->space != IR_GLOBAL) continue;
    if (next >= m->launch->tensor_count)
      finding(m, NULL, EMULATOR_LAUNCH, value->loc, nowhere, "the launch gives %d tensors, none for '%s'",
              m->launch->tensor_count, value->name);
    else
      bind_tensor(m, value, &m->launch->tensors[next]);
    next++;
  }
  if (next < m->launch->tensor_count)
    finding(m, NULL, EMULATOR_LAUNCH, m->kernel->loc, nowhere, "the launch gives %d tensors, the kernel has %d",
            m->launch->tensor_count, next);
}

static void check_facts(machine *m) {
  for (int i = 0; i < m->kernel->fact_count; i++) {
    const ir_fact *fact = &m->kernel->facts[i];
    if (evaluate_size(m, fact->condition)) continue;
    str text = STR_EMPTY;
    ir_print_expr(fact->condition, &text);
    finding(m, NULL, EMULATOR_LAUNCH, fact->loc, nowhere, "the kernel requires %s", str_text(&text));
    str_free(&text);
  }
}

static void count_blocks(machine *m) {
  const ir_kernel *kernel = m->kernel;
  m->block_count = 1;
  for (int i = 0; i < kernel->grid_count; i++) {
    m->grid[i] = evaluate_size(m, kernel->grid[i].extent);
    m->block_count *= m->grid[i];
  }
  if (kernel->grid_count == 0 && kernel->block_count) m->block_count = evaluate_size(m, kernel->block_count);
  m->cluster_size = (int)ir_attr_get(&kernel->attrs, IR_ATTR_CLUSTER, 1);
  if (m->cluster_size < 1 || kernel->form < IR_FORM_PIPELINED) m->cluster_size = 1;
  if (m->code.reads_blocks) {
    int64_t most = m->launch->options.blocks > 0 ? m->launch->options.blocks : ir_target_of(kernel->target)->sms;
    if (m->block_count > most) m->block_count = most;
  }
  m->block_count = (m->block_count + m->cluster_size - 1) / m->cluster_size * m->cluster_size;
}

static void measure_shared(machine *m) {
  m->slot_bytes = ARENA_ARRAY(m->memory, int64_t, m->kernel->value_count);
  for (int i = 0; i < m->kernel->value_count; i++) {
    const ir_value *value = m->kernel->values[i];
    int64_t bytes = 0;
    if (value->space == IR_BARRIER) {
      bytes = 8;
    } else if (value->space == IR_SHARED && value->shared) {
      int64_t alignment = value->shared->alignment;
      bytes = (value->shared->byte_size + alignment - 1) / alignment * alignment;
    } else if (value->space == IR_SHARED) {
      enum { PLAIN_ALIGNMENT = 128 };
      bytes = (int64_t)ir_packed_bytes((size_t)ir_element_count(value), ir_bits(value->type));
      bytes = (bytes + PLAIN_ALIGNMENT - 1) / PLAIN_ALIGNMENT * PLAIN_ALIGNMENT;
    }
    m->slot_bytes[i] = bytes;
  }
}

typedef struct placed {
  const ir_value *value;
  int64_t first, end;
} placed;

static placed place_of(const machine *m, const ir_value *value) {
  return (placed){value, value->offset,
                  value->offset + m->slot_bytes[value->number] * (value->slots > 0 ? value->slots : 1)};
}

/* Buffers may share memory in turns, which the shadows check; barriers must not, and everything must fit. */
static void check_placement(machine *m) {
  const ir_kernel *kernel = m->kernel;
  int64_t size = ir_attr_get(&kernel->attrs, IR_ATTR_SHARED_BYTES, ir_target_of(kernel->target)->shared_bytes);
  for (int i = 0; i < kernel->value_count; i++) {
    const ir_value *value = kernel->values[i];
    if (value->space != IR_SHARED && value->space != IR_BARRIER) continue;
    placed a = place_of(m, value);
    if (a.first < 0 || a.end > size || size > ir_target_of(kernel->target)->shared_bytes)
      finding(m, NULL, EMULATOR_LAUNCH, value->loc, nowhere, "'%s' is at bytes %lld to %lld of %lld of shared memory",
              value->name, (long long)a.first, (long long)a.end, (long long)size);
    for (int j = 0; j < kernel->value_count && value->space == IR_BARRIER; j++) {
      const ir_value *other = kernel->values[j];
      if (i == j || (other->space != IR_SHARED && other->space != IR_BARRIER)) continue;
      placed b = place_of(m, other);
      if (a.first < b.end && b.first < a.end)
        finding(m, NULL, EMULATOR_LAUNCH, value->loc, other->loc, "barrier '%s' and '%s' overlap in shared memory",
                value->name, other->name);
    }
  }
}

static void build_decode_tables(machine *m) {
  enum { WIDEST = 16 };
  for (int type = IR_TYPE_NONE + 1; type < IR_TYPE_COUNT; type++) {
    int bits = ir_bits(type);
    if (!is_real(type) || bits > WIDEST) continue;
    m->decoded[type] = ARENA_ARRAY(m->memory, float, 1 << bits);
    for (uint64_t code_bits = 0; code_bits < 1ull << bits; code_bits++)
      m->decoded[type][code_bits] = (float)ir_decode(type, code_bits);
  }
}

static void prepare(machine *m, const ir_kernel *kernel, const emulator_launch *launch, emulator_report *report) {
  *report = (emulator_report){.memory = arena_create()};
  *m = (machine){
      .kernel = kernel, .launch = launch, .report = report, .memory = arena_create(), .scratch = arena_create()};
  const emulator_options *o = &launch->options;
  m->thread_form = kernel->form == IR_FORM_THREAD;
  m->reference = o->precision == EMULATOR_REFERENCE && !m->thread_form;
  m->checks = !o->no_checks;
  m->overlapped = m->checks && kernel->form >= IR_FORM_PIPELINED && ir_attr_get(&kernel->attrs, IR_ATTR_PDL, 0);
  m->finding_limit = o->finding_limit > 0 ? o->finding_limit : 1;
  m->step_limit = o->step_limit ? o->step_limit : DEFAULT_STEP_GIGA * 1000000000ull;
  m->random = o->seed;
  compile_kernel_code(m);
  bind_sizes(m);
}

static void allocate_stack(machine *m) {
  /* One vector more than any program needs: a leaf is read into place. */
  m->stack = arena_alloc(m->memory, sizeof(cell) * LANES * (size_t)(m->code.stack_depth + 4));
}

/* -- Blocks -------------------------------------------------------------------------------------------------------- */

static void allocate_store(cluster *c, block *b, const ir_value *value) {
  store *st = &b->stores[value->number];
  st->count = 1;
  st->slots = value->slots > 0 ? value->slots : 1;
  for (int d = 0; d < value->rank; d++) {
    st->extent[d] = ir_extent(value, d);
    st->count *= st->extent[d];
  }
  st->cells = ARENA_ARRAY(c->memory, cell, st->count * st->slots);
  st->shadow = ARENA_ARRAY(c->memory, uint32_t, st->count * st->slots);
}

static void allocate_registers(cluster *c, agent *a, const ir_value *value) {
  register_array *r = &a->registers[value->number];
  r->words = register_words(value);
  r->word = ARENA_ARRAY(c->memory, uint64_t, r->words * LANES);
  r->initialised = ARENA_ARRAY(c->memory, uint32_t, r->words);
  r->written_group = ARENA_ARRAY(c->memory, uint32_t, r->words);
  r->read_group = ARENA_ARRAY(c->memory, uint32_t, r->words);
  r->touched = ARENA_ARRAY(c->memory, uint32_t, r->words);
  r->flight_instruction = ARENA_ARRAY(c->memory, int, r->words);
}

static void allocate_agent(machine *m, cluster *c, block *b, int number) {
  agent *a = &b->agents[number];
  int values = m->kernel->value_count;
  a->machine = m;
  a->block = b;
  a->number = number;
  a->warp_count = m->thread_form ? 1 : m->warp_count;
  a->mask = m->thread_form ? ~0u : 1;
  a->state = m->thread_form || number == 0 ? AGENT_READY : AGENT_IDLE;
  a->scalars = ARENA_ARRAY(c->memory, cell, values * LANES);
  a->scalar_initialised = ARENA_ARRAY(c->memory, uint32_t, values);
  a->frames = ARENA_ARRAY(c->memory, frame, m->code.frame_count + 1);
  a->fences = a->cp.open = a->dot_open = a->bulk.open = a->now = 1;
  a->clock = ARENA_ARRAY(c->memory, uint32_t, c->clock_count);
  a->async_clock = ARENA_ARRAY(c->memory, uint32_t, c->clock_count);
  a->clock_index = (b->rank * b->agent_count + number) * CLOCKS_OF_AGENT;
  if (!m->thread_form) return;
  a->registers = ARENA_ARRAY(c->memory, register_array, values);
  for (int i = 0; i < values; i++)
    if (m->kernel->values[i]->space == IR_REGISTERS) allocate_registers(c, a, m->kernel->values[i]);
}

static bool initialises(const machine *m, const ir_value *barrier) {
  for (int i = 0; i < m->code.count; i++) {
    const ir_op *op = m->code.instructions[i].op;
    if (op && op->kind == IR_OP_MBAR_INIT && op->read[0].value == barrier) return true;
  }
  return false;
}

static void allocate_barriers(machine *m, cluster *c, block *b, int *clock_index) {
  b->barriers = ARENA_ARRAY(c->memory, barrier_array, m->kernel->value_count);
  for (int i = 0; i < m->kernel->value_count; i++) {
    const ir_value *value = m->kernel->values[i];
    if (value->space != IR_BARRIER) continue;
    barrier_array *array = &b->barriers[i];
    array->count = value->slots > 0 ? value->slots : 1;
    array->slots = ARENA_ARRAY(c->memory, mbarrier, array->count);
    for (int s = 0; s < array->count; s++) {
      mbarrier *bar = &array->slots[s];
      bar->clock = ARENA_ARRAY(c->memory, uint32_t, c->clock_count);
      bar->async_clock = ARENA_ARRAY(c->memory, uint32_t, c->clock_count);
      bar->released_clock = ARENA_ARRAY(c->memory, uint32_t, c->clock_count);
      bar->released_async_clock = ARENA_ARRAY(c->memory, uint32_t, c->clock_count);
      bar->clock_index = (*clock_index)++;
    }
    if (!m->thread_form && !initialises(m, value)) barrier_init(m, b, value, -1, value->arrivals, NULL);
  }
}

static void allocate_shared(machine *m, cluster *c, block *b) {
  b->shared_bytes = ir_attr_get(&m->kernel->attrs, IR_ATTR_SHARED_BYTES, 0);
  for (int i = 0; i < m->kernel->value_count; i++) {
    const ir_value *value = m->kernel->values[i];
    if (value->space != IR_SHARED && value->space != IR_BARRIER) continue;
    int64_t end = value->offset + m->slot_bytes[i] * (value->slots > 0 ? value->slots : 1);
    if (end > b->shared_bytes) b->shared_bytes = end;
  }
  b->shared = ARENA_ARRAY(c->memory, uint8_t, b->shared_bytes + 1);
  b->shadow = ARENA_ARRAY(c->memory, uint32_t, b->shared_bytes + 1);
}

static void allocate_block(machine *m, cluster *c, int rank, int first_block, int *clock_index) {
  block *b = &c->blocks[rank];
  b->cluster = c;
  b->rank = rank;
  b->index = first_block + rank;
  b->agent_count = m->thread_form ? m->warp_count : 1 + m->code.role_count;
  b->agents = ARENA_ARRAY(c->memory, agent, b->agent_count);
  for (int i = 0; i < b->agent_count; i++)
    allocate_agent(m, c, b, i);
  allocate_barriers(m, c, b, clock_index);
  b->outside = ARENA_ARRAY(c->memory, uint32_t, c->clock_count);
  b->outside_op = ARENA_ARRAY(c->memory, const ir_op *, c->clock_count);
  for (int i = 0; i < HARDWARE_BARRIERS; i++) {
    b->hardware[i].clock = ARENA_ARRAY(c->memory, uint32_t, c->clock_count);
    b->hardware[i].async_clock = ARENA_ARRAY(c->memory, uint32_t, c->clock_count);
  }
  int64_t rest = b->index;
  for (int i = 0; i < m->kernel->grid_count; i++) {
    for (int j = 0; j < b->agent_count; j++) {
      cell *index = b->agents[j].scalars + (size_t)m->kernel->grid[i].index->number * LANES;
      for (int l = 0; l < LANES; l++)
        index[l].i = rest % m->grid[i];
    }
    rest /= m->grid[i];
  }
  if (m->thread_form) {
    allocate_shared(m, c, b);
    return;
  }
  b->stores = ARENA_ARRAY(c->memory, store, m->kernel->value_count);
  for (int i = 0; i < m->kernel->value_count; i++) {
    const ir_value *value = m->kernel->values[i];
    if (value->space == IR_SHARED || value->space == IR_TILE) allocate_store(c, b, value);
  }
}

static void start_cluster(machine *m, cluster *c, int first_block) {
  arena *memory = c->memory;
  if (memory)
    arena_reset(memory);
  else
    memory = arena_create();
  *c = (cluster){.machine = m, .memory = memory, .block_count = m->cluster_size};
  int agents = m->thread_form ? m->warp_count : 1 + m->code.role_count;
  int barriers = 0;
  for (int i = 0; i < m->kernel->value_count; i++)
    if (m->kernel->values[i]->space == IR_BARRIER)
      barriers += m->kernel->values[i]->slots > 0 ? m->kernel->values[i]->slots : 1;
  int clock_index = m->cluster_size * agents * CLOCKS_OF_AGENT;
  c->clock_count = clock_index + m->cluster_size * barriers;
  c->shadows = shadow_table_create(memory);
  c->sync_clock = ARENA_ARRAY(memory, uint32_t, c->clock_count);
  c->sync_async_clock = ARENA_ARRAY(memory, uint32_t, c->clock_count);
  c->blocks = ARENA_ARRAY(memory, block, m->cluster_size);
  for (int rank = 0; rank < m->cluster_size; rank++)
    allocate_block(m, c, rank, first_block, &clock_index);
}

static void run_blocks(machine *m) {
  int together = m->launch->options.blocks_in_flight > 0 ? m->launch->options.blocks_in_flight : 1;
  cluster *clusters = ARENA_ARRAY(m->memory, cluster, together);
  int64_t next = 0;
  int alive = 0;
  for (int i = 0; i < together; i++)
    clusters[i].done = true;
  do {
    bool moved = false;
    for (int i = 0; i < together && !m->stopped; i++) {
      cluster *c = &clusters[i];
      if (c->done && next < m->block_count) {
        start_cluster(m, c, (int)next);
        next += m->cluster_size;
        alive++;
      }
      if (c->done) continue;
      moved = cluster_round(m, c, alive == 1 && next >= m->block_count) || moved;
      if (c->done) {
        alive--;
        moved = true;
      }
    }
    /* Nobody moved, so nobody helps anybody: the first cluster that waits tells why. */
    for (int i = 0; i < together && !moved && !m->stopped; i++)
      if (!clusters[i].done) cluster_round(m, &clusters[i], true);
  } while (!m->stopped && (alive > 0 || next < m->block_count));
  for (int i = 0; i < together; i++)
    arena_destroy(clusters[i].memory);
}

bool emulator_run(const ir_kernel *kernel, const emulator_launch *launch, emulator_report *report) {
  machine state, *m = &state;
  prepare(m, kernel, launch, report);
  m->warp_count = ((int)ir_attr_get(&kernel->attrs, IR_ATTR_THREADS, 128) + LANES - 1) / LANES;
  m->concurrent = m->thread_form || m->code.role_count > 0 || kernel->form == IR_FORM_PIPELINED;
  allocate_stack(m);
  if (!m->stopped) check_facts(m);
  if (!m->stopped) {
    measure_shared(m);
    if (m->thread_form) check_placement(m);
    build_decode_tables(m);
    bind_tensors(m);
  }
  if (!m->stopped && report->finding_count == 0) count_blocks(m);
  allocate_stack(m);
  if (m->block_count < 0)
    finding(m, NULL, EMULATOR_LAUNCH, kernel->loc, nowhere, "the grid has %lld blocks", (long long)m->block_count);
  if (report->finding_count == 0 && m->block_count > 0) run_blocks(m);
  report->counts.steps = m->steps;
  arena_destroy(m->scratch);
  arena_destroy(m->memory);
  return report->finding_count == 0;
}

int64_t emulator_block_count(const ir_kernel *kernel, const emulator_launch *launch) {
  machine state, *m = &state;
  emulator_report report;
  prepare(m, kernel, launch, &report);
  allocate_stack(m);
  if (report.finding_count == 0) count_blocks(m);
  int64_t count = report.finding_count == 0 ? m->block_count : -1;
  arena_destroy(m->scratch);
  arena_destroy(m->memory);
  emulator_report_free(&report);
  return count;
}
