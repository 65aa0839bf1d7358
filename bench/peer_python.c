#include "bench/peer_python.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct python_peer {
  pid_t process;
  FILE *to, *from;
  char line[1024]; /* the last answer */
  char path[64];   /* of the script; "" before there is one */
  char version[128];
  char backend[64];
};

static void run_child(const char *python, const char *path, const int *in, const int *out) {
  dup2(in[0], 0);
  dup2(out[1], 1);
  for (int i = 0; i < 2; i++) {
    close(in[i]);
    close(out[i]);
  }
  execlp(python, python, path, (char *)NULL);
  _exit(127);
}

static bool write_script(python_peer *p, const char *script, complaint *problem) {
  snprintf(p->path, sizeof p->path, "/tmp/bitblas-bench-XXXXXX");
  int file = mkstemp(p->path);
  if (file < 0) *p->path = 0;
  bool ok = file >= 0 && write(file, script, strlen(script)) == (ssize_t)strlen(script);
  if (file >= 0) close(file);
  return ok ? true : complain(problem, "no temporary file for a script");
}

bool python_peer_start(const char *python, const char *script, python_peer **out, complaint *problem) {
  int in[2], answers[2];
  python_peer *p = *out = calloc(1, sizeof *p);
  if (!p) return complain(problem, "no memory for a peer");
  p->process = -1;
  if (!write_script(p, script, problem)) return false;
  if (pipe(in) != 0) return complain(problem, "no pipe");
  if (pipe(answers) != 0) {
    close(in[0]);
    close(in[1]);
    return complain(problem, "no pipe");
  }
  signal(SIGPIPE, SIG_IGN); /* a peer that died is an answer that does not come */
  p->process = fork();
  if (p->process == 0) run_child(python, p->path, in, answers);
  close(in[0]);
  close(answers[1]);
  p->to = fdopen(in[1], "w");
  p->from = fdopen(answers[0], "r");
  return p->process > 0 && p->to && p->from ? true : complain(problem, "%s does not start", python);
}

static bool listen_to(python_peer *p, complaint *problem) {
  if (!fgets(p->line, sizeof p->line, p->from)) return complain(problem, "the process with PyTorch has ended");
  p->line[strcspn(p->line, "\n")] = 0;
  return true;
}

static bool ask(python_peer *p, complaint *problem, const char *format, ...) __attribute__((format(printf, 3, 4)));
static bool ask(python_peer *p, complaint *problem, const char *format, ...) {
  va_list args;
  va_start(args, format);
  vfprintf(p->to, format, args);
  va_end(args);
  fputc('\n', p->to);
  fflush(p->to);
  return listen_to(p, problem);
}

/* What follows the word that the answer begins with; else the answer is the complaint. */
static const char *after_word(python_peer *p, const char *word, complaint *problem) {
  size_t length = strlen(word);
  if (strncmp(p->line, word, length) == 0) return p->line + length + (p->line[length] == ' ');
  complain(problem, "%s", strncmp(p->line, "no ", 3) == 0 ? p->line + 3 : p->line);
  return NULL;
}

bool python_peer_wait(python_peer *p, complaint *problem) {
  if (!listen_to(p, problem)) return complain(problem, "there is no Python");
  const char *version = after_word(p, "ready", problem);
  if (version) snprintf(p->version, sizeof p->version, "%s", version);
  return version != NULL;
}

const char *python_peer_version(const python_peer *p) { return p->version; }

bool python_peer_begin(python_peer *p, const bench_case *c, bool triton, int sets, const char **backend,
                       complaint *problem) {
  const char *who = triton ? "triton" : "torch", *type = bitblas_type_name(c->a);
  bool asked = c->kind == CASE_DENSE ? ask(p, problem, "matmul %s %s %ld %ld %ld %d", who, type, c->m, c->n, c->k, sets)
                                     : ask(p, problem, "attention %s %s %ld %ld %ld %ld %ld %ld %d %ld %ld %d", who,
                                           type, c->batch, c->heads, c->kv_heads, c->queries, c->keys, c->dim,
                                           c->causal, c->query_times, c->key_growth, sets);
  const char *name = asked ? after_word(p, "ok", problem) : NULL;
  if (name) snprintf(p->backend, sizeof p->backend, "%s", name);
  *backend = p->backend;
  return name != NULL;
}

bool python_peer_check(python_peer *p, complaint *problem) {
  return ask(p, problem, "check") && after_word(p, "ok", problem);
}

void python_peer_end(python_peer *p) {
  complaint nothing;
  ask(p, &nothing, "drop");
}

static bool time_segment(void *object, int launches, double *us, complaint *problem) {
  python_peer *p = object;
  if (!ask(p, problem, "time %d", launches)) return false;
  const char *time = after_word(p, "us", problem);
  *us = time ? strtod(time, NULL) : 0;
  return *us > 0;
}

contestant python_peer_contestant(python_peer *p) { return (contestant){.object = p, .segment = time_segment}; }

void python_peer_stop(python_peer *p) {
  if (!p) return;
  if (p->to) fclose(p->to); /* the end of its input is its end */
  if (p->from) fclose(p->from);
  if (p->process > 0) waitpid(p->process, NULL, 0);
  if (*p->path) unlink(p->path);
  free(p);
}
