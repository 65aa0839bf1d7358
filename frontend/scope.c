/* Names and what they stand for. */
#include "frontend/lower.h"

#include <string.h>

enum { MAX_NAME_LENGTH = 40 };

scope *scope_push(lower *l) {
  scope *s = ARENA_NEW(l->memory, scope);
  s->parent = l->scope;
  l->scope = s;
  return s;
}

void scope_pop(lower *l) { l->scope = l->scope->parent; }

static binding *find_here(const scope *s, const char *name) {
  for (binding *b = s->first; b; b = b->next)
    if (strcmp(b->name, name) == 0) return b;
  return NULL;
}

binding *scope_find(const scope *s, const char *name) {
  for (; s; s = s->parent) {
    binding *b = find_here(s, name);
    if (b) return b;
  }
  return NULL;
}

binding *scope_add(lower *l, binding_kind kind, const char *name, src_loc loc) {
  binding *old = find_here(l->scope, name);
  if (old && old->kind == BINDING_ABSENT) { /* another declaration of the name may be there instead */
    old->kind = kind;
    old->loc = loc;
    return old;
  }
  if (old && kind == BINDING_ABSENT) return old;
  if (old) {
    diag_error(l->d, DIAG_DUPLICATE, loc, "'%s' is declared twice", name);
    if (old->loc.line) diag_note(l->d, old->loc, "the first '%s' is here", name);
    return NULL;
  }
  if (ir_type_by_name(name, strlen(name)) != IR_TYPE_NONE) {
    diag_error(l->d, DIAG_DUPLICATE, loc, "'%s' is a type and cannot be declared again", name);
    return NULL;
  }
  if (++l->scope->count > LOWER_MAX_NAMES) {
    if (l->scope->count == LOWER_MAX_NAMES + 1)
      diag_error(l->d, DIAG_TOO_LARGE, loc, "more than %d names in one scope", LOWER_MAX_NAMES);
    return NULL;
  }
  binding *b = ARENA_NEW(l->memory, binding);
  b->kind = kind;
  b->name = name;
  b->loc = loc;
  b->next = l->scope->first;
  l->scope->first = b;
  return b;
}

const ast_function *find_function(const lower *l, const char *name) {
  for (const ast_function *f = l->ast->functions; f; f = f->next)
    if (strcmp(f->name, name) == 0) return f;
  return NULL;
}

/* Insertions, deletions and substitutions between the names; large when either is long. */
static size_t edit_distance(const char *a, const char *b) {
  size_t row[MAX_NAME_LENGTH + 1], a_length = strlen(a), b_length = strlen(b);
  if (a_length > MAX_NAME_LENGTH || b_length > MAX_NAME_LENGTH) return MAX_NAME_LENGTH;
  for (size_t j = 0; j <= b_length; j++)
    row[j] = j;
  for (size_t i = 1; i <= a_length; i++) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b_length; j++) {
      size_t best = diagonal + ((a[i - 1] | 0x20) != (b[j - 1] | 0x20));
      if (row[j] + 1 < best) best = row[j] + 1;
      if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
      diagonal = row[j];
      row[j] = best;
    }
  }
  return row[b_length];
}

const char *nearer_name(const char *name, const char *best, const char *candidate) {
  size_t allowed = strlen(name) / 3 + 1;
  size_t distance = edit_distance(name, candidate);
  if (distance > allowed || distance >= strlen(name) || strcmp(candidate, "_") == 0) return best;
  return !best || distance < edit_distance(name, best) ? candidate : best;
}

bool report_unknown(lower *l, src_loc loc, const char *name) {
  const char *best = NULL;
  for (const scope *s = l->scope; s; s = s->parent)
    for (const binding *b = s->first; b; b = b->next)
      best = nearer_name(name, best, b->name);
  if (best) return diag_error(l->d, DIAG_UNKNOWN_NAME, loc, "'%s' is not declared; did you mean '%s'?", name, best);
  return diag_error(l->d, DIAG_UNKNOWN_NAME, loc, "'%s' is not declared", name);
}
