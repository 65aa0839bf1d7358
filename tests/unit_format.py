"""The lit format of unit tests: a module of its own, because lit sends it to its worker processes."""

import os

import lit.Test
import lit.formats
import lit.util


class UnitTest(lit.formats.FileBasedTest):
    def execute(self, test, lit_config):
        if "cmocka" not in test.config.available_features:
            return lit.Test.UNSUPPORTED, "cmocka is not installed"
        source = os.path.relpath(test.getSourcePath(), test.config.unit_source)
        program = os.path.join(test.config.build_folder, "tests", source[: -len(".c")])
        if not os.path.exists(program):
            return lit.Test.FAIL, program + " was not built"
        environment = dict(test.config.environment, CMOCKA_MESSAGE_OUTPUT="stdout")
        timeout = lit_config.maxIndividualTestTime
        try:
            out, error, status = lit.util.executeCommand([program], env=environment, timeout=timeout)
        except lit.util.ExecuteCommandTimeoutException:
            return lit.Test.TIMEOUT, "no end after %d seconds" % timeout
        return (lit.Test.FAIL, out + error) if status else (lit.Test.PASS, "")
