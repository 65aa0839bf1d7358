#include "bench/tuning.h"

#include "bench/ours.h"
#include "bench/report.h"
#include "support/parallel.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SEGMENTS = 3, REMATCH = 5, MOST_LAUNCHES = 20 };
static const double segment_us = 1500, hopeless = 2; /* a plan that takes as many times the best is not timed further */

/* A plan of a shape. */
typedef struct trial {
  int rank;
  bitblas_kernel *kernel; /* NULL: it is not compiled, or could not be */
  complaint problem;
  const char *text;
  double predicted_us, us; /* us 0: not measured */
  bool is_cut;
} trial;

typedef struct shape {
  bench_case c;
  ours *o;
  compile_ranking ranking;
  trial trials[TUNING_MOST_PLANS]; /* the untuned one first */
  int count, measured, best;       /* best: of the trials */
  bool is_wrong;
  complaint problem;
  double default_us, best_us, correlation; /* in turn, at the end */
} shape;

typedef struct tuning {
  const session_options *options;
  machine m;
  data *d;
  shape *shapes;
  int count;
} tuning;

static double seconds_now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* -- Numbers ------------------------------------------------------------------------------------------------------- */

static double rank_of(const double *values, int count, int index) {
  int below = 0, same = 0;
  for (int i = 0; i < count; i++) {
    below += values[i] < values[index];
    same += values[i] == values[index];
  }
  return below + (same - 1) / 2.0;
}

double tuning_correlation(const double *x, const double *y, int count) {
  double xy = 0, xx = 0, yy = 0, mean = (count - 1) / 2.0;
  for (int i = 0; i < count; i++) {
    double a = rank_of(x, count, i) - mean, b = rank_of(y, count, i) - mean;
    xy += a * b, xx += a * a, yy += b * b;
  }
  return xx > 0 && yy > 0 ? xy / sqrt(xx * yy) : 0;
}

/* The best by the untuned plan, at most 1: a tuner keeps the one that it has when no other is faster. */
static double ratio_of(const shape *s) {
  return s->best && s->best_us > 0 && s->best_us < s->default_us ? s->best_us / s->default_us : 1;
}

/* -- Compiling ----------------------------------------------------------------------------------------------------- */

static bool is_known(const tuning *t, const bench_case *c) {
  for (int i = 0; i < t->count; i++)
    if (case_is_same(&t->shapes[i].c, c)) return true;
  return false;
}

static bool choose_shapes(tuning *t, complaint *problem) {
  const session_options *o = t->options;
  int all;
  const bench_case *cases = cases_tuned(&all);
  t->shapes = calloc((size_t)all, sizeof *t->shapes);
  if (!t->shapes) return complain(problem, "no memory for the shapes");
  for (int i = 0; i < all; i++) {
    bench_case c = o->emulator ? case_made_small(&cases[i]) : cases[i];
    if (!case_is_chosen(&cases[i], o->patterns, o->pattern_count) || (o->emulator && is_known(t, &c))) continue;
    shape *s = &t->shapes[t->count++];
    s->c = c;
    s->ranking.memory = arena_create();
  }
  return t->count ? true : complain(problem, "no shape has such a name");
}

static void add_trial(shape *s, int rank) {
  const compile_ranked_plan *plan = rank < s->ranking.count ? &s->ranking.plans[rank] : NULL;
  s->trials[s->count++] =
      (trial){.rank = rank, .text = plan ? plan->text : "", .predicted_us = plan ? plan->microseconds : 0};
}

/* The kernel as it would be without tuning, and which others there are. */
static void rank_shape(void *object, int index) {
  tuning *t = object;
  shape *s = &t->shapes[index];
  const char *kernels = t->options->kernels;
  s->is_wrong =
      !ours_create(&t->m, &s->c, kernels, &s->o, &s->problem) || !ours_rank(s->o, kernels, &s->ranking, &s->problem);
  if (s->is_wrong) return;
  int chosen = s->ranking.chosen < 0 ? 0 : s->ranking.chosen;
  add_trial(s, chosen);
  for (int rank = 1; rank < s->ranking.count && s->count < t->options->tuning; rank++)
    if (rank != chosen && !s->ranking.plans[rank].refusal) add_trial(s, rank);
}

static void compile_trial(void *object, int index) {
  tuning *t = object;
  shape *s = &t->shapes[index / t->options->tuning];
  int number = index % t->options->tuning;
  trial *r = &s->trials[number];
  if (!s->is_wrong && number < s->count)
    ours_create_plan(s->o, t->options->kernels, number ? r->rank : 0, &r->kernel, &r->problem);
}

static void compile_all(tuning *t) {
  double start = seconds_now();
  int plans = 0;
  parallel_run(t->count, rank_shape, t);
  parallel_run(t->count * t->options->tuning, compile_trial, t);
  for (int i = 0; i < t->count; i++)
    plans += t->shapes[i].count;
  fprintf(stderr, "bitblas-bench: %d plans of %d shapes compiled in %.1f s\n", plans, t->count, seconds_now() - start);
}

/* -- Timing -------------------------------------------------------------------------------------------------------- */

static bool run_ours(void *object, int set, complaint *problem) { return ours_run(object, set, problem); }

static int launches_of(double us) {
  double fitting = segment_us / us;
  return fitting > MOST_LAUNCHES ? MOST_LAUNCHES : fitting < 2 ? 2 : (int)fitting;
}

static bool time_segment(tuning *t, shape *s, int launches, double *us, complaint *problem) {
  contestant c = {.object = s->o, .run = run_ours, .set_count = s->o->set_count};
  bool ok = contest_segment(&t->m, &c, launches, us, problem);
  *us /= launches;
  return ok;
}

/* `least`: of the trials so far; 0: there are none. */
static bool time_trial(tuning *t, shape *s, trial *r, double least, complaint *problem) {
  double us[SEGMENTS];
  if (!time_segment(t, s, 1, &us[0], problem) || !time_segment(t, s, 1 + launches_of(us[0]) / 4, &us[0], problem))
    return false;
  r->is_cut = least > 0 && us[0] > hopeless * least;
  int launches = launches_of(us[0]);
  for (int i = 0; i < SEGMENTS && !r->is_cut; i++)
    if (!time_segment(t, s, launches, &us[i], problem)) return false;
  r->us = r->is_cut ? us[0] : contest_median(us, SEGMENTS);
  return true;
}

static bool check_trial(shape *s, complaint *problem) {
  return ours_spoil(s->o, 0, problem) && ours_run(s->o, 0, problem) && ours_check(s->o, 0, problem);
}

/* On the emulator: one that is wrong makes the shape wrong. */
static void check_plans(shape *s) {
  for (int i = 0; i < s->count; i++) {
    trial *r = &s->trials[i];
    if (!r->kernel || !ours_use(s->o, r->kernel, &r->problem)) continue;
    s->measured++;
    if (check_trial(s, &r->problem)) continue;
    s->is_wrong = true;
    complain(&s->problem, "plan %d (%s): %.300s", r->rank, r->text, r->problem.text);
  }
}

/* One after the other; one that does not run is left out. */
static void time_plans(tuning *t, shape *s) {
  double least = 0;
  for (int i = 0; i < s->count; i++) {
    trial *r = &s->trials[i];
    if (!r->kernel || !ours_use(s->o, r->kernel, &r->problem) || !time_trial(t, s, r, least, &r->problem)) continue;
    s->measured++;
    r->problem.text[0] = 0;
    if (least <= 0 || r->us < least) least = r->us, s->best = i;
  }
}

/* The untuned plan and the best in turn: a clock that drifted over the trials favours neither. */
static bool hold_rematch(tuning *t, shape *s, complaint *problem) {
  double us[2][REMATCH];
  const trial *sides[2] = {&s->trials[0], &s->trials[s->best]};
  for (int round = 0; round < REMATCH; round++)
    for (int turn = 0; turn < 2; turn++) {
      int which = round % 2 ? 1 - turn : turn;
      if (!ours_use(s->o, sides[which]->kernel, problem) ||
          !time_segment(t, s, launches_of(sides[which]->us), &us[which][round], problem))
        return false;
    }
  s->default_us = contest_median(us[0], REMATCH);
  s->best_us = contest_median(us[1], REMATCH);
  for (int i = 0; i < 2; i++)
    if (!ours_use(s->o, sides[i]->kernel, problem) || !check_trial(s, problem)) return false;
  return true;
}

static void correlate(shape *s) {
  double predicted[TUNING_MOST_PLANS], measured[TUNING_MOST_PLANS];
  int count = 0;
  for (int i = 0; i < s->count; i++)
    if (s->trials[i].us > 0) predicted[count] = s->trials[i].predicted_us, measured[count++] = s->trials[i].us;
  s->correlation = tuning_correlation(predicted, measured, count);
}

static void run_shape(tuning *t, shape *s) {
  if (s->is_wrong) return;
  s->is_wrong = !ours_place(s->o, t->d, &s->problem);
  if (!s->is_wrong && t->m.driver) {
    time_plans(t, s);
    s->is_wrong = s->trials[0].us <= 0;
    if (s->is_wrong)
      s->problem = s->trials[0].problem;
    else
      s->is_wrong = !hold_rematch(t, s, &s->problem);
    correlate(s);
  } else if (!s->is_wrong) {
    check_plans(s);
  }
  ours_remove(s->o);
}

/* -- Report -------------------------------------------------------------------------------------------------------- */

static void print_shape(const tuning *t, const shape *s) {
  char name[128];
  case_name(&s->c, name, sizeof name);
  if (s->is_wrong)
    printf("%-40s FAIL %s\n", name, s->problem.text);
  else if (!t->m.driver)
    printf("%-40s right, %d plans\n", name, s->measured);
  else
    printf("%-40s %10.2f %10.2f %6.3f %4d of %2d %6.2f  %s\n", name, s->default_us, s->best_us, ratio_of(s),
           s->trials[s->best].rank, s->measured, s->correlation, s->trials[s->best].text);
  for (int i = 0; i < s->count && !s->is_wrong; i++)
    if (*s->trials[i].problem.text)
      printf("%-40s plan %d (%s) left out: %.300s\n", "", s->trials[i].rank, s->trials[i].text,
             s->trials[i].problem.text);
  fflush(stdout);
}

typedef struct summary {
  int shapes, wrong;
  double mean_ratio, within_first, mean_correlation;
} summary;

static summary sum_up(const tuning *t, int count) {
  summary all = {.wrong = 0};
  for (int i = 0; i < count; i++) {
    const shape *s = &t->shapes[i];
    all.wrong += s->is_wrong;
    if (s->is_wrong || s->default_us <= 0) continue;
    all.shapes++;
    all.mean_ratio += log(ratio_of(s));
    all.within_first += s->trials[s->best].rank < TUNING_FIRST;
    all.mean_correlation += s->correlation;
  }
  double shapes = all.shapes ? all.shapes : 1;
  all.mean_ratio = exp(all.mean_ratio / shapes);
  all.within_first /= shapes;
  all.mean_correlation /= shapes;
  return all;
}

static json_t *json_of_shape(const shape *s) {
  char name[128];
  case_name(&s->c, name, sizeof name);
  json_t *plans = json_array();
  for (int i = 0; i < s->count; i++) {
    const trial *r = &s->trials[i];
    json_t *plan = json_pack("{s:i, s:s, s:f, s:f, s:b}", "rank", r->rank, "plan", r->text, "predicted_us",
                             r->predicted_us, "us", r->us, "cut", r->is_cut);
    if (*r->problem.text) json_object_set_new(plan, "problem", json_string(r->problem.text));
    json_array_append_new(plans, plan);
  }
  json_t *object = json_pack("{s:s, s:b, s:f, s:f, s:f, s:i, s:f, s:o}", "name", name, "right", !s->is_wrong,
                             "default_us", s->default_us, "best_us", s->best_us, "ratio", ratio_of(s), "best_rank",
                             s->count ? s->trials[s->best].rank : 0, "correlation", s->correlation, "plans", plans);
  if (s->is_wrong) json_object_set_new(object, "problem", json_string(s->problem.text));
  return object;
}

static bool write_json(const tuning *t, int count, complaint *problem) {
  if (!t->options->json) return true;
  summary all = sum_up(t, count);
  json_t *shapes = json_array();
  for (int i = 0; i < count; i++)
    json_array_append_new(shapes, json_of_shape(&t->shapes[i]));
  json_t *object = json_pack("{s:s, s:s, s:i, s:i, s:f, s:f, s:f, s:o}", "device",
                             bitblas_context_device_name(t->m.context), "target", bitblas_context_target(t->m.context),
                             "measured", all.shapes, "wrong", all.wrong, "mean_ratio", all.mean_ratio, "within_first",
                             all.within_first, "mean_correlation", all.mean_correlation, "shapes", shapes);
  bool ok = report_write_json(t->options->json, object, problem);
  json_decref(object);
  return ok;
}

static void print_heading(const tuning *t) {
  if (t->m.driver)
    printf("%s, driver %d: %d plans of a shape\n%-40s %10s %10s %6s %10s %6s\n", device_get_facts(t->m.device)->name,
           device_get_facts(t->m.device)->driver_version, t->options->tuning, "shape", "untuned us", "best us", "ratio",
           "best rank", "corr.");
  else
    printf("emulator, %s: plans checked at small sizes\n", bitblas_context_target(t->m.context));
}

static void print_summary(const tuning *t) {
  summary all = sum_up(t, t->count);
  if (t->m.driver)
    printf("%d shapes: untuned by best %.3f (geometric mean); the best is among the model's first %d for %.0f %%; rank "
           "correlation %.2f (mean)\n",
           all.shapes, all.mean_ratio, TUNING_FIRST, 100 * all.within_first, all.mean_correlation);
  printf("%d shapes, %d wrong\n", t->count, all.wrong);
}

/* -- The run ------------------------------------------------------------------------------------------------------- */

static void close_all(tuning *t) {
  for (int i = 0; i < t->count; i++) {
    shape *s = &t->shapes[i];
    ours_destroy(s->o);
    for (int k = 0; k < s->count; k++)
      bitblas_kernel_destroy(s->trials[k].kernel);
    arena_destroy(s->ranking.memory);
  }
  data_close(t->d);
  machine_close(&t->m);
  free(t->shapes);
}

int tuning_run(const session_options *options) {
  tuning t = {.options = options};
  complaint problem = {""};
  double start = seconds_now();
  bool is_absent = false;
  bool ok = choose_shapes(&t, &problem) && machine_open(&t.m, options->emulator, &is_absent, &problem) &&
            data_open(&t.m, 0, &t.d, &problem);
  t.m.overlaps = options->overlaps;
  if (ok) {
    compile_all(&t);
    print_heading(&t);
    for (int i = 0; ok && i < t.count; i++) {
      run_shape(&t, &t.shapes[i]);
      print_shape(&t, &t.shapes[i]);
      ok = write_json(&t, i + 1, &problem);
    }
    print_summary(&t);
    fprintf(stderr, "bitblas-bench: %.1f s in all\n", seconds_now() - start);
  }
  int wrong = ok ? sum_up(&t, t.count).wrong : 0;
  if (is_absent)
    printf("bitblas-bench: no GPU here, nothing was measured\n");
  else if (!ok)
    fprintf(stderr, "bitblas-bench: %s\n", problem.text);
  close_all(&t);
  return is_absent || (ok && !wrong) ? 0 : 1;
}
