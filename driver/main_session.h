/* What the commands of the program share: the input, the options for the compiler, diagnostics, NVRTC, times. */
#ifndef BITBLASC_DRIVER_MAIN_SESSION_H
#define BITBLASC_DRIVER_MAIN_SESSION_H

#include "driver/compile.h"
#include "driver/options.h"

enum { EXIT_USAGE = 2 }; /* the other exit statuses are compile_status */

typedef struct stage_time {
  const char *name;
  double milliseconds;
} stage_time;

typedef struct session {
  const command_line *command;
  arena *memory;
  diag *diagnostics;
  const char *input; /* as given; "-" is standard input */
  compile_options options;
  frontend_loader loader;
  nvrtc *nvrtc;
  stage_time *times;
  int time_count, time_capacity;
  /* What the pipeline's print callback does. */
  const char *print_after;
  const char *temps; /* directory of --save-temps, or NULL */
  int temps_number;
} session;

/* Prints "bitblasc: error: ..." to standard error and gives EXIT_USAGE. */
int usage_error(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Reads the one input and fills the options. 0, or the exit status; call session_close in either case. */
int session_open(session *s, const command_line *command, arena *memory);
/* Opens NVRTC where the options say; a diagnostic and COMPILE_ENVIRONMENT when there is none. */
int session_open_nvrtc(session *s);
/* Prints what was reported, and the times when they were asked for. */
void session_close(session *s);

/* Adds a stage that began at `start` (session_now). */
void session_time(session *s, const char *name, double start);
double session_now(void);

/* The search for NVRTC of this command line and environment. */
nvrtc_search session_search(const command_line *command, arena *memory);
/* The target of the first GPU; false when there is none that we compile for. */
bool session_gpu_target(ir_target *target);
/* An error without a place, for what is no text. */
int session_fail(session *s, compile_status status, diag_id id, const char *message);

int command_compile(const command_line *command, arena *memory);
int command_run(const command_line *command, arena *memory);
int command_inspect(const command_line *command, arena *memory);
int command_doctor(const command_line *command, arena *memory);
int command_cache(const command_line *command, arena *memory);
int command_repack(const command_line *command, arena *memory);

#endif
