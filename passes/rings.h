/* Which barrier tells the producer that a buffer's slot is free, and how the buffer is read. */
#ifndef BITBLASC_PASSES_RINGS_H
#define BITBLASC_PASSES_RINGS_H

#include "ir/ir.h"

/* Both by value number, in the arena given to rings_find. */
typedef struct rings {
  ir_value **
      freed_by; /* of a buffer that a producer fills: the last mbar.wait in front of the copy in program text; else NULL */
  bool *
      read_by_lanes; /* of a barrier: lanes read its buffers each for itself, so they must meet before one of them frees the slot */
} rings;
rings rings_find(arena *scratch, const ir_kernel *kernel);

#endif
