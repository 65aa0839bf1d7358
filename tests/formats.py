"""The lit formats of tests that have no RUN lines. A module of its own, because lit sends them to its workers."""

import os

import lit.Test
import lit.formats
import lit.util


def run(command, test, lit_config):
    """The result of a test that is one command: it passes when the command succeeds. It runs in the folder that lit keeps
    for the tests of its own, where the files that it writes are in nobody's way."""
    if not os.path.exists(command[0]):
        return lit.Test.FAIL, command[0] + " was not built"
    timeout = lit_config.maxIndividualTestTime
    folder = os.path.dirname(test.getExecPath())
    os.makedirs(folder, exist_ok=True)
    try:
        out, error, status = lit.util.executeCommand(command, cwd=folder, env=test.config.environment, timeout=timeout)
    except lit.util.ExecuteCommandTimeoutException:
        return lit.Test.TIMEOUT, "no end after %d seconds" % timeout
    if status:
        return lit.Test.FAIL, "%s\nleft with %d\n%s%s" % (" ".join(command), status, out, error)
    return lit.Test.PASS, ""


class UnitTest(lit.formats.FileBasedTest):
    """tests/unit/<layer>/test_x.c: the program that the build made of it, build/tests/<layer>/test_x."""

    def execute(self, test, lit_config):
        if "cmocka" not in test.config.available_features:
            return lit.Test.UNSUPPORTED, "cmocka is not installed"
        layer, source = test.path_in_suite[-2:]
        return run([os.path.join(test.config.build_folder, "tests", layer, source[: -len(".c")])], test, lit_config)


class ExampleTest(lit.formats.ShTest):
    """examples/x.tl compiles to CUDA text, with and without a GPU; examples/x.c runs and says that it succeeded. The
    folder's own .test files are tests with RUN lines, as everywhere."""

    def __init__(self, folder):
        super().__init__(execute_external=False)
        self.folder = folder

    def getTestsInDirectory(self, suite, path_in_suite, lit_config, local_config):
        yield from super().getTestsInDirectory(suite, path_in_suite, lit_config, local_config)
        for name in sorted(os.listdir(self.folder)) if os.path.isdir(self.folder) else []:
            if os.path.splitext(name)[1] in (".tl", ".c"):
                yield lit.Test.Test(suite, path_in_suite + (name,), local_config)

    def execute(self, test, lit_config):
        name, kind = os.path.splitext(test.path_in_suite[-1])
        if kind == ".test":
            return super().execute(test, lit_config)
        build = test.config.build_folder
        if kind == ".c":
            if "library" not in test.config.available_features:
                return lit.Test.UNSUPPORTED, "the library was not built"
            return run([os.path.join(build, "examples", name)], test, lit_config)
        source = os.path.join(self.folder, name + kind)
        return run([os.path.join(build, "bitblasc"), source, "--emit=cuda"], test, lit_config)  # all of its kernels
