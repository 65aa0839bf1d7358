/* What docs/library.md says may be called when: every call of every row is made on the stand-in of a GPU, which counts, and
 * each cell is compared with what was counted. Cells are words of the tables below; a row without a test, a call without a
 * row and a word without a meaning fail. Each call of which the table says so is made by several threads at once, for which
 * ThreadSanitizer is the judge. */
#include "tests/unit/lib/contract_calls.h"

#include <pthread.h>

/* -- The table of the page ----------------------------------------------------------------------------------------------- */

enum { COLUMNS = 6, ROWS_MAX = 64, NAMES_MAX = 128, NAME_BYTES = 64 };
enum { THREADS, COMPILES, ALLOCATES, WAITS, CAPTURE }; /* the columns after that of the call */

typedef struct page {
  char *text, *header; /* of docs/library.md, cut into cells; of include/bitblas.h */
  char *cell[ROWS_MAX][COLUMNS];
  int row_count;
  char name[NAMES_MAX][NAME_BYTES]; /* of the calls in it, each with its row */
  int row_of[NAMES_MAX];
  int name_count;
} page;

static page contract;

static char *read_text(const char *path) {
  FILE *file = fopen(path, "r");
  assert_non_null(file);
  char *text = NULL;
  size_t bytes = 0;
  assert_true(getdelim(&text, &bytes, '\0', file) > 0);
  fclose(file);
  return text;
}

/* Whether the interface declares it. */
static bool is_declared(const char *name) {
  size_t length = strlen(name);
  for (const char *at = contract.header; (at = strstr(at, name)); at += length)
    if (at[length] == '(' && (at[-1] == ' ' || at[-1] == '*')) return true;
  return false;
}

/* `_run` after `bitblas_matmul_create` is bitblas_matmul_run: the longest beginning that makes a call of the interface. */
static void complete(char name[NAME_BYTES], const char *before) {
  char suffix[NAME_BYTES];
  memcpy(suffix, name, sizeof suffix);
  for (size_t length = strlen(before); length > 0; length--) {
    if (before[length] != '_' && before[length] != '\0') continue;
    if (length + strlen(suffix) >= NAME_BYTES) continue;
    memcpy(name, before, length);
    memcpy(name + length, suffix, strlen(suffix) + 1);
    if (is_declared(name)) return;
  }
  fail_msg("no call of the interface is meant by %s after %s", suffix, before);
}

static void read_names(int row) {
  int before = contract.name_count;
  for (char *at = contract.cell[row][0]; (at = strchr(at, '`'));) {
    char *end = strchr(at + 1, '`');
    assert_non_null(end);
    assert_true(contract.name_count < NAMES_MAX && end - at < NAME_BYTES);
    char *name = contract.name[contract.name_count];
    snprintf(name, NAME_BYTES, "%.*s", (int)(end - at - 1), at + 1);
    if (name[0] == '_')
      complete(name, contract.name[before]);
    else
      before = contract.name_count;
    contract.row_of[contract.name_count++] = row;
    at = end + 1;
  }
}

static char *trim(char *cell) {
  cell += strspn(cell, " ");
  for (char *end = cell + strlen(cell); end > cell && end[-1] == ' ';)
    *--end = '\0';
  return cell;
}

static int read_page(void **state) {
  (void)state;
  contract.header = read_text(TEST_SOURCE_DIRECTORY "/../../../include/bitblas.h");
  contract.text = read_text(TEST_SOURCE_DIRECTORY "/../../../docs/library.md");
  char *at = strstr(contract.text, "## What may be called when\n"), *line;
  assert_non_null(at);
  while ((line = strsep(&at, "\n")) && strncmp(line, "| ---", 5) != 0)
    ;
  while ((line = strsep(&at, "\n")) && *line++ == '|') {
    assert_true(contract.row_count < ROWS_MAX);
    for (int i = 0; i < COLUMNS; i++) {
      char *cell = strsep(&line, "|");
      assert_non_null(cell);
      contract.cell[contract.row_count][i] = trim(cell);
    }
    read_names(contract.row_count++);
  }
  return contract_open();
}

static int free_page(void **state) {
  (void)state;
  free(contract.text);
  free(contract.header);
  return contract_close();
}

/* The row that the call stands in; -1: none. */
static int row_of(const char *name) {
  for (int i = 0; i < contract.name_count; i++)
    if (strcmp(contract.name[i], name) == 0) return contract.row_of[i];
  return -1;
}

/* -- Measuring ----------------------------------------------------------------------------------------------------------- */

enum { AGAIN = 1, CAPTURED = 2, FILLED = 4, PINNED = 8 };

/* What one call did. */
typedef struct facts {
  bitblas_status status;
  int compiles, allocations, frees, waits, at_once, staged, refused;
  int memory; /* allocated and still there */
} facts;

static facts count_so_far(void) {
  stand_in_gpu *gpu = stand_in();
  facts f = {.compiles = gpu->compiles, .allocations = gpu->allocations, .frees = gpu->frees, .waits = gpu->waits};
  f.at_once = gpu->allocations + gpu->frees + gpu->loads + gpu->unloads + gpu->retains + gpu->releases;
  f.staged = gpu->staged, f.refused = gpu->refused, f.memory = gpu->memory;
  return f;
}

static facts count_since(facts before, bitblas_status status) {
  facts f = count_so_far();
  f.status = status;
  f.compiles -= before.compiles, f.allocations -= before.allocations, f.frees -= before.frees;
  f.waits -= before.waits, f.at_once -= before.at_once, f.staged -= before.staged, f.refused -= before.refused;
  f.memory -= before.memory;
  return f;
}

static void check_closed(const contract_call *c) {
  const stand_in_gpu *gpu = stand_in();
  if (stand_in_is_closed()) return;
  fail_msg("%s: %d contexts, %d modules, %d events, %d pieces of memory are left, and %d contexts are current", c->name,
           gpu->contexts, gpu->modules, gpu->events, gpu->memory, gpu->entered);
}

/* The call, on a new context, from an empty store (FILLED: from one that has what it needs); AGAIN: the second of two. */
static facts measure(const contract_call *c, unsigned how) {
  scene s;
  stand_in_gpu *gpu = stand_in();
  scene_open(&s, c->needs);
  if (how & PINNED) gpu->pinned = s.host, gpu->pinned_end = s.host + HOST_BYTES;
  void *made[2] = {NULL, NULL};
  if (!(how & FILLED)) store_hide();
  if (how & AGAIN) check(c->make(&s, &made[0]));
  if (!(how & FILLED)) store_hide();
  facts before = count_so_far();
  if (how & CAPTURED) gpu->captured = s.stream;
  bitblas_status status = c->make(&s, &made[1]);
  gpu->captured = NULL;
  facts f = count_since(before, status);
  for (int i = 0; i < 2; i++)
    if (made[i]) c->undo(&s, made[i]);
  gpu->pinned = gpu->pinned_end = NULL;
  scene_close(&s);
  store_show();
  check_closed(c);
  return f;
}

/* -- What the words of the cells mean -------------------------------------------------------------------------------------- */

typedef bool meaning(const contract_call *c);

typedef struct word {
  const char *cell;
  meaning *holds;
} word;

static bool succeeds(const contract_call *c, unsigned how) {
  facts f = measure(c, how);
  if (f.status != BITBLAS_OK)
    print_error("%s: %s: %s\n", c->name, bitblas_status_name(f.status), bitblas_last_message());
  return f.status == BITBLAS_OK && !f.refused;
}

/* Of a call that ends what it is made on there is no second one. */
static bool second(const contract_call *c, facts *f) {
  if (!c->ends) *f = measure(c, AGAIN);
  return !c->ends;
}

static bool never_compiles(const contract_call *c) {
  facts f;
  return measure(c, 0).compiles == 0 && (!second(c, &f) || f.compiles == 0);
}

static bool takes_it_from_the_store(const contract_call *c) {
  measure(c, FILLED);
  return measure(c, FILLED).compiles == 0;
}

static bool compiles(const contract_call *c) {
  facts f;
  return measure(c, 0).compiles > 0 && second(c, &f) && f.compiles > 0 && takes_it_from_the_store(c);
}

static bool compiles_once(const contract_call *c) {
  facts f;
  return measure(c, 0).compiles > 0 && second(c, &f) && f.compiles == 0 && takes_it_from_the_store(c);
}

static bool never_allocates(const contract_call *c) {
  facts f = measure(c, 0), again;
  return !f.allocations && !f.frees && (!second(c, &again) || (!again.allocations && !again.frees));
}

static bool frees(const contract_call *c) {
  facts f = measure(c, 0);
  return !f.allocations && f.frees > 0 && f.memory == -f.frees;
}

static bool allocates(const contract_call *c) {
  facts f = measure(c, 0);
  return f.allocations > 0 && f.memory > 0;
}

static bool allocates_meanwhile(const contract_call *c) {
  facts f = measure(c, 0);
  return f.allocations > 0 && f.memory == 0;
}

static bool does_not_wait(const contract_call *c, unsigned how) {
  facts f = measure(c, how);
  return !f.waits && !f.at_once && !f.staged;
}

static bool never_waits(const contract_call *c) { return does_not_wait(c, 0) && (c->ends || does_not_wait(c, AGAIN)); }

static bool waits(const contract_call *c) { return measure(c, 0).waits > 0; }

/* It asks the driver for something that the driver may wait for. */
static bool may_wait(const contract_call *c) {
  facts f = measure(c, 0);
  return !f.waits && f.at_once > 0;
}

static bool may_wait_at_first(const contract_call *c) { return may_wait(c) && !c->ends && does_not_wait(c, AGAIN); }

static bool may_wait_for_pageable(const contract_call *c) {
  facts f = measure(c, 0);
  return !f.waits && !f.at_once && f.staged > 0 && does_not_wait(c, PINNED);
}

static bool is_capturable(const contract_call *c) {
  return succeeds(c, CAPTURED) && (c->ends || succeeds(c, CAPTURED | AGAIN));
}

static bool is_refused(const contract_call *c) { return measure(c, CAPTURED).refused > 0; }

static bool is_capturable_later(const contract_call *c) { return is_refused(c) && succeeds(c, CAPTURED | AGAIN); }

static bool is_capturable_pinned(const contract_call *c) { return is_refused(c) && succeeds(c, CAPTURED | PINNED); }

/* -- Threads --------------------------------------------------------------------------------------------------------------- */

enum { LANES = 4, TIMES = 3 };

typedef struct lane {
  const contract_call *c;
  scene s;
  pthread_barrier_t *together;
  char message[256]; /* "" when all went well */
} lane;

static void *call_often(void *data) {
  lane *l = data;
  pthread_barrier_wait(l->together);
  for (int i = 0; i < TIMES; i++) {
    void *made = NULL;
    if (l->c->make(&l->s, &made) != BITBLAS_OK) snprintf(l->message, sizeof l->message, "%s", bitblas_last_message());
    if (made) l->c->undo(&l->s, made);
  }
  return NULL;
}

/* On one context and on the same objects. What has to be compiled is compiled once. */
static bool serves_threads(const contract_call *c) {
  scene s;
  lane lanes[LANES];
  pthread_t threads[LANES];
  pthread_barrier_t together;
  int compiles_alone = measure(c, 0).compiles;
  bool ok = true;
  scene_open(&s, c->needs);
  store_hide();
  facts before = count_so_far();
  pthread_barrier_init(&together, NULL, LANES);
  for (int i = 0; i < LANES; i++) {
    lanes[i] = (lane){.c = c, .s = s, .together = &together};
    lanes[i].s.lane = i;
    assert_int_equal(pthread_create(&threads[i], NULL, call_often, &lanes[i]), 0);
  }
  for (int i = 0; i < LANES; i++) {
    pthread_join(threads[i], NULL);
    if (lanes[i].message[0]) print_error("%s: %s\n", c->name, lanes[i].message);
    ok = ok && !lanes[i].message[0];
  }
  pthread_barrier_destroy(&together);
  ok = ok && count_since(before, BITBLAS_OK).compiles == compiles_alone;
  scene_close(&s);
  store_show();
  check_closed(c);
  return ok;
}

/* The application's affair: there is nothing to see. But the call does what it should when it is alone. */
static bool works_alone(const contract_call *c) { return succeeds(c, 0); }

static bool ends_it(const contract_call *c) { return c->ends && works_alone(c); }

/* -- The columns ------------------------------------------------------------------------------------------------------------ */

enum { WORDS_MAX = 8 };

static const struct {
  const char *name;
  word words[WORDS_MAX];
} columns[COLUMNS - 1] = {
    [THREADS] = {"several threads",
                 {{"yes", serves_threads},
                  {"yes; with workspaces of their own", serves_threads},
                  {"yes; one compiles, the others wait", serves_threads},
                  {"yes; but for loads", serves_threads},
                  {"no; while nothing of it runs", works_alone},
                  {"no; once", ends_it},
                  {"no; once, when nothing of it runs", ends_it}}},
    [COMPILES] = {"may compile", {{"no", never_compiles}, {"yes", compiles}, {"yes; the first time", compiles_once}}},
    [ALLOCATES] = {"allocates device memory",
                   {{"no", never_allocates},
                    {"no; frees", frees},
                    {"yes", allocates},
                    {"yes; until it returns", allocates_meanwhile}}},
    [WAITS] = {"waits for the GPU",
               {{"no", never_waits},
                {"yes", waits},
                {"may", may_wait},
                {"may; the first time", may_wait_at_first},
                {"may; of pageable memory", may_wait_for_pageable}}},
    [CAPTURE] = {"in a graph capture",
                 {{"no", is_refused},
                  {"yes", is_capturable},
                  {"yes; after the first time", is_capturable_later},
                  {"yes; of pinned memory", is_capturable_pinned}}},
};

static void check_cell(const contract_call *c, int row, int column) {
  const char *cell = contract.cell[row][column + 1];
  for (int i = 0; i < WORDS_MAX && columns[column].words[i].cell; i++) {
    const word *w = &columns[column].words[i];
    if (strcmp(w->cell, cell) != 0) continue;
    if (w->holds(c)) return;
    facts f = measure(c, 0), captured = measure(c, CAPTURED), again = {.compiles = 0};
    second(c, &again);
    fail_msg("%s: '%s' is '%s', but alone it compiles %d, allocates %d, frees %d, waits %d and may wait %d times "
             "(staged %d); "
             "again %d, %d, %d, %d and %d (%d); a capture refuses %d calls",
             c->name, columns[column].name, cell, f.compiles, f.allocations, f.frees, f.waits, f.at_once, f.staged,
             again.compiles, again.allocations, again.frees, again.waits, again.at_once, again.staged,
             captured.refused);
  }
  fail_msg("%s: '%s' is '%s', which no test knows", c->name, columns[column].name, cell);
}

/* -- Tests ------------------------------------------------------------------------------------------------------------------- */

/* Every call of the interface stands in the table once, and has a test. */
static void names_every_call(void **state) {
  (void)state;
  assert_true(contract.name_count > 0);
  for (int i = 0; i < contract.name_count; i++) {
    int call = 0;
    while (call < CONTRACT_CALLS && strcmp(contract_calls[call].name, contract.name[i]) != 0)
      call++;
    if (call == CONTRACT_CALLS) fail_msg("%s has a row and no test", contract.name[i]);
    if (row_of(contract.name[i]) != contract.row_of[i]) fail_msg("%s has two rows", contract.name[i]);
  }
  for (const char *at = contract.header; (at = strstr(at, "\nBITBLAS_API "));) {
    const char *end = strchr(at, '('), *name = end;
    while (name[-1] == '_' || (name[-1] >= 'a' && name[-1] <= 'z'))
      name--;
    char text[NAME_BYTES];
    snprintf(text, sizeof text, "%.*s", (int)(end - name), name);
    if (row_of(text) < 0) fail_msg("%s has no row", text);
    at = end;
  }
}

/* The head of the table is the one that this file knows. */
static void knows_the_columns(void **state) {
  (void)state;
  char head[256] = "| call |";
  for (int i = 0; i < COLUMNS - 1; i++)
    snprintf(head + strlen(head), sizeof head - strlen(head), " %s |", columns[i].name);
  char *page_text = read_text(TEST_SOURCE_DIRECTORY "/../../../docs/library.md");
  assert_non_null(strstr(page_text, head));
  free(page_text);
}

static void does_what_its_row_says(void **state) {
  const contract_call *c = *state;
  int row = row_of(c->name);
  if (row < 0) fail_msg("%s has a test and no row", c->name);
  for (int column = 0; column < COLUMNS - 1; column++)
    check_cell(c, row, column);
}

int main(void) {
  struct CMUnitTest tests[2 + CONTRACT_CALLS] = {cmocka_unit_test(knows_the_columns),
                                                 cmocka_unit_test(names_every_call)};
  for (int i = 0; i < CONTRACT_CALLS; i++) {
    const contract_call *c = &contract_calls[i];
    tests[2 + i] = (struct CMUnitTest){c->name, does_what_its_row_says, NULL, NULL, (void *)(uintptr_t)c};
  }
  return cmocka_run_group_tests(tests, read_page, free_page);
}
