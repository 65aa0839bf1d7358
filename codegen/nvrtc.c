#include "codegen/nvrtc.h"

#include "support/str.h"

#include <dirent.h>
#include <dlfcn.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* -- The library's functions --------------------------------------------------------------------------------------- */

typedef struct program_object *program;

/* NVRTC_API(member, symbol, needed, arguments): all return nvrtcResult, an int; source: NVRTC documentation, "User
 * interface". */
#define NVRTC_FUNCTIONS                                                                                                \
  NVRTC_API(version, "nvrtcVersion", 1, (int *major, int *minor))                                                      \
  NVRTC_API(create_program, "nvrtcCreateProgram", 1,                                                                   \
            (program * p, const char *source, const char *name, int headers, const char *const *texts,                 \
             const char *const *names))                                                                                \
  NVRTC_API(destroy_program, "nvrtcDestroyProgram", 1, (program * p))                                                  \
  NVRTC_API(compile_program, "nvrtcCompileProgram", 1, (program p, int count, const char *const *options))             \
  NVRTC_API(ptx_size, "nvrtcGetPTXSize", 1, (program p, size_t * size))                                                \
  NVRTC_API(ptx, "nvrtcGetPTX", 1, (program p, char *text))                                                            \
  NVRTC_API(cubin_size, "nvrtcGetCUBINSize", 1, (program p, size_t * size))                                            \
  NVRTC_API(cubin, "nvrtcGetCUBIN", 1, (program p, char *bytes))                                                       \
  NVRTC_API(log_size, "nvrtcGetProgramLogSize", 1, (program p, size_t * size))                                         \
  NVRTC_API(log, "nvrtcGetProgramLog", 1, (program p, char *text))                                                     \
  NVRTC_API(arch_count, "nvrtcGetNumSupportedArchs", 0, (int *count))                                                  \
  NVRTC_API(archs, "nvrtcGetSupportedArchs", 0, (int *archs))

typedef struct functions {
#define NVRTC_API(member, symbol, needed, arguments) int(*member) arguments;
  NVRTC_FUNCTIONS
#undef NVRTC_API
  const char *(*error_string)(int result);
} functions;

struct nvrtc {
  functions call;
  int major, minor;
  char *path;
};

/* A function of the library. Object and function pointers are of one size wherever dlsym is: POSIX. */
static bool resolve(void *library, const char *symbol, void *function) {
  void *address = dlsym(library, symbol);
  memcpy(function, &address, sizeof address);
  return address != NULL;
}

/* The name of the first function that is missing, or NULL. */
static const char *resolve_all(void *library, functions *call) {
#define NVRTC_API(member, symbol, needed, arguments)                                                                   \
  if (!resolve(library, symbol, &call->member) && needed) return symbol;
  NVRTC_FUNCTIONS
#undef NVRTC_API
  return resolve(library, "nvrtcGetErrorString", &call->error_string) ? NULL : "nvrtcGetErrorString";
}

/* -- Finding it ---------------------------------------------------------------------------------------------------- */

static const char *const library_names[] = {"libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"};
enum { LIBRARY_NAME_COUNT = sizeof library_names / sizeof *library_names };

typedef struct finder {
  arena *memory;
  nvrtc_place *places;
  int count, capacity;
  nvrtc *found;
} finder;

/* Fills `n` from an open library; NULL, or why it cannot be used. */
static const char *open_functions(finder *f, void *library, const char *path, nvrtc *n) {
  const char *missing = resolve_all(library, &n->call);
  if (missing) return arena_printf(f->memory, "has no %s", missing);
  if (n->call.version(&n->major, &n->minor) != 0) return "does not say its version";
  /* Of a bare name the loader knows where it was found. */
  struct link_map *map = NULL;
  bool known = dlinfo(library, RTLD_DI_LINKMAP, &map) == 0 && map->l_name && *map->l_name;
  n->path = strdup(known ? map->l_name : path);
  return n->path ? NULL : "no memory";
}

/* Tries one library: a path, or a bare name that the loader looks for. */
static void try_library(finder *f, const char *path, bool is_bare) {
  if (f->found) return;
  nvrtc_place place = {.path = arena_strdup(f->memory, path), .finding = "not there"};
  bool is_there = is_bare || access(path, F_OK) == 0;
  void *library = is_there ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
  nvrtc *n = library ? calloc(1, sizeof *n) : NULL;
  if (n) {
    const char *why = open_functions(f, library, path, n);
    place.used = !why;
    place.finding = why ? why : arena_printf(f->memory, "NVRTC %d.%d at %s", n->major, n->minor, n->path);
  } else if (is_there && !is_bare) {
    const char *why = library ? "no memory" : dlerror();
    place.finding = arena_strdup(f->memory, why ? why : "cannot be loaded");
  }
  if (place.used) {
    f->found = n;
  } else {
    free(n);
    if (library) dlclose(library);
  }
  ARENA_PUSH(f->memory, f->places, f->count, f->capacity, place);
}

static void try_directory(finder *f, const char *directory) {
  for (int i = 0; i < LIBRARY_NAME_COUNT; i++)
    try_library(f, arena_printf(f->memory, "%s/%s", directory, library_names[i]), false);
}

static void try_toolkit(finder *f, const char *root) {
  try_directory(f, arena_printf(f->memory, "%s/lib64", root));
  try_directory(f, arena_printf(f->memory, "%s/targets/x86_64-linux/lib", root));
}

static int newer_first(const void *a, const void *b) { return strverscmp(*(char *const *)b, *(char *const *)a); }

/* /usr/local/cuda-*, the newest version first. */
static void try_versioned_toolkits(finder *f) {
  DIR *directory = opendir("/usr/local");
  if (!directory) return;
  char **roots = NULL;
  int count = 0, capacity = 0;
  for (struct dirent *entry; (entry = readdir(directory));)
    if (strncmp(entry->d_name, "cuda-", 5) == 0)
      ARENA_PUSH(f->memory, roots, count, capacity, arena_printf(f->memory, "/usr/local/%s", entry->d_name));
  closedir(directory);
  if (count) qsort(roots, (size_t)count, sizeof *roots, newer_first);
  for (int i = 0; i < count; i++)
    try_toolkit(f, roots[i]);
}

static void try_everywhere(finder *f, const nvrtc_search *search) {
  if (search->path) {
    try_library(f, search->path, false);
    return;
  }
  if (search->directory) try_directory(f, search->directory);
  for (int i = 0; i < LIBRARY_NAME_COUNT; i++)
    try_library(f, library_names[i], true);
  if (search->cuda_root) try_toolkit(f, search->cuda_root);
  try_toolkit(f, "/usr/local/cuda");
  if (!f->found) try_versioned_toolkits(f);
  for (int i = 0; i < search->python_directory_count; i++) {
    try_directory(f, arena_printf(f->memory, "%s/nvidia/cu13/lib", search->python_directories[i]));
    try_directory(f, arena_printf(f->memory, "%s/nvidia/cuda_nvrtc/lib", search->python_directories[i]));
  }
}

nvrtc *nvrtc_open(const nvrtc_search *search, arena *a, nvrtc_places *places, const char **error) {
  finder f = {.memory = a};
  try_everywhere(&f, search);
  if (places) *places = (nvrtc_places){f.places, f.count};
  if (f.found) return f.found;
  /* A library that is there and cannot be used is the better explanation. */
  const nvrtc_place *reason = NULL;
  for (int i = 0; i < f.count && !reason; i++)
    if (strcmp(f.places[i].finding, "not there") != 0) reason = &f.places[i];
  if (reason)
    *error = arena_printf(a, "NVRTC cannot be used: %s: %s", reason->path, reason->finding);
  else if (search->path)
    *error = arena_printf(a, "NVRTC is not there: %s", search->path);
  else
    *error = arena_printf(a, "NVRTC was not found in %d places; install the CUDA toolkit's NVRTC or name the library",
                          f.count);
  return NULL;
}

void nvrtc_close(nvrtc *n) {
  if (!n) return;
  free(n->path);
  free(n);
}

const char *nvrtc_path(const nvrtc *n) { return n->path; }

void nvrtc_version(const nvrtc *n, int *major, int *minor) {
  *major = n->major;
  *minor = n->minor;
}

bool nvrtc_supports(const nvrtc *n, const char *arch) {
  const char *digits = strpbrk(arch, "0123456789");
  int wanted = digits ? atoi(digits) : 0, count = 0;
  if (!n->call.arch_count || !n->call.archs || n->call.arch_count(&count) != 0 || count <= 0) return true;
  int *archs = calloc((size_t)count, sizeof *archs);
  bool known = archs && n->call.archs(archs) == 0, found = false;
  for (int i = 0; known && i < count; i++)
    found = found || archs[i] == wanted;
  free(archs);
  return found || !known;
}

/* -- Compiling ----------------------------------------------------------------------------------------------------- */

static const char *read_log(const nvrtc *n, program p, arena *a) {
  size_t size = 0;
  if (n->call.log_size(p, &size) != 0 || size == 0) return "";
  char *text = arena_alloc(a, size + 1);
  return n->call.log(p, text) == 0 ? text : "";
}

static const char **make_options(const nvrtc_options *o, arena *a, int *count) {
  const char **options = NULL;
  int capacity = 0;
  *count = 0;
  /* --minimal came with CUDA 12.0; every version that we look for has it. */
  const char *const always[] = {"--std=c++17", "-default-device", "--minimal", "--ptxas-options=-v"};
  ARENA_PUSH(a, options, *count, capacity, arena_printf(a, "--gpu-architecture=%s", o->arch));
  for (size_t i = 0; i < sizeof always / sizeof *always; i++)
    ARENA_PUSH(a, options, *count, capacity, always[i]);
  if (o->line_info) ARENA_PUSH(a, options, *count, capacity, "--generate-line-info");
  if (o->no_cache) ARENA_PUSH(a, options, *count, capacity, "--no-cache");
  for (int i = 0; i < o->extra_count; i++)
    ARENA_PUSH(a, options, *count, capacity, o->extra[i]);
  return options;
}

static bool read_output(const nvrtc *n, program p, bool is_ptx, arena *a, nvrtc_result *result) {
  size_t size = 0;
  if ((is_ptx ? n->call.ptx_size : n->call.cubin_size)(p, &size) != 0 || size == 0) return false;
  char *bytes = arena_alloc(a, size + 1);
  if ((is_ptx ? n->call.ptx : n->call.cubin)(p, bytes) != 0) return false;
  if (is_ptx) {
    result->ptx = bytes;
  } else {
    result->cubin = bytes;
    result->cubin_size = size;
  }
  return true;
}

nvrtc_result nvrtc_compile(const nvrtc *n, const char *source, const char *name, const nvrtc_options *o, arena *a) {
  enum { INVALID_OPTION = 5, COMPILATION = 6 }; /* nvrtcResult */
  nvrtc_result result = {.status = NVRTC_BROKEN, .log = ""};
  program p = NULL;
  int code = n->call.create_program(&p, source, name, 0, NULL, NULL);
  if (code != 0) {
    result.log = arena_printf(a, "nvrtcCreateProgram: %s", n->call.error_string(code));
    return result;
  }
  int option_count = 0;
  const char **options = make_options(o, a, &option_count);
  code = n->call.compile_program(p, option_count, options);
  result.log = read_log(n, p, a);
  bool is_virtual = strncmp(o->arch, "compute_", 8) == 0;
  if (code == 0 && read_output(n, p, is_virtual, a, &result)) result.status = NVRTC_OK;
  if (result.status == NVRTC_OK && !is_virtual)
    read_output(n, p, true, a, &result); /* the PTX on the way to the cubin */
  if (code == COMPILATION || code == INVALID_OPTION) result.status = NVRTC_REJECTED;
  if (result.status != NVRTC_OK && !*result.log)
    result.log = arena_printf(a, "nvrtcCompileProgram: %s", n->call.error_string(code));
  n->call.destroy_program(&p);
  nvrtc_read_log(result.log, a, &result);
  return result;
}
