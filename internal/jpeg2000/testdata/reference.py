#!/usr/bin/env python3
"""Codestreams of random parameters and what OpenJPEG decodes of them.

    pip install glymur==0.14.8 pillow==13.0.0 numpy==2.4.6
    ./reference.py OUT [COUNT [SEED]]     COUNT codestreams (300), for TestParity
    ./reference.py -small small           those of this folder

OpenJPEG is the library 2.5.4 in pillow's wheel, used through glymur's
declarations. OUT gets cases.json, one .j2k a case and, without -small, one
.raw of int32 samples for each plane of each reduction. With -small cases.json has
instead their SHA-256, or every seventh sample of the irreversible wavelet. All pictures are closed-form or numpy's default_rng.
"""
import ctypes, glob, hashlib, json, os, sys
import numpy as np
import PIL
import glymur.config

LIB = glob.glob(os.path.join(os.path.dirname(PIL.__file__), "..", "pillow.libs", "libopenjp2-*"))[0]
glymur.config.glymur_config = lambda name: ctypes.CDLL(LIB) if name == "openjp2" else None
from glymur.lib import openjp2 as o  # noqa: E402

STYLES = dict(bypass=1, reset=2, end=4, causal=8, predict=16, marks=32)


def picture(rng, w, h, bits, signed, kind):
    y, x = np.mgrid[0:h, 0:w].astype(float)
    p = 0.5 + 0.3 * np.sin(x / rng.uniform(2, 30) + rng.uniform(0, 6)) * np.cos(y / rng.uniform(2, 30)) + 0.2 * ((x // 7 + y // 9) % 2) - 0.1
    if kind == "noise":
        p = p + rng.normal(0, 0.15, (h, w))
    elif kind == "sparse":
        p = np.where((x % 37 == 5) & (y % 23 == 3), 1.0, 0.5)
    top = 2**bits - 1
    return np.clip(np.round(p * top), 0, top).astype(np.int32) - (2 ** (bits - 1) if signed else 0)


def ceil(a, b):
    return -(-a // b)


def encode(path, planes, bits, signed, sub, origin, size, c):
    """planes are [h, w] int32; sub their (dx, dy); c the parameters."""
    params = o.set_default_encoder_parameters()
    for k, v in c.items():
        if k == "tile":
            params.tile_size_on, params.cp_tdx, params.cp_tdy = 1, v[0], v[1]
            params.cp_tx0, params.cp_ty0 = v[2], v[3]
        elif k == "rates":
            params.tcp_numlayers, params.cp_disto_alloc = len(v), 1
            for i, r in enumerate(v):
                params.tcp_rates[i] = r
        elif k == "precincts":
            params.res_spec, params.csty = len(v), params.csty | 1
            for i, (w, h) in enumerate(v):
                params.prcw_init[i], params.prch_init[i] = w, h
        elif k == "poc":
            for i, q in enumerate(v):
                p = params.poc[i]
                p.tile, p.resno0, p.compno0, p.layno1, p.resno1, p.compno1, p.prg1 = q
            params.numpocs = len(v)
        elif k == "marks":
            params.csty |= v
        else:
            setattr(params, k, v)
    params.image_offset_x0, params.image_offset_y0 = origin
    parts = (o.ImageComptParmType * len(planes))()
    for p, a, (dx, dy) in zip(parts, planes, sub):
        p.dx, p.dy, p.h, p.w, p.prec, p.bpp, p.sgnd = dx, dy, a.shape[0], a.shape[1], bits, bits, signed
        p.x0, p.y0 = origin
    image = o.image_create(parts, o.CLRSPC_SRGB if len(planes) >= 3 else 2)
    image.contents.x0, image.contents.y0 = origin
    image.contents.x1, image.contents.y1 = origin[0] + size[0], origin[1] + size[1]
    for i, a in enumerate(planes):
        a = np.ascontiguousarray(a)
        ctypes.memmove(image.contents.comps[i].data, a.ctypes.data, a.nbytes)
    codec = o.create_compress(0)
    o.setup_encoder(codec, params, image)
    stream = o.stream_create_default_file_stream(path, False)
    o.start_compress(codec, image, stream)
    o.encode(codec, stream)
    o.end_compress(codec, stream)
    o.stream_destroy(stream)
    o.destroy_codec(codec)
    o.image_destroy(image)


def decode(path, reduce):
    codec = o.create_decompress(0)
    params = o.set_default_decoder_parameters()
    params.cp_reduce = reduce
    o.setup_decoder(codec, params)
    stream = o.stream_create_default_file_stream(path, True)
    image = o.read_header(stream, codec)
    o.set_decode_area(codec, image)
    o.decode(codec, stream, image)
    out = []
    for i in range(image.contents.numcomps):
        c = image.contents.comps[i]
        out.append(np.ctypeslib.as_array(c.data, (c.h, c.w)).copy())
    o.stream_destroy(stream)
    o.destroy_codec(codec)
    o.image_destroy(image)
    return out


def case(rng, out, name, small, fixed=None):
    pick = lambda *a: a[int(rng.integers(len(a)))]
    w, h = [int(v) for v in (rng.integers(1, 50, 2) if small or rng.random() < 0.3 else rng.integers(1, 420, 2))]
    n = pick(1, 1, 3, 3, 3, 4)
    bits, signed = pick(8, 8, 8, 12, 16), pick(0, 0, 1)
    origin = [0, 0] if rng.random() < 0.6 else [int(v) for v in rng.integers(0, 40, 2)]
    sub = [(1, 1)] * n
    if n >= 3 and rng.random() < 0.2:
        d = (pick(1, 2, 2, 3), pick(1, 2))
        sub = [(1, 1), d, d] + [(1, 1)] * (n - 3)
    kind = pick("smooth", "noise", "noise", "sparse")
    planes = []
    for dx, dy in sub:
        pw, ph = ceil(origin[0] + w, dx) - ceil(origin[0], dx), ceil(origin[1] + h, dy) - ceil(origin[1], dy)
        if pw < 1 or ph < 1:
            return case(rng, out, name, small, fixed)
        planes.append(picture(rng, pw, ph, bits, signed, kind))
    lossless = rng.random() < 0.5
    c = dict(irreversible=int(not lossless), tcp_mct=int(n >= 3 and sub == [(1, 1)] * n and rng.random() < 0.7),
             numresolution=int(rng.integers(1, 8)), prog_order=int(rng.integers(0, 5)), mode=0)
    if rng.random() < 0.5:
        c["mode"] = int(sum(v for v in STYLES.values() if rng.random() < 0.4))
    # OpenJPEG's own decoder needs what it was told of: no more than 4096.
    bw, bh = int(rng.integers(2, 11)), int(rng.integers(2, 11))
    if rng.random() < 0.7 and bw + bh <= 12:
        c["cblockw_init"], c["cblockh_init"] = 1 << bw, 1 << bh
    if rng.random() < 0.4:
        c["tile"] = [int(rng.integers(20, 200)), int(rng.integers(20, 200)), int(rng.integers(0, origin[0] + 1)), int(rng.integers(0, origin[1] + 1))]
    if rng.random() < 0.5:
        k = int(rng.integers(1, 6))
        c["rates"] = sorted([float(rng.uniform(2, 60)) for _ in range(k - 1)], reverse=True) + [0.0 if rng.random() < 0.5 else float(rng.uniform(1.2, 2))]
    else:
        c["rates"] = [0.0]
    if rng.random() < 0.4:
        c["precincts"] = [(1 << int(rng.integers(3, 9)), 1 << int(rng.integers(3, 9))) for _ in range(int(rng.integers(1, 5)))]
    c["marks"] = pick(0, 0, 2, 4, 6)
    if rng.random() < 0.2:
        # With tile-parts by layer OpenJPEG gives tiles at the edge packets of others.
        c["tp_on"], c["tp_flag"] = 1, ord(pick("R", "C") if "tile" in c else pick("R", "L", "C"))
    elif rng.random() < 0.25 and "tile" not in c and c["numresolution"] > 1:
        # OpenJPEG's encoder writes packets of overlapping progressions twice.
        half = max(1, c["numresolution"] // 2)
        c["poc"] = [(1, 0, 0, len(c["rates"]), half, n, pick(0, 1, 2, 3, 4)), (1, half, 0, len(c["rates"]), c["numresolution"], n, pick(0, 1, 2, 3, 4))]
    if rng.random() < 0.1 and bits == 8:
        c["roi_compno"], c["roi_shift"] = 0, int(rng.integers(1, 8))
    path = os.path.join(out, name + ".j2k")
    try:
        encode(path, planes, bits, signed, sub, origin, (w, h), c)
    except Exception as e:
        return dict(skip="encoder: %s" % e, params=c)
    if open(path, "rb").read().count(b"\xff\x90\x00\x0a") > 255:
        return dict(skip="more tile-parts than one byte counts")
    entry = dict(name=name, params=c, w=w, h=h, bits=bits, signed=bool(signed), sub=sub, planes=[])
    for r in sorted({0, int(rng.integers(0, c["numresolution"]))}):
        try:
            got = decode(path, r)
        except Exception as e:
            entry.setdefault("refused", []).append("%d: %s" % (r, e))
            continue
        if r == 0 and c["rates"][-1] == 0:
            tol = 0 if lossless else 2 ** bits / 100
            if any(np.abs(a - b).mean() > tol for a, b in zip(got, planes)):
                entry["lossy"] = True  # OpenJPEG's encoder failed
        for i, a in enumerate(got):
            a = np.ascontiguousarray(a.astype("<i4"))
            q = dict(reduce=r, comp=i, w=a.shape[1], h=a.shape[0], exact=bool(lossless))
            if small and lossless:
                q["sha256"] = hashlib.sha256(a.tobytes()).hexdigest()
            elif small:
                q["every7"] = a.ravel()[::7].tolist()
            else:
                q["raw"] = "%s-%d-%d.raw" % (name, r, i)
                a.tofile(os.path.join(out, q["raw"]))
            entry["planes"].append(q)
    return entry


def apart(f, *args):
    """f in a process of its own: the library ends it where it asserts."""
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(r)
        with os.fdopen(w, "w") as p:
            json.dump(f(*args), p)
        os._exit(0)
    os.close(w)
    with os.fdopen(r) as p:
        text = p.read()
    os.waitpid(pid, 0)
    return json.loads(text) if text else dict(skip="ended by an assertion")


def main():
    small = sys.argv[1] == "-small"
    out = sys.argv[2] if small else sys.argv[1]
    os.makedirs(out, exist_ok=True)
    count = 40 if small else int(sys.argv[2]) if len(sys.argv) > 2 else 300
    seed = int(sys.argv[3]) if len(sys.argv) > 3 and not small else 1
    cases = []
    for i in range(count):
        e = apart(case, np.random.default_rng([seed, i]), out, "c%04d" % i, small)
        if "skip" in e or not e["planes"] or small and ("lossy" in e or "refused" in e):
            print(i, e.get("skip") or e.get("refused") or "not lossless")
            if os.path.exists(os.path.join(out, "c%04d.j2k" % i)):
                os.remove(os.path.join(out, "c%04d.j2k" % i))
            continue
        cases.append(e)
    if small:
        for i, origin in enumerate([(1, 3), (3, 1), (5, 0)]):  # a single column, a single row, both of high frequency
            w, h = [(1, 17), (17, 1), (1, 1)][i]
            a, name = picture(np.random.default_rng(i), w, h, 8, 0, "noise"), "thin%d" % i
            path = os.path.join(out, name + ".j2k")
            encode(path, [a], 8, 0, [(1, 1)], origin, (w, h), dict(irreversible=0, numresolution=2, rates=[0.0], tile=[64, 64, 0, 0]))
            assert (decode(path, 0)[0] == a).all()
            cases.append(dict(name=name, params={}, w=w, h=h, bits=8, signed=False, sub=[(1, 1)], planes=[
                dict(reduce=0, comp=0, w=w, h=h, exact=True, sha256=hashlib.sha256(a.astype("<i4").tobytes()).hexdigest())]))
    with open(os.path.join(out, "cases.json"), "w") as f:
        f.write("[\n" + ",\n".join(json.dumps(c, separators=(",", ":")) for c in cases) + "\n]\n")
    print(len(cases), "cases,", sum("lossy" in e for e in cases), "where OpenJPEG is not lossless,", sum("refused" in e for e in cases), "refused in part")


if __name__ == "__main__":
    main()
