#include "lib/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define STATUS(name, value, text)                                                                                      \
  _Static_assert(BITBLAS_##name == (value), "include/bitblas.h differs from lib/status.def");
#include "lib/status.def"
#undef STATUS

/* The last message of each thread: the one thing that the library keeps outside its objects. */
static _Thread_local char last_message[2048];

const char *bitblas_last_message(void) { return last_message; }

uint32_t bitblas_version(void) {
  return 10000 * BITBLAS_VERSION_MAJOR + 100 * BITBLAS_VERSION_MINOR + BITBLAS_VERSION_PATCH;
}

const char *bitblas_status_name(bitblas_status status) {
  switch (status) {
#define STATUS(name, value, text)                                                                                      \
  case BITBLAS_##name:                                                                                                 \
    return "BITBLAS_" #name;
#include "lib/status.def"
#undef STATUS
  }
  return "unknown status";
}

const char *bitblas_status_text(bitblas_status status) {
  switch (status) {
#define STATUS(name, value, text)                                                                                      \
  case BITBLAS_##name:                                                                                                 \
    return text;
#include "lib/status.def"
#undef STATUS
  }
  return "unknown status";
}

bitblas_status lib_fail(bitblas_status status, const char *format, ...) {
  va_list args;
  va_start(args, format);
  vsnprintf(last_message, sizeof last_message, format, args);
  va_end(args);
  return status;
}

bitblas_status lib_runtime(runtime_status status, const runtime_message *message) {
  static const bitblas_status ours[] = {
      [RUNTIME_OK] = BITBLAS_OK,
      [RUNTIME_NO_DRIVER] = BITBLAS_ERROR_NO_DRIVER,
      [RUNTIME_NO_DEVICE] = BITBLAS_ERROR_NO_DEVICE,
      [RUNTIME_OUT_OF_MEMORY] = BITBLAS_ERROR_MEMORY,
      [RUNTIME_BAD_CUBIN] = BITBLAS_ERROR_BAD_CUBIN,
      [RUNTIME_BAD_RECORD] = BITBLAS_ERROR_BAD_CUBIN,
      [RUNTIME_WRONG_TARGET] = BITBLAS_ERROR_WRONG_TARGET,
      [RUNTIME_BAD_ARGUMENT] = BITBLAS_ERROR_ARGUMENT,
      [RUNTIME_CONSTRAINT] = BITBLAS_ERROR_CONSTRAINT,
      [RUNTIME_DRIVER] = BITBLAS_ERROR_CUDA,
      [RUNTIME_FILE] = BITBLAS_ERROR_FILE,
  };
  return status == RUNTIME_OK ? BITBLAS_OK : lib_fail(ours[status], "%s", message->text);
}

bitblas_status lib_take_config(const char *what, const void *theirs, void *ours, size_t size, size_t first_size) {
  if (!theirs) return lib_fail(BITBLAS_ERROR_ARGUMENT, "%s is null", what);
  size_t given;
  memcpy(&given, theirs, sizeof given);
  if (given < first_size || given > 1 << 16)
    return lib_fail(BITBLAS_ERROR_ARGUMENT, "%s has size %zu and should have %zu: begin with its _INIT macro", what,
                    given, size);
  const unsigned char *bytes = theirs;
  for (size_t i = size; i < given; i++) {
    if (bytes[i])
      return lib_fail(BITBLAS_ERROR_UNSUPPORTED, "%s asks for something that this version (%d.%d.%d) does not know",
                      what, BITBLAS_VERSION_MAJOR, BITBLAS_VERSION_MINOR, BITBLAS_VERSION_PATCH);
  }
  memcpy(ours, theirs, given < size ? given : size);
  return BITBLAS_OK;
}

/* -- Types --------------------------------------------------------------------------------------------------------- */

/* A row of ir/types.def without a public type does not compile. */
static const bitblas_type public_types[IR_TYPE_COUNT] = {
#define TYPE(id, name, class, bits, exponent, mantissa, cuda) [IR_##id] = BITBLAS_TYPE_##id,
#include "ir/types.def"
#undef TYPE
};

bitblas_type lib_type_of(ir_type type) { return public_types[type]; }

ir_type lib_ir_type(bitblas_type type) {
  static const ir_type types[] = {
#define TYPE(id, name, class, bits, exponent, mantissa, cuda) [BITBLAS_TYPE_##id] = IR_##id,
#include "ir/types.def"
#undef TYPE
  };
  return type > BITBLAS_TYPE_NONE && (size_t)type < sizeof types / sizeof *types ? types[type] : IR_TYPE_NONE;
}

const char *bitblas_type_name(bitblas_type type) {
  ir_type t = lib_ir_type(type);
  return t == IR_TYPE_NONE ? "?" : ir_type_of(t)->name;
}

int32_t bitblas_type_bits(bitblas_type type) {
  ir_type t = lib_ir_type(type);
  return t == IR_TYPE_NONE ? 0 : ir_bits(t);
}
