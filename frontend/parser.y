/* The grammar of `.tl` (docs/language.md). Line ends mean nothing: every statement begins with a keyword or a name,
 * and no expression goes on with either, so statements need nothing between them; `;` may stand there. */
%require "3.7"
%define api.pure full
%define api.prefix {tl_}
%define api.token.prefix {TL_}
%define api.location.type {src_loc}
%define parse.error detailed
%locations
%expect 0
%param {ast_reader *r}

%code requires {
#include "frontend/ast.h"
}

%code provides {
int tl_lex(TL_STYPE *value, src_loc *loc, ast_reader *r);
}

%code {
#include <string.h>

#define YYINITDEPTH 200
#define YYMAXDEPTH  6000 /* deeper nesting is reported instead of filling memory */

/* The place of a rule: from its first symbol to its last, as far as the line goes. */
#define YYLLOC_DEFAULT(current, rhs, n)                                                                                \
  do {                                                                                                                 \
    (current) = (n) ? span(YYRHSLOC(rhs, 1), YYRHSLOC(rhs, n)) : after(YYRHSLOC(rhs, 0));                              \
  } while (0)

static src_loc span(src_loc first, src_loc last) {
  if (first.line == last.line && last.column >= first.column)
    first.length = (uint16_t)(last.column - first.column + last.length);
  return first;
}

static src_loc after(src_loc before) {
  before.column = (uint16_t)(before.column + before.length);
  before.length = 1;
  return before;
}

static void tl_error(const src_loc *loc, ast_reader *r, const char *message) {
  const char *prefix = "syntax error, ";
  if (strncmp(message, prefix, strlen(prefix)) == 0) message += strlen(prefix);
  if (strcmp(message, "memory exhausted") == 0)
    diag_error(r->ast->d, DIAG_TOO_DEEP, *loc, "this nests too deep to be read");
  else
    diag_error(r->ast->d, DIAG_SYNTAX, *loc, "%s", message);
}

static ast_expr *binary(ast_reader *r, ir_expr_kind op, src_loc loc, src_loc op_loc, ast_expr *left, ast_expr *right) {
  return ast_operator(r, AST_BINARY, op, loc, op_loc, left, right, NULL);
}

/* Lists in one clause are short and grow by right recursion; what clauses and files gather keeps its last element. */
static ast_declaration *direction(ast_declaration *declaration, ir_direction way) {
  declaration->direction = way;
  return declaration;
}

static ast_constant *constants_of_kind(ast_constant *list, ast_constant_kind kind) {
  for (ast_constant *constant = list; constant; constant = constant->next)
    constant->kind = kind;
  return list;
}

static void add_constants(ast_constant **first, ast_constant **last, ast_constant *list) {
  if (!list) return;
  if (*last)
    (*last)->next = list;
  else
    *first = list;
  while (list->next)
    list = list->next;
  *last = list;
}

static void add_items(ast_item **first, ast_item **last, ast_item *list) {
  if (!list) return;
  if (*last)
    (*last)->next = list;
  else
    *first = list;
  while (list->next)
    list = list->next;
  *last = list;
}

static void add_function(frontend_ast *ast, ast_function *function) {
  if (ast->last_function)
    ast->last_function->next = function;
  else
    ast->functions = function;
  ast->last_function = function;
}

static void add_kernel(frontend_ast *ast, ast_kernel *kernel) {
  if (ast->last_kernel)
    ast->last_kernel->next = kernel;
  else
    ast->kernels = kernel;
  ast->last_kernel = kernel;
}
}

%union {
  int64_t int_value;
  double float_value;
  const char *name;
  ast_expr *expr;
  ast_item *item;
  ast_stmt *stmt;
  ast_block block;
  ast_declaration *declaration;
  ast_constant *constant;
  ast_kernel *kernel;
  ast_assign assign;
}

%token END 0 "end of file"
%token KERNEL "kernel" INLINE "inline" INCLUDE "include" CONST "const" PARAM "param" TUNE "tune" WHERE "where"
%token GRID "grid" RASTER "raster" SCHEDULE "schedule" LAYOUT "layout" STRIDE "stride"
%token SHARED "shared" TILE "tile" LET "let" VAR "var" COPY "copy" FOR "for" WHILE "while" IN "in" OUT "out"
%token INOUT "inout" IF "if" ELSE "else" WHEN "when" PARALLEL "parallel" ATOMIC "atomic" NEW "_"
%token <int_value> INT "integer" BOOL "true or false"
%token <float_value> FLOAT "number"
%token <name> NAME "name" STRING "string"
%token ARROW "->" RANGE ".." ADD_SET "+=" SUB_SET "-=" MUL_SET "*=" DIV_SET "/=" MAX_SET "max=" MIN_SET "min="
%token AND_SET "&=" OR_SET "|=" XOR_SET "^=" TRANSPOSE "^T"
%token EQ "==" NE "!=" LE "<=" GE ">=" SHL "<<" SHR ">>" AND_ALSO "&&" OR_ELSE "||"

%left OR_ELSE
%left AND_ALSO
%left '|'
%left '^'
%left '&'
%left EQ NE
%left '<' '>' LE GE
%left SHL SHR
%left '+' '-'
%left '*' '/' '%'

%type <expr> expr ternary operand unary postfix primary opt_when opt_else opt_init target
%type <item> subscripts subscript arguments argument opt_arguments names choices opt_choices exprs grid_dims grid_dim
%type <item> settings setting coordinates coordinate opt_layout opt_stride opt_names
%type <stmt> stmt if_stmt
%type <block> stmts body else_part
%type <declaration> args opt_args arg arg_type declarators declarator variables variable
%type <constant> constants constant
%type <kernel> clauses
%type <assign> assign
%type <name> kernel_head

%%

file: items;

items: %empty | items item;

item: kernel
    | INLINE NAME '(' opt_names ')' '=' expr {
        ast_function *f = ARENA_NEW(r->ast->memory, ast_function);
        *f = (ast_function){.name = $2, .loc = @2, .parameters = $4, .value = $7};
        add_function(r->ast, f);
      }
    | INLINE NAME '(' opt_names ')' body {
        ast_function *f = ARENA_NEW(r->ast->memory, ast_function);
        *f = (ast_function){.name = $2, .loc = @2, .parameters = $4, .body = $6};
        add_function(r->ast, f);
      }
    | INCLUDE STRING        { ast_include(r, @2, $2); }
    | CONST constants       { add_constants(&r->ast->constants, &r->ast->last_constant, $2); }
    | PARAM constants {
        add_constants(&r->ast->constants, &r->ast->last_constant, constants_of_kind($2, AST_PARAM));
      }
    | TUNE constants {
        add_constants(&r->ast->constants, &r->ast->last_constant, constants_of_kind($2, AST_TUNE));
      }
    | ';'
    | error;

kernel_head: KERNEL NAME { $$ = $2; @$ = @2; };

kernel: kernel_head '(' opt_args ')' clauses body {
          $5->name = $1;
          $5->loc = @1;
          $5->arguments = $3;
          $5->body = $6;
          add_kernel(r->ast, $5);
        };

opt_args: %empty { $$ = NULL; } | args;
args: arg
    | arg ','      { $$ = $1; }
    | arg ',' args { $$ = $1; $1->next = $3; };
arg: NAME ':' arg_type opt_stride opt_when {
       $$ = $3;
       $$->name = $1;
       $$->loc = @1;
       $$->strides = $4;
       $$->condition = $5;
     };
arg_type: NAME                        { $$ = ast_declaration_new(r, NULL, @1); $$->type = $1; $$->type_loc = @1; }
        | NAME '[' exprs ']' {
            $$ = ast_declaration_new(r, NULL, @1);
            $$->type = $1;
            $$->type_loc = @1;
            $$->shape = $3;
          }
        | IN arg_type                 { $$ = direction($2, IR_IN); }
        | OUT arg_type                { $$ = direction($2, IR_OUT); }
        | INOUT arg_type              { $$ = direction($2, IR_INOUT); };
opt_stride: %empty { $$ = NULL; } | STRIDE '[' exprs ']' { $$ = $3; };
opt_when: %empty { $$ = NULL; } | WHEN expr { $$ = $2; };

clauses: %empty { $$ = ARENA_NEW(r->ast->memory, ast_kernel); }
       | clauses WHERE exprs      { $$ = $1; add_items(&$1->facts, &$1->last_fact, $3); }
       | clauses CONST constants  { $$ = $1; add_constants(&$1->constants, &$1->last_constant, $3); }
       | clauses PARAM constants {
           $$ = $1;
           add_constants(&$1->constants, &$1->last_constant, constants_of_kind($3, AST_PARAM));
         }
       | clauses TUNE constants {
           $$ = $1;
           add_constants(&$1->constants, &$1->last_constant, constants_of_kind($3, AST_TUNE));
         }
       | clauses GRID '(' grid_dims ')' {
           $$ = $1;
           if ($1->grid) {
             diag_error(r->ast->d, DIAG_DUPLICATE, @2, "this kernel has two grid clauses; put all dimensions into one");
             diag_note(r->ast->d, $1->grid_loc, "the first one is here");
           }
           $1->grid = $4;
           $1->grid_loc = @2;
         }
       | clauses RASTER expr {
           $$ = $1;
           ast_item *item = ast_item_new(r, AST_ITEM_VALUE, @3, "raster", $3, NULL);
           item->next = $1->schedule;
           $1->schedule = item;
         }
       | clauses SCHEDULE settings {
           $$ = $1;
           ast_item *last = $3;
           while (last->next) last = last->next;
           last->next = $1->schedule;
           $1->schedule = $3;
         };

constants: constant | constant ',' constants { $$ = $1; $1->next = $3; };
constant: NAME opt_choices '=' expr { $$ = ast_constant_new(r, $1, @1, $2, $4); };
opt_choices: %empty { $$ = NULL; } | ':' '{' choices '}' { $$ = $3; };
choices: NAME             { $$ = ast_item_new(r, AST_ITEM_VALUE, @1, $1, NULL, NULL); }
       | NAME ',' choices { $$ = ast_item_new(r, AST_ITEM_VALUE, @1, $1, NULL, NULL); $$->next = $3; };

grid_dims: grid_dim | grid_dim ',' grid_dims { $$ = $1; $1->next = $3; };
grid_dim: NAME IN expr { $$ = ast_item_new(r, AST_ITEM_VALUE, @1, $1, $3, NULL); };

settings: setting | setting ',' settings { $$ = $1; $1->next = $3; };
setting: NAME '=' expr { $$ = ast_item_new(r, AST_ITEM_VALUE, @1, $1, $3, NULL); };

opt_names: %empty { $$ = NULL; } | names;
names: NAME           { $$ = ast_item_new(r, AST_ITEM_VALUE, @1, $1, NULL, NULL); }
     | NAME ',' names { $$ = ast_item_new(r, AST_ITEM_VALUE, @1, $1, NULL, NULL); $$->next = $3; };

body: '{' stmts '}' { $$ = $2; };
stmts: %empty { $$ = (ast_block){0}; } | stmts stmt { $$ = $1; ast_block_add(&$$, $2); };

stmt: ';'   { $$ = NULL; }
    | error { $$ = NULL; }
    | body {
        $$ = ast_stmt_new(r, AST_STMT_BLOCK, @1);
        $$->body = $1;
        $$ = ast_stmt_done(r, $$);
      }
    | SHARED declarators { $$ = ast_stmt_new(r, AST_STMT_SHARED, @$); $$->declarations = $2; }
    | TILE declarators   { $$ = ast_stmt_new(r, AST_STMT_TILE, @$); $$->declarations = $2; }
    | LET variables      { $$ = ast_stmt_new(r, AST_STMT_LET, @$); $$->declarations = $2; }
    | VAR variables      { $$ = ast_stmt_new(r, AST_STMT_VAR, @$); $$->declarations = $2; }
    | CONST constants    { $$ = ast_stmt_new(r, AST_STMT_CONST, @$); $$->constants = $2; }
    | target assign expr {
        $$ = ast_stmt_new(r, AST_STMT_ASSIGN, @$);
        $$->target = $1;
        $$->assign = $2;
        $$->op_loc = @2;
        $$->value = $3;
      }
    | ATOMIC target assign expr {
        $$ = ast_stmt_new(r, AST_STMT_ATOMIC, @$);
        $$->target = $2;
        $$->assign = $3;
        $$->op_loc = @3;
        $$->value = $4;
      }
    | COPY expr ARROW target opt_else {
        $$ = ast_stmt_new(r, AST_STMT_COPY, @$);
        $$->value = $2;
        $$->target = $4;
        $$->otherwise = $5;
      }
    | NAME '(' opt_arguments ')' {
        $$ = ast_stmt_new(r, AST_STMT_CALL, @$);
        $$->value = ast_call(r, $1, @$, @1, $3);
      }
    | if_stmt
    | WHILE expr body {
        $$ = ast_stmt_new(r, AST_STMT_WHILE, @1);
        $$->value = $2;
        $$->body = $3;
        $$ = ast_stmt_done(r, $$);
      }
    | FOR NAME IN expr body {
        $$ = ast_stmt_new(r, AST_STMT_FOR, @1);
        $$->name = $2;
        $$->name_loc = @2;
        $$->value = $4;
        $$->body = $5;
        $$ = ast_stmt_done(r, $$);
      }
    | FOR NAME IN expr RANGE expr body {
        $$ = ast_stmt_new(r, AST_STMT_FOR, @1);
        $$->name = $2;
        $$->name_loc = @2;
        $$->value = $4;
        $$->limit = $6;
        $$->body = $7;
        $$ = ast_stmt_done(r, $$);
      }
    | PARALLEL '(' coordinates ')' body {
        $$ = ast_stmt_new(r, AST_STMT_PARALLEL, @1);
        $$->coordinates = $3;
        $$->body = $5;
        $$ = ast_stmt_done(r, $$);
      };

if_stmt: IF expr body else_part {
           $$ = ast_stmt_new(r, AST_STMT_IF, @1);
           $$->value = $2;
           $$->body = $3;
           $$->other = $4;
           $$ = ast_stmt_done(r, $$);
         };
else_part: %empty       { $$ = (ast_block){0}; }
         | ELSE body    { $$ = $2; }
         | ELSE if_stmt { $$ = (ast_block){0}; ast_block_add(&$$, $2); };

declarators: declarator | declarator ',' declarators { $$ = $1; $1->next = $3; };
declarator: NAME ':' NAME '[' exprs ']' opt_layout opt_init opt_when {
              $$ = ast_declaration_new(r, $1, @1);
              $$->type = $3;
              $$->type_loc = @3;
              $$->shape = $5;
              $$->layout = $7;
              $$->init = $8;
              $$->condition = $9;
            };
opt_layout: %empty { $$ = NULL; } | LAYOUT '(' settings ')' { $$ = $3; };
opt_init: %empty { $$ = NULL; } | '=' expr { $$ = $2; };

variables: variable | variable ',' variables { $$ = $1; $1->next = $3; };
variable: NAME '=' expr {
            $$ = ast_declaration_new(r, $1, @1);
            $$->init = $3;
          }
        | NAME ':' NAME '=' expr {
            $$ = ast_declaration_new(r, $1, @1);
            $$->type = $3;
            $$->type_loc = @3;
            $$->init = $5;
          };

target: NAME                    { $$ = ast_expr_new(r, AST_NAME, @1); $$->name = $1; }
      | NAME '[' subscripts ']' {
          ast_expr *name = ast_expr_new(r, AST_NAME, @1);
          name->name = $1;
          $$ = ast_index(r, @$, name, $3);
        };
assign: '=' { $$ = AST_SET; } | ADD_SET { $$ = AST_ADD; } | SUB_SET { $$ = AST_SUB; } | MUL_SET { $$ = AST_MUL; }
      | DIV_SET { $$ = AST_DIV; } | MAX_SET { $$ = AST_MAX; } | MIN_SET { $$ = AST_MIN; }
      | AND_SET { $$ = AST_BIT_AND; } | OR_SET { $$ = AST_BIT_OR; } | XOR_SET { $$ = AST_BIT_XOR; };
opt_else: %empty { $$ = NULL; } | ELSE expr { $$ = $2; };

coordinates: coordinate | coordinate ',' coordinates { $$ = $1; $1->next = $3; };
coordinate: NAME         { $$ = ast_item_new(r, AST_ITEM_VALUE, @1, $1, NULL, NULL); }
          | NAME IN expr { $$ = ast_item_new(r, AST_ITEM_VALUE, @1, $1, $3, NULL); };

exprs: expr           { $$ = ast_item_new(r, AST_ITEM_VALUE, @1, NULL, $1, NULL); }
     | expr ',' exprs { $$ = ast_item_new(r, AST_ITEM_VALUE, @1, NULL, $1, NULL); $$->next = $3; };

subscripts: subscript | subscript ',' subscripts { $$ = $1; $1->next = $3; };
subscript: expr          { $$ = ast_item_new(r, AST_ITEM_VALUE, @1, NULL, $1, NULL); }
         | expr ':' expr { $$ = ast_item_new(r, AST_ITEM_SPAN, @$, NULL, $1, $3); }
         | ':'           { $$ = ast_item_new(r, AST_ITEM_ALL, @1, NULL, NULL, NULL); }
         | NEW           { $$ = ast_item_new(r, AST_ITEM_NEW, @1, NULL, NULL, NULL); };

opt_arguments: %empty { $$ = NULL; } | arguments;
arguments: argument | argument ',' arguments { $$ = $1; $1->next = $3; };
argument: expr          { $$ = ast_item_new(r, AST_ITEM_VALUE, @1, NULL, $1, NULL); }
        | NAME '=' expr { $$ = ast_item_new(r, AST_ITEM_VALUE, @$, $1, $3, NULL); };

expr: ternary;
ternary: operand
       | operand '?' ternary ':' ternary { $$ = ast_operator(r, AST_SELECT, IR_EXPR_SELECT, @$, @2, $3, $5, $1); };
operand: unary
       | operand OR_ELSE operand  { $$ = ast_operator(r, AST_OR_ELSE, IR_EXPR_OR, @$, @2, $1, $3, NULL); }
       | operand AND_ALSO operand { $$ = ast_operator(r, AST_AND_ALSO, IR_EXPR_AND, @$, @2, $1, $3, NULL); }
       | operand '|' operand { $$ = binary(r, IR_EXPR_OR, @$, @2, $1, $3); }
       | operand '^' operand { $$ = binary(r, IR_EXPR_XOR, @$, @2, $1, $3); }
       | operand '&' operand { $$ = binary(r, IR_EXPR_AND, @$, @2, $1, $3); }
       | operand EQ operand  { $$ = binary(r, IR_EXPR_EQ, @$, @2, $1, $3); }
       | operand NE operand  { $$ = binary(r, IR_EXPR_NE, @$, @2, $1, $3); }
       | operand '<' operand { $$ = binary(r, IR_EXPR_LT, @$, @2, $1, $3); }
       | operand '>' operand { $$ = binary(r, IR_EXPR_GT, @$, @2, $1, $3); }
       | operand LE operand  { $$ = binary(r, IR_EXPR_LE, @$, @2, $1, $3); }
       | operand GE operand  { $$ = binary(r, IR_EXPR_GE, @$, @2, $1, $3); }
       | operand SHL operand { $$ = binary(r, IR_EXPR_SHL, @$, @2, $1, $3); }
       | operand SHR operand { $$ = binary(r, IR_EXPR_SHR, @$, @2, $1, $3); }
       | operand '+' operand { $$ = binary(r, IR_EXPR_ADD, @$, @2, $1, $3); }
       | operand '-' operand { $$ = binary(r, IR_EXPR_SUB, @$, @2, $1, $3); }
       | operand '*' operand { $$ = binary(r, IR_EXPR_MUL, @$, @2, $1, $3); }
       | operand '/' operand { $$ = binary(r, IR_EXPR_DIV, @$, @2, $1, $3); }
       | operand '%' operand { $$ = binary(r, IR_EXPR_MOD, @$, @2, $1, $3); };
unary: postfix
     | '-' unary { $$ = ast_operator(r, AST_UNARY, IR_EXPR_NEG, @$, @1, $2, NULL, NULL); }
     | '!' unary { $$ = ast_operator(r, AST_NOT, IR_EXPR_NOT, @$, @1, $2, NULL, NULL); }
     | '~' unary { $$ = ast_operator(r, AST_UNARY, IR_EXPR_NOT, @$, @1, $2, NULL, NULL); };
postfix: primary
       | NAME '(' opt_arguments ')'  { $$ = ast_call(r, $1, @$, @1, $3); }
       | postfix '[' subscripts ']'  { $$ = ast_index(r, @$, $1, $3); }
       | postfix TRANSPOSE           { $$ = ast_operator(r, AST_TRANSPOSE, IR_EXPR_VALUE, @$, @2, $1, NULL, NULL); };
primary: INT          { $$ = ast_expr_new(r, AST_INT, @1); $$->int_value = $1; }
       | FLOAT        { $$ = ast_expr_new(r, AST_FLOAT, @1); $$->float_value = $1; }
       | BOOL         { $$ = ast_expr_new(r, AST_BOOL, @1); $$->int_value = $1; }
       | NAME         { $$ = ast_expr_new(r, AST_NAME, @1); $$->name = $1; }
       | '(' expr ')' { $$ = $2; };

%%

void ast_parse_file(ast_reader *r) { tl_parse(r); }
