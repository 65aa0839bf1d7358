/* What is left behind when NVRTC refuses our text, so that the mistake can be reported and run again. */
#ifndef BITBLASC_DRIVER_REPRO_H
#define BITBLASC_DRIVER_REPRO_H

#include "driver/compile.h"

/* Makes the directory <kernel>-<hash of the CUDA text>.repro under `parent` with kernel.cu, kernel.tir, input (the text
 * that was compiled), log.txt and options.txt. Its path, in options->memory; NULL with the reason appended to `error`.
 */
const char *repro_write(const compile_options *options, const compiled_kernel *failed, const char *parent, str *error);

#endif
