/* Whole warpgroups trade registers by setmaxnreg, eight at a time: producers keep what addresses take, consumers share
 * the rest. The sum over warpgroups must fit what the launch was given, or the last of them waits for ever. */
#include "passes/register_budget.h"

enum {
  WARPGROUP = 4,
  UNIT = 8,         /* registers are given out in these */
  LARGEST = 255,    /* that an instruction can name */
  MOST_SHARE = 248, /* of a launch whose roles trade */
  MOST_GIVEN = 240
};

static int smaller(int a, int b) { return a < b ? a : b; }

register_budget register_budget_of(const ir_target_info *target, int consumers, int producers) {
  int groups = (consumers + producers + WARPGROUP - 1) / WARPGROUP;
  int share = target->registers / (groups * WARPGROUP * 32) / UNIT * UNIT, whole = smaller(share, LARGEST);
  if (producers < WARPGROUP || !target->has_wgmma) return (register_budget){whole, whole, whole};
  int computing = consumers / WARPGROUP, loading = producers / WARPGROUP, entry = smaller(share, MOST_SHARE);
  int kept = computing >= 3 ? 32 : 40;
  int given = (entry * (computing + loading) - kept * loading) / (computing ? computing : 1) / UNIT * UNIT;
  return (register_budget){entry, kept, smaller(given, MOST_GIVEN)};
}
