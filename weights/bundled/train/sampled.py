"""Losses of prompts on a sample of the frame's tokens: all near a small object, some of the rest, weighted for what they stand for.

The decoder without a mask as prompt treats tokens as a set: a token takes part in
attention with a weight and never meets its neighbours. So a few hundred stand for
4,096, at a tenth of the cost, and a prompt still sees the whole frame.
"""

import numpy as np
import torch
import torch.nn.functional as F

import model
import train

NUMBER = (256, 384, 384, 768)  # tokens of a sample, one of these each time
CELLS = 4  # of a token's 16


def choose(rng, tight, points, n):
    """Numbers [P, n] of the frame's tokens and how many each stands for [P, n], of objects in boxes tight [P, 4] with points [P, 2], in pixels.

    Tokens at the point and the box's corners are always there, those in and about the box as far as they fit into two thirds."""
    grid, every = model.GRID, np.arange(model.GRID)
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
    """Logits [P, 4, S] and predicted IoU [P, 4] of prompts g: boxes where box is true, else points."""
    one = torch.ones(len(box), 1)
    sparse = torch.where(box[:, None, None], model.prompts(sam, (0, 0), boxes=g["boxes"]),
                         model.prompts(sam, (0, 0), points=(g["points"][:, None], one)))
    emb = F.embedding(tokens, flat).transpose(1, 2)[:, :, None]
    hs, keys = model.attend(sam, emb, place[tokens], sparse, None, weight.log())
    vec, iou = model.hyper(sam, hs)
    return vec @ model.upscaled(sam, keys, cells).flatten(1, 2).transpose(1, 2), iou


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


def step(sam, teacher, emb, place, g, rng, exact, truth, keep):
    """Runs the losses of one picture's prompts (see prompts.batch) backward: truth times that of the objects, keep times that of the teacher.

    place are the codes of places of sam and the teacher alike. Statistics as of train.rounds."""
    n = len(g["of"])
    box = torch.from_numpy(rng.random(n) < 0.5) | g["sure"]
    tokens, weight = choose(rng, g["tight"], g["points"], int(rng.choice(NUMBER)))
    flat = emb.flatten(1).T
    # Of each of a token's four quarters one cell.
    cells = [4 * i + int(rng.integers(4)) for i in range(CELLS)]
    args = flat, place, box, g, tokens, weight, cells
    cell = torch.tensor(model.CELLS)[cells]
    yx = torch.stack([(tokens // model.GRID * 4)[:, :, None] + cell[:, 0] * 2 + cell[:, 2],
                      (tokens % model.GRID * 4)[:, :, None] + cell[:, 1] * 2 + cell[:, 3]], -1).flatten(1, 2) * 4 + 2
    half = ((g["tight"][:, 2:] - g["tight"][:, :2]) / 2).clamp(min=6)
    near = ((yx - g["tight"][:, None, [1, 0]] >= -half[:, None, [1, 0]]) & (yx - g["tight"][:, None, [3, 2]] <= half[:, None, [1, 0]])).all(-1).float()
    area = (weight * 16 / CELLS)[:, :, None].expand(-1, -1, CELLS).flatten(1)
    target = model.by_token(g["target"]).gather(1, tokens[:, :, None].expand(-1, -1, 16))[:, :, cells].flatten(1)
    logits, iou = decode(sam, *args)
    by_truth, true = train.losses(logits, iou, target, area, near, ~box, exact)
    loss = truth * by_truth
    if keep:
        with torch.no_grad():
            to, iou_to = decode(teacher, *args)
        loss = loss + keep * kept(logits, iou, to, iou_to, area, near, box, exact)
    (loss / n).backward()
    return [((by_truth if truth else loss).detach()[None], box, true[:, 0], (iou.detach() - true).abs().mean(1))]
