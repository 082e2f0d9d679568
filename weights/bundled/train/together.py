"""Trains the encoder together with prompt encoder and mask decoder, from a trained model, on pictures with all their prompts at once.

    python together.py --teacher ../model.safetensors --resume run2/last.pt --regions reg:0.3,frag:0.2 --nuclei frames:0.15:3,real:0:3 --out run3 --seconds 3000

Pictures are those that regions.py and prompts.py --draw make, NNNN.png with NNNN-labels.npy of regions, FOLDER:SHARE, or
NNNN-nuclei.npy of nuclei, FOLDER:TRUTH:KEEP with weights of the error against the truth and against the masks of --teacher. Each
is seen turned, in other colours, as a whole or in part, in 512 x 512 pixels at a place of the frame or, a share --frames of those of nuclei
and --region-frames of those of regions, in all of it: a frame costs a core eight times as much, but without it no prompt asks for what is larger
than half a frame. On nuclei the embedding is kept as well, as other decoders
read it: --embedding weighs its squared distance from the teacher's over the variance.

A helper tells from each token of a region's picture which cells are inside of an object and which at a border; it is thrown away.
"""

import argparse
import glob
import json
import math
import os
import time

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

import data
import evaluate
import model
import prompts
import sampled
import train

PART = 512  # pixels of what is not a whole frame
KINDS = ("", "points", "mask", "click")  # of prompts, see sampled.prompted


def recoloured(rng, img):
    """Other stain, white and light: img [n, n, 3] of 0..255."""
    od = -np.log10(np.maximum(img.astype(np.float32), 2) / 255)
    m = np.eye(3) * np.exp(rng.normal(0, 0.12, 3)) + rng.normal(0, 0.04, (3, 3))
    od = np.maximum(od @ m.astype(np.float32) * np.exp(rng.normal(0, 0.15)), 0)
    return 10 ** -od * rng.uniform(232, 255, 3).astype(np.float32)


def view(rng, base, nuclei, size):
    """A picture as training sees it, [size, size, 3] of 0..255, and its labels: nuclei keep their scale, regions are shrunk to any part of it."""
    img = cv2.imread(base + ".png")[:, :, ::-1]
    lab = np.load(base + ("-nuclei.npy" if nuclei else "-labels.npy"))
    n, lab = len(img), lab.reshape(-1, *lab.shape[-2:])
    if size < n:
        side = size if nuclei else n if rng.random() < 0.5 else int(math.exp(rng.uniform(math.log(size), math.log(n))))
        y, x = rng.integers(n - side + 1, size=2)
        img, lab = img[y:y + side, x:x + side], lab[:, y:y + side, x:x + side]
        if side > size:
            img = cv2.resize(img, (size, size), interpolation=cv2.INTER_AREA)
            lab = np.stack([cv2.resize(m, (size, size), interpolation=cv2.INTER_NEAREST) for m in lab])
    if not nuclei and rng.random() < 0.3:  # as a thumbnail is enlarged to the frame
        small = round(size / rng.uniform(1.5, 6))
        img = cv2.resize(cv2.resize(img, (small, small), interpolation=cv2.INTER_AREA), (size, size), interpolation=cv2.INTER_LINEAR)
    k = int(rng.integers(4))
    img, lab = np.rot90(img, k), np.rot90(lab, k, (1, 2))
    if rng.random() < 0.5:
        img, lab = img[:, ::-1], lab[:, :, ::-1]
    if rng.random() < (0.5 if nuclei else 0.8):
        img = recoloured(rng, img)
    return np.ascontiguousarray(img), np.ascontiguousarray(lab)


def cells(lab):
    """By token of labels [n, n] the share of each of its 16 cells inside of objects and at their borders: [N, 32]."""
    n = len(lab) // 4
    edge = np.zeros(lab.shape, bool)
    edge[:, 1:] |= lab[:, 1:] != lab[:, :-1]
    edge[1:] |= lab[1:] != lab[:-1]
    both = np.stack([lab > 0, edge]).reshape(2, n, 4, n, 4)
    both = torch.from_numpy(np.stack([both[0].mean((1, 3)), both[1].max((1, 3))]).astype(np.float32))
    return model.by_token(both).permute(1, 0, 2).flatten(1)


def names(folder):
    found = sorted(f[:-4] for f in glob.glob(os.path.join(folder, "[0-9]*.png")))
    if not found:
        raise ValueError(f"{folder} holds no pictures NNNN.png")
    return found


def shows_objects(base):
    """Whether the helper learns from a picture: one of regions.py whose ground can be told from its objects."""
    if not os.path.exists(base + ".json"):
        return False
    with open(base + ".json") as f:
        return json.load(f)["kind"] != "shapes"


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--teacher", required=True, help="weights that tell what must stay")
    a.add_argument("--resume", required=True, help="a run's file, to go on from its averaged weights")
    a.add_argument("--regions", required=True)
    a.add_argument("--nuclei", required=True)
    a.add_argument("--out", required=True)
    a.add_argument("--keep", type=float, default=0.4, help="share of the pictures that show nuclei")
    a.add_argument("--kinds", default="0.7,0.12,0.06,0.12", help="shares of prompts: box or point, several points, a mask, a click on an error")
    a.add_argument("--frames", type=float, default=0.08, help="share of the pictures of nuclei seen as whole frames")
    a.add_argument("--region-frames", type=float, default=0.4)
    a.add_argument("--first", type=int, default=0, help="the first of the encoder's blocks that learns")
    a.add_argument("--prompts", type=int, default=10, help="of a picture")
    a.add_argument("--pictures", type=int, default=3, help="of a step")
    a.add_argument("--embedding", type=float, default=4)
    a.add_argument("--helper", type=float, default=0.5, help="weight of the helper's error")
    a.add_argument("--exact", type=float, default=6)
    a.add_argument("--lr", type=float, default=4e-4)
    a.add_argument("--lr-end", type=float, default=4e-6)
    a.add_argument("--warm", type=int, default=20)
    a.add_argument("--ema", type=float, default=0.985)
    a.add_argument("--seed", type=int, default=1)
    a.add_argument("--seconds", type=float, default=600)
    a.add_argument("--every", type=float, default=600, help="seconds between checkpoints")
    o = a.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    torch.manual_seed(o.seed)
    rng = np.random.default_rng(o.seed)
    os.makedirs(o.out, exist_ok=True)
    regions = [(f, float(share)) for f, share in (s.split(":") for s in o.regions.split(","))]
    share = np.array([s for _, s in regions]) / sum(s for _, s in regions)
    nuclei = [(f, float(truth), float(keep)) for f, truth, keep in (s.split(":") for s in o.nuclei.split(","))]
    often = np.array([len(names(f)) for f, *_ in nuclei], float)
    kinds = np.array([float(v) for v in o.kinds.split(",")])
    sam, teacher = model.build(), model.build()
    teacher.load_state_dict({k: v.float() for k, v in load_file(o.teacher).items()}, strict=False)
    sam.load_state_dict(evaluate.load(o.resume).state_dict())
    teacher.requires_grad_(False)
    still = ["patch_embed", "pos_embed"] + [f"encoder.blocks.{i}." for i in range(o.first)]
    for name, p in sam.named_parameters():
        p.requires_grad_(not any(s in name for s in still))
    helper = torch.nn.Linear(model.DIM, 32)
    params = [p for p in (*sam.parameters(), *helper.parameters()) if p.requires_grad]
    opts = train.optimisers(sam, torch.nn.Module(), o.lr)
    opts[0].add_param_group({"params": list(helper.parameters()), "weight_decay": 0.0, "boost": 20.0})
    ema = {k: v.clone() for k, v in sam.state_dict().items()}
    start = last = saved = time.time()
    count, mean = 0, {}

    def save(name):
        torch.save(dict(ema=ema, model=sam.state_dict(), step=count), os.path.join(o.out, "part"))
        os.replace(os.path.join(o.out, "part"), os.path.join(o.out, name))

    while (t := (time.time() - start) / o.seconds) < 1:
        lr = o.lr_end + (o.lr - o.lr_end) * 0.5 * (1 + math.cos(math.pi * t))
        for g in (g for opt in opts for g in opt.param_groups):
            g["lr"] = lr * min(1, (count + 1) / o.warm) * g.get("boost", 1.0)
        for p in params:
            p.grad = None
        for _ in range(o.pictures):
            kept = rng.random() < o.keep
            folder, truth, keep = nuclei[rng.choice(len(nuclei), p=often / often.sum())] if kept else (regions[rng.choice(len(regions), p=share)][0], 1.0, 0.0)
            found = names(folder)
            base = found[rng.integers(len(found))]
            size = model.SIZE if rng.random() < (o.frames if kept else o.region_frames) else PART
            img, lab = view(rng, base, kept, size)
            side = size // model.PATCH
            at = tuple(int(v) * model.WINDOW for v in rng.integers((model.GRID - side) // model.WINDOW + 1, size=2))
            some = prompts.cells(rng, lab[0], o.prompts) if kept else prompts.regions(rng, lab, o.prompts)
            x = model.normalise(sam, torch.from_numpy(img).permute(2, 0, 1)[None].float())
            emb = model.encode(sam, x, [at])
            leaf = emb.detach()[0].requires_grad_()
            now, to = {}, None
            if kept:
                with torch.no_grad():
                    to = model.encode(teacher, x, [at])[0]
                apart = ((leaf - to) ** 2).mean() / to.var()
                (o.embedding * apart).backward()
                now["apart"] = float(apart.detach())
            elif o.helper and shows_objects(base):
                loss = F.binary_cross_entropy_with_logits(helper(leaf.flatten(1).T), cells(lab[0]))
                (o.helper * loss).backward()
                now["helper"] = float(loss.detach())
            if some:
                with torch.no_grad():
                    place = model.places(sam, [at], side, side)[0]
                b = prompts.batch(rng, some, False, size)
                b["at"] += torch.tensor(at)
                kind = KINDS[rng.choice(len(KINDS), p=kinds / kinds.sum())]
                (loss, box, true, off), = sampled.step(sam, teacher, leaf, place, b, rng, o.exact, truth, keep, to, kind)
                now |= {"loss": float(loss) / len(box), "off": float(off.mean())}
                for name, one in ((kind or "box", box), ("point", ~box)):
                    if one.any():
                        now[name] = float(true[one].mean())
            if leaf.grad is not None:
                emb.backward(leaf.grad[None])
            for name, v in now.items():
                k = os.path.basename(folder), name
                mean[k] = v if k not in mean else 0.95 * mean[k] + 0.05 * v
        for p in params:
            if p.grad is not None:
                p.grad /= o.pictures
        norm = torch.nn.utils.clip_grad_norm_(params, 1.0)
        for opt in opts:
            opt.step()
        count += 1
        d = min(o.ema, (1 + count) / (10 + count))
        with torch.no_grad():
            now = sam.state_dict()
            torch._foreach_lerp_([ema[k] for k in now], list(now.values()), 1 - d)
        if count % 10 == 0:
            said = "; ".join(" ".join([f, *(f"{n} {v:.3f}" for (g, n), v in sorted(mean.items()) if g == f)]) for f in sorted({f for f, _ in mean}))
            print(f"{time.strftime('%H:%M:%S')} {count} {(time.time() - last) / 10:.2f} s lr {lr:.1e} gradient {norm:.2f} {said}", flush=True)
            last = time.time()
        if time.time() - saved > o.every:
            saved = time.time()
            save(f"step{count}.pt")
    save("last.pt")


if __name__ == "__main__":
    main()
