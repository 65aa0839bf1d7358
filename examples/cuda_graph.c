/* A run inside a CUDA graph: captured once, replayed often, on whatever the tensors hold by then.
 *
 *   cuda_graph [--device=emulator|gpu]     the emulator has no graphs: it runs as often as the graph would
 *
 * The application brings its own CUDA context and stream. libcuda is opened by hand only so that this builds anywhere. */
#include "example.h"

#include <dlfcn.h>

enum { M = 16, N = 256, K = 256, REPLAYS = 3 };

static int (*cuInit)(unsigned), (*cuDevicePrimaryCtxRetain)(void **, int), (*cuCtxSetCurrent)(void *);
static int (*cuStreamCreate)(void **, unsigned), (*cuStreamBeginCapture_v2)(void *, int);
static int (*cuStreamEndCapture)(void *, void **), (*cuGraphLaunch)(void *, void *);
static int (*cuGraphInstantiateWithFlags)(void **, void *, unsigned long long);
#define FIND(name) (*(void **)&(name) = dlsym(libcuda, #name))

static void cuda(int result) {
  if (result) fprintf(stderr, "the CUDA driver answers %d\n", result), exit(1);
}

int main(int argc, char **argv) {
  static uint16_t a[M * K], w[N * K], c[M * N];
  const int gpu = argc > 1 && strcmp(argv[1], "--device=gpu") == 0;
  void *libcuda = gpu ? dlopen("libcuda.so.1", RTLD_NOW) : NULL, *cuda_context = NULL, *stream = NULL, *graph = NULL,
       *ready = NULL;
  bitblas_context_config where = BITBLAS_CONTEXT_CONFIG_INIT;
  where.device = gpu ? BITBLAS_DEVICE_CURRENT : BITBLAS_DEVICE_EMULATOR;
  if (gpu) {
    if (!libcuda || !FIND(cuInit) || !FIND(cuDevicePrimaryCtxRetain) || !FIND(cuCtxSetCurrent) ||
        !FIND(cuStreamCreate) || !FIND(cuStreamBeginCapture_v2) || !FIND(cuStreamEndCapture) || !FIND(cuGraphLaunch) ||
        !FIND(cuGraphInstantiateWithFlags))
      cuda(-1);
    cuda(cuInit(0));
    cuda(cuDevicePrimaryCtxRetain(&cuda_context, 0));
    cuda(cuCtxSetCurrent(cuda_context));
    cuda(cuStreamCreate(&stream, 1));
  }
  bitblas_context *context;
  check(bitblas_context_create(&where, &context));
  bitblas_matmul_config config = BITBLAS_MATMUL_CONFIG_INIT; /* f16 times f16 */
  config.N = N, config.K = K;
  bitblas_matmul *matmul;
  check(bitblas_matmul_create(context, &config, &matmul));
  check(bitblas_matmul_prepare(matmul, (const int64_t[]){M}, 1)); /* before the capture: a run never compiles */
  random_halves(w, N * K, -3);
  bitblas_matmul_args args = BITBLAS_MATMUL_ARGS_INIT;
  void *A = on_device(context, a, sizeof a), *W = on_device(context, w, sizeof w), *C = on_device(context, c, sizeof c);
  args.M = M, args.A = A, args.W = W, args.C = C, args.stream = stream;
  if (gpu) {
    cuda(cuStreamBeginCapture_v2(stream, 1));
    check(bitblas_matmul_run(matmul, &args)); /* noted, not run */
    cuda(cuStreamEndCapture(stream, &graph));
    cuda(cuGraphInstantiateWithFlags(&ready, graph, 0ull));
  }
  double worst = 0;
  for (int replay = 0; replay < REPLAYS; replay++) {
    random_halves(a, M * K, -replay);
    check(bitblas_upload(context, A, a, sizeof a, stream));
    if (gpu)
      cuda(cuGraphLaunch(ready, stream));
    else
      check(bitblas_matmul_run(matmul, &args));
    check(bitblas_download(context, c, C, sizeof c, stream));
    check(bitblas_synchronize(context, stream));
    for (int i = 0; i < M * N; i++) {
      double sum = 0;
      for (int k = 0; k < K; k++)
        sum += half_value(a[i / N * K + k]) * half_value(w[i % N * K + k]);
      worst = fmax(worst, fabs(half_value(c[i]) - sum) / fabs(sum));
    }
  }
  printf("%s: %d replays, greatest relative error %.2g\n", bitblas_context_device_name(context), REPLAYS, worst);
  for (int i = 0; i < 3; i++)
    check(bitblas_free(context, (void *[]){A, W, C}[i]));
  bitblas_matmul_destroy(matmul);
  bitblas_context_destroy(context);
  return worst < 0x1p-10 ? 0 : 1;
}
