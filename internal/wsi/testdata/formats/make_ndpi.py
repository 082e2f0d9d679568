#!/usr/bin/env python3
"""Writes the NDPI files of this folder after the structure that OpenSlide
documents, and ndpi.json, what OpenSlide makes of them.

    pip install openslide-python==1.4.7 openslide-bin==4.0.1.2 pillow==13.0.0 numpy==2.4.6
    ./make_ndpi.py

No scanner wrote them: they are built, not real.
"""
import io
import json
import os
import struct

import numpy as np
import openslide
from PIL import Image

from make_dicom import digest, picture

here = os.path.dirname(os.path.abspath(__file__))


def jpeg(p, restart, sub="4:4:4"):
    b = io.BytesIO()
    kw = {"restart_marker_blocks": restart} if restart else {}
    Image.fromarray(p).save(b, "JPEG", quality=90, subsampling=sub, **kw)
    return b.getvalue()


def starts(j):
    """Where the restart intervals begin, from the JPEG's own start on."""
    p = 2
    while j[p + 1] != 0xDA:
        p += 2 + int.from_bytes(j[p + 2:p + 4], "big")
    p += 2 + int.from_bytes(j[p + 2:p + 4], "big")
    out = [p]
    while p < len(j) - 1:
        if j[p] == 0xFF and 0xD0 <= j[p + 1] <= 0xD7:
            out.append(p + 2)
        p += 1
    return out


def zero_size(j):
    """Puts 0 x 0 into the frame header, as files over 65500 pixels have."""
    i = j.index(b"\xff\xc0")
    return j[:i + 5] + b"\0\0\0\0" + j[i + 9:]


def write(name, pages):
    out = bytearray(b"II*\0" + bytes(8))
    ptr = 4
    for page in pages:
        at = len(out)
        out += page["jpeg"]
        fields = {
            254: (4, [0]), 256: (4, [page["size"][0]]), 257: (4, [page["size"][1]]), 258: (3, [8, 8, 8]), 259: (3, [7]), 262: (3, [6]),
            271: (2, b"Hamamatsu\0"), 272: (2, b"NanoZoomer\0"), 273: (4, [at]), 277: (3, [3]), 278: (4, [page["size"][1]]), 279: (4, [len(page["jpeg"])]),
            282: (5, page["res"]), 283: (5, page["res2"]), 296: (3, [3]), 65420: (4, [1]), 65421: (11, [page["lens"]]), 65424: (9, [page.get("plane", 0)]),
        }
        if page.get("starts"):
            fields[65426] = (4, [v & 0xFFFFFFFF for v in page["starts"]])
        if page.get("high"):
            fields[65432] = (4, [v >> 32 for v in page["starts"]])
        if page["lens"] == 20:
            fields[65449] = (2, b"Created=2026/01/01\r\nSerialNumber=7\r\n\0")
        if len(out) % 2:
            out += b"\0"
        entries, ext = b"", b""
        for t in sorted(fields):
            typ, v = fields[t]
            if typ == 2:
                data, n = bytes(v), len(v)
            else:
                code = {3: "H", 4: "I", 5: "II", 9: "i", 11: "f"}[typ]
                data = b"".join(struct.pack("<" + code, *x) if typ == 5 else struct.pack("<" + code, x) for x in ([v] if typ == 5 else v))
                n = 1 if typ == 5 else len(v)
            if typ != 2 and len(data) <= 4:
                data = data.ljust(4, b"\0")
            else:
                off = len(out)
                out += data + b"\0" * (len(data) % 2)
                data = struct.pack("<I", off)
            entries += struct.pack("<HHI", t, typ, n) + data
            ext += b"\0\0\0\0"
        struct.pack_into("<Q", out, ptr, len(out))
        out += struct.pack("<H", len(fields)) + entries
        ptr = len(out)
        out += struct.pack("<Q", 0) + ext
    open(os.path.join(here, name), "wb").write(out)


def page(p, lens, restart=0, mpp=0.5, starts_too=True, zero=False, sub="4:4:4", **kw):
    j = jpeg(p, restart, sub)
    d = {"jpeg": zero_size(j) if zero else j, "size": (p.shape[1], p.shape[0]), "lens": lens, "res": (round(1e7 / mpp), 1000), "res2": (round(1e7 / mpp / 0.8), 1000), **kw}
    if restart and starts_too:
        d["starts"] = starts(j)
    return d


def main():
    a, b, c = picture(128, 304), picture(64, 152, 1), picture(32, 75, 2)
    macro = page(picture(60, 20, 3), -1)
    write("ndpi-plain.ndpi", [page(a, 20, 4), page(b, 10, 4, mpp=1), page(c, 5, mpp=2), macro, page(picture(30, 10), -2)])
    write("ndpi-high.ndpi", [page(a, 20, 4, high=True), page(b, 10, 4, mpp=1), macro])
    write("ndpi-nostarts.ndpi", [page(a, 20, 4, starts_too=False), page(b, 10, 8, mpp=1, starts_too=False)])
    write("ndpi-planes.ndpi", [page(255 - a, 20, 4, plane=-1000), page(a, 20, 4), page(255 - a, 20, 4, plane=1000), page(b, 10, 4, mpp=1), macro])
    write("ndpi-422.ndpi", [page(a, 40, 4, sub="4:2:2"), page(b, 20, 2, mpp=1, sub="4:2:2")])
    out = {}
    for n in sorted(f for f in os.listdir(here) if f.endswith(".ndpi")):
        o = openslide.OpenSlide(os.path.join(here, n))
        sizes = {"ndpi-plain.ndpi": [(128, 304), (64, 152), (32, 75)]}.get(n, [(128, 304), (64, 152)])
        levels = []
        for s in sizes:  # OpenSlide adds levels of its own by scaled decoding
            i = o.level_dimensions.index(s)
            levels.append([*s, digest(o.read_region((0, 0), i, s))])
        out[n] = {"by": "OpenSlide " + openslide.__library_version__, "levels": levels,
                  "mpp": [float(o.properties["openslide.mpp-x"]), float(o.properties["openslide.mpp-y"])], "objective": float(o.properties["openslide.objective-power"]),
                  "associated": {k: digest(v) for k, v in o.associated_images.items()}}
    json.dump(out, open(os.path.join(here, "ndpi.json"), "w"), indent=1)


if __name__ == "__main__":
    main()
