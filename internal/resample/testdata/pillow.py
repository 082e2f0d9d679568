"""Prints the table of pillow_test.go: CRC-32 of Pillow's BILINEAR results.

Usage: python3 pillow.py
"""
import zlib
import numpy as np
import PIL
from PIL import Image

CASES = [
    # in H, W, out H, W
    (1, 1, 1, 1), (1, 1, 1024, 1024), (1, 3, 1, 2), (5, 7, 3, 4), (2, 2, 3, 3), (7, 5, 7, 9), (7, 5, 9, 5), (7, 5, 7, 5),
    (300, 500, 614, 1024), (500, 300, 1024, 614), (1000, 1000, 1024, 1024), (1200, 1600, 768, 1024),
    (1484, 1380, 1024, 952), (2967, 2220, 1024, 766), (3000, 17, 1024, 6), (17, 3000, 6, 1024), (20000, 3, 1024, 1), (2, 30000, 1, 1024),
    (1025, 1024, 1024, 1023), (64, 4000, 16, 1024),
]


def picture(h, w):
    """Byte i of the picture is the top byte of splitmix64(i)."""
    with np.errstate(over="ignore"):
        z = np.arange(h * w * 3, dtype=np.uint64) + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(56)).astype(np.uint8).reshape(h, w, 3)


print("// Pillow", PIL.__version__)
for h, w, oh, ow in CASES:
    out = np.asarray(Image.fromarray(picture(h, w)).resize((ow, oh), Image.BILINEAR))
    assert out.shape == (oh, ow, 3)
    print("{resample.Size{%d, %d}, resample.Size{%d, %d}, 0x%08x}," % (h, w, oh, ow, zlib.crc32(out.tobytes())))
