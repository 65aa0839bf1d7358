/* The registers of one thread where warps of a block may trade them (HOPPER.md 0 and 2.2). */
#ifndef BITBLASC_PASSES_REGISTER_BUDGET_H
#define BITBLASC_PASSES_REGISTER_BUDGET_H

#include "ir/ir.h"

typedef struct register_budget {
  int entry;    /* of every thread at the launch */
  int producer; /* of a thread that loads, after setmaxnreg */
  int consumer; /* of one that computes, with what producers gave away */
} register_budget;

/* Of a block that has its SM to itself: so many warps that compute, beside so many that load for them. All three are
 * the same where nobody can trade; a trade pays where a consumer gets more than it had at entry. */
register_budget register_budget_of(const ir_target_info *target, int consumers, int producers);

#endif
