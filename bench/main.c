/* bitblas-bench: our kernels beside their peers, in one process on one GPU. */
#include "bench/calibrate.h"
#include "bench/tuning.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern const embedded_file bench_peer[];    /* peer.py */
extern const embedded_file bench_kernels[]; /* kernels/ */

enum { MOST_PATTERNS = 32 };

/* Where the examples lie: where this was built, or below the working directory. */
static const char *default_kernels(void) {
  return access(BENCH_KERNELS "/matmul.tl", R_OK) == 0 ? BENCH_KERNELS : "examples";
}

static void print_help(void) {
  printf("bitblas-bench [options]\n"
         "  --list            the cases and their goals\n"
         "  --only=PATTERN    cases whose name matches, as of files; may be given several times\n"
         "  --regime=R        burst, sustained or both (the default)\n"
         "  --rounds=N        pairs of segments in each regime (7 and 5)\n"
         "  --json=FILE       write the figures\n"
         "  --svg=FILE        write a roofline plot\n"
         "  --device=D        gpu (the default), or emulator: checks every case at small sizes\n"
         "  --tuning[=N]      the untuned plan of 60 shapes against the best of N (16), and how well the model ranks\n"
         "                    them; with --only, --device, --json\n"
         "  --machine         bandwidths, rates and latencies of the GPU beside what ir/targets.def says; with --json\n"
         "  --overlap         our launches may start before the one ahead has ended (overlap_launches)\n"
         "  --no-peers        time our side alone\n"
         "  --triton          Triton as the peer of products of 16 bits and of attention\n"
         "  --kernels=DIR     where the .tl of the examples are (of this source tree, or examples)\n"
         "  --python=PATH     a Python with PyTorch (python3)\n"
         "  --cublaslt=PATH   libcublasLt.so.13 (BITBLAS_CUBLASLT_PATH, or searched)\n");
}

/* The value of an option "--name=value"; NULL: it is another. */
static const char *value_of(const char *argument, const char *name) {
  size_t length = strlen(name);
  return strncmp(argument, name, length) == 0 && argument[length] == '=' ? argument + length + 1 : NULL;
}

static bool take_regime(contest_options *c, const char *value) {
  bool both = strcmp(value, "both") == 0;
  bool known = both;
  for (regime r = 0; r < REGIME_COUNT; r++) {
    bool chosen = strcmp(value, regime_name(r)) == 0;
    known |= chosen;
    if (!both && !chosen) c->rounds[r] = 0;
  }
  return known;
}

static bool take_rounds(contest_options *c, const char *value) {
  int rounds = atoi(value);
  for (regime r = 0; r < REGIME_COUNT; r++)
    if (c->rounds[r]) c->rounds[r] = rounds;
  return rounds >= 1 && rounds <= CONTEST_ROUNDS;
}

static bool take_plans(session_options *o, const char *value) {
  o->tuning = atoi(value);
  return o->tuning >= 1 && o->tuning <= TUNING_MOST_PLANS;
}

static bool take_option(session_options *o, const char **patterns, const char *argument) {
  const char *value;
  if ((value = value_of(argument, "--only"))) {
    if (o->pattern_count == MOST_PATTERNS) return false;
    patterns[o->pattern_count++] = value;
    return true;
  }
  if ((value = value_of(argument, "--regime"))) return take_regime(&o->contest, value);
  if ((value = value_of(argument, "--rounds"))) return take_rounds(&o->contest, value);
  if ((value = value_of(argument, "--device"))) {
    o->emulator = strcmp(value, "emulator") == 0;
    return o->emulator || strcmp(value, "gpu") == 0;
  }
  if (strcmp(argument, "--tuning") == 0) return take_plans(o, "16");
  if ((value = value_of(argument, "--tuning"))) return take_plans(o, value);
  if (strcmp(argument, "--overlap") == 0) return o->overlaps = true;
  if (strcmp(argument, "--no-peers") == 0) return o->without_peers = true;
  if (strcmp(argument, "--triton") == 0) return o->triton = true;
  if ((value = value_of(argument, "--json"))) return (o->json = value) != NULL;
  if ((value = value_of(argument, "--svg"))) return (o->svg = value) != NULL;
  if ((value = value_of(argument, "--kernels"))) return (o->kernels = value) != NULL;
  if ((value = value_of(argument, "--python"))) return (o->python = value) != NULL;
  return (value = value_of(argument, "--cublaslt")) && (o->cublaslt = value) != NULL;
}

int main(int argc, char **argv) {
  const char *patterns[MOST_PATTERNS];
  session_options o = {.patterns = patterns,
                       .kernels = default_kernels(),
                       .python = "python3",
                       .peer_script = bench_peer[0].text,
                       .contest = CONTEST_OPTIONS_DEFAULT};
  bool lists = false, calibrates = false;
  for (int i = 1; i < argc; i++) {
    if (strcmp(argv[i], "--help") == 0) {
      print_help();
      return 0;
    }
    if (strcmp(argv[i], "--list") == 0) {
      lists = true;
    } else if (strcmp(argv[i], "--machine") == 0) {
      calibrates = true;
    } else if (!take_option(&o, patterns, argv[i])) {
      fprintf(stderr, "bitblas-bench: what is '%s'? --help shows the options\n", argv[i]);
      return 2;
    }
  }
  if (calibrates) return calibrate_run(&o, bench_kernels);
  if (!lists) return o.tuning ? tuning_run(&o) : session_run(&o);
  session_list(&o);
  return 0;
}
