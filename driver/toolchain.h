/* Where the NVIDIA tools may be on this machine. */
#ifndef BITBLASC_DRIVER_TOOLCHAIN_H
#define BITBLASC_DRIVER_TOOLCHAIN_H

#include "codegen/nvrtc.h"
#include "support/arena.h"

/* What the caller knows, from its options and environment; every member may be NULL. */
typedef struct toolchain_hints {
  const char *nvrtc_path;  /* --nvrtc-path or BITBLASC_NVRTC_PATH: this library and no other */
  const char *directory;   /* that holds a library shipped beside the program */
  const char *cuda_root;   /* CUDA_HOME or CUDA_PATH */
  const char *virtual_env; /* VIRTUAL_ENV */
  const char *home;        /* HOME, for packages installed for one user */
} toolchain_hints;

/* The search for NVRTC that follows from the hints, with the Python package directories that exist. In the arena. */
nvrtc_search toolchain_search(arena *memory, const toolchain_hints *hints);

#endif
