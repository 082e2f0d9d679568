#!/usr/bin/env python3
"""Writes the OME-Zarr slides of this folder with zarr-python, and zarr-list.json,
what zarr-python reads of them.

    pip install zarr==3.1.6 numcodecs==0.16.6 numpy==2.4.6
    (and make_dicom.py's, for its picture)
    ./make_zarr.py
"""
import json
import os
import shutil

import numcodecs
import numpy as np
import zarr
from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec, GzipCodec, ShardingCodec, TransposeCodec, ZstdCodec

from make_dicom import digest, picture

here = os.path.dirname(os.path.abspath(__file__))


def levels():
    a = picture(75, 50, 2)
    return [a, np.ascontiguousarray(a[::2, ::2])]


def multiscale(axes, n, unit="micrometer"):
    ax = [{"name": k, "type": {"c": "channel", "t": "time"}.get(k, "space"), **({"unit": unit} if k in "xyz" else {})} for k in axes]
    return [{"version": "0.4", "name": "slide", "axes": ax, "datasets": [
        {"path": str(i), "coordinateTransformations": [{"type": "scale", "scale": [{"x": 0.5, "y": 0.25}.get(k, 1) * (2 ** i if k in "xy" else 1) for k in axes]}]}
        for i in range(n)]}]


def arrange(p, axes):
    """[y, x, c] to the axes, with a second, inverted depth along z."""
    out = p.transpose(*["yxc".index(k) for k in axes if k in "yxc"])
    for i, k in enumerate(axes):
        if k not in "yxc":
            out = np.stack([out, 255 - out], i) if k == "z" else np.expand_dims(out, i)
    return np.ascontiguousarray(out)


def write(name, version, axes, chunk, inside="", attrs=None, ps=None, **kw):
    folder = os.path.join(here, name)
    shutil.rmtree(folder, ignore_errors=True)
    g = zarr.open_group(folder, mode="w", zarr_format=version)
    if inside:
        g.attrs["bioformats2raw.layout"] = 3
        g = g.create_group(inside)
    ps = ps or levels()
    ms = {"multiscales": multiscale(axes, len(ps)), **(attrs or {})}
    g.attrs.update(ms if version == 2 else {"ome": {**ms, "version": "0.5"}})
    want = []
    for i, p in enumerate(ps):
        data = arrange(p, axes)
        a = g.create_array(str(i), shape=data.shape, chunks=tuple(chunk[k] for k in axes), dtype="uint8", **kw)
        a[...] = data
        got = zarr.open_array(os.path.join(folder, inside, str(i)), mode="r")[...]
        plane = got[tuple(0 if k in "tz" else slice(None) for k in axes)]
        rest = [k for k in axes if k in "yxc"]
        plane = plane.transpose(*[rest.index(k) for k in "yxc" if k in rest]) if "c" in rest else np.repeat(plane[:, :, None], 3, 2)
        want.append([p.shape[1], p.shape[0], digest(plane)])
    return {"by": "zarr-python " + zarr.__version__, "levels": want, "mpp": [0.5, 0.25]}


def main():
    for f in os.listdir(here):
        if f.startswith("zarr-") and f != "zarr-list.json":
            shutil.rmtree(os.path.join(here, f))
    out, c1, c3 = {}, dict(t=1, c=1, z=1, y=32, x=40), dict(t=1, c=3, z=2, y=30, x=40)
    v2 = dict(chunk_key_encoding={"name": "v2", "separator": "/"})
    for cname in ("blosclz", "lz4", "zlib", "zstd"):
        for shuffle in ((0, 1, 2) if cname == "lz4" else (2,)):
            codec = numcodecs.Blosc(cname=cname, clevel=5, shuffle=shuffle, blocksize=512)
            n = f"zarr-blosc-{cname}-{shuffle}"
            out[n] = write(n, 2, "tczyx", dict(t=1, c=3, z=1, y=50, x=40), ps=levels()[:1], compressors=codec, **v2)
    out["zarr-v2-raw"] = write("zarr-v2-raw", 2, "cyx", c3, compressors=None)
    out["zarr-v2-zlib"] = write("zarr-v2-zlib", 2, "yxc", c3, compressors=numcodecs.Zlib(), order="F")
    out["zarr-v2-bz2"] = write("zarr-v2-bz2", 2, "czyx", c3, compressors=numcodecs.BZ2(), inside="0", **v2)
    # As bioformats2raw writes a slide with a label and a macro picture.
    for i, (p, kw) in enumerate([(None, dict(inside="0")), (picture(30, 20, 5), {}), (picture(40, 12, 6), {})]):
        if i:
            tmp = write("zarr-tmp", 2, "czyx", dict(c=1, z=1, y=20, x=40), ps=[p], compressors=numcodecs.Zlib(), **v2)
            shutil.move(os.path.join(here, "zarr-tmp"), os.path.join(here, "zarr-v2-series", str(i)))
            out["zarr-v2-series"].setdefault("associated", {})[("", "label", "macro")[i]] = tmp["levels"][0][2]
        else:
            out["zarr-v2-series"] = write("zarr-v2-series", 2, "czyx", dict(c=1, z=1, y=50, x=75), ps=levels()[:1], compressors=numcodecs.Zlib(), **v2, **kw)
    os.makedirs(os.path.join(here, "zarr-v2-series", "OME"))
    names = "".join(f'<Image ID="Image:{i}" Name="{n}"/>' for i, n in enumerate(["a.svs", "label image", "macro image"]))
    open(os.path.join(here, "zarr-v2-series", "OME", "METADATA.ome.xml"), "w").write(f'<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">{names}</OME>')
    out["zarr-v2-lz4"] = write("zarr-v2-lz4", 2, "cyx", c1, compressors=numcodecs.LZ4())
    out["zarr-v3-zstd"] = write("zarr-v3-zstd", 3, "tczyx", c1, compressors=ZstdCodec())
    out["zarr-v3-gzip"] = write("zarr-v3-gzip", 3, "cyx", c3, compressors=GzipCodec(), filters=[TransposeCodec(order=(2, 0, 1))])
    out["zarr-v3-blosc"] = write("zarr-v3-blosc", 3, "yxc", dict(y=16, x=16, c=3), compressors=BloscCodec(cname="zstd"))
    out["zarr-v3-sharded"] = write("zarr-v3-sharded", 3, "cyx", dict(c=1, y=8, x=10), compressors=[BloscCodec(cname="lz4"), Crc32cCodec()], shards=(3, 32, 40))
    holed = levels()
    holed[0][:32, :40] = 9  # the fill value: chunks of it are left out
    out["zarr-v3-holes"] = write("zarr-v3-holes", 3, "cyx", c1, ps=holed, compressors=ZstdCodec(), fill_value=9)
    json.dump(out, open(os.path.join(here, "zarr-list.json"), "w"), indent=1)
    # Refused: four channels, colours of fluorescence, 16 bits.
    four = [np.concatenate([p, p[:, :, :1]], 2) for p in levels()]
    write("zarr-bad-four", 3, "cyx", dict(c=4, y=64, x=80), ps=four[:1])
    colors = {"omero": {"channels": [{"color": "0000FF", "label": "DAPI"}, {"color": "00FF00"}, {"color": "FF0000"}]}}
    write("zarr-bad-colors", 3, "cyx", dict(c=3, y=64, x=80), ps=levels()[:1], attrs=colors)


if __name__ == "__main__":
    main()
