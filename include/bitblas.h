/* libbitblas: kernels of the tile language, compiled while the application runs.
 *
 * C99, usable from C++. Nothing here needs a CUDA header or library: libcuda and NVRTC are opened when they are first
 * needed, and everything runs without them on the emulator. The library never exits, prints nothing unless a log function is
 * given, and leaves the calling thread's CUDA context as it was. Running out of host memory aborts.
 *
 * Every call answers with a status; bitblas_last_message() has the sentence. Structs that the caller fills begin with
 * their size and are made with their _INIT macro, so that a program keeps working with a later library. docs/library.md
 * says which calls may be made from several threads, compile, allocate, wait, or be made while a CUDA graph is captured. */
#ifndef BITBLAS_H
#define BITBLAS_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define BITBLAS_API __attribute__((visibility("default")))

#define BITBLAS_VERSION_MAJOR 0
#define BITBLAS_VERSION_MINOR 1
#define BITBLAS_VERSION_PATCH 0

/* -- Status -------------------------------------------------------------------------------------------------------- */

/* The values never change. Their names and texts are rows of lib/status.def. */
typedef enum bitblas_status {
  BITBLAS_OK = 0,
  BITBLAS_ERROR_ARGUMENT = 1,      /* a null, a count or a name that does not fit the call */
  BITBLAS_ERROR_KERNEL = 2,        /* the kernel's text or its defines are wrong */
  BITBLAS_ERROR_TYPE = 3,          /* a tensor has another element type than the kernel's */
  BITBLAS_ERROR_SHAPE = 4,         /* a tensor has another rank, extent or stride */
  BITBLAS_ERROR_ALIGNMENT = 5,     /* an address is not aligned as the kernel needs it */
  BITBLAS_ERROR_CONSTRAINT = 6,    /* a condition of the kernel does not hold for these sizes */
  BITBLAS_ERROR_WORKSPACE = 7,     /* the workspace is missing or too small */
  BITBLAS_ERROR_NO_DRIVER = 8,     /* there is no CUDA driver, or one too old */
  BITBLAS_ERROR_NO_DEVICE = 9,     /* there is no such GPU */
  BITBLAS_ERROR_NO_NVRTC = 10,     /* something must be compiled, and there is no NVRTC for it */
  BITBLAS_ERROR_WRONG_TARGET = 11, /* the kernel was compiled for another GPU */
  BITBLAS_ERROR_BAD_CUBIN = 12,    /* no cubin of bitblasc, or damaged */
  BITBLAS_ERROR_FILE = 13,         /* a file cannot be read */
  BITBLAS_ERROR_MEMORY = 14,       /* not enough device memory */
  BITBLAS_ERROR_CUDA = 15,         /* the CUDA driver reported an error */
  BITBLAS_ERROR_EMULATOR = 16,     /* the emulator found a fault in the running kernel */
  BITBLAS_ERROR_UNSUPPORTED = 17,  /* this device or version of the library cannot do it */
  BITBLAS_ERROR_INTERNAL = 18      /* a mistake of the library itself: please report it */
} bitblas_status;

/* "BITBLAS_ERROR_SHAPE", and what it means. Any value is allowed; both are static. */
BITBLAS_API const char *bitblas_status_name(bitblas_status status);
BITBLAS_API const char *bitblas_status_text(bitblas_status status);
/* What the last call of this thread that failed had to say: names the argument and gives both values. "" when none
 * did; valid until the thread's next call fails. */
BITBLAS_API const char *bitblas_last_message(void);
/* 10000 * major + 100 * minor + patch of the library that is loaded. */
BITBLAS_API uint32_t bitblas_version(void);

/* -- Element types ------------------------------------------------------------------------------------------------- */

/* Elements narrower than a byte follow each other as a stream of bits, little end first. */
typedef enum bitblas_type {
  BITBLAS_TYPE_NONE = 0,
  BITBLAS_TYPE_I1 = 1,
  BITBLAS_TYPE_I2 = 2,
  BITBLAS_TYPE_I3 = 3,
  BITBLAS_TYPE_I4 = 4,
  BITBLAS_TYPE_I5 = 5,
  BITBLAS_TYPE_I6 = 6,
  BITBLAS_TYPE_I7 = 7,
  BITBLAS_TYPE_I8 = 8,
  BITBLAS_TYPE_I16 = 9,
  BITBLAS_TYPE_I32 = 10,
  BITBLAS_TYPE_I64 = 11,
  BITBLAS_TYPE_U1 = 12,
  BITBLAS_TYPE_U2 = 13,
  BITBLAS_TYPE_U3 = 14,
  BITBLAS_TYPE_U4 = 15,
  BITBLAS_TYPE_U5 = 16,
  BITBLAS_TYPE_U6 = 17,
  BITBLAS_TYPE_U7 = 18,
  BITBLAS_TYPE_U8 = 19,
  BITBLAS_TYPE_U16 = 20,
  BITBLAS_TYPE_U32 = 21,
  BITBLAS_TYPE_U64 = 22,
  BITBLAS_TYPE_F4E2M1 = 23,
  BITBLAS_TYPE_F6E2M3 = 24,
  BITBLAS_TYPE_F6E3M2 = 25,
  BITBLAS_TYPE_F8E4M3 = 26,
  BITBLAS_TYPE_F8E5M2 = 27,
  BITBLAS_TYPE_F16 = 28,
  BITBLAS_TYPE_BF16 = 29,
  BITBLAS_TYPE_TF32 = 30,
  BITBLAS_TYPE_F32 = 31,
  BITBLAS_TYPE_F64 = 32,
  BITBLAS_TYPE_E8M0 = 33,
  BITBLAS_TYPE_NF4 = 34,
  BITBLAS_TYPE_PRED = 35
} bitblas_type;

/* "f16", as in a .tl; "?" for no type. Static. */
BITBLAS_API const char *bitblas_type_name(bitblas_type type);
/* Bits of an element; 0 for no type. */
BITBLAS_API int32_t bitblas_type_bits(bitblas_type type);

/* -- Context ------------------------------------------------------------------------------------------------------- */

typedef struct bitblas_context bitblas_context; /* a device and the store of compiled kernels; used from any thread */

/* What a context computes on. */
typedef enum bitblas_device {
  BITBLAS_DEVICE_GPU = 0,     /* the GPU number `ordinal`, in its primary context */
  BITBLAS_DEVICE_CURRENT = 1, /* the CUDA context that is current in the calling thread; it must outlive this one */
  BITBLAS_DEVICE_EMULATOR =
      2 /* none: tensors lie in host memory, runs are done when they return, streams are ignored */
} bitblas_device;

/* How much is logged: each level has those before it. */
typedef enum bitblas_log_level {
  BITBLAS_LOG_WARNING = 1,
  BITBLAS_LOG_INFO = 2,
  BITBLAS_LOG_DEBUG = 3
} bitblas_log_level;
/* Receives one line without its newline, from any thread that is inside a call of the library. */
typedef void (*bitblas_log_function)(void *user, bitblas_log_level level, const char *line);

/* What bitblas_context_create takes. */
typedef struct bitblas_context_config {
  size_t size;
  bitblas_device device;
  int32_t ordinal;
  const char *target;          /* emulator only: "sm_80", "sm_89", "sm_90a"; NULL: BITBLASC_TARGET, else sm_90a */
  const char *cache_directory; /* NULL: BITBLASC_CACHE_DIR, else the user's cache; "": nothing is kept on disk */
  int64_t cache_bytes;         /* how large it may grow; 0: BITBLASC_CACHE_BYTES, else 1 GiB */
  const char *nvrtc_path;      /* NULL: BITBLASC_NVRTC_PATH, else a search ('bitblasc doctor' shows it) */
  bitblas_log_function log;    /* NULL: nothing is logged */
  void *log_user;
  bitblas_log_level log_level; /* lines above this are not made */
} bitblas_context_config;
#define BITBLAS_CONTEXT_CONFIG_INIT                                                                                    \
  { sizeof(bitblas_context_config), BITBLAS_DEVICE_GPU, 0, NULL, NULL, 0, NULL, NULL, NULL, BITBLAS_LOG_INFO }

/* Opens a device. Strings are copied. config NULL: GPU 0 with the defaults. A missing cache directory is no error.
 * BITBLAS_ERROR_ARGUMENT, _NO_DRIVER, _NO_DEVICE, _CUDA, _UNSUPPORTED (no target for this GPU).
 * Source: lib/context.c */
BITBLAS_API bitblas_status bitblas_context_create(const bitblas_context_config *config, bitblas_context **context);
/* Gives the context up; it lasts until its last kernel is destroyed. NULL is ignored. */
BITBLAS_API void bitblas_context_destroy(bitblas_context *context);
/* "sm_90a": what kernels are compiled for; "emulator" or the GPU's name. Live as long as the context. */
BITBLAS_API const char *bitblas_context_target(const bitblas_context *context);
BITBLAS_API const char *bitblas_context_device_name(const bitblas_context *context);

/* Memory for tensors, aligned to 256 bytes, on the GPU or, for the emulator, on the host. Any other allocation on the
 * same device serves as well. bytes 0 gives NULL. BITBLAS_ERROR_ARGUMENT, _MEMORY, _CUDA. */
typedef void *bitblas_stream; /* a CUstream or cudaStream_t; NULL: the default stream */
BITBLAS_API bitblas_status bitblas_allocate(bitblas_context *context, size_t bytes, void **address);
BITBLAS_API bitblas_status bitblas_free(bitblas_context *context, void *address); /* NULL is ignored */
/* Copies between host and device memory, in the order of the stream. Host memory stays until bitblas_synchronize.
 * BITBLAS_ERROR_ARGUMENT, _CUDA. */
BITBLAS_API bitblas_status bitblas_upload(bitblas_context *context, void *to, const void *from, size_t bytes,
                                          bitblas_stream stream);
BITBLAS_API bitblas_status bitblas_download(bitblas_context *context, void *to, const void *from, size_t bytes,
                                            bitblas_stream stream);
/* Waits for the stream; BITBLAS_ERROR_CUDA when anything on it failed. */
BITBLAS_API bitblas_status bitblas_synchronize(bitblas_context *context, bitblas_stream stream);

/* -- Kernels ------------------------------------------------------------------------------------------------------- */

typedef struct bitblas_kernel bitblas_kernel; /* compiled and loaded; immutable, run from any thread */

/* A value that is known when the kernel is compiled. */
typedef struct bitblas_define {
  const char *name;  /* a param, tune or size of the kernel */
  const char *value; /* "128", "bf16", "true", a choice: as after -D */
} bitblas_define;

/* A value that is known when the kernel runs. */
typedef struct bitblas_size {
  const char *name;
  int64_t value;
} bitblas_size;

/* Exactly one of: path alone (a .tl, or a .cubin that bitblasc made), text (a .tl; path, if any, is its name in
 * messages and where its includes are looked for), cubin. */
typedef struct bitblas_kernel_config {
  size_t size;
  const char *path;
  const char *text;
  size_t text_length; /* 0: up to the NUL */
  const void *cubin;
  size_t cubin_size;
  const char *kernel; /* which one, where the file has several; NULL: the only one */
  const bitblas_define *defines;
  int32_t define_count;
  const bitblas_size *expected; /* run-time sizes that the schedule is chosen for; any others are served as well */
  int32_t expected_count;
  int32_t level; /* 0 plain, 1 asynchronous copies, 2 everything */
  /* 1: launches may start before the kernel ahead of them in the stream has ended, and wait for it on the device. Before
   * they wait they read packed tensors (bitblas_tensor_info): what wrote those must have ended before the kernel ahead was
   * launched, by a bitblas_synchronize or with a launch between that does not overlap. GPUs before sm_90 ignore it; of a
   * cubin its record says. 64 bits wide here and below, so that it lies in no padding of an older struct. */
  int64_t overlap_launches;
} bitblas_kernel_config;
#define BITBLAS_KERNEL_CONFIG_INIT                                                                                     \
  { sizeof(bitblas_kernel_config), NULL, NULL, 0, NULL, 0, NULL, NULL, 0, NULL, 0, 2, 0 }

/* Takes the kernel from the store, or compiles it and keeps it there, and loads it. One key is compiled by one thread
 * of a context at a time; the others wait and take its result. Nothing of config is kept.
 * BITBLAS_ERROR_ARGUMENT, _KERNEL (the message has the diagnostics), _FILE, _NO_NVRTC, _WRONG_TARGET, _BAD_CUBIN,
 * _UNSUPPORTED (a cubin on the emulator), _CUDA, _MEMORY. Source: lib/kernel.c */
BITBLAS_API bitblas_status bitblas_kernel_create(bitblas_context *context, const bitblas_kernel_config *config,
                                                 bitblas_kernel **kernel);
/* Nothing of it may still be running. NULL is ignored. */
BITBLAS_API void bitblas_kernel_destroy(bitblas_kernel *kernel);

/* What a kernel does with a tensor. */
typedef enum bitblas_access { BITBLAS_READ = 0, BITBLAS_WRITE = 1, BITBLAS_READ_WRITE = 2 } bitblas_access;

/* A tensor of a kernel, as its declaration has it. */
typedef struct bitblas_tensor_info {
  size_t size;
  const char *name; /* lives as long as the kernel */
  bitblas_type type;
  int32_t rank;
  bitblas_access access;
  int32_t alignment; /* of the address, in bytes */
  int32_t packed; /* 1: its elements lie in the kernel's own order: bitblas_kernel_pack makes it. Scales may be, too */
} bitblas_tensor_info;
#define BITBLAS_TENSOR_INFO_INIT                                                                                       \
  { sizeof(bitblas_tensor_info), NULL, BITBLAS_TYPE_NONE, 0, BITBLAS_READ, 0, 0 }

/* The kernel's tensors, in the order of its declaration. BITBLAS_ERROR_ARGUMENT. */
BITBLAS_API int32_t bitblas_kernel_tensor_count(const bitblas_kernel *kernel);
BITBLAS_API bitblas_status bitblas_kernel_tensor_info(const bitblas_kernel *kernel, int32_t index,
                                                      bitblas_tensor_info *info);
/* The run-time sizes that were not defined: names, in order; NULL beyond the last. */
BITBLAS_API const char *bitblas_kernel_size_name(const bitblas_kernel *kernel, int32_t index);

/* Bytes of a tensor, and of the workspace, at these sizes (all of them, by name).
 * BITBLAS_ERROR_ARGUMENT, _CONSTRAINT. */
BITBLAS_API bitblas_status bitblas_kernel_tensor_bytes(const bitblas_kernel *kernel, int32_t index,
                                                       const bitblas_size *sizes, int32_t size_count, size_t *bytes);
BITBLAS_API bitblas_status bitblas_kernel_workspace_bytes(const bitblas_kernel *kernel, const bitblas_size *sizes,
                                                          int32_t size_count, size_t *bytes);
/* Puts a packed tensor into the kernel's order, on the host.
 *   elements  row-major, a stream of bits little end first     packed  bitblas_kernel_tensor_bytes long, overwritten
 * Padding is zero. BITBLAS_ERROR_ARGUMENT (also: the tensor is not packed), _SHAPE (packed_bytes). */
BITBLAS_API bitblas_status bitblas_kernel_pack(const bitblas_kernel *kernel, int32_t index, const bitblas_size *sizes,
                                               int32_t size_count, const void *elements, void *packed,
                                               size_t packed_bytes);

/* The texts that a kernel was made from, and became. */
typedef enum bitblas_source {
  BITBLAS_SOURCE_TL = 0,     /* the text that it was made from */
  BITBLAS_SOURCE_IR = 1,     /* lowered */
  BITBLAS_SOURCE_CUDA = 2,   /* CUDA C++ */
  BITBLAS_SOURCE_RECORD = 3, /* the launch record, JSON */
  BITBLAS_SOURCE_PTX = 4     /* PTX; NULL on the emulator */
} bitblas_source;
/* Lives as long as the kernel. NULL where there is none: of a cubin only the record is known. */
BITBLAS_API const char *bitblas_kernel_source(const bitblas_kernel *kernel, bitblas_source source);

enum { BITBLAS_RANK_MAX = 8 };

/* A tensor that a run is given. */
typedef struct bitblas_tensor {
  void *data; /* on the context's device; may be NULL when the tensor has no elements */
  bitblas_type type;
  int32_t rank;
  int64_t shape[8];
  int64_t stride[8]; /* elements from one to the next; all 0: row-major, the last dimension fastest */
} bitblas_tensor;

/* What bitblas_kernel_run takes. */
typedef struct bitblas_launch {
  size_t size;
  const bitblas_tensor *tensors; /* one for each of the kernel, in its order */
  int32_t tensor_count;
  const bitblas_size *sizes; /* those that are not the extent of a tensor; the others are taken from the shapes */
  int32_t size_count;
  void *workspace; /* 16-byte aligned, zero before its first use; not shared by launches that may run at once */
  size_t workspace_bytes;
  bitblas_stream stream;
} bitblas_launch;
#define BITBLAS_LAUNCH_INIT                                                                                            \
  { sizeof(bitblas_launch), NULL, 0, NULL, 0, NULL, 0, NULL }

/* Checks every tensor against the kernel's record, then enqueues and returns (the emulator: runs it). Whatever is
 * wrong is said before anything is enqueued. Tensors stay until the stream is done.
 * BITBLAS_ERROR_ARGUMENT, _TYPE, _SHAPE, _ALIGNMENT, _CONSTRAINT, _WORKSPACE, _CUDA, _EMULATOR.
 * Source: lib/launch.c */
BITBLAS_API bitblas_status bitblas_kernel_run(const bitblas_kernel *kernel, const bitblas_launch *launch);

/* -- Matmul -------------------------------------------------------------------------------------------------------- */

/* C[M,N] = activation(A[M,K] * decode(W)[N,K]^T + bias), one kernel for each range of M, compiled when it is prepared.
 *
 *   decode(q)   q, or q * s, or with zeros by their mode (below); s and z are those of code k's group, k / group_size
 *   i1          the codes 0 and 1 are -1 and 1; the other integers are two's complement or unsigned, floats are OCP's
 *   i8, i4 A    sums are exact i32; a scale multiplies the sum (of a group, where there are several), in f32
 *   f16 A       products are summed in f32, unless accum_dtype is f16; C and decoded weights are rounded to nearest
 *
 * After the MatmulConfig and Matmul of BitBLAS (Wang et al., "Ladder", OSDI 2024); docs/library.md says where ours
 * differ. */
typedef struct bitblas_matmul bitblas_matmul; /* immutable but for its kernels; used from any thread */

typedef enum bitblas_layout { /* of A and W, as BLAS has it: n is [rows, columns], t its transpose */
                              BITBLAS_LAYOUT_NT = 0, /* A [M, K], W [N, K]: the only one for weights that are decoded */
                              BITBLAS_LAYOUT_NN = 1, /* A [M, K], W [K, N] */
                              BITBLAS_LAYOUT_TN = 2, /* A [K, M], W [K, N] */
                              BITBLAS_LAYOUT_TT = 3  /* A [K, M], W [N, K] */
} bitblas_layout;

/* Where a zero stands: q is a code, s its scale, z its zero. */
typedef enum bitblas_zeros_mode {
  BITBLAS_ZEROS_ORIGINAL = 0, /* (q - z) * s; zeros [N, K / group_size] of scale_dtype */
  BITBLAS_ZEROS_RESCALE = 1,  /* q * s - z; the same shape */
  BITBLAS_ZEROS_QUANTIZED =
      2 /* (q - z) * s; z are codes of W_dtype's bits, packed along N: [K / group_size, N * bits / 8] */
} bitblas_zeros_mode;

/* How codes become numbers. */
typedef enum bitblas_fast_decoding {
  BITBLAS_FAST_DECODING_AUTO = 0, /* where the group size lets it */
  BITBLAS_FAST_DECODING_ON = 1,   /* several codes at once, in registers, from an order packed for it */
  BITBLAS_FAST_DECODING_OFF = 2   /* code by code, from plain rows */
} bitblas_fast_decoding;

/* What the elements of C go through last, before they are rounded. */
typedef enum bitblas_activation {
  BITBLAS_ACTIVATION_NONE = 0,
  BITBLAS_ACTIVATION_RELU = 1,
  BITBLAS_ACTIVATION_GELU = 2, /* x * (1 + erf(x / sqrt(2))) / 2 */
  BITBLAS_ACTIVATION_SILU = 3  /* x / (1 + exp(-x)) */
} bitblas_activation;

/* What bitblas_matmul_create takes. */
typedef struct bitblas_matmul_config {
  size_t size;
  int64_t M; /* rows of A; 0: each run says */
  const int64_t
      *opt_M; /* with M 0: ascending, the M that kernels are made for; any other M runs the next larger one's */
  int32_t opt_M_count; /* at most 32; 0: 1, 16, 32, 64, 128, 256, 512, 1024 */
  int64_t N, K;
  bitblas_type A_dtype;     /* f16, bf16, f8e4m3, f8e5m2, i8, i4; NONE: f16 */
  bitblas_type W_dtype;     /* lib/matmul.def has the pairs; NONE: A_dtype */
  bitblas_type accum_dtype; /* NONE: f32, or i32 for integers */
  bitblas_type out_dtype;   /* NONE: A_dtype, f16 for 8-bit floats, i32 for integers. i8 saturates */
  bitblas_layout layout;
  int32_t with_bias;  /* 1: bias [N] of out_dtype, added before the rounding to it */
  int64_t group_size; /* codes along K that share a scale and a zero, a divisor of K; 0 or -1: K */
  int32_t with_scaling;
  int32_t with_zeros; /* with or without scaling; of integer weights */
  bitblas_zeros_mode zeros_mode;
  bitblas_type scale_dtype; /* f16, bf16, f32, e8m0 or f8e4m3; NONE: A_dtype, f32 for A of 8 bits or fewer */
  bitblas_fast_decoding fast_decoding;
  bitblas_activation activation;
  int32_t A_strided; /* 1: each run says how far the rows of A lie apart */
  /* 1: as in bitblas_kernel_config. A run may start to load W, scales and zeros while the kernel ahead of it in the stream
   * is still at work; A, bias and C it leaves alone until then. Whatever wrote W, scales and zeros (an upload, a transform
   * on the device) must have ended: bitblas_synchronize once they are in place. */
  int64_t overlap_launches;
  /* Of A and W of 8-bit floats: 0: sums of 128 k are added in f32, as cuBLASLt does by itself; 1: the tensor core sums all
   * of K, which is faster, and of whose sums it keeps some 14 bits. */
  int64_t fast_accum;
} bitblas_matmul_config;
#define BITBLAS_MATMUL_CONFIG_INIT                                                                                     \
  {                                                                                                                    \
    sizeof(bitblas_matmul_config), 0, NULL, 0, 0, 0, BITBLAS_TYPE_NONE, BITBLAS_TYPE_NONE, BITBLAS_TYPE_NONE,          \
        BITBLAS_TYPE_NONE, BITBLAS_LAYOUT_NT, 0, -1, 0, 0, BITBLAS_ZEROS_ORIGINAL, BITBLAS_TYPE_NONE,                  \
        BITBLAS_FAST_DECODING_AUTO, BITBLAS_ACTIVATION_NONE, 0, 0, 0                                                   \
  }

/* Checks the config; nothing is compiled. Nothing of config is kept.
 * BITBLAS_ERROR_ARGUMENT, _TYPE (no such combination; the message has the nearest that there is).
 * Source: lib/matmul.c, lib/kernels/matmul.tl */
BITBLAS_API bitblas_status bitblas_matmul_create(bitblas_context *context, const bitblas_matmul_config *config,
                                                 bitblas_matmul **op);
/* Takes the kernels that these M need from the store or compiles them, several at a time; count 0: all kernels. A run
 * whose kernel is not there fails. What bitblas_kernel_create answers, BITBLAS_ERROR_ARGUMENT. */
BITBLAS_API bitblas_status bitblas_matmul_prepare(bitblas_matmul *op, const int64_t *M, int32_t count);
/* Nothing of it may still be running. NULL is ignored. */
BITBLAS_API void bitblas_matmul_destroy(bitblas_matmul *op);

typedef enum bitblas_operand { /* what a transform makes */
                               BITBLAS_OPERAND_WEIGHT = 0,
                               BITBLAS_OPERAND_SCALES = 1,
                               BITBLAS_OPERAND_ZEROS = 2
} bitblas_operand;

typedef enum bitblas_form { /* of what it is made from, row-major */
                            BITBLAS_FORM_VALUES =
                                0, /* one number a byte, as int8 or uint8: i4 is -8 .. 7, i1 is -1 and 1. Types of 8 bits
                                 and more, and all scales and float zeros: the elements themselves */
                            BITBLAS_FORM_PACKED = 1, /* codes follow each other as a stream of bits, little end first */
                            BITBLAS_FORM_BIASED =
                                2 /* as PACKED, but signed codes of fewer than 8 bits are raised by 2^(bits - 1), as
                                 BitBLAS packs them before it interleaves */
} bitblas_form;

/* Bytes of the operand as runs take it; 0 of one that the config has not. BITBLAS_ERROR_ARGUMENT, and what
 * bitblas_matmul_prepare answers: the order follows from a kernel, which is prepared if none is yet. */
BITBLAS_API bitblas_status bitblas_matmul_operand_bytes(bitblas_matmul *op, bitblas_operand operand, size_t *bytes);
/* Puts a weight [N, K] (or as its layout says), scales or zeros [N, K / group_size] (quantized zeros: [K / group_size, N],
 * packed along N) into the order that runs take, host to host. `from` has from_bytes, `to` has bitblas_matmul_operand_bytes.
 * BITBLAS_ERROR_ARGUMENT (also: a value that the type has not, with its place), _SHAPE (from_bytes, to_bytes), and as
 * above. */
BITBLAS_API bitblas_status bitblas_matmul_transform(bitblas_matmul *op, bitblas_operand operand, bitblas_form form,
                                                    const void *from, size_t from_bytes, void *to, size_t to_bytes);

/* The same for the weight alone, device to device, in the order of the stream: `from` and `to` are device addresses aligned
 * to 16 bytes. Bits that a code has not are cut off instead of refused. May compile, the first time.
 * BITBLAS_ERROR_ARGUMENT, _SHAPE, _ALIGNMENT, _UNSUPPORTED (the kernels take plain rows, or a row of packed codes is no whole
 * number of bytes: transform on the host), and as above. */
BITBLAS_API bitblas_status bitblas_matmul_transform_on_device(bitblas_matmul *op, bitblas_form form, const void *from,
                                                              size_t from_bytes, void *to, size_t to_bytes,
                                                              bitblas_stream stream);

/* Device addresses, aligned to 16 bytes. */
typedef struct bitblas_matmul_args {
  size_t size;
  int64_t M; /* 0 runs nothing; with a config of one M, that one, or 0 for it */
  const void *A;
  int64_t A_stride; /* of A_strided: elements from one row to the next, a multiple of 16 bytes; 0: no gap */
  const void *W, *scales, *zeros; /* as bitblas_matmul_transform made them; NULL where the config has none */
  const void *bias;
  void *C;         /* [M, N], overwritten; may be none of the others */
  void *workspace; /* aligned to 16 bytes, zero before its first use; not shared by runs that may overlap */
  size_t workspace_bytes;
  bitblas_stream stream;
} bitblas_matmul_args;
#define BITBLAS_MATMUL_ARGS_INIT                                                                                       \
  { sizeof(bitblas_matmul_args), 0, NULL, 0, NULL, NULL, NULL, NULL, NULL, NULL, 0, NULL }

/* Bytes of workspace that a run of M rows needs; its kernel must be prepared. BITBLAS_ERROR_ARGUMENT. */
BITBLAS_API bitblas_status bitblas_matmul_workspace_bytes(const bitblas_matmul *op, int64_t M, size_t *bytes);
/* Checks everything, then enqueues one kernel. Never compiles, allocates or waits.
 * BITBLAS_ERROR_ARGUMENT (also: no kernel is prepared for this M), _SHAPE, _ALIGNMENT, _WORKSPACE, _CUDA, _EMULATOR. */
BITBLAS_API bitblas_status bitblas_matmul_run(const bitblas_matmul *op, const bitblas_matmul_args *args);

/* Time of one run of M rows on the context's GPU, the median of many, over random tensors that are not in the L2.
 * Allocates and waits. BITBLAS_ERROR_UNSUPPORTED on the emulator; what bitblas_matmul_prepare answers, _MEMORY. */
BITBLAS_API bitblas_status bitblas_matmul_profile_latency(bitblas_matmul *op, int64_t M, double *microseconds);
/* Times the topk (1 to 64) plans that the cost model holds best for the kernel of M rows, takes the fastest for op, and
 * keeps the choice in the store for every later op like it on such a GPU. Nothing of op may run meanwhile. The log
 * (BITBLAS_LOG_DEBUG) has each plan's time; *microseconds receives the least. Errors as above. */
BITBLAS_API bitblas_status bitblas_matmul_tune(bitblas_matmul *op, int64_t M, int32_t topk, double *microseconds);

/* What the kernel of M rows was made from and became; NULL before it is prepared. Lives as long as op. */
BITBLAS_API const char *bitblas_matmul_get_source(const bitblas_matmul *op, int64_t M, bitblas_source source);

/* -- Checkpoints --------------------------------------------------------------------------------------------------- */

/* A file of tensors, mapped: safetensors, the index of several (.index.json), or GGUF. Used from any thread. The file
 * must not be cut while it is open. */
typedef struct bitblas_checkpoint bitblas_checkpoint;

/* A tensor of a checkpoint, whatever file it lies in. */
typedef struct bitblas_checkpoint_tensor {
  size_t size;
  const char *name;
  const char *encoding; /* the file's own word for the type: "BF16", "Q4_K" */
  bitblas_type type;    /* BITBLAS_TYPE_NONE: the encoding is none of the library's types (blocks of GGUF, BOOL) */
  int32_t rank;
  int64_t shape[8]; /* row-major, those of GGUF too */
  const void *data; /* in the file, not aligned */
  size_t bytes;
} bitblas_checkpoint_tensor;
#define BITBLAS_CHECKPOINT_TENSOR_INIT                                                                                 \
  { sizeof(bitblas_checkpoint_tensor), NULL, NULL, BITBLAS_TYPE_NONE, 0, {0}, NULL, 0 }

/* Opens a file and checks all of its header: types, shapes, places. A config.json or quantize_config.json beside it is
 * read for what the tensors do not say. BITBLAS_ERROR_ARGUMENT, _FILE (the message says what is wrong and where).
 * Source: lib/checkpoint.c */
BITBLAS_API bitblas_status bitblas_checkpoint_open(const char *path, bitblas_checkpoint **checkpoint);
/* What it answered with (names, data) goes with it; weights that were read stay. NULL is ignored. */
BITBLAS_API void bitblas_checkpoint_close(bitblas_checkpoint *checkpoint);
/* The tensors, in the order of their names; and one by its name. BITBLAS_ERROR_ARGUMENT when there is none. */
BITBLAS_API int32_t bitblas_checkpoint_tensor_count(const bitblas_checkpoint *checkpoint);
BITBLAS_API bitblas_status bitblas_checkpoint_tensor_info(const bitblas_checkpoint *checkpoint, int32_t index,
                                                          bitblas_checkpoint_tensor *info);
BITBLAS_API bitblas_status bitblas_checkpoint_find(const bitblas_checkpoint *checkpoint, const char *name,
                                                   bitblas_checkpoint_tensor *info);
/* The prefixes of the quantised weights in it, in order; NULL beyond the last. Live as long as the checkpoint. */
BITBLAS_API const char *bitblas_checkpoint_layer(const bitblas_checkpoint *checkpoint, int32_t index);

/* The weight of a linear layer on the host, in one form whatever it was stored as; immutable.
 *   W[n, permutation[k]] = (value(code[n, k]) - zero[n, k / group_size]) * scale[n, k / group_size]       original
 *                           value(code[n, k]) * scale[n, k / group_size] - zero[n, k / group_size]        rescale */
typedef struct bitblas_weight bitblas_weight;

/* Where the zeros of a weight stand, if it has any. */
typedef enum bitblas_weight_zeros {
  BITBLAS_WEIGHT_ZEROS_NONE = 0,
  BITBLAS_WEIGHT_ZEROS_ORIGINAL = 1,
  BITBLAS_WEIGHT_ZEROS_RESCALE = 2
} bitblas_weight_zeros;

/* What a checkpoint may not say of a weight. */
typedef struct bitblas_weight_config {
  size_t size;
  const char *format;      /* a name of bitblas_format_name; NULL: as the tensors and the configuration say */
  int32_t bits;            /* of a code, where nothing else says it; 0: as the checkpoint says */
  int64_t group_size;      /* codes of a row with one scale, where nothing else says it; 0: as the checkpoint says */
  int32_t expert;          /* which matrix of a stack [experts, rows, columns] */
  int32_t activation_bits; /* "bitblas": what its codes are interleaved for, 16 or 8; 1: they are not; 0: 16 */
} bitblas_weight_config;
#define BITBLAS_WEIGHT_CONFIG_INIT                                                                                     \
  { sizeof(bitblas_weight_config), NULL, 0, 0, 0, 0 }

/* The formats that are read: names, in the order in which they are looked for; NULL beyond the last. Static. */
BITBLAS_API const char *bitblas_format_name(int32_t index);

/* Reads the tensors `prefix`.qweight, .scales and so on (docs/library.md has the table of formats). config NULL: the
 * defaults. BITBLAS_ERROR_ARGUMENT (nothing there, no such format), _FILE (the tensors do not fit each other),
 * _UNSUPPORTED (a variant that is known and not read). Source: lib/formats.def, lib/format_*.c */
BITBLAS_API bitblas_status bitblas_weight_read(const bitblas_checkpoint *checkpoint, const char *prefix,
                                               const bitblas_weight_config *config, bitblas_weight **weight);
/* NULL is ignored. */
BITBLAS_API void bitblas_weight_destroy(bitblas_weight *weight);

/* A weight that was read, in the one form that all formats become. */
typedef struct bitblas_weight_info {
  size_t size;
  const char *format; /* that it was read from */
  const char *note;   /* what looked wrong or had to be guessed, a sentence a line; "" */
  int64_t rows;       /* outputs: N */
  int64_t columns;    /* inputs: K */
  int64_t group_size; /* along K; the last group may be shorter. There are ceil(columns / group_size) in a row */
  bitblas_type type;
  const void *codes;   /* [rows, columns], each in the low bits of 1, 2, 4 or 8 bytes */
  const float *scales; /* [rows, groups]; those of the whole tensor are multiplied in. NULL: all are 1 */
  bitblas_weight_zeros zeros_mode;
  const float *zeros;         /* [rows, groups]; NULL: none */
  const float *codebook;      /* [16], the values of the codes; NULL: those of the type */
  const int32_t *permutation; /* [columns], the input of each column; NULL: in order */
} bitblas_weight_info;
#define BITBLAS_WEIGHT_INFO_INIT                                                                                       \
  {                                                                                                                    \
    sizeof(bitblas_weight_info), NULL, NULL, 0, 0, 0, BITBLAS_TYPE_NONE, NULL, NULL, BITBLAS_WEIGHT_ZEROS_NONE, NULL,  \
        NULL, NULL                                                                                                     \
  }

/* What a weight is; everything lives as long as it. BITBLAS_ERROR_ARGUMENT. */
BITBLAS_API bitblas_status bitblas_weight_describe(const bitblas_weight *weight, bitblas_weight_info *info);
/* The values that it stands for: [rows, columns], row-major, inputs in their own order, each computed in double and
 * rounded once. BITBLAS_ERROR_ARGUMENT, _SHAPE (count is not rows * columns). */
BITBLAS_API bitblas_status bitblas_weight_decode(const bitblas_weight *weight, float *values, size_t count);
/* The codes as bitblas_kernel_pack takes them: row-major, one stream of bits, little end first, rounded up to whole
 * bytes. BITBLAS_ERROR_ARGUMENT, _SHAPE (bytes). */
BITBLAS_API bitblas_status bitblas_weight_stream(const bitblas_weight *weight, void *stream, size_t bytes);

/* -- Linear -------------------------------------------------------------------------------------------------------- */

/* C[M, out_features] = activation(A[M, in_features] * W[out_features, in_features]^T + bias): a Matmul with its weight on
 * the device, read from a checkpoint or given as numbers. After bitblas.Linear of BitBLAS. */
typedef struct bitblas_linear bitblas_linear;

typedef struct bitblas_linear_config { /* as in bitblas_matmul_config, layout nt */
  size_t size;
  int64_t in_features, out_features; /* K, N */
  bitblas_type A_dtype, W_dtype, accum_dtype, out_dtype;
  int32_t with_bias;
  int64_t group_size;
  int32_t with_scaling, with_zeros;
  bitblas_zeros_mode zeros_mode;
  bitblas_type scale_dtype;
  const int64_t *opt_M; /* opt_M_count 0: 1, 16, 32, 64, 128, 256, 512 */
  int32_t opt_M_count;
  bitblas_fast_decoding fast_decoding;
  bitblas_activation activation;
  int64_t overlap_launches; /* loads have ended when they return: nothing is left to do */
  int64_t fast_accum;
} bitblas_linear_config;
#define BITBLAS_LINEAR_CONFIG_INIT                                                                                     \
  {                                                                                                                    \
    sizeof(bitblas_linear_config), 0, 0, BITBLAS_TYPE_NONE, BITBLAS_TYPE_NONE, BITBLAS_TYPE_NONE, BITBLAS_TYPE_NONE,   \
        0, -1, 0, 0, BITBLAS_ZEROS_ORIGINAL, BITBLAS_TYPE_NONE, NULL, 0, BITBLAS_FAST_DECODING_AUTO,                   \
        BITBLAS_ACTIVATION_NONE, 0, 0                                                                                  \
  }

/* Fills in what follows from a weight: the features, W_dtype, groups, scaling and zeros, and f32 for a scale_dtype of NONE
 * where A_dtype cannot hold the scales. A weight that no kernel decodes (codes of 3 bits, a table of its own) gets
 * W_dtype = A_dtype: it is decoded when it is loaded. A_dtype, which may be NONE, and all else stay.
 * BITBLAS_ERROR_ARGUMENT. */
BITBLAS_API bitblas_status bitblas_linear_config_for(const bitblas_weight *weight, bitblas_linear_config *config);

/* Checks the config; nothing is compiled or allocated on the device. What bitblas_matmul_create answers.
 * Source: lib/linear.c */
BITBLAS_API bitblas_status bitblas_linear_create(bitblas_context *context, const bitblas_linear_config *config,
                                                 bitblas_linear **linear);
/* Frees its device memory too; nothing of it may still be running. NULL is ignored. */
BITBLAS_API void bitblas_linear_destroy(bitblas_linear *linear);
/* As bitblas_matmul_prepare. */
BITBLAS_API bitblas_status bitblas_linear_prepare(bitblas_linear *linear, const int64_t *M, int32_t count);
/* Its matmul, to tune or to look at; lives as long as the linear. NULL for NULL. */
BITBLAS_API bitblas_matmul *bitblas_linear_matmul(bitblas_linear *linear);

/* Host memory, row-major. What the config has not is NULL. */
typedef struct bitblas_linear_values {
  size_t size;
  bitblas_form form;  /* of weight, and of quantized zeros */
  const void *weight; /* [out_features, in_features] */
  const void *scales; /* [out_features, in_features / group_size] of scale_dtype */
  const void *zeros;  /* the same, or quantized: [in_features / group_size, out_features] codes, packed along N */
  const void *bias;   /* [out_features] of out_dtype */
} bitblas_linear_values;
#define BITBLAS_LINEAR_VALUES_INIT                                                                                     \
  { sizeof(bitblas_linear_values), BITBLAS_FORM_VALUES, NULL, NULL, NULL, NULL }

/* Loads, and replaces what was loaded: transforms and copies to the device. Waits. Nothing of the linear may run
 * meanwhile, and when it fails nothing is loaded. The bytes follow from the config, as for bitblas_matmul_transform. A GPU
 * orders the codes itself where they are no BITBLAS_FORM_VALUES and bitblas_matmul_transform_on_device can; they lie on it
 * twice then, until the call returns.
 * BITBLAS_ERROR_ARGUMENT (a value that the type has not; something missing or too much), _MEMORY, what
 * bitblas_matmul_prepare answers. */
BITBLAS_API bitblas_status bitblas_linear_load_values(bitblas_linear *linear, const bitblas_linear_values *values);
/* The same from a checkpoint's weight; `bias` [out_features] of out_dtype, or NULL. Groups of the weight may be larger
 * than the linear's; signed codes may go into an unsigned W_dtype with zeros; inputs may be permuted (GPTQ's act order:
 * each run then gathers A first). Numbers are rounded to types of 16 bits and more, never to smaller ones.
 * BITBLAS_ERROR_SHAPE, _TYPE (the weight is not what the config says, both named), _UNSUPPORTED (permuted inputs of i4),
 * and as above. */
BITBLAS_API bitblas_status bitblas_linear_load(bitblas_linear *linear, const bitblas_weight *weight, const void *bias);

/* Writes what is loaded into a safetensors file, in the canonical form (docs/library.md): any later version reads it, and
 * `bitblas_weight_read` too. BITBLAS_ERROR_ARGUMENT (nothing is loaded), _FILE. */
BITBLAS_API bitblas_status bitblas_linear_save(const bitblas_linear *linear, const char *path);
/* Loads such a file. _FILE, and as bitblas_linear_load. */
BITBLAS_API bitblas_status bitblas_linear_load_file(bitblas_linear *linear, const char *path);

/* Device addresses, aligned to 16 bytes. */
typedef struct bitblas_linear_args {
  size_t size;
  int64_t M;       /* rows of A: the product of all its dimensions but the last. 0 runs nothing */
  const void *A;   /* [M, in_features] */
  void *C;         /* [M, out_features], overwritten */
  void *workspace; /* aligned to 16 bytes, zero before its first use; not shared by runs that may overlap */
  size_t workspace_bytes;
  bitblas_stream stream;
} bitblas_linear_args;
#define BITBLAS_LINEAR_ARGS_INIT                                                                                       \
  { sizeof(bitblas_linear_args), 0, NULL, NULL, NULL, 0, NULL }

/* What a run of M rows needs, with what is loaded now. As bitblas_matmul_workspace_bytes. */
BITBLAS_API bitblas_status bitblas_linear_workspace_bytes(const bitblas_linear *linear, int64_t M, size_t *bytes);
/* As bitblas_matmul_run; BITBLAS_ERROR_ARGUMENT also when nothing is loaded. */
BITBLAS_API bitblas_status bitblas_linear_forward(const bitblas_linear *linear, const bitblas_linear_args *args);

/* -- FlashAtten ---------------------------------------------------------------------------------------------------- */

/* O = softmax(Q * K^T * scale) * V, for each head. Sums, exponentials and their statistics are f32; the weights are
 * rounded to the type of V before the second product, O once at its end. The softmax is taken block by block as in
 * Dao et al., "FlashAttention" (2022); few queries over many keys are cut into parts of the keys and merged.
 * Groups of heads / kv_heads heads of Q share one of K and V. A query that sees no key gives zeros. */
typedef struct bitblas_flash_atten bitblas_flash_atten;

/* How tensors lie, the last dimension fastest. dim stands for v_dim in V and O, heads for kv_heads in K and V. */
typedef enum bitblas_flash_atten_layout {
  BITBLAS_FLASH_ATTEN_NNN = 0, /* [batch, seq_len, heads, dim] */
  BITBLAS_FLASH_ATTEN_NTN = 1, /* as NNN, but K is [batch, dim, kv_heads, kv_seq_len] */
  BITBLAS_FLASH_ATTEN_BHSD = 2 /* [batch, heads, seq_len, dim] */
} bitblas_flash_atten_layout;

/* What bitblas_flash_atten_create takes. */
typedef struct bitblas_flash_atten_config {
  size_t size;
  int32_t heads;
  int32_t kv_heads; /* divides heads; 0: heads */
  int32_t dim;      /* of a head: 64, 96, 128, 192 or 256 */
  int32_t v_dim;    /* the same of V and O; 0: dim */
  /* 0: given by each run. Otherwise the only one that runs, compiled in */
  int64_t batch;
  int64_t seq_len;          /* queries of a sequence */
  int64_t kv_seq_len;       /* keys of a sequence */
  bitblas_type dtype;       /* of Q, K and V: f16 or bf16; NONE: f16 */
  bitblas_type accum_dtype; /* f32; NONE: f32 */
  bitblas_type out_dtype;   /* of O: f16, bf16 or f32; NONE: dtype */
  bitblas_flash_atten_layout layout;
  int32_t causal;     /* 1: the last query sees every key, the one before it all but one, and so on */
  float scale;        /* greater than 0; 0: 1 / sqrt(dim) */
  int32_t lse;        /* 1: also writes the natural logarithm of each query's sum of exponentials */
  int32_t varlen_q;   /* 1: the queries of all sequences follow each other, without a batch dimension */
  int32_t varlen_kv;  /* 1: the same of keys and values */
  int32_t kv_lengths; /* 1: each sequence has a length of its own, up to what K and V have room for */
  int32_t page_size;  /* keys of a page, a power of two from 16; K and V are pages. 0: they are not */
  int32_t splits;     /* parts that the keys are cut into; 1: never cut; 0: chosen by the sizes of a run */
  int64_t
      overlap_launches; /* 1: as in bitblas_kernel_config. Nothing is packed: only the way to the first load overlaps */
} bitblas_flash_atten_config;
#define BITBLAS_FLASH_ATTEN_CONFIG_INIT                                                                                \
  {                                                                                                                    \
    sizeof(bitblas_flash_atten_config), 0, 0, 0, 0, 0, 0, 0, BITBLAS_TYPE_NONE, BITBLAS_TYPE_NONE, BITBLAS_TYPE_NONE,  \
        BITBLAS_FLASH_ATTEN_NNN, 0, 0, 0, 0, 0, 0, 0, 0, 0                                                             \
  }

/* Checks the config; nothing is compiled. Nothing of config is kept.
 * BITBLAS_ERROR_ARGUMENT and _TYPE (the message names the field, its value and the nearest possible one),
 * _UNSUPPORTED. Source: lib/flash_atten.c, lib/kernels/flash_*.tl */
BITBLAS_API bitblas_status bitblas_flash_atten_create(bitblas_context *context,
                                                      const bitblas_flash_atten_config *config,
                                                      bitblas_flash_atten **op);
/* Takes the kernels from the store or compiles them: every run needs it, once. Further calls do nothing.
 * BITBLAS_ERROR_ARGUMENT, and what bitblas_kernel_create answers. */
BITBLAS_API bitblas_status bitblas_flash_atten_prepare(bitblas_flash_atten *op);
/* Nothing of it may still be running. NULL is ignored. */
BITBLAS_API void bitblas_flash_atten_destroy(bitblas_flash_atten *op);
/* What the kernels were made from and became: 0 whole rows, 1 a part of the keys, 2 the merge of the parts. Lives as
 * long as op; NULL where the config needs no such kernel, and before bitblas_flash_atten_prepare. */
BITBLAS_API const char *bitblas_flash_atten_get_source(const bitblas_flash_atten *op, int32_t index,
                                                       bitblas_source source);

/* Tensors lie on the context's device, without gaps, at addresses aligned to 16 bytes. Those that the config did not
 * ask for are left zero. Of Q, K, V and O the shapes are the layout's; with varlen they have no batch dimension and
 * seq_len is the sum of all sequences; pages take the place of the batch, and page_size that of kv_seq_len. What K and
 * V hold beyond a sequence's length is not seen, but must not be infinite or NaN. */
typedef struct bitblas_flash_atten_args {
  size_t size;
  bitblas_tensor Q, K, V;
  bitblas_tensor O;   /* overwritten */
  bitblas_tensor lse; /* f32 [batch, heads, seq_len] in every layout, of varlen [heads, seq_len]; overwritten */
  bitblas_tensor cu_seqlens_q; /* i32 [batch + 1]: sequence b is cu_seqlens_q[b] .. cu_seqlens_q[b + 1] - 1 */
  bitblas_tensor cu_seqlens_k; /* i32 [batch + 1] */
  bitblas_tensor kv_lengths;   /* i32 [batch] */
  bitblas_tensor
      block_table;     /* i32 [batch, pages of a sequence]: its pages in order; those never seen are any number */
  int64_t max_seq_len; /* varlen: the longest sequence of queries; a greater number only costs time */
  void *workspace;     /* aligned to 16 bytes; not shared by runs that may overlap */
  size_t workspace_bytes;
  bitblas_stream stream;
} bitblas_flash_atten_args;
#define BITBLAS_NO_TENSOR                                                                                              \
  {                                                                                                                    \
    NULL, BITBLAS_TYPE_NONE, 0, {0}, { 0 }                                                                             \
  }
#define BITBLAS_FLASH_ATTEN_ARGS_INIT                                                                                  \
  {                                                                                                                    \
    sizeof(bitblas_flash_atten_args), BITBLAS_NO_TENSOR, BITBLAS_NO_TENSOR, BITBLAS_NO_TENSOR, BITBLAS_NO_TENSOR,      \
        BITBLAS_NO_TENSOR, BITBLAS_NO_TENSOR, BITBLAS_NO_TENSOR, BITBLAS_NO_TENSOR, BITBLAS_NO_TENSOR, 0, NULL, 0,     \
        NULL                                                                                                           \
  }

/* Bytes of workspace that a run with tensors of these shapes needs; their data may be NULL. 0 is frequent.
 * BITBLAS_ERROR_ARGUMENT, _TYPE, _SHAPE. */
BITBLAS_API bitblas_status bitblas_flash_atten_workspace_bytes(const bitblas_flash_atten *op,
                                                               const bitblas_flash_atten_args *args, size_t *bytes);
/* Checks everything, then enqueues one kernel, or two where the keys are cut. Several threads may run one op. Lengths
 * and tables are read on the device: they may change between replays of a CUDA graph, shapes may not.
 * BITBLAS_ERROR_ARGUMENT (also: not prepared), _TYPE, _SHAPE, _ALIGNMENT, _WORKSPACE, _CUDA, _EMULATOR. */
BITBLAS_API bitblas_status bitblas_flash_atten_run(const bitblas_flash_atten *op, const bitblas_flash_atten_args *args);

#ifdef __cplusplus
}
#endif

#endif
