"""Trains the prompt encoder and mask decoder alone, on embeddings that are made once: the encoder stays as it is.

    python prompts.py --init ../model.safetensors --nuclei tr,cmu --draw frames --count 180
    python prompts.py --init ../model.safetensors --nothing --draw blank --count 6
    python prompts.py --init ../model.safetensors --embed reg,frames,blank
    python prompts.py --init ../model.safetensors --sets reg:0.5,frames:0.4:0.15:3,blank:0.03 --windows 0.1 --out RUN --seconds 2280

A set is a folder with, for each picture, NNNN.npy (float32 [128, 64, 64], by --embed) and labels
[1024, 1024] or [L, 1024, 1024]: NNNN-labels.npy of regions (regions.py), or NNNN-nuclei.npy of nuclei; the
number is its share of the pictures. Two more, NAME:SHARE:TRUTH:KEEP, weigh the error against the truth and, where
prompts see samples of the frame (sampled.py), that against the masks of --init, which teach what must stay. A folder
called blank holds pictures of nothing, whose boxes ask for ellipses.

Of the embedding a prompt sees a window about its object, of 10, 20 or 32 tokens, or all 64: large objects
and a share --whole of the others.
"""

import argparse
import glob
import math
import os
import time

import cv2
import numpy as np
import torch
from safetensors.torch import load_file
from scipy import ndimage as nd

import data
import evaluate
import model
import sampled
import train

SIDES = (10, 20, 32, model.GRID)  # tokens of a window
ROOM = 3  # of them beside the object
COARSE = 0.75  # micrometres of a pixel from which pictures show regions


class Embedded:
    """The pictures of a folder that have an embedding; new ones are seen as they appear."""

    def __init__(self, folder):
        self.folder = folder

    def names(self):
        return sorted(f[:-4] for f in glob.glob(os.path.join(self.folder, "[0-9]*.npy")) if "-" not in os.path.basename(f))

    def pick(self, rng):
        names = self.names()
        if not names:
            raise ValueError(f"{self.folder} holds no embeddings NNNN.npy: make them with --embed")
        return names[rng.integers(len(names))]


def embed(sam, folder):
    """Writes the embedding NNNN.npy of each picture NNNN.png of a folder that has none."""
    for f in sorted(glob.glob(os.path.join(folder, "[0-9]*.png"))):
        to = f[:-4] + ".npy"
        if not os.path.exists(to):
            np.save(to + ".part.npy", evaluate.embed(sam, cv2.imread(f)[:, :, ::-1].copy()).numpy())
            os.replace(to + ".part.npy", to)


def draw(rng, shards, folder, count, plain):
    """Pictures of nuclei as training sees them, paler, overlaid and augmented, a share plain as they are, from shards; of
    glands, tumour and tissue from coarse ones, a share plain not augmented; of nothing without shards."""
    os.makedirs(folder, exist_ok=True)
    for i in range(count):
        base = os.path.join(folder, f"{i:04d}")
        as_is = rng.random() < plain
        if shards is None:
            img = data.blank(rng, model.SIZE, 0.25 if i % 2 else 1.4)
        else:
            img, nuc, gland, flags, mpp, partial = shards.crop(rng, model.SIZE)
            if mpp >= COARSE:
                np.save(base + "-labels.npy", np.stack([m.astype(np.uint16) for m in (gland, nd.label(flags & 1)[0], nd.label(flags & 2)[0] * (not (flags & 2).all()))]))
            else:
                np.save(base + "-nuclei.npy", nuc.astype(np.uint16))  # training displaces outlines anew each time
                if not as_is:
                    img = data.fade(rng, img.astype(np.float32), nuc, mpp)
                    if not partial and rng.random() < 0.5 and (texture := shards.texture(rng, model.SIZE)) is not None:
                        img = data.overlay(rng, img, texture)
            if not as_is:
                img = data.augment(rng, img, mpp)
        cv2.imwrite(base + ".png", img[:, :, ::-1])


def displaced(rng, m, s, side):
    """A mask of a picture of side x side pixels and its slice moved, grown or shrunk by up to some pixels, as outlines of real nuclei are: see data.redraw."""
    sd = 2.4 if rng.random() < 0.35 else 1.4
    dy, dx = np.rint(rng.normal(0, sd / math.sqrt(2), 2) * 1.2).astype(int)
    m = np.pad(m, 3)
    u = rng.random()
    if u < 0.3:
        m = nd.binary_dilation(m)
    elif u < 0.5 and m.sum() > 80:
        m = nd.binary_erosion(m)
    y0, x0 = s[0].start - 3 + dy, s[1].start - 3 + dx
    a, b = max(0, -y0), max(0, -x0)
    m = m[a:side - y0, b:side - x0]
    ys, xs = np.flatnonzero(m.any(1)), np.flatnonzero(m.any(0))
    if not len(ys):
        return None
    y0, x0 = y0 + a, x0 + b
    return m[ys[0]:ys[-1] + 1, xs[0]:xs[-1] + 1], (slice(y0 + ys[0], y0 + ys[-1] + 1), slice(x0 + xs[0], x0 + xs[-1] + 1))


def objects(rng, base, count):
    """Up to count objects of a picture, as data.objects gives them, and whether the picture shows nothing."""
    if os.path.basename(os.path.dirname(base)) == "blank":
        return data.ellipses(rng, model.SIZE, count, *((10, 70) if rng.random() < 0.5 else (60, 900))), True
    if os.path.exists(base + "-nuclei.npy"):
        return cells(rng, np.load(base + "-nuclei.npy"), count), False
    return regions(rng, np.load(base + "-labels.npy"), count), False


def cells(rng, nuc, count):
    """Up to count nuclei of labels nuc, most with outlines displaced."""
    none = np.zeros_like(nuc, np.uint8)
    some = data.objects(rng, nuc, none, none, 0.25, count)
    if rng.random() < 0.8:
        some = [d for m, s in some if (d := displaced(rng, m, s, len(nuc))) is not None and d[0].sum() >= 10]
    return some


def regions(rng, labels, count):
    """Up to count objects of labels [n, n] or [L, n, n]: of the second layer and those below, parts of objects, no more than of the first or four."""
    n, out = labels.shape[-1], []
    for layer, lab in enumerate(labels.reshape(-1, n, n)):
        some = []
        for i, s in enumerate(nd.find_objects(lab.astype(np.int32))):
            if s is None:
                continue
            m = lab[s] == i + 1
            cut = s[0].start == 0 or s[1].start == 0 or s[0].stop == n or s[1].stop == n
            if m.sum() >= (400 if cut else 80):
                some.append((m, s))
        if layer == 0:
            most = max(4, len(some))
        elif len(some) > most:
            some = [some[i] for i in rng.permutation(len(some))[:most]]
        out += some
    # Large ones are few: each counts by the fourth root of its area.
    weight = [m.sum() ** 0.25 * (2.0 if m.mean() < 0.62 else 1.0) for m, _ in out]
    order = np.argsort([-rng.random() ** (1 / w) for w in np.array(weight) / max(weight, default=1)])
    return [out[i] for i in order[:count]]


def batch(rng, some, sure, n=model.SIZE):
    """The tensors of train.rounds for objects of one picture of n x n pixels."""
    g = dict(points=[], boxes=[], tight=[], target=[])
    for m, s in some:
        y0, y1, x0, x1 = s[0].start, s[0].stop, s[1].start, s[1].stop
        x, y = data.inside(rng, m, rng.random() < 0.6)
        g["points"].append((x0 + x + 0.5, y0 + y + 0.5))
        box = np.array([x0, y0, x1, y1], np.float32)
        g["tight"].append(box.copy())
        if not sure and rng.random() < 0.15:
            box += np.clip(rng.normal(0, 0.05, 4) * np.array([x1 - x0, y1 - y0] * 2), -16, 16)
        g["boxes"].append(box)
        g["target"].append(data.coverage(m, s, n, n))
    g = {k: torch.from_numpy(np.array(v, np.float32)) for k, v in g.items()}
    return g | dict(sure=torch.full((len(some),), sure), of=torch.zeros(len(some), dtype=torch.long),
                    at=torch.zeros(len(some), 2, dtype=torch.long))


def step(sam, emb, place, g, rng, o):
    """The losses of one picture's prompts, run backward, each in the smallest window that holds its object. Statistics as of train.rounds."""
    grid = model.GRID
    flat = emb.flatten(1).T
    extent = (g["tight"][:, 2:] - g["tight"][:, :2]).amax(1).numpy()
    side = np.searchsorted([(s - ROOM) * model.PATCH for s in SIDES[:-1]], extent)
    side = np.where(rng.random(len(side)) < o.whole, len(SIDES) - 1, side)
    most = np.flatnonzero(side == len(SIDES) - 1)[o.largest:]  # a prompt in the whole frame costs as much as forty in a small window
    side[most] = -1
    n, stats = int((side >= 0).sum()), []
    for k, w in enumerate(SIDES):
        part = torch.from_numpy(np.flatnonzero(side == k))
        if not len(part):
            continue
        p = {name: v[part] for name, v in g.items()}
        tokens = torch.arange(grid * grid).expand(len(part), -1)
        if w < grid:
            # Objects need not be in the middle of what is seen.
            off = torch.from_numpy(rng.uniform(-1, 1, (len(part), 2))) * 0.5 * (w - 2 - (p["tight"][:, 2:] - p["tight"][:, :2]) / model.PATCH).clamp(min=0)
            first = ((p["tight"][:, :2] + p["tight"][:, 2:]) / 2 / model.PATCH - w / 2 + off).round().long().clamp(0, grid - w).flip(1)
            r = torch.arange(w)
            tokens = ((first[:, :1] + r)[:, :, None] * grid + (first[:, 1:] + r)[:, None, :]).flatten(1)
            cells = model.by_token(p["target"]).gather(1, tokens[:, :, None].expand(-1, -1, 16))
            shift = (first.flip(1) * model.PATCH).float()
            p |= dict(target=model.spread_cells(cells, w, w), at=first, points=p["points"] - shift,
                      boxes=p["boxes"] - shift.repeat(1, 2), tight=p["tight"] - shift.repeat(1, 2))
        stats += train.rounds(sam, flat, place, p | dict(tokens=tokens), rng, o.clicks, 16 if w <= 10 else 4, n, o.exact)
    return stats


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--init", required=True)
    a.add_argument("--resume", help="a run's file, to go on from its averaged weights; --init stays the teacher")
    a.add_argument("--embed", help="folders, with commas, whose pictures get embeddings; then no training")
    a.add_argument("--draw", help="folder to draw --count pictures into, of --nuclei, --coarse or --nothing; then no training")
    a.add_argument("--nuclei", help="shards of 1024 x 1024, with commas")
    a.add_argument("--coarse", help="shards of 1024 x 1024 of 0.75 micrometres a pixel and more, with commas")
    a.add_argument("--partial", type=float, default=0.08, help="share of --draw's pictures that come from those with pseudo-labels")
    a.add_argument("--plain", type=float, default=0, help="share of --draw's pictures that stay as they are in the shards")
    a.add_argument("--nothing", action="store_true")
    a.add_argument("--count", type=int, default=100)
    a.add_argument("--sets")
    a.add_argument("--out")
    a.add_argument("--prompts", type=int, default=16, help="of a picture")
    a.add_argument("--pictures", type=int, default=2, help="of a step")
    a.add_argument("--largest", type=int, default=3, help="at most so many prompts of a picture see the whole frame")
    a.add_argument("--whole", type=float, default=0.06)
    a.add_argument("--windows", type=float, default=1, help="share of the pictures whose prompts see windows; the others' see samples of the frame, see sampled.py")
    a.add_argument("--clicks", type=float, default=0.25)
    a.add_argument("--exact", type=float, default=6)
    a.add_argument("--lr", type=float, default=5e-4)
    a.add_argument("--lr-end", type=float, default=1e-5)
    a.add_argument("--warm", type=int, default=20)
    a.add_argument("--ema", type=float, default=0.985)
    a.add_argument("--seed", type=int, default=1)
    a.add_argument("--seconds", type=float, default=600)
    a.add_argument("--every", type=float, default=240, help="seconds between checkpoints")
    o = a.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(o.seed)
    rng = np.random.default_rng(o.seed)
    if o.draw:
        if sum(map(bool, (o.nuclei, o.coarse, o.nothing))) != 1:
            a.error("--draw wants one of --nuclei, --coarse and --nothing")
        names, scales = o.nuclei or o.coarse, (COARSE, 1e9) if o.coarse else (0, COARSE)
        return draw(rng, None if o.nothing else data.Shards(names.split(","), scales, o.partial, model.SIZE), o.draw, o.count, o.plain)
    if o.embed:
        sam = evaluate.load(o.init)
        for folder in o.embed.split(","):
            embed(sam, folder)
        return
    if not o.sets or not o.out:
        a.error("training wants --sets and --out")
    os.makedirs(o.out, exist_ok=True)
    sets = [(Embedded(f), *map(float, v)) for f, *v in (s.split(":") for s in o.sets.split(","))]
    sets = [s if len(s) == 4 else (*s, 1.0, 0.0) for s in sets]
    share = np.array([s[1] for s in sets]) / sum(s[1] for s in sets)
    sam, teacher = model.build(), model.build()
    for m in (sam, teacher):
        m.load_state_dict({k: v.float() for k, v in load_file(o.init).items()}, strict=False)
    if o.resume:
        sam.load_state_dict(torch.load(o.resume, map_location="cpu")["ema"])
    for name, p in sam.named_parameters():
        p.requires_grad_(not name.startswith("image_encoder."))
    params = [p for p in sam.parameters() if p.requires_grad]
    opts = train.optimisers(sam, torch.nn.Module(), o.lr)
    ema = {k: v.clone() for k, v in sam.state_dict().items()}
    start = last = saved = time.time()
    count, mean = 0, {}

    def save(name):
        torch.save(dict(ema=ema, model=sam.state_dict(), step=count), os.path.join(o.out, "part"))
        os.replace(os.path.join(o.out, "part"), os.path.join(o.out, name))

    while (t := (time.time() - start) / o.seconds) < 1:
        lr = o.lr_end + (o.lr - o.lr_end) * 0.5 * (1 + math.cos(math.pi * t))
        for g in (g for opt in opts for g in opt.param_groups):
            g["lr"] = lr * min(1, (count + 1) / o.warm)
        for p in params:
            p.grad = None
        with torch.no_grad():
            place = model.places(sam, [(0, 0)], model.GRID, model.GRID)[0]
        for _ in range(o.pictures):
            k = int(rng.choice(len(sets), p=share))
            base = sets[k][0].pick(rng)
            some, sure = objects(rng, base, o.prompts)
            if not some:
                continue
            emb = torch.from_numpy(np.load(base + ".npy"))
            b = batch(rng, some, sure)
            if rng.random() < o.windows:
                stats = step(sam, emb, place, b, rng, o)
            else:
                stats = sampled.step(sam, teacher, emb, place, b, rng, o.exact, *sets[k][2:])
            loss, box, true, off = (torch.cat([s[i] if s[i].ndim else s[i][None] for s in stats]) for i in range(4))
            now = np.array([loss.sum() / len(true), true[box].mean(), true[~box].mean(), off.mean()])
            old = mean.get(k, now)
            mean[k] = np.where(np.isnan(now), old, np.where(np.isnan(old), now, 0.95 * old + 0.05 * now))
        for p in params:
            if p.grad is not None:
                p.grad /= o.pictures
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        for opt in opts:
            opt.step()
        count += 1
        d = min(o.ema, (1 + count) / (10 + count))
        with torch.no_grad():
            now = sam.state_dict()
            torch._foreach_lerp_([ema[k] for k in now], list(now.values()), 1 - d)
        if count % 10 == 0:
            said = "; ".join(f"{os.path.basename(sets[k][0].folder)} loss {v[0]:.3f} box {v[1]:.3f} point {v[2]:.3f} off {v[3]:.3f}" for k, v in sorted(mean.items()))
            print(f"{time.strftime('%H:%M:%S')} {count} {(time.time() - last) / 10:.2f} s lr {lr:.1e} {said}", flush=True)
            last = time.time()
        if time.time() - saved > o.every:
            saved = time.time()
            save(f"step{count}.pt")
    save("last.pt")


if __name__ == "__main__":
    main()
