/* The texts that are made from options.def: --help, the manual page, shell completions. */
#include "driver/env.h"
#include "driver/options.h"

#include <string.h>

enum {
  C = MODE_COMPILE,
  R = MODE_RUN,
  I = MODE_INSPECT,
  D = MODE_DOCTOR,
  K = MODE_CACHE,
  P = MODE_REPACK,
  ANY = C | R | I | D | K | P
};

typedef enum row_style { ROW_GROUP, ROW_FLAG, ROW_JOINED, ROW_SEPARATE, ROW_LONG, ROW_MAYBE } row_style;

/* options.def in order, headings included. */
typedef struct text_row {
  row_style style;
  const char *spelling; /* of a group: its title */
  const char *argument;
  unsigned modes;
  const char *help;
} text_row;

static const text_row rows[] = {
#define GROUP(title)                                       {ROW_GROUP, title, "", ANY, ""},
#define OPTION(id, spelling, style, argument, modes, help) {ROW_##style, spelling, argument, modes, help},
#include "driver/options.def"
#undef OPTION
#undef GROUP
};
enum { ROW_COUNT = sizeof rows / sizeof *rows };

static const char *const synopsis[] = {
    "bitblasc [options] FILE.tl|FILE.tir|-",
    "bitblasc run [options] FILE.tl|FILE.tir|FILE.cubin|-",
    "bitblasc inspect [--json] FILE.cubin",
    "bitblasc doctor [--json]",
    "bitblasc cache [options] ls|path|gc|export FILE|import FILE",
    "bitblasc repack [options] IN.safetensors|IN.index.json|IN.gguf -o OUT.safetensors",
};

static const char about[] =
    "Compiles kernels written in the tile language .tl (docs/language.md), or their IR as text (.tir), to CUDA and to "
    "cubins that carry their own launch record. 'run' executes a kernel on the GPU or on the emulator, 'inspect' "
    "prints the record of a cubin, 'doctor' what of CUDA was found, "
    "'cache' looks after the compiled kernels that the library keeps, 'repack' converts the quantised weights of a "
    "checkpoint to one form.";

static const struct {
  int status;
  const char *meaning;
} statuses[] = {
    {0, "done"},
    {1, "the input is wrong, or --check found a wrong result"},
    {2, "the command line is wrong"},
    {3, "NVRTC refused the CUDA text that we made: a directory to reproduce it is left behind"},
    {4, "the environment lacks something: NVRTC, a driver, a GPU, a file that can be written"},
    {70, "a mistake of bitblasc itself"},
};

/* "--emit=KINDS", "-o FILE", "-O0|1|2", "--help[=text|man]". */
static void spell(const text_row *row, str *out) {
  static const char *const between[] = {
      [ROW_FLAG] = "", [ROW_JOINED] = "", [ROW_SEPARATE] = " ", [ROW_LONG] = "=", [ROW_MAYBE] = "[="};
  str_append(out, row->spelling);
  str_append(out, between[row->style]);
  if (row->style != ROW_FLAG) str_append(out, row->argument);
  if (row->style == ROW_MAYBE) str_append(out, "]");
}

/* Words of the text, wrapped, each further line indented. `column` is where the text begins. */
static void wrap(const char *text, size_t column, size_t indent, str *out) {
  enum { WIDTH = 100 };
  while (*text) {
    size_t length = strcspn(text, " ");
    if (column > indent && column + 1 + length > WIDTH) {
      str_append_char(out, '\n');
      for (size_t i = 0; i < indent; i++)
        str_append_char(out, ' ');
      column = indent;
    } else if (column > indent) {
      str_append_char(out, ' ');
      column++;
    }
    str_append_bytes(out, text, length);
    column += length;
    text += length;
    text += strspn(text, " ");
  }
  str_append_char(out, '\n');
}

static bool group_has_options(int group, unsigned modes) {
  for (int i = group + 1; i < ROW_COUNT && rows[i].style != ROW_GROUP; i++) {
    if (rows[i].modes & modes) return true;
  }
  return false;
}

static void help_options(unsigned modes, str *out) {
  enum { INDENT = 34 };
  for (int i = 0; i < ROW_COUNT; i++) {
    const text_row *row = &rows[i];
    if (row->style == ROW_GROUP) {
      if (group_has_options(i, modes)) str_printf(out, "\n%s:\n", row->spelling);
      continue;
    }
    if (!(row->modes & modes)) continue;
    size_t start = out->length;
    str_append(out, "  ");
    spell(row, out);
    size_t width = out->length - start;
    if (width + 2 > INDENT) {
      str_append_char(out, '\n');
      width = 0;
    }
    for (; width < INDENT; width++)
      str_append_char(out, ' ');
    wrap(row->help, INDENT, INDENT, out);
  }
}

void options_help(command_mode mode, str *out) {
  for (size_t i = 0; i < sizeof synopsis / sizeof *synopsis; i++) {
    if (mode == MODE_COMPILE || mode == 1u << i)
      str_printf(out, "%s %s\n", out->length ? "      " : "usage:", synopsis[i]);
  }
  str_append_char(out, '\n');
  wrap(about, 0, 0, out);
  help_options(mode == MODE_COMPILE ? (unsigned)ANY : (unsigned)mode, out);
  str_append(out, "\nExit status:\n");
  for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++) {
    str_printf(out, "  %-3d %s\n", statuses[i].status, statuses[i].meaning);
  }
  str_append(out, "\nEnvironment:\n");
  for (int i = 0; i < ENV_COUNT; i++) {
    const env_row *row = env_row_of((env_id)i);
    if (row->shown) str_printf(out, "  %-22s %s\n", row->name, row->meaning);
  }
}

/* Text for troff: backslashes and the hyphens of options are escaped, a leading dot or quote is hidden. */
static void troff(const char *text, str *out) {
  if (*text == '.' || *text == '\'') str_append(out, "\\&");
  for (; *text; text++) {
    if (*text == '\\') {
      str_append(out, "\\e");
    } else if (*text == '-') {
      str_append(out, "\\-");
    } else {
      str_append_char(out, *text);
    }
  }
}

void options_man(str *out) {
  str_append(out, ".TH BITBLASC 1 \"\" \"bitblasc " BITBLASC_VERSION
                  "\" \"User Commands\"\n.SH NAME\nbitblasc \\- compile tile-language "
                  "kernels to CUDA\n.SH SYNOPSIS\n");
  for (size_t i = 0; i < sizeof synopsis / sizeof *synopsis; i++) {
    if (i) str_append(out, ".br\n");
    troff(synopsis[i], out);
    str_append_char(out, '\n');
  }
  str_append(out, ".SH DESCRIPTION\n");
  troff(about, out);
  str_append(out, "\n.SH OPTIONS\n");
  for (int i = 0; i < ROW_COUNT; i++) {
    str spelled = STR_EMPTY;
    if (rows[i].style == ROW_GROUP) {
      str_append(out, ".SS ");
      troff(rows[i].spelling, out);
    } else {
      spell(&rows[i], &spelled);
      str_append(out, ".TP\n.B ");
      troff(str_text(&spelled), out);
      str_append_char(out, '\n');
      troff(rows[i].help, out);
    }
    str_append_char(out, '\n');
    str_free(&spelled);
  }
  str_append(out, ".SH EXIT STATUS\n");
  for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++) {
    str_printf(out, ".TP\n.B %d\n", statuses[i].status);
    troff(statuses[i].meaning, out);
    str_append_char(out, '\n');
  }
  str_append(out, ".SH ENVIRONMENT\n");
  for (int i = 0; i < ENV_COUNT; i++) {
    const env_row *row = env_row_of((env_id)i);
    if (!row->shown) continue;
    str_printf(out, ".TP\n.B %s\n", row->name);
    troff(row->meaning, out);
    str_append_char(out, '\n');
  }
}

/* The choices of an argument as words; "" when there are none. */
static void choices(const text_row *row, const char *separator, str *out) {
  if (!strchr(row->argument, '|')) return;
  for (const char *at = row->argument; *at;) {
    size_t length = strcspn(at, "|");
    if (at != row->argument) str_append(out, separator);
    str_append_bytes(out, at, length);
    at += length;
    if (*at) at++;
  }
}

static void complete_bash(str *out) {
  str_append(out, "_bitblasc() {\n  local word=\"${COMP_WORDS[COMP_CWORD]}\" before=\"${COMP_WORDS[COMP_CWORD-1]}\"\n"
                  "  if [[ \"$word\" == \"=\" ]]; then word=\"\"; elif [[ \"$before\" == \"=\" ]]; then "
                  "before=\"${COMP_WORDS[COMP_CWORD-2]}\"; fi\n"
                  "  case \"$before\" in\n");
  for (int i = 0; i < ROW_COUNT; i++) {
    str words = STR_EMPTY;
    choices(&rows[i], " ", &words);
    if (rows[i].style != ROW_GROUP && words.length) {
      str_printf(out, "    %s) COMPREPLY=($(compgen -W \"%s\" -- \"$word\")); return ;;\n", rows[i].spelling,
                 str_text(&words));
    }
    str_free(&words);
  }
  str_append(out, "  esac\n  if [[ \"$word\" == -* ]]; then\n    COMPREPLY=($(compgen -W \"");
  bool first = true;
  for (int i = 0; i < ROW_COUNT; i++) {
    if (rows[i].style == ROW_GROUP) continue;
    str_printf(out, "%s%s%s", first ? "" : " ", rows[i].spelling, rows[i].style == ROW_LONG ? "=" : "");
    first = false;
  }
  str_append(
      out, "\" -- \"$word\"))\n    [[ \"${COMPREPLY[0]}\" == *= ]] && compopt -o nospace\n    return\n  fi\n"
           "  COMPREPLY=($(compgen -f -- \"$word\"))\n"
           "  (( COMP_CWORD == 1 )) && COMPREPLY+=($(compgen -W \"run inspect doctor cache repack\" -- \"$word\"))\n}\n"
           "complete -o filenames -F _bitblasc bitblasc\n");
}

/* Inside single quotes of a shell, with the characters that zsh's _arguments reads specially taken out. */
static void quote_zsh(const char *text, str *out) {
  for (; *text; text++) {
    if (*text == '\'') {
      str_append(out, "'\\''");
    } else if (strchr("[]:", *text)) {
      str_append_char(out, '\\');
      str_append_char(out, *text);
    } else {
      str_append_char(out, *text);
    }
  }
}

static void complete_zsh(str *out) {
  str_append(out, "#compdef bitblasc\n_arguments \\\n");
  for (int i = 0; i < ROW_COUNT; i++) {
    const text_row *row = &rows[i];
    if (row->style == ROW_GROUP) continue;
    static const char *const after[] = {
        [ROW_FLAG] = "", [ROW_JOINED] = "-", [ROW_SEPARATE] = "+", [ROW_LONG] = "=", [ROW_MAYBE] = "=-"};
    str_printf(out, "  '*%s%s[", row->spelling, after[row->style]);
    quote_zsh(row->help, out);
    str_append_char(out, ']');
    if (row->style != ROW_FLAG) {
      str words = STR_EMPTY;
      choices(row, " ", &words);
      str_append(out, row->style == ROW_MAYBE ? "::" : ":");
      str_append(out, words.length ? "choice" : "argument");
      if (words.length) {
        str_printf(out, ":(%s)", str_text(&words));
      } else if (strstr(row->argument, "DIR")) {
        str_append(out, ":_files -/");
      } else if (strstr(row->argument, "FILE")) {
        str_append(out, ":_files");
      } else {
        str_append(out, ": ");
      }
      str_free(&words);
    }
    str_append(out, "' \\\n");
  }
  str_append(out, "  '*:file:_files -g \"*.(tl|tir|cubin)\"'\n");
}

static void quote_fish(const char *text, str *out) {
  for (; *text; text++) {
    if (*text == '\'' || *text == '\\') str_append_char(out, '\\');
    str_append_char(out, *text);
  }
}

static void complete_fish(str *out) {
  str_append(out, "complete -c bitblasc -n __fish_is_first_arg -a 'run inspect doctor cache repack'\n");
  for (int i = 0; i < ROW_COUNT; i++) {
    const text_row *row = &rows[i];
    if (row->style == ROW_GROUP) continue;
    const char *name = row->spelling + strspn(row->spelling, "-");
    const char *kind = strncmp(row->spelling, "--", 2) == 0 ? "-l" : name[1] ? "-o" : "-s";
    str words = STR_EMPTY;
    choices(row, " ", &words);
    str_printf(out, "complete -c bitblasc %s %s", kind, name);
    if (row->style != ROW_FLAG && row->style != ROW_MAYBE)
      str_append(out, strstr(row->argument, "FILE") || strstr(row->argument, "DIR") ? " -r" : " -x");
    if (words.length) str_printf(out, " -a '%s'", str_text(&words));
    str_append(out, " -d '");
    quote_fish(row->help, out);
    str_append(out, "'\n");
    str_free(&words);
  }
}

bool options_completion(const char *shell, str *out) {
  if (strcmp(shell, "bash") == 0)
    complete_bash(out);
  else if (strcmp(shell, "zsh") == 0)
    complete_zsh(out);
  else if (strcmp(shell, "fish") == 0)
    complete_fish(out);
  else
    return false;
  return true;
}
