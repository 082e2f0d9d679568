"""Processor time of the metrics in Go and in the field's programs, on the same label maps, one thread.

Run from the package's folder: python testdata/speed.py   (versions: requirements.txt; needs go)
"""

import os

for k in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[k] = "1"

import math
import subprocess
import sys
import time
import types
import warnings

import numpy as np
import scipy.ndimage as ndi

np.Inf, np.NaN = np.inf, np.nan
ndi.filters = types.SimpleNamespace(correlate=ndi.correlate)
ndi.morphology = types.SimpleNamespace(distance_transform_edt=ndi.distance_transform_edt)
import torch

torch.set_num_threads(1)
warnings.filterwarnings("ignore")
import medpy.metric.binary as mp
import monai.metrics as mm
import stardist.matching as sm
import surface_distance as sd

M = (1 << 64) - 1


class Source:
    """internal/rng"""

    def __init__(self, seed, *name):
        h = 14695981039346656037
        for part in name:
            for b in part.encode():
                h = (h ^ b) * 1099511628211 & M
            h = h * 1099511628211 & M
        self.state = seed ^ h
        self.state = self.next()

    def next(self):
        self.state = (self.state + 0x9E3779B97F4A7C15) & M
        z = self.state
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & M
        z = (z ^ z >> 27) * 0x94D049BB133111EB & M
        return z ^ z >> 31

    def f(self):
        return (self.next() >> 11) / (1 << 53)


def disc(l, cx, cy, r, v):
    h, w = l.shape
    y0, y1 = max(0, int(cy - r)), min(h - 1, int(cy + r) + 1)
    x0, x1 = max(0, int(cx - r)), min(w - 1, int(cx + r) + 1)
    yy, xx = np.mgrid[y0:y1 + 1, x0:x1 + 1]
    l[y0:y1 + 1, x0:x1 + 1][(xx - cx) ** 2 + (yy - cy) ** 2 <= r * r] = v


def nuclei(side, n):
    """bench_test.go"""
    r = Source(4, "speed")
    radius = 0.35 * side / math.sqrt(n)
    t, p = np.zeros((side, side), np.int32), np.zeros((side, side), np.int32)
    for i in range(n):
        x, y = r.f() * side, r.f() * side
        s = radius * (0.6 + 0.8 * r.f())
        disc(t, x, y, s, i + 1)
        dx, dy = 6 * r.f() - 3, 6 * r.f() - 3
        lost = r.f() < 0.1
        merged = r.f() < 0.1
        if not lost:
            disc(p, x + dx, y + dy, s, i if merged else i + 1)
    return t, p


def best(f, times):
    out = math.inf
    for _ in range(times):
        begin = time.process_time()
        f()
        out = min(out, time.process_time() - begin)
    return 1000 * out


def main():
    go = {}
    run = subprocess.run(["go", "test", ".", "-run", "^TestSpeed$", "-v", "-count=1", "-cpu=1"],
                         env={**os.environ, "EVAL_SPEED": "1"}, capture_output=True, text=True)
    checks = {}
    for line in run.stdout.splitlines():
        if line.startswith("go|"):
            _, n, name, ms = line.split("|")
            go[int(n), name] = float(ms)
        elif line.startswith("check "):
            checks[int(line.split()[1])] = int(line.split()[2])
    if not go:
        sys.exit(run.stdout + run.stderr)
    print("| instances | what | Go, ms | reference, ms | ratio |\n|---|---|---|---|---|")
    for side, n in ((1000, 1000), (3162, 10000)):
        t, p = nuclei(side, n)
        total = 0
        for a, b in zip(t.ravel().tolist(), p.ravel().tolist()):
            total = (total * 31 + a * 7 + b) % 1000003
        assert total == checks[n], "the pictures differ"
        a, b = t > 0, p > 0
        x, y = torch.from_numpy(b)[None, None], torch.from_numpy(a)[None, None]

        def deepmind():
            s = sd.compute_surface_distances(a, b, (1, 1))
            sd.compute_robust_hausdorff(s, 95), sd.compute_average_surface_distance(s)

        def monai():
            mm.compute_hausdorff_distance(x, y, include_background=True, percentile=95)
            mm.compute_average_surface_distance(x, y, include_background=True, symmetric=True)

        sm.matching(t[:8, :8], p[:8, :8])   # compile
        references = {
            "medpy HD95 and ASSD": ("medpy", lambda: (mp.hd95(b, a), mp.assd(b, a))),
            "MONAI HD95 and ASSD": ("MONAI", monai),
            "DeepMind HD95 and ASD": ("surface-distance", deepmind),
        }
        if n <= 1000:   # dense matrices, or a pass over the picture per instance: not at 10,000
            references["matching at ten thresholds"] = ("stardist", lambda: sm.matching(t, p, thresh=[i / 100 for i in range(50, 100, 5)]))
            references["panoptic quality"] = ("MONAI", lambda: mm.compute_panoptic_quality(torch.from_numpy(p), torch.from_numpy(t)))
        for (k, name), ms in go.items():
            if k != n:
                continue
            if name in references:
                who, f = references[name]
                ref = best(f, 3 if n <= 1000 and who != "MONAI" else 1)
                print(f"| {n} | {name} ({who}) | {ms:.1f} | {ref:.0f} | {ref / ms:.0f} |", flush=True)
            else:
                print(f"| {n} | {name} | {ms:.1f} | | |", flush=True)


if __name__ == "__main__":
    main()
