"""Trains the bundled model. Runs on a CPU in hours, on a GPU in minutes: see README.md.

    python train.py --shards DIR[,DIR] --out RUN --stage 512:1:16 --seconds 3600
"""

import argparse
import itertools
import math
import os
import time

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from safetensors.torch import load_file

import data
import model


def half(dev):
    """Autocast to bfloat16 where it is faster: on a GPU and on CPUs with instructions for it."""
    fast = dev.type != "cpu" or torch.cpu._is_avx512_bf16_supported()
    return torch.autocast(dev.type, dtype=torch.bfloat16, enabled=fast)


MOST = 5.0  # loss of a prompt beyond which its weight falls


def losses(logits, iou, target, area, near, multi, exact):
    """SAM's losses on samples of low-resolution logits [P, 4, S], each standing for area [P, S] cells; sum over the prompts.

    target [P, S] is the covered share of each; near [P, S] marks the
    neighbourhood, where the outline is decided; multi [P]: whether the prompt is
    ambiguous; exact: the weight of the predicted IoU's error. Also the true IoU [P, 4] of the masks."""
    t, a = target[:, None], area[:, None]
    bce = F.binary_cross_entropy_with_logits(logits, t.expand_as(logits), reduction="none") * a
    p = logits.sigmoid()
    focal = (bce * (p - t) ** 2).sum(2) / a.sum(2)
    n = near[:, None]
    local = (bce * n).sum(2) / (a * n).sum(2).clamp(min=1)
    inter, total = (p * t * a).sum(2), ((p + t) * a).sum(2)
    dice = 1 - (2 * inter + 1) / (total + 1)
    mask = 20 * focal + local + dice  # [P, 4]
    hard, th = (logits > 0) * a, (t > 0.5) * a
    i = (hard * (t > 0.5)).sum(2)
    true = i / (hard.sum(2) + th.sum(2) - i).clamp(min=1)
    best = mask[:, 1:].min(1).values
    loss = torch.where(multi, 0.6 * mask[:, 0] + best, mask[:, 0] + 0.3 * best)
    # A prompt misread for another size of object loses up to 300; it must not outweigh the others.
    loss = loss * (MOST / loss.detach()).clamp(max=1)
    return loss.sum() + exact * ((iou - true.detach()) ** 2).mean(1).sum(), true


FINE, COARSE = (2.0, 1.0, 0.5, 0.5), (0.5, 0.3, 1.5, 3.0)  # of nuclei, borders, glands, tumours in the helper head's loss


def dense_loss(head, up, want, weight):
    """Loss of the helper head on maps up [B, DIM/8, h, w]; want [B, 4, h, w]: see data.dense; weight of the four.

    Pictures whose targets are unknown (-1) do not count."""
    known = want[:, 0, 0, 0] >= 0
    out = head(up).float()
    if not known.any():
        return out.sum() * 0
    seen = F.binary_cross_entropy_with_logits(out[known], want[known], reduction="none").mean((0, 2, 3))
    return (seen * torch.tensor(weight, device=seen.device)).sum()


def click(pred, target):
    """The next click of each prompt: a place of the larger of the two errors, on the 4-pixel grid. pred and target [P, h, w]."""
    miss, add = (target > 0.5) & ~pred, (target <= 0.5) & pred
    more = miss.sum((1, 2)) >= add.sum((1, 2))
    e = torch.where(more[:, None, None], miss, add)
    right = ~e.any(2).any(1)
    e = torch.where(right[:, None, None], target > 0, e)
    k = torch.multinomial(e.flatten(1).float() + 1e-9, 1)[:, 0]
    cell = torch.stack([k % pred.shape[2], k // pred.shape[2]], 1)
    return ((cell + torch.rand(cell.shape, device=k.device)) * 4)[:, None], (more | right).float()[:, None]


WINDOW = 10  # tokens
LARGE = (WINDOW - 3) * model.PATCH  # pixels of an object that no window is cut for


def window(boxes, w):
    """The square of WINDOW tokens around each object, boxes [P, 4] in pixels of a crop of w x w tokens: its
    first token (row, column) [P, 2] and the numbers of all [P, WINDOW * WINDOW]."""
    k = torch.arange(WINDOW, device=boxes.device)
    first = ((boxes[:, :2] + boxes[:, 2:]) / 2 / model.PATCH - WINDOW / 2).round().long().clamp(0, w - WINDOW).flip(1)
    return first, ((first[:, :1] + k)[:, :, None] * w + (first[:, 1:] + k)[:, None, :]).flatten(1)


def sampled(sam, hs, keys, target, boxes, cells):
    """Logits [P, 4, S] of some cells of P prompts' masks, IoU [P, 4], and the cells' targets, areas and neighbourhoods [P, S].

    Every token gives the cells numbered, which stand for all 16. If these are not
    all and the objects fit into a window of WINDOW tokens, those of the window give
    all their cells, so that outlines are seen whole: the picture far away needs
    samples only. target [P, 4w, 4w], boxes [P, 4] in pixels of the crop."""
    dev, n = keys.device, len(keys)
    vec, iou = model.hyper(sam, hs)
    w = target.shape[-1] // 4
    token = torch.arange(w * w, device=dev)
    cell = torch.tensor(model.CELLS, device=dev)
    spots = torch.stack([(token // w * 4)[:, None] + cell[:, 0] * 2 + cell[:, 2],
                         (token % w * 4)[:, None] + cell[:, 1] * 2 + cell[:, 3]], -1)  # [N, 16, 2] (row, column)
    every = model.by_token(target)
    some = lambda x: x[..., cells].flatten(-2)
    up = model.upscaled(sam, keys, cells if len(cells) < 16 else None)
    logits = vec @ up.flatten(1, 2).transpose(1, 2)
    area = torch.full((n, w * w, len(cells)), 16 / len(cells), device=dev)
    t, where = some(every), spots[:, cells].reshape(1, -1, 2).expand(n, -1, -1)
    if len(cells) < 16 and w > WINDOW and float((boxes[:, 2:] - boxes[:, :2]).max()) < LARGE:
        _, near = window(boxes, w)
        area.scatter_(1, near[:, :, None].expand(-1, -1, len(cells)), 0.0)
        x = keys.gather(1, near[:, :, None].expand(-1, -1, keys.shape[2]))
        logits = torch.cat([logits, vec @ model.upscaled(sam, x).flatten(1, 2).transpose(1, 2)], 2)
        t = torch.cat([t, every.gather(1, near[:, :, None].expand(-1, -1, 16)).flatten(1)], 1)
        where = torch.cat([where, spots[near].flatten(1, 2)], 1)
        area = torch.cat([area.flatten(1), torch.ones(n, WINDOW * WINDOW * 16, device=dev)], 1)
    half = ((boxes[:, 2:] - boxes[:, :2]) / 2).clamp(min=6)
    yx = where * 4 + 2
    inside = ((yx - boxes[:, None, [1, 0]] >= -half[:, None, [1, 0]]) & (yx - boxes[:, None, [3, 2]] <= half[:, None, [1, 0]])).all(-1)
    return logits.float(), iou.float(), t, area.flatten(1), inside.float()


CHUNK = 3200  # tokens of prompts at a time on a CPU, where 8 prompts are the fewest: their maps stay in a core's cache


def prompted(sam, emb, at, b, rng, clicks, near, exact):
    """Runs the losses of a batch's prompts (see data.batch) backward: points and boxes, then further clicks with mask feedback.

    emb [B, DIM, h, w] is a leaf, at the crops' places; the share clicks of the prompts has a second round. With near the
    decoder sees only a window of the embedding around an object, if it is small; exact as in losses. Returns loss, IoU of boxes and
    points, error of the predicted IoU."""
    dev, w = emb.device, emb.shape[-1]
    with torch.no_grad():
        place = model.places(sam, at, w, w).flatten(0, 1)
    flat = emb.flatten(2).transpose(1, 2).flatten(0, 1)  # [B*w*w, DIM]
    b = {k: b[k] for k in ("target", "points", "boxes", "tight", "sure", "of")} | dict(at=torch.tensor(at, device=dev)[b["of"]])
    extent = (b["tight"][:, 2:] - b["tight"][:, :2]).amax(1)
    order = extent.argsort()
    b = {k: v[order] for k, v in b.items()}
    n, small = len(order), int((extent < LARGE).sum())
    stats = []
    for large, part in (False, slice(small)), (True, slice(small, n)):
        g = {k: v[part] for k, v in b.items()}
        if not len(g["of"]):
            continue
        tokens = g["of"][:, None] * w * w + torch.arange(w * w, device=dev)
        if near and not large and w > WINDOW:
            first, numbers = window(g["tight"], w)
            tokens = g["of"][:, None] * w * w + numbers
            cells = model.by_token(g["target"]).gather(1, numbers[:, :, None].expand(-1, -1, 16))
            shift = first.flip(1) * model.PATCH
            g |= dict(target=model.spread_cells(cells, WINDOW, WINDOW), at=g["at"] + first, points=g["points"] - shift,
                      boxes=g["boxes"] - shift.repeat(1, 2), tight=g["tight"] - shift.repeat(1, 2))
        cells = 16 if dev.type != "cpu" or near and not large else 4 if large else 1
        stats += rounds(sam, flat, place, g | dict(tokens=tokens), rng, clicks, cells, n, exact)
    loss, box, true, off = (torch.cat([s[i] for s in stats]) for i in range(4))
    return torch.stack([loss.sum() / n, true[box].mean(), true[~box].mean(), off.mean()])


def rounds(sam, flat, place, g, rng, clicks, cells, n, exact):
    """The two rounds of prompts of one kind, see prompted: g's, whose embeddings are the rows tokens [P, N] of flat.

    Of each token's 16 cells some take part; losses are divided by n. Returns chunks of loss, which prompts were boxes,
    IoU, and its error."""
    dev = flat.device
    w = g["target"].shape[-1] // 4
    some = lambda: list(range(16)) if cells == 16 else rng.permutation(16)[:cells].tolist()

    def run(g, sparse, masks, multi):
        with half(dev):
            emb = F.embedding(g["tokens"], flat).transpose(1, 2).unflatten(2, (w, w))
            hs, keys = model.attend(sam, emb, place[g["tokens"]], sparse, masks)
            logits, iou, *rest = sampled(sam, hs, keys, g["target"], g["tight"], some())
        loss, true = losses(logits, iou, *rest, multi, exact)
        (loss / n).backward()
        return hs, keys, loss.detach()[None], true[:, 0], (iou.detach() - true).abs().mean(1)

    stats, again = [], []
    chunk = max(8, CHUNK // (w * w)) if dev.type == "cpu" else len(g["of"])
    for i in range(0, len(g["of"]), chunk):
        c = {k: v[i:i + chunk] for k, v in g.items()}
        m = len(c["of"])
        box = torch.from_numpy(rng.random(m) < 0.5).to(dev) | c["sure"]
        # Coordinates need more than bfloat16, which is two pixels apart at the frame's border.
        point = model.prompts(sam, c["at"], points=(c["points"][:, None], torch.ones(m, 1, device=dev)))
        sparse = torch.where(box[:, None, None], model.prompts(sam, c["at"], boxes=c["boxes"]), point)
        hs, keys, loss, true, off = run(c, sparse, None, ~box)
        stats.append((loss, box, true, off))
        pick = torch.from_numpy(np.flatnonzero(rng.random(m) < clicks)).to(dev)
        if len(pick):
            with torch.no_grad(), half(dev):
                vec, _ = model.hyper(sam, hs[pick])
                low = vec[:, :1] @ model.upscaled(sam, keys[pick]).flatten(1, 2).transpose(1, 2)
            again.append((pick + i, model.spread_cells(low.float().unflatten(2, (-1, 16)), w, w)))
    if again:
        k, low = (torch.cat(v) for v in zip(*again))
        c = {name: v[k] for name, v in g.items()}
        xy, label = click(low[:, 0] > 0, c["target"])
        points = torch.cat([c["points"][:, None], xy], 1), torch.cat([torch.ones_like(label), label], 1)
        sparse = model.prompts(sam, c["at"], points=points, boxes=c["boxes"] if rng.random() < 0.4 else None)
        ambiguous = torch.zeros(len(k), dtype=torch.bool, device=dev)  # none is after a second click
        run(c, sparse, low if rng.random() < 0.8 else None, ambiguous)
    return stats


class Feed(torch.utils.data.IterableDataset):
    """An endless stream of a stage's batches: crops and their places in the frame."""

    def __init__(self, dirs, mpp, stage, seed, partial=0.0, plain=0.0, nothing=0.0):
        self.dirs, self.mpp, self.stage, self.seed, self.partial, self.plain, self.nothing = dirs, mpp, stage, seed, partial, plain, nothing

    def __iter__(self):
        size, crops, prompts = self.stage
        info = torch.utils.data.get_worker_info()
        rng = np.random.default_rng([*self.seed, info.id if info else 0])
        shards = data.Shards(self.dirs, self.mpp, self.partial, size)
        free, w = model.GRID - size // model.PATCH, model.WINDOW
        for n in itertools.count():
            if n % 20 == 19:
                shards.refresh()
            b = data.batch(rng, shards, size, crops, prompts, self.plain, self.nothing)
            yield b, [tuple(int(v) * w for v in rng.integers(free // w + 1, size=2)) for _ in range(crops)]


def orthogonal(grad, coefficients, steps, eps):
    """Muon's Newton-Schulz iteration in float32; torch's is in bfloat16, for which most CPUs have no instructions."""
    a, b, c = coefficients
    x = grad.T if grad.size(0) > grad.size(1) else grad
    x = x / x.norm().clamp(min=eps)
    for _ in range(steps):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.T if grad.size(0) > grad.size(1) else x


if not torch.cpu._is_avx512_bf16_supported() and not torch.cuda.is_available():
    torch.optim._muon._zeropower_via_newtonschulz = orthogonal


def optimisers(sam, head, lr, boost=1.0, rank=0, world=1):
    """Muon for the matrices inside the networks, AdamW for embeddings, convolutions, norms and biases.

    Muon's part is shared out: each process steps its own matrices, which share() then exchanges.
    The neck and the decoder's upscaling learn at boost times the rate."""
    inner = lambda n, p: p.requires_grad and p.ndim == 2 and min(p.shape) > 8 and not any(s in n for s in ("embed", "token.", "tokens.", "rel_pos"))
    every = sorted((p for n, p in sam.named_parameters() if inner(n, p)), key=lambda p: -p.numel())
    for i, p in enumerate(every):
        p.owned = i % world == rank
    muon = [p for p in every if p.owned]
    groups = {}
    for n, p in [*sam.named_parameters(), *head.named_parameters()]:
        if p.requires_grad and not inner(n, p):
            fast = boost if any(s in n for s in ("neck.", "output_upscaling.")) or n.startswith("out.") else 1.0
            groups.setdefault((0.02 if p.ndim > 1 else 0.0, fast), []).append(p)
    rest = [{"params": ps, "weight_decay": wd, "boost": fast} for (wd, fast), ps in groups.items()]
    opts = [torch.optim.AdamW(rest, lr=lr, betas=(0.9, 0.98), fused=True)]
    if muon:
        opts.append(torch.optim.Muon(muon, lr=lr, weight_decay=0.02, momentum=0.95, adjust_lr_fn="match_rms_adamw"))
    return opts


@torch.no_grad()
def share(params):
    """Gives all processes the matrices that each has stepped."""
    if not (ps := [p for p in params if hasattr(p, "owned")]):
        return  # --only has left none
    flat = torch.cat([(p if p.owned else torch.zeros_like(p)).flatten() for p in ps])
    dist.all_reduce(flat)
    for p, v in zip(ps, flat.split([p.numel() for p in ps])):
        p.copy_(v.view_as(p))


def restore(opt, state, world):
    """Loads an optimiser's moments if they are of the same parameters; else they start anew.

    A file has the first process's share of Muon's moments alone, which no run of several processes can use."""
    size = lambda groups: [len(g["params"]) for g in groups]
    if size(state["param_groups"]) != size(opt.param_groups) or world > 1 and isinstance(opt, torch.optim.Muon):
        return
    boosts = [g.get("boost", 1.0) for g in opt.param_groups]
    opt.load_state_dict(state)
    for g, boost in zip(opt.param_groups, boosts):
        g["boost"] = boost


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--shards", required=True)
    a.add_argument("--out", required=True)
    a.add_argument("--stage", default="512:1:16", help="crop size : crops per step : prompts per crop (0: helper head only); of several, with commas, each step draws one")
    a.add_argument("--coarse", type=float, default=0, help="share of steps on pictures of 0.75 mpp and coarser, with --coarse-stage")
    a.add_argument("--coarse-shards", help="shards of coarse pictures; as --shards if not given")
    a.add_argument("--coarse-stage", default="512:1:12", help="as --stage")
    a.add_argument("--mpp", type=float, nargs=2, default=(0, 1e9), help="use only pictures between these scales")
    a.add_argument("--partial", type=float, default=0, help="share of crops from pictures with pseudo-labels, see pseudo.py")
    a.add_argument("--nothing", type=float, default=0, help="share of fine crops, and a third as many coarse ones, without objects, where boxes ask for ellipses")
    a.add_argument("--dense", type=float, default=0.5, help="weight of the helper head's loss")
    a.add_argument("--coarse-dense", type=float, help="the same for steps on coarse pictures; as --dense if not given")
    a.add_argument("--lr", type=float, default=1e-3)
    a.add_argument("--lr-end", type=float, default=1e-4)
    a.add_argument("--boost", type=float, default=1, help="rate of the neck and the upscaling over that of the rest")
    a.add_argument("--clicks", type=float, default=0.2, help="share of prompts with a second round: another click, mask feedback")
    a.add_argument("--exact", type=float, default=3, help="weight of the predicted IoU's error")
    a.add_argument("--near", type=float, default=0, help="share of steps on fine pictures whose small objects are decoded in a window of the embedding alone: more prompts a second")
    a.add_argument("--only", default="", help="train only weights with one of these in their names, with commas; others stay as they are")
    a.add_argument("--plain", type=float, default=0, help="share of crops as drawn: without data.augment, data.fade, data.redraw and data.overlay; empty ones are always augmented")
    a.add_argument("--warm", type=int, default=150)
    a.add_argument("--steps", type=int, default=10**9)
    a.add_argument("--seconds", type=float, default=1e9)
    a.add_argument("--seed", type=int, default=1)
    a.add_argument("--ema", type=float, default=0.998)
    a.add_argument("--resume", help="a run's last.pt, to go on with")
    a.add_argument("--average", action="store_true", help="go on from the run's averaged weights, with new moments")
    a.add_argument("--init", help="weights to start from, as export.py writes them")
    a.add_argument("--device", default="cpu")
    a.add_argument("--workers", type=int, default=0, help="processes that prepare data; a GPU wants one per core")
    a.add_argument("--threads", type=int, default=1, help="CPU threads of this process; more processes scale better")
    a.add_argument("--rank", type=int, default=0, help="this process of --world; gradients are averaged over all")
    a.add_argument("--world", type=int, default=1)
    a.add_argument("--meet", default="meet", help="file through which the processes find each other")
    o = a.parse_args()
    torch.set_num_threads(o.threads)
    if o.world > 1:
        dist.init_process_group("gloo", init_method="file://" + os.path.abspath(o.meet), rank=o.rank, world_size=o.world)
    split = lambda arg: [tuple(map(int, s.split(":"))) for s in arg.split(",")]
    stages, coarse = split(o.stage), split(o.coarse_stage)
    many = len(stages)  # of fine pictures; those of coarse ones follow
    stages += coarse
    os.makedirs(o.out, exist_ok=True)
    torch.manual_seed(o.seed)
    rng = np.random.default_rng([o.seed, o.rank])
    dev = torch.device(o.device)
    sam = model.build().to(dev)
    head = model.Dense().to(dev)
    for n, p in sam.named_parameters():
        p.requires_grad_(any(s in n for s in o.only.split(",")))
    encoder = any(p.requires_grad for p in sam.image_encoder.parameters())
    params = [p for p in (*sam.parameters(), *head.parameters()) if p.requires_grad]
    opts = optimisers(sam, head, o.lr, o.boost, o.rank, o.world)
    step0 = 0
    if o.init:
        sam.load_state_dict({k: v.float() for k, v in load_file(o.init).items()}, strict=False)
    ema = {k: v.clone() for k, v in sam.state_dict().items()}
    if o.resume:
        c = torch.load(o.resume, map_location="cpu")
        sam.load_state_dict(c["ema" if o.average else "model"])
        if all(v.shape == c["head"][k].shape for k, v in head.state_dict().items()):
            head.load_state_dict(c["head"])
            for opt in opts:
                if not o.average and (state := c["opt"].get(type(opt).__name__)) is not None:
                    restore(opt, state, o.world)
        ema, step0 = {k: v.to(dev) for k, v in c["ema"].items()}, c["step"]
    sam.train()
    dirs = [o.shards.split(",")] * many + [(o.coarse_shards or o.shards).split(",")] * len(coarse)
    scales = [(0, 0.75) if o.coarse else tuple(o.mpp)] * many + [(0.75, 1e9)] * len(coarse)
    nothing = [o.nothing] * many + [o.nothing / 3] * len(coarse)
    feeds = [iter(torch.utils.data.DataLoader(
        Feed(d, m, st, (o.seed, o.rank, i), o.partial, o.plain, no), batch_size=None, num_workers=o.workers,
        pin_memory=dev.type != "cpu", prefetch_factor=3 if o.workers else None))
        for i, (d, m, st, no) in enumerate(zip(dirs, scales, stages, nothing))]
    turn = np.random.default_rng(o.seed)  # alike in all processes
    start, step, avg, last = time.time(), 0, {}, time.time()
    log = open(os.path.join(o.out, "log.txt"), "a")

    def save(name):
        tmp = os.path.join(o.out, name + ".tmp")
        torch.save({"model": sam.state_dict(), "head": head.state_dict(), "ema": ema, "opt": {type(opt).__name__: opt.state_dict() for opt in opts}, "step": step0 + step}, tmp)
        os.replace(tmp, os.path.join(o.out, name))

    while True:
        t = max(step / o.steps, (time.time() - start) / o.seconds)
        if o.world > 1:  # all must see the same clock
            v = torch.tensor([t], dtype=torch.float64)
            dist.broadcast(v, 0)
            t = float(v)
        if t >= 1:
            break
        lr = o.lr_end + (o.lr - o.lr_end) * 0.5 * (1 + math.cos(math.pi * t))
        for g in itertools.chain(*(opt.param_groups for opt in opts)):
            g["lr"] = lr * min(1, (step + 1) / o.warm) * g.get("boost", 1.0)
        kind = many + int(turn.integers(len(coarse))) if turn.random() < o.coarse else int(turn.integers(many))
        fine = kind < many
        size, _, prompts = stages[kind]
        b, at = next(feeds[kind])
        b = {k: torch.as_tensor(v).to(dev, non_blocking=True) for k, v in b.items()}
        x = model.normalise(sam, b["image"].permute(0, 3, 1, 2).float())
        if rng.random() < 0.05:  # what the frame holds right of and below a smaller picture
            x[:, :, :, int(size * rng.uniform(0.6, 1)):] = 0
        for p in params:
            p.grad = None
        with torch.set_grad_enabled(encoder), half(dev):
            emb = model.encode(sam, x, at)
        leaf, aux, st = emb.detach().float().requires_grad_(), torch.zeros((), device=dev), torch.full((4,), torch.nan, device=dev)
        if prompts:
            st = prompted(sam, leaf, at, b, rng, o.clicks, fine and turn.random() < o.near, o.exact)
        dense = o.dense if fine or o.coarse_dense is None else o.coarse_dense
        if dense:
            with half(dev):
                aux = dense_loss(head, model.unprompted(sam, leaf), b["dense"], FINE if fine else COARSE)
            (dense * aux).backward()
        if encoder:
            emb.backward(leaf.grad.to(emb.dtype))
        if o.world > 1:
            grads = [p.grad if p.grad is not None else torch.zeros_like(p) for p in params]
            flat = torch.cat([g.flatten() for g in grads])
            dist.all_reduce(flat)
            flat /= o.world
            for p, g in zip(params, flat.split([g.numel() for g in grads])):
                p.grad = g.view_as(p)
        norm = torch.nn.utils.clip_grad_norm_(params, 1.0)
        for opt in opts:
            opt.step()
        if o.world > 1:
            share(params)
        step += 1
        if step % 4 == 0 and o.rank == 0:  # the average that is exported
            d = min(o.ema, (1 + step0 + step) / (10 + step0 + step)) ** 4
            with torch.no_grad():
                now = sam.state_dict()
                torch._foreach_lerp_([ema[k] for k in now], list(now.values()), 1 - d)
        m = torch.stack([aux.detach(), *st, norm]).cpu().numpy()
        old = avg.get(kind, m)
        avg[kind] = np.where(np.isnan(m), old, np.where(np.isnan(old), m, 0.96 * old + 0.04 * m))
        if step % 50 == 0 and o.rank == 0:
            lines = [f"{time.strftime('%H:%M:%S')} step {step0 + step} {(time.time() - last) / 50:.2f} s lr {lr:.2e}"]
            for k, v in sorted(avg.items()):
                lines.append(f"    {'coarse ' * (k >= many)}{stages[k][0]} dense {v[0]:.3f} loss {v[1]:.3f} "
                             f"iou box {v[2]:.3f} point {v[3]:.3f} iou error {v[4]:.3f} gradient {v[5]:.2f}")
            print(*lines, sep="\n", flush=True)
            print(*lines, sep="\n", file=log, flush=True)
            last = time.time()
        if step % 100 == 0:
            if o.rank == 0:
                save("last.pt")
    if o.rank == 0:
        save("last.pt")


if __name__ == "__main__":
    main()
