#include "bench/contest.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

const char *regime_name(regime r) { return r == REGIME_BURST ? "burst" : "sustained"; }

/* -- Numbers ------------------------------------------------------------------------------------------------------- */

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

double contest_median(const double *values, int count) {
  double sorted[CONTEST_ROUNDS];
  if (count < 1 || count > CONTEST_ROUNDS) return 0;
  memcpy(sorted, values, (size_t)count * sizeof *sorted);
  qsort(sorted, (size_t)count, sizeof *sorted, by_value);
  return (sorted[(count - 1) / 2] + sorted[count / 2]) / 2;
}

void contest_conclude(contest_result *r, bool has_peer) {
  double ratios[CONTEST_ROUNDS];
  r->us = contest_median(r->ours_us, r->rounds);
  r->peer_us = r->ratio = 0;
  if (!has_peer) return;
  for (int i = 0; i < r->rounds; i++)
    ratios[i] = r->peers_us[i] / r->ours_us[i];
  r->peer_us = contest_median(r->peers_us, r->rounds);
  r->ratio = contest_median(ratios, r->rounds);
}

/* -- Segments ------------------------------------------------------------------------------------------------------ */

static void pause_for(double ms) {
  struct timespec t = {(time_t)(ms / 1e3), (long)(ms * 1e6) % 1000000000L};
  nanosleep(&t, NULL);
}

static bool launch(contestant *c, int count, complaint *problem) {
  for (int i = 0; i < count; i++) {
    if (!c->run(c->object, c->next_set, problem)) return false;
    c->next_set = (c->next_set + 1) % c->set_count;
  }
  return true;
}

/* GRAPH_LAUNCHES launches, round the sets. */
static bool make_graph(const machine *m, contestant *c, complaint *problem) {
  void *graph = NULL;
  if (!launch(c, 1, problem) || !machine_wait(m, problem)) return false; /* nothing is loaded late in a capture */
  if (m->graphs.begin(m->stream, 1) != CUDA_OK) return complain(problem, "a capture does not begin");
  bool ok = launch(c, GRAPH_LAUNCHES, problem);
  if (m->graphs.end(m->stream, &graph) != CUDA_OK && ok) ok = complain(problem, "a capture does not end");
  if (ok && m->graphs.instantiate(&c->graph, graph, 0) != CUDA_OK) ok = complain(problem, "a graph is not made");
  if (graph) m->graphs.destroy(graph);
  return ok;
}

static bool enqueue(const machine *m, contestant *c, int launches, complaint *problem) {
  if (!c->in_graph) return launch(c, launches, problem);
  for (int i = 0; i < launches / GRAPH_LAUNCHES; i++)
    if (m->graphs.launch(c->graph, m->stream) != CUDA_OK) return complain(problem, "a graph does not start");
  return true;
}

static bool time_here(const machine *m, contestant *c, int launches, double *us, complaint *problem) {
  cuda_event begin = NULL, end = NULL;
  float ms = 0;
  bool ok = m->driver->event_create(&begin, 0) == CUDA_OK && m->driver->event_create(&end, 0) == CUDA_OK;
  if (!ok) complain(problem, "no event");
  ok = ok && machine_fill(m, m->scratch, 0, m->scratch_bytes, problem);
  ok = ok && m->driver->event_record(begin, m->stream) == CUDA_OK && enqueue(m, c, launches, problem) &&
       m->driver->event_record(end, m->stream) == CUDA_OK && machine_wait(m, problem) &&
       m->driver->event_elapsed(&ms, begin, end) == CUDA_OK;
  if (begin) m->driver->event_destroy(begin);
  if (end) m->driver->event_destroy(end);
  *us = 1000.0 * (double)ms;
  return ok && ms > 0;
}

bool contest_segment(const machine *m, contestant *c, int launches, double *us, complaint *problem) {
  complain(problem, "a time cannot be read");
  if (c->segment) return c->segment(c->object, launches, us, problem);
  if (c->in_graph && !c->graph && !make_graph(m, c, problem)) return false;
  return time_here(m, c, launches, us, problem);
}

void contestant_release(const machine *m, contestant *c) {
  if (c->graph) m->graphs.destroy_ready(c->graph);
  c->graph = NULL;
}

/* -- The contest --------------------------------------------------------------------------------------------------- */

typedef struct side {
  contestant *c;
  double us;    /* of a launch, about */
  int launches; /* of a segment */
} side;

static int whole_graphs(const contestant *c, double launches, int least) {
  int count = launches > 1e6 ? 1000000 : launches < least ? least : (int)launches;
  return c->in_graph ? (count + GRAPH_LAUNCHES - 1) / GRAPH_LAUNCHES * GRAPH_LAUNCHES : count;
}

static bool estimate(const machine *m, side *s, complaint *problem) {
  int few = whole_graphs(s->c, 2, 2);
  double us;
  for (int i = 0; i < 2; i++) {
    if (!contest_segment(m, s->c, few, &us, problem)) return false;
    s->us = us / few;
  }
  return true;
}

static void choose_launches(side *s, regime r, const contest_options *options) {
  double fitting = options->segment_ms[r] * 1e3 / s->us;
  s->launches = whole_graphs(s->c, r == REGIME_BURST && fitting > 20 ? 20 : fitting, 2);
}

static bool warm_up(const machine *m, side *sides, int count, double ms, complaint *problem) {
  for (double done = 0; done < ms * 1e3;)
    for (int i = 0; i < count; i++) {
      double us;
      if (!contest_segment(m, sides[i].c, sides[i].launches, &us, problem)) return false;
      done += us;
    }
  return true;
}

static bool hold_round(const machine *m, side *sides, int count, int round, double pause_ms, contest_result *result,
                       complaint *problem) {
  for (int turn = 0; turn < count; turn++) {
    int which = count == 2 && round % 2 ? 1 - turn : turn;
    double us, *times = which ? result->peers_us : result->ours_us;
    if (pause_ms > 0) pause_for(pause_ms);
    if (!contest_segment(m, sides[which].c, sides[which].launches, &us, problem)) return false;
    double share = sides[which].c->share;
    times[round] = us / sides[which].launches * (share > 0 ? share : 1);
  }
  return true;
}

bool contest_hold(const machine *m, contestant *ours, contestant *peer, const contest_options *options,
                  contest_result results[REGIME_COUNT], complaint *problem) {
  side sides[2] = {{ours, 0, 0}, {peer, 0, 0}};
  int count = peer ? 2 : 1;
  for (int i = 0; i < count; i++)
    if (!estimate(m, &sides[i], problem)) return false;
  for (regime r = 0; r < REGIME_COUNT; r++) {
    contest_result *result = &results[r];
    *result = (contest_result){.rounds = options->rounds[r] < CONTEST_ROUNDS ? options->rounds[r] : CONTEST_ROUNDS};
    if (!result->rounds) continue;
    for (int i = 0; i < count; i++)
      choose_launches(&sides[i], r, options);
    if (r == REGIME_SUSTAINED && !warm_up(m, sides, count, options->warm_up_ms, problem)) return false;
    for (int round = 0; round < result->rounds; round++)
      if (!hold_round(m, sides, count, round, r == REGIME_BURST ? options->pause_ms : 0, result, problem)) return false;
    result->sm_mhz = machine_clock_mhz(m);
    contest_conclude(result, peer != NULL);
  }
  return true;
}
