"""Runs a kernel of the scheduled form as it is and as what one thread does, and compares its f32 tensor C.

  forms_agree.py BITBLASC FILE DIRECTORY"""

import struct
import subprocess
import sys

bitblasc, path, directory = sys.argv[1:]


def result(form):
    output = f"{directory}/{form}.npy"
    subprocess.run([bitblasc, "run", path, "--device=emulator", f"--form={form}", f"--output=C={output}"], check=True, capture_output=True)
    with open(output, "rb") as file:
        data = file.read()
    data = data[10 + struct.unpack_from("<H", data, 8)[0]:]
    return struct.unpack(f"<{len(data) // 4}f", data)


ours, expected = result("thread"), result("scheduled")
largest = max(abs(value) for value in expected)
if largest == 0 or any(abs(a - b) > 1e-5 * largest for a, b in zip(ours, expected)):
    sys.exit("thread form and scheduled form differ")
