/* Peers that are Python: bench/peer.py, kept running as a child process beside this one. */
#ifndef BITBLASC_BENCH_PEER_PYTHON_H
#define BITBLASC_BENCH_PEER_PYTHON_H

#include "bench/cases.h"
#include "bench/contest.h"

typedef struct python_peer python_peer;

/* Starts `python` with `script` (the text of a program, put into a temporary file, since Triton reads its own source) and
 * does not wait for it. */
bool python_peer_start(const char *python, const char *script, python_peer **out, complaint *problem);
/* Waits until it is ready; false with what it lacks. */
bool python_peer_wait(python_peer *p, complaint *problem);
/* What it is: "torch 2.11.0, cuDNN 91002, Triton 3.6.0". Lives as long as it. */
const char *python_peer_version(const python_peer *p);

/* Makes ready for the case, attention or (of Triton) a product, with tensors of its own; and gives them back. Which backend
 * it chose lives until the next. */
bool python_peer_begin(python_peer *p, const bench_case *c, bool triton, int sets, const char **backend,
                       complaint *problem);
bool python_peer_check(python_peer *p, complaint *problem);
void python_peer_end(python_peer *p);
contestant python_peer_contestant(python_peer *p);

/* Ends the process. NULL is ignored. */
void python_peer_stop(python_peer *p);

#endif
