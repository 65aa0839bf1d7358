/* A run of the benchmark: chosen cases prepared all together, then measured one after the other. */
#ifndef BITBLASC_BENCH_SESSION_H
#define BITBLASC_BENCH_SESSION_H

#include "bench/report.h"

typedef struct session_options {
  const char *const *patterns; /* of names; none: all */
  int pattern_count;
  bool emulator;       /* only checks, at small sizes */
  bool overlaps;       /* our launches with the end of the one ahead */
  bool without_peers;  /* only ours */
  bool triton;         /* the peer of products of 16 bits and of attention is Triton */
  const char *kernels; /* the directory of the examples' .tl */
  const char *python;
  const char *peer_script; /* the text of bench/peer.py */
  const char *cublaslt;    /* path; NULL: searched */
  int tuning;              /* plans of a shape that are compared (bench/tuning.h); 0: cases are measured */
  const char *json, *svg;  /* files to write; NULL: none */
  contest_options contest;
} session_options;

/* Measures and prints. 0: all was right, or there is no GPU; 1: something was not. */
int session_run(const session_options *options);

/* Prints the names of the chosen cases with their goals; with options->tuning those of the shapes. */
void session_list(const session_options *options);

#endif
