/* Diagnostics: errors, warnings, remarks and notes about the user's text.
 *
 *   matmul.tl:14:16: error: 'dot' needs the same k on both sides: As is f16[64, 64], Bs is i4[128, 32] [dot-shape]
 *      14 |     acc += dot(As, Bs)
 *         |                ^~~~~~
 *   matmul.tl:9:5: note: Bs is declared here
 *
 * The text form is GCC's, so editors understand it; the JSON form is one object a diagnostic, each on its own line.
 * Every error has a stable id from support/diagnostics.def. Messages are lower-case, have no full stop, give both
 * values and what to change. */
#ifndef BITBLASC_SUPPORT_DIAG_H
#define BITBLASC_SUPPORT_DIAG_H

#include "support/arena.h"
#include "support/str.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* A place in a source text. line 0 means "nowhere". */
typedef struct src_loc {
  uint16_t file;   /* index from diag_add_file */
  uint16_t column; /* from 1, in bytes */
  uint16_t length; /* of the underlined text, at least 1 */
  uint32_t line;   /* from 1 */
} src_loc;

typedef enum diag_severity { DIAG_ERROR, DIAG_WARNING, DIAG_REMARK, DIAG_NOTE } diag_severity;

/* Ids: one row each in diagnostics.def: DIAG(enum, "stable-name", "what it means and what to do"). */
typedef enum diag_id {
#define DIAG(id, name, meaning) DIAG_##id,
#include "support/diagnostics.def"
#undef DIAG
  DIAG_ID_COUNT
} diag_id;
const char *diag_id_name(diag_id id);
const char *diag_id_meaning(diag_id id);

typedef struct diag diag;

typedef enum diag_format { DIAG_FORMAT_TEXT, DIAG_FORMAT_JSON } diag_format;

diag *diag_create(void);
void diag_destroy(diag *d);

/* Registers a text so that carets can be drawn; name and text are copied. Returns its index. */
uint16_t diag_add_file(diag *d, const char *name, const char *text, size_t length);
const char *diag_file_name(const diag *d, uint16_t file); /* "" when unknown */
int diag_file_count(const diag *d);

/* Each returns false, so that callers write `return diag_error(...)`. After `error_limit` errors (20) the rest are
 * counted but not kept. A note belongs to the diagnostic before it. */
bool diag_error(diag *d, diag_id id, src_loc loc, const char *format, ...) __attribute__((format(printf, 4, 5)));
bool diag_verror(diag *d, diag_id id, src_loc loc, const char *format, va_list args)
    __attribute__((format(printf, 4, 0)));
bool diag_warning(diag *d, diag_id id, src_loc loc, const char *format, ...) __attribute__((format(printf, 4, 5)));
bool diag_note(diag *d, src_loc loc, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* A remark says why a request could not be honoured (honoured = false) or what was decided (honoured = true). `pass`
 * names the pass, `topic` what it is about ("tma", "stages", "wgmma", ...). When `topic` is required (diag_require), an
 * unhonoured remark becomes an error with id REQUIRED. Returns false when it became an error, else true. */
bool diag_remark(diag *d, const char *pass, const char *topic, bool honoured, src_loc loc, const char *format, ...)
    __attribute__((format(printf, 6, 7)));
void diag_require(diag *d, const char *topic);      /* "all" requires every topic */
void diag_require_like(diag *d, const diag *other); /* every topic that `other` requires */

int diag_error_count(const diag *d);
const char *diag_first_error(const diag *d); /* its message alone, valid until diag_clear; NULL when there is none */
bool diag_failed(const diag *d);
/* Renders everything kept so far. `remarks` is a comma list of passes, "all" or NULL for none. */
void diag_render(const diag *d, diag_format format, const char *remarks, str *out);
void diag_clear(diag *d); /* forgets the diagnostics, keeps the files and requirements */

/* Our own mistake, never the user's: prints file:line and the message to stderr and aborts. The driver catches SIGABRT
 * and leaves with status 70 (EX_SOFTWARE). */
_Noreturn void bug_at(const char *file, int line, const char *format, ...) __attribute__((format(printf, 3, 4)));
#define BUG(...)          bug_at(__FILE__, __LINE__, __VA_ARGS__)
#define ASSERT(condition) ((condition) ? (void)0 : BUG("assertion failed: %s", #condition))

#endif
