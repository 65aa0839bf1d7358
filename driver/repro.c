#include "driver/repro.h"

#include "driver/output.h"
#include "support/hash.h"

#include <string.h>

static bool put(arena *memory, const char *directory, const char *name, const char *text, size_t length, str *error) {
  return output_write(arena_printf(memory, "%s/%s", directory, name), text, length, error);
}

const char *repro_write(const compile_options *options, const compiled_kernel *failed, const char *parent, str *error) {
  char hash[HASH128_TEXT_BYTES];
  hash128_text(hash128_bytes(failed->cuda, strlen(failed->cuda)), hash);
  const char *directory = arena_printf(options->memory, "%s/%s-%.12s.repro", parent, failed->kernel->name, hash);
  if (!output_make_directory(directory, error)) return NULL;
  str flags = STR_EMPTY;
  str_printf(&flags, "bitblasc %s\n-arch=%s\n-O%d\n", BITBLASC_VERSION, failed->arch, options->passes.level);
  for (int i = 0; i < options->binding_count; i++)
    str_printf(&flags, "-D %s=%s\n", options->bindings[i].name, options->bindings[i].value);
  for (int i = 0; i < options->nvrtc_option_count; i++)
    str_printf(&flags, "-Xnvrtc %s\n", options->nvrtc_options[i]);
  str ir = STR_EMPTY;
  ir_print_kernel(failed->kernel, &ir);
  bool ok = put(options->memory, directory, "kernel.cu", failed->cuda, strlen(failed->cuda), error) &&
            put(options->memory, directory, "kernel.tir", str_text(&ir), ir.length, error) &&
            put(options->memory, directory, "log.txt", failed->backend.log, strlen(failed->backend.log), error) &&
            put(options->memory, directory, "options.txt", str_text(&flags), flags.length, error);
  if (ok && options->text) {
    const char *name = options->language == COMPILE_TL ? "input.tl" : "input.tir";
    ok = put(options->memory, directory, name, options->text, options->length, error);
  }
  str_free(&flags);
  str_free(&ir);
  return ok ? directory : NULL;
}
