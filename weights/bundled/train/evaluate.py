"""Measures a checkpoint on synthetic shards of unseen seeds and on pictures with masks.

    python evaluate.py --model model.safetensors --shards VAL --coarse VALC --nuclei DIR
    python evaluate.py --rise --shards BIG --nuclei DIR

DIR holds images/NAME.jpg and masks/NAME.jpg (binary, threshold 128). Those
pictures are only looked at here, never in training.
"""

import argparse
import glob
import itertools
import json
import os

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from scipy import ndimage as nd

import data
import model


def load(path, ema=True):
    sam = model.build()
    if path.endswith(".safetensors"):
        from safetensors.torch import load_file
        sam.load_state_dict({k: v.float() for k, v in load_file(path).items()}, strict=False)
    else:
        c = torch.load(path, map_location="cpu")
        sam.load_state_dict(c["ema" if ema else "model"])
    return sam.eval()


def dice(p, t):
    return 2 * (p & t).sum() / max(1, p.sum() + t.sum())


def iou(p, t):
    return (p & t).sum() / max(1, (p | t).sum())


@torch.no_grad()
def embed(sam, img):
    """Embedding of a square uint8 picture, resized to the model's frame."""
    im = np.asarray(Image.fromarray(img).resize((model.SIZE, model.SIZE), Image.BILINEAR)) if img.shape[0] != model.SIZE else img
    x = torch.from_numpy(np.array(im)).permute(2, 0, 1)[None].float()
    return model.encode(sam, model.normalise(sam, x), [(0, 0)])[0]


@torch.no_grad()
def predict(sam, emb, side, points=None, boxes=None, chunk=8):
    """Yields per prompt (logits [4, 256, 256], IoU [4]); coordinates in pixels of a side x side picture."""
    s = model.SIZE / side
    n = len(points if points is not None else boxes)
    for i in range(0, n, chunk):
        if points is not None:
            p = torch.tensor(points[i:i + chunk], dtype=torch.float32)[:, None] * s
            sp = model.prompts(sam, (0, 0), points=(p, torch.ones(len(p), 1)))
        else:
            sp = model.prompts(sam, (0, 0), boxes=torch.tensor(boxes[i:i + chunk], dtype=torch.float32) * s)
        m, q = model.decode(sam, emb[None], (0, 0), sp)
        for a, b in zip(m.float(), q.float()):
            yield a, b.numpy()


def full(logits, side):
    """Binary mask at the picture's size, as upstream's postprocess_masks makes it."""
    m = F.interpolate(logits[None, None], (model.SIZE, model.SIZE), mode="bilinear", align_corners=False)
    if side != model.SIZE:
        m = F.interpolate(m, (side, side), mode="bilinear", align_corners=False)
    return (m[0, 0] > 0).numpy()


def choose(q, box):
    """Single mask for a box; of the three for a point the one with the best predicted IoU."""
    return 0 if box else 1 + int(np.argmax(q[1:]))


def pairs(folder):
    """Name, picture uint8 [H, W, 3] and mask [H, W] of all in a folder with images and masks."""
    for f in sorted(glob.glob(os.path.join(folder, "images", "*.jpg"))):
        name = os.path.basename(f)
        mask = np.asarray(Image.open(os.path.join(folder, "masks", name)).convert("L")) >= 128
        yield name, np.asarray(Image.open(f).convert("RGB")), mask


def nuclei(sam, folder):
    """Union Dice per picture, a prompt per 4-connected component of at least 10 pixels."""
    rows = []
    for name, img, mask in pairs(folder):
        side = img.shape[0]
        lab, _ = nd.label(mask)
        pts, boxes = [], []
        for i, s in enumerate(nd.find_objects(lab)):
            m = lab[s] == i + 1
            if m.sum() < 10:
                continue
            x, y = data.inside(None, m, True)
            pts.append((s[1].start + x + 0.5, s[0].start + y + 0.5))
            boxes.append((s[1].start, s[0].start, s[1].stop, s[0].stop))
        emb = embed(sam, img)
        row = [name[:12], len(pts)]
        for kw in (dict(boxes=boxes), dict(points=pts)):
            union = np.zeros_like(mask)
            single = np.zeros_like(mask)
            for l, q in predict(sam, emb, side, **kw):
                union |= full(l[choose(q, "boxes" in kw)], side)
                if "points" in kw:
                    single |= full(l[0], side)
            row.append(dice(union, mask))
            if "points" in kw:
                row.append(dice(single, mask))
        rows.append(row)
        print("  %s n %d box %.3f point %.3f point, single mask %.3f" % tuple(row), flush=True)
    m = np.mean([r[2:] for r in rows], 0)
    print("nuclei, real: box %.3f point %.3f point, single mask %.3f" % tuple(m), flush=True)
    return m


def shards(sam, folder, what, count, rng, per=24):
    """Mean Dice per object on synthetic pictures: what is 'nuclei' or 'regions'."""
    res, cal = {}, []
    sets = data.Shards([folder]).sets[:count]
    for maps, i, mpp in sets:
        img, nuc, gland, flags = (np.asarray(m[i]) for m in maps)
        side = img.shape[0]
        kinds = {"nucleus": nuc.astype(np.int32)} if what == "nuclei" else {
            "gland": gland.astype(np.int32), "tumour": nd.label(flags & 1)[0]}
        emb = None
        for kind, lab in kinds.items():
            obj = []
            for k, s in enumerate(nd.find_objects(lab)):
                if s is None:
                    continue
                m = lab[s] == k + 1
                if m.sum() >= (30 if kind == "nucleus" else 1500):
                    obj.append((m, s))
            rng.shuffle(obj)
            obj = obj[:per]
            if not obj:
                continue
            if emb is None:
                emb = embed(sam, img)
            pts, boxes = [], []
            for m, s in obj:
                x, y = data.inside(None, m, True)
                pts.append((s[1].start + x + 0.5, s[0].start + y + 0.5))
                boxes.append((s[1].start, s[0].start, s[1].stop, s[0].stop))
            for name, kw in (("box", dict(boxes=boxes)), ("point", dict(points=pts))):
                for (m, s), (l, q) in zip(obj, predict(sam, emb, side, **kw)):
                    t = np.zeros((side, side), bool)
                    t[s] = m
                    k = choose(q, name == "box")
                    p = full(l[k], side)
                    res.setdefault((kind, name), []).append(dice(p, t))
                    cal.append(abs(float(q[k]) - iou(p, t)))
                    if name == "point":
                        res.setdefault((kind, "point, best of 3"), []).append(max(dice(full(l[j], side), t) for j in (1, 2, 3)))
    for (kind, name), v in sorted(res.items()):
        print(f"{kind}, synthetic: {name}: mean Dice {np.mean(v):.3f}, median {np.median(v):.3f} (n {len(v)})", flush=True)
    print(f"{what}: predicted IoU, mean absolute error {np.mean(cal):.3f}", flush=True)
    return res


def drawn(sam, folder, per):
    """Dice and IoU beside predicted IoU, per kind, of up to per objects of each picture that regions.py drew into a folder; of the second layer of labels too, as parts."""
    dices, guesses = {}, {}
    for f in sorted(glob.glob(os.path.join(folder, "[0-9]*.png"))):
        base = f[:-4]
        with open(base + ".json") as j:
            kind = json.load(j)["kind"]
        layers = np.load(base + "-labels.npy").astype(np.int32)
        layers = layers.reshape(-1, *layers.shape[-2:])
        side, emb = layers.shape[1], None
        for layer, lab in enumerate(layers):
            rng = np.random.default_rng(int(os.path.basename(base)))
            what = kind if layer == 0 else kind + ", parts"
            obj = []
            for i, s in enumerate(nd.find_objects(lab)):
                if s is None:
                    continue
                m = lab[s] == i + 1
                cut = s[0].start == 0 or s[1].start == 0 or s[0].stop == side or s[1].stop == side
                if m.sum() >= (1500 if cut else 150):
                    obj.append((m, s))
            if not obj:
                continue
            weight = np.array([m.sum() ** 0.25 for m, _ in obj])
            obj = [obj[i] for i in np.argsort([-rng.random() ** (1 / w) for w in weight / weight.max()])[:per]]
            emb = embed(sam, np.asarray(Image.open(f).convert("RGB"))) if emb is None else emb
            at = [data.inside(None, m, True) for m, _ in obj]
            pts = [(s[1].start + x + 0.5, s[0].start + y + 0.5) for (x, y), (_, s) in zip(at, obj)]
            boxes = [(s[1].start, s[0].start, s[1].stop, s[0].stop) for _, s in obj]
            for name, kw in (("box", dict(boxes=boxes)), ("point", dict(points=pts))):
                for (m, s), (l, q) in zip(obj, predict(sam, emb, side, **kw)):
                    t = np.zeros((side, side), bool)
                    t[s] = m
                    k = choose(q, name == "box")
                    p = full(l[k], side)
                    dices.setdefault((what, name), []).append(dice(p, t))
                    guesses.setdefault(name, []).append((q[k], iou(p, t)))
                    if name == "point":
                        dices.setdefault((what, "point, best of 3"), []).append(max(dice(full(l[j], side), t) for j in (1, 2, 3)))
                    else:
                        y, x = ((np.arange(n) + 0.5) / n * 2 - 1 for n in m.shape)
                        dices.setdefault((what, "inscribed ellipse"), []).append(dice(y[:, None] ** 2 + x ** 2 <= 1, m))
    for (kind, name), v in sorted(dices.items()):
        print(f"{kind}, drawn: {name}: mean Dice {np.mean(v):.3f} (n {len(v)})", flush=True)
    for name, v in guesses.items():
        q, t = np.array(v).T
        print(f"{name}: predicted IoU, mean absolute error {np.abs(q - t).mean():.3f}; number, mean IoU and share of at least 0.5 by predicted IoU:")
        for low, high in itertools.pairwise((-9, 0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 9)):
            some = t[(q >= low) & (q < high)]
            print(f"    {max(low, 0):.1f} to {min(high, 1):.1f}: {len(some)}" + (f", {some.mean():.2f}, {(some >= 0.5).mean():.2f}" if len(some) else ""))


def rise(img, mask):
    """Mean optical density in red, scaled to 0 far outside and 1 at its highest, of the pixels -8 to -7, ..., 8 to 9 inside a mask's outline."""
    od = -np.log10((img[..., 0].astype(np.float64) + 1) / 256)
    d = nd.distance_transform_edt(mask) - nd.distance_transform_edt(~mask)
    d = np.where(d > 0, d - 0.5, d + 0.5)
    p = np.array([od[(d >= k) & (d < k + 1)].mean() for k in range(-8, 9)])
    return (p - p[0]) / (p.max() - p[0])


def rises(folder, shard, count=10):
    """Prints the stain's rise across outlines on synthetic pictures as drawn and as trained on, and on real ones."""
    rows, rng = {}, np.random.default_rng(0)
    sets = [s for s in data.Shards([shard]).sets if 0.22 < s[2] < 0.29][:count]
    for maps, i, mpp in sets:
        img, nuc = np.asarray(maps[0][i, :640, :640]), np.asarray(maps[1][i, :640, :640])
        rows.setdefault("as drawn", []).append(rise(img, nuc > 0))
        rows.setdefault("redrawn and faded", []).append(rise(data.fade(rng, img.astype(np.float32), nuc, mpp), data.redraw(rng, nuc, mpp) > 0))
    for _, img, mask in pairs(folder):
        rows.setdefault("real", []).append(rise(img, mask))
    for name, v in rows.items():
        print(f"{name:18s}", np.mean(v, 0).round(2))


def statistics(img, mask):
    """What the card compares: of a picture uint8 [H, W, 3] of at least 1000 x 1000 pixels and the mask of its nuclei."""
    img, mask = img[:1000, :1000, 1].astype(np.float64), mask[:1000, :1000]
    area = np.bincount(nd.label(mask)[0].ravel())[1:]
    area = area[area >= 10]
    od = -np.log10((img + 1) / 256)
    power = np.abs(np.fft.fft2(img - img.mean())) ** 2
    f = np.fft.fftfreq(1000, 1 / 1000)
    r = np.hypot(f[:, None], f)
    bands = [np.log10(power[(r >= a) & (r < b)].mean()) for a, b in ((20, 50), (50, 120), (120, 250), (250, 450))]
    return [len(area), np.median(area), mask.mean(), od[mask].mean(), od[~mask].mean(), od[~mask].std(), *bands]


def compare(folder, shard):
    """Prints statistics of synthetic pictures of 0.25 micrometres a pixel (10 %, median, 90 %) beside those of real ones."""
    names = ["components", "median area", "share of nuclei", "optical density of nuclei, green", "elsewhere", "deviation elsewhere",
             "log10 power, 20 to 50 cycles", "50 to 120", "120 to 250", "250 to 450"]
    drawn = np.array([statistics(np.asarray(m[0][i]), np.asarray(m[1][i]) > 0) for m, i, mpp in data.Shards([shard]).sets])
    real = [statistics(img, mask) for _, img, mask in pairs(folder)]
    for n, d, r in zip(names, drawn.T, np.sort(real, 0).T):
        print(f"{n:32s}", np.quantile(d, [0.1, 0.5, 0.9]).round(2), r.round(2))


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--model", help="weights; needed but for --rise and --compare")
    a.add_argument("--rise", action="store_true", help="compare outlines of --shards with those of --nuclei instead")
    a.add_argument("--compare", action="store_true", help="compare looks of --shards with those of --nuclei instead")
    a.add_argument("--shards")
    a.add_argument("--coarse")
    a.add_argument("--nuclei")
    a.add_argument("--drawn", help="folder of pictures by regions.py")
    a.add_argument("--per", type=int, default=6, help="objects of each of them")
    a.add_argument("--count", type=int, default=12)
    a.add_argument("--threads", type=int, default=1)
    o = a.parse_args()
    torch.set_num_threads(o.threads)
    if o.rise:
        return rises(o.nuclei, o.shards)
    if o.compare:
        return compare(o.nuclei, o.shards)
    sam = load(o.model)
    rng = np.random.default_rng(0)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=False):
        if o.nuclei:
            nuclei(sam, o.nuclei)
        if o.shards:
            shards(sam, o.shards, "nuclei", o.count, rng)
        if o.coarse:
            shards(sam, o.coarse, "regions", o.count, rng)
        if o.drawn:
            drawn(sam, o.drawn, o.per)


if __name__ == "__main__":
    main()
