#include "driver/compile.h"

#include "codegen/elf_note.h"
#include "codegen/emit.h"
#include "driver/choose.h"
#include "support/hash.h"

#include <stdlib.h>
#include <string.h>

static const src_loc nowhere;

/* -- Reading ------------------------------------------------------------------------------------------------------- */

/* Keeps the one kernel that was asked for. */
static bool choose_kernel(const compile_options *options, ir_module *module) {
  if (!options->kernel_name) return true;
  for (ir_kernel *kernel = module->kernels; kernel; kernel = kernel->next) {
    if (strcmp(kernel->name, options->kernel_name) != 0) continue;
    kernel->next = NULL;
    module->kernels = kernel;
    return true;
  }
  diag_error(options->diagnostics, DIAG_UNBOUND, nowhere, "%s has no kernel '%s'", options->name, options->kernel_name);
  for (const ir_kernel *kernel = module->kernels; kernel; kernel = kernel->next) {
    diag_note(options->diagnostics, kernel->loc, "it has '%s'", kernel->name);
  }
  return false;
}

/* A binding of IR text: a size, or a param at the value it has. */
static bool bind_size(const compile_options *options, ir_module *module, const frontend_binding *binding) {
  bool found = false;
  char *end;
  long long number = strtoll(binding->value, &end, 0);
  bool is_number = *binding->value && !*end;
  for (ir_kernel *kernel = module->kernels; kernel; kernel = kernel->next) {
    ir_value *value = ir_value_find(kernel, binding->name);
    if (!value || value->space != IR_SIZE) continue;
    if (!is_number || number < 0 || number > INT32_MAX) {
      return diag_error(options->diagnostics, DIAG_UNBOUND, value->loc, "-D %s=%s: a size is a number from 0 to %d",
                        binding->name, binding->value, INT32_MAX);
    }
    if (kernel->form != IR_FORM_TILE && value->bound != number) {
      return diag_error(options->diagnostics, DIAG_UNBOUND, kernel->loc,
                        "-D %s=%s comes too late: '%s' is in form %s already", binding->name, binding->value,
                        kernel->name, ir_form_name(kernel->form));
    }
    value->bound = number;
    found = true;
  }
  if (found) return true;
  return diag_error(options->diagnostics, DIAG_UNBOUND, nowhere,
                    "-D %s=%s: %s has no size '%s' (params are fixed in IR text)", binding->name, binding->value,
                    options->name, binding->name);
}

/* Places in IR text are those of the source it came from, file 0: shown under that name, with its lines when it can
 * still be read. */
static void name_source(const compile_options *options) {
  static const char head[] = "source \"";
  const char *line = options->text;
  while (line && strncmp(line, head, sizeof head - 1) != 0) { /* comments may come first */
    line = strchr(line, '\n');
    if (line) line++;
  }
  if (!line) return;
  const char *name = line + sizeof head - 1;
  name = arena_strndup(options->memory, name, strcspn(name, "\"\n"));
  const char *path = name, *text = "";
  size_t length = 0;
  const frontend_loader *loader = options->loader;
  if (loader && !loader->load(loader->context, options->memory, "", name, &path, &text, &length)) text = "", length = 0;
  diag_add_file(options->diagnostics, name, text, length);
}

static ir_module *read_ir(const compile_options *options) {
  if (diag_file_count(options->diagnostics) == 0) name_source(options);
  uint16_t file = diag_add_file(options->diagnostics, options->name, options->text, options->length);
  ir_module *module = ir_parse_module(options->memory, options->diagnostics, file, options->text, options->length);
  if (!module || !choose_kernel(options, module)) return NULL;
  bool ok = true;
  for (int i = 0; i < options->binding_count; i++)
    ok &= bind_size(options, module, &options->bindings[i]);
  for (ir_kernel *kernel = module->kernels; kernel; kernel = kernel->next) {
    if (!options->has_target || kernel->target == options->target) continue;
    if (kernel->form > IR_FORM_FUSED) {
      ok = diag_error(options->diagnostics, DIAG_UNBOUND, kernel->loc,
                      "--target=%s comes too late: '%s' is scheduled for %s already",
                      ir_target_of(options->target)->name, kernel->name, ir_target_of(kernel->target)->name);
    }
    kernel->target = options->target;
  }
  return ok ? module : NULL;
}

static ir_module *read_tl(const compile_options *options, const frontend_ast **tree) {
  *tree = options->tree;
  if (!*tree)
    *tree = frontend_parse(options->memory, options->diagnostics, options->name, options->text, options->length,
                           options->loader);
  if (!*tree) return NULL;
  ir_module *module =
      frontend_lower(*tree, options->memory, options->diagnostics, options->bindings, options->binding_count);
  if (!module || !choose_kernel(options, module)) return NULL;
  for (ir_kernel *kernel = module->kernels; kernel; kernel = kernel->next)
    kernel->target = options->target;
  return module;
}

compile_status compile_read(const compile_options *options, ir_module **module, const frontend_ast **tree) {
  const frontend_ast *parsed = NULL;
  bool is_tl = options->tree || options->language == COMPILE_TL;
  *module = is_tl ? read_tl(options, &parsed) : read_ir(options);
  if (tree) *tree = parsed;
  if (!*module) {
    if (!diag_failed(options->diagnostics)) {
      diag_error(options->diagnostics, DIAG_INTERNAL, nowhere, "%s could not be read, and nothing says why",
                 options->name);
      return COMPILE_INTERNAL;
    }
    return COMPILE_INPUT;
  }
  if (!(*module)->kernels) {
    diag_error(options->diagnostics, DIAG_FILE, nowhere, "%s has no kernel", options->name);
    return COMPILE_INPUT;
  }
  for (const ir_kernel *kernel = (*module)->kernels; kernel; kernel = kernel->next) {
    if (ir_verify(kernel, options->diagnostics)) continue;
    if (!is_tl) return COMPILE_INPUT;
    diag_error(options->diagnostics, DIAG_INTERNAL, kernel->loc,
               "the front end made '%s' against the rules of the tile form", kernel->name);
    return COMPILE_INTERNAL;
  }
  return diag_failed(options->diagnostics) ? COMPILE_INPUT : COMPILE_OK;
}

compile_status compile_lower(const compile_options *options, ir_module *module) {
  bool chosen = choose_applies(options);
  if (chosen) {
    compile_status choice = choose_plans(options, module);
    if (choice != COMPILE_OK) return choice;
  }
  arena *scratch = arena_create();
  pass_env env = {.memory = options->memory,
                  .scratch = scratch,
                  .diagnostics = options->diagnostics,
                  .options = &options->passes,
                  .explain = chosen ? NULL : options->explain};
  pipeline_status status = pipeline_run(module, &env, &options->pipeline);
  arena_destroy(scratch);
  return status == PIPELINE_OK ? COMPILE_OK : status == PIPELINE_FAILED ? COMPILE_INPUT : COMPILE_INTERNAL;
}

/* -- Code ---------------------------------------------------------------------------------------------------------- */

static const char *base_name(const char *path) {
  const char *slash = strrchr(path, '/');
  return slash ? slash + 1 : path;
}

const char *compile_source_hash(const compile_options *options) {
  char *text = arena_alloc(options->memory, HASH128_TEXT_BYTES);
  return hash128_text(hash128_bytes(options->text, options->length), text);
}

/* A failure of code generation: the kernel was checked, so it is our mistake unless it is a target that lacks
 * something. */
static compile_status emit_failed(const compile_options *options, const ir_kernel *kernel, int errors) {
  if (diag_error_count(options->diagnostics) > errors) return COMPILE_INPUT;
  diag_error(options->diagnostics, DIAG_INTERNAL, kernel->loc, "no code could be made for '%s', and nothing says why",
             kernel->name);
  return COMPILE_INTERNAL;
}

static compile_status make_text(const compile_options *options, const ir_module *module, const ir_kernel *kernel,
                                compiled_kernel *out) {
  int errors = diag_error_count(options->diagnostics);
  ir_kernel *alone = ARENA_NEW(options->memory, ir_kernel);
  *alone = *kernel;
  alone->next = NULL;
  const ir_module single = {.memory = module->memory, .source_name = module->source_name, .kernels = alone};
  /* The text is quoted in comments when it is the one whose lines the IR names. */
  bool own_lines = options->language == COMPILE_TL && options->text;
  const emit_options emit = {.line_directives = options->line_info,
                             .debug_barriers = options->debug_barriers,
                             .count_events = options->count_events,
                             .source_text = own_lines ? options->text : NULL};
  str cuda = STR_EMPTY;
  bool ok = emit_cuda(&single, &emit, options->diagnostics, &cuda);
  if (ok) out->cuda = arena_strndup(options->memory, str_text(&cuda), cuda.length);
  str_free(&cuda);
  if (!ok) return emit_failed(options, kernel, errors);
  out->record = fill_record(&single, alone, options->memory, options->diagnostics);
  if (!out->record) return emit_failed(options, kernel, errors);
  if (options->text) {
    out->record->source_file = arena_strdup(options->memory, base_name(options->name));
    out->record->source_hash = compile_source_hash(options);
  }
  return COMPILE_OK;
}

static compile_status add_note(const compile_options *options, compiled_kernel *out) {
  str json = STR_EMPTY;
  record_to_json(out->record, false, &json);
  const char *error = NULL;
  out->cubin = elf_note_add(options->memory, out->backend.cubin, out->backend.cubin_size, str_text(&json), json.length,
                            &out->cubin_size, &error);
  str_free(&json);
  if (out->cubin) return COMPILE_OK;
  diag_error(options->diagnostics, DIAG_INTERNAL, nowhere, "the launch record of '%s' does not go into the cubin: %s",
             out->kernel->name, error);
  return COMPILE_INTERNAL;
}

static compile_status run_backend(const compile_options *options, compile_product product, compiled_kernel *out) {
  const char *target = options->machine ? options->machine : ir_target_of(out->kernel->target)->name;
  if (!options->nvrtc) {
    diag_error(options->diagnostics, DIAG_ENVIRONMENT, nowhere,
               "a cubin needs NVRTC, and there is none (see 'bitblasc doctor')");
    return COMPILE_ENVIRONMENT;
  }
  if (!nvrtc_supports(options->nvrtc, target)) {
    int major, minor;
    nvrtc_version(options->nvrtc, &major, &minor);
    diag_error(options->diagnostics, DIAG_ENVIRONMENT, nowhere, "NVRTC %d.%d does not compile for %s", major, minor,
               target);
    return COMPILE_ENVIRONMENT;
  }
  out->arch = product == COMPILE_CUBIN ? target : arena_printf(options->memory, "compute_%s", target + strlen("sm_"));
  const nvrtc_options backend = {.arch = out->arch,
                                 .line_info = options->line_info,
                                 .extra = options->nvrtc_options,
                                 .extra_count = options->nvrtc_option_count};
  const char *name = arena_printf(options->memory, "%s.cu", out->kernel->name);
  out->backend = nvrtc_compile(options->nvrtc, out->cuda, name, &backend, options->memory);
  if (out->backend.status == NVRTC_REJECTED) {
    diag_error(options->diagnostics, DIAG_BACKEND, out->kernel->loc, "NVRTC refused the CUDA text of '%s': %.300s",
               out->kernel->name, out->backend.log);
    return COMPILE_BACKEND;
  }
  if (out->backend.status != NVRTC_OK) {
    diag_error(options->diagnostics, DIAG_ENVIRONMENT, nowhere, "NVRTC failed on '%s': %.300s", out->kernel->name,
               out->backend.log);
    return COMPILE_ENVIRONMENT;
  }
  out->ptx = out->backend.ptx;
  out->record->target = target;
  return product == COMPILE_CUBIN ? add_note(options, out) : COMPILE_OK;
}

compile_status compile_emit(const compile_options *options, const ir_module *module, const ir_kernel *kernel,
                            compile_product product, compiled_kernel *out) {
  memset(out, 0, sizeof *out);
  out->kernel = kernel;
  if (kernel->form != IR_FORM_THREAD) {
    diag_error(options->diagnostics, DIAG_PASS, kernel->loc,
               "'%s' is in form %s after the passes that ran, and code is made from form %s", kernel->name,
               ir_form_name(kernel->form), ir_form_name(IR_FORM_THREAD));
    return COMPILE_INPUT;
  }
  compile_status status = make_text(options, module, kernel, out);
  if (status != COMPILE_OK || product == COMPILE_CUDA) return status;
  return run_backend(options, product, out);
}

compile_status compile_kernel(const compile_options *options, compile_product product, compiled_kernel *out) {
  memset(out, 0, sizeof *out);
  ir_module *module;
  compile_status status = compile_read(options, &module, NULL);
  if (status != COMPILE_OK) return status;
  if (module->kernels->next) {
    diag_error(options->diagnostics, DIAG_UNBOUND, nowhere, "%s has several kernels: name one", options->name);
    return COMPILE_INPUT;
  }
  status = compile_lower(options, module);
  return status == COMPILE_OK ? compile_emit(options, module, module->kernels, product, out) : status;
}
