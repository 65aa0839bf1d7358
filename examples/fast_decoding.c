/* What fast decoding is: the same W4A16 matmul with it on and off, the inner part of both sources, and on a GPU their times.
 *
 *   fast_decoding [--device=emulator|gpu]
 *
 * Off, codes stay in rows and are converted one by one; on, they are packed so that a mask or two make eight of them
 * numbers, in the registers that the tensor cores read. A port of BitBLAS's fast decoding tutorial. */
#include "example.h"

/* The lines of the source that have the word. */
static int print_lines(const char *source, const char *word, int most) {
  int count = 0;
  for (const char *line = source, *end; *line; line = *end ? end + 1 : end) {
    end = line + strcspn(line, "\n");
    const char *found = strstr(line, word);
    if (!found || found > end) continue;
    if (count++ < most) printf("  %.*s\n", (int)(end - line < 150 ? end - line : 150), line);
  }
  return count;
}

int main(int argc, char **argv) {
  bitblas_context *context = open_context(argc, argv);
  int words[2];
  for (int fast = 0; fast < 2; fast++) {
    bitblas_matmul_config config = BITBLAS_MATMUL_CONFIG_INIT;
    config.M = 1, config.N = 16384, config.K = 16384;
    config.W_dtype = BITBLAS_TYPE_U4;
    config.fast_decoding = fast ? BITBLAS_FAST_DECODING_ON : BITBLAS_FAST_DECODING_OFF;
    bitblas_matmul *matmul;
    check(bitblas_matmul_create(context, &config, &matmul));
    check(bitblas_matmul_prepare(matmul, NULL, 0));
    const char *source = bitblas_matmul_get_source(matmul, 1, BITBLAS_SOURCE_CUDA);
    printf("fast decoding %s, %zu bytes of CUDA:\n", fast ? "on" : "off", strlen(source));
    words[fast] = print_lines(source, fast ? "Ws_decoded[" : "st_shared_2(Wd", 4);
    double us;
    bitblas_status timed = bitblas_matmul_profile_latency(matmul, 1, &us);
    if (timed == BITBLAS_OK)
      printf("  %.1f us\n", us);
    else if (timed != BITBLAS_ERROR_UNSUPPORTED) /* the emulator has no times */
      check(timed);
    bitblas_matmul_destroy(matmul);
  }
  bitblas_context_destroy(context);
  return words[0] > 0 && words[1] > 0 ? 0 : 1;
}
