/* The program: picks the command. The compiler itself is driver/compile.h. */
#include "driver/main_session.h"

#include "driver/output.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* BUG has printed what went wrong; the status tells scripts that it was us. Only functions that are safe in a handler.
 */
static void leave_as_internal_error(int signal_number) {
  (void)signal_number;
  static const char text[] =
      "bitblasc: this is a mistake of bitblasc: please report it with the input and the command line\n";
  ssize_t ignored = write(STDERR_FILENO, text, sizeof text - 1);
  (void)ignored;
  _exit(COMPILE_INTERNAL);
}

static int print_text(str *text) {
  str error = STR_EMPTY;
  bool ok = output_write("-", str_text(text), text->length, &error);
  if (!ok) fprintf(stderr, "bitblasc: error: %s\n", str_text(&error));
  str_free(&error);
  str_free(text);
  return ok ? 0 : COMPILE_ENVIRONMENT;
}

static void list_targets(str *out) {
  for (int i = 0; i < IR_TARGET_COUNT; i++) {
    const ir_target_info *t = ir_target_of((ir_target)i);
    str_printf(out, "%-8s %d SMs, %d bytes of shared memory a block%s%s%s\n", t->name, t->sms, t->shared_bytes,
               t->has_cpasync ? ", cp.async" : "", t->has_tma ? ", TMA" : "", t->has_wgmma ? ", wgmma" : "");
  }
}

static void list_diagnostics(str *out) {
  for (int i = 0; i < DIAG_ID_COUNT; i++)
    str_printf(out, "%-20s %s\n", diag_id_name((diag_id)i), diag_id_meaning((diag_id)i));
}

/* Options that print something about the program instead of compiling. True when one was there; *status is the exit
 * status then. */
static bool answer(const command_line *c, int *status) {
  str text = STR_EMPTY;
  *status = 0;
  if (command_has(c, OPTION_HELP)) {
    if (strcmp(command_value(c, OPTION_HELP, ""), "man") == 0)
      options_man(&text);
    else
      options_help(c->mode, &text);
  } else if (command_has(c, OPTION_VERSION)) {
    str_append(&text, "bitblasc " BITBLASC_VERSION "\n");
  } else if (command_has(c, OPTION_COMPLETION)) {
    options_completion(command_value(c, OPTION_COMPLETION, ""), &text);
  } else if (command_has(c, OPTION_LIST_PASSES)) {
    pipeline_list(&text);
  } else if (command_has(c, OPTION_LIST_OPS)) {
    ir_list_ops(&text);
  } else if (command_has(c, OPTION_LIST_TARGETS)) {
    list_targets(&text);
  } else if (command_has(c, OPTION_LIST_DIAGNOSTICS)) {
    list_diagnostics(&text);
  } else {
    return false;
  }
  *status = print_text(&text);
  return true;
}

int main(int argc, char **argv) {
  signal(SIGABRT, leave_as_internal_error);
  arena *memory = arena_create();
  command_line command;
  str error = STR_EMPTY;
  int status;
  if (!command_parse(argc - 1, argv + 1, memory, &command, &error)) {
    status = usage_error("%s", str_text(&error));
  } else if (!answer(&command, &status)) {
    switch (command.mode) {
    case MODE_COMPILE:
      status = command_compile(&command, memory);
      break;
    case MODE_RUN:
      status = command_run(&command, memory);
      break;
    case MODE_INSPECT:
      status = command_inspect(&command, memory);
      break;
    case MODE_DOCTOR:
      status = command_doctor(&command, memory);
      break;
    case MODE_CACHE:
      status = command_cache(&command, memory);
      break;
    case MODE_REPACK:
      status = command_repack(&command, memory);
      break;
    }
  }
  str_free(&error);
  arena_destroy(memory);
  return status;
}
