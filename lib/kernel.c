/* bitblas_kernel_create: from a text or a cubin to something that runs, through the store. */
#include "lib/kernel.h"

#include "codegen/elf_note.h"
#include "driver/compile.h"
#include "driver/output.h"
#include "lib/embedded.h"
#include "support/diag.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

extern const char compiler_identity[]; /* made by cmake/identity.cmake */

/* One creation. */
typedef struct work {
  bitblas_context *context;
  bitblas_kernel_config config;
  int plan;
  arena *memory; /* released when it is done */
  diag *diagnostics;
  frontend_loader loader;
  str files; /* names and texts of what is included, for the key */
  compile_options options;
  const char *key;
  store_entry entry;
} work;

static double now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

/* -- Reading ------------------------------------------------------------------------------------------------------- */

static void add_file(work *w, const char *name, const char *text, size_t length) {
  str_printf(&w->files, "file %s %zu\n", output_base_name(name), length);
  str_append_bytes(&w->files, text, length);
  str_append_char(&w->files, '\n');
}

/* Beside the including file; of an embedded one, among those. */
static bool load_include(void *context, arena *memory, const char *from, const char *name, const char **path,
                         const char **text, size_t *length) {
  work *w = context;
  if (strncmp(from, EMBEDDED_DIRECTORY, strlen(EMBEDDED_DIRECTORY)) == 0) {
    *path = arena_printf(memory, EMBEDDED_DIRECTORY "%s", name);
    *text = embedded_text(name, length);
    if (*text) add_file(w, name, *text, *length);
    return *text != NULL;
  }
  int directory = (int)(output_base_name(from) - from);
  *path = name[0] == '/' ? arena_strdup(memory, name) : arena_printf(memory, "%.*s%s", directory, from, name);
  str error = STR_EMPTY;
  *text = output_read(memory, *path, length, &error);
  str_free(&error);
  if (*text) add_file(w, name, *text, *length);
  return *text != NULL;
}

static bitblas_status compile_failed(work *w, compile_status status) {
  str text = STR_EMPTY;
  diag_render(w->diagnostics, DIAG_FORMAT_TEXT, NULL, &text);
  while (text.length && text.data[text.length - 1] == '\n')
    text.data[--text.length] = '\0';
  bitblas_status answer = status == COMPILE_INPUT         ? BITBLAS_ERROR_KERNEL
                          : status == COMPILE_ENVIRONMENT ? BITBLAS_ERROR_NO_NVRTC
                                                          : BITBLAS_ERROR_INTERNAL;
  lib_fail(answer, "%s", str_text(&text));
  str_free(&text);
  return answer;
}

static bitblas_status take_bindings(work *w) {
  const bitblas_kernel_config *config = &w->config;
  if (config->define_count < 0 || (config->define_count && !config->defines))
    return lib_fail(BITBLAS_ERROR_ARGUMENT, "config.define_count is %d and config.defines is %s",
                    (int)config->define_count, config->defines ? "set" : "null");
  if (config->expected_count < 0 || (config->expected_count && !config->expected))
    return lib_fail(BITBLAS_ERROR_ARGUMENT, "config.expected_count is %d and config.expected is %s",
                    (int)config->expected_count, config->expected ? "set" : "null");
  frontend_binding *bindings = ARENA_ARRAY(w->memory, frontend_binding, config->define_count);
  for (int i = 0; i < config->define_count; i++) {
    const bitblas_define *d = &config->defines[i];
    if (!d->name || !*d->name || !d->value || strchr(d->name, '\n') || strchr(d->value, '\n'))
      return lib_fail(BITBLAS_ERROR_ARGUMENT, "config.defines[%d] has no name, no value, or several lines", i);
    bindings[i] = (frontend_binding){d->name, d->value};
  }
  pass_number *expected = ARENA_ARRAY(w->memory, pass_number, config->expected_count);
  for (int i = 0; i < config->expected_count; i++) {
    const bitblas_size *e = &config->expected[i];
    if (!e->name || strchr(e->name, '\n'))
      return lib_fail(BITBLAS_ERROR_ARGUMENT, "config.expected[%d] has no name", i);
    expected[i] = (pass_number){e->name, e->value};
  }
  if (config->level < 0 || config->level > 2)
    return lib_fail(BITBLAS_ERROR_ARGUMENT, "config.level is %d, not 0, 1 or 2", (int)config->level);
  if (config->overlap_launches < 0 || config->overlap_launches > 1)
    return lib_fail(BITBLAS_ERROR_ARGUMENT, "config.overlap_launches is %" PRId64 ", not 0 or 1",
                    config->overlap_launches);
  w->options.bindings = bindings;
  w->options.binding_count = config->define_count;
  w->options.passes = (pass_options){.level = config->level,
                                     .expected = expected,
                                     .expected_count = config->expected_count,
                                     .candidate = w->plan,
                                     .speed = w->context->speed,
                                     .sms = w->context->sms};
  if (!config->overlap_launches) return BITBLAS_OK;
  static const pass_number overlap = {"pdl", 1};
  w->options.passes.pins = &overlap;
  w->options.passes.pin_count = 1;
  return BITBLAS_OK;
}

/* Parses the text and everything it includes. */
static bitblas_status read_text(work *w) {
  bitblas_status status = take_bindings(w);
  if (status != BITBLAS_OK) return status;
  compile_options *o = &w->options;
  o->memory = w->memory;
  o->diagnostics = w->diagnostics;
  o->language = COMPILE_TL;
  o->loader = &w->loader;
  o->kernel_name = w->config.kernel;
  o->has_target = true;
  o->target = w->context->target;
  o->machine = w->context->machine;
  add_file(w, o->name, o->text, o->length);
  o->tree = frontend_parse(w->memory, w->diagnostics, o->name, o->text, o->length, o->loader);
  if (!o->tree) return compile_failed(w, COMPILE_INPUT);
  if (strlen(w->files.data) != w->files.length) /* the key is a text: nothing may hide behind its end */
    return lib_fail(BITBLAS_ERROR_KERNEL, "%s, or what it includes, has a NUL byte", o->name);
  return BITBLAS_OK;
}

/* -- The key ------------------------------------------------------------------------------------------------------- */

/* Everything that the result depends on. The version of NVRTC is not in it: any of them gives the same kernel, and a store that
 * travels with an application serves machines without one. */
static const char *make_key(work *w) {
  const bitblas_context *c = w->context;
  str key = STR_EMPTY;
  const char *kernel = w->config.kernel ? w->config.kernel : output_base_name(w->options.name);
  str_printf(&key, "compiler %s %s\nkernel %s\ntarget %s\n", BITBLASC_VERSION, compiler_identity, kernel,
             ir_target_of(c->target)->name);
  str_printf(&key, "machine %s\nproduct %s\nlevel %d\n", c->machine ? c->machine : "",
             context_is_emulator(c) ? "text" : "cubin", (int)w->config.level);
  if (!context_is_emulator(c) && c->nvrtc_path) str_printf(&key, "nvrtc %s\n", c->nvrtc_path);
  if (c->speed) str_printf(&key, "tuned for %s of %d\n", c->speed->name, c->sms);
  if (w->plan) str_printf(&key, "plan %d\n", w->plan);
  for (int i = 0; i < w->options.passes.pin_count; i++)
    str_printf(&key, "pin %s=%" PRId64 "\n", w->options.passes.pins[i].name, w->options.passes.pins[i].value);
  for (int i = 0; i < w->options.binding_count; i++)
    str_printf(&key, "define %s=%s\n", w->options.bindings[i].name, w->options.bindings[i].value);
  for (int i = 0; i < w->options.passes.expected_count; i++)
    str_printf(&key, "expect %s=%" PRId64 "\n", w->options.passes.expected[i].name,
               w->options.passes.expected[i].value);
  str_append_bytes(&key, w->files.data, w->files.length);
  const char *result = arena_strdup(w->memory, str_text(&key));
  str_free(&key);
  return result;
}

/* -- Compiling ----------------------------------------------------------------------------------------------------- */

static void add_product(store_entry *entry, const char *name, const void *data, size_t size) {
  entry->files[entry->count++] = (store_file){name, data, size};
}

static bitblas_status compile(work *w) {
  compile_options *o = &w->options;
  bool gpu = !context_is_emulator(w->context);
  bitblas_status opened = gpu ? context_nvrtc(w->context, &o->nvrtc) : BITBLAS_OK;
  if (opened != BITBLAS_OK) return opened;
  ir_module *module;
  compiled_kernel k = {0};
  compile_status status = compile_read(o, &module, NULL);
  if (status == COMPILE_OK && module->kernels->next) {
    return lib_fail(BITBLAS_ERROR_KERNEL, "%s has several kernels, '%s' and '%s' among them: config.kernel names one",
                    o->name, module->kernels->name, module->kernels->next->name);
  }
  if (status == COMPILE_OK) status = compile_lower(o, module);
  if (status == COMPILE_OK) status = compile_emit(o, module, module->kernels, gpu ? COMPILE_CUBIN : COMPILE_CUDA, &k);
  if (status != COMPILE_OK) return compile_failed(w, status);
  str ir = STR_EMPTY, json = STR_EMPTY;
  ir_print_module(module, &ir);
  record_to_json(k.record, true, &json);
  w->entry.count = 0;
  add_product(&w->entry, "kernel.tl", o->text, o->length);
  add_product(&w->entry, "kernel.tir", arena_strndup(w->memory, str_text(&ir), ir.length), ir.length);
  add_product(&w->entry, "kernel.cu", k.cuda, strlen(k.cuda));
  add_product(&w->entry, "kernel.json", arena_strndup(w->memory, str_text(&json), json.length), json.length);
  if (gpu) add_product(&w->entry, "kernel.cubin", k.cubin, k.cubin_size);
  if (gpu && k.ptx) add_product(&w->entry, "kernel.ptx", k.ptx, strlen(k.ptx));
  str_free(&ir);
  str_free(&json);
  return BITBLAS_OK;
}

/* -- The store, and threads that want the same --------------------------------------------------------------------- */

static void take_off(bitblas_context *c, lib_flight *mine) {
  pthread_mutex_lock(&c->lock);
  for (lib_flight *f = c->flights; f;) {
    if (strcmp(f->key, mine->key) == 0) {
      pthread_cond_wait(&c->landed, &c->lock);
      f = c->flights; /* it may have changed altogether */
    } else {
      f = f->next;
    }
  }
  mine->next = c->flights;
  c->flights = mine;
  pthread_mutex_unlock(&c->lock);
}

static void land(bitblas_context *c, lib_flight *mine) {
  pthread_mutex_lock(&c->lock);
  lib_flight **link = &c->flights;
  while (*link != mine)
    link = &(*link)->next;
  *link = mine->next;
  pthread_cond_broadcast(&c->landed);
  pthread_mutex_unlock(&c->lock);
}

/* Memos are only ever added, and live as long as the context. */
static bool recall(work *w) {
  pthread_mutex_lock(&w->context->lock);
  lib_memo *m = w->context->memos;
  pthread_mutex_unlock(&w->context->lock);
  while (m && strcmp(m->key, w->key) != 0)
    m = m->next;
  if (m) w->entry = m->entry;
  return m != NULL;
}

static void remember(work *w) {
  arena *memory = arena_create();
  lib_memo *m = ARENA_NEW(memory, lib_memo);
  m->memory = memory;
  m->key = arena_strdup(memory, w->key);
  for (int i = 0; i < w->entry.count; i++) {
    const store_file *file = &w->entry.files[i];
    char *data = arena_alloc(memory, file->size + 1);
    memcpy(data, file->data, file->size);
    add_product(&m->entry, arena_strdup(memory, file->name), data, file->size);
  }
  pthread_mutex_lock(&w->context->lock);
  m->next = w->context->memos;
  w->context->memos = m;
  pthread_mutex_unlock(&w->context->lock);
}

static bitblas_status find_or_compile(work *w) {
  bitblas_context *c = w->context;
  if (recall(w)) return BITBLAS_OK;
  double start = now_ms();
  if (store_find(c->store, w->key, w->memory, &w->entry)) {
    context_log(c, BITBLAS_LOG_DEBUG, "%s: from the store, %.1f ms", w->options.name, now_ms() - start);
    return BITBLAS_OK;
  }
  bitblas_status status = compile(w);
  if (status != BITBLAS_OK) return status;
  context_log(c, BITBLAS_LOG_INFO, "%s: compiled for %s, %.1f ms", w->options.name, bitblas_context_target(c),
              now_ms() - start);
  runtime_message message = {""};
  if (store_add(c->store, w->key, &w->entry, &message) == RUNTIME_OK) return BITBLAS_OK;
  context_log(c, BITBLAS_LOG_DEBUG, "%s", message.text);
  remember(w);
  return BITBLAS_OK;
}

/* -- Loading ------------------------------------------------------------------------------------------------------- */

static const char *keep_source(bitblas_kernel *k, const store_entry *entry, const char *name) {
  const store_file *file = store_entry_file(entry, name);
  return file ? arena_strndup(k->memory, file->data, file->size) : NULL;
}

static bitblas_status load_cubin(bitblas_kernel *k, const void *cubin, size_t size) {
  runtime_message message = {""};
  runtime_status status = launch_load(k->context->device, cubin, size, NULL, &k->loaded, &message);
  if (status != RUNTIME_OK) return lib_runtime(status, &message);
  k->record = launch_get_record(k->loaded);
  if (k->record->scalar_count)
    return lib_fail(BITBLAS_ERROR_UNSUPPORTED, "%s takes scalars that are no sizes", k->record->entry);
  return BITBLAS_OK;
}

/* The emulator takes the thread form as it was printed. */
static bitblas_status load_text(bitblas_kernel *k) {
  const char *ir = k->sources[BITBLAS_SOURCE_IR], *json = k->sources[BITBLAS_SOURCE_RECORD], *error = "there is none";
  diag *d = diag_create();
  k->record = json ? record_from_json(k->memory, json, strlen(json), &error) : NULL;
  ir_module *module = NULL;
  if (k->record && ir) {
    uint16_t file = diag_add_file(d, "kernel.tir", ir, strlen(ir));
    module = ir_parse_module(k->memory, d, file, ir, strlen(ir));
    if (module && !ir_verify(module->kernels, d)) module = NULL;
    if (!module && diag_first_error(d)) error = diag_first_error(d);
  }
  bitblas_status status = BITBLAS_OK;
  if (module)
    k->emulated = module->kernels;
  else
    status = lib_fail(BITBLAS_ERROR_INTERNAL, "a compiled kernel cannot be read back: %s", error);
  diag_destroy(d);
  return status;
}

static bitblas_status load_entry(bitblas_kernel *k, const store_entry *entry) {
  k->sources[BITBLAS_SOURCE_TL] = keep_source(k, entry, "kernel.tl");
  k->sources[BITBLAS_SOURCE_IR] = keep_source(k, entry, "kernel.tir");
  k->sources[BITBLAS_SOURCE_CUDA] = keep_source(k, entry, "kernel.cu");
  k->sources[BITBLAS_SOURCE_RECORD] = keep_source(k, entry, "kernel.json");
  k->sources[BITBLAS_SOURCE_PTX] = keep_source(k, entry, "kernel.ptx");
  if (context_is_emulator(k->context)) return load_text(k);
  const store_file *cubin = store_entry_file(entry, "kernel.cubin");
  return cubin ? load_cubin(k, cubin->data, cubin->size)
               : lib_fail(BITBLAS_ERROR_INTERNAL, "an entry of the store has no cubin");
}

static bitblas_status create_from_cubin(work *w, bitblas_kernel *k, const char *name, const void *cubin, size_t size) {
  if (context_is_emulator(w->context))
    return lib_fail(BITBLAS_ERROR_UNSUPPORTED, "%s: the emulator runs texts (.tl), not cubins", name);
  bitblas_status status = load_cubin(k, cubin, size);
  if (status != BITBLAS_OK) return status;
  str json = STR_EMPTY;
  record_to_json(k->record, true, &json);
  k->sources[BITBLAS_SOURCE_RECORD] = arena_strdup(k->memory, str_text(&json));
  str_free(&json);
  return BITBLAS_OK;
}

static bitblas_status create_from_text(work *w, bitblas_kernel *k) {
  bitblas_status status = read_text(w);
  if (status != BITBLAS_OK) return status;
  w->key = make_key(w);
  lib_flight flight = {w->key, NULL};
  take_off(w->context, &flight);
  status = find_or_compile(w);
  land(w->context, &flight);
  return status == BITBLAS_OK ? load_entry(k, &w->entry) : status;
}

/* What config.text or config.path has. */
static bitblas_status read_source(work *w, bool *is_cubin) {
  const bitblas_kernel_config *config = &w->config;
  *is_cubin = false;
  w->options.name = config->path ? config->path : "<text>";
  if (config->text) {
    w->options.length = config->text_length ? config->text_length : strlen(config->text);
    w->options.text = arena_strndup(w->memory, config->text, w->options.length);
    return BITBLAS_OK;
  }
  const char *extension = output_extension(config->path);
  *is_cubin = strcmp(extension, ".cubin") == 0;
  if (!*is_cubin && strcmp(extension, ".tl") != 0)
    return lib_fail(BITBLAS_ERROR_ARGUMENT, "config.path is '%s', neither .tl nor .cubin", config->path);
  str error = STR_EMPTY;
  w->options.text = output_read(w->memory, config->path, &w->options.length, &error);
  if (!w->options.text) lib_fail(BITBLAS_ERROR_FILE, "%s", str_text(&error));
  str_free(&error);
  return w->options.text ? BITBLAS_OK : BITBLAS_ERROR_FILE;
}

static bitblas_status create(work *w, bitblas_kernel *k) {
  const bitblas_kernel_config *config = &w->config;
  bool is_cubin;
  if (config->cubin ? config->path || config->text : !config->path && !config->text)
    return lib_fail(BITBLAS_ERROR_ARGUMENT, "config has %s: give path, text or cubin",
                    config->cubin ? "a cubin and a text" : "no kernel");
  if (config->cubin) return create_from_cubin(w, k, "config.cubin", config->cubin, config->cubin_size);
  bitblas_status status = read_source(w, &is_cubin);
  if (status != BITBLAS_OK) return status;
  return is_cubin ? create_from_cubin(w, k, config->path, w->options.text, w->options.length) : create_from_text(w, k);
}

/* Looked up once: runs compare numbers. */
static const bitblas_type *tensor_types(const bitblas_kernel *k) {
  bitblas_type *types = ARENA_ARRAY(k->memory, bitblas_type, k->record->tensor_count);
  for (int i = 0; i < k->record->tensor_count; i++) {
    const char *name = k->record->tensors[i].type;
    types[i] = lib_type_of(ir_type_by_name(name, strlen(name)));
  }
  return types;
}

bitblas_status bitblas_kernel_create(bitblas_context *context, const bitblas_kernel_config *config,
                                     bitblas_kernel **kernel) {
  return kernel_create(context, config, 0, kernel);
}

/* Takes the config; what is open afterwards close_work closes. Nothing is when it fails. */
static bitblas_status open_work(work *w, bitblas_context *context, const bitblas_kernel_config *config) {
  *w = (work){.context = context, .config = BITBLAS_KERNEL_CONFIG_INIT};
  bitblas_status status = lib_take_config("config", config, &w->config, sizeof w->config,
                                          offsetof(bitblas_kernel_config, overlap_launches));
  if (status != BITBLAS_OK) return status;
  w->memory = arena_create();
  w->diagnostics = diag_create();
  w->loader = (frontend_loader){load_include, w};
  return BITBLAS_OK;
}

static void close_work(work *w) {
  str_free(&w->files);
  diag_destroy(w->diagnostics);
  arena_destroy(w->memory);
}

bitblas_status kernel_create(bitblas_context *context, const bitblas_kernel_config *config, int plan,
                             bitblas_kernel **kernel) {
  work w;
  if (!context || !kernel) return lib_fail(BITBLAS_ERROR_ARGUMENT, "%s is null", context ? "kernel" : "context");
  *kernel = NULL;
  bitblas_status status = open_work(&w, context, config);
  if (status != BITBLAS_OK) return status;
  w.plan = plan;
  bitblas_kernel *k = calloc(1, sizeof *k);
  ASSERT(k);
  context_retain(context);
  k->context = context;
  k->memory = arena_create();
  status = create(&w, k);
  if (status == BITBLAS_OK) k->types = tensor_types(k);
  close_work(&w);
  if (status == BITBLAS_OK)
    *kernel = k;
  else
    bitblas_kernel_destroy(k);
  return status;
}

bitblas_status kernel_rank(bitblas_context *context, const bitblas_kernel_config *config, compile_ranking *ranking) {
  work w;
  bool is_cubin = config->cubin != NULL;
  bitblas_status status = open_work(&w, context, config);
  if (status != BITBLAS_OK) return status;
  ranking->count = 0, ranking->chosen = -1;
  w.options.ranking = ranking;
  if (!is_cubin) status = read_source(&w, &is_cubin);
  if (status == BITBLAS_OK && is_cubin) status = lib_fail(BITBLAS_ERROR_UNSUPPORTED, "a cubin has one plan");
  if (status == BITBLAS_OK) status = read_text(&w);
  if (status == BITBLAS_OK) {
    ir_module *module;
    compile_status done = compile_read(&w.options, &module, NULL);
    if (done == COMPILE_OK) done = compile_lower(&w.options, module);
    if (done != COMPILE_OK) status = compile_failed(&w, done);
  }
  close_work(&w);
  return status;
}

void bitblas_kernel_destroy(bitblas_kernel *kernel) {
  if (!kernel) return;
  launch_unload(kernel->loaded);
  arena_destroy(kernel->memory);
  context_release(kernel->context);
  free(kernel);
}

const char *bitblas_kernel_source(const bitblas_kernel *kernel, bitblas_source source) {
  return kernel && source >= BITBLAS_SOURCE_TL && source <= BITBLAS_SOURCE_PTX ? kernel->sources[source] : NULL;
}
