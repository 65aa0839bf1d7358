#include "runtime/status.h"

#include <stdarg.h>
#include <stdio.h>

const char *runtime_status_text(runtime_status status) {
  switch (status) {
#define RUNTIME_STATUS(name, value, text)                                                                              \
  case RUNTIME_##name:                                                                                                 \
    return text;
#include "runtime/runtime_status.def"
#undef RUNTIME_STATUS
  }
  return "unknown status";
}

runtime_status runtime_fail(runtime_message *message, runtime_status status, const char *format, ...) {
  if (!message) return status;
  va_list args;
  va_start(args, format);
  vsnprintf(message->text, sizeof message->text, format, args);
  va_end(args);
  return status;
}
