#include "bench/report.h"

#include "ir/ir.h"

#include <math.h>

enum { WIDTH = 960, HEIGHT = 600, LEFT = 70, RIGHT = 170, TOP = 40, BOTTOM = 50 };

/* The axes: powers of ten. */
static const double x_least = 0.1, x_most = 1e5, y_least = 0.1, y_most = 1e4;

static double place_x(double flop_per_byte) {
  double at = log10(fmin(fmax(flop_per_byte, x_least), x_most) / x_least) / log10(x_most / x_least);
  return LEFT + at * (WIDTH - LEFT - RIGHT);
}

static double place_y(double tflops) {
  double at = log10(fmin(fmax(tflops, y_least), y_most) / y_least) / log10(y_most / y_least);
  return HEIGHT - BOTTOM - at * (HEIGHT - TOP - BOTTOM);
}

static void escape(str *out, const char *text) {
  for (; *text; text++) {
    if (*text == '<')
      str_append(out, "&lt;");
    else if (*text == '&')
      str_append(out, "&amp;");
    else
      str_append_char(out, *text);
  }
}

static void line(str *out, double x0, double y0, double x1, double y1, const char *colour) {
  str_printf(out, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"%s\"/>\n", place_x(x0), place_y(y0),
             place_x(x1), place_y(y1), colour);
}

static void axes(str *out) {
  for (double x = x_least; x <= x_most * 1.001; x *= 10) {
    line(out, x, y_least, x, y_most, "#e0e0e0");
    str_printf(out, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%g</text>\n", place_x(x), HEIGHT - BOTTOM + 18,
               x);
  }
  for (double y = y_least; y <= y_most * 1.001; y *= 10) {
    line(out, x_least, y, x_most, y, "#e0e0e0");
    str_printf(out, "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%g</text>\n", LEFT - 6, place_y(y) + 4, y);
  }
  str_printf(out, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">FLOP / byte</text>\n", (LEFT + WIDTH - RIGHT) / 2,
             HEIGHT - 12);
  str_printf(out, "<text x=\"16\" y=\"%d\" transform=\"rotate(-90 16 %d)\" text-anchor=\"middle\">TFLOP/s</text>\n",
             HEIGHT / 2, HEIGHT / 2);
}

/* Memory's bandwidth up to the tensor cores' rate, and that rate. */
static void ceiling(str *out, double tbps, double tflops, const char *name) {
  double knee = tflops / tbps;
  line(out, x_least, x_least * tbps, knee, tflops, "#404040");
  line(out, knee, tflops, x_most, tflops, "#404040");
  str_printf(out, "<text x=\"%d\" y=\"%.1f\">%s, %.0f TFLOP/s</text>\n", WIDTH - RIGHT + 6, place_y(tflops) + 4, name,
             tflops);
}

static void ceilings(str *out, const char *target) {
  int found = ir_target_by_name(target);
  if (found < 0) return;
  const ir_target_info *t = ir_target_of((ir_target)found);
  double rate = 2.0 * t->sms * t->clock_ghz * 1e-3, tbps = t->hbm_gbps * 1e-3;
  ceiling(out, tbps, rate * t->mma16_macs_clk, "16 bits");
  ceiling(out, tbps, rate * t->mma8_macs_clk, "8 bits");
  str_printf(out, "<text x=\"%.1f\" y=\"%.1f\">%.1f TB/s</text>\n", place_x(1) + 8, place_y(tbps) + 14, tbps);
}

static const char *const colours[CASE_KIND_COUNT] = {"#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e"};

static void legend(str *out) {
  static const char *const names[CASE_KIND_COUNT] = {"products", "decoded weights", "attention", "one query", "rows"};
  for (int kind = 0; kind < CASE_KIND_COUNT; kind++) {
    int y = HEIGHT - BOTTOM - 20 * (CASE_KIND_COUNT - kind);
    str_printf(out, "<circle cx=\"%d\" cy=\"%d\" r=\"4\" fill=\"%s\"/><text x=\"%d\" y=\"%d\">%s</text>\n",
               WIDTH - RIGHT + 16, y, colours[kind], WIDTH - RIGHT + 26, y + 4, names[kind]);
  }
}

static void point(str *out, const report_row *row) {
  const contest_result *result = NULL;
  char name[128];
  for (regime r = 0; r < REGIME_COUNT; r++)
    if (row->results[r].rounds && row->results[r].us > 0) result = &row->results[r];
  if (!result) return;
  case_name(row->c, name, sizeof name);
  double flop = case_flop(row->c), tflops = flop / result->us * 1e-6;
  str_printf(out, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"4\" fill=\"%s\" fill-opacity=\"0.7\"><title>",
             place_x(flop / case_bytes(row->c)), place_y(tflops), colours[row->c->kind]);
  escape(out, name);
  str_printf(out, ": %.2f us, %.1f TFLOP/s, %.2f TB/s</title></circle>\n", result->us, tflops,
             case_bytes(row->c) / result->us * 1e-6);
}

void report_svg(str *out, const report_place *place, const report_row *rows, int count) {
  str_printf(out,
             "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" font-family=\"sans-serif\" "
             "font-size=\"12\">\n<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n<text x=\"%d\" y=\"24\" "
             "font-size=\"16\">",
             WIDTH, HEIGHT, LEFT);
  escape(out, place->device);
  str_append(out, "</text>\n");
  axes(out);
  ceilings(out, place->target);
  for (int i = 0; i < count; i++)
    point(out, &rows[i]);
  legend(out);
  str_append(out, "</svg>\n");
}
