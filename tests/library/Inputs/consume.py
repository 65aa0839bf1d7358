"""consume.py ROOT BUILD OUT: installs the library and the compiler into OUT, builds examples/custom_kernel.c from what was
installed, and a program with a kernel of its own that is compiled when it is built."""

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


for component in "library", "compiler":
    run(["cmake", "--install", build, "--prefix", prefix, "--component", component])
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

if not glob.glob(prefix + "/share/doc/*/reference.md"):
    sys.exit("the reference page was not installed")

# -- As a CMake package ------------------------------------------------------------------------------------------------------

KERNEL = """
include "factor.tl"
kernel scale(X: f32[M, N], Y: out f32[M, N])
  param F = 1
  where N % 4 == 0
  grid (bm in ceildiv(M, 8), bn in ceildiv(N, 32))
{
  tile x: f32[8, 32]
  copy X[bm*8, bn*32] -> x
  x = x * F + OFFSET
  copy x -> Y[bm*8, bn*32]
}
"""
PROGRAM = """
#include "twice.h"

#include <stdio.h>

int main(void) {
  scale_arguments arguments = {0};
  arguments.N = 3;
  printf("%s, cubin %s\\n", scale_message(scale_check(&arguments)), scale_cubin_bytes > 64 ? "present" : "missing");
  return 0;
}
"""


def write(path, text):
    with open(path, "w") as file:
        file.write(text)


def build_project(folder, lists):
    write(os.path.join(folder, "CMakeLists.txt"), lists)
    run(["cmake", "-S", folder, "-B", folder + "/build", "-G", "Ninja", "-DCMAKE_PREFIX_PATH=" + prefix])
    run(["cmake", "--build", folder + "/build"])


def stamps(folder):
    return [os.stat(folder + "/build/twice" + extension).st_mtime_ns for extension in (".cubin", ".c", ".h")]


start = "cmake_minimum_required(VERSION 3.20)\nproject(consumer C)\nfind_package(bitblas 0.1 REQUIRED)\n"
project = os.path.join(out, "project")
os.makedirs(project)
build_project(project, start + f"add_executable(consumer {example})\n"
              "target_link_libraries(consumer PRIVATE bitblas::bitblas m)\n")
check("CMake package", project + "/build/consumer")

compiler = os.path.join(prefix, "bin", "bitblasc")
if os.path.isdir(build + "/nvrtc"):
    os.symlink(os.path.abspath(build + "/nvrtc"), os.path.join(prefix, "bin", "nvrtc"))
project = os.path.join(out, "kernel")
os.makedirs(project)
write(project + "/own.tl", KERNEL)
write(project + "/factor.tl", "const OFFSET = 1\n")
write(project + "/main.c", PROGRAM)
tried = subprocess.run([compiler, root + "/examples/transpose.tl", "-o", project + "/tried.cubin"], capture_output=True)
if tried.returncode == 4:
    print("bitblas_add_kernel: no NVRTC")
else:
    lists = start + ("bitblas_add_kernel(twice own.tl KERNEL scale TARGET sm_80 DEFINES F=2)\n"
                     "add_executable(launcher main.c)\ntarget_link_libraries(launcher PRIVATE twice)\n")
    build_project(project, lists)
    said = run([project + "/build/launcher"])
    first = stamps(project)
    run(["cmake", "--build", project + "/build"])
    idle = stamps(project)
    write(project + "/factor.tl", "const OFFSET = 2\n")
    run(["cmake", "--build", project + "/build"])
    if said != "N is less than 0 or no multiple of 4, cubin present\n":
        sys.exit("bitblas_add_kernel: " + said)
    if idle != first or min(stamps(project)) <= max(first):
        sys.exit("bitblas_add_kernel: built again without a change, or not after one of an included file")
    print("bitblas_add_kernel: ok")

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
