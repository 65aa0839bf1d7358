/* Timing two contestants in turn: A B B A A B ..., so that a clock that drifts favours neither. */
#ifndef BITBLASC_BENCH_CONTEST_H
#define BITBLASC_BENCH_CONTEST_H

#include "bench/machine.h"

enum { CONTEST_ROUNDS = 64, GRAPH_LAUNCHES = 64 }; /* a graph goes round all sets there may be */

/* burst: some 20 launches after a pause, as short work meets the GPU. sustained: segments of 50 ms one after the other, once
 * the card is warm and its power limits the clock. */
typedef enum regime { REGIME_BURST, REGIME_SUSTAINED, REGIME_COUNT } regime;

const char *regime_name(regime r);

/* What is timed: launches in this process, or segments that something else times. */
typedef struct contestant {
  void *object;
  bool (*run)(void *object, int set, complaint *problem); /* enqueues one launch on the machine's stream */
  int set_count;                                          /* argument sets that launches go round */
  double share; /* of what a launch does that counts: its times are multiplied by this; 0: all */
  bool (*segment)(void *object, int launches, double *us, complaint *problem); /* instead of run: us of all launches */
  bool in_graph; /* launches are those of a graph of GRAPH_LAUNCHES, replayed */
  /* Of the contest: */
  int next_set;
  void *graph;
} contestant;

typedef struct contest_options {
  int rounds[REGIME_COUNT]; /* pairs of segments; 0: the regime is left out */
  double warm_up_ms;        /* of sustained */
  double segment_ms[REGIME_COUNT];
  double pause_ms; /* ahead of a burst */
} contest_options;
#define CONTEST_OPTIONS_DEFAULT                                                                                        \
  { .rounds = {7, 5}, .warm_up_ms = 500, .segment_ms = {10, 50}, .pause_ms = 20 }

/* Microseconds of a launch, in the order of the rounds; and the medians. */
typedef struct contest_result {
  int rounds;
  int sm_mhz; /* the clock right after the last segment; 0: unknown */
  double ours_us[CONTEST_ROUNDS], peers_us[CONTEST_ROUNDS];
  double us, peer_us, ratio; /* medians; the ratio is that of the pairs, the peer's time by ours. Without a peer 0 */
} contest_result;

/* Times `peer` (NULL: none) and `ours` in each regime. */
bool contest_hold(const machine *m, contestant *ours, contestant *peer, const contest_options *options,
                  contest_result results[REGIME_COUNT], complaint *problem);

/* Times `launches` of one contestant now, in us of all of them. */
bool contest_segment(const machine *m, contestant *c, int launches, double *us, complaint *problem);

/* Frees what a contest left in it. */
void contestant_release(const machine *m, contestant *c);

/* The middle number, or the mean of the two; 0 of none. */
double contest_median(const double *values, int count);
/* Fills in the medians. */
void contest_conclude(contest_result *r, bool has_peer);

#endif
