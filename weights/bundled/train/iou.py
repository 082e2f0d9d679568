"""Fits the head that predicts the masks' IoU to what sam.PredictOptions.Local leaves of them.

    python iou.py --run RUN/last.pt --shards fit --out fitted.pt

The shards should be of seeds that the run has not seen: of pictures that it knows it
expects too much. Everything else stays as it is, so that the head's input, one token for each prompt, and
the IoU that each mask has in truth need computing only once. They are of whole
frames, masks at half their size.
"""

import argparse
import copy
import math

import cv2
import numpy as np
import torch
import torch.multiprocessing as mp
import torch.nn.functional as F

import data
import model
from evaluate import load


SCALE = 2  # pixels of the frame for one of the masks compared


def local(mask, box, point):
    """The part of mask [H, W] that Local leaves: in the box (x0, y0, x1, y1), or the 8-connected piece at the point (x, y)."""
    if box is not None:
        x0, y0, x1, y1 = box[0] // SCALE, box[1] // SCALE, -(-box[2] // SCALE), -(-box[3] // SCALE)
        out = np.zeros_like(mask)
        out[y0:y1, x0:x1] = mask[y0:y1, x0:x1]
        return out
    x, y = (int(v / SCALE) for v in point)
    if not mask[y, x]:
        return mask
    _, lab = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    return lab == lab[y, x]


@torch.no_grad()
def answers(sam, rng, shards, per, vary):
    """Of one frame's prompts, a box and a point for each object: tokens [P, DIM], IoU [P, 4] of the local masks, whether they are boxes [P]."""
    img, nuc, gland, flags, mpp, _ = data.shown(rng, shards, model.SIZE, vary)
    obj = data.objects(rng, nuc, gland, flags, mpp, per)
    if not obj:
        return None
    emb = model.encode(sam, model.normalise(sam, torch.from_numpy(np.array(img)).permute(2, 0, 1)[None].float()), [(0, 0)])
    place = model.places(sam, [(0, 0)], *emb.shape[2:])
    tokens, true, boxes = [], [], []
    for m, s in obj:
        truth = np.zeros(nuc.shape, np.uint8)
        truth[s] = m
        truth = cv2.resize(truth * 255, None, fx=1 / SCALE, fy=1 / SCALE, interpolation=cv2.INTER_AREA) > 127
        x, y = data.inside(rng, m, rng.random() < 0.6)
        point = (s[1].start + x + 0.5, s[0].start + y + 0.5)
        box = (s[1].start, s[0].start, s[1].stop, s[0].stop)
        sparse = torch.cat([model.prompts(sam, (0, 0), boxes=torch.tensor([box]).float()),
                            model.prompts(sam, (0, 0), points=(torch.tensor([[point]]), torch.ones(1, 1)))])
        hs, keys = model.attend(sam, emb, place, sparse)
        vec, _ = model.hyper(sam, hs)
        logits = model.spread_cells((vec @ model.upscaled(sam, keys).flatten(1, 2).transpose(1, 2)).unflatten(2, (-1, 16)), *emb.shape[2:])
        up = (F.interpolate(logits, truth.shape, mode="bilinear") > 0).numpy()
        for i, (b, p) in enumerate(((box, None), (None, point))):
            of = [local(v, b, p) for v in up[i]]
            true.append([(v & truth).sum() / max(1, (v | truth).sum()) for v in of])
            boxes.append(b is not None)
        tokens.append(hs[:, 0])
    return torch.cat(tokens), torch.tensor(np.array(true)).float(), torch.tensor(boxes)


def gather(rank, world, o, path):
    """The answers to this process's part of the frames, and the picture that each is of, in a file."""
    torch.set_num_threads(1)
    sam = load(o.run)
    rng = np.random.default_rng([o.seed, rank])
    fine, coarse = (data.Shards(o.shards.split(","), m, 0, model.SIZE) for m in ((0, 0.75), (0.75, 1e9)))
    out = []
    for k in range(o.frames // world):
        shards = copy.copy(coarse if rng.random() < o.coarse else fine)
        i = int(rng.integers(len(shards.sets)))
        picture = i + (shards.mpp[0] > 0) * len(fine.sets)
        shards.sets = [shards.sets[i]]
        if (a := answers(sam, rng, shards, o.per, rng.random() >= o.plain)) is not None:
            out.append((*a, torch.full((len(a[2]),), picture)))
        if rank == 0 and k % 20 == 19:
            print((k + 1) * world, "frames", flush=True)
    torch.save([torch.cat(v) for v in zip(*out)], f"{path}.{rank}")


def measure(head, x, true, box):
    """Mean IoU of the point's chosen and best masks, and the head's error on chosen ones of points and boxes."""
    with torch.no_grad():
        q = head(x)
    pick = 1 + q[:, 1:].argmax(1)
    pick[box] = 0
    got, said = (v.gather(1, pick[:, None])[:, 0] for v in (true, q))
    off = (got - said).abs()
    return "point %.3f (best of three %.3f), error %.3f; box %.3f, error %.3f" % (
        got[~box].mean(), true[~box, 1:].max(1).values.mean(), off[~box].mean(), got[box].mean(), off[box].mean())


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--run", required=True, help="a run's last.pt, whose averaged weights are used")
    a.add_argument("--out", required=True, help="the same with the fitted head in its average")
    a.add_argument("--shards", required=True)
    a.add_argument("--frames", type=int, default=400)
    a.add_argument("--coarse", type=float, default=0.5, help="share of frames of 0.75 micrometres a pixel and more")
    a.add_argument("--plain", type=float, default=0.5, help="share of frames as drawn")
    a.add_argument("--per", type=int, default=10, help="objects of a frame")
    a.add_argument("--epochs", type=int, default=60)
    a.add_argument("--lr", type=float, default=1e-3)
    a.add_argument("--seed", type=int, default=1)
    a.add_argument("--world", type=int, default=2, help="processes that gather")
    o = a.parse_args()
    path = o.out + ".answers"
    mp.spawn(gather, (o.world, o, path), o.world)
    x, true, box, picture = (torch.cat(v) for v in zip(*(torch.load(f"{path}.{r}") for r in range(o.world))))
    held = picture % 8 == 0  # pictures that no step sees
    c = torch.load(o.run, map_location="cpu")
    sam = model.build()
    sam.load_state_dict(c["ema"])
    head = sam.mask_decoder.iou_prediction_head
    print(len(x), "prompts; before:", measure(head, x[held], true[held], box[held]))
    torch.manual_seed(o.seed)
    opt = torch.optim.AdamW(head.parameters(), lr=o.lr, weight_decay=0.05)
    train = torch.nonzero(~held)[:, 0]
    many = max(1, len(train) // 512)  # steps of an epoch
    steps = o.epochs * many
    average = copy.deepcopy(head)
    for step in range(steps):
        for g in opt.param_groups:
            g["lr"] = o.lr * 0.5 * (1 + math.cos(math.pi * step / steps))
        if step % many == 0:
            order = train[torch.randperm(len(train))]
        i = order[step % many * 512:][:512]
        loss = F.mse_loss(head(x[i]), true[i])
        opt.zero_grad()
        loss.backward()
        opt.step()
        with torch.no_grad():
            for p, q in zip(average.parameters(), head.parameters()):
                p.lerp_(q, 0.02)
        if step % max(1, steps // 10) == 0:
            print(f"step {step} loss {float(loss.detach()):.4f}", measure(average, x[held], true[held], box[held]), flush=True)
    print("after:", measure(average, x[held], true[held], box[held]))
    head.load_state_dict(average.state_dict())
    c["ema"] = sam.state_dict()
    torch.save(c, o.out)


if __name__ == "__main__":
    main()
