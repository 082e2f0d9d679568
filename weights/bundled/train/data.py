"""Shards, augmentation and prompts. See shards/main.go for the format."""

import glob
import json
import os

import cv2
import numpy as np
from scipy import ndimage as nd


class Shards:
    """Random crops of all complete shards of some folders whose pictures have at least some pixels a side; picks up new shards as they appear.

    A share of the crops comes from partial pictures (see pseudo.py), if there are any."""

    def __init__(self, dirs, mpp=(0, 1e9), share=0.0, side=0):
        self.dirs, self.sets, self.partial, self.real, self.seen, self.mpp, self.share, self.side = dirs, [], [], [], set(), mpp, share, side
        self.refresh()

    def refresh(self):
        for d in self.dirs:
            for idx in sorted(glob.glob(os.path.join(d, "*-index.json"))):
                if idx in self.seen:
                    continue
                self.seen.add(idx)
                base = idx[:-len("index.json")]
                maps = [np.load(base + n + ".npy", mmap_mode="r") for n in ("image", "nuclei", "gland", "flags")]
                index = json.load(open(idx))
                self.real += [(maps[0], i) for i, e in enumerate(index) if e.get("partial")]
                if maps[0].shape[1] < self.side:
                    continue
                for i, e in enumerate(index):
                    if self.mpp[0] <= e["mpp"] <= self.mpp[1]:
                        (self.partial if e.get("partial") else self.sets).append((maps, i, e["mpp"]))

    def texture(self, rng, size):
        """A part of a picture of a real slide, enlarged up to 2.5 times: float32 [size, size, 3] of 0..255; None if there are none."""
        if not self.real:
            return None
        m, i = self.real[rng.integers(len(self.real))]
        n = m.shape[1]
        s = min(n, int(size / rng.uniform(1, 2.5)))
        y, x = rng.integers(n - s + 1, size=2)
        a = np.rot90(np.asarray(m[i, y:y + s, x:x + s]), rng.integers(4))
        return cv2.resize(a.astype(np.float32), (size, size), interpolation=cv2.INTER_CUBIC).clip(0, 255)

    def crop(self, rng, size, vary=True):
        """Image, nuclei, glands and flags of a random part [size, size], its scale, and whether its labels are partial.

        vary: more than half of the fine parts are resized, to 0.125 to 0.5 micrometres per pixel and up to 2.2 times as large."""
        partial = bool(self.partial) and rng.random() < self.share
        sets = self.partial if partial else self.sets
        if not sets:
            raise ValueError(f"no complete shard in {self.dirs} has pictures of {self.mpp[0]:g} to {self.mpp[1]:g} micrometres a pixel "
                             f"and at least {self.side} pixels a side with all labels: draw some with shards/, see README.md")
        maps, i, mpp = sets[rng.integers(len(sets))]
        n = maps[0].shape[1]
        part = size
        if vary and mpp < 0.75 and rng.random() < 0.55:
            to = np.exp(rng.uniform(np.log(max(0.125, mpp / 2.2)), np.log(min(0.5, mpp / 0.8))))
            part = min(n, int(size * to / mpp))
        y, x = rng.integers(n - part + 1, size=2)
        k, flip = int(rng.integers(4)), bool(rng.integers(2))
        out = []
        for m in maps:
            a = np.rot90(np.asarray(m[i, y:y + part, x:x + part]), k)
            a = np.ascontiguousarray(a[:, ::-1] if flip else a)
            if part != size:
                how = cv2.INTER_NEAREST if a.ndim == 2 else cv2.INTER_LINEAR if part < size else cv2.INTER_AREA
                a = cv2.resize(a, (size, size), interpolation=how)
            out.append(a)
        return (*out, mpp * part / size, partial)


def augment(rng, img, mpp=0.25):
    """Colour, light, sharpness and noise. img [H, W, 3] of 0..255; returns uint8.

    Optics blur some tenths of a micrometre, which are fewer pixels at coarse scales; programs
    sharpen pixels at any scale."""
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
        x = cv2.GaussianBlur(x, (0, 0), max(0.15, rng.uniform(0.4, 1.6) * min(1, 0.5 / mpp)))
    elif u < 0.45:
        x = x + rng.uniform(0.3, 1.2) * (x - cv2.GaussianBlur(x, (0, 0), 1.0))
    if rng.random() < 0.4:
        x = x + rng.normal(0, rng.uniform(1, 7), x.shape)
    return np.clip(x + 0.5, 0, 255).astype(np.uint8)


def smooth(rng, h, w, step):
    """A random field [h, w] of deviation about 1 that varies over step pixels."""
    low = rng.standard_normal((h // step + 2, w // step + 2), dtype=np.float32)
    return cv2.resize(low, (w, h), interpolation=cv2.INTER_CUBIC)


def fade(rng, img, nuclei, mpp):
    """Nuclei paler, uneven and softer at the border than drawn, over the colour of their surroundings.

    Real outlines are often not where the stain is steepest: chromatin is clumped,
    nuclei are cut above or below their middle. img float32 [H, W, 3] of 0..255."""
    h, w = nuclei.shape
    px = 0.25 / mpp
    od = -np.log10(np.maximum(img, 2) / 255)
    out = cv2.erode((nuclei == 0).astype(np.uint8), np.ones((3, 3), np.uint8)).astype(np.float32)
    part = lambda m: cv2.GaussianBlur(cv2.resize(m, (w // 4, h // 4), interpolation=cv2.INTER_AREA), (0, 0), 3 * px + 1)
    ground = part(od * out[:, :, None]) / (part(out)[:, :, None] + 1e-3)
    ground = cv2.resize(ground, (w, h), interpolation=cv2.INTER_LINEAR)
    n = int(nuclei.max()) + 1
    keep = np.clip(rng.normal(rng.uniform(0.55, 1), rng.uniform(0.05, 0.25), n), 0.2, 1.15).astype(np.float32)[nuclei]
    if rng.random() < 0.7:  # darkest in the middle, for some nuclei
        mask = (nuclei > 0).astype(np.float32)
        deep = np.clip(2 * cv2.GaussianBlur(mask, (0, 0), rng.uniform(0.8, 2.5) * px) - 1, 0, 1)
        much = (rng.random(n) * rng.uniform(0.2, 1)).astype(np.float32)[nuclei]
        keep *= 1 - much * (1 - deep)
    if rng.random() < 0.7:
        keep *= np.clip(1 + rng.uniform(0.1, 0.5) * smooth(rng, h, w, max(2, round(rng.uniform(3, 9) * px))), 0.1, 1.6)
    od = np.where((nuclei > 0)[:, :, None], ground + (od - ground) * keep[:, :, None], od)
    return 10 ** -od * 255


def overlay(rng, img, texture):
    """A picture with a share of the stain's variation of another over it, as of tissue above or below the focus."""
    vary = -np.log10(np.maximum(texture, 8) / 255)
    return img * 10 ** (-rng.uniform(0.1, 0.55) * (vary - vary.mean((0, 1))))


def redraw(rng, nuclei, mpp, shift=1.0):
    """Labels as people draw them: outlines beside, outside or inside of the stain's edge, and wavering.

    Lengths in pixels of 0.25 micrometres. All outlines of a picture are displaced
    (deviation 1.1, as masks and pictures are by their way through annotation
    programs) and each by itself (0.9); they lie -1.1 to 1.3 from the stain's edge in a
    whole picture (an annotator's habit), 0.8 from nucleus to nucleus and up to 1.7 along
    one, so that the stain's mean rise across outlines is as wide as in real pictures.
    A box then tells what a picture does not: where this outline ends. A third of the
    pictures teach just that: outlines far off (2.2) that waver little. shift: what displacements
    are multiplied by; 0 where no box tells of them."""
    h, w = nuclei.shape
    px = 0.25 / mpp
    grown = nuclei.copy()
    for _ in range(int(np.ceil(7 * px))):
        grown = np.where(grown == 0, cv2.dilate(grown, np.ones((3, 3), np.uint8)), grown)
    s, n = 2.5 * px, int(grown.max()) + 1
    soft = cv2.GaussianBlur((nuclei > 0).astype(np.float32), (0, 0), s)
    far = rng.random() < 0.35
    to = ((rng.normal(0, 1.1, 2) + rng.normal(0, 2.2 if far else 0.9, (n, 2))) * px * shift).astype(np.float32)
    x, y = np.meshgrid(np.arange(w, dtype=np.float32), np.arange(h, dtype=np.float32))
    x, y = x - to[grown, 0], y - to[grown, 1]
    soft = cv2.remap(soft, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    off = (rng.uniform(-1.1, 1.3) + rng.normal(0, 0.8, n).astype(np.float32))[grown]
    off += rng.uniform(0.1, 0.5 if far else 1.7) * smooth(rng, h, w, round(rng.uniform(11, 24) * px))
    # A blurred straight edge is Phi(d / s) at distance d inside; Phi is close to a logistic.
    return np.where(soft > 1 / (1 + np.exp(1.702 * off * px / s)), grown, 0)


def objects(rng, nuclei, gland, flags, mpp, n):
    """Up to n objects of a crop: (mask [H, W] bool over the object's box, its slice)."""
    H, W = nuclei.shape
    out = []

    def cut_off(s):  # slivers at the border teach little
        return s[0].start == 0 or s[1].start == 0 or s[0].stop == H or s[1].stop == W

    def take(lab, want, least, hard=1.0, sliver=6):
        """Takes up to want objects of at least so many pixels, of those cut off by the border sliver times as many;
        those that leave much of their boxes to others, slanting or in a row, are hard times as likely: they fill
        less than 0.62 of it, an upright ellipse 0.785."""
        some = [(lab[s] == i + 1, s) for i, s in enumerate(nd.find_objects(lab)) if s is not None]
        some = [(m, s) for m, s in some if m.sum() >= (sliver if cut_off(s) else 1) * least]
        weight = [hard if m.mean() < 0.62 else 1.0 for m, _ in some]
        order = np.argsort([-rng.random() ** (1 / w) for w in weight])
        out.extend(some[i] for i in order[:want])

    if mpp < 0.75:
        whole = int(round(n * 0.3))
        take(nuclei.astype(np.int32), n - whole, 14, 3)
        comp, _ = nd.label(nuclei > 0)
        take(comp, whole, 14, 6)
        take(gland.astype(np.int32), 1 if rng.random() < 0.5 else 0, 3000)
        tumour, _ = nd.label(flags & 1)
        take(tumour, 1 if rng.random() < 0.1 else 0, 6000)
    else:
        least = 200
        take(gland.astype(np.int32), n // 2, least)
        tumour, _ = nd.label(flags & 1)
        for _ in range(3):  # few and hard: three prompts each
            take(tumour, 4, 1500, sliver=1)
        tissue, _ = nd.label(flags & 2)
        if (flags & 2).any() and not (flags & 2).all():
            take(tissue, 1, 1500)
        if mpp < 1 and len(out) < n:
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


def dense(nuc, gland, flags):
    """Targets of model.Dense, the share of each 4 x 4 cell: nucleus, border, gland, tumour [4, H/4, W/4]."""
    H, W = nuc.shape
    lab = nuc.astype(np.int64)
    edge = np.zeros((H, W), bool)
    dx, dy = lab[:, 1:] != lab[:, :-1], lab[1:] != lab[:-1]
    edge[:, 1:] |= dx
    edge[:, :-1] |= dx
    edge[1:] |= dy
    edge[:-1] |= dy
    pool = lambda m: m.reshape(H // 4, 4, W // 4, 4).mean((1, 3))
    return np.stack([pool(nuc > 0), pool(edge), pool(gland > 0), pool(flags & 1)]).astype(np.float32)


def blank(rng, size, mpp):
    """A picture [size, size, 3] without objects: a colour of tissue or glass, shades and noise, always augmented."""
    x = rng.uniform(90, 250, 3) * np.ones((size, size, 1), np.float32)
    for step in (int(rng.uniform(3, 12)), int(rng.uniform(20, 90))):
        x += rng.uniform(0, 14) * smooth(rng, size, size, step)[:, :, None]
    return augment(rng, x.clip(0, 255), mpp)


def ellipses(rng, size, n, least, most):
    """Masks of n ellipses whose axes have least to most pixels, as objects gives them."""
    out = []
    for _ in range(n):
        w, h = np.exp(rng.uniform(np.log(least), np.log(most), 2)).astype(int)
        x, y = rng.integers(size - w + 1), rng.integers(size - h + 1)
        d = ((np.arange(h)[:, None] + 0.5) / h * 2 - 1) ** 2 + ((np.arange(w) + 0.5) / w * 2 - 1) ** 2
        out.append((d <= 1, (slice(y, y + h), slice(x, x + w))))
    return out


def one(rng, shards, size, prompts, vary=True, nothing=0.0):
    """One crop with its prompts. Returns a dict of arrays, or None if the crop holds too little; prompts = 0
    gives the picture and its dense targets alone. Coordinates are pixels of the crop. vary: resize, fade, overlay
    and redraw fine pictures, augment all.

    A share nothing of the pictures shows nothing; boxes on it ask for their inscribed ellipses: where the picture
    does not say, the box does. Only boxes are prompts there (key sure)."""
    empty = rng.random() < nothing
    if empty:
        # As large as regions, or as nuclei.
        least, most, mpp = (60, 0.95 * size, 1.4) if shards.mpp[0] >= 0.75 else (10, 70, 0.25)
        obj = ellipses(rng, size, prompts, least, most)
        out = dict(image=blank(rng, size, mpp), dense=np.full((4, size // 4, size // 4), -1, np.float32))
    else:
        img, nuc, gland, flags, mpp, partial = shards.crop(rng, size, vary)
        if vary and mpp < 0.75:
            img = img.astype(np.float32)
            if rng.random() < 0.75:
                img = fade(rng, img, nuc, mpp)
            if not partial and rng.random() < 0.5 and (texture := shards.texture(rng, size)) is not None:
                img = overlay(rng, img, texture)
            if rng.random() < 0.75:
                nuc = redraw(rng, nuc, mpp)
        out = dict(image=augment(rng, img, mpp) if vary else img, dense=dense(nuc, gland, flags))
        if partial:
            out["dense"][:] = -1  # unknown
        if prompts:
            obj = objects(rng, nuc, gland, flags, mpp, prompts)
    if not prompts:
        return out
    pts, boxes, tight, tgt = [], [], [], []
    for m, s in obj:
        y0, y1, x0, x1 = s[0].start, s[0].stop, s[1].start, s[1].stop
        x, y = inside(rng, m, rng.random() < 0.6)
        pts.append((x0 + x + 0.5, y0 + y + 0.5))
        box = np.array([x0, y0, x1, y1], np.float32)
        tight.append(box.copy())
        if not empty and rng.random() < 0.15:  # hand-drawn boxes are not tight
            box += np.clip(rng.normal(0, 0.05, 4) * np.array([x1 - x0, y1 - y0] * 2), -16, 16)
        boxes.append(box)
        tgt.append(coverage(m, s, size, size))
    if len(pts) < 2:
        return None
    return out | dict(points=np.array(pts, np.float32), boxes=np.array(boxes, np.float32), tight=np.array(tight, np.float32),
                      target=np.stack(tgt), sure=np.full(len(pts), empty))


def batch(rng, shards, size, crops, prompts, plain=0.0, nothing=0.0):
    """Several crops and all their prompts in one: image [B, H, W, 3], dense [B, 4, H/4, W/4], and points, boxes, tight,
    sure and target [P, ...] with the number of their crop, of [P]. A share plain of the crops is not varied, see one."""
    some = []
    while len(some) < crops:
        if (b := one(rng, shards, size, prompts, rng.random() >= plain, nothing)) is not None:
            some.append(b)
    join = {k: np.stack([b[k] for b in some]) for k in ("image", "dense")}
    if prompts:
        join |= {k: np.concatenate([b[k] for b in some]) for k in ("points", "boxes", "tight", "target", "sure")}
        join["of"] = np.repeat(np.arange(crops), [len(b["points"]) for b in some])
    return join
