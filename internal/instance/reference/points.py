"""Makes ../testdata/points.npz: the prompts that micro-sam's automatic prompt
generation derives of the maps of defaults.npz and vit_b_lm.npz.

    venv/bin/pip install -r requirements.txt
    venv/bin/python points.py

_get_centers is micro-sam 3acdcd72's; of elf's functions that work in blocks the
whole picture is one block here.
"""

import pathlib

import numpy as np
from scipy import ndimage
from skimage.measure import regionprops
from skimage.segmentation import find_boundaries


def get_centers(segmentation):
    boundaries = find_boundaries(segmentation, mode="outer") == 0
    boundaries[0, :] = boundaries[-1, :] = False
    boundaries[:, 0] = boundaries[:, -1] = False
    distances = ndimage.distance_transform_edt(boundaries)
    centers = []
    for prop in regionprops(segmentation):
        box = np.s_[prop.bbox[0] : prop.bbox[2], prop.bbox[1] : prop.bbox[3]]
        dist = distances[box].copy()
        dist[segmentation[box] != prop.label] = 0
        y, x = np.unravel_index(np.argmax(dist), dist.shape)
        centers.append((x + prop.bbox[1], y + prop.bbox[0]))
    return np.array(centers, np.int64)


if __name__ == "__main__":
    folder = pathlib.Path(__file__).resolve().parent.parent / "testdata"
    out = {}
    for name in ("defaults", "vit_b_lm"):
        with np.load(folder / f"{name}.npz") as f:
            seeds = (f["foreground"] >= 0.5) & (f["center"] < 0.5) & (f["boundary"] < 0.5)
        out[name] = get_centers(ndimage.label(seeds)[0]).reshape(-1)
        print(name, len(out[name]) // 2, "points")
    np.savez_compressed(folder / "points.npz", **out)
