/* Uses the header made for the sample kernel as an application would, with a driver that only takes notes. Includes
 * nothing of ours. */
#include <stdio.h>
#include <stdlib.h>

#define CHECK(condition)                                                                                               \
  do {                                                                                                                 \
    if (!(condition)) {                                                                                                \
      printf("line %d: %s\n", __LINE__, #condition);                                                                   \
      exit(1);                                                                                                         \
    }                                                                                                                  \
  } while (0)

static bitblasc_launch_config launched;
static uint32_t cluster_x;
static int launches, maps_made, pdl;

static int load_data(void **module, const void *image) {
  *module = (void *)image;
  return 0;
}
static int unload(void *module) { return module == NULL; }
static int get_function(void **function, void *module, const char *name) {
  *function = module;
  return strcmp(name, "sample") != 0;
}
static int set_attribute(void *function, int attribute, int value) {
  return function == NULL || attribute != 8 || value != 65536;
}
static int get_device(int *device) {
  *device = 3;
  return 0;
}
static int get_attribute(int *value, int attribute, int device) {
  *value = 132;
  return attribute != 16 || device != 3;
}
static int occupancy_blocks(int *blocks, void *function, int threads, size_t shared) {
  *blocks = 1;
  return function == NULL || threads != 384 || shared != 65536;
}
static int occupancy_clusters(int *clusters, void *function, const bitblasc_launch_config *config) {
  *clusters = 60;
  return function == NULL || config->attributes[0].id != 4;
}
static int launch_kernel(const bitblasc_launch_config *config, void *function, void **parameters, void **extra) {
  uint64_t weights, out, workspace;
  float alpha;
  int32_t m, n;
  CHECK(function != NULL && extra == NULL && ((uintptr_t)parameters[0] & 63) == 0);
  CHECK(*(unsigned char *)parameters[0] == 0x77);
  memcpy(&weights, parameters[1], 8);
  memcpy(&out, parameters[2], 8);
  memcpy(&alpha, parameters[3], 4);
  memcpy(&m, parameters[4], 4);
  memcpy(&n, parameters[5], 4);
  memcpy(&workspace, parameters[6], 8);
  CHECK(weights == 0x2000 && out == 0x3000 && workspace == 0x4000 && alpha == 0.5f && n == 128);
  CHECK(config->attribute_count == 2);
  cluster_x = config->attributes[0].value[0];
  pdl = config->attributes[1].id == 6 && config->attributes[1].value[0] == 1;
  launched = *config;
  launches++;
  return m == 999 ? 700 : 0;
}
static int encode(void *map, int type, uint32_t rank, void *address, const uint64_t *extents, const uint64_t *strides,
                  const uint32_t *box, const uint32_t *element_strides, int interleave, int swizzle, int promotion,
                  int fill) {
  CHECK(type == 6 && rank == 2 && (uintptr_t)address == 0x1000 && extents[0] == 256 && strides[0] == 512);
  CHECK(box[0] == 64 && box[1] == 128 && element_strides[0] == 1 && element_strides[1] == 1);
  CHECK(interleave == 0 && swizzle == 3 && promotion == 3 && fill == 0);
  memset(map, 0x77, 128);
  maps_made++;
  return 0;
}

static void *lookup_nothing(void *library, const char *symbol) {
  (void)symbol;
  return library;
}

int main(void) {
  bitblasc_driver driver = {load_data,     unload,           get_function,       set_attribute, get_device,
                            get_attribute, occupancy_blocks, occupancy_clusters, launch_kernel, encode};
  bitblasc_driver none;
  sample_kernel kernel;
  sample_arguments a;
  CHECK(bitblasc_driver_resolve(&none, lookup_nothing, NULL) == -1);
  CHECK(sample_cubin_bytes == 5 && sample_cubin[4] == 255);
  CHECK(sample_load(&kernel, &driver, sample_cubin) == 0);
  CHECK(kernel.resident_blocks == 120);
  memset(&a, 0, sizeof a);
  a.A = (const void *)(uintptr_t)0x1000;
  a.W = (const void *)(uintptr_t)0x2000;
  a.D = (void *)(uintptr_t)0x3000;
  a.alpha = 0.5f;
  a.M = 300;
  a.N = 128;
  CHECK(sample_workspace_bytes(&a) == 12);
  CHECK(sample_launch(&kernel, &a, NULL) < 0);
  CHECK(strstr(sample_message(sample_launch(&kernel, &a, NULL)), "workspace") != NULL);
  a.workspace = (void *)(uintptr_t)0x4000;
  a.workspace_bytes = 1 << 20;
  CHECK(sample_launch(&kernel, &a, (void *)&a) == 0);
  CHECK(launches == 1 && maps_made == 1 && launched.grid[0] == 6 && launched.grid[1] == 1 && launched.grid[2] == 1);
  CHECK(launched.block[0] == 384 && launched.shared_bytes == 65536 && launched.stream == (void *)&a && cluster_x == 2 &&
        pdl);
  a.M = 1000000;
  CHECK(sample_launch(&kernel, &a, NULL) == 0 && launched.grid[0] == 120);
  a.M = 129;
  CHECK(sample_launch(&kernel, &a, NULL) == 0 && launched.grid[0] == 4);
  a.M = 999;
  CHECK(sample_launch(&kernel, &a, NULL) == 700);
  launches = 0;
  a.M = 0;
  CHECK(sample_launch(&kernel, &a, NULL) == 0 && launches == 0);
  a.M = 2147483647;
  CHECK(sample_launch(&kernel, &a, NULL) < 0);
  a.M = -1;
  CHECK(strstr(sample_message(sample_launch(&kernel, &a, NULL)), "M is less than 0") != NULL);
  a.M = 1;
  a.N = 12;
  CHECK(strstr(sample_message(sample_launch(&kernel, &a, NULL)), "N is less than 0 or no multiple of 8") != NULL);
  a.N = 8192;
  CHECK(strcmp(sample_message(sample_launch(&kernel, &a, NULL)), "needs N <= 4096") == 0);
  a.N = 128;
  a.W = (const void *)(uintptr_t)0x2010;
  CHECK(strcmp(sample_message(sample_launch(&kernel, &a, NULL)), "W is not aligned to 128 bytes") == 0);
  a.W = NULL;
  CHECK(strcmp(sample_message(sample_launch(&kernel, &a, NULL)), "W is null") == 0);
  CHECK(launches == 0);
  CHECK(bitblasc_floordiv(-7, 2) == -4 && bitblasc_ceildiv(-7, 2) == -3 && bitblasc_mod(-7, 2) == 1);
  CHECK(bitblasc_mul(INT64_MAX, 2) == INT64_MAX && bitblasc_mul(INT64_MIN, -1) == INT64_MAX &&
        bitblasc_mul(INT64_MAX, -2) == INT64_MIN);
  CHECK(bitblasc_mul(-3, 4) == -12 && bitblasc_mul(-3, -4) == 12 && bitblasc_mul(0, INT64_MIN) == 0 &&
        bitblasc_mul(INT64_MIN, 0) == 0);
  CHECK(bitblasc_add(INT64_MAX, 1) == INT64_MAX && bitblasc_sub(INT64_MIN, 1) == INT64_MIN &&
        bitblasc_floordiv(INT64_MIN, -1) == INT64_MAX);
  sample_unload(&kernel);
  return 0;
}
