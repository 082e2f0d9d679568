"""Runs segment_anything's automatic mask generator and keeps what it returns:
on small models with counter-based weights, and on masks drawn from a formula
in the decoder's place, which are compact objects with holes and islands, as
counter-based weights never give them.

Thresholds for the models are chosen in the widest gap near a quantile of the
scores met, so that rounding does not decide what is kept. Needs
opencv-python-headless 4.8.1 for the removal of small regions.
"""

import numpy as np
import torch
from segment_anything import SamAutomaticMaskGenerator
from segment_anything import automatic_mask_generator as amg

import counter
from models import SHAPES, build
from store import Store

# What each case changes of the generator's defaults. iou and stability are the
# quantiles of the scores where the thresholds are put (None: no filter), mask
# is that of the logits where the mask threshold is put.
MODELS = [
    dict(name="plain", model="small_b", seed=2, size=(100, 133), mask=0.98, iou=0.5, stability=0.4,
         kw=dict(points_per_side=8, stability_score_offset=0.02, box_nms_thresh=0.9)),
    dict(name="no_filters", model="small_a", seed=1, size=(60, 90), mask=0.99, iou=None, stability=None,
         kw=dict(points_per_side=3, box_nms_thresh=0.95, stability_score_offset=0.01)),
    dict(name="crops", model="small_d", seed=4, size=(180, 260), mask=0.985, iou=0.4, stability=0.3,
         kw=dict(points_per_side=6, crop_n_layers=1, crop_n_points_downscale_factor=2, stability_score_offset=0.02, box_nms_thresh=0.9, crop_nms_thresh=0.9)),
    dict(name="small_regions", model="small_e", seed=5, size=(128, 96), mask=0.97, iou=0.3, stability=0.2,
         kw=dict(points_per_side=6, min_mask_region_area=60, box_nms_thresh=0.92, stability_score_offset=0.01)),
    dict(name="own_grid", model="small_a", seed=1, size=(70, 50), mask=0.98, iou=0.2, stability=0.2,
         kw=dict(points_per_side=None, point_grids=[[[0.1, 0.2], [0.52, 0.33], [0.9, 0.77], [0.52, 0.33]]], points_per_batch=3, stability_score_offset=0.02, box_nms_thresh=0.95)),
]  # fmt: skip
FORMULA = [
    dict(name="f_defaults", seed=11, size=(240, 330), kw=dict(points_per_side=12)),
    dict(name="f_crops", seed=12, size=(300, 260), kw=dict(points_per_side=10, crop_n_layers=1, pred_iou_thresh=0.8, stability_score_thresh=0.8)),
    dict(name="f_layers", seed=13, size=(260, 400),
         kw=dict(points_per_side=8, crop_n_layers=2, crop_n_points_downscale_factor=2, crop_overlap_ratio=0.25, box_nms_thresh=0.5, crop_nms_thresh=0.4, pred_iou_thresh=0.75, stability_score_thresh=0.7)),
    dict(name="f_small_regions", seed=14, size=(200, 200), kw=dict(points_per_side=9, min_mask_region_area=150, pred_iou_thresh=0.75, stability_score_thresh=0.6, points_per_batch=7)),
    dict(name="f_crops_small_regions", seed=15, size=(270, 180),
         kw=dict(points_per_side=8, crop_n_layers=1, min_mask_region_area=120, pred_iou_thresh=0.75, stability_score_thresh=0.6, stability_score_offset=0.5)),
    dict(name="f_islands_only", seed=16, size=(90, 120), kw=dict(points_per_side=7, min_mask_region_area=900, pred_iou_thresh=0.0, stability_score_thresh=0.0, box_nms_thresh=0.3)),
]  # fmt: skip


def formula(px, py, k, low, frame, seed):
    """Low-resolution logits and predicted IoU of mask k for a point of the
    network's frame: a disc, perhaps with a hole and an island. Small integers
    over 4 and a fraction that keeps interpolated values off the thresholds."""
    q = int(np.floor(px * 16 + 0.5)) * 0x1000003 + int(np.floor(py * 16 + 0.5)) * 0x10001 + k * 977 + seed * 0x9E3779B1
    h = counter.hash64(q)
    r = 2 + h % 5 + 3 * k
    cx = int(px * low / frame) + (h >> 8) % 3 - 1
    cy = int(py * low / frame) + (h >> 16) % 3 - 1
    y, x = np.mgrid[0:low, 0:low]
    v = r * r - (x - cx) ** 2 - (y - cy) ** 2
    if (h >> 20) & 1:
        v = np.where((x - cx - 1) ** 2 + (y - cy) ** 2 <= 1, -16, v)
    if (h >> 21) & 1:
        v = np.where((x - cx - r - 3) ** 2 + (y - cy) ** 2 <= 1, 16, v)
    return v.astype(np.float32) / 4 + np.float32(0.0337), np.float32(0.7 + ((h >> 32) & 0xFFFF) / 65536 * 0.35)


def predictor_of_formula(sam, seed):
    """A predict_torch that draws masks from the formula."""

    def predict(self, coords, labels, multimask_output=True, return_logits=False):
        low, frame = 4 * sam.prompt_encoder.image_embedding_size[0], sam.image_encoder.img_size
        got = [[formula(float(x), float(y), k, low, frame, seed) for k in range(3)] for x, y in coords[:, 0]]
        masks = torch.from_numpy(np.stack([[m for m, _ in g] for g in got]))
        iou = torch.from_numpy(np.array([[i for _, i in g] for g in got], np.float32))
        return sam.postprocess_masks(masks, self.input_size, self.original_size), iou, masks

    return predict


def gap(values, q):
    """The middle of the widest gap among the five values on either side of
    quantile q, and half its width."""
    v = np.unique(np.asarray(values, np.float64))
    i = int(q * (len(v) - 1))
    lo, hi = max(0, i - 5), min(len(v) - 1, i + 5)
    k = lo + int(np.argmax(np.diff(v[lo : hi + 1])))
    return float((v[k] + v[k + 1]) / 2), float((v[k + 1] - v[k]) / 2)


def scores(sam, kw, image, iou_thresh):
    """All predicted IoU, stability scores and logits met with the given filter."""
    got = [], [], []
    old_stability, old_predict = amg.calculate_stability_score, amg.SamPredictor.predict_torch

    def stability(masks, *a):
        s = old_stability(masks, *a)
        got[1].extend(s.nan_to_num().tolist())
        return s

    def predict(self, *a, **k):
        r = old_predict(self, *a, **k)
        got[0].extend(r[1].flatten().tolist())
        got[2].append(r[0].flatten()[::7].numpy())
        return r

    amg.calculate_stability_score, amg.SamPredictor.predict_torch = stability, predict
    try:
        SamAutomaticMaskGenerator(sam, pred_iou_thresh=iou_thresh, stability_score_thresh=0.0, **kw).generate(image)
    finally:
        amg.calculate_stability_score, amg.SamPredictor.predict_torch = old_stability, old_predict
    return got


def put(store, key, anns):
    counts = [a["segmentation"]["counts"] for a in anns]
    store.put(key + "/counts", np.array([n for c in counts for n in c], np.float32))
    store.put(key + "/runs", np.array([len(c) for c in counts], np.float32))
    store.put(key + "/iou", np.array([a["predicted_iou"] for a in anns], np.float32))
    store.put(key + "/stability", np.array([a["stability_score"] for a in anns], np.float32))
    store.put(key + "/bbox", np.array([a["bbox"] for a in anns], np.float32).reshape(-1, 4))
    store.put(key + "/crop", np.array([a["crop_box"] for a in anns], np.float32).reshape(-1, 4))
    store.put(key + "/area", np.array([a["area"] for a in anns], np.float32))
    store.put(key + "/point", np.array([a["point_coords"][0] for a in anns], np.float32).reshape(-1, 2))


def generate(folder):
    store, meta = Store("everything", folder), []
    for case in MODELS + FORMULA:
        kw, model = dict(case["kw"]), case.get("model", "small_a")
        sam = build(SHAPES[model], case["seed"])
        image = counter.picture(*case["size"], 5000 + len(meta))
        if kw.get("point_grids"):
            kw["point_grids"] = [np.array(g) for g in kw["point_grids"]]
        note = dict(name=case["name"], model=model, seed=case["seed"], size=case["size"], picture_seed=5000 + len(meta), formula="model" not in case)
        old = amg.SamPredictor.predict_torch
        if "model" in case:
            probe = {k: v for k, v in kw.items() if k != "min_mask_region_area"}
            sam.mask_threshold = round(float(np.quantile(np.concatenate(scores(sam, {**probe, "crop_n_layers": 0}, image, 0.0)[2]), case["mask"])), 3)
            note["mask_threshold"], widths = sam.mask_threshold, []
            for i, k in enumerate(["iou", "stability"]):
                name = ["pred_iou_thresh", "stability_score_thresh"][i]
                kw[name] = 0.0
                if case[k] is not None:
                    kw[name], w = gap(scores(sam, probe, image, kw["pred_iou_thresh"])[i], case[k])
                    widths.append(w)
        else:
            amg.SamPredictor.predict_torch = predictor_of_formula(sam, case["seed"])
            widths = None
        try:
            anns = SamAutomaticMaskGenerator(sam, output_mode="uncompressed_rle", **kw).generate(image)
        finally:
            amg.SamPredictor.predict_torch = old
        put(store, case["name"], anns)
        note["options"] = {k: (np.asarray(v).tolist() if k == "point_grids" else v) for k, v in kw.items()}
        print(case["name"], len(anns), "masks", note.get("mask_threshold"), "half gaps", widths)
        meta.append(note)
    store.close(dict(what="segment_anything dca509f, SamAutomaticMaskGenerator", cases=meta))
