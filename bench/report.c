#include "bench/report.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

double report_rate(const bench_case *c, double us) {
  if (us <= 0) return 0;
  return (c->shows_bytes ? case_bytes(c) : case_flop(c)) / us * 1e-6;
}

const char *report_verdict(const report_row *row, regime r) {
  const bench_case *c = row->c;
  const contest_result *result = &row->results[r];
  if (row->is_wrong) return "wrong";
  if (c->least <= 0 && c->least_tbps <= 0) return "-";
  if (c->least > 0 && result->ratio <= 0) return "-"; /* no peer to compare with */
  bool met = (c->least <= 0 || result->ratio >= c->least) &&
             (c->least_tbps <= 0 || case_bytes(c) / result->us * 1e-6 >= c->least_tbps);
  return met ? "met" : "missed";
}

/* -- The table ----------------------------------------------------------------------------------------------------- */

void report_heading(FILE *out) {
  fprintf(out, "%-44s %-9s %4s %10s %9s %-7s %-12s %10s %6s %s\n", "case", "regime", "MHz", "us", "rate", "", "peer",
          "us", "ratio", "goal");
  fflush(out);
}

void report_print(FILE *out, const report_row *row) {
  char name[128];
  case_name(row->c, name, sizeof name);
  for (regime r = 0; r < REGIME_COUNT; r++) {
    const contest_result *result = &row->results[r];
    if (!result->rounds || result->us <= 0) continue;
    fprintf(out, "%-44s %-9s %4d %10.2f %9.2f %-7s ", name, regime_name(r), result->sm_mhz, result->us,
            report_rate(row->c, result->us), row->c->shows_bytes ? "TB/s" : "TFLOP/s");
    if (result->ratio > 0)
      fprintf(out, "%-12s %10.2f %6.3f %s\n", row->peer, result->peer_us, result->ratio, report_verdict(row, r));
    else
      fprintf(out, "%-12s %10s %6s %s\n", "-", "", "", report_verdict(row, r));
  }
  if (row->is_wrong) fprintf(out, "%-44s FAIL %s\n", name, row->problem.text);
  if (*row->no_peer.text) fprintf(out, "%-44s no peer: %s\n", name, row->no_peer.text);
  fflush(out);
}

/* -- Groups -------------------------------------------------------------------------------------------------------- */

static report_group *find_group(report_group *groups, int count, const char *name) {
  for (int i = 0; i < count; i++)
    if (strcmp(groups[i].name, name) == 0) return &groups[i];
  return NULL;
}

static void add_to_group(report_group *g, const report_row *row, double ratio) {
  g->mean += log(ratio);
  if (!g->count || ratio < g->least) g->least = ratio, g->worst = row;
  g->count++;
}

int report_groups(const report_row *rows, int count, regime r, report_group *groups, int most) {
  int found = 0;
  for (int i = 0; i < count; i++) {
    const contest_result *result = &rows[i].results[r];
    char name[64];
    if (rows[i].is_wrong || !result->rounds || result->ratio <= 0) continue;
    case_group(rows[i].c, name, sizeof name);
    report_group *g = find_group(groups, found, name);
    if (!g && found == most) continue;
    if (!g) {
      g = &groups[found++];
      *g = (report_group){.count = 0};
      snprintf(g->name, sizeof g->name, "%s", name);
    }
    add_to_group(g, &rows[i], result->ratio);
  }
  for (int i = 0; i < found; i++)
    groups[i].mean = exp(groups[i].mean / groups[i].count);
  return found;
}

enum { MOST_GROUPS = 64 };

void report_print_groups(FILE *out, const report_row *rows, int count) {
  for (regime r = 0; r < REGIME_COUNT; r++) {
    report_group groups[MOST_GROUPS];
    int found = report_groups(rows, count, r, groups, MOST_GROUPS);
    for (int i = 0; i < found; i++) {
      char worst[128];
      case_name(groups[i].worst->c, worst, sizeof worst);
      fprintf(out, "%-30s %-9s %6.3f of %2d, least %.3f %s\n", groups[i].name, regime_name(r), groups[i].mean,
              groups[i].count, groups[i].least, worst);
    }
  }
}

/* -- JSON ---------------------------------------------------------------------------------------------------------- */

static json_t *numbers(const double *values, int count) {
  json_t *list = json_array();
  for (int i = 0; i < count; i++)
    json_array_append_new(list, json_real(values[i]));
  return list;
}

static json_t *json_of_result(const report_row *row, regime r) {
  const contest_result *result = &row->results[r];
  json_t *object = json_pack("{s:f, s:f, s:i, s:s}", "us", result->us, row->c->shows_bytes ? "tbps" : "tflops",
                             report_rate(row->c, result->us), "sm_mhz", result->sm_mhz, "goal", report_verdict(row, r));
  json_object_set_new(object, "ours_us", numbers(result->ours_us, result->rounds));
  if (result->ratio <= 0) return object;
  json_object_set_new(object, "peer_us", json_real(result->peer_us));
  json_object_set_new(object, "ratio", json_real(result->ratio));
  json_object_set_new(object, "peers_us", numbers(result->peers_us, result->rounds));
  return object;
}

static json_t *json_of_row(const report_row *row) {
  char name[128];
  case_name(row->c, name, sizeof name);
  json_t *object = json_pack("{s:s, s:i, s:f, s:f, s:b}", "name", name, "row", row->c->row, "flop", case_flop(row->c),
                             "bytes", case_bytes(row->c), "right", !row->is_wrong);
  if (row->is_wrong) json_object_set_new(object, "problem", json_string(row->problem.text));
  if (*row->peer) json_object_set_new(object, "peer", json_string(row->peer));
  if (*row->no_peer.text) json_object_set_new(object, "no_peer", json_string(row->no_peer.text));
  if (row->c->least > 0) json_object_set_new(object, "least_ratio", json_real(row->c->least));
  if (row->c->least_tbps > 0) json_object_set_new(object, "least_tbps", json_real(row->c->least_tbps));
  for (regime r = 0; r < REGIME_COUNT; r++)
    if (row->results[r].rounds && row->results[r].us > 0)
      json_object_set_new(object, regime_name(r), json_of_result(row, r));
  return object;
}

static json_t *json_of_groups(const report_row *rows, int count) {
  json_t *list = json_array();
  for (regime r = 0; r < REGIME_COUNT; r++) {
    report_group groups[MOST_GROUPS];
    int found = report_groups(rows, count, r, groups, MOST_GROUPS);
    for (int i = 0; i < found; i++)
      json_array_append_new(list, json_pack("{s:s, s:s, s:i, s:f, s:f}", "name", groups[i].name, "regime",
                                            regime_name(r), "count", groups[i].count, "mean_ratio", groups[i].mean,
                                            "least_ratio", groups[i].least));
  }
  return list;
}

static void append_json(str *out, const json_t *object) {
  char *text = json_dumps(object, JSON_INDENT(1) | JSON_REAL_PRECISION(7));
  if (text) str_append(out, text);
  str_append_char(out, '\n');
  free(text);
}

void report_json(str *out, const report_place *place, const report_row *rows, int count) {
  json_t *list = json_array();
  for (int i = 0; i < count; i++)
    json_array_append_new(list, json_of_row(&rows[i]));
  json_t *all =
      json_pack("{s:s, s:s, s:i, s:i, s:I, s:s, s:o, s:o}", "device", place->device, "target", place->target, "driver",
                place->driver, "bitblas", (int)bitblas_version(), "cublaslt", (json_int_t)place->cublaslt, "torch",
                place->torch, "cases", list, "groups", json_of_groups(rows, count));
  append_json(out, all);
  json_decref(all);
}

/* -- Files --------------------------------------------------------------------------------------------------------- */

bool report_write(const char *path, const char *text, size_t length, complaint *problem) {
  FILE *file = fopen(path, "w");
  bool ok = file && fwrite(text, 1, length, file) == length;
  if (file && fclose(file) != 0) ok = false;
  return ok ? true : complain(problem, "%s cannot be written", path);
}

bool report_write_json(const char *path, const json_t *object, complaint *problem) {
  str text = STR_EMPTY;
  append_json(&text, object);
  bool ok = report_write(path, str_text(&text), text.length, problem);
  str_free(&text);
  return ok;
}
