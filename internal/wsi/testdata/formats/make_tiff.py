#!/usr/bin/env python3
"""Writes the TIFF based slides of this folder with tifffile, and tiff.json,
what OpenSlide or tifffile makes of them.

    pip install tifffile==2026.3.3 imagecodecs==2026.3.6 openslide-python==1.4.7 openslide-bin==4.0.1.2 numpy==2.4.6 pillow==13.0.0
    ./make_tiff.py

The descriptions of SCN and QPTIFF are built after real ones; no scanner
wrote the files.
"""
import json
import lzma
import os

import imagecodecs
import numpy as np
import openslide
import tifffile

from make_dicom import digest, picture

here = os.path.dirname(os.path.abspath(__file__))
OS = "OpenSlide " + openslide.__library_version__


def path(n):
    return os.path.join(here, n)


def scn_image(name, light, objective, view, dims):
    dims = "".join(f'<dimension sizeX="{w}" sizeY="{h}" r="{r}" z="{z}" ifd="{ifd}"/>' for r, (w, h, z, ifd) in enumerate(dims))
    return (f'<image name="{name}" uuid="u"><creationDate>2026-01-01T00:00:00Z</creationDate><device model="Leica SCN400" version="1"/><pixels>{dims}</pixels>'
            f'<view sizeX="{view[2]}" sizeY="{view[3]}" offsetX="{view[0]}" offsetY="{view[1]}" spacingZ="0"/><scanSettings><objectiveSettings>'
            f'<objective>{objective}</objective></objectiveSettings><illuminationSettings><numericalAperture>0.4</numericalAperture>'
            f'<illuminationSource>{light}</illuminationSource></illuminationSettings></scanSettings></image>')


def scn(name, images, pages):
    xml = ('<?xml version="1.0"?><scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01" uuid="u"><collection name="c" uuid="u" '
           f'sizeX="2000000" sizeY="1500000">{"".join(images)}</collection></scn>')
    with tifffile.TiffWriter(path(name), bigtiff=True) as t:
        for i, (p, nm) in enumerate(pages):
            t.write(p, tile=(64, 64), photometric="rgb", compression="jpeg", compressionargs={"level": 90}, metadata=None, description=xml if i == 0 else None,
                    resolution=(1e7 / nm, 1e7 / nm), resolutionunit="CENTIMETER", software=False)


def read(name, downs=None):
    o = openslide.OpenSlide(path(name))
    p = o.properties
    x, y, w, h = (int(p.get("openslide.bounds-" + k, d)) for k, d in (("x", 0), ("y", 0), ("width", o.dimensions[0]), ("height", o.dimensions[1])))
    levels = []
    for i, d in enumerate(o.level_downsamples):
        size = (round(w / d), round(h / d))
        levels.append([*size, digest(o.read_region((x, y), i, size))])
    return {"by": OS, "levels": levels, "mpp": [float(p["openslide.mpp-x"]), float(p["openslide.mpp-y"])], "objective": float(p["openslide.objective-power"]),
            "associated": {k: digest(v) for k, v in o.associated_images.items()}}


def qpi(kind, extra=""):
    return ('<?xml version="1.0" encoding="utf-16"?>\r\n<PerkinElmer-QPI-ImageDescription><DescriptionVersion>1</DescriptionVersion><AcquisitionSoftware>VectraScan'
            f'</AcquisitionSoftware><ImageType>{kind}</ImageType>{extra}</PerkinElmer-QPI-ImageDescription>')


def qptiff(name, pages):
    with tifffile.TiffWriter(path(name)) as t:
        for p, kind, extra, um in pages:
            tile = {"tile": (64, 64)} if "Resolution" in kind else {"rowsperstrip": 32}
            t.write(p, photometric="rgb" if p.ndim == 3 else "minisblack", compression="adobe_deflate", metadata=None, description=qpi(kind, extra),
                    resolution=(1e4 / um, 1e4 / um), resolutionunit="CENTIMETER", software="PerkinElmer-QPI", **tile)


def bif(name, encoded=True):
    """Two areas of 3 x 2 and 2 x 2 tiles of 64 x 64 that overlap by 8 and 4."""
    tw = 64
    canvas = picture(6 * tw, 3 * tw, 2)  # tile by tile, whatever they show
    infos, origins = "", ""
    for i, (col, row, cols, rows, px, py) in enumerate([(0, 0, 3, 2, 8, 40), (4, 1, 2, 2, 200, 0)]):
        joints = ""

        def number(c, r):  # from below, turning at the ends
            r = rows - 1 - r
            return r * cols + (cols - 1 - c if r % 2 else c) + 1
        for r in range(rows):
            for c in range(cols):
                if c + 1 < cols:
                    joints += (f'<TileJointInfo FlagJoined="1" Confidence="{90 + c}" Direction="RIGHT" Tile1="{number(c, r)}" Tile2="{number(c + 1, r)}" '
                               'OverlapX="8" OverlapY="0"/>')
                if r:
                    joints += (f'<TileJointInfo FlagJoined="1" Confidence="{80 + c}" Direction="UP" Tile1="{number(c, r)}" Tile2="{number(c, r - 1)}" '
                               'OverlapX="0" OverlapY="4"/>')
        infos += (f'<ImageInfo AOIScanned="1" AOIIndex="{i}" NumRows="{rows}" NumCols="{cols}" Width="{tw}" Height="{tw}" Pos-X="{px}" Pos-Y="{py}">{joints}</ImageInfo>')
        origins += f'<AOI{i} OriginX="{col * tw}" OriginY="{row * tw}"/>'
    infos += f'<ImageInfo AOIScanned="0" AOIIndex="2" NumRows="1" NumCols="1" Width="{tw}" Height="{tw}" Pos-X="0" Pos-Y="0"/>'
    origins += '<AOI2 OriginX="0" OriginY="0"/>'
    info = f'<EncodeInfo Ver="2"><SlideStitchInfo>{infos}</SlideStitchInfo><AoiOrigin>{origins}</AoiOrigin></EncodeInfo>'
    iscan = '<?xml version="1.0"?><iScan Magnification="20" ScanRes="0.5" UnitNumber="1"/>'
    with tifffile.TiffWriter(path(name), bigtiff=True) as t:
        def page(p, desc, xmp=None, **kw):
            x = [(700, "B", len(xmp), xmp.encode(), True)] if xmp else []
            t.write(p, photometric="rgb", compression="jpeg", compressionargs={"level": 90}, metadata=None, description=desc, extratags=x, software=False, **kw)
        page(picture(40, 60, 6), "Label Image", iscan, rowsperstrip=60)
        page(picture(30, 20, 7), "Thumbnail", rowsperstrip=20)
        for i in range(3):
            p = canvas[::2 ** i, ::2 ** i]
            page(np.ascontiguousarray(p), f"level={i} mag={20 / 2 ** i:g} quality=90", info if i == 0 and encoded else None, tile=(tw, tw))


def main():
    out = {}
    bif("bif-areas.bif")
    bif("bif-plain.tif", encoded=False)
    for n in ("bif-areas.bif", "bif-plain.tif"):
        out[n] = read(n)
    a, b, macro = picture(192, 128), picture(128, 64, 3), picture(100, 75, 5)
    half = lambda p: np.ascontiguousarray(p[::2, ::2])
    main1 = scn_image("m1", "brightfield", 20, (750000, 450000, 96000, 64000), [(192, 128, 0, 1), (96, 64, 0, 2), (192, 128, 1, 3)])
    main2 = scn_image("m2", "brightfield", 20, (800000, 500000, 64000, 32000), [(128, 64, 0, 4), (64, 32, 0, 5)])
    mac = scn_image("macro", "brightfield", 0.6, (0, 0, 2000000, 1500000), [(100, 75, 0, 0)])
    fluo = scn_image("f", "fluorescence", 20, (750000, 450000, 96000, 64000), [(192, 128, 0, 1), (96, 64, 0, 2)])
    scn("scn-one.scn", [mac, main1], [(macro, 20000), (a, 500), (half(a), 1000), (255 - a, 500)])
    scn("scn-areas.scn", [mac, main1, main2], [(macro, 20000), (a, 500), (half(a), 1000), (255 - a, 500), (b, 500), (half(b), 1000)])
    scn("scn-fluorescence.scn", [mac, fluo], [(macro, 20000), (a, 500), (half(a), 1000)])
    for n in ("scn-one.scn", "scn-areas.scn"):
        out[n] = read(n)

    full = (a, "FullResolution", "<Objective>20x</Objective>", 0.5)
    qptiff("qptiff-brightfield.qptiff", [full, (picture(40, 30, 8), "Thumbnail", "", 2), (half(a), "ReducedResolution", "", 1), (macro, "Overview", "", 20), (picture(30, 40, 9), "Label", "", 20)])
    g = np.ascontiguousarray(a[:, :, 0])
    qptiff("qptiff-fluorescence.qptiff", [(g, "FullResolution", "<Name>DAPI</Name>", 0.5), (255 - g, "FullResolution", "<Name>CD8</Name>", 0.5)])
    t = tifffile.TiffFile(path("qptiff-brightfield.qptiff"))
    assert t.is_qpi
    pages = [p.asarray() for p in t.pages]
    out["qptiff-brightfield.qptiff"] = {"by": "tifffile " + tifffile.__version__, "mpp": [0.5, 0.5], "objective": 20,
                                        "levels": [[p.shape[1], p.shape[0], digest(p)] for p in (pages[0], pages[2])],
                                        "associated": {"thumbnail": digest(pages[1]), "macro": digest(pages[3]), "label": digest(pages[4])}}

    odd = picture(83, 61, 4)
    for name, comp, args in (("zstd", "zstd", {}), ("lzma", "lzma", {}), ("webp", "webp", {"level": 80, "lossless": False}), ("webp-lossless", "webp", {"lossless": True}),
                             ("zstd-predictor", "zstd", {}), ("lzma-predictor", "lzma", {})):
        f = f"tiff-{name}.tif"
        tifffile.imwrite(path(f), odd, photometric="rgb", compression=comp, compressionargs=args, tile=(32, 32), predictor="predictor" in name, metadata=None)
        out[f] = {"by": "tifffile " + tifffile.__version__, "levels": [[83, 61, digest(tifffile.imread(path(f)))]]}
    deep = odd.astype(np.uint16) * 257 + 60  # 60/257 of a level more
    for name, p in (("j2k", odd), ("j2k-16", deep)):
        f = f"tiff-{name}.tif"
        tifffile.imwrite(path(f), p, photometric="rgb", compression="jpeg2000", compressionargs={"level": 0}, tile=(32, 32), metadata=None)
        got = tifffile.imread(path(f))
        assert (got == p).all()
        if got.itemsize == 2:
            got = ((got.astype(int) + 128) // 257).astype(np.uint8)
        out[f] = {"by": "tifffile " + tifffile.__version__, "levels": [[83, 61, digest(got)]]}
    # libtiff's own form of LZMA: a delta filter before LZMA2. tifffile does
    # not write it, so the strips are put in by hand.
    strip = lzma.compress(odd.tobytes(), format=lzma.FORMAT_XZ, check=lzma.CHECK_NONE,
                          filters=[{"id": lzma.FILTER_DELTA, "dist": 3}, {"id": lzma.FILTER_LZMA2, "preset": 6}])
    tifffile.imwrite(path("tiff-lzma-delta.tif"), iter([strip]), shape=odd.shape, dtype="uint8", photometric="rgb", compression="lzma", rowsperstrip=61, metadata=None)
    out["tiff-lzma-delta.tif"] = {"by": "tifffile " + tifffile.__version__, "levels": [[83, 61, digest(tifffile.imread(path("tiff-lzma-delta.tif")))]]}
    json.dump(out, open(path("tiff.json"), "w"), indent=1)
    print(imagecodecs.webp_version())


if __name__ == "__main__":
    main()
