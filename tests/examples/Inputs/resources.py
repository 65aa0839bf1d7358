"""resources.py BITBLASC EXAMPLES: compiles every kernel for every target and level; none may spill registers or draw a warning from ptxas."""
import concurrent.futures
import glob
import os
import re
import subprocess
import sys
import tempfile

program, examples = sys.argv[1:]


def compile_one(path, kernel, target, level, folder):
    out = os.path.join(folder, f'{kernel}_{target}_{level}.cubin')
    done = subprocess.run([program, path, f'--kernel={kernel}', f'--target={target}', f'-O{level}', '--resource-usage', '-o', out], capture_output=True, text=True)
    text = done.stdout + done.stderr
    good = done.returncode == 0 and ' 0 bytes spilled' in text and 'warning' not in text
    return None if good else f'{kernel}, {target} -O{level}: {text.strip()}'


with tempfile.TemporaryDirectory() as folder, concurrent.futures.ThreadPoolExecutor(2) as pool:
    jobs = [pool.submit(compile_one, path, kernel, target, level, folder)
            for path in sorted(glob.glob(os.path.join(examples, '*.tl')))
            for kernel in re.findall(r'^kernel\s+(\w+)', open(path).read(), re.M)
            for target in ('sm_80', 'sm_89', 'sm_90a') for level in (0, 1, 2)]
    wrong = [job.result() for job in jobs if job.result()]
print('\n'.join(wrong))
print(f'{len(jobs)} cubins, {len(wrong)} wrong')
sys.exit(1 if wrong or not jobs else 0)
