"""Writes one reference file: an .npz that says what it holds."""

import json
import math
import os

import numpy as np

VERSION = 1  # golden.Version in Go
LIMIT = 256 * 1024


class Store:
    """Collects arrays and writes them as testdata/<name>.npz."""

    def __init__(self, name, folder):
        self.path = os.path.join(folder, name + ".npz")
        self.arrays = {}
        self.samples = {}
        self.packed = {}

    def put(self, name, a):
        """Stores a whole array."""
        assert name not in self.arrays, name
        self.arrays[name] = np.ascontiguousarray(a)

    def sample(self, name, a, target):
        """Stores a tensor, or about target values of it when it is larger.

        Value k of a sample is element k*stride of the flattened tensor. The
        file's index holds its stride and the tensor's shape. The stride shares
        no factor with any dimension, so that samples meet every row and column.
        """
        a = np.ascontiguousarray(a)
        if a.size <= target:
            return self.put(name, a)
        stride = a.size // target
        while any(d > 1 and math.gcd(stride, d) > 1 for d in a.shape):
            stride += 1
        self.put(name, a.reshape(-1)[::stride])
        self.samples[name] = dict(stride=stride, shape=a.shape)

    def masks(self, name, m, row_step=1):
        """Stores binary masks [N, H, W], every row_step-th row, eight pixels
        to a byte, most significant bit first. The file's index holds N, H, W
        and the step."""
        n, h, w = m.shape
        self.put(name, np.packbits(m[:, ::row_step].reshape(-1)))
        self.packed[name] = dict(n=n, h=h, w=w, row_step=row_step)

    def close(self, meta):
        """Writes the file with its version, its index of samples and masks, and
        its description, both JSON."""
        self.put("version", np.array([VERSION], np.int64))
        for name, text in (("index", dict(samples=self.samples, masks=self.packed)), ("meta", meta)):
            self.put(name, np.frombuffer(json.dumps(text).encode(), np.uint8))
        np.savez_compressed(self.path, **self.arrays)
        size = os.path.getsize(self.path)
        print(f"{os.path.basename(self.path)}: {len(self.arrays)} arrays, {size} bytes")
        if size > LIMIT:
            raise SystemExit(f"{self.path}: {size} bytes, limit {LIMIT}")
