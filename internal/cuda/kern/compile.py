#!/usr/bin/env python3
"""Compile the kernels of this folder to PTX with NVRTC; no GPU is needed.

    pip install -r requirements.txt
    python3 compile.py [assemble]

Writes ptx/NAME.ptx for each NAME.cu: PTX ISA 8.0, which drivers from 525 on
read. Kernels with tensor cores are for Ampere and later (compute_80), all
others for Turing and later (compute_75). The output is the same in each run.

assemble has ptxas translate the files for the generations of GPUs since
Turing, as a driver would, and fails if it cannot.
"""
import ctypes as C
import glob
import importlib.util
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))

TURING, AMPERE = 75, 80
GENERATIONS = (TURING, AMPERE, 86, 89, 90, 100, 120)


def find(package, pattern):
    """The file of an installed package that fits a pattern."""
    for root in importlib.util.find_spec(package).submodule_search_locations:
        for f in glob.glob(os.path.join(root, pattern)):
            return f
    sys.exit('compile.py: no %s in the package %s' % (pattern, package))


def least(path):
    """The least compute capability that a file is for."""
    return AMPERE if os.path.basename(path).startswith('tensor') else TURING


def compile_file(lib, path):
    """The PTX of one file, or an exit with the compiler's log."""
    options = ['--gpu-architecture=compute_%d' % least(path), '-I' + HERE, '--std=c++17']
    with open(path, 'rb') as f:
        source = f.read()
    p, n = C.c_void_p(), C.c_size_t()
    if lib.nvrtcCreateProgram(C.byref(p), source, os.path.basename(path).encode(), 0, None, None):
        sys.exit('compile.py: %s: no program' % path)
    failed = lib.nvrtcCompileProgram(p, len(options), (C.c_char_p * len(options))(*[o.encode() for o in options]))
    lib.nvrtcGetProgramLogSize(p, C.byref(n))
    log = C.create_string_buffer(n.value)
    lib.nvrtcGetProgramLog(p, log)
    if n.value > 1:
        print(log.value.decode(), file=sys.stderr)
    if failed:
        sys.exit('compile.py: %s: NVRTC error %d' % (path, failed))
    lib.nvrtcGetPTXSize(p, C.byref(n))
    ptx = C.create_string_buffer(n.value)
    lib.nvrtcGetPTX(p, ptx)
    return ptx.value


def assemble(path, ptx):
    """Has ptxas translate a file for all generations."""
    ptxas = find('nvidia.cuda_nvcc', 'bin/ptxas')
    os.chmod(ptxas, 0o755)
    for sm in GENERATIONS:
        if sm >= least(path):
            subprocess.run([ptxas, '-arch=sm_%d' % sm, ptx, '-o', os.devnull], check=True)


def main():
    lib = C.CDLL(find('nvidia.cuda_nvrtc', 'lib/libnvrtc.so.*'))
    os.makedirs(os.path.join(HERE, 'ptx'), exist_ok=True)
    for path in sorted(glob.glob(os.path.join(HERE, '*.cu'))):
        name = os.path.basename(path)[:-3]
        ptx = os.path.join(HERE, 'ptx', name + '.ptx')
        with open(ptx, 'wb') as f:
            f.write(compile_file(lib, path))
        if sys.argv[1:] == ['assemble']:
            assemble(path, ptx)


main()
