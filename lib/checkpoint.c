/* Opening checkpoints and answering what is in them. */
#include "lib/checkpoint.h"

#include "lib/format.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SETTING_DEPTH_MAX = 8, CONFIG_BYTES_MAX = 1 << 24 };

/* -- Tensors and settings ------------------------------------------------------------------------------------------ */

bool checkpoint_elements(int rank, const int64_t *shape, uint64_t *elements) {
  *elements = 1;
  bool empty = false;
  for (int d = 0; d < rank; d++)
    empty |= shape[d] == 0;
  for (int d = 0; d < rank && !empty; d++)
    if (__builtin_mul_overflow(*elements, (uint64_t)shape[d], elements)) return false;
  if (empty) *elements = 0;
  return *elements <= INT64_MAX;
}

void checkpoint_add_tensor(bitblas_checkpoint *c, const bitblas_checkpoint_tensor *tensor) {
  ARENA_PUSH(c->memory, c->tensors, c->count, c->capacity, *tensor);
}

static int by_place(const void *a, const void *b) {
  const bitblas_checkpoint_tensor *x = *(const bitblas_checkpoint_tensor *const *)a;
  const bitblas_checkpoint_tensor *y = *(const bitblas_checkpoint_tensor *const *)b;
  if (x->data != y->data) return (uintptr_t)x->data < (uintptr_t)y->data ? -1 : 1;
  return (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

bitblas_status checkpoint_check_places(const bitblas_checkpoint *c, int32_t first, const char *name,
                                       const unsigned char *data, size_t size, bool dense) {
  size_t count = (size_t)(c->count - first);
  const bitblas_checkpoint_tensor **sorted = malloc((count + 1) * sizeof *sorted);
  if (!sorted) return lib_fail(BITBLAS_ERROR_FILE, "%s: no memory to check %zu tensors", name, count);
  for (size_t i = 0; i < count; i++)
    sorted[i] = &c->tensors[first + (int32_t)i];
  qsort(sorted, count, sizeof *sorted, by_place);
  const unsigned char *end = data;
  const char *before = "the header";
  bitblas_status status = BITBLAS_OK;
  for (size_t i = 0; i < count && status == BITBLAS_OK; i++) {
    const unsigned char *begin = sorted[i]->data;
    if (begin < end)
      status = lib_fail(BITBLAS_ERROR_FILE, "%s: %s begins at byte %td of the data, and %s ends at %td", name,
                        sorted[i]->name, begin - data, before, end - data);
    else if (dense && begin > end)
      status = lib_fail(BITBLAS_ERROR_FILE, "%s: bytes %td to %td of the data, before %s, belong to no tensor", name,
                        end - data, begin - data, sorted[i]->name);
    end = begin + sorted[i]->bytes;
    before = sorted[i]->name;
  }
  if (status == BITBLAS_OK && dense && end != data + size)
    status = lib_fail(BITBLAS_ERROR_FILE, "%s: its tensors end at byte %td of the data, which has %zu", name,
                      end - data, size);
  free(sorted);
  return status;
}

static int by_key(const void *a, const void *b) {
  const checkpoint_setting *x = a, *y = b;
  int keys = strcmp(x->key, y->key);
  return keys ? keys : x->order - y->order;
}

const char *checkpoint_setting_of(const bitblas_checkpoint *c, const char *key) {
  int low = 0, high = c->setting_count; /* the first whose key is not less lies in [low, high] */
  while (low < high) {
    int middle = low + (high - low) / 2;
    if (strcmp(c->settings[middle].key, key) < 0)
      low = middle + 1;
    else
      high = middle;
  }
  return low < c->setting_count && strcmp(c->settings[low].key, key) == 0 ? c->settings[low].value : NULL;
}

void checkpoint_add_setting(bitblas_checkpoint *c, const char *key, const char *value) {
  checkpoint_setting setting = {arena_strdup(c->memory, key), arena_strdup(c->memory, value), c->setting_count};
  ARENA_PUSH(c->memory, c->settings, c->setting_count, c->setting_capacity, setting);
}

static void add_settings(bitblas_checkpoint *c, const char *name, const json_t *value, int depth) {
  if (json_is_string(value)) {
    checkpoint_add_setting(c, name, json_string_value(value));
  } else if (json_is_integer(value)) {
    checkpoint_add_setting(c, name, arena_printf(c->memory, "%" JSON_INTEGER_FORMAT, json_integer_value(value)));
  } else if (json_is_boolean(value)) {
    checkpoint_add_setting(c, name, json_is_true(value) ? "true" : "false");
  } else if (depth < SETTING_DEPTH_MAX) {
    const char *dot = *name ? "." : "", *key;
    size_t index;
    json_t *inner;
    json_object_foreach((json_t *)value, key, inner)
        add_settings(c, arena_printf(c->memory, "%s%s%s", name, dot, key), inner, depth + 1);
    json_array_foreach(value, index, inner)
        add_settings(c, arena_printf(c->memory, "%s%s%zu", name, dot, index), inner, depth + 1);
  }
}

void checkpoint_add_settings(bitblas_checkpoint *c, const void *object) { add_settings(c, "", object, 0); }

static int by_name(const void *a, const void *b) {
  return strcmp(((const bitblas_checkpoint_tensor *)a)->name, ((const bitblas_checkpoint_tensor *)b)->name);
}

const bitblas_checkpoint_tensor *checkpoint_find(const bitblas_checkpoint *c, const char *name) {
  bitblas_checkpoint_tensor key = {.name = name};
  return c->count ? bsearch(&key, c->tensors, (size_t)c->count, sizeof *c->tensors, by_name) : NULL;
}

/* When every file was read: order, duplicates, layers. */
static bitblas_status finish(bitblas_checkpoint *c, const char *name) {
  if (c->setting_count) qsort(c->settings, (size_t)c->setting_count, sizeof *c->settings, by_key);
  if (c->count) qsort(c->tensors, (size_t)c->count, sizeof *c->tensors, by_name);
  for (int32_t i = 1; i < c->count; i++) {
    if (strcmp(c->tensors[i - 1].name, c->tensors[i].name) == 0)
      return lib_fail(BITBLAS_ERROR_FILE, "%s: there are two tensors %s", name, c->tensors[i].name);
  }
  format_find_layers(c);
  return BITBLAS_OK;
}

/* -- Files --------------------------------------------------------------------------------------------------------- */

static bitblas_status parse(bitblas_checkpoint *c, const char *name, const void *bytes, size_t size) {
  return size >= 4 && memcmp(bytes, "GGUF", 4) == 0 ? gguf_parse(c, name, bytes, size)
                                                    : safetensors_parse(c, name, bytes, size);
}

static bitblas_checkpoint *make(void) {
  arena *memory = arena_create();
  bitblas_checkpoint *c = ARENA_NEW(memory, bitblas_checkpoint);
  c->memory = memory;
  return c;
}

bitblas_status checkpoint_parse(const char *name, const void *bytes, size_t size, bitblas_checkpoint **out) {
  bitblas_checkpoint *c = make();
  bitblas_status status = parse(c, name, bytes, size);
  if (status == BITBLAS_OK) status = finish(c, name);
  if (status != BITBLAS_OK) {
    bitblas_checkpoint_close(c);
    c = NULL;
  }
  *out = c;
  return status;
}

static bitblas_status map_file(bitblas_checkpoint *c, const char *path, checkpoint_mapping *out) {
  int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO is refused, not waited for */
  struct stat info;
  if (file < 0) return lib_fail(BITBLAS_ERROR_FILE, "%s: %s", path, strerror(errno));
  if (fstat(file, &info) != 0 || !S_ISREG(info.st_mode) || info.st_size == 0) {
    close(file);
    return lib_fail(BITBLAS_ERROR_FILE, "%s: it is empty, or no file that can be mapped", path);
  }
  out->size = (size_t)info.st_size;
  out->address = mmap(NULL, out->size, PROT_READ, MAP_PRIVATE, file, 0);
  int reason = errno;
  close(file);
  if (out->address == MAP_FAILED) return lib_fail(BITBLAS_ERROR_FILE, "%s: %s", path, strerror(reason));
  ARENA_PUSH(c->memory, c->mappings, c->mapping_count, c->mapping_capacity, *out);
  return BITBLAS_OK;
}

static bitblas_status add_file(bitblas_checkpoint *c, const char *path) {
  checkpoint_mapping mapping;
  bitblas_status status = map_file(c, path, &mapping);
  return status == BITBLAS_OK ? parse(c, path, mapping.address, mapping.size) : status;
}

void checkpoint_forget(const bitblas_checkpoint *c) {
  for (int i = 0; i < c->mapping_count; i++)
    madvise(c->mappings[i].address, c->mappings[i].size, MADV_DONTNEED);
}

static const char *beside(bitblas_checkpoint *c, const char *path, const char *name) {
  const char *slash = strrchr(path, '/');
  return arena_printf(c->memory, "%.*s%s", slash ? (int)(slash - path + 1) : 0, path, name);
}

/* The quantisation's configuration, which Transformers keeps in config.json and AutoGPTQ in quantize_config.json. One that
 * cannot be read says nothing: the tensors may need none. */
static void read_configuration(bitblas_checkpoint *c, const char *path) {
  static const char *const files[] = {"config.json", "quantize_config.json"};
  for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
    const char *name = beside(c, path, files[i]);
    struct stat info;
    if (stat(name, &info) != 0 || !S_ISREG(info.st_mode) || info.st_size > CONFIG_BYTES_MAX) continue;
    json_t *config = json_load_file(name, 0, NULL);
    const json_t *inner = json_object_get(config, "quantization_config");
    if (inner || i == 1) checkpoint_add_settings(c, inner ? inner : config);
    json_decref(config);
  }
}

/* An index names the file of each tensor: {"weight_map": {"name": "model-00001-of-00002.safetensors"}}. Files are read
 * once each, in the order of their names. */
static int by_text(const void *a, const void *b) { return strcmp(*(const char *const *)a, *(const char *const *)b); }

static bitblas_status add_shards(bitblas_checkpoint *c, const char *path, const json_t *map) {
  size_t count = 0;
  const char **names = ARENA_ARRAY(c->memory, const char *, json_object_size(map));
  const char *tensor;
  json_t *value;
  json_object_foreach((json_t *)map, tensor, value) {
    const char *name = json_string_value(value);
    if (!name || !*name || strchr(name, '/'))
      return lib_fail(BITBLAS_ERROR_FILE, "%s: the file of %.200s is '%.200s' and should lie beside the index", path,
                      tensor, name ? name : "");
    names[count++] = name;
  }
  qsort(names, count, sizeof *names, by_text);
  for (size_t i = 0; i < count; i++) {
    if (i && strcmp(names[i - 1], names[i]) == 0) continue;
    bitblas_status status = add_file(c, beside(c, path, names[i]));
    if (status != BITBLAS_OK) return status;
  }
  return BITBLAS_OK;
}

static bitblas_status add_index(bitblas_checkpoint *c, const char *path) {
  checkpoint_mapping mapping;
  bitblas_status status = map_file(c, path, &mapping);
  if (status != BITBLAS_OK) return status;
  json_error_t error;
  json_t *index = json_loadb(mapping.address, mapping.size, JSON_REJECT_DUPLICATES, &error);
  if (!index) return lib_fail(BITBLAS_ERROR_FILE, "%s:%d: %s", path, error.line, error.text);
  const json_t *map = json_object_get(index, "weight_map");
  status =
      json_is_object(map) ? add_shards(c, path, map) : lib_fail(BITBLAS_ERROR_FILE, "%s: it has no weight_map", path);
  json_decref(index);
  return status;
}

/* -- The interface ------------------------------------------------------------------------------------------------- */

bitblas_status bitblas_checkpoint_open(const char *path, bitblas_checkpoint **checkpoint) {
  if (checkpoint) *checkpoint = NULL;
  if (!path || !checkpoint) return lib_fail(BITBLAS_ERROR_ARGUMENT, "%s is null", path ? "checkpoint" : "path");
  bitblas_checkpoint *c = make();
  size_t length = strlen(path);
  bool index = length > 5 && strcmp(path + length - 5, ".json") == 0;
  bitblas_status status = index ? add_index(c, path) : add_file(c, path);
  if (status == BITBLAS_OK) {
    read_configuration(c, path);
    status = finish(c, path);
  }
  if (status != BITBLAS_OK) {
    bitblas_checkpoint_close(c);
    return status;
  }
  *checkpoint = c;
  return BITBLAS_OK;
}

void bitblas_checkpoint_close(bitblas_checkpoint *checkpoint) {
  if (!checkpoint) return;
  for (int i = 0; i < checkpoint->mapping_count; i++)
    munmap(checkpoint->mappings[i].address, checkpoint->mappings[i].size);
  arena_destroy(checkpoint->memory);
}

int32_t bitblas_checkpoint_tensor_count(const bitblas_checkpoint *checkpoint) {
  return checkpoint ? checkpoint->count : 0;
}

static bitblas_status give(const bitblas_checkpoint_tensor *tensor, bitblas_checkpoint_tensor *info) {
  bitblas_checkpoint_tensor ours;
  bitblas_status status = lib_take_config("info", info, &ours, sizeof ours, sizeof ours);
  if (status != BITBLAS_OK) return status;
  *info = *tensor;
  info->size = ours.size;
  return BITBLAS_OK;
}

bitblas_status bitblas_checkpoint_tensor_info(const bitblas_checkpoint *checkpoint, int32_t index,
                                              bitblas_checkpoint_tensor *info) {
  if (!checkpoint) return lib_fail(BITBLAS_ERROR_ARGUMENT, "checkpoint is null");
  if (index < 0 || index >= checkpoint->count)
    return lib_fail(BITBLAS_ERROR_ARGUMENT, "index is %" PRId32 " and the checkpoint has %" PRId32 " tensors", index,
                    checkpoint->count);
  return give(&checkpoint->tensors[index], info);
}

bitblas_status bitblas_checkpoint_find(const bitblas_checkpoint *checkpoint, const char *name,
                                       bitblas_checkpoint_tensor *info) {
  if (!checkpoint || !name) return lib_fail(BITBLAS_ERROR_ARGUMENT, "%s is null", checkpoint ? "name" : "checkpoint");
  const bitblas_checkpoint_tensor *tensor = checkpoint_find(checkpoint, name);
  if (!tensor) return lib_fail(BITBLAS_ERROR_ARGUMENT, "the checkpoint has no tensor %s", name);
  return give(tensor, info);
}

const char *bitblas_checkpoint_layer(const bitblas_checkpoint *checkpoint, int32_t index) {
  return checkpoint && index >= 0 && index < checkpoint->layer_count ? checkpoint->layers[index].prefix : NULL;
}
