#!/usr/bin/env python3
"""Writes the codestreams of this folder, lossless JPEG 2000 of closed-form
pictures, through OpenJPEG.

    pip install pillow==13.0.0 numpy==2.4.6 glymur==0.14.8
    ./make.py            (in this folder)
"""
import os
import sys

import numpy as np
from PIL import Image


def save(name, a, **more):
    Image.fromarray(a.astype(np.uint8)).save(name + ".j2k", "JPEG2000", no_jp2=True, irreversible=False, **{"num_resolutions": 3, **more})


def rgb(w, h, f):
    y, x = np.mgrid[0:h, 0:w]
    return np.stack(f(x, y), 2) % 256


smooth = lambda x, y: (x * 3, y * 4, 200 - x - y)  # the function picture of package tiff's tests
save("products-64x64", rgb(64, 64, lambda x, y: (x * 5, y * 9, x * y)), mct=1)
save("flat-2048x2048", np.full((2048, 2048, 3), 100), mct=1)
save("smooth-32x32", rgb(32, 32, smooth), mct=1)
cut = rgb(40, 24, smooth)
save("smooth-left", cut[:, :32], mct=1)
save("smooth-right", cut[:, 32:], mct=1)
for c in range(3):
    for i in range(2):  # tiles of 32 x 32, the edge repeated
        t = cut[:, 32 * i:32 * i + 32, c]
        save("smooth-plane%d-tile%d" % (c, i), np.pad(t, [(0, 8), (0, 32 - t.shape[1])], "edge"))
turn = 2 * np.pi / 256  # tiles of it fit together
save("wave-256x256", rgb(256, 256, lambda x, y: (128 + 120 * np.sin(2 * turn * x), 128 + 120 * np.cos(2 * turn * y), 128 + 120 * np.sin(turn * (x + y)))), mct=1)
y, x = np.mgrid[0:32, 0:32]
Image.fromarray((x * 2000 + y * 37).astype(np.uint16)).save("deep-32x32.j2k", "JPEG2000", no_jp2=True, irreversible=False, num_resolutions=3)
save("halves-256x256", np.where(np.arange(256)[None, :, None] < 128, 100, 200) + np.zeros((256, 1, 3)), mct=1, num_resolutions=1)

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../../jpeg2000/testdata"))
import reference  # noqa: E402

y, x = np.mgrid[0:32, 0:32]
planes = [(x * 5 + y).astype(np.int32), np.full((16, 16), 90, np.int32), (100 + x + y).astype(np.int32)[:16, :16]]
reference.encode("chroma-32x32.j2k", planes, 8, 0, [(1, 1), (2, 2), (2, 2)], (0, 0), (32, 32), dict(irreversible=0, numresolution=3, rates=[0.0]))
