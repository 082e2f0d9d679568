#!/usr/bin/python3
"""Writes the fixtures of package jpegtile: small JPEG files of a picture made
here, and expected.json with the SHA-256 of libjpeg's RGB pixels.

    make.py            (in this folder)

Versions used: Pillow 13.0.0 over libjpeg-turbo 3.2.0, numpy 2.4.6 (Debian
12's Pillow 9.4.0 over libjpeg-turbo 2.1.5 decodes to the same pixels, but
cannot write restart.jpg).
"""
import hashlib, io, json
import numpy as np
from PIL import Image

y, x = np.mgrid[0:47, 0:69]
rgb = np.stack([(x * 5 + y * 3) % 256, 128 + 100 * np.sin(x / 4.0) * np.cos(y / 5.0), (x * y + 40) % 256], 2).astype(np.uint8)
im = Image.fromarray(rgb)
a = np.array(im.convert("CMYK"))
a[:, :, 3] = x * 2 + y  # black of its own
inks = Image.frombytes("CMYK", im.size, a.tobytes())
expected = {}
for name, pic, kw in [
    ("444", im, dict(quality=90, subsampling=0)), ("422", im, dict(quality=75, subsampling=1)), ("420", im, dict(quality=60, subsampling=2)),
    ("420-low", im, dict(quality=8, subsampling=2)), ("420-optimised", im, dict(quality=85, subsampling=2, optimize=True)),
    ("gray", im.convert("L"), dict(quality=80)), ("tiny-420", im.resize((3, 3)), dict(quality=80, subsampling=2)),
    ("progressive", im, dict(quality=75, subsampling=2, progressive=True)), ("restart", im, dict(quality=75, subsampling=2, restart_marker_blocks=3)),
    ("progressive-444", im, dict(quality=98, subsampling=0, progressive=True)), ("progressive-gray", im.convert("L"), dict(quality=40, progressive=True)),
    ("progressive-restart", im, dict(quality=90, subsampling=1, progressive=True, restart_marker_blocks=5)),
    ("cmyk", inks, dict(quality=85)), ("progressive-cmyk", inks, dict(quality=85, progressive=True)),
]:
    pic.save(name + ".jpg", **kw)
    b = open(name + ".jpg", "rb").read()
    assert (b"\xff\xdd" in b) == ("restart" in name)
    a = np.asarray(Image.open(io.BytesIO(b)).convert("RGB"))
    expected[name + ".jpg"] = dict(w=a.shape[1], h=a.shape[0], sha256=hashlib.sha256(a.tobytes()).hexdigest())
# The same four components without Adobe's marker, and as YCCK.
b = open("cmyk.jpg", "rb").read()
at = b.index(b"\xff\xee")
for name, data in [("cmyk-plain", b[:at] + b[at + 16:]), ("ycck", b[:at + 15] + b"\2" + b[at + 16:])]:
    open(name + ".jpg", "wb").write(data)
    a = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    expected[name + ".jpg"] = dict(w=a.shape[1], h=a.shape[0], sha256=hashlib.sha256(a.tobytes()).hexdigest())
json.dump(expected, open("expected.json", "w"), indent=1, sort_keys=True)
