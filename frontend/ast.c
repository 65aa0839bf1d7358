/* Nodes of the syntax tree, and the files it is read from. */
#include "frontend/ast.h"

#include <string.h>

enum { MAX_INCLUDE_DEPTH = 32, MAX_TEXT_BYTES = 64 << 20 };

static int max_int(int a, int b) { return a > b ? a : b; }

static int items_depth(const ast_item *items) {
  int depth = 0;
  for (const ast_item *item = items; item; item = item->next) {
    if (item->value) depth = max_int(depth, item->value->depth);
    if (item->span) depth = max_int(depth, item->span->depth);
  }
  return depth;
}

static ast_expr *checked_depth(ast_reader *r, ast_expr *e) {
  if (e->depth <= AST_MAX_DEPTH) return e;
  diag_error(r->ast->d, DIAG_TOO_DEEP, e->loc, "this expression nests more than %d levels; name its parts with let",
             AST_MAX_DEPTH);
  return ast_expr_new(r, AST_BAD, e->loc);
}

ast_expr *ast_expr_new(ast_reader *r, ast_expr_kind kind, src_loc loc) {
  ast_expr *e = ARENA_NEW(r->ast->memory, ast_expr);
  e->kind = kind;
  e->loc = e->op_loc = loc;
  e->depth = 1;
  return e;
}

ast_expr *ast_operator(ast_reader *r, ast_expr_kind kind, ir_expr_kind op, src_loc loc, src_loc op_loc, ast_expr *left,
                       ast_expr *right, ast_expr *condition) {
  ast_expr *e = ast_expr_new(r, kind, loc);
  e->op = op;
  e->op_loc = op_loc;
  e->left = left;
  e->right = right;
  e->condition = condition;
  e->depth += max_int(left ? left->depth : 0, max_int(right ? right->depth : 0, condition ? condition->depth : 0));
  return checked_depth(r, e);
}

ast_expr *ast_call(ast_reader *r, const char *name, src_loc loc, src_loc name_loc, ast_item *items) {
  ast_expr *e = ast_expr_new(r, AST_CALL, loc);
  e->name = name;
  e->op_loc = name_loc;
  e->items = items;
  e->depth += items_depth(items);
  return checked_depth(r, e);
}

ast_expr *ast_index(ast_reader *r, src_loc loc, ast_expr *left, ast_item *items) {
  ast_expr *e = ast_expr_new(r, AST_INDEX, loc);
  e->left = left;
  e->items = items;
  e->depth += max_int(left->depth, items_depth(items));
  return checked_depth(r, e);
}

ast_item *ast_item_new(ast_reader *r, ast_item_kind kind, src_loc loc, const char *name, ast_expr *value,
                       ast_expr *span) {
  ast_item *item = ARENA_NEW(r->ast->memory, ast_item);
  item->kind = kind;
  item->loc = loc;
  item->name = name;
  item->value = value;
  item->span = span;
  return item;
}

ast_stmt *ast_stmt_new(ast_reader *r, ast_stmt_kind kind, src_loc loc) {
  ast_stmt *stmt = ARENA_NEW(r->ast->memory, ast_stmt);
  stmt->kind = kind;
  stmt->loc = stmt->name_loc = stmt->op_loc = loc;
  stmt->depth = 1;
  return stmt;
}

ast_stmt *ast_stmt_done(ast_reader *r, ast_stmt *stmt) {
  stmt->depth = 1 + max_int(stmt->body.depth, stmt->other.depth);
  if (stmt->depth <= AST_MAX_DEPTH) return stmt;
  diag_error(r->ast->d, DIAG_TOO_DEEP, stmt->loc, "statements nest more than %d levels", AST_MAX_DEPTH);
  return ast_stmt_new(r, AST_STMT_BAD, stmt->loc);
}

void ast_block_add(ast_block *block, ast_stmt *stmt) {
  if (!stmt) return;
  if (block->last)
    block->last->next = stmt;
  else
    block->first = stmt;
  block->last = stmt;
  block->depth = max_int(block->depth, stmt->depth);
}

ast_declaration *ast_declaration_new(ast_reader *r, const char *name, src_loc loc) {
  ast_declaration *declaration = ARENA_NEW(r->ast->memory, ast_declaration);
  declaration->name = name;
  declaration->loc = declaration->type_loc = loc;
  return declaration;
}

ast_constant *ast_constant_new(ast_reader *r, const char *name, src_loc loc, ast_item *choices, ast_expr *value) {
  ast_constant *constant = ARENA_NEW(r->ast->memory, ast_constant);
  constant->name = name;
  constant->loc = loc;
  constant->choices = choices;
  constant->value = value;
  return constant;
}

int ast_item_count(const ast_item *items) {
  int count = 0;
  for (const ast_item *item = items; item; item = item->next)
    count++;
  return count;
}

/* -- Files --------------------------------------------------------------------------------------------------------- */

static bool is_read(const frontend_ast *ast, const char *path) {
  for (int i = 0; i < ast->file_count; i++)
    if (strcmp(ast->files[i], path) == 0) return true;
  return false;
}

static void read_file(frontend_ast *ast, const char *path, const char *text, size_t length, int include_depth) {
  const char *kept = arena_strdup(ast->memory, path);
  ARENA_PUSH(ast->memory, ast->files, ast->file_count, ast->file_capacity, kept);
  ast_reader r = {.ast = ast, .path = kept, .line = 1, .include_depth = include_depth};
  r.file = diag_add_file(ast->d, path, text, length);
  r.start = r.cursor = r.line_start = arena_strndup(ast->memory, text, length);
  r.limit = r.start + length;
  ast_parse_file(&r);
}

void ast_include(ast_reader *r, src_loc loc, const char *name) {
  frontend_ast *ast = r->ast;
  const char *path = NULL, *text = NULL;
  size_t length = 0;
  if (r->include_depth >= MAX_INCLUDE_DEPTH) {
    diag_error(ast->d, DIAG_INCLUDE, loc, "files include each other more than %d deep", MAX_INCLUDE_DEPTH);
  } else if (!ast->loader ||
             !ast->loader->load(ast->loader->context, ast->memory, r->path, name, &path, &text, &length)) {
    diag_error(ast->d, DIAG_INCLUDE, loc, "cannot find '%s'; give its directory with -I", name);
  } else if (length > MAX_TEXT_BYTES) {
    diag_error(ast->d, DIAG_TOO_LARGE, loc, "'%s' has more than %d bytes", name, MAX_TEXT_BYTES);
  } else if (!is_read(ast, path)) { /* a file is read once, however often it is included */
    read_file(ast, path, text, length, r->include_depth + 1);
  }
}

frontend_ast *frontend_parse(arena *memory, diag *d, const char *path, const char *text, size_t length,
                             const frontend_loader *loader) {
  int errors = diag_error_count(d);
  frontend_ast *ast = ARENA_NEW(memory, frontend_ast);
  ast->memory = memory;
  ast->d = d;
  ast->source_name = arena_strdup(memory, path);
  ast->loader = loader;
  if (length > MAX_TEXT_BYTES) {
    diag_error(d, DIAG_TOO_LARGE, (src_loc){0}, "%s has more than %d bytes", path, MAX_TEXT_BYTES);
    return NULL;
  }
  read_file(ast, path, text, length, 0);
  if (diag_error_count(d) == errors && !ast->kernels)
    diag_error(d, DIAG_NO_KERNEL, (src_loc){.line = 1, .column = 1, .length = 1}, "this file has no kernel");
  ast->d = NULL;
  ast->loader = NULL;
  return diag_error_count(d) == errors ? ast : NULL;
}

int frontend_file_count(const frontend_ast *ast) { return ast->file_count; }
const char *frontend_file_path(const frontend_ast *ast, int index) { return ast->files[index]; }
