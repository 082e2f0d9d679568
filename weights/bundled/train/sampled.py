"""Losses of prompts on a sample of the frame's tokens: all near a small object, some of the rest, weighted for what they stand for.

The decoder without a mask as prompt treats tokens as a set: a token takes part in
attention with a weight and never meets its neighbours. So a few hundred stand for
4,096, at a tenth of the cost, and a prompt still sees the whole frame.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F

import model
import train

NUMBER = (256, 384, 384, 768)  # tokens of a sample, one of these each time
CELLS = 4  # of a token's 16


def choose(rng, tight, points, n, grid=model.GRID):
    """Numbers [P, n] of the grid x grid tokens of a frame or a crop and how many each stands for [P, n], of objects in boxes tight [P, 4] with points [P, 2], in pixels.

    Tokens at the point and the box's corners are always there, those in and about the box as far as they fit into two thirds."""
    every = np.arange(grid)
    out, weight = [], []
    for b, p in zip(tight.numpy() / model.PATCH, points.numpy() / model.PATCH):
        room = 2.0
        rows, cols = (((every + 1 > b[i] - room) & (every < b[i + 2] + room)) for i in (1, 0))
        near = (rows[:, None] & cols).ravel()
        must = np.zeros((grid, grid), bool)
        for x, y in (p, b[:2], b[2:]):
            x, y = (int(np.clip(v, 0, grid - 1)) for v in (x, y))
            must[max(0, y - 1):y + 2, max(0, x - 1):x + 2] = True
        must = must.ravel()
        first, some, rest = (np.flatnonzero(m) for m in (must, near & ~must, ~near & ~must))
        left = n - len(first)
        of_rest = min(len(rest), max(left - len(some), left // 3))
        of_some = left - of_rest
        k = [first, rng.permutation(some)[:of_some], rng.permutation(rest)[:of_rest]]
        out.append(np.concatenate(k))
        weight.append(np.concatenate([np.full(len(a), max(1, len(b)) / max(1, len(a))) for a, b in zip(k, (first, some, rest))]))
    return torch.from_numpy(np.array(out)), torch.from_numpy(np.array(weight, np.float32))


def decode(sam, flat, place, box, g, tokens, weight, cells):
    """Logits [P, 4, S] and predicted IoU [P, 4] of prompts g: clicks and masks if it has them, else boxes where box is true and points."""
    if "clicks" in g:
        sparse = model.prompts(sam, g["at"], points=g["clicks"])
    elif "masks" in g:
        sparse = torch.empty(len(box), 0, model.DIM)
    else:
        one = torch.ones(len(box), 1)
        sparse = torch.where(box[:, None, None], model.prompts(sam, g["at"], boxes=g["boxes"]),
                             model.prompts(sam, g["at"], points=(g["points"][:, None], one)))
    emb = F.embedding(tokens, flat)
    if "masks" in g:  # instead of what stands for none
        m = sam.prompt_encoder._embed_masks(g["masks"]).flatten(2).transpose(1, 2)
        emb = emb + m.gather(1, tokens[:, :, None].expand(-1, -1, m.shape[2])) - sam.prompt_encoder.no_mask_embed.weight
    hs, keys = model.attend(sam, emb.transpose(1, 2)[:, :, None], place[tokens], sparse, None, weight.log())
    vec, iou = model.hyper(sam, hs)
    return vec @ model.upscaled(sam, keys, cells).flatten(1, 2).transpose(1, 2), iou


def several(rng, g, n):
    """Each prompt's point and n more of either label, (xy [P, 1+n, 2], labels [P, 1+n]), as clicks: those of label 0 in and about the object's box."""
    xy, labels = [], []
    for t, p, b in zip(g["target"].numpy(), g["points"].numpy(), g["tight"].numpy()):
        room = 0.3 * max(b[2:] - b[:2]) + 12
        x0, y0 = np.maximum(0, (b[:2] - room) / 4).astype(int)
        x1, y1 = ((b[2:] + room) / 4).astype(int) + 1
        part = t[y0:y1, x0:x1]
        one = [p]
        for yes in rng.random(n) < 0.5:
            at = np.argwhere(part > 0.6 if yes else part < 0.1)
            if not len(at):
                yes, at = True, np.argwhere(part > 0)
            y, x = at[rng.integers(len(at))] + rng.random(2)
            one.append(((x + x0) * 4, (y + y0) * 4))
            labels.append(float(yes))
        xy.append(one)
    labels = np.concatenate([np.ones((len(xy), 1)), np.reshape(labels, (len(xy), n))], 1)
    return torch.tensor(np.array(xy, np.float32)), torch.tensor(labels, dtype=torch.float32)


@torch.no_grad()
def prompted(sam, flat, place, rng, kind, box, g):
    """g with more of a prompt: "points" several points, "mask" the logits of a first answer alone, "click" those, its point and a click on an error."""
    if kind == "points":
        return g | dict(clicks=several(rng, g, int(rng.integers(1, 4))))
    if kind in ("mask", "click"):
        first = box if kind == "mask" else torch.zeros_like(box)
        every = torch.arange(len(flat)).expand(len(box), -1)
        low, _ = decode(sam, flat, place, first, g, every, torch.ones(every.shape), None)
        side = math.isqrt(len(flat))
        low = model.spread_cells(low[:, 0].unflatten(1, (-1, 16)), side, side)
        g = g | dict(masks=low[:, None])
        if kind == "click":
            xy, label = train.click(low > 0, g["target"])
            g["clicks"] = torch.cat([g["points"][:, None], xy], 1), torch.cat([torch.ones_like(label), label], 1)
    return g


def kept(logits, iou, to, iou_to, area, near, box, exact):
    """How far masks and predicted IoU are from a teacher's, to and iou_to; sum over the prompts."""
    t, a, n = to.sigmoid(), area[:, None], near[:, None]
    apart = F.binary_cross_entropy_with_logits(logits, t, reduction="none") - F.binary_cross_entropy_with_logits(to, t, reduction="none")
    p = logits.sigmoid()
    mask = (apart * a * n).sum(2) / (a * n).sum(2).clamp(min=1) + 5 * (apart * a).sum(2) / a.sum(2)
    mask = mask + 1 - (2 * (p * t * a).sum(2) + 1) / (((p * p + t * t) * a).sum(2) + 1)
    share = torch.where(box[:, None], torch.tensor([[0.7, 0.1, 0.1, 0.1]]), torch.tensor([[0.25] * 4]))
    loss = (mask * share).sum(1)
    loss = loss * (train.MOST / loss.detach()).clamp(max=1)
    return loss.sum() + exact * ((iou - iou_to) ** 2).mean(1).sum()


def step(sam, teacher, emb, place, g, rng, exact, truth, keep, emb_to=None, kind=""):
    """Runs the losses of one picture's prompts (see prompts.batch) backward: truth times that of the objects, keep times that of the teacher.

    emb [DIM, h, h], place are the codes of places of sam and the teacher alike; emb_to the teacher's embedding, if it is another; kind
    as prompted has it. Statistics as of train.rounds."""
    n = len(g["of"])
    box = torch.from_numpy(rng.random(n) < 0.5) | g["sure"]
    grid = emb.shape[-1]
    tokens, weight = choose(rng, g["tight"], g["points"], int(rng.choice(NUMBER)), grid)
    flat = emb.flatten(1).T
    flat_to = flat if emb_to is None else emb_to.flatten(1).T
    g = prompted(*((teacher, flat_to) if keep else (sam, flat.detach())), place, rng, kind, box, g)
    # Of each of a token's four quarters one cell.
    cells = [4 * i + int(rng.integers(4)) for i in range(CELLS)]
    args = place, box, g, tokens, weight, cells
    cell = torch.tensor(model.CELLS)[cells]
    yx = torch.stack([(tokens // grid * 4)[:, :, None] + cell[:, 0] * 2 + cell[:, 2],
                      (tokens % grid * 4)[:, :, None] + cell[:, 1] * 2 + cell[:, 3]], -1).flatten(1, 2) * 4 + 2
    half = ((g["tight"][:, 2:] - g["tight"][:, :2]) / 2).clamp(min=6)
    near = ((yx - g["tight"][:, None, [1, 0]] >= -half[:, None, [1, 0]]) & (yx - g["tight"][:, None, [3, 2]] <= half[:, None, [1, 0]])).all(-1).float()
    area = (weight * 16 / CELLS)[:, :, None].expand(-1, -1, CELLS).flatten(1)
    target = model.by_token(g["target"]).gather(1, tokens[:, :, None].expand(-1, -1, 16))[:, :, cells].flatten(1)
    logits, iou = decode(sam, flat, *args)
    alone = torch.zeros_like(box) if kind else ~box  # a point that may mean several things
    by_truth, true = train.losses(logits, iou, target, area, near, alone, exact)
    loss = truth * by_truth
    if keep:
        with torch.no_grad():
            to, iou_to = decode(teacher, flat_to, *args)
        loss = loss + keep * kept(logits, iou, to, iou_to, area, near, ~alone, exact)
    (loss / n).backward()
    return [((by_truth if truth else loss).detach()[None], ~alone, true[:, 0], (iou.detach() - true).abs().mean(1))]
