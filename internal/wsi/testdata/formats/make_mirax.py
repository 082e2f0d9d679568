#!/usr/bin/env python3
"""Writes the MIRAX slides of this folder after the structure that OpenSlide
documents, and mirax.json, what OpenSlide makes of their bounds.

    pip install openslide-python==1.4.7 openslide-bin==4.0.1.2 pillow==13.0.0 numpy==2.4.6
    ./make_mirax.py

No scanner wrote them: they are built, not real.
"""
import io
import json
import os
import shutil
import struct
import zlib

import openslide
from PIL import Image

from make_dicom import digest, picture

here = os.path.dirname(os.path.abspath(__file__))
ID = "0123456789ABCDEF0123456789ABCDEF"
W, H = 64, 48


def coded(p, fmt):
    b = io.BytesIO()
    Image.fromarray(p).save(b, {"JPEG": "JPEG", "PNG": "PNG", "BMP24": "BMP"}[fmt], **({"quality": 90} if fmt == "JPEG" else {}))
    return b.getvalue()


def write(name, across, down, div, concats, positions, overlap, fmt, layer):
    folder = os.path.join(here, name)
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    open(folder + ".mrxs", "wb").write(b"\xff\xd8\xff\xd9")
    data = [bytearray(b"Data0"), bytearray(b"Data1")]

    def put(b, i):
        data[i] += b
        return (len(data[i]) - len(b), len(b), i)

    levels, total, seed = [], 0, 0
    for step in concats:
        total += step
        c = 1 << total
        entries = []
        for row in range(0, down, c):
            for col in range(0, across, c):
                if positions and level0_missing(positions, col, row, c, across, div):
                    continue
                seed += 1
                entries.append((row * across + col, *put(coded(picture(W, H, seed), fmt), seed % 2)))
        levels.append(entries)
    records = [put(coded(picture(40, 12, 90 + i), "JPEG"), 0) for i in range(3)]
    ini = ["\ufeff[GENERAL]", f"SLIDE_ID = {ID}", f"IMAGENUMBER_X = {across}", f"IMAGENUMBER_Y = {down}", "OBJECTIVE_MAGNIFICATION = 20",
           f"CameraImageDivisionsPerSide = {div}", "[HIERARCHICAL]", "INDEXFILE = Index.dat", "HIER_COUNT = 1", "HIER_0_NAME = Slide zoom level",
           f"HIER_0_COUNT = {len(concats)}"]
    for i in range(len(concats)):
        ini += [f"HIER_0_VAL_{i} = ZoomLevel_{i}", f"HIER_0_VAL_{i}_SECTION = LAYER_0_LEVEL_{i}_SECTION"]
    ini += [f"NONHIER_COUNT = {2 if layer else 1}", "NONHIER_0_NAME = Scan data layer", "NONHIER_0_COUNT = 3"]
    for i, n in enumerate(["SlideThumbnail", "SlideBarcode", "SlidePreview"]):
        ini += [f"NONHIER_0_VAL_{i} = ScanDataLayer_{n}", f"NONHIER_0_VAL_{i}_SECTION = NONHIER_SECTION_{i}"]
    if layer:
        raw = b"".join(struct.pack("<Bii", 0, x, y) for x, y in positions)
        records.append(put(zlib.compress(raw) if layer.startswith("Stitching") else raw, 1))
        ini += [f"NONHIER_1_NAME = {layer}", "NONHIER_1_COUNT = 1", f"NONHIER_1_VAL_0 = {layer}"]
    ini += ["[DATAFILE]", "FILE_COUNT = 2", "FILE_0 = Data0000.dat", "FILE_1 = Data0001.dat"]
    total = 0
    for i, step in enumerate(concats):
        total += step
        f = 1 << total
        ini += [f"[LAYER_0_LEVEL_{i}_SECTION]", f"OVERLAP_X = {overlap[0] / f}", f"OVERLAP_Y = {overlap[1] / f}", f"MICROMETER_PER_PIXEL_X = {0.25 * f}",
                f"MICROMETER_PER_PIXEL_Y = {0.3 * f}", "IMAGE_FILL_COLOR_BGR = 16777215", f"IMAGE_FORMAT = {fmt}", f"IMAGE_CONCAT_FACTOR = {step}",
                f"DIGITIZER_WIDTH = {W}", f"DIGITIZER_HEIGHT = {H}"]
    for i, k in enumerate(["THUMBNAIL_IMAGE_TYPE", "BARCODE_IMAGE_TYPE", "PREVIEW_IMAGE_TYPE"]):
        ini += [f"[NONHIER_SECTION_{i}]", f"{k} = JPEG"]
    open(os.path.join(folder, "Slidedat.ini"), "w", encoding="utf-8", newline="\r\n").write("\n".join(ini) + "\n")

    x = bytearray(b"01.02" + ID.encode() + bytes(8))
    roots = len(x) - 8

    def append(*words):
        at = len(x)
        x.extend(struct.pack(f"<{len(words)}i", *words))
        return at

    tables = []
    for e in levels:  # pages of at most three records
        pages = [e[i:i + 3] for i in range(0, len(e), 3)]
        first = at = len(x)
        for k, p in enumerate(pages):
            at += 8 + 16 * len(p)
            append(len(p), at if k + 1 < len(pages) else 0, *[w for r in p for w in r])
        tables.append(append(0, first))
    struct.pack_into("<i", x, roots, append(*tables))
    tables = [append(0, append(1, 0, 0, 0, *r)) for r in records]
    struct.pack_into("<i", x, roots + 4, append(*tables))
    open(os.path.join(folder, "Index.dat"), "wb").write(x)
    for i, d in enumerate(data):
        open(os.path.join(folder, f"Data000{i}.dat"), "wb").write(d)


def level0_missing(positions, col, row, c, across, div):
    """No photo under an image was taken."""
    per = max(1, c // div)
    for py in range(row // div, row // div + per):
        for px in range(col // div, col // div + per):
            i = py * (across // div) + px
            if px < across // div and i < len(positions) and (positions[i] != (0, 0) or i == 0):
                return False
    return True


def main():
    # 3 x 2 photos of 2 x 2 images, moved by multiples of what the levels
    # shrink by, so that no level needs interpolation. One was not taken.
    pos = [(16, 8), (136, 16), (0, 0), (24, 96), (128, 88), (248, 104)]
    write("mirax-positions", 6, 4, 2, [0, 1, 1], pos, (8, 8), "PNG", "VIMSLIDE_POSITION_BUFFER")
    write("mirax-stitching", 6, 4, 2, [0, 1, 1], pos, (8, 8), "JPEG", "StitchingIntensityLayer")
    write("mirax-plain", 5, 3, 1, [0, 1, 1], None, (0, 0), "BMP24", None)
    write("mirax-overlap", 6, 4, 2, [0, 1], None, (8, 4), "JPEG", None)
    out = {}
    for n in ("mirax-positions", "mirax-stitching", "mirax-plain", "mirax-overlap"):
        o = openslide.OpenSlide(os.path.join(here, n + ".mrxs"))
        p = o.properties
        x, y = int(p.get("openslide.bounds-x", 0)), int(p.get("openslide.bounds-y", 0))
        w, h = int(p.get("openslide.bounds-width", o.dimensions[0])), int(p.get("openslide.bounds-height", o.dimensions[1]))
        levels = []
        for i, d in enumerate(o.level_downsamples):
            size = (int(w / d), int(h / d))
            levels.append([*size, digest(o.read_region((x, y), i, size))])
        out[n] = {"by": "OpenSlide " + openslide.__library_version__, "levels": levels, "mpp": [float(p["openslide.mpp-x"]), float(p["openslide.mpp-y"])],
                  "objective": float(p["openslide.objective-power"]), "associated": {k: digest(v) for k, v in o.associated_images.items()}}
        print(n, o.level_dimensions, (x, y, w, h))
    json.dump(out, open(os.path.join(here, "mirax.json"), "w"), indent=1)


if __name__ == "__main__":
    main()
