#include "bench/session.h"

#include "bench/ours.h"
#include "bench/peer_cublaslt.h"
#include "bench/peer_python.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { MOST_THREADS = 64 };

/* A case and what was prepared for it. */
typedef struct job {
  bench_case c, own_case; /* own_case: our product that it is compared with */
  ours *mine, *own;
  bool is_ready;
  complaint problem;
} job;

typedef struct session {
  const session_options *options;
  machine m;
  data *d;
  cublaslt *lt; /* NULL: not there, and why */
  complaint no_lt;
  python_peer *python;
  bool has_python;
  complaint no_python;
  job *jobs;
  report_row *rows;
  int count;
  atomic_int next; /* of the jobs that are prepared */
} session;

static double seconds_now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* -- Choosing ------------------------------------------------------------------------------------------------------ */

/* On the emulator sizes shrink, and cases that become the same are run once. */
static bool is_known(const session *s, const bench_case *c) {
  for (int i = 0; i < s->count; i++)
    if (case_is_same(&s->jobs[i].c, c)) return true;
  return false;
}

static bool choose_cases(session *s, complaint *problem) {
  const session_options *o = s->options;
  int all;
  const bench_case *cases = cases_all(&all);
  s->jobs = calloc((size_t)all, sizeof *s->jobs);
  s->rows = calloc((size_t)all, sizeof *s->rows);
  if (!s->jobs || !s->rows) return complain(problem, "no memory for the cases");
  for (int i = 0; i < all; i++) {
    bench_case c = o->emulator ? case_made_small(&cases[i]) : cases[i];
    if (!case_is_chosen(&cases[i], o->patterns, o->pattern_count) || (o->emulator && is_known(s, &c))) continue;
    job *j = &s->jobs[s->count];
    j->c = c;
    j->own_case = case_own_peer(&c);
    s->rows[s->count++].c = &j->c;
  }
  return s->count ? true : complain(problem, "no case has such a name; --list shows them");
}

void session_list(const session_options *options) {
  int all;
  const bench_case *cases = options->tuning ? cases_tuned(&all) : cases_all(&all);
  for (int i = 0; i < all; i++) {
    char name[128];
    if (!case_is_chosen(&cases[i], options->patterns, options->pattern_count)) continue;
    case_name(&cases[i], name, sizeof name);
    printf("%-44s row %d", name, cases[i].row);
    if (cases[i].least > 0) printf(", ratio %.2f", cases[i].least);
    if (cases[i].least_tbps > 0) printf(", %.2f TB/s", cases[i].least_tbps);
    printf("\n");
  }
}

/* -- Preparing: everything that a processor can do, before the first measurement -- */

static void prepare(session *s, job *j) {
  const char *kernels = s->options->kernels;
  bool needs_own = j->c.peer == PEER_OWN && s->m.driver && !s->options->without_peers;
  j->is_ready = ours_create(&s->m, &j->c, kernels, &j->mine, &j->problem) &&
                (!needs_own || ours_create(&s->m, &j->own_case, kernels, &j->own, &j->problem));
}

static void *prepare_some(void *argument) {
  session *s = argument;
  for (int i; (i = atomic_fetch_add(&s->next, 1)) < s->count;)
    prepare(s, &s->jobs[i]);
  return NULL;
}

static void prepare_all(session *s) {
  long processors = sysconf(_SC_NPROCESSORS_ONLN);
  int count = processors < 1 ? 1 : processors > MOST_THREADS ? MOST_THREADS : (int)processors;
  pthread_t threads[MOST_THREADS];
  double start = seconds_now();
  int started = 0;
  while (started < count && pthread_create(&threads[started], NULL, prepare_some, s) == 0)
    started++;
  prepare_some(s); /* this thread too: it is all there may be */
  for (int t = 0; t < started; t++)
    pthread_join(threads[t], NULL);
  fprintf(stderr, "bitblas-bench: %d cases compiled in %.1f s\n", s->count, seconds_now() - start);
}

/* -- Peers --------------------------------------------------------------------------------------------------------- */

/* The peer of the case that is measured. */
typedef struct rival {
  contestant c;
  bool is_there;
  cublaslt_product *product;
  ours *own;
  bool is_python;
} rival;

static bool run_ours(void *object, int set, complaint *problem) { return ours_run(object, set, problem); }

static contestant contestant_of(ours *o) {
  return (contestant){.object = o, .run = run_ours, .set_count = o->set_count, .in_graph = o->c->in_graph};
}

/* The first tensor over the last, which is as large. */
static bool run_copy(void *object, int set, complaint *problem) {
  const ours *o = object;
  return machine_copy(o->m, o->tensors[o->tensor_count - 1].address[set], o->tensors[0].address[set],
                      o->tensors[0].bytes, problem);
}

/* A peer that computes something wrong makes the case wrong: it says whose mistake it is. */
static bool blame(report_row *row) {
  complaint told = row->problem;
  return complain(&row->problem, "%s: %.400s", row->peer, told.text);
}

/* Whether --triton puts Triton in the place of the case's own peer. */
static bool is_for_triton(const session *s, const bench_case *c) {
  return s->options->triton &&
         ((c->kind == CASE_ATTENTION && !c->window) || (c->kind == CASE_DENSE && bitblas_type_bits(c->a) == 16));
}

static bool is_for_python(const session *s, const bench_case *c) { return c->peer == PEER_SDPA || is_for_triton(s, c); }

static bool meet_cublaslt(session *s, job *j, rival *peer, report_row *row) {
  const bench_case *c = &j->c;
  if (!s->lt) {
    row->no_peer = s->no_lt;
    return true;
  }
  bitblas_type type = c->kind == CASE_DENSE ? c->a : BITBLAS_TYPE_F16;
  if (!cublaslt_product_create(s->lt, s->d, type, c->promotes, c->m, c->n, c->k, &peer->product, &row->no_peer))
    return true;
  snprintf(row->peer, sizeof row->peer, "%s", c->kind == CASE_DENSE ? "cuBLASLt" : "cuBLASLt f16");
  row->no_peer.text[0] = 0; /* of an algorithm that failed before another did not */
  peer->is_there = cublaslt_product_check(peer->product, &row->problem);
  peer->c = cublaslt_contestant(peer->product, c->in_graph);
  return peer->is_there || blame(row);
}

static bool meet_python(session *s, job *j, rival *peer, report_row *row) {
  const char *backend;
  if (!s->has_python) {
    row->no_peer = s->no_python;
    return true;
  }
  peer->is_python = true;
  if (!python_peer_begin(s->python, &j->c, is_for_triton(s, &j->c), j->mine->set_count, &backend, &row->no_peer))
    return true;
  snprintf(row->peer, sizeof row->peer, "%s", backend);
  peer->is_there = python_peer_check(s->python, &row->problem);
  peer->c = python_peer_contestant(s->python);
  return peer->is_there || blame(row);
}

static bool meet_own(session *s, job *j, rival *peer, report_row *row) {
  peer->own = j->own;
  snprintf(row->peer, sizeof row->peer, "our %s", j->c.window ? "causal" : bitblas_type_name(j->c.a));
  peer->is_there = ours_place(j->own, s->d, &row->problem) && ours_run(j->own, 0, &row->problem) &&
                   ours_check(j->own, 0, &row->problem);
  peer->c = contestant_of(j->own);
  peer->c.share = case_flop(&j->c) / case_flop(&j->own_case);
  return peer->is_there || blame(row);
}

/* Makes the peer ready and checks it. False when it computes something wrong; one that is not there is no mistake. */
static bool meet_peer(session *s, job *j, rival *peer, report_row *row) {
  if (s->options->without_peers) return true;
  if (is_for_python(s, &j->c)) return meet_python(s, j, peer, row);
  switch (j->c.peer) {
  case PEER_CUBLASLT:
    return meet_cublaslt(s, j, peer, row);
  case PEER_OWN:
    return meet_own(s, j, peer, row);
  case PEER_COPY:
    peer->is_there = true;
    peer->c = (contestant){.object = j->mine, .run = run_copy, .set_count = j->mine->set_count};
    snprintf(row->peer, sizeof row->peer, "copy");
    return true;
  default:
    return true;
  }
}

static void leave_peer(session *s, rival *peer) {
  contestant_release(&s->m, &peer->c);
  cublaslt_product_destroy(peer->product);
  if (peer->own) ours_remove(peer->own);
  if (peer->is_python) python_peer_end(s->python);
}

/* -- A case -------------------------------------------------------------------------------------------------------- */

static bool run_and_check(ours *o, int set, complaint *problem) {
  return ours_spoil(o, set, problem) && ours_run(o, set, problem) && ours_check(o, set, problem);
}

static void measure(session *s, job *j, report_row *row) {
  contestant mine = contestant_of(j->mine);
  rival peer = {.is_there = false};
  int last = j->mine->set_count - 1;
  row->is_wrong =
      !(meet_peer(s, j, &peer, row) &&
        contest_hold(&s->m, &mine, peer.is_there ? &peer.c : NULL, &s->options->contest, row->results, &row->problem) &&
        run_and_check(j->mine, last, &row->problem));
  contestant_release(&s->m, &mine);
  leave_peer(s, &peer);
}

static void run_case(session *s, int index) {
  job *j = &s->jobs[index];
  report_row *row = &s->rows[index];
  char name[128];
  case_name(&j->c, name, sizeof name);
  row->problem = j->problem;
  row->is_wrong = !j->is_ready;
  if (j->is_ready)
    row->is_wrong = !(ours_place(j->mine, s->d, &row->problem) && run_and_check(j->mine, 0, &row->problem));
  if (!row->is_wrong && s->m.driver) measure(s, j, row);
  if (j->mine) ours_remove(j->mine);
  if (s->m.driver)
    report_print(stdout, row);
  else
    printf("%-44s %s%s\n", name, row->is_wrong ? "FAIL " : "right", row->is_wrong ? row->problem.text : "");
}

/* -- The run ------------------------------------------------------------------------------------------------------- */

static void open_peers(session *s) {
  const session_options *o = s->options;
  snprintf(s->no_lt.text, sizeof s->no_lt.text, "not asked for");
  s->no_python = s->no_lt;
  if (o->without_peers || !s->m.driver) return;
  if (!cublaslt_open(&s->m, o->cublaslt, &s->lt, &s->no_lt)) {
    cublaslt_close(s->lt);
    s->lt = NULL;
  }
  s->has_python = s->python && python_peer_wait(s->python, &s->no_python);
}

static bool needs_python(const session *s) {
  if (s->options->without_peers || s->options->emulator) return false;
  for (int i = 0; i < s->count; i++)
    if (is_for_python(s, &s->jobs[i].c)) return true;
  return false;
}

static bool write_reports(const session *s, int count, complaint *problem) {
  const report_place place = {.device = bitblas_context_device_name(s->m.context),
                              .target = bitblas_context_target(s->m.context),
                              .driver = s->m.device ? device_get_facts(s->m.device)->driver_version : 0,
                              .cublaslt = s->lt ? (long)cublaslt_version(s->lt) : 0,
                              .torch = s->has_python ? python_peer_version(s->python) : ""};
  str json = STR_EMPTY, svg = STR_EMPTY;
  if (!s->options->json && !s->options->svg) return true;
  report_json(&json, &place, s->rows, count);
  report_svg(&svg, &place, s->rows, count);
  bool ok = (!s->options->json || report_write(s->options->json, json.data, json.length, problem)) &&
            (!s->options->svg || report_write(s->options->svg, svg.data, svg.length, problem));
  str_free(&json);
  str_free(&svg);
  return ok;
}

static void describe_place(const session *s) {
  if (!s->m.driver) {
    printf("emulator, %s: checks at small sizes\n", bitblas_context_target(s->m.context));
    return;
  }
  const device_facts *facts = device_get_facts(s->m.device);
  printf("%s, driver %d, cuBLASLt %zu, %s\n", facts->name, facts->driver_version,
         s->lt ? cublaslt_version(s->lt) : (size_t)0, s->has_python ? python_peer_version(s->python) : "no PyTorch");
  report_heading(stdout);
}

static bool open_all(session *s, bool *is_absent, complaint *problem) {
  if (!choose_cases(s, problem) || !machine_open(&s->m, s->options->emulator, is_absent, problem)) return false;
  s->m.overlaps = s->options->overlaps;
  if (needs_python(s)) /* its imports take as long as the compilations */
    python_peer_start(s->options->python, s->options->peer_script, &s->python, &s->no_python);
  return data_open(&s->m, 0, &s->d, problem);
}

static void close_all(session *s) {
  for (int i = 0; i < s->count; i++) {
    ours_destroy(s->jobs[i].mine);
    ours_destroy(s->jobs[i].own);
  }
  cublaslt_close(s->lt);
  data_close(s->d);
  machine_close(&s->m);
  python_peer_stop(s->python);
  free(s->jobs);
  free(s->rows);
}

int session_run(const session_options *options) {
  session s = {.options = options};
  complaint problem = {""};
  bool is_absent = false, ok = open_all(&s, &is_absent, &problem);
  int wrong = 0;
  atomic_init(&s.next, 0);
  if (ok) {
    prepare_all(&s);
    open_peers(&s);
    describe_place(&s);
    for (int i = 0; ok && i < s.count; i++) {
      run_case(&s, i);
      wrong += s.rows[i].is_wrong;
      ok = write_reports(&s, i + 1, &problem); /* as they come: a run that is cut short leaves what it has */
    }
    report_print_groups(stdout, s.rows, s.count);
    printf("%d cases, %d wrong\n", s.count, wrong);
  }
  if (is_absent)
    printf("bitblas-bench: no GPU here, nothing was measured\n");
  else if (!ok)
    fprintf(stderr, "bitblas-bench: %s\n", problem.text);
  close_all(&s);
  return is_absent || (ok && !wrong) ? 0 : 1;
}
