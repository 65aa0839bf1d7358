/* What the machine does, beside what ir/targets.def says that it does. */
#ifndef BITBLASC_BENCH_CALIBRATE_H
#define BITBLASC_BENCH_CALIBRATE_H

#include "bench/session.h"
#include "support/embed.h"

/* Runs the probes of probes.def and prints the figures of the GPU's target beside what was measured; options->json gets
 * them too. On the emulator the probes are compiled, and nothing is measured. `kernels` are the files of bench/kernels/.
 * The exit status: 0, or 1 where a probe cannot be run. */
int calibrate_run(const session_options *options, const embedded_file *kernels);

#endif
