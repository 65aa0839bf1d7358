/* The syntax tree of a `.tl` file. Made by parser.y, read by the lowering, never changed in between.
 *
 * Names are kept as written; what a name means is decided when a kernel is lowered, since a param may be a type and an
 * extent may be a run-time size or a constant, depending on the bindings. */
#ifndef BITBLASC_FRONTEND_AST_H
#define BITBLASC_FRONTEND_AST_H

#include "frontend/frontend.h"

/* Trees deeper than this are refused, so that recursion over a tree cannot exhaust the stack. */
enum { AST_MAX_DEPTH = 200 };

typedef struct ast_expr ast_expr;
typedef struct ast_stmt ast_stmt;

/* One argument of a call, or one subscript. */
typedef enum ast_item_kind {
  AST_ITEM_VALUE, /* value, or name = value */
  AST_ITEM_SPAN,  /* value : span */
  AST_ITEM_ALL,   /* : */
  AST_ITEM_NEW    /* _ */
} ast_item_kind;

typedef struct ast_item ast_item;
struct ast_item {
  ast_item *next;
  ast_item_kind kind;
  const char *name; /* of a named argument, else NULL */
  ast_expr *value, *span;
  src_loc loc;
};

typedef enum ast_expr_kind {
  AST_INT,
  AST_FLOAT,
  AST_BOOL,
  AST_NAME,
  AST_UNARY,     /* op, left */
  AST_NOT,       /* !left */
  AST_BINARY,    /* op, left, right */
  AST_AND_ALSO,  /* left && right */
  AST_OR_ELSE,   /* left || right */
  AST_SELECT,    /* condition ? left : right */
  AST_CALL,      /* name(items) */
  AST_INDEX,     /* left[items] */
  AST_TRANSPOSE, /* left^T */
  AST_BAD        /* a syntax error stood here, already reported */
} ast_expr_kind;

struct ast_expr {
  ast_expr_kind kind;
  ir_expr_kind op;
  int depth;
  src_loc loc;
  src_loc op_loc; /* of the operator, or of the called name */
  int64_t int_value;
  double float_value;
  const char *name;
  ast_expr *left, *right, *condition;
  ast_item *items;
};

/* name: type[shape] stride [strides] = init when condition; an argument, a buffer, a tile or a variable. */
typedef struct ast_declaration ast_declaration;
struct ast_declaration {
  ast_declaration *next;
  const char *name;
  src_loc loc;
  ir_direction direction;
  const char *type; /* NULL: inferred */
  src_loc type_loc;
  ast_item *shape;   /* NULL: none */
  ast_item *strides; /* NULL: row-major */
  ast_item *layout;  /* NULL: chosen by the compiler */
  ast_expr *init, *condition;
};

/* A named compile-time value: const, param, tune. */
typedef enum ast_constant_kind { AST_CONST, AST_PARAM, AST_TUNE } ast_constant_kind;
typedef struct ast_constant ast_constant;
struct ast_constant {
  ast_constant *next;
  ast_constant_kind kind;
  const char *name;
  src_loc loc;
  ast_item *choices; /* names; NULL: any value of the default's kind */
  ast_expr *value;
};

typedef enum ast_stmt_kind {
  AST_STMT_BAD,
  AST_STMT_SHARED,   /* declarations */
  AST_STMT_TILE,     /* declarations */
  AST_STMT_LET,      /* declarations */
  AST_STMT_VAR,      /* declarations */
  AST_STMT_CONST,    /* constants */
  AST_STMT_ASSIGN,   /* target op value */
  AST_STMT_ATOMIC,   /* target op value */
  AST_STMT_COPY,     /* value -> target, otherwise */
  AST_STMT_CALL,     /* value: a macro or fill(...) */
  AST_STMT_IF,       /* value, body, other */
  AST_STMT_WHILE,    /* value, body */
  AST_STMT_FOR,      /* name in value [.. limit], body */
  AST_STMT_PARALLEL, /* coordinates, body */
  AST_STMT_BLOCK     /* body */
} ast_stmt_kind;

typedef enum ast_assign {
  AST_SET,
  AST_ADD,
  AST_SUB,
  AST_MUL,
  AST_DIV,
  AST_MAX,
  AST_MIN,
  AST_BIT_AND,
  AST_BIT_OR,
  AST_BIT_XOR
} ast_assign;

typedef struct ast_block {
  ast_stmt *first, *last;
  int depth;
} ast_block;

struct ast_stmt {
  ast_stmt *next;
  ast_stmt_kind kind;
  int depth;
  src_loc loc;
  ast_declaration *declarations;
  ast_constant *constants;
  const char *name; /* FOR: the variable */
  src_loc name_loc;
  ast_expr *target, *value, *limit, *otherwise;
  ast_assign assign;
  src_loc op_loc;
  ast_item *coordinates; /* PARALLEL: name, and value when `in extent` is written */
  ast_block body, other;
};

typedef struct ast_function ast_function;
struct ast_function {
  ast_function *next;
  const char *name;
  src_loc loc;
  ast_item *parameters; /* names */
  ast_expr *value;      /* of an expression function, else NULL */
  ast_block body;
};

typedef struct ast_kernel ast_kernel;
struct ast_kernel {
  ast_kernel *next;
  const char *name;
  src_loc loc;
  ast_declaration *arguments;
  ast_constant *constants, *last_constant;
  ast_item *facts, *last_fact;
  ast_item *grid;     /* name = extent */
  ast_item *schedule; /* name = value */
  src_loc grid_loc, schedule_loc;
  ast_block body;
};

struct frontend_ast {
  arena *memory;
  diag *d; /* while parsing only */
  const char *source_name;
  const frontend_loader *loader;
  int file_count, file_capacity;
  const char **files;
  ast_constant *constants, *last_constant;
  ast_function *functions, *last_function;
  ast_kernel *kernels, *last_kernel;
};

/* The state of one file being scanned; parser.y passes it to the scanner. */
typedef struct ast_reader {
  frontend_ast *ast;
  const char *path;
  uint16_t file;
  const char *start, *cursor, *limit; /* *limit is NUL */
  const char *line_start;
  uint32_t line;
  int include_depth;
  bool bad_byte_reported;
} ast_reader;

ast_expr *ast_expr_new(ast_reader *r, ast_expr_kind kind, src_loc loc);
/* A node with operands (NULL where there is none); AST_BAD and a diagnostic when the tree becomes too deep. */
ast_expr *ast_operator(ast_reader *r, ast_expr_kind kind, ir_expr_kind op, src_loc loc, src_loc op_loc, ast_expr *left,
                       ast_expr *right, ast_expr *condition);
ast_expr *ast_call(ast_reader *r, const char *name, src_loc loc, src_loc name_loc, ast_item *items);
ast_expr *ast_index(ast_reader *r, src_loc loc, ast_expr *left, ast_item *items);
ast_item *ast_item_new(ast_reader *r, ast_item_kind kind, src_loc loc, const char *name, ast_expr *value,
                       ast_expr *span);
ast_stmt *ast_stmt_new(ast_reader *r, ast_stmt_kind kind, src_loc loc);
/* Sets the depth of a statement from its parts; a diagnostic when it is too deep. Returns `stmt`. */
ast_stmt *ast_stmt_done(ast_reader *r, ast_stmt *stmt);
void ast_block_add(ast_block *block, ast_stmt *stmt);
ast_declaration *ast_declaration_new(ast_reader *r, const char *name, src_loc loc);
ast_constant *ast_constant_new(ast_reader *r, const char *name, src_loc loc, ast_item *choices, ast_expr *value);
void ast_include(ast_reader *r, src_loc loc, const char *name);
int ast_item_count(const ast_item *items);

/* Parses the rest of one file into r->ast (parser.y). */
void ast_parse_file(ast_reader *r);

#endif
