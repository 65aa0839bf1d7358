/* How the runtime layer reports: a status to act on and a message to show. Nothing is printed. */
#ifndef BITBLASC_RUNTIME_STATUS_H
#define BITBLASC_RUNTIME_STATUS_H

typedef enum runtime_status {
#define RUNTIME_STATUS(status, value, text) RUNTIME_##status = value,
#include "runtime/runtime_status.def"
#undef RUNTIME_STATUS
} runtime_status;

/* Written on failure, "" kept on success. A caller passes NULL when it does not want it. */
typedef struct runtime_message {
  char text[512];
} runtime_message;

const char *runtime_status_text(runtime_status status); /* "unknown status" for any other value */

/* Writes the message (cut to fit) and returns the status, so that callers write `return runtime_fail(...)`. */
runtime_status runtime_fail(runtime_message *message, runtime_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
