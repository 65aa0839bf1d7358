/* Medians, ratios, and whose turn it is. */
#include "tests/unit/unit.h"

#include "bench/contest.h"

static void test_median(void **state) {
  (void)state;
  const double odd[] = {5, 1, 3}, even[] = {4, 1, 3, 2};
  assert_true(contest_median(odd, 3) == 3);
  assert_true(contest_median(even, 4) == 2.5);
  assert_true(contest_median(odd, 1) == 5);
  assert_true(contest_median(odd, 0) == 0);
  assert_true(odd[0] == 5); /* not sorted in place */
}

/* The ratio is the median of the pairs' ratios, not the ratio of the medians: a clock that falls takes both along. */
static void test_ratio(void **state) {
  (void)state;
  contest_result r = {.rounds = 3, .ours_us = {10, 20, 40}, .peers_us = {20, 30, 120}};
  contest_conclude(&r, true);
  assert_true(r.us == 20 && r.peer_us == 30 && r.ratio == 2);
  contest_conclude(&r, false);
  assert_true(r.us == 20 && r.peer_us == 0 && r.ratio == 0);
}

/* A contestant that takes a time of its own, and notes when it was asked. */
typedef struct scripted {
  double us_of_launch;
  char name;
  char *log;
  int most; /* launches of a segment */
  bool fails;
} scripted;

static bool scripted_segment(void *object, int launches, double *us, complaint *problem) {
  scripted *s = object;
  if (s->fails) return complain(problem, "%c fails", s->name);
  s->log[strlen(s->log)] = s->name;
  s->most = launches > s->most ? launches : s->most;
  *us = s->us_of_launch * launches;
  return true;
}

typedef struct match {
  char log[256];
  machine m;
  scripted a, b;
  contestant ours, peer;
  contest_result results[REGIME_COUNT];
  complaint problem;
} match;

static match *new_match(double a_us, double b_us) {
  match *x = calloc(1, sizeof *x);
  x->a = (scripted){.us_of_launch = a_us, .name = 'a', .log = x->log};
  x->b = (scripted){.us_of_launch = b_us, .name = 'b', .log = x->log};
  x->ours = (contestant){.object = &x->a, .segment = scripted_segment};
  x->peer = (contestant){.object = &x->b, .segment = scripted_segment};
  return x;
}

static void test_turns(void **state) {
  (void)state;
  match *x = new_match(100, 150);
  const contest_options options = {.rounds = {3, 0}, .segment_ms = {10, 50}};
  assert_true(contest_hold(&x->m, &x->ours, &x->peer, &options, x->results, &x->problem));
  assert_string_equal(x->log, "aabb" /* how long they take, about */ "abbaab");
  assert_true(x->results[REGIME_BURST].rounds == 3 && x->results[REGIME_BURST].ratio == 1.5);
  assert_true(x->results[REGIME_SUSTAINED].rounds == 0);
  assert_int_equal(x->a.most, 20); /* a burst has no more */
  free(x);
}

/* A peer that does more than the case counts with the share of its time. */
static void test_share(void **state) {
  (void)state;
  match *x = new_match(100, 400);
  const contest_options options = {.rounds = {3, 0}, .segment_ms = {10, 50}};
  x->peer.share = 0.5;
  assert_true(contest_hold(&x->m, &x->ours, &x->peer, &options, x->results, &x->problem));
  assert_true(x->results[REGIME_BURST].us == 100 && x->results[REGIME_BURST].peer_us == 200);
  assert_true(x->results[REGIME_BURST].ratio == 2);
  free(x);
}

static void test_lengths(void **state) {
  (void)state;
  match *x = new_match(1000, 30000);
  const contest_options options = {.rounds = {0, 1}, .segment_ms = {10, 50}, .warm_up_ms = 1};
  assert_true(contest_hold(&x->m, &x->ours, &x->peer, &options, x->results, &x->problem));
  assert_int_equal(x->a.most, 50);
  assert_int_equal(x->b.most, 2); /* never one alone */
  assert_true(x->results[REGIME_SUSTAINED].us == 1000 && x->results[REGIME_SUSTAINED].peer_us == 30000);
  free(x);
}

static void test_alone_and_failing(void **state) {
  (void)state;
  match *x = new_match(100, 100);
  const contest_options options = {.rounds = {2, 2}, .segment_ms = {1, 1}};
  assert_true(contest_hold(&x->m, &x->ours, NULL, &options, x->results, &x->problem));
  assert_true(x->results[REGIME_BURST].us == 100 && x->results[REGIME_BURST].ratio == 0);
  x->b.fails = true;
  assert_false(contest_hold(&x->m, &x->ours, &x->peer, &options, x->results, &x->problem));
  assert_string_equal(x->problem.text, "b fails");
  free(x);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_median), cmocka_unit_test(test_ratio),   cmocka_unit_test(test_turns),
      cmocka_unit_test(test_share),  cmocka_unit_test(test_lengths), cmocka_unit_test(test_alone_and_failing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
