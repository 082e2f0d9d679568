#!/usr/bin/python3
"""Reference pixels for package wsi from OpenSlide and libvips.

    reference.py SLIDES OUT

reads the slides in SLIDES (SAM_TESTDATA/slides), writes variants of one of
them with vips tiffsave, and dumps regions of every level of every file as
OpenSlide reads them (as libvips reads them where OpenSlide does not) to OUT:
regions.json and one raw RGBA file per region. The test TestParity of package
wsi compares them when SAM_SLIDEREF names OUT.

Versions used: Debian 12, OpenSlide 3.4.1 (python3-openslide 1.1.2), libvips
8.14.1, libtiff 4.5.0, libjpeg-turbo 2.1.5, OpenJPEG 2.5.0, Pillow 9.4.0,
numpy 1.24.2. Regions are chosen by numpy's default_rng(5).
"""
import base64, ctypes, io, json, os, struct, subprocess, sys
import numpy as np
import openslide
from openslide import lowlevel
from PIL import Image

slides, out = sys.argv[1], sys.argv[2]
os.makedirs(out, exist_ok=True)
rng = np.random.default_rng(5)
regions, files = [], []


def vips(*a):
    subprocess.run(["vips", *a], check=True)


def dump(path, level, x, y, pix, tol, how):
    name = "r%05d.raw" % len(regions)
    pix = np.ascontiguousarray(pix)
    assert pix.dtype == np.uint8 and pix.shape[2] == 4
    pix.tofile(os.path.join(out, name))
    regions.append(dict(file=path, level=level, x=int(x), y=int(y), w=pix.shape[1], h=pix.shape[0], tol=tol, how=how, raw=name))


def boxes(w, h):
    """Regions of a level: corners, across the border, random ones."""
    yield 0, 0, min(w, 300), min(h, 300)
    yield max(0, w - 200), max(0, h - 170), min(w, 200), min(h, 170)
    for _ in range(6):
        bw, bh = int(rng.integers(1, min(w, 517) + 1)), int(rng.integers(1, min(h, 413) + 1))
        yield int(rng.integers(0, w - bw + 1)), int(rng.integers(0, h - bh + 1)), bw, bh


def bgra(buf, w, h):
    """OpenSlide's premultiplied native ARGB as RGBA."""
    a = np.frombuffer(buf, np.uint8).reshape(h, w, 4)
    return np.ascontiguousarray(a[..., [2, 1, 0, 3]])


def read(s, level, x, y, w, h):
    """A region below the binding, which would undo the premultiplication."""
    buf = (ctypes.c_uint32 * (w * h))()
    lowlevel._read_region(s._osr, buf, x, y, level, w, h)
    return bgra(buf, w, h)


def associated(s, name):
    a = np.array(s.associated_images[name])
    assert (a[..., 3] == 255).all()
    return a


def straight(a):
    """Premultiplies as libtiff does."""
    a = a.astype(int)
    rgb = (a[..., :3] * a[..., 3:] + 127) // 255
    return np.concatenate([rgb, a[..., 3:]], 2).astype(np.uint8)


def whole_level(s, level):
    """A level read whole from (0, 0): region reads of OpenSlide 3.4 at a level
    whose downsample is no integer interpolate between pixels."""
    return read(s, level, 0, 0, *s.level_dimensions[level])


def from_openslide(path, tol, what=""):
    s = openslide.OpenSlide(path)
    p = s.properties
    files.append(dict(file=path, levels=[list(d) for d in s.level_dimensions], vendor=p["openslide.vendor"],
                      mpp=float(p.get("openslide.mpp-x", 0)), objective=float(p.get("openslide.objective-power", 0)),
                      associated=sorted(s.associated_images)))
    for level in range(s.level_count):
        w, h = s.level_dimensions[level]
        a = whole_level(s, level)
        for x, y, bw, bh in boxes(w, h):
            dump(path, level, x, y, a[y:y + bh, x:x + bw], tol, "openslide" + what)
            if level == 0:  # the same through a read of its own
                b = read(s, 0, x, y, bw, bh)
                assert (a[y:y + bh, x:x + bw] == b).all(), (path, x, y)
    for name in sorted(s.associated_images):
        dump(path, -1, 0, 0, associated(s, name), tol, name)


def pixels(path):
    """An uncompressed TIFF of libvips as RGBA: 16 bits scaled to 8, alpha
    multiplied in, both with libtiff's rounding."""
    raw = os.path.join(out, "tmp.raw")
    hdr = lambda f: int(subprocess.check_output(["vipsheader", "-f", f, path]))
    w, h, n = hdr("width"), hdr("height"), hdr("bands")
    vips("rawsave", path, raw)
    size = os.path.getsize(raw) // (w * h * n)
    a = np.fromfile(raw, np.uint8 if size == 1 else np.uint16).reshape(h, w, n)
    os.remove(raw)
    if size == 2:
        a = ((a.astype(int) + 128) // 257).astype(np.uint8)
    if n == 1:
        a = np.repeat(a, 3, 2)
    if a.shape[2] == 3:
        a = np.concatenate([a, np.full((h, w, 1), 255, np.uint8)], 2)
    return straight(a)


def from_vips(path, tol, pages=None):
    """libvips through an uncompressed copy that Pillow reads."""
    n = 0
    while True:
        tmp = os.path.join(out, "tmp.tif")
        opt = "[page=%d]" % n if pages != "sub" else ("" if n == 0 else "[subifd=%d]" % (n - 1))
        r = subprocess.run(["vips", "tiffsave", path + opt, tmp, "--compression", "none"], stderr=subprocess.DEVNULL)
        if r.returncode:
            break
        a = pixels(tmp)
        h, w = a.shape[:2]
        for x, y, bw, bh in boxes(w, h):
            dump(path, n, x, y, a[y:y + bh, x:x + bw], tol, "vips")
        n += 1
    os.remove(tmp)
    assert n > 0, path


def variants():
    src = os.path.join(slides, "cmu-1-small-region.svs")
    base = os.path.join(out, "base.v")
    vips("extract_area", src, base, "301", "507", "1111", "903")
    subprocess.run(["vips", "flatten", base, os.path.join(out, "flat.v")], check=True)
    base = os.path.join(out, "flat.v")
    gray = os.path.join(out, "gray.v")
    vips("colourspace", base, gray, "b-w")
    rgb16 = os.path.join(out, "rgb16.v")
    vips("linear", base, os.path.join(out, "f.v"), "257", "0")
    vips("cast", os.path.join(out, "f.v"), os.path.join(out, "u16.v"), "ushort")
    vips("copy", os.path.join(out, "u16.v"), rgb16, "--interpretation", "rgb16")
    alpha = os.path.join(out, "alpha.v")
    vips("extract_band", base, os.path.join(out, "band.v"), "1")
    vips("bandjoin", "%s %s" % (base, os.path.join(out, "band.v")), alpha)
    n = 0
    for comp in ["none", "jpeg", "deflate", "packbits", "lzw", "jp2k"]:
        for layout in [["--tile", "--tile-width", "256", "--tile-height", "256"], ["--tile", "--tile-width", "128", "--tile-height", "240"],
                       ["--tile", "--pyramid", "--tile-width", "240", "--tile-height", "240"],
                       ["--tile", "--pyramid", "--subifd", "--tile-width", "256", "--tile-height", "256"], []]:
            for big in [[], ["--bigtiff"]]:
                for source, extra in [(base, []), (gray, []), (base, ["--predictor", "none"]), (base, ["--Q", "95"]), (rgb16, []), (alpha, [])]:
                    if extra[:1] == ["--predictor"] and comp not in ("deflate", "lzw"):
                        continue
                    if extra[:1] == ["--Q"] and comp not in ("jpeg", "jp2k"):
                        continue
                    if comp in ("jpeg", "jp2k") and source in (rgb16, alpha):
                        continue
                    if comp == "jp2k" and source == base:  # libvips says RGB and writes YCbCr
                        continue
                    if comp == "jp2k" and (not layout or "--pyramid" not in layout or big):
                        continue
                    if layout and layout[-1] == "256" and big and source != base:
                        continue
                    path = os.path.join(out, "v%03d-%s.tif" % (n, comp))
                    vips("tiffsave", source, path, "--compression", comp, *layout, *big, *extra, "--xres", "2000", "--yres", "2000")
                    n += 1
                    yield path, comp, layout


def tiff(path, dirs):
    """Writes a little-endian TIFF: dirs are (tags, segments, tiled) with tags
    {tag: (type, values or bytes)}."""
    out, at, prev = bytearray(b"II*\0\0\0\0\0"), 4, 4
    fmt = {2: "s", 3: "H", 4: "I", 7: "s"}
    for tags, segs, tiled in dirs:
        offs = []
        for s in segs:
            offs.append(len(out) if s else 0)
            out += s
        t = dict(tags)
        t[324 if tiled else 273] = (4, offs)
        t[325 if tiled else 279] = (4, [len(s) for s in segs])
        rows = b""
        for tag in sorted(t):
            typ, v = t[tag]
            b = bytes(v) if typ in (2, 7) else struct.pack("<%d%s" % (len(v), fmt[typ]), *v)
            n = len(v)
            if len(b) > 4:
                out += b"\0" * (len(out) % 2)
                place = struct.pack("<I", len(out))
                out += b
            else:
                place = b.ljust(4, b"\0")
            rows += struct.pack("<HHI", tag, typ, n) + place
        out += b"\0" * (len(out) % 2)
        struct.pack_into("<I", out, prev, len(out))
        out += struct.pack("<H", len(t)) + rows
        prev = len(out)
        out += b"\0\0\0\0"
    open(path, "wb").write(out)


def tiles(a, size):
    h, w = a.shape[:2]
    for y in range(0, h, size):
        for x in range(0, w, size):
            yield np.pad(a[y:y + size, x:x + size], ((0, size - min(size, h - y)), (0, size - min(size, w - x)), (0, 0)), mode="edge")


def j2k(a, **kw):
    f = io.BytesIO()
    Image.fromarray(a).save(f, "JPEG2000", no_jp2=True, **kw)
    return f.getvalue()


def jpeg(a, **kw):
    f = io.BytesIO()
    Image.fromarray(a).save(f, "JPEG", **kw)
    return f.getvalue()


def handmade(picture):
    """Files no tool at hand writes: Aperio JPEG 2000 in YCbCr (33003), and a
    Philips-style pyramid with padded levels and left-out tiles."""
    rgb = picture[:700, :900]
    base = {256: (3, [900]), 257: (3, [700]), 258: (3, [8, 8, 8]), 262: (3, [2]), 277: (3, [3]), 322: (3, [256]), 323: (3, [256])}
    desc = b"Aperio Image Library v11.0.37\r\n900x700 (256x256) J2K|AppMag = 40|MPP = 0.2525\0"
    for name, comp, kw in [("ycc", 33003, dict(mct=0, irreversible=True, quality_mode="rates", quality_layers=[8])), ("ycc-lossless", 33003, dict(mct=0)),
                           ("rgb", 33005, dict(mct=1, irreversible=True, quality_mode="rates", quality_layers=[10, 4])), ("rgb-lossless", 33005, dict(mct=1))]:
        src = np.asarray(Image.fromarray(rgb).convert("YCbCr")) if comp == 33003 else rgb
        path = os.path.join(out, "aperio-%s.svs" % name)
        tiff(path, [({**base, 259: (3, [comp]), 270: (2, desc)}, [j2k(t, **kw) for t in tiles(src, 256)], True)])
        from_openslide(path, 2)
    xml = ['<?xml version="1.0" encoding="UTF-8" ?><DataObject ObjectType="DPUfsImport"><Attribute Name="PIM_DP_SCANNED_IMAGES"><Array>'
           '<DataObject ObjectType="DPScannedImage"><Attribute Name="PIM_DP_IMAGE_TYPE">WSI</Attribute>'
           '<Attribute Name="DICOM_PIXEL_SPACING">"0.000226" "0.000227"</Attribute><Attribute Name="PIIM_PIXEL_DATA_REPRESENTATION_SEQUENCE"><Array>']
    dirs, a = [], picture[:768, :1024]
    for i in range(3):
        xml.append('<DataObject ObjectType="PixelDataRepresentation"><Attribute Name="DICOM_PIXEL_SPACING">"%g" "%g"</Attribute></DataObject>' % (0.000226 * 2**i, 0.000227 * 2**i))
        n = 256 * np.array([-(-a.shape[0] // 256), -(-a.shape[1] // 256)])
        segs = [jpeg(t, quality=80) for t in tiles(a, 256)]
        if i < 2:
            segs[1] = b""  # blank, left out
        dirs.append(({254: (4, [min(i, 1)]), 256: (4, [n[1]]), 257: (4, [n[0]]), 258: (3, [8, 8, 8]), 259: (3, [7]), 262: (3, [6]), 277: (3, [3]), 322: (3, [256]), 323: (3, [256]),
                      530: (3, [2, 2]), 305: (2, b"Philips DP v1.0\0")}, segs, True))
        a = a[::2, ::2]
    xml.append("</Array></Attribute></DataObject>")
    for kind, part in [("MACROIMAGE", picture[:90, :200]), ("LABELIMAGE", picture[100:200, :80])]:
        xml.append('<DataObject ObjectType="DPScannedImage"><Attribute Name="PIM_DP_IMAGE_TYPE">%s</Attribute><Attribute Name="PIM_DP_IMAGE_DATA">%s</Attribute></DataObject>'
                   % (kind, base64.b64encode(jpeg(part)).decode()))
    xml.append("</Array></Attribute></DataObject>")
    dirs[0][0][270] = (2, "".join(xml).encode() + b"\0")
    path = os.path.join(out, "philips.tiff")
    tiff(path, dirs)
    from_openslide(path, 2)


def main():
    images = os.path.join(slides, "..", "nuclei", "images")
    picture = Image.open(os.path.join(images, sorted(os.listdir(images))[0]))
    handmade(np.asarray(picture.convert("RGB").resize((1100, 1000))))
    for f, tol in [("cmu-1-small-region.svs", 2), ("small.svs", 2), ("boxes.tiff", 0), ("tcga-cr-7395-jp2k.svs", 2)]:
        from_openslide(os.path.join(slides, f), tol)
    from_vips(os.path.join(slides, "kidney-ihc.tif"), 0)
    from_vips(os.path.join(slides, "he-example-ome-bigtiff.tif"), 2)
    seen = 0
    for path, comp, layout in variants():
        tol = 2 if comp in ("jpeg", "jp2k") else 0
        refused = False
        if layout and "--subifd" not in layout and comp != "jp2k":
            try:
                from_openslide(path, tol)
                seen += 1
            except openslide.OpenSlideError as e:  # 240 x 240 pyramids of libvips have odd byte counts
                print(os.path.basename(path), "OpenSlide:", e)
                refused = True
        if refused or not layout or "--subifd" in layout or comp == "jp2k":
            from_vips(path, tol, "sub" if "--subifd" in layout else None)
    print(seen, "variants through OpenSlide,", len(regions), "regions")
    json.dump(dict(files=files, regions=regions), open(os.path.join(out, "regions.json"), "w"), indent=0)


main()
