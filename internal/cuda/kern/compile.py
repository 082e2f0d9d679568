#!/usr/bin/env python3
"""Compile the kernels of this folder to PTX with NVRTC; no GPU is needed.

    pip install -r requirements.txt
    python3 compile.py

Writes ptx/NAME.ptx for each NAME.cu: PTX ISA 8.0, which drivers from 525 on
read. Kernels with tensor cores are for Ampere and later (compute_80), all
others for Turing and later (compute_75). The output is the same in each run.
"""
import ctypes as C
import glob
import importlib.util
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))


def nvrtc():
    """The library of the package nvidia-cuda-nvrtc-cu12."""
    for root in importlib.util.find_spec('nvidia.cuda_nvrtc').submodule_search_locations:
        for f in glob.glob(os.path.join(root, 'lib', 'libnvrtc.so.*')):
            return C.CDLL(f)
    sys.exit('compile.py: no libnvrtc in the package nvidia-cuda-nvrtc-cu12')


def compile_file(lib, path):
    """The PTX of one file, or an exit with the compiler's log."""
    arch = 'compute_80' if os.path.basename(path).startswith('tensor') else 'compute_75'
    options = ['--gpu-architecture=' + arch, '-I' + HERE, '--std=c++17']
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


def main():
    lib = nvrtc()
    os.makedirs(os.path.join(HERE, 'ptx'), exist_ok=True)
    for path in sorted(glob.glob(os.path.join(HERE, '*.cu'))):
        name = os.path.basename(path)[:-3]
        with open(os.path.join(HERE, 'ptx', name + '.ptx'), 'wb') as f:
            f.write(compile_file(lib, path))


main()
