/* FlashAtten from inside the library. */
#ifndef BITBLASC_LIB_FLASH_ATTEN_H
#define BITBLASC_LIB_FLASH_ATTEN_H

#include "lib/status.h"

enum { FLASH_ATTEN_SPLITS_MAX = 128 };

/* Checks a config and puts its defaults in place. BITBLAS_ERROR_ARGUMENT, _TYPE, _UNSUPPORTED. */
bitblas_status flash_atten_take_config(bitblas_flash_atten_config *c);

#endif
