/* A fuzz target as a test: calls it with every file named, and with every file of every folder named. */
#include "tests/fuzz/targets/fuzz.h"

#include <dirent.h>

static int run_file(const char *path) {
  FILE *file = fopen(path, "rb");
  if (!file) {
    perror(path);
    return 1;
  }
  size_t size = 0, capacity = 1 << 16;
  uint8_t *data = malloc(capacity);
  for (size_t got; data && (got = fread(data + size, 1, capacity - size, file)) > 0;) {
    size += got;
    if (size == capacity) data = realloc(data, capacity *= 2);
  }
  fclose(file);
  if (!data) return 1;
  uint8_t *exact = malloc(size ? size : 1); /* so that a reader past the end is noticed */
  memcpy(exact, data, size);
  free(data);
  LLVMFuzzerTestOneInput(exact, size);
  free(exact);
  return 0;
}

int main(int argc, char **argv) {
  int failed = 0, files = 0;
  for (int i = 1; i < argc; i++) {
    DIR *folder = opendir(argv[i]);
    if (!folder) {
      failed |= run_file(argv[i]);
      files++;
      continue;
    }
    for (const struct dirent *entry; (entry = readdir(folder)) != NULL;) {
      char path[4096];
      if (entry->d_name[0] == '.') continue;
      snprintf(path, sizeof path, "%s/%s", argv[i], entry->d_name);
      failed |= run_file(path);
      files++;
    }
    closedir(folder);
  }
  printf("%d files\n", files);
  return failed || files == 0;
}
