# How lit finds and runs the tests. `ninja check` runs all; `LIT_FILTER=passes/simplify ninja check` picks by name.
#
#   %bitblasc   the compiler                       %build   the build folder
#   %python     a Python, with numpy if any has    %root    the root of the repository
#   FileCheck, not, split-file                     from LLVM
#
# Features (tests/probe.py): nvrtc, cuda, sm80 and sm90 (what the GPU can run), library, numpy, cc, sanitize, ...

import os
import sys

import lit.formats

config.name = "bitblasc"
config.test_source_root = os.path.dirname(__file__)
root = os.path.dirname(config.test_source_root)
build = lit_config.params.get("build", os.path.join(root, "build"))
config.test_exec_root = os.path.join(build, "tests")
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".tl", ".tir", ".test"]
config.excludes = ["Inputs"] # files that tests read, not tests

sys.path.insert(0, config.test_source_root)
import probe

bitblasc = os.path.join(build, "bitblasc")
python = probe.python_with("numpy") or sys.executable

# -- Environment: the same on every machine, and never the user's cache --------------------------------------------

for name in ("HOME", "LD_LIBRARY_PATH", "CUDA_HOME", "CUDA_PATH", "CUDA_VISIBLE_DEVICES", "VIRTUAL_ENV", "TMPDIR",
             "BITBLASC_NVRTC_PATH", "ASAN_OPTIONS", "LSAN_OPTIONS", "UBSAN_OPTIONS", "LLVM_PROFILE_FILE", "SOURCE_DATE_EPOCH"):
    if name in os.environ:
        config.environment[name] = os.environ[name]
config.environment["LC_ALL"] = "C"
config.environment["BITBLASC_CACHE_DIR"] = os.path.join(config.test_exec_root, "cache")
config.environment["PYTHONDONTWRITEBYTECODE"] = "1"
folders = [lit_config.params.get("filecheck", ""), os.environ.get("PATH", "")]
config.environment["PATH"] = os.pathsep.join(folder for folder in folders if folder)

config.substitutions += [
    ("%bitblasc", bitblasc),
    ("%build", build),
    ("%python", python),
    ("%root", root),
]

# -- Features ------------------------------------------------------------------------------------------------------

config.build_folder = build # for tests/formats.py
config.suite_root = config.test_source_root
config.available_features |= probe.features(build, python)

# A test that hangs is a failure, where lit can tell (it needs Python's psutil). Sanitizers take three times as long.
if lit_config.maxIndividualTestTimeIsSupported[0]:
    lit_config.maxIndividualTestTime = 1800 if "sanitize" in config.available_features else 600
