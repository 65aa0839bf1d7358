/* The scanner of `.tl` text. Line ends mean nothing; a token's place is kept in bytes.
 *
 * Integers that do not fit 64 bits, unknown characters and unclosed comments are reported here, each once where it
 * stands, and scanning goes on. */
#include "frontend/ast.h"
#include "frontend/parser.h"

#include <string.h>

static src_loc place(const ast_reader *r, const char *start, const char *end) {
  size_t column = (size_t)(start - r->line_start) + 1, length = (size_t)(end - start);
  return (src_loc){.file = r->file,
                   .line = r->line,
                   .column = column > UINT16_MAX ? UINT16_MAX : (uint16_t)column,
                   .length = length > UINT16_MAX ? UINT16_MAX : (uint16_t)(length ? length : 1)};
}

static int digit_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  return (c | 0x20) - 'a' + 10;
}

static int64_t parse_int(ast_reader *r, src_loc loc, const char *start, const char *end, int base) {
  int64_t value = 0;
  for (const char *p = start; p < end; p++) {
    if (*p == '_') continue;
    int digit = digit_value(*p);
    if (value > (INT64_MAX - digit) / base) {
      diag_error(r->ast->d, DIAG_OVERFLOW, loc, "this integer does not fit 64 bits");
      return 0;
    }
    value = value * base + digit;
  }
  return value;
}

static double parse_float(ast_reader *r, const char *start, const char *end) {
  const char *stop = NULL;
  return str_parse_double(arena_strndup(r->ast->memory, start, (size_t)(end - start)), &stop);
}

/* Skips past the end of a block comment that has been opened at `open`. */
static void skip_comment(ast_reader *r, src_loc open) {
  while (r->cursor < r->limit) {
    if (r->cursor[0] == '*' && r->cursor[1] == '/') {
      r->cursor += 2;
      return;
    }
    if (*r->cursor++ == '\n') {
      r->line++;
      r->line_start = r->cursor;
    }
  }
  diag_error(r->ast->d, DIAG_SYNTAX, open, "this comment is not closed");
}

static void report_byte(ast_reader *r, src_loc loc, unsigned char c) {
  if (r->bad_byte_reported) return; /* a binary file would give thousands */
  r->bad_byte_reported = true;
  if (c >= 0x20 && c < 0x7F)
    diag_error(r->ast->d, DIAG_SYNTAX, loc, "'%c' means nothing here", c);
  else
    diag_error(r->ast->d, DIAG_SYNTAX, loc, "the byte 0x%02x means nothing in a .tl file", c);
}

int tl_lex(TL_STYPE *value, src_loc *loc, ast_reader *r) {
  const char *start;
  const char *marker;
#define TOKEN(kind) return *loc = place(r, start, r->cursor), (kind)
  for (;;) {
    start = r->cursor;
    /*!re2c
      re2c:define:YYCTYPE = "unsigned char";
      re2c:define:YYCURSOR = r->cursor;
      re2c:define:YYMARKER = marker;
      re2c:yyfill:enable = 0;
      re2c:flags:unsafe = 0;

      letter = [a-zA-Z_];
      name   = letter [a-zA-Z0-9_]*;
      digits = [0-9] [0-9_]*;

      "\x00" {
        if (start >= r->limit) {
          r->cursor = start;
          TOKEN(0);
        }
        report_byte(r, place(r, start, r->cursor), 0);
        continue;
      }
      "\n"        { r->line++; r->line_start = r->cursor; continue; }
      [ \t\r]+    { continue; }
      "//" [^\x00\n]* { continue; }
      "/*"        { skip_comment(r, place(r, start, r->cursor)); continue; }

      "kernel"    { TOKEN(TL_KERNEL); }
      "inline"    { TOKEN(TL_INLINE); }
      "include"   { TOKEN(TL_INCLUDE); }
      "const"     { TOKEN(TL_CONST); }
      "param"     { TOKEN(TL_PARAM); }
      "tune"      { TOKEN(TL_TUNE); }
      "where"     { TOKEN(TL_WHERE); }
      "grid"      { TOKEN(TL_GRID); }
      "raster"    { TOKEN(TL_RASTER); }
      "schedule"  { TOKEN(TL_SCHEDULE); }
      "layout"    { TOKEN(TL_LAYOUT); }
      "stride"    { TOKEN(TL_STRIDE); }
      "shared"    { TOKEN(TL_SHARED); }
      "tile"      { TOKEN(TL_TILE); }
      "let"       { TOKEN(TL_LET); }
      "var"       { TOKEN(TL_VAR); }
      "copy"      { TOKEN(TL_COPY); }
      "for"       { TOKEN(TL_FOR); }
      "while"     { TOKEN(TL_WHILE); }
      "in"        { TOKEN(TL_IN); }
      "out"       { TOKEN(TL_OUT); }
      "inout"     { TOKEN(TL_INOUT); }
      "if"        { TOKEN(TL_IF); }
      "else"      { TOKEN(TL_ELSE); }
      "when"      { TOKEN(TL_WHEN); }
      "parallel"  { TOKEN(TL_PARALLEL); }
      "atomic"    { TOKEN(TL_ATOMIC); }
      "true"      { value->int_value = 1; TOKEN(TL_BOOL); }
      "false"     { value->int_value = 0; TOKEN(TL_BOOL); }
      "_"         { TOKEN(TL_NEW); }

      name {
        value->name = arena_strndup(r->ast->memory, start, (size_t)(r->cursor - start));
        TOKEN(TL_NAME);
      }
      "0" [xX] [0-9a-fA-F_]+ {
        *loc = place(r, start, r->cursor);
        value->int_value = parse_int(r, *loc, start + 2, r->cursor, 16);
        return TL_INT;
      }
      digits {
        *loc = place(r, start, r->cursor);
        value->int_value = parse_int(r, *loc, start, r->cursor, 10);
        return TL_INT;
      }
      [0-9]+ ("." [0-9]+ ([eE] [-+]? [0-9]+)? | [eE] [-+]? [0-9]+) {
        value->float_value = parse_float(r, start, r->cursor);
        TOKEN(TL_FLOAT);
      }
      (digits | [0-9]+ "." [0-9]+) letter [a-zA-Z0-9_]* {
        diag_error(r->ast->d, DIAG_SYNTAX, place(r, start, r->cursor), "'%.*s' is neither a number nor a name",
                   (int)(r->cursor - start), start);
        value->int_value = 0;
        TOKEN(TL_INT);
      }
      ["] [^"\x00\n]* ["] {
        value->name = arena_strndup(r->ast->memory, start + 1, (size_t)(r->cursor - start) - 2);
        TOKEN(TL_STRING);
      }

      "->"  { TOKEN(TL_ARROW); }
      ".."  { TOKEN(TL_RANGE); }
      "+="  { TOKEN(TL_ADD_SET); }
      "-="  { TOKEN(TL_SUB_SET); }
      "*="  { TOKEN(TL_MUL_SET); }
      "/="  { TOKEN(TL_DIV_SET); }
      "&="  { TOKEN(TL_AND_SET); }
      "|="  { TOKEN(TL_OR_SET); }
      "^="  { TOKEN(TL_XOR_SET); }
      "max=" / [^=] { TOKEN(TL_MAX_SET); }
      "min=" / [^=] { TOKEN(TL_MIN_SET); }
      "^T" / [^a-zA-Z0-9_] { TOKEN(TL_TRANSPOSE); }
      "=="  { TOKEN(TL_EQ); }
      "!="  { TOKEN(TL_NE); }
      "<="  { TOKEN(TL_LE); }
      ">="  { TOKEN(TL_GE); }
      "<<"  { TOKEN(TL_SHL); }
      ">>"  { TOKEN(TL_SHR); }
      "&&"  { TOKEN(TL_AND_ALSO); }
      "||"  { TOKEN(TL_OR_ELSE); }
      [-+*/%&|^~!<>=?:,;()\x5b\x5d{}] { TOKEN((unsigned char)*start); }
      *     { report_byte(r, place(r, start, r->cursor), (unsigned char)*start); continue; }
    */
  }
#undef TOKEN
}
