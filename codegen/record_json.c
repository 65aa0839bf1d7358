/* The launch record as JSON and back. The text comes from files that anybody may have written: everything is checked,
 * then record_verify checks the whole. Unknown keys are ignored, so that a later minor version may add some. */
#include "codegen/record.h"

#include "support/diag.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static const char *const access_names[] = {"in", "out", "inout"};
static const char *const parameter_names[] = {"tensor", "map", "size", "scalar", "workspace"};

/* -- Writing ------------------------------------------------------------------------------------------------------- */

typedef struct writer {
  arena *memory;
  size_names names;
} writer;

/* A file name may hold any bytes; JSON holds text. */
static json_t *text_node(const writer *w, const char *text) {
  json_t *node = json_string(text);
  if (node) return node;
  char *clean = arena_strdup(w->memory, text);
  for (char *c = clean; *c; c++)
    if ((unsigned char)*c >= 0x80) *c = '?';
  return json_string(clean);
}

static void put_text(const writer *w, json_t *object, const char *key, const char *text) {
  json_object_set_new(object, key, text_node(w, text));
}

static void put_integer(json_t *object, const char *key, int64_t value) {
  json_object_set_new(object, key, json_integer(value));
}

static json_t *expr_node(const writer *w, const size_expr *e) {
  str text = STR_EMPTY;
  size_print(e, w->names, &text);
  json_t *node = json_string(str_text(&text));
  str_free(&text);
  return node;
}

static json_t *expr_list(const writer *w, const size_expr *const *exprs, int count) {
  json_t *list = json_array();
  for (int i = 0; i < count; i++)
    json_array_append_new(list, expr_node(w, exprs[i]));
  return list;
}

static json_t *integer_list(const int32_t *values, int count) {
  json_t *list = json_array();
  for (int i = 0; i < count; i++)
    json_array_append_new(list, json_integer(values[i]));
  return list;
}

static json_t *tensor_node(const writer *w, const record_tensor *t) {
  json_t *node = json_object();
  put_text(w, node, "name", t->name);
  put_text(w, node, "type", t->type);
  put_integer(node, "bits", t->bits);
  put_text(w, node, "access", access_names[t->access]);
  json_object_set_new(node, "extents", expr_list(w, t->extents, t->rank));
  if (t->rank > 0 && t->strides[0]) json_object_set_new(node, "strides", expr_list(w, t->strides, t->rank));
  put_integer(node, "alignment", t->alignment);
  if (t->packing) {
    json_t *packing = json_object(), *columns = json_array();
    put_integer(packing, "block_rows", t->packing->block_rows);
    put_integer(packing, "block_columns", t->packing->block_columns);
    put_integer(packing, "code_bits", t->packing->code_bits);
    for (int i = 0; i < t->packing->column_count; i++)
      json_array_append_new(columns, json_integer(t->packing->columns[i]));
    json_object_set_new(packing, "columns", columns);
    json_object_set_new(node, "packing", packing);
  }
  return node;
}

static json_t *map_node(const writer *w, const record_map *m) {
  json_t *node = json_object();
  put_integer(node, "tensor", m->tensor);
  put_text(w, node, "type", m->type);
  json_object_set_new(node, "extents", expr_list(w, m->extents, m->rank));
  json_object_set_new(node, "strides", expr_list(w, m->strides, m->rank - 1));
  json_object_set_new(node, "box", integer_list(m->box, m->rank));
  json_object_set_new(node, "element_strides", integer_list(m->element_strides, m->rank));
  put_integer(node, "swizzle_bytes", m->swizzle_bytes);
  put_integer(node, "promotion_bytes", m->promotion_bytes);
  return node;
}

static void put_launch(const writer *w, json_t *root, const record *r) {
  put_integer(root, "block_threads", r->block_threads);
  json_object_set_new(root, "cluster", integer_list(r->cluster, 3));
  put_integer(root, "min_blocks", r->min_blocks);
  put_integer(root, "shared_bytes", r->shared_bytes);
  json_object_set_new(root, "pdl", json_boolean(r->pdl));
  json_object_set_new(root, "persistent", json_boolean(r->persistent));
  if (r->persistent)
    json_object_set_new(root, "tiles", expr_node(w, r->tiles));
  else
    json_object_set_new(root, "grid", expr_list(w, r->grid, 3));
}

static void put_arguments(const writer *w, json_t *root, const record *r) {
  json_t *sizes = json_array(), *tensors = json_array(), *scalars = json_array(), *maps = json_array();
  for (int i = 0; i < r->size_count; i++) {
    json_t *node = json_object();
    put_text(w, node, "name", r->sizes[i].name);
    put_integer(node, "multiple_of", r->sizes[i].multiple_of);
    json_array_append_new(sizes, node);
  }
  for (int i = 0; i < r->tensor_count; i++)
    json_array_append_new(tensors, tensor_node(w, &r->tensors[i]));
  for (int i = 0; i < r->scalar_count; i++) {
    json_t *node = json_object();
    put_text(w, node, "name", r->scalars[i].name);
    put_text(w, node, "type", r->scalars[i].type);
    json_array_append_new(scalars, node);
  }
  for (int i = 0; i < r->map_count; i++)
    json_array_append_new(maps, map_node(w, &r->maps[i]));
  json_object_set_new(root, "sizes", sizes);
  json_object_set_new(root, "tensors", tensors);
  json_object_set_new(root, "scalars", scalars);
  json_object_set_new(root, "maps", maps);
}

static json_t *record_node(const writer *w, const record *r) {
  json_t *root = json_object(), *source = json_object(), *parameters = json_array(), *constraints = json_array();
  put_text(w, root, "schema", RECORD_SCHEMA);
  put_text(w, root, "version", r->version);
  put_text(w, root, "target", r->target);
  put_text(w, root, "entry", r->entry);
  put_text(w, source, "file", r->source_file);
  put_text(w, source, "hash", r->source_hash);
  json_object_set_new(root, "source", source);
  put_launch(w, root, r);
  put_arguments(w, root, r);
  for (int i = 0; i < r->parameter_count; i++) {
    json_t *node = json_object();
    put_text(w, node, "kind", parameter_names[r->parameters[i].kind]);
    put_integer(node, "index", r->parameters[i].index);
    json_array_append_new(parameters, node);
  }
  json_object_set_new(root, "parameters", parameters);
  for (int i = 0; i < r->constraint_count; i++) {
    json_t *node = json_object();
    json_object_set_new(node, "condition", expr_node(w, r->constraints[i].condition));
    put_text(w, node, "text", r->constraints[i].text);
    json_array_append_new(constraints, node);
  }
  json_object_set_new(root, "constraints", constraints);
  if (r->workspace_bytes) {
    json_t *workspace = json_object();
    json_object_set_new(workspace, "bytes", expr_node(w, r->workspace_bytes));
    json_object_set_new(workspace, "zero", json_boolean(r->workspace_zero));
    json_object_set_new(root, "workspace", workspace);
  }
  return root;
}

void record_to_json(const record *r, bool pretty, str *out) {
  arena *memory = arena_create();
  writer w = {memory, record_size_names(r, memory)};
  json_t *root = record_node(&w, r);
  char *text = json_dumps(root, JSON_ENSURE_ASCII | (pretty ? JSON_INDENT(2) : JSON_COMPACT));
  if (!text) BUG("the record of '%s' cannot be written as JSON", r->entry);
  str_append(out, text);
  if (pretty) str_append_char(out, '\n');
  free(text);
  json_decref(root);
  arena_destroy(memory);
}

/* -- Reading ------------------------------------------------------------------------------------------------------- */

typedef struct reader {
  arena *memory;
  size_names names;
  const char *error; /* the first; once set, every get_ answers with something harmless */
} reader;

static void fail(reader *rd, const char *key, const char *what) {
  if (!rd->error) rd->error = arena_printf(rd->memory, "'%s' %s", key, what);
}

static const char *get_text(reader *rd, const json_t *object, const char *key) {
  const char *text = json_string_value(json_object_get(object, key));
  if (!text) fail(rd, key, "is no text");
  return arena_strdup(rd->memory, text ? text : "");
}

static int64_t to_integer(reader *rd, const json_t *node, const char *key, int64_t least, int64_t most) {
  int64_t value = json_is_integer(node) ? json_integer_value(node) : least - 1;
  if (json_is_integer(node) && value >= least && value <= most) return value;
  fail(rd, key, "is no integer in range");
  return least;
}

static int64_t get_integer(reader *rd, const json_t *object, const char *key, int64_t least, int64_t most) {
  return to_integer(rd, json_object_get(object, key), key, least, most);
}

static int32_t get_i32(reader *rd, const json_t *object, const char *key) {
  return (int32_t)get_integer(rd, object, key, 0, INT32_MAX);
}

static bool get_bool(reader *rd, const json_t *object, const char *key) {
  const json_t *node = json_object_get(object, key);
  if (!json_is_boolean(node)) fail(rd, key, "is neither true nor false");
  return json_is_true(node);
}

/* Which of `choices` the text under `key` is. */
static int get_choice(reader *rd, const json_t *object, const char *key, const char *const *choices, int count) {
  const char *text = json_string_value(json_object_get(object, key));
  for (int i = 0; text && i < count; i++)
    if (strcmp(text, choices[i]) == 0) return i;
  fail(rd, key, "is none of the words known");
  return 0;
}

static const json_t *get_object(reader *rd, const json_t *object, const char *key) {
  const json_t *node = json_object_get(object, key);
  if (!json_is_object(node)) fail(rd, key, "is no object");
  return node;
}

/* A list of at most `most` entries; NULL and *count 0 when it is none. */
static const json_t *get_list(reader *rd, const json_t *object, const char *key, int most, int32_t *count) {
  const json_t *node = json_object_get(object, key);
  size_t length = json_array_size(node); /* 0 for what is no array */
  if (!json_is_array(node))
    fail(rd, key, "is no list");
  else if (length > (size_t)most)
    fail(rd, key, "is too long a list");
  *count = rd->error ? 0 : (int32_t)length;
  return node;
}

static const size_expr *to_expr(reader *rd, const json_t *node, const char *key) {
  const char *text = json_string_value(node), *why = "";
  const size_expr *e = text ? size_parse(rd->memory, text, rd->names, &why) : NULL;
  if (!text)
    fail(rd, key, "is no expression");
  else if (!e)
    fail(rd, key, arena_printf(rd->memory, "is '%.200s': %s", text, why));
  return e ? e : size_const(rd->memory, 0);
}

static const size_expr *get_expr(reader *rd, const json_t *object, const char *key) {
  return to_expr(rd, json_object_get(object, key), key);
}

/* Fills at most `most` entries and returns their number. */
static int32_t get_exprs(reader *rd, const json_t *object, const char *key, int most, const size_expr **out) {
  int32_t count = 0;
  const json_t *list = get_list(rd, object, key, most, &count);
  for (int32_t i = 0; i < count; i++)
    out[i] = to_expr(rd, json_array_get(list, (size_t)i), key);
  return count;
}

static int32_t get_integers(reader *rd, const json_t *object, const char *key, int most, int32_t *out) {
  int32_t count = 0;
  const json_t *list = get_list(rd, object, key, most, &count);
  for (int32_t i = 0; i < count; i++)
    out[i] = (int32_t)to_integer(rd, json_array_get(list, (size_t)i), key, 0, INT32_MAX);
  return count;
}

static const record_packing *read_packing(reader *rd, const json_t *node) {
  record_packing *p = ARENA_NEW(rd->memory, record_packing);
  p->block_rows = get_i32(rd, node, "block_rows");
  p->block_columns = get_i32(rd, node, "block_columns");
  p->code_bits = get_i32(rd, node, "code_bits");
  int32_t *columns = ARENA_ARRAY(rd->memory, int32_t, 32);
  p->column_count = get_integers(rd, node, "columns", 32, columns);
  p->columns = (const uint32_t *)columns;
  return p;
}

static void read_tensor(reader *rd, const json_t *node, record_tensor *t) {
  t->name = get_text(rd, node, "name");
  t->type = get_text(rd, node, "type");
  t->bits = get_i32(rd, node, "bits");
  t->access = (record_access)get_choice(rd, node, "access", access_names, 3);
  t->rank = get_exprs(rd, node, "extents", RECORD_RANK_MAX, t->extents);
  if (json_object_get(node, "strides") && get_exprs(rd, node, "strides", RECORD_RANK_MAX, t->strides) != t->rank)
    fail(rd, "strides", "has not the tensor's rank");
  t->alignment = get_i32(rd, node, "alignment");
  const json_t *packing = json_object_get(node, "packing");
  if (packing) t->packing = read_packing(rd, packing);
}

static void read_map(reader *rd, const json_t *node, record_map *m) {
  m->tensor = get_i32(rd, node, "tensor");
  m->type = get_text(rd, node, "type");
  m->rank = get_exprs(rd, node, "extents", RECORD_MAP_RANK_MAX, m->extents);
  if (get_exprs(rd, node, "strides", RECORD_MAP_RANK_MAX, m->strides) != m->rank - 1)
    fail(rd, "strides", "has not one entry less than the map's rank");
  if (get_integers(rd, node, "box", RECORD_MAP_RANK_MAX, m->box) != m->rank) fail(rd, "box", "has not the map's rank");
  if (get_integers(rd, node, "element_strides", RECORD_MAP_RANK_MAX, m->element_strides) != m->rank)
    fail(rd, "element_strides", "has not the map's rank");
  m->swizzle_bytes = get_i32(rd, node, "swizzle_bytes");
  m->promotion_bytes = get_i32(rd, node, "promotion_bytes");
}

static void read_launch(reader *rd, const json_t *root, record *r) {
  r->block_threads = get_i32(rd, root, "block_threads");
  if (get_integers(rd, root, "cluster", 3, r->cluster) != 3) fail(rd, "cluster", "has not three entries");
  r->min_blocks = get_i32(rd, root, "min_blocks");
  r->shared_bytes = get_integer(rd, root, "shared_bytes", 0, INT32_MAX);
  r->pdl = get_bool(rd, root, "pdl");
  r->persistent = get_bool(rd, root, "persistent");
  if (r->persistent)
    r->tiles = get_expr(rd, root, "tiles");
  else if (get_exprs(rd, root, "grid", 3, r->grid) != 3)
    fail(rd, "grid", "has not three entries");
}

/* The sizes come first: every expression is over them. */
static void read_sizes(reader *rd, const json_t *root, record *r) {
  const json_t *list = get_list(rd, root, "sizes", RECORD_LIST_MAX, &r->size_count);
  record_size *sizes = ARENA_ARRAY(rd->memory, record_size, r->size_count);
  for (int32_t i = 0; i < r->size_count; i++) {
    const json_t *node = json_array_get(list, (size_t)i);
    sizes[i].name = get_text(rd, node, "name");
    sizes[i].multiple_of = get_integer(rd, node, "multiple_of", 1, INT32_MAX);
  }
  r->sizes = sizes;
  rd->names = record_size_names(r, rd->memory);
}

static void read_arguments(reader *rd, const json_t *root, record *r) {
  const json_t *list = get_list(rd, root, "tensors", RECORD_LIST_MAX, &r->tensor_count);
  record_tensor *tensors = ARENA_ARRAY(rd->memory, record_tensor, r->tensor_count);
  for (int32_t i = 0; i < r->tensor_count; i++)
    read_tensor(rd, json_array_get(list, (size_t)i), &tensors[i]);
  r->tensors = tensors;

  list = get_list(rd, root, "scalars", RECORD_LIST_MAX, &r->scalar_count);
  record_scalar *scalars = ARENA_ARRAY(rd->memory, record_scalar, r->scalar_count);
  for (int32_t i = 0; i < r->scalar_count; i++) {
    scalars[i].name = get_text(rd, json_array_get(list, (size_t)i), "name");
    scalars[i].type = get_text(rd, json_array_get(list, (size_t)i), "type");
  }
  r->scalars = scalars;

  list = get_list(rd, root, "maps", RECORD_LIST_MAX, &r->map_count);
  record_map *maps = ARENA_ARRAY(rd->memory, record_map, r->map_count);
  for (int32_t i = 0; i < r->map_count; i++)
    read_map(rd, json_array_get(list, (size_t)i), &maps[i]);
  r->maps = maps;

  list = get_list(rd, root, "parameters", RECORD_LIST_MAX, &r->parameter_count);
  record_parameter *parameters = ARENA_ARRAY(rd->memory, record_parameter, r->parameter_count);
  for (int32_t i = 0; i < r->parameter_count; i++) {
    const json_t *node = json_array_get(list, (size_t)i);
    parameters[i].kind = (record_parameter_kind)get_choice(rd, node, "kind", parameter_names, 5);
    parameters[i].index = get_i32(rd, node, "index");
  }
  r->parameters = parameters;

  list = get_list(rd, root, "constraints", RECORD_LIST_MAX, &r->constraint_count);
  record_constraint *constraints = ARENA_ARRAY(rd->memory, record_constraint, r->constraint_count);
  for (int32_t i = 0; i < r->constraint_count; i++) {
    constraints[i].condition = get_expr(rd, json_array_get(list, (size_t)i), "condition");
    constraints[i].text = get_text(rd, json_array_get(list, (size_t)i), "text");
  }
  r->constraints = constraints;
}

static void read_record(reader *rd, const json_t *root, record *r) {
  const char *schema = get_text(rd, root, "schema");
  if (strcmp(schema, RECORD_SCHEMA) != 0) fail(rd, "schema", "is not " RECORD_SCHEMA);
  r->version = get_text(rd, root, "version");
  r->target = get_text(rd, root, "target");
  r->entry = get_text(rd, root, "entry");
  const json_t *source = get_object(rd, root, "source");
  r->source_file = get_text(rd, source, "file");
  r->source_hash = get_text(rd, source, "hash");
  read_sizes(rd, root, r);
  read_launch(rd, root, r);
  read_arguments(rd, root, r);
  const json_t *workspace = json_object_get(root, "workspace");
  if (workspace) {
    r->workspace_bytes = get_expr(rd, workspace, "bytes");
    r->workspace_zero = get_bool(rd, workspace, "zero");
  }
}

record *record_from_json(arena *a, const char *json, size_t length, const char **error) {
  if (length > RECORD_JSON_BYTES_MAX) {
    *error = "the record is larger than 16 MiB";
    return NULL;
  }
  json_error_t why;
  json_t *root = json_loadb(json, length, JSON_REJECT_DUPLICATES, &why);
  if (!root) {
    *error = arena_printf(a, "not JSON: line %d, column %d: %s", why.line, why.column, why.text);
    return NULL;
  }
  reader rd = {.memory = a};
  record *r = ARENA_NEW(a, record);
  if (!json_is_object(root))
    fail(&rd, "record", "is no object");
  else
    read_record(&rd, root, r);
  json_decref(root);
  if (!rd.error && record_verify(r, a, &rd.error)) return r;
  *error = rd.error;
  return NULL;
}
