"""Makes ../testdata/*.npz: distance maps and the label pictures that
micro-sam's untiled instance segmentation makes of them.

    python -m venv venv && venv/bin/pip install -r requirements.txt
    venv/bin/python reference.py

The functions below are calls of bioimage-cpp in the order of torch-em 6f71247c,
torch_em/util/segmentation.py, watershed_from_center_and_boundary_distances, and of
micro-sam 3acdcd72, instance_segmentation.py, InstanceSegmentationWithDecoder.generate
without tile_shape.
"""

import pathlib

import bioimage_cpp as bic
import numpy as np


def maps(h, w, n, seed):
    """Noisy maps of n discs that touch, as a decoder gives them."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:h, :w]
    fg = np.zeros((h, w), np.float64)
    centre = np.ones((h, w), np.float64)
    boundary = np.ones((h, w), np.float64)
    for _ in range(n):
        cy, cx, r = rng.uniform(0, h), rng.uniform(0, w), rng.uniform(3, 9)
        d = np.hypot((y - cy) * rng.uniform(0.6, 1), x - cx) / r
        inside = d < 1
        fg[inside] = 1
        centre[inside] = np.minimum(centre, d)[inside]
        boundary[inside] = np.minimum(boundary, d ** 2)[inside]
    out = []
    for m in (0.1 + 0.8 * fg, centre, boundary):
        out.append(np.clip(m + rng.normal(0, 0.12, m.shape), 0, 1).astype(np.float32))
    return out


def segment(fg, centre, boundary, o):
    if o["foreground_smoothing"] > 0:
        fg = bic.filters.gaussian_smoothing(fg, o["foreground_smoothing"])
    if o["distance_smoothing"] > 0:
        centre = bic.filters.gaussian_smoothing(centre, o["distance_smoothing"])
        boundary = bic.filters.gaussian_smoothing(boundary, o["distance_smoothing"])
    mask = fg > o["foreground_threshold"]
    seeds = np.logical_and(centre < o["center_threshold"], boundary < o["boundary_threshold"])
    seeds[~mask] = 0
    seg = bic.segmentation.watershed(boundary, markers=bic.segmentation.label(seeds), mask=mask)
    if o["min_size"]:
        ids, sizes = np.unique(seg, return_counts=True)
        seg[np.isin(seg, ids[sizes < o["min_size"]])] = 0
        seg, _, _ = bic.segmentation.relabel_sequential(seg.astype(np.uint64), offset=1)
    return boundary, seg.astype(np.uint32)


DEFAULTS = dict(center_threshold=0.5, boundary_threshold=0.5, foreground_threshold=0.5,
                foreground_smoothing=1.0, distance_smoothing=1.6, min_size=0)
CASES = {
    "defaults": (96, 120, 60, 1, {}),
    "vit_b_lm": (80, 70, 30, 2, dict(center_threshold=0.4, foreground_smoothing=2.0, min_size=40)),
    "raw": (40, 60, 15, 3, dict(foreground_smoothing=0, distance_smoothing=0)),
    "narrow": (3, 90, 8, 4, {}),  # smaller than the filter's radius: mirrored more than once
    "empty": (12, 12, 0, 5, {}),
}

if __name__ == "__main__":
    folder = pathlib.Path(__file__).resolve().parent.parent / "testdata"
    for name, (h, w, n, seed, options) in CASES.items():
        fg, centre, boundary = maps(h, w, n, seed)
        smooth, seg = segment(fg, centre, boundary, DEFAULTS | options)
        np.savez_compressed(folder / f"{name}.npz", foreground=fg, center=centre, boundary=boundary,
                            smoothed=smooth, labels=seg)
        print(name, seg.max(), "objects")
