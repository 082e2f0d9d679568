#!/usr/bin/python3
"""Writes the fixtures of package tiff: small TIFFs of a picture made here by
libvips, and expected.json with the SHA-256 of the RGBA pixels that libtiff,
through OpenSlide's and libvips' readers, gives for them.

    make.py            (in this folder)

Versions used: Debian 12, libvips 8.14.1, libtiff 4.5.0, libjpeg-turbo 2.1.5,
numpy 1.24.2. The picture is closed-form: no data of others.
"""
import hashlib, json, os, subprocess
import numpy as np

W, H = 83, 61
y, x = np.mgrid[0:H, 0:W]
rgb = np.stack([(x * 3 + y) % 256, 128 + 90 * np.sin(x / 9.0) * np.cos(y / 7.0), (x * x + y * y * 2) // 37 % 256], 2).astype(np.uint8)
rgb16 = (rgb.astype(np.uint16) * 251 + 11).astype(np.uint16)
expected = {}


def vips(*a):
    subprocess.run(["vips", *a], check=True)


def source(name, a):
    a.tofile("tmp.raw")
    vips("rawload", "tmp.raw", "raw.v", str(a.shape[1]), str(a.shape[0]), str(a.shape[2]), "--format", "uchar" if a.itemsize == 1 else "ushort")
    kind = {(1, 1): "b-w", (1, 3): "srgb", (1, 4): "srgb", (2, 3): "rgb16", (2, 1): "grey16"}[a.itemsize, a.shape[2]]
    vips("copy", "raw.v", name, "--interpretation", kind)


def rgba(path):
    """Pixels through libvips, as libtiff's RGBA reader scales and premultiplies."""
    hdr = lambda f: int(subprocess.check_output(["vipsheader", "-f", f, path]))
    w, h, n = hdr("width"), hdr("height"), hdr("bands")
    vips("rawsave", path, "tmp.raw")
    size = os.path.getsize("tmp.raw") // (w * h * n)
    a = np.fromfile("tmp.raw", np.uint8 if size == 1 else np.uint16).reshape(h, w, n).astype(int)
    if size == 2:
        a = (a + 128) // 257
    if n == 1:
        a = np.repeat(a, 3, 2)
    if a.shape[2] == 3:
        a = np.concatenate([a, np.full((h, w, 1), 255)], 2)
    a[..., :3] = (a[..., :3] * a[..., 3:] + 127) // 255
    return a.astype(np.uint8)


source("rgb.v", rgb)
source("gray.v", rgb[..., 1:2])
source("alpha.v", np.concatenate([rgb, rgb[..., :1]], 2))
source("rgb16.v", rgb16)
tile = ["--tile", "--tile-width", "32", "--tile-height", "16"]
for name, src, opts in [
    ("tile-none", "rgb.v", tile), ("strip-none", "rgb.v", []), ("strip-none-big", "gray.v", ["--bigtiff"]),
    ("tile-lzw-pred", "rgb.v", tile + ["--compression", "lzw"]), ("strip-lzw", "rgb.v", ["--compression", "lzw", "--predictor", "none"]),
    ("tile-deflate16-pred", "rgb16.v", tile + ["--compression", "deflate", "--bigtiff"]), ("strip-deflate", "alpha.v", ["--compression", "deflate"]),
    ("tile-packbits", "gray.v", tile + ["--compression", "packbits"]), ("strip-packbits16", "rgb16.v", ["--compression", "packbits"]),
    ("tile-jpeg420", "rgb.v", tile + ["--compression", "jpeg", "--Q", "70"]), ("tile-jpeg444", "rgb.v", tile + ["--compression", "jpeg", "--Q", "95"]),
    ("strip-jpeg-gray", "gray.v", ["--compression", "jpeg"]), ("pyramid-subifd", "rgb.v", tile + ["--pyramid", "--subifd", "--compression", "deflate", "--bigtiff"]),
]:
    vips("tiffsave", src, name + ".tif", *opts, "--xres", "4000", "--yres", "4000", "--strip")
    a = rgba(name + ".tif")
    expected[name + ".tif"] = dict(w=a.shape[1], h=a.shape[0], sha256=hashlib.sha256(a.tobytes()).hexdigest())
json.dump(expected, open("expected.json", "w"), indent=1, sort_keys=True)
for f in ["rgb.v", "gray.v", "alpha.v", "rgb16.v", "raw.v", "tmp.raw"]:
    os.remove(f)
