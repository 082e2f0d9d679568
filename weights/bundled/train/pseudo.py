"""Shards of a real slide with pseudo-labels: nuclei by stain deconvolution and watershed.

    python pseudo.py --slide cmu-1-small-region.svs --mpp 0.499 --out cmu

OpenSlide's CMU-1-Small-Region.svs is CC0. Only nuclei whose outline is plain
are labelled, so the labels say where some nuclei are and never where none is:
index.json says "partial", and training takes prompts from them but no dense
targets. Each picture comes at the slide's own scale and enlarged twice.

With --objects the labels are the masks that the bundled model makes of points by stain:

    slidesam slide -slide cmu-1-small-region.svs -out objects -iou 0.3 -stability -1 -min-area 5um2
    python pseudo.py --slide cmu-1-small-region.svs --mpp 0.499 --objects objects/objects.geojson --out cmu1024 --size 1024 --columns 0,0.75

Those it is sure of are nuclei, the others unknown (flags), all else is none: smears too, and
whatever is dark.
"""

import argparse
import json
import os

import cv2
import numpy as np
from PIL import Image
from scipy import ndimage as nd


UNKNOWN, COMPLETE = 4, 8  # of flags, with --objects: there may be a nucleus or not; all others are labelled
RUIFROK = np.array([[0.650, 0.704, 0.286], [0.072, 0.990, 0.105]])  # haematoxylin, eosin


def haematoxylin(img):
    """Amount of haematoxylin of a uint8 picture [H, W, 3]: [H, W]."""
    h, e = RUIFROK / np.linalg.norm(RUIFROK, axis=1, keepdims=True)
    third = np.cross(h, e)
    inv = np.linalg.inv(np.stack([h, e, third / np.linalg.norm(third)]))
    od = -np.log10((img.astype(np.float32) + 1) / 256)
    return np.maximum(od @ inv[:, 0].astype(np.float32), 0)


def outlines(img, mpp):
    """Labels [H, W] of the nuclei whose outline is plain: the contour half way between centre and surround."""
    stain = haematoxylin(img)
    fine, smooth = nd.gaussian_filter(stain, 0.3 / mpp), nd.gaussian_filter(stain, 1.2 / mpp)
    peak = (smooth == nd.maximum_filter(smooth, int(5 / mpp) | 1)) & (smooth > 0.25)
    marks, n = nd.label(peak, np.ones((3, 3)))
    basin = nd.watershed_ift(np.clip((1 - smooth / smooth.max()) * 65535, 0, 65535).astype(np.uint16), marks.astype(np.int32), np.ones((3, 3)))
    out, kept = np.zeros(stain.shape, np.uint16), 0
    far = int(11 / mpp)
    for y, x in zip(*np.nonzero(peak)):
        s = np.s_[max(0, y - far):y + far, max(0, x - far):x + far]
        mine = basin[s] == marks[y, x]
        v = fine[s]
        cy, cx = y - s[0].start, x - s[1].start
        top = np.median(v[max(0, cy - 2):cy + 3, max(0, cx - 2):cx + 3])
        low = np.percentile(v, 25)
        if top - low < 0.12:
            continue
        lab, _ = nd.label(mine & (v > (top + low) / 2))
        if lab[cy, cx] == 0:
            continue
        m = nd.binary_opening(nd.binary_fill_holes(lab == lab[cy, cx]), iterations=max(1, round(0.5 / mpp)))
        lab, k = nd.label(m)
        if k == 0:
            continue
        m = lab == 1 + np.argmax(nd.sum_labels(m, lab, range(1, k + 1)))
        area = m.sum() * mpp * mpp
        if not 12 < area < 160 or m[0].any() or m[-1].any() or m[:, 0].any() or m[:, -1].any():
            continue
        # The share of the ellipse of the same moments: 1 for an ellipse.
        ys, xs = np.nonzero(m)
        ellipse = 4 * np.pi * np.sqrt(max(np.linalg.det(np.cov(np.stack([ys, xs]).astype(np.float64))), 1e-9))
        if ellipse * 0.9 > m.sum() or m.sum() < 0.8 * nd.binary_fill_holes(nd.binary_closing(np.pad(m, 9), iterations=7)).sum():
            continue
        # Nothing else as dark may touch it: most of its border must be an edge.
        ring = nd.binary_dilation(m, iterations=2) & ~nd.binary_dilation(m)
        if (v[ring] > (top + low) / 2).mean() > 0.3:
            continue
        kept += 1
        out[s][m] = kept
    return out


def of_objects(path, shape, zoom, sure, unsure):
    """Labels [H, W] of a QuPath file's objects with a score of at least sure, and where there may be others.

    Between unsure and sure, and two pixels around them, an object is neither a nucleus nor none; below unsure it is
    none. Outlines are of level 0, the labels zoom times as large."""
    labels, maybe = np.zeros(shape, np.int32), np.zeros(shape, np.uint8)
    some = json.load(open(path))["features"]
    kept = 0
    for f in sorted(some, key=lambda f: f["properties"]["measurements"]["Predicted IoU"]):
        score = f["properties"]["measurements"]["Predicted IoU"]
        if score < unsure:
            continue
        g = f["geometry"]
        rings = [g["coordinates"]] if g["type"] == "Polygon" else g["coordinates"]
        rings = [np.rint(np.array(r) * zoom * 16 - 8).astype(np.int32) for part in rings for r in part]
        if score < sure:
            cv2.fillPoly(maybe, rings, 1, shift=4)
        else:
            kept += 1
            cv2.fillPoly(labels, rings, kept, shift=4)
    maybe = cv2.dilate(maybe, np.ones((5, 5), np.uint8))
    return labels.astype(np.uint16), (maybe > 0) & (labels == 0)


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--slide", required=True)
    a.add_argument("--mpp", type=float, required=True, help="micrometres per pixel of the file's first page")
    a.add_argument("--out", required=True)
    a.add_argument("--size", type=int, default=640)
    a.add_argument("--objects", help="the bundled model's objects of the slide, GeoJSON, instead of outlines by watershed")
    a.add_argument("--sure", type=float, default=0.58, help="predicted IoU from which an object of --objects is a nucleus")
    a.add_argument("--unsure", type=float, default=0.45, help="below it, it is none; between, unknown")
    a.add_argument("--columns", default="0,1", help="part of the slide's width")
    a.add_argument("--show", help="also write a picture of the outlines")
    o = a.parse_args()
    os.makedirs(o.out, exist_ok=True)
    img = np.asarray(Image.open(o.slide).convert("RGB"))
    left, right = (int(float(v) * img.shape[1]) for v in o.columns.split(","))
    lab = None if o.objects else outlines(img[:, left:right], o.mpp)
    n = 0
    for zoom in (1, 2):
        h, w = img.shape[0] * zoom, (right - left) * zoom
        big = np.asarray(Image.fromarray(img[:, left:right]).resize((w, h), Image.BICUBIC))
        if o.objects:
            whole = (img.shape[0] * zoom, img.shape[1] * zoom)
            labels, maybe = (m[:, left * zoom:right * zoom] for m in of_objects(o.objects, whole, zoom, o.sure, o.unsure))
            flags = np.where(maybe, 2 | COMPLETE | UNKNOWN, 2 | COMPLETE).astype(np.uint8)
        else:
            # Enlarged one by one would be smoother; labels touch nowhere, so a mode filter is not needed.
            labels = np.asarray(Image.fromarray(lab.astype(np.int32), "I").resize((w, h), Image.NEAREST)).astype(np.uint16)
            labels = np.where(nd.uniform_filter((labels > 0).astype(np.float32), 3) > 0.5, nd.maximum_filter(labels, 3), 0).astype(np.uint16) if zoom > 1 else labels
            flags = np.full(labels.shape, 2, np.uint8)
        cuts = [(y, x) for y in range(0, h - o.size + 1, o.size // 2) for x in range(0, w - o.size + 1, o.size // 2)]
        cuts = [(y, x) for y, x in cuts if len(np.unique(labels[y:y + o.size, x:x + o.size])) > 40]
        if not cuts:
            continue
        cut = lambda m: np.stack([m[y:y + o.size, x:x + o.size] for y, x in cuts])
        base = os.path.join(o.out, f"{n:04d}-")
        np.save(base + "image.npy", cut(big))
        np.save(base + "nuclei.npy", cut(labels))
        np.save(base + "gland.npy", np.zeros((len(cuts), o.size, o.size), np.uint8))
        np.save(base + "flags.npy", cut(flags))
        with open(base + "index.json", "w") as f:
            json.dump([dict(x=x, y=y, mpp=o.mpp / zoom, partial=True) for y, x in cuts], f)
        print(zoom, len(cuts), "pictures", len(np.unique(labels)) - 1, "nuclei")
        n += 1
    if o.show:
        show = big.copy()
        show[(flags & UNKNOWN) > 0] //= 2
        show[nd.maximum_filter(labels, 3) != labels] = (0, 255, 0)
        Image.fromarray(show).save(o.show)


if __name__ == "__main__":
    main()
