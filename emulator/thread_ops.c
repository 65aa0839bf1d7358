/* Memory ops of the thread form. */
#include "emulator/machine.h"

outcome execute_thread(machine *m, agent *a, const instruction *in) {
  finding(m, a, EMULATOR_UNSUPPORTED, nowhere, nowhere, "the emulator does not run '%s' yet", ir_op_info_of(in->op->kind)->mnemonic);
  return OUTCOME_NEXT;
}
outcome execute_tensor_core(machine *m, agent *a, const instruction *in) { return execute_thread(m, a, in); }
outcome execute_tma(machine *m, agent *a, const instruction *in) { return execute_thread(m, a, in); }
