/* What every unit test includes first: cmocka asks for these headers before its own. */
#ifndef BITBLASC_TESTS_UNIT_H
#define BITBLASC_TESTS_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#endif
