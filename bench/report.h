/* What was measured, as a table, as JSON and as a roofline. */
#ifndef BITBLASC_BENCH_REPORT_H
#define BITBLASC_BENCH_REPORT_H

#include "bench/cases.h"
#include "bench/contest.h"
#include "support/str.h"

#include <jansson.h>
#include <stdio.h>

/* One case. */
typedef struct report_row {
  const bench_case *c;
  bool is_wrong;                        /* a check failed, or something could not be done */
  complaint problem;                    /* what */
  char peer[64];                        /* "" without one */
  complaint no_peer;                    /* why there is none, where one was wanted */
  contest_result results[REGIME_COUNT]; /* rounds 0: not measured */
} report_row;

/* Where it was measured. */
typedef struct report_place {
  const char *device; /* "NVIDIA H200" */
  const char *target; /* "sm_90a" */
  int driver;         /* 13000; 0: the emulator */
  long cublaslt;      /* its version; 0: it is not there */
  const char *torch;  /* "" without */
} report_place;

/* The regime's rate: TB/s of a case that shows bytes, else TFLOP/s. */
double report_rate(const bench_case *c, double us);
/* "met", "missed", "-" without a goal, "wrong" of a wrong case. */
const char *report_verdict(const report_row *row, regime r);

void report_heading(FILE *out);
/* A line for each regime, or the problem; flushed. */
void report_print(FILE *out, const report_row *row);

/* How the ratios of some cases lie: those of a row of the list of goals that are alike (case_group). */
typedef struct report_group {
  char name[64];
  int count;               /* of cases with a ratio */
  double mean;             /* geometric, of the ratios */
  double least;            /* ratio */
  const report_row *worst; /* whose it is */
} report_group;

/* The groups of a regime in order of their first case, at most `most`; how many there are. */
int report_groups(const report_row *rows, int count, regime r, report_group *groups, int most);
/* A line for each group of each regime. */
void report_print_groups(FILE *out, const report_row *rows, int count);

/* Writes a file. */
bool report_write(const char *path, const char *text, size_t length, complaint *problem);
bool report_write_json(const char *path, const json_t *object, complaint *problem);

/* Appends the whole run as JSON: {"device", ..., "cases": [{"name", ..., "burst": {...}}], "groups": [...]}. */
void report_json(str *out, const report_place *place, const report_row *rows, int count);
/* Appends an SVG: FLOP per byte against TFLOP/s, both logarithmic, below the ceilings of the target (ir/targets.def). Of a
 * case the regime that was measured last. */
void report_svg(str *out, const report_place *place, const report_row *rows, int count);

#endif
