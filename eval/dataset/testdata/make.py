"""Writes small files in the ways other programs do. Run: python make.py (scipy 1.17.1, numpy 2.4.6)."""

import os

import numpy as np
import scipy.io

here = os.path.dirname(os.path.abspath(__file__))
inst = np.array([[1, 1, 0, 0], [1, 0, 0, 3], [0, 0, 3, 3]])
types = np.array([[2, 2, 0, 0], [2, 0, 0, 6], [0, 0, 6, 6]])
extra = {"name": "text", "cell": np.array([1, "two"], dtype=object), "part": {"field": np.arange(3)}, "z": np.array([1 + 2j])}

for name, dtype, packed in (("double", np.float64, True), ("uint16", np.uint16, False), ("int32", np.int32, True)):
    scipy.io.savemat(os.path.join(here, f"{name}.mat"), {
        **extra, "inst_map": inst.astype(dtype), "type_map": types.astype(dtype),
        "id": np.array([[1], [3]], np.uint16), "class": np.array([[2], [6]], np.uint8)}, do_compression=packed)
np.save(os.path.join(here, "images.npy"), (np.arange(2 * 3 * 4 * 3).reshape(2, 3, 4, 3)).astype(np.float64))
masks = np.zeros((2, 3, 4, 6))
masks[0, 0, :2, 0] = 7       # a neoplastic and
masks[0, 2, 2:, 4] = 7       # an epithelial nucleus of the same number
masks[0, 2, 3, 1] = 9
masks[..., 5] = 1
np.save(os.path.join(here, "masks.npy"), masks)
np.save(os.path.join(here, "types.npy"), np.array(["Breast", "Colon"]))
labels = np.stack([inst, types], -1)[None].astype(np.int32)
np.save(os.path.join(here, "conic_labels.npy"), labels)
np.save(os.path.join(here, "conic_images.npy"), np.full((1, 3, 4, 3), 9, np.uint8))
