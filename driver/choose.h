/* The choice of a plan: values of the tune parameters of the source and attributes of the schedule, compared by the
 * cost model.
 *
 * Sizes that are known at compile time (-D, --expect) decide; without any the source's own values stand as long as
 * they fit. The comparison lowers the text once for each plan and keeps nothing of it but the estimate. */
#ifndef BITBLASC_DRIVER_CHOOSE_H
#define BITBLASC_DRIVER_CHOOSE_H

#include "driver/compile.h"

/* Whether the pipeline of these options goes through the choice: it runs whole, as far as the scheduled form at least,
 * at -O1 or above. */
bool choose_applies(const compile_options *options);

/* Replaces every kernel of the module that is not scheduled yet by the same kernel at the plan of rank
 * options->passes.candidate. The table of plans is appended to options->explain. Diagnostics, and COMPILE_INPUT when
 * there is no plan of that rank. */
compile_status choose_plans(const compile_options *options, ir_module *module);

#endif
