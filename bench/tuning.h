/* The untuned plan of a kernel against the best of those that a tuner would try, and how well the cost model ranks them. */
#ifndef BITBLASC_BENCH_TUNING_H
#define BITBLASC_BENCH_TUNING_H

#include "bench/session.h"

enum { TUNING_MOST_PLANS = 64, TUNING_FIRST = 8 /* plans that a short tuning would try */ };

/* Compiles and times options->tuning plans of each chosen shape of tuning.def, and prints a line a shape and the means;
 * options->json gets every plan. On the emulator each plan is checked at small sizes instead. The exit status: 0, or 1
 * where something is wrong. */
int tuning_run(const session_options *options);

/* Spearman's rank correlation: Pearson's of the ranks, equal numbers having the mean of theirs. 0 of less than two numbers
 * and where all of a side are equal. At most TUNING_MOST_PLANS. */
double tuning_correlation(const double *x, const double *y, int count);

#endif
