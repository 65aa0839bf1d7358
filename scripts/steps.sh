# shellcheck shell=sh disable=SC2086 # package lists are split on purpose
# Shared by ./quickstart and ./check: timed steps, and installing what is missing. Sourced from the repository's root.
# Everything asks first what is there, so that a second run costs nothing.

log=build/steps.log

now() { date +%s%N; }

# step TITLE COMMAND...: runs the command with its output in the log, prints the title and the time it took; on failure
# prints the end of the log and leaves.
step() {
  title=$1
  shift
  printf '%-46s ' "$title"
  mkdir -p build
  started=$(now)
  if "$@" >"$log" 2>&1; then
    printf '%7s s\n' "$(seconds_since "$started")"
  else
    status=$?
    printf 'FAILED after %s s\n' "$(seconds_since "$started")"
    tail -n 40 "$log"
    exit "$status"
  fi
}

# show TITLE COMMAND...: the same, with the command's output on the terminal.
show() {
  title=$1
  shift
  printf '\n%s\n  $ %s\n' "$title" "$*"
  started=$(now)
  "$@"
  status=$?
  printf '  (%s s)\n' "$(seconds_since "$started")"
  return "$status"
}

seconds_since() {
  hundredths=$((($(now) - $1) / 10000000))
  printf '%d.%02d' $((hundredths / 100)) $((hundredths % 100))
}

have() { command -v "$1" >/dev/null 2>&1; }

have_header() { have cc && echo "#include <$1>" | cc -E -x c - >/dev/null 2>&1; }

have_module() { python3 -c "import $1" >/dev/null 2>&1 || /usr/bin/python3 -c "import $1" >/dev/null 2>&1; }

# As root, or by sudo.
as_root() {
  if [ "$(id -u)" -eq 0 ]; then
    "$@"
  elif have sudo; then
    sudo "$@"
  else
    echo "root or sudo is needed to run: $*"
    return 1
  fi
}

# The version of LLVM that this distribution calls its own: 14 on Debian 12, 18 on Ubuntu 24.04.
llvm_version() { apt-cache depends llvm | sed -n 's/^ *Depends: llvm-\([0-9][0-9]*\)$/\1/p' | head -n 1; }

# Installs the packages named; llvm-tools stands for the distribution's own version of them.
install_packages() {
  if ! have apt-get; then
    echo "apt-get was not found; install the equivalents of: $*"
    return 1
  fi
  as_root apt-get update || return
  packages=
  for package in "$@"; do
    [ "$package" != llvm-tools ] || package=llvm-$(llvm_version)-tools # known only after the update
    packages="$packages $package"
  done
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $packages
}

# The packages of the build that are missing, by what they are needed for.
missing_build_packages() {
  have cc && have_header stdio.h || echo gcc libc6-dev
  have cmake || echo cmake
  have ninja || echo ninja-build
  have re2c || echo re2c
  have bison || echo bison
  have python3 || echo python3
  have_header jansson.h || echo libjansson-dev
  have_header xxhash.h || echo libxxhash-dev
}

have_filecheck() { ls /usr/lib/llvm-*/bin/FileCheck >/dev/null 2>&1 || have FileCheck; }

have_lit() { ls /usr/lib/llvm-*/build/utils/lit/lit.py >/dev/null 2>&1 || have lit || have_module lit.main; }

missing_test_packages() {
  have_filecheck && have_lit || echo llvm-tools
  have_header cmocka.h || echo libcmocka-dev
  have_module numpy || echo python3-numpy
  have_module psutil || echo python3-psutil
  have nm || echo binutils
  have abidiff || echo abigail-tools
}

# -- NVRTC ------------------------------------------------------------------------------------------------------------

# The compiler knows best where it looks: it leaves with 4 when the machine lacks what was asked for.
have_nvrtc() {
  build/bitblasc examples/matmul.tl -o build/matmul.cubin >/dev/null 2>&1
  [ $? -ne 4 ]
}

# A pip that may download: the system's, else one of a virtual environment below build/. Downloading is not installing,
# so a Python that its distribution manages allows it.
pip_download() {
  if python3 -m pip --version >/dev/null 2>&1; then
    python3 -m pip download "$@"
    return
  fi
  if [ ! -x build/venv/bin/pip ]; then
    python3 -c 'import ensurepip' 2>/dev/null || install_packages python3-venv || return
    python3 -m venv build/venv || return
  fi
  build/venv/bin/pip download "$@"
}

# NVIDIA's wheel of the run-time compiler holds both libraries it needs; they go to build/nvrtc, where bitblasc looks.
fetch_nvrtc() {
  rm -rf build/nvrtc.new
  mkdir -p build/nvrtc.new
  pip_download --no-deps --only-binary=:all: -d build/nvrtc.new 'nvidia-cuda-nvrtc==13.*' || return
  python3 - <<'END' || return
import glob, os, shutil, zipfile
folder = "build/nvrtc.new"
for wheel in glob.glob(folder + "/*.whl"):
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if "/libnvrtc" in name and ".so" in name and ".alt." not in name:
                with archive.open(name) as source, open(os.path.join(folder, os.path.basename(name)), "wb") as target:
                    shutil.copyfileobj(source, target)
    os.remove(wheel)
END
  rm -rf build/nvrtc
  mv build/nvrtc.new build/nvrtc
}
