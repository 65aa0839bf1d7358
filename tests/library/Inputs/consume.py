"""consume.py ROOT BUILD OUT: installs the library into OUT and builds examples/custom_kernel.c from what was installed."""

import glob
import os
import shutil
import subprocess
import sys

root, build, out = sys.argv[1:]
prefix = os.path.join(out, "prefix")
example = os.path.join(root, "examples", "custom_kernel.c")
strict = ["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only"]


def run(command, **more):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **more)
    if done.returncode:
        sys.exit(" ".join(command) + "\n" + done.stdout)
    return done.stdout


def check(title, program):
    if "greatest error" not in run([program]):
        sys.exit(title + ": no result")
    print(title + ": ok")


run(["cmake", "--install", build, "--prefix", prefix, "--component", "library"])
library = os.path.dirname(glob.glob(prefix + "/**/libbitblas.so", recursive=True)[0])
include = "-I" + os.path.join(prefix, "include")

use = os.path.join(out, "use.c")
with open(use, "w") as file:
    file.write("#include <bitblas.h>\nint use(void);\nint use(void) { return (int)bitblas_version(); }\n")
run(["cc", "-std=c99", *strict, include, use])
print("C99: ok")
if shutil.which("c++"):
    run(["c++", "-x", "c++", "-std=c++11", *strict, include, use])
    print("C++: ok")
else:
    print("C++: no compiler")

project = os.path.join(out, "project")
os.makedirs(project)
with open(os.path.join(project, "CMakeLists.txt"), "w") as file:
    file.write("cmake_minimum_required(VERSION 3.20)\nproject(consumer C)\nfind_package(bitblas 0.1 REQUIRED)\n"
               f"add_executable(consumer {example})\ntarget_link_libraries(consumer PRIVATE bitblas::bitblas m)\n")
run(["cmake", "-S", project, "-B", project + "/build", "-G", "Ninja", "-DCMAKE_PREFIX_PATH=" + prefix])
run(["cmake", "--build", project + "/build"])
check("CMake package", project + "/build/consumer")

if shutil.which("pkg-config"):
    environment = dict(os.environ, PKG_CONFIG_PATH=os.path.join(library, "pkgconfig"))
    flags = run(["pkg-config", "--cflags", "--libs", "bitblas"], env=environment).split()
    run(["cc", example, "-o", out + "/by-pkg-config", *flags, "-lm", "-Wl,-rpath," + library])
    check("pkg-config", out + "/by-pkg-config")
else:
    print("pkg-config: not installed")

needs = ["-ljansson", "-lxxhash", "-lpthread", "-ldl", "-lm"]
run(["cc", example, "-o", out + "/static", include, os.path.join(library, "libbitblas.a"), *needs])
check("static", out + "/static")
