/* A checkpoint from inside the library: mapped files, their tensors sorted by name, and what was said about them.
 *
 * Every size and place that a file states is checked before it is believed: a file is a stranger's. */
#ifndef BITBLASC_LIB_CHECKPOINT_H
#define BITBLASC_LIB_CHECKPOINT_H

#include "lib/status.h"
#include "support/arena.h"

typedef struct checkpoint_setting {
  const char *key; /* of __metadata__, or "a.b.c" of the quantisation's configuration */
  const char *value;
  int order; /* in which they were added */
} checkpoint_setting;

typedef struct checkpoint_mapping {
  void *address;
  size_t size;
} checkpoint_mapping;

typedef struct checkpoint_layer {
  const char *prefix;
  int format; /* row of lib/formats.def */
} checkpoint_layer;

struct bitblas_checkpoint {
  arena *memory;
  checkpoint_mapping *mappings;
  int mapping_count, mapping_capacity;
  bitblas_checkpoint_tensor *tensors;
  int32_t count, capacity;
  checkpoint_setting *settings; /* sorted once all are there; of those with one key the first counts */
  int setting_count, setting_capacity;
  checkpoint_layer *layers;
  int layer_count, layer_capacity;
};

/* A file in memory as a checkpoint of its own; `bytes` must outlive it. `name` stands in messages.
 * BITBLAS_ERROR_FILE. */
bitblas_status checkpoint_parse(const char *name, const void *bytes, size_t size, bitblas_checkpoint **out);
const bitblas_checkpoint_tensor *checkpoint_find(const bitblas_checkpoint *c, const char *name); /* NULL: none */
/* Gives the memory of what was read of the files back to the system; it is read again when it is needed. */
void checkpoint_forget(const bitblas_checkpoint *c);
const char *checkpoint_setting_of(const bitblas_checkpoint *c, const char *key); /* NULL: none */
void checkpoint_add_setting(bitblas_checkpoint *c, const char *key, const char *value);
/* The strings, whole numbers and booleans of a JSON value (a json_t) as settings: "key", "key.member", "key.0". */
void checkpoint_add_settings(bitblas_checkpoint *c, const void *value);
void checkpoint_add_tensor(bitblas_checkpoint *c, const bitblas_checkpoint_tensor *tensor);

/* Elements of a shape and bytes of them; false on overflow. */
bool checkpoint_elements(int rank, const int64_t *shape, uint64_t *elements);
/* Tensors [first, count) lie in [0, size) of `data`, none over another; with `dense`, without a gap. */
bitblas_status checkpoint_check_places(const bitblas_checkpoint *c, int32_t first, const char *name,
                                       const unsigned char *data, size_t size, bool dense);

/* The two containers (safetensors.c, gguf.c): add their tensors and settings. BITBLAS_ERROR_FILE. */
bitblas_status safetensors_parse(bitblas_checkpoint *c, const char *name, const unsigned char *bytes, size_t size);
bitblas_status gguf_parse(bitblas_checkpoint *c, const char *name, const unsigned char *bytes, size_t size);

/* Little-end numbers at any address. */
static inline uint32_t load_u16(const unsigned char *p) { return (uint32_t)(p[0] | p[1] << 8); }
static inline uint32_t load_u32(const unsigned char *p) { return load_u16(p) | load_u16(p + 2) << 16; }
static inline uint64_t load_u64(const unsigned char *p) { return load_u32(p) | (uint64_t)load_u32(p + 4) << 32; }

#endif
