/* The table of formats: finding the one of some tensors, and reading them with it. */
#include "lib/format.h"

#include <string.h>

typedef struct format_row {
  const char *name;
  const char *key;
  bool (*detect)(const format_reader *r);
  bitblas_status (*read)(format_reader *r);
} format_row;

static const format_row rows[] = {
#define FORMAT(id, name, key, detect, read, source) {name, key, detect, read},
#include "lib/formats.def"
#undef FORMAT
};
enum { ROW_COUNT = sizeof rows / sizeof *rows, NONE = -1 };

bool format_never(const format_reader *r) {
  (void)r;
  return false;
}

const char *bitblas_format_name(int32_t index) { return index >= 0 && index < ROW_COUNT ? rows[index].name : NULL; }

static int detect(const format_reader *r) {
  for (int i = 0; i < ROW_COUNT; i++) {
    if (rows[i].detect(r)) return i;
  }
  return NONE;
}

/* -- Layers -------------------------------------------------------------------------------------------------------- */

/* Whether the name is prefix + key; *length is then the prefix's. */
static bool ends_with(const char *name, const char *key, size_t *length) {
  size_t all = strlen(name), tail = strlen(key);
  if (all == tail - 1 && key[0] == '.' && strcmp(name, key + 1) == 0) {
    *length = 0;
    return true;
  }
  if (all <= tail || strcmp(name + all - tail, key) != 0) return false;
  *length = all - tail;
  return true;
}

/* A prefix counts at the key tensor of the format that it is found to have, so once. Rows with one key share the
 * answer. */
static void look_at(bitblas_checkpoint *c, const char *name) {
  const char *key = "";
  format_reader r = {.checkpoint = c};
  int found = NONE;
  for (int i = 0; i < ROW_COUNT; i++) {
    size_t length;
    if (!ends_with(name, rows[i].key, &length)) continue;
    if (strcmp(key, rows[i].key) != 0) {
      key = rows[i].key;
      r.prefix = arena_strndup(c->memory, name, length);
      found = detect(&r);
    }
    if (found != i || rows[i].read == plain_read) continue;
    checkpoint_layer layer = {r.prefix, i};
    ARENA_PUSH(c->memory, c->layers, c->layer_count, c->layer_capacity, layer);
  }
}

void format_find_layers(bitblas_checkpoint *c) {
  for (int32_t i = 0; i < c->count; i++)
    look_at(c, c->tensors[i].name);
}

int64_t format_experts(const bitblas_checkpoint *c, int layer) {
  const format_row *row = &rows[c->layers[layer].format];
  format_reader r = {.checkpoint = c, .prefix = c->layers[layer].prefix};
  const bitblas_checkpoint_tensor *key = format_find(&r, row->key);
  int inner = row->read == mxfp4_read ? 3 : 2; /* blocks of a row are a dimension of their own */
  return key && key->rank == inner + 1 ? key->shape[0] : 1;
}

/* -- Reading ------------------------------------------------------------------------------------------------------- */

/* Says what lies at the prefix, since the caller expected a weight there. */
static bitblas_status fail_unknown(const format_reader *r) {
  str found = STR_EMPTY;
  size_t length = strlen(r->prefix);
  int shown = 0;
  for (int32_t i = 0; i < r->checkpoint->count && shown < 8; i++) {
    const bitblas_checkpoint_tensor *t = &r->checkpoint->tensors[i];
    if (strncmp(t->name, r->prefix, length) != 0) continue;
    str_printf(&found, "%s %s (%s)", shown++ ? "," : "", t->name, t->encoding);
  }
  bitblas_status status =
      shown ? lib_fail(BITBLAS_ERROR_UNSUPPORTED, "%s: its tensors are of no format that is known:%s", r->prefix,
                       str_text(&found))
            : lib_fail(BITBLAS_ERROR_ARGUMENT, "the checkpoint has no tensor that begins with '%s'", r->prefix);
  str_free(&found);
  return status;
}

static bitblas_status choose(const format_reader *r, int *row) {
  *row = NONE;
  if (!r->config.format) {
    *row = detect(r);
    return *row == NONE ? fail_unknown(r) : BITBLAS_OK;
  }
  for (int i = 0; i < ROW_COUNT; i++) {
    if (strcmp(rows[i].name, r->config.format) == 0) *row = i;
  }
  if (*row != NONE) return BITBLAS_OK;
  str known = STR_EMPTY;
  for (int i = 0; i < ROW_COUNT; i++)
    str_printf(&known, "%s%s", i ? ", " : "", rows[i].name);
  bitblas_status status =
      lib_fail(BITBLAS_ERROR_ARGUMENT, "there is no format '%.100s'; there are %s", r->config.format, str_text(&known));
  str_free(&known);
  return status;
}

static bitblas_status check_config(const bitblas_weight_config *config) {
  if (config->bits < 0 || config->bits > 8)
    return lib_fail(BITBLAS_ERROR_ARGUMENT, "config: bits is %d and should be 1 to 8, or 0", config->bits);
  if (config->group_size < 0)
    return lib_fail(BITBLAS_ERROR_ARGUMENT, "config: group_size is %lld and should be positive, or 0",
                    (long long)config->group_size);
  int32_t a = config->activation_bits;
  if (a != 0 && a != 1 && a != 8 && a != 16)
    return lib_fail(BITBLAS_ERROR_ARGUMENT, "config: activation_bits is %d and should be 0, 1, 8 or 16", a);
  return BITBLAS_OK;
}

bitblas_status format_read(const bitblas_checkpoint *c, const char *prefix, const bitblas_weight_config *config,
                           bool *used, bitblas_weight **weight) {
  format_reader r = {.checkpoint = c, .prefix = prefix, .used = used};
  r.config = (bitblas_weight_config)BITBLAS_WEIGHT_CONFIG_INIT;
  int row;
  bitblas_status status = BITBLAS_OK;
  if (config) status = lib_take_config("config", config, &r.config, sizeof r.config, sizeof r.config);
  if (status == BITBLAS_OK) status = check_config(&r.config);
  if (status == BITBLAS_OK) {
    r.used = NULL; /* looking is not using */
    status = choose(&r, &row);
  }
  if (status != BITBLAS_OK) return status;
  r.used = used;
  r.format = rows[row].name;
  r.weight = weight_create();
  r.weight->info.format = rows[row].name;
  status = rows[row].read(&r);
  if (status != BITBLAS_OK) {
    bitblas_weight_destroy(r.weight);
    return status;
  }
  weight_seal(r.weight);
  *weight = r.weight;
  return BITBLAS_OK;
}

bitblas_status bitblas_weight_read(const bitblas_checkpoint *checkpoint, const char *prefix,
                                   const bitblas_weight_config *config, bitblas_weight **weight) {
  if (weight) *weight = NULL;
  if (!checkpoint || !prefix || !weight)
    return lib_fail(BITBLAS_ERROR_ARGUMENT, "%s is null", !checkpoint ? "checkpoint" : !prefix ? "prefix" : "weight");
  return format_read(checkpoint, prefix, config, NULL, weight);
}
