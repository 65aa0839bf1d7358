/* Private to expr.c and expr_leaf.c: one evaluation of a program. */
#ifndef BITBLASC_EMULATOR_EXPR_H
#define BITBLASC_EMULATOR_EXPR_H

#include "emulator/machine.h"

/* A program under evaluation. */
typedef struct evaluation {
  machine *m;
  agent *a;      /* NULL: only sizes and constants */
  uint32_t mask; /* lanes whose memory is read and whose faults count */
  int lanes;
  cell (*top)[LANES]; /* next free vector */
} evaluation;

#define EACH_LANE for (int l = 0; l < v->lanes; l++)

/* A leaf other than an element, into `out`. */
void expr_leaf(evaluation *v, const ir_expr *e, cell *out);
/* An element of a register array, tile, buffer or tensor. arg: the slot when there is one, then the indices; the result
 * replaces the first. */
void expr_element(evaluation *v, const ir_expr *e, cell (*arg)[LANES]);
/* The address of a shared buffer; `out` holds the slot when one is given. */
void expr_address(const evaluation *v, const ir_expr *e, cell *out);

#endif
