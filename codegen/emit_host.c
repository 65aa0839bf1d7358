#include "codegen/emit_host.h"

#include "codegen/emit_host_driver.h"
#include "support/arena.h"

#include <inttypes.h>
#include <string.h>

/* Codes that a generated function returns; each is less the index of what it is about. */
enum {
  CONSTRAINT_CODE = -1000,
  SIZE_CODE = -2000,
  NULL_CODE = -3000,
  ALIGNMENT_CODE = -4000,
  WORKSPACE_CODE = -1,
  GRID_CODE = -2
};

typedef struct emitter {
  const record *record;
  arena *memory;
  size_names names;      /* of the sizes, as members of the arguments struct */
  size_names text_names; /* as the user wrote them */
  str *out;
} emitter;

/* -- Texts --------------------------------------------------------------------------------------------------------- */

/* A name that a struct member may have in C and C++. */
static const char *member(const emitter *e, const char *name) {
  static const char *const keywords[] = {
      "alignas",     "alignof",      "and",       "and_eq",
      "asm",         "auto",         "bitand",    "bitor",
      "bool",        "break",        "case",      "catch",
      "char",        "char16_t",     "char32_t",  "char8_t",
      "class",       "co_await",     "co_return", "co_yield",
      "compl",       "concept",      "const",     "const_cast",
      "consteval",   "constexpr",    "constinit", "continue",
      "decltype",    "default",      "delete",    "do",
      "double",      "dynamic_cast", "else",      "enum",
      "explicit",    "export",       "extern",    "false",
      "float",       "for",          "friend",    "goto",
      "if",          "inline",       "int",       "linux",
      "long",        "mutable",      "namespace", "new",
      "noexcept",    "not",          "not_eq",    "nullptr",
      "operator",    "or",           "or_eq",     "private",
      "protected",   "public",       "register",  "reinterpret_cast",
      "requires",    "restrict",     "return",    "short",
      "signed",      "sizeof",       "static",    "static_assert",
      "static_cast", "struct",       "switch",    "template",
      "this",        "thread_local", "throw",     "true",
      "try",         "typedef",      "typeid",    "typename",
      "typeof",      "union",        "unix",      "unsigned",
      "using",       "virtual",      "void",      "volatile",
      "wchar_t",     "while",        "xor",       "xor_eq",
      "NULL",
  };
  for (size_t i = 0; i < sizeof keywords / sizeof *keywords; i++)
    if (strcmp(keywords[i], name) == 0) return arena_printf(e->memory, "%s_", name);
  return name;
}

/* Any text inside a comment: nothing in it ends the comment. */
static void put_comment_text(str *out, const char *text) {
  for (const char *c = text; *c; c++) {
    bool ends = *c == '/' && c != text && c[-1] == '*';
    str_append_char(out, ends || *c < ' ' || *c > '~' ? '?' : *c);
  }
}

/* Any text as a C string literal; '?' is escaped, since two of them may begin a trigraph. */
static void put_literal(str *out, const char *text) {
  str_append_char(out, '"');
  for (const char *c = text; *c; c++) {
    if (*c == '"' || *c == '\\' || *c == '?') str_append_char(out, '\\');
    str_append_char(out, *c < ' ' || *c > '~' ? '.' : *c);
  }
  str_append_char(out, '"');
}

static void put_expr(const emitter *e, const size_expr *expr) { size_print_c(expr, e->names, "arguments->", e->out); }

static void put_shape(const emitter *e, const record_tensor *t) {
  str_printf(e->out, "%s[", t->type);
  for (int i = 0; i < t->rank; i++) {
    if (i) str_append(e->out, ", ");
    size_print(t->extents[i], e->text_names, e->out);
  }
  str_append_char(e->out, ']');
}

/* -- Declarations -------------------------------------------------------------------------------------------------- */

static void put_arguments(const emitter *e) {
  static const char *const access_texts[] = {"read", "written", "read and written"};
  static const struct {
    const char *type, *c_type;
  } scalars[] = {{"i32", "int32_t"}, {"u32", "uint32_t"}, {"f32", "float"},
                 {"i64", "int64_t"}, {"u64", "uint64_t"}, {"f64", "double"}};
  const record *r = e->record;
  str_printf(e->out, "\n/* Addresses are device addresses. */\ntypedef struct %s_arguments {\n", r->entry);
  for (int i = 0; i < r->tensor_count; i++) {
    const record_tensor *t = &r->tensors[i];
    str_printf(e->out, "  %svoid *%s; /* ", t->access == RECORD_IN ? "const " : "", member(e, t->name));
    put_shape(e, t);
    str_printf(e->out, ", %s%s, aligned to %d bytes */\n", t->packing ? "packed, " : "", access_texts[t->access],
               (int)t->alignment);
  }
  for (int i = 0; i < r->scalar_count; i++)
    for (size_t j = 0; j < sizeof scalars / sizeof *scalars; j++)
      if (strcmp(scalars[j].type, r->scalars[i].type) == 0)
        str_printf(e->out, "  %s %s;\n", scalars[j].c_type, member(e, r->scalars[i].name));
  for (int i = 0; i < r->size_count; i++)
    str_printf(e->out, "  int32_t %s; /* a multiple of %" PRId64 " */\n", e->names.names[i], r->sizes[i].multiple_of);
  str_printf(e->out, "  void *workspace; /* %s_workspace_bytes%s; aligned to 16 bytes */\n", r->entry,
             r->workspace_bytes && r->workspace_zero ? ", zero before the first launch" : "");
  str_printf(e->out, "  size_t workspace_bytes;\n} %s_arguments;\n", r->entry);
}

static void put_kernel(const emitter *e) {
  const char *name = e->record->entry;
  str_printf(e->out,
             "\ntypedef struct %s_kernel {\n"
             "  const bitblasc_driver *driver;\n"
             "  void *module;\n"
             "  void *function;\n"
             "  int resident_blocks; /* on the whole device */\n"
             "} %s_kernel;\n",
             name, name);
  str_printf(e->out,
             "\n/* The cubin, where the C file that bitblasc writes for this kernel is linked in. */\n"
             "#ifdef __cplusplus\n"
             "extern \"C\" {\n"
             "#endif\n"
             "extern const unsigned char %s_cubin[];\n"
             "extern const size_t %s_cubin_bytes;\n"
             "#ifdef __cplusplus\n"
             "}\n"
             "#endif\n",
             name, name);
}

/* -- Functions ----------------------------------------------------------------------------------------------------- */

static bool has_cluster(const record *r) { return r->cluster[0] * r->cluster[1] * r->cluster[2] > 1; }

/* Statements that fill `config` but for its grid. */
static void put_config(const emitter *e, const char *stream) {
  const record *r = e->record;
  str_printf(e->out,
             "  memset(&config, 0, sizeof config);\n"
             "  memset(attributes, 0, sizeof attributes);\n"
             "  config.block[0] = %d;\n"
             "  config.block[1] = config.block[2] = 1;\n"
             "  config.shared_bytes = %" PRId64 ";\n"
             "  config.stream = %s;\n"
             "  config.attributes = attributes;\n",
             (int)r->block_threads, r->shared_bytes, stream);
  int count = 0;
  if (has_cluster(r)) {
    str_printf(e->out, "  attributes[%d].id = 4; /* CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION */\n", count);
    for (int i = 0; i < 3; i++)
      str_printf(e->out, "  attributes[%d].value[%d] = %d;\n", count, i, (int)r->cluster[i]);
    count++;
  }
  if (r->pdl)
    str_printf(e->out,
               "  attributes[%d].id = 6; /* CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION */\n"
               "  attributes[%d].value[0] = 1;\n",
               count, count);
  str_printf(e->out, "  config.attribute_count = %d;\n", count + r->pdl);
}

static void put_load(const emitter *e) {
  const record *r = e->record;
  int cluster = r->cluster[0] * r->cluster[1] * r->cluster[2];
  str_printf(
      e->out,
      "\n/* Loads the cubin into the current context. 0 or a CUresult; after a failure there is nothing to unload. */\n"
      "BITBLASC_INLINE int %s_load(%s_kernel *kernel, const bitblasc_driver *driver, const void *cubin) {\n"
      "  bitblasc_launch_attribute attributes[2];\n"
      "  bitblasc_launch_config config;\n"
      "  int device = 0, sms = 0, blocks = 0, result;\n"
      "  kernel->driver = driver;\n"
      "  result = driver->module_load_data(&kernel->module, cubin);\n"
      "  if (result) return result;\n"
      "  result = driver->module_get_function(&kernel->function, kernel->module, \"%s\");\n",
      r->entry, r->entry, r->entry);
  if (r->shared_bytes)
    str_printf(e->out,
               "  if (!result) result = driver->function_set_attribute(kernel->function, 8, %" PRId64
               "); /* dynamic shared bytes */\n",
               r->shared_bytes);
  if (cluster > 8)
    str_append(e->out, "  if (!result) result = driver->function_set_attribute(kernel->function, 14, 1); /* more than "
                       "8 blocks a cluster */\n");
  str_printf(e->out,
             "  if (!result) result = driver->context_get_device(&device);\n"
             "  if (!result) result = driver->device_get_attribute(&sms, 16, device);\n"
             "  if (!result) result = driver->occupancy_blocks(&blocks, kernel->function, %d, %" PRId64 ");\n"
             "  kernel->resident_blocks = blocks * sms;\n",
             (int)r->block_threads, r->shared_bytes);
  put_config(e, "NULL");
  if (cluster > 1) {
    for (int i = 0; i < 3; i++)
      str_printf(e->out, "  config.grid[%d] = %d;\n", i, (int)r->cluster[i]);
    str_printf(e->out,
               "  if (!result) result = driver->occupancy_clusters(&blocks, kernel->function, &config);\n"
               "  if (blocks * %d < kernel->resident_blocks) kernel->resident_blocks = blocks * %d;\n",
               cluster, cluster);
  } else {
    str_append(e->out, "  (void)config;\n");
  }
  str_printf(e->out,
             "  if (result) driver->module_unload(kernel->module);\n"
             "  return result;\n"
             "}\n"
             "\nBITBLASC_INLINE void %s_unload(%s_kernel *kernel) { kernel->driver->module_unload(kernel->module); }\n",
             r->entry, r->entry);
}

static void put_workspace(const emitter *e) {
  const record *r = e->record;
  str_printf(e->out,
             "\n/* Bytes of workspace that a launch with these sizes needs. */\n"
             "BITBLASC_INLINE uint64_t %s_workspace_bytes(const %s_arguments *arguments) {\n"
             "  (void)arguments;\n"
             "  return (uint64_t)bitblasc_max(0, ",
             r->entry, r->entry);
  if (r->workspace_bytes)
    put_expr(e, r->workspace_bytes);
  else
    str_append_char(e->out, '0');
  str_append(e->out, ");\n}\n");
}

static void put_check(const emitter *e) {
  const record *r = e->record;
  str_printf(e->out,
             "\n/* 0, or what %s_message explains. */\n"
             "BITBLASC_INLINE int %s_check(const %s_arguments *arguments) {\n",
             r->entry, r->entry, r->entry);
  for (int i = 0; i < r->size_count; i++) {
    const char *name = e->names.names[i];
    str_printf(e->out, "  if (arguments->%s < 0", name);
    if (r->sizes[i].multiple_of > 1)
      str_printf(e->out, " || arguments->%s %% %" PRId64 " != 0", name, r->sizes[i].multiple_of);
    str_printf(e->out, ") return %d;\n", SIZE_CODE - i);
  }
  for (int i = 0; i < r->constraint_count; i++) {
    str_append(e->out, "  if (!");
    put_expr(e, r->constraints[i].condition);
    str_printf(e->out, ") return %d;\n", CONSTRAINT_CODE - i);
  }
  for (int i = 0; i < r->tensor_count; i++) {
    const record_tensor *t = &r->tensors[i];
    const char *name = member(e, t->name);
    str_printf(e->out, "  if (!arguments->%s", name);
    for (int d = 0; d < t->rank; d++) {
      str_append(e->out, " && ");
      put_expr(e, t->extents[d]);
      str_append(e->out, " != 0");
    }
    str_printf(e->out, ") return %d;\n  if ((uintptr_t)arguments->%s %% %d != 0) return %d;\n", NULL_CODE - i, name,
               (int)t->alignment, ALIGNMENT_CODE - i);
  }
  str_printf(e->out,
             "  if (%s_workspace_bytes(arguments) > arguments->workspace_bytes) return %d;\n"
             "  if ((uintptr_t)arguments->workspace %% 16 != 0) return %d;\n"
             "  if (%s_workspace_bytes(arguments) && !arguments->workspace) return %d;\n"
             "  return 0;\n"
             "}\n",
             r->entry, WORKSPACE_CODE, WORKSPACE_CODE, r->entry, WORKSPACE_CODE);
}

static void put_map(const emitter *e, int index) {
  const record_map *m = &e->record->maps[index];
  int type = 0;
  int32_t bytes = 0;
  record_map_type(m->type, &type, &bytes);
  str_printf(e->out, "  if (!result) { /* tensor map of %s */\n    uint64_t extents[%d], strides[%d];\n",
             e->record->tensors[m->tensor].name, (int)m->rank, (int)m->rank);
  str_append(e->out, "    static const uint32_t box[] = {");
  for (int i = 0; i < m->rank; i++)
    str_printf(e->out, i ? ", %d" : "%d", (int)m->box[i]);
  str_append(e->out, "}, element_strides[] = {");
  for (int i = 0; i < m->rank; i++)
    str_printf(e->out, i ? ", %d" : "%d", (int)m->element_strides[i]);
  str_append(e->out, "};\n");
  for (int i = 0; i < m->rank; i++) {
    str_printf(e->out, "    extents[%d] = (uint64_t)bitblasc_max(1, ", i);
    put_expr(e, m->extents[i]);
    str_printf(e->out, ");\n    strides[%d] = (uint64_t)bitblasc_max(16, ", i);
    if (i + 1 < m->rank)
      put_expr(e, m->strides[i]);
    else
      str_append_char(e->out, '0');
    str_append(e->out, ");\n");
  }
  str_printf(e->out,
             "    result = kernel->driver->tensor_map_encode_tiled(maps + %d, %d, %d, (void "
             "*)(uintptr_t)arguments->%s, extents, strides,\n"
             "                                                     box, element_strides, 0, %d, %d, 0);\n"
             "  }\n",
             128 * index, type, (int)m->rank, member(e, e->record->tensors[m->tensor].name),
             record_swizzle_code(m->swizzle_bytes), record_promotion_code(m->promotion_bytes));
}

static void put_grid(const emitter *e) {
  const record *r = e->record;
  int cluster = (int)r->cluster[0];
  if (r->persistent) {
    str_append(e->out, "  blocks[0] = bitblasc_min(");
    put_expr(e, r->tiles);
    str_printf(e->out, ", kernel->resident_blocks / %d * %d);\n", cluster, cluster);
    if (cluster > 1)
      str_printf(e->out, "  blocks[0] = bitblasc_mul(bitblasc_ceildiv(blocks[0], %d), %d);\n", cluster, cluster);
    str_append(e->out, "  blocks[1] = blocks[2] = 1;\n");
    str_printf(e->out, "  if (kernel->resident_blocks < %d) return %d;\n", cluster, GRID_CODE);
  } else {
    for (int i = 0; i < 3; i++) {
      str_printf(e->out, "  blocks[%d] = ", i);
      put_expr(e, r->grid[i]);
      str_append(e->out, ";\n");
    }
  }
  str_printf(e->out,
             "  if (blocks[0] == 0 || blocks[1] == 0 || blocks[2] == 0) return 0;\n"
             "  if (blocks[0] < 0 || blocks[1] < 0 || blocks[2] < 0) return %d;\n"
             "  if (blocks[0] > INT32_MAX || blocks[1] > 65535 || blocks[2] > 65535) return %d;\n",
             GRID_CODE, GRID_CODE);
  for (int i = 0; i < 3; i++)
    if (r->cluster[i] > 1)
      str_printf(e->out, "  if (blocks[%d] %% %d != 0) return %d;\n", i, (int)r->cluster[i], GRID_CODE);
}

static void put_launch(const emitter *e) {
  const record *r = e->record;
  str_printf(e->out,
             "\n/* Checks, enqueues on the stream (a CUstream, or NULL) of the current context and returns. 0, a "
             "CUresult, or less than 0: see\n"
             " * %s_message. */\n"
             "BITBLASC_INLINE int %s_launch(const %s_kernel *kernel, const %s_arguments *arguments, void *stream) {\n"
             "  bitblasc_launch_attribute attributes[2];\n"
             "  bitblasc_launch_config config;\n"
             "  void *parameters[%d];\n"
             "  int64_t blocks[3];\n",
             r->entry, r->entry, r->entry, r->entry, r->parameter_count + 1);
  if (r->map_count)
    str_printf(e->out,
               "  unsigned char map_memory[%d]; /* tensor maps are aligned to 64 bytes */\n"
               "  unsigned char *maps = map_memory + (64 - (uintptr_t)map_memory %% 64) %% 64;\n",
               128 * (int)r->map_count + 64);
  str_printf(e->out, "  int result = %s_check(arguments);\n  if (result) return result;\n", r->entry);
  put_grid(e);
  for (int i = 0; i < r->map_count; i++)
    put_map(e, i);
  if (r->map_count) str_append(e->out, "  if (result) return result;\n");
  put_config(e, "stream");
  str_append(e->out, "  config.grid[0] = (uint32_t)blocks[0];\n"
                     "  config.grid[1] = (uint32_t)blocks[1];\n"
                     "  config.grid[2] = (uint32_t)blocks[2];\n");
  for (int i = 0; i < r->parameter_count; i++) {
    const record_parameter *p = &r->parameters[i];
    const char *name = p->kind == RECORD_TENSOR   ? r->tensors[p->index].name
                       : p->kind == RECORD_SIZE   ? r->sizes[p->index].name
                       : p->kind == RECORD_SCALAR ? r->scalars[p->index].name
                                                  : "workspace";
    if (p->kind == RECORD_MAP)
      str_printf(e->out, "  parameters[%d] = maps + %d;\n", i, 128 * (int)p->index);
    else
      str_printf(e->out, "  parameters[%d] = (void *)&arguments->%s;\n", i, member(e, name));
  }
  str_printf(e->out, "  parameters[%d] = NULL;\n", (int)r->parameter_count);
  str_append(e->out, "  return kernel->driver->launch_kernel(&config, kernel->function, parameters, NULL);\n}\n");
}

static void put_case(const emitter *e, int code, const char *text) {
  str_printf(e->out, "  case %d: return ", code);
  put_literal(e->out, text);
  str_append(e->out, ";\n");
}

static void put_message(const emitter *e) {
  const record *r = e->record;
  str_printf(e->out, "\nBITBLASC_INLINE const char *%s_message(int result) {\n  switch (result) {\n", r->entry);
  put_case(e, 0, "ok");
  put_case(e, WORKSPACE_CODE, "the workspace is too small or not aligned to 16 bytes");
  put_case(e, GRID_CODE, "the sizes need a grid that cannot be launched");
  for (int i = 0; i < r->constraint_count; i++)
    put_case(e, CONSTRAINT_CODE - i, arena_printf(e->memory, "needs %s", r->constraints[i].text));
  for (int i = 0; i < r->size_count; i++)
    put_case(e, SIZE_CODE - i,
             arena_printf(e->memory, "%s is less than 0 or no multiple of %" PRId64, r->sizes[i].name,
                          r->sizes[i].multiple_of));
  for (int i = 0; i < r->tensor_count; i++) {
    put_case(e, NULL_CODE - i, arena_printf(e->memory, "%s is null", r->tensors[i].name));
    put_case(
        e, ALIGNMENT_CODE - i,
        arena_printf(e->memory, "%s is not aligned to %d bytes", r->tensors[i].name, (int)r->tensors[i].alignment));
  }
  str_append(e->out, "  default: return \"the CUDA driver reported an error (a CUresult)\";\n  }\n}\n");
}

/* -- The three outputs --------------------------------------------------------------------------------------------- */

void emit_json(const record *r, str *out) { record_to_json(r, true, out); }

void emit_header(const record *r, str *out) {
  emitter e = {.record = r, .memory = arena_create(), .out = out};
  e.text_names = record_size_names(r, e.memory);
  const char **names = ARENA_ARRAY(e.memory, const char *, r->size_count);
  for (int i = 0; i < r->size_count; i++)
    names[i] = member(&e, r->sizes[i].name);
  e.names = (size_names){names, r->size_count};
  str_printf(out, "/* %s: made by bitblasc ", r->entry);
  put_comment_text(out, r->version);
  str_append(out, " from ");
  put_comment_text(out, r->source_file);
  str_printf(out, " for %s.\n * Needs C99 or C++11, and no header of CUDA's or bitblasc's. */\n", r->target);
  str_printf(out,
             "#ifndef BITBLASC_KERNEL_%s\n#define BITBLASC_KERNEL_%s\n\n"
             "#include <stddef.h>\n#include <stdint.h>\n#include <string.h>\n\n",
             r->entry, r->entry);
  emit_host_driver(out);
  put_arguments(&e);
  put_kernel(&e);
  put_load(&e);
  put_workspace(&e);
  put_check(&e);
  put_launch(&e);
  put_message(&e);
  str_append(out, "\n#endif\n");
  arena_destroy(e.memory);
}

void emit_c(const record *r, const void *cubin, size_t cubin_size, str *out) {
  static const char digits[] = "0123456789abcdef";
  const unsigned char *bytes = cubin;
  emit_header(r, out);
  str_printf(out, "\nconst size_t %s_cubin_bytes = %zu;\nconst unsigned char %s_cubin[] BITBLASC_ALIGNED = {", r->entry,
             cubin_size, r->entry);
  for (size_t i = 0; i < cubin_size; i++) {
    const char text[] = {'0', 'x', digits[bytes[i] >> 4], digits[bytes[i] & 15], ',', '\0'};
    if (i % 20 == 0) str_append(out, "\n    ");
    str_append(out, text);
  }
  str_append(out, "\n};\n");
}
