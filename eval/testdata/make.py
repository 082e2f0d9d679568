"""Writes metrics.npz: label maps and what the field's own programs say of them.

Run: python make.py          (versions: requirements.txt, README.md)
"""

import os
import sys
import types
import warnings

import numpy as np
import scipy
import scipy.ndimage as ndi
import scipy.stats
from scipy.optimize import linear_sum_assignment

# surface-distance 0.1 was written for an older numpy and scipy
np.Inf, np.NaN = np.inf, np.nan
ndi.filters = types.SimpleNamespace(correlate=ndi.correlate)
ndi.morphology = types.SimpleNamespace(distance_transform_edt=ndi.distance_transform_edt)

import torch

torch.set_default_dtype(torch.float64)   # int / int is float32 otherwise
warnings.filterwarnings("ignore")
import monai.metrics as mm
import monai.metrics.utils as mmu
import medpy.metric.binary as mp
import skimage.metrics as skm
import stardist.matching as sm
import surface_distance as sd
import torchmetrics.functional.classification as tmc
import torchmetrics.functional.segmentation as tms

from cases import cases, SEED

VERSION = 1


class Wide:
    """torch with float64 where MONAI writes float32: its arithmetic without its rounding."""

    def __getattr__(self, name):
        return torch.float64 if name in ("float", "float32") else getattr(torch, name)


for module in ("utils", "hausdorff_distance", "surface_distance", "surface_dice", "panoptic_quality", "meandice", "meaniou"):
    sys.modules["monai.metrics." + module].torch = Wide()


def iou64(overlap):
    """StarDist's criterion in float64 (its own rounds to float32)."""
    if np.sum(overlap) == 0:
        return overlap
    a, b = np.sum(overlap, axis=0, keepdims=True), np.sum(overlap, axis=1, keepdims=True)
    u = (a + b - overlap).astype(np.float64)
    out = np.zeros(u.shape)
    np.divide(overlap, u, out=out, where=u > 0)
    return out


sm.matching_criteria["iou64"] = iou64
THRESHOLDS = [0.1, 0.3] + [float(f"0.{5 * i:02d}") for i in range(10, 20)]


def or_nan(f):
    try:
        return float(f())
    except (ZeroDivisionError, ValueError, RuntimeError, FloatingPointError):
        return float("nan")


# ---- HoVer-Net's stats_utils, computed anew from its definitions, plainly ----

def hovernet(t, p):
    tid, pid = [i for i in np.unique(t) if i], [i for i in np.unique(p) if i]
    inter = np.array([[np.sum((t == i) & (p == j)) for j in pid] for i in tid], float).reshape(len(tid), len(pid))
    at = np.array([np.sum(t == i) for i in tid], float)
    ap = np.array([np.sum(p == j) for j in pid], float)
    total = at[:, None] + ap[None, :]
    iou = inter / np.maximum(total - inter, 1)
    r = {}
    hit = inter > 0
    r["dice1"] = or_nan(lambda: 2.0 * np.sum((t > 0) & (p > 0)) / int(np.sum(t > 0) + np.sum(p > 0)))
    r["dice2"] = 2 * inter.sum() / total[hit].sum() if hit.any() else float("nan")
    # AJI
    if len(tid) and len(pid):
        eps = inter / (total - inter + 1e-6)
        best = eps.argmax(1)
        i = u = 0.0
        used = set()
        for k in range(len(tid)):
            if eps[k, best[k]] > 0:
                i += inter[k, best[k]]
                u += total[k, best[k]] - inter[k, best[k]]
                used.add(best[k])
            else:
                u += at[k]
        u += sum(ap[j] for j in range(len(pid)) if j not in used)
        r["aji"] = i / u
    else:
        r["aji"] = float("nan")

    def ajiplus(rows, cols):
        i, u = 0.0, at.sum() + ap.sum()
        for a, b in zip(rows, cols):
            if iou[a, b] > 0:
                i += inter[a, b]
                u -= inter[a, b]
        return i / u if u else float("nan")

    rows, cols = linear_sum_assignment(-iou)
    r["aji+"] = ajiplus(rows, cols)
    # several assignments can have the same sum of IoU and another AJI+: then it
    # is not defined, and what one program says depends on its search
    rng = np.random.default_rng(1)
    r["aji+ ambiguous"] = float(any(
        abs(ajiplus(*linear_sum_assignment(-iou - 1e-9 * rng.random(iou.shape))) - r["aji+"]) > 1e-12 for _ in range(8)))
    r["assigned iou"] = iou[rows, cols].sum()
    for name, thr in (("", 0.5), ("@0.3", 0.3), ("@0.7", 0.7)):
        if thr >= 0.5:
            paired = iou[iou > thr]
        else:
            paired = iou[rows, cols]
            paired = paired[paired > thr]
        tp = len(paired)
        fp, fn = len(pid) - tp, len(tid) - tp
        dq = tp / (tp + 0.5 * fp + 0.5 * fn) if len(tid) + len(pid) else float("nan")
        sq = paired.sum() / (tp + 1e-6)
        r["dq" + name], r["sq" + name], r["pq" + name] = dq, sq, dq * sq
        r["tp" + name], r["sum" + name] = tp, paired.sum()
    return {"hovernet " + k: v for k, v in r.items()}


def pair_coordinates(t, p, radius):
    """HoVer-Net's detection: centroids assigned by distance, then cut at the radius."""
    ct = np.array(ndi.center_of_mass(t > 0, t, [i for i in np.unique(t) if i])).reshape(-1, 2)
    cp = np.array(ndi.center_of_mass(p > 0, p, [i for i in np.unique(p) if i])).reshape(-1, 2)
    if len(ct) == 0 or len(cp) == 0:
        return 0, len(cp), len(ct)
    d = np.sqrt(((ct[:, None] - cp[None]) ** 2).sum(-1))
    a, b = linear_sum_assignment(d)
    n = int(np.sum(d[a, b] <= radius))
    return n, len(cp) - n, len(ct) - n


# ---- GlaS: object Dice and object Hausdorff from the challenge's paper ----

def hausdorff_points(a, b):
    da, db = ndi.distance_transform_edt(~b), ndi.distance_transform_edt(~a)
    return max(da[a].max(), db[b].max())


def glas(t, p):
    def one(x, y, score, nearest):
        s, total = 0.0, np.sum(x > 0)
        for i in [i for i in np.unique(x) if i]:
            xi = x == i
            hit = y[xi]
            hit = hit[hit > 0]
            if len(hit):
                yj = y == np.bincount(hit).argmax()
            else:
                yj = nearest(xi, y)
            s += np.sum(xi) / total * score(xi, yj)
        return s

    dice = lambda a, b: 0.0 if b is None else 2 * np.sum(a & b) / (np.sum(a) + np.sum(b))
    near = lambda a, y: min((y == j for j in np.unique(y) if j), key=lambda b: hausdorff_points(a, b))
    if not (t > 0).any() and not (p > 0).any():
        return {"glas dice": float("nan"), "glas hausdorff": float("nan")}
    if not (t > 0).any() or not (p > 0).any():
        return {"glas dice": 0.0, "glas hausdorff": float("inf")}
    return {
        "glas dice": (one(t, p, dice, lambda a, y: None) + one(p, t, dice, lambda a, y: None)) / 2,
        "glas hausdorff": (one(t, p, hausdorff_points, near) + one(p, t, hausdorff_points, near)) / 2,
    }


def stardist(t, p):
    r = {}
    keys = ("tp", "fp", "fn", "precision", "recall", "accuracy", "f1", "mean_true_score", "mean_matched_score", "panoptic_quality")
    for m in sm.matching(t, p, thresh=THRESHOLDS, criterion="iou64"):
        for k in keys:
            r[f"stardist {k} @{m.thresh:.2f}"] = float(getattr(m, k))
    for m in sm.matching(t, p, thresh=[0.5, 0.75]):
        for k in keys:
            r[f"stardist32 {k} @{m.thresh:.2f}"] = float(getattr(m, k))
    return r


def pixels(t, p):
    a, b = t > 0, p > 0
    ta, tb = torch.from_numpy(a), torch.from_numpy(b)
    tp, fp, tn, fn, _ = tmc.binary_stat_scores(tb.int(), ta.int()).tolist()
    r = {"torchmetrics tp": tp, "torchmetrics fp": fp, "torchmetrics tn": tn, "torchmetrics fn": fn}
    r["torchmetrics f1"] = tmc.binary_f1_score(tb.int(), ta.int()).item()
    r["torchmetrics iou"] = tmc.binary_jaccard_index(tb.int(), ta.int()).item()
    r["torchmetrics precision"] = tmc.binary_precision(tb.int(), ta.int()).item()
    r["torchmetrics recall"] = tmc.binary_recall(tb.int(), ta.int()).item()
    r["torchmetrics specificity"] = tmc.binary_specificity(tb.int(), ta.int()).item()
    r["torchmetrics dice"] = tms.dice_score(tb.int()[None, None], ta.int()[None, None], num_classes=1, average="micro").item()
    x, y = tb[None, None].double(), ta[None, None].double()
    for name, ignore in (("", True), (" keep", False)):
        r["monai dice" + name] = mm.DiceHelper(include_background=True, ignore_empty=ignore, softmax=False, activate=False, get_not_nans=False, num_classes=1, reduction="none")(x, y)[0].item()
        r["monai iou" + name] = mm.compute_iou(x, y, include_background=True, ignore_empty=ignore).item()
    r["skimage hausdorff"] = skm.hausdorff_distance(a, b)
    r["skimage hausdorff modified"] = skm.hausdorff_distance(a, b, method="modified")
    return r


def panoptic(t, p):
    r = {}
    for thr in (0.3, 0.5):
        tp, fp, fn, s = mm.compute_panoptic_quality(torch.from_numpy(p.astype(np.int64)), torch.from_numpy(t.astype(np.int64)), match_iou_threshold=thr, output_confusion_matrix=True).tolist()
        r.update({f"monai tp @{thr}": tp, f"monai fp @{thr}": fp, f"monai fn @{thr}": fn, f"monai sum @{thr}": s})
        for k in ("pq", "sq", "rq"):
            r[f"monai {k} @{thr}"] = mm.compute_panoptic_quality(torch.from_numpy(p.astype(np.int64)), torch.from_numpy(t.astype(np.int64)), metric_name=k, match_iou_threshold=thr).item()
    return r


def surfaces(t, p):
    a, b = t > 0, p > 0
    x, y = torch.from_numpy(b)[None, None], torch.from_numpy(a)[None, None]
    r = {}
    for tag, spacing in (("", (1.0, 1.0)), (" aniso", (0.5, 0.25))):
        kw = dict(include_background=True, spacing=list(spacing))
        r["monai hd" + tag] = mm.compute_hausdorff_distance(x, y, **kw).item()
        r["monai hd95" + tag] = mm.compute_hausdorff_distance(x, y, percentile=95, **kw).item()
        r["monai asd" + tag] = mm.compute_average_surface_distance(x, y, **kw).item()
        r["monai assd" + tag] = mm.compute_average_surface_distance(x, y, symmetric=True, **kw).item()
        r["medpy hd" + tag] = or_nan(lambda: mp.hd(b, a, spacing))
        r["medpy hd95" + tag] = or_nan(lambda: mp.hd95(b, a, spacing))
        r["medpy asd" + tag] = or_nan(lambda: mp.asd(b, a, spacing))
        r["medpy assd" + tag] = or_nan(lambda: mp.assd(b, a, spacing))
        for tol in (0.3, 1.0, 2.0):
            r[f"monai nsd {tol}" + tag] = mm.compute_surface_dice(x, y, [tol], **kw).item()
        s = sd.compute_surface_distances(a, b, spacing)
        r["deepmind hd" + tag] = sd.compute_robust_hausdorff(s, 100)
        r["deepmind hd95" + tag] = sd.compute_robust_hausdorff(s, 95)
        r["deepmind asd truth" + tag], r["deepmind asd pred" + tag] = sd.compute_average_surface_distance(s)
        for tol in (0.3, 1.0, 2.0):
            r[f"deepmind nsd {tol}" + tag] = sd.compute_surface_dice_at_tolerance(s, tol)
            r[f"deepmind overlap truth {tol}" + tag], r[f"deepmind overlap pred {tol}" + tag] = sd.compute_surface_overlap_at_tolerance(s, tol)
    return r


def statistics(here):
    """scores and differences of many lengths, with ties and zeros, and SciPy's view of them."""
    rng = np.random.default_rng(SEED + 1)
    lengths, a, b, out = [], [], [], []
    for i in range(120):
        n = int(rng.integers(2, 14)) if i % 3 == 0 else int(rng.integers(2, 51)) if i % 3 == 1 else int(rng.integers(51, 200))
        x, y = rng.random(n), rng.random(n) + 0.1 * (i % 4)
        if i % 3 == 0 or i % 6 == 2:      # ties and zeros
            x, y = np.round(x, 1), np.round(y, 1)
        d = x - y
        d = np.where(np.abs(d) < 1e-9, 0, np.round(d, 9))
        if not d.any():
            continue
        z = d[d != 0]
        tied = len(np.unique(np.abs(z))) < len(z)
        method = "asymptotic"
        if len(z) <= 50:
            method = "exact" if not tied else scipy.stats.PermutationMethod(n_resamples=np.inf)
            if tied and len(z) > 13:
                continue
        r = scipy.stats.wilcoxon(z, zero_method="wilcox", correction=False, method=method)
        lengths.append(n)
        a.append(d)
        b.append(x)
        out.append([np.mean(x), np.std(x, ddof=1), np.median(x), r.statistic, r.pvalue])
    np.savez_compressed(os.path.join(here, "stats.npz"), version=np.array([VERSION], np.int64), lengths=np.array(lengths, np.int64),
                        diff=np.concatenate(a), score=np.concatenate(b), values=np.array(out))
    print(len(lengths), "columns of scores")


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    statistics(here)
    all_cases = cases()
    rows = []
    for name, t, p in all_cases:
        r = {}
        r.update(hovernet(t, p))
        for radius in (2, 12):
            r[f"hovernet detect tp {radius}"], r[f"hovernet detect fp {radius}"], r[f"hovernet detect fn {radius}"] = pair_coordinates(t, p, radius)
        r.update(glas(t, p))
        r.update(stardist(t, p))
        r.update(pixels(t, p))
        r.update(panoptic(t, p))
        r.update(surfaces(t, p))
        rows.append(r)
    names = list(rows[0])
    values = np.array([[float(r[k]) for k in names] for r in rows])
    np.savez_compressed(
        os.path.join(here, "metrics.npz"),
        version=np.array([VERSION], np.int64),
        shapes=np.array([t.shape for _, t, _ in all_cases], np.int64),
        truth=np.concatenate([t.ravel() for _, t, _ in all_cases]).astype(np.uint16),
        pred=np.concatenate([p.ravel() for _, _, p in all_cases]).astype(np.uint16),
        values=values,
        columns=np.frombuffer("\n".join(names).encode(), np.uint8),
        cases=np.frombuffer("\n".join(n for n, _, _ in all_cases).encode(), np.uint8),
    )
    print(len(all_cases), "cases,", len(names), "columns, seed", SEED)


if __name__ == "__main__":
    main()
