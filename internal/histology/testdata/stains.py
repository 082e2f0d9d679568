"""Reference for FindStains: torchstain's Macenko normaliser on a seeded picture.

    pip install numpy==2.3.5 torchstain==1.4.1
    python stains.py
"""

import json
import pathlib

import numpy as np
from torchstain.numpy.normalizers import NumpyMacenkoNormalizer

HERE = pathlib.Path(__file__).parent
SIDE = 64
VECTORS = {
    "plain": ([0.65, 0.70, 0.29], [0.07, 0.99, 0.11]),
    "pink": ([0.42, 0.78, 0.46], [0.14, 0.87, 0.47]),
}

out = []
for seed, (name, (h, e)) in enumerate(VECTORS.items()):
    rng = np.random.default_rng(seed)
    h, e = np.array(h) / np.linalg.norm(h), np.array(e) / np.linalg.norm(e)
    # Nuclei on cytoplasm, and a third of glass.
    amounts = np.stack([rng.gamma(2, 0.25, SIDE * SIDE), rng.gamma(2, 0.2, SIDE * SIDE)], 1)
    amounts[rng.random(SIDE * SIDE) < 0.5, 0] *= 0.1
    amounts[: SIDE * SIDE // 3] = 0
    od = amounts @ np.stack([h, e]) + rng.normal(0, 0.01, (SIDE * SIDE, 3))
    pic = np.clip(256 * 10**-od - 1, 0, 255).round().astype(np.uint8).reshape(SIDE, SIDE, 3)
    n = NumpyMacenkoNormalizer()
    n.fit(pic, Io=256, alpha=1, beta=0.15)
    out.append({"name": name, "side": SIDE, "pixels": pic.tobytes().hex(), "stains": n.HERef.T.tolist()})

(HERE / "stains.json").write_text(json.dumps({"version": 1, "pictures": out}) + "\n")
