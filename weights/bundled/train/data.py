"""Shards, augmentation and prompts. See shards/main.go for the format."""

import glob
import json
import os

import numpy as np
from scipy import ndimage as nd


NONE = -1e4  # coordinate of a cell without object


class Shards:
    """Random crops of all complete shards of some folders; picks up new shards as they appear.

    A share of the crops comes from partial pictures (see pseudo.py), if there are any."""

    def __init__(self, dirs, mpp=(0, 1e9), share=0.0):
        self.dirs, self.sets, self.partial, self.seen, self.mpp, self.share = dirs, [], [], set(), mpp, share
        self.refresh()

    def refresh(self):
        for d in self.dirs:
            for idx in sorted(glob.glob(os.path.join(d, "*-index.json"))):
                if idx in self.seen:
                    continue
                self.seen.add(idx)
                base = idx[:-len("index.json")]
                maps = [np.load(base + n + ".npy", mmap_mode="r") for n in ("image", "nuclei", "gland", "flags")]
                for i, e in enumerate(json.load(open(idx))):
                    if self.mpp[0] <= e["mpp"] <= self.mpp[1]:
                        (self.partial if e.get("partial") else self.sets).append((maps, i, e["mpp"]))

    def crop(self, rng, size):
        partial = bool(self.partial) and rng.random() < self.share
        sets = self.partial if partial else self.sets
        maps, i, mpp = sets[rng.integers(len(sets))]
        n = maps[0].shape[1]
        y, x = rng.integers(n - size + 1, size=2)
        k, flip = int(rng.integers(4)), bool(rng.integers(2))
        out = []
        for m in maps:
            a = np.rot90(np.asarray(m[i, y:y + size, x:x + size]), k)
            out.append(np.ascontiguousarray(a[:, ::-1] if flip else a))
        return (*out, mpp, partial)


def augment(rng, img):
    """Colour, light, sharpness and noise. img uint8 [H, W, 3]; returns float32 0..255."""
    x = img.astype(np.float32)
    if rng.random() < 0.9:
        od = -np.log10(np.maximum(x, 2) / 250)
        m = (np.eye(3) * np.exp(rng.normal(0, 0.1, 3)) + rng.normal(0, 0.045, (3, 3))).astype(np.float32)
        gain = np.exp(rng.normal(0, 0.22))
        od = np.maximum(od @ m * gain, 0)
        if rng.random() < 0.3:
            od = od ** np.exp(rng.normal(0, 0.15))
        white = rng.uniform(225, 255, 3) if rng.random() < 0.5 else np.full(3, rng.uniform(228, 255))
        x = 10 ** -od * white.astype(np.float32)
    if rng.random() < 0.04:
        x = np.repeat(x.mean(2, keepdims=True), 3, 2)
    u = rng.random()
    if u < 0.25:
        x = nd.gaussian_filter(x, (s := rng.uniform(0.4, 1.6), s, 0))
    elif u < 0.45:
        x = x + rng.uniform(0.3, 1.2) * (x - nd.gaussian_filter(x, (1.0, 1.0, 0)))
    if rng.random() < 0.4:
        x = x + rng.normal(0, rng.uniform(1, 7), x.shape)
    return np.clip(x, 0, 255).astype(np.float32)


def objects(rng, nuclei, gland, flags, mpp, n):
    """Up to n objects of a crop: (mask [H, W] bool over the object's box, its slice)."""
    H, W = nuclei.shape
    out = []

    def cut_off(s):  # slivers at the border teach little
        return s[0].start == 0 or s[1].start == 0 or s[0].stop == H or s[1].stop == W

    def take(lab, want, least):
        sl = nd.find_objects(lab)
        ids = [i + 1 for i, s in enumerate(sl) if s is not None]
        rng.shuffle(ids)
        got = 0
        for i in ids:
            if got >= want:
                break
            m = lab[sl[i - 1]] == i
            if m.sum() < least or m.sum() < 6 * least and cut_off(sl[i - 1]):
                continue
            out.append((m, sl[i - 1]))
            got += 1

    if mpp < 0.75:
        whole = int(round(n * 0.22))
        take(nuclei.astype(np.int32), n - whole, 14)
        comp, _ = nd.label(nuclei > 0)
        take(comp, whole, 14)
        if nuclei.shape[0] > 200:  # a window must show enough of a gland
            take(gland.astype(np.int32), 1 if rng.random() < 0.5 else 0, 3000)
            tumour, _ = nd.label(flags & 1)
            take(tumour, 1 if rng.random() < 0.1 else 0, 6000)
    else:
        least = 200
        take(gland.astype(np.int32), n - 2, least)
        tumour, _ = nd.label(flags & 1)
        take(tumour, 4, 1500)
        tissue, _ = nd.label(flags & 2)
        if (flags & 2).any() and not (flags & 2).all():
            take(tissue, 1, 1500)
        if mpp < 1.3 and len(out) < n:
            take(nuclei.astype(np.int32), min(n - len(out), 5), 9)
    rng.shuffle(out)
    return out[:n]


def inside(rng, m, centre):
    """A point of mask m as (x, y): the middle or a random one."""
    if centre:
        d = nd.distance_transform_edt(np.pad(m, 1))[1:-1, 1:-1]
        y, x = np.unravel_index(np.argmax(d), m.shape)
    else:
        ys, xs = np.nonzero(m)
        i = rng.integers(len(ys))
        y, x = ys[i], xs[i]
    return x, y


def coverage(m, s, h, w):
    """Share of each 4 x 4 cell that the mask covers: [h/4, w/4]."""
    t = np.zeros((h // 4, w // 4), np.float32)
    y0, y1, x0, x1 = s[0].start // 4, -(-s[0].stop // 4), s[1].start // 4, -(-s[1].stop // 4)
    big = np.zeros(((y1 - y0) * 4, (x1 - x0) * 4), np.float32)
    oy, ox = s[0].start - y0 * 4, s[1].start - x0 * 4
    big[oy:oy + m.shape[0], ox:ox + m.shape[1]] = m
    t[y0:y1, x0:x1] = big.reshape(y1 - y0, 4, x1 - x0, 4).mean((1, 3))
    return t


def dense(nuc, gland, flags, mpp):
    """Targets of model.Dense per 4 x 4 cell: nucleus, border, gland, tumour, and the middle of the
    cell's object in pixels of the crop (x, y; NONE where there is none): [6, H/4, W/4].

    Objects are nuclei, on coarse pictures glands."""
    H, W = nuc.shape
    lab = nuc.astype(np.int64)
    edge = np.zeros((H, W), bool)
    dx, dy = lab[:, 1:] != lab[:, :-1], lab[1:] != lab[:-1]
    edge[:, 1:] |= dx
    edge[:, :-1] |= dx
    edge[1:] |= dy
    edge[:-1] |= dy
    if mpp >= 0.75:
        lab = gland.astype(np.int64)
    area = np.maximum(np.bincount(lab.ravel()), 1)
    cell, out = lab[1::4, 1::4], []
    for grid in (np.arange(W)[None, :].repeat(H, 0), np.arange(H)[:, None].repeat(W, 1)):
        mid = np.bincount(lab.ravel(), grid.ravel()) / area + 0.5
        out.append(np.where(cell > 0, mid[cell], NONE))
    pool = lambda m: m.reshape(H // 4, 4, W // 4, 4).mean((1, 3))
    return np.stack([pool(nuc > 0), pool(edge), pool(gland > 0), pool(flags & 1), *out]).astype(np.float32)


def batch(rng, shards, size, prompts, sub):
    """One crop with the prompts of its sub x sub windows (sub = size: one window).

    Returns a dict of arrays, or None if the crop holds too little; prompts = 0
    gives the picture and its dense targets alone. Coordinates are pixels of the
    window, whose first token in the crop is at."""
    img, nuc, gland, flags, mpp, partial = shards.crop(rng, size)
    out = dict(image=augment(rng, img), dense=dense(nuc, gland, flags, mpp))
    if partial:
        out["dense"][:] = -1  # unknown
    at, pts, boxes, tgt, near = [], [], [], [], []
    for wy in range(0, size if prompts else 0, sub):
        for wx in range(0, size, sub):
            cut = np.s_[wy:wy + sub, wx:wx + sub]
            for m, s in objects(rng, nuc[cut], gland[cut], flags[cut], mpp, prompts):
                y0, y1, x0, x1 = s[0].start, s[0].stop, s[1].start, s[1].stop
                x, y = inside(rng, m, rng.random() < 0.5)
                pts.append((x0 + x, y0 + y))
                box = np.array([x0, y0, x1, y1], np.float32)
                if rng.random() < 0.3:  # hand-drawn boxes are not tight
                    box += np.clip(rng.normal(0, 0.05, 4) * np.array([x1 - x0, y1 - y0] * 2), -16, 16)
                boxes.append(box)
                tgt.append(coverage(m, s, sub, sub))
                # The neighbourhood, where the outline is decided.
                g = np.zeros((sub // 4, sub // 4), np.float32)
                my, mx = max(6, (y1 - y0) // 2), max(6, (x1 - x0) // 2)
                g[max(0, y0 - my) // 4:(y1 + my) // 4 + 1, max(0, x0 - mx) // 4:(x1 + mx) // 4 + 1] = 1
                near.append(g)
                at.append((wy // 16, wx // 16))
    if prompts and len(pts) < 2:
        return None
    if prompts:
        out |= dict(at=np.array(at), points=np.array(pts, np.float32), boxes=np.array(boxes, np.float32),
                    target=np.stack(tgt), near=np.stack(near))
    return out
