"""Trains the bundled model. Runs on a CPU in hours, on a GPU in minutes: see README.md.

    python train.py --shards DIR[,DIR] --out RUN --stage 256:4:16 --seconds 3600
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


def losses(logits, iou, target, near, multi):
    """SAM's losses on low-resolution logits [P, 4, h, w]; multi [P]: whether the prompt is ambiguous."""
    t = target[:, None]
    bce = F.binary_cross_entropy_with_logits(logits, t.expand_as(logits), reduction="none")
    p = logits.sigmoid()
    pt = 1 - (p - t).abs()
    focal = (bce * (1 - pt) ** 2).mean((2, 3))
    n = near[:, None]
    local = (bce * n).sum((2, 3)) / n.sum((2, 3)).clamp(min=1)
    inter, total = (p * t).sum((2, 3)), p.sum((2, 3)) + t.sum((2, 3))
    dice = 1 - (2 * inter + 1) / (total + 1)
    mask = 20 * focal + local + dice  # [P, 4]
    hard, th = (logits > 0).float(), (t > 0.5).float()
    i = (hard * th).sum((2, 3))
    true = i / (hard.sum((2, 3)) + th.sum((2, 3)) - i).clamp(min=1)
    best = mask[:, 1:].min(1)
    loss = torch.where(multi, 0.6 * mask[:, 0] + best.values, mask[:, 0] + 0.3 * best.values)
    return loss.mean() + 3 * ((iou - true.detach()) ** 2).mean(), true, best.indices


def dense_loss(head, up, want, at):
    """Loss of the helper head on maps up [B, DIM/8, h, w]; want [B, 6, h, w]: see data.dense; at [B, 2]: the maps' first tokens.

    Pictures whose targets are unknown (-1) do not count."""
    known = want[:, 0, 0, 0] >= 0
    out = head(up).float()
    if not known.any():
        return out.sum() * 0
    out, want, at = out[known], want[known], at[known]
    seen = F.binary_cross_entropy_with_logits(out[:, :4], want[:, :4], reduction="none").mean((0, 2, 3))
    has = (want[:, 4:5] > data.NONE / 2).float()
    code = head.code(want[:, 4:] + at.flip(1)[:, :, None, None] * model.PATCH)
    off = ((out[:, 4:] - code) ** 2 * has).sum() / (has.sum() * code.shape[1]).clamp(min=1)
    return 2 * seen[0] + seen[1] + 0.5 * (seen[2] + seen[3]) + 3 * off


def click(rng, pred, target):
    """The next click of each prompt: middle of the larger of the two errors, on the 4-pixel grid."""
    xy, lab = np.zeros((len(pred), 1, 2), np.float32), np.zeros((len(pred), 1), np.float32)
    for i, (p, t) in enumerate(zip(pred, target)):
        fn, fp = (t > 0.5) & ~p, (t <= 0.5) & p
        pos = fn.sum() >= fp.sum()
        e = fn if pos else fp
        if not e.any():
            e, pos = t > 0.5, True
        if not e.any():
            e = t > 0
        ys, xs = np.nonzero(e)
        k = rng.integers(len(ys))
        xy[i, 0] = xs[k] * 4 + rng.uniform(0, 4), ys[k] * 4 + rng.uniform(0, 4)
        lab[i, 0] = 1 if pos else 0
    return torch.from_numpy(xy), torch.from_numpy(lab)


def prompted(sam, head, emb, at, bs, rng, dev):
    """Losses of a step's prompts: points, boxes, and further clicks with mask feedback; and of the helper head on their maps.

    emb [B, DIM, h, w] are the crops' embeddings at tokens at [B] of the frame."""
    cat = lambda k: torch.from_numpy(np.concatenate([b[k] for b in bs])).to(dev)
    target, near, pts, boxes, win = (cat(k) for k in ("target", "near", "points", "boxes", "at"))
    n, side = len(pts), target.shape[-1] // 4
    crop = np.repeat(np.arange(len(bs)), [len(b["at"]) for b in bs])
    frame = win + torch.tensor([at[i] for i in crop], device=dev)
    src = torch.stack([emb[i, :, r:r + side, c:c + side] for i, (r, c) in zip(crop, win.tolist())])
    box = torch.from_numpy(rng.random(n) < 0.5).to(dev)
    ones = torch.ones(n, 1, device=dev)
    sparse = torch.where(box[:, None, None], model.prompts(sam, frame, boxes=boxes),
                         model.prompts(sam, frame, points=(pts[:, None], ones)))
    logits, iou, up = (v.float() for v in model.decode(sam, src, frame, sparse))
    want = torch.from_numpy(np.stack([bs[i]["dense"] for i in range(len(bs))])).to(dev)
    seen = torch.stack([want[i, :, 4 * r:4 * (r + side), 4 * c:4 * (c + side)] for i, (r, c) in zip(crop, win.tolist())])
    aux = dense_loss(head, up, seen, torch.tensor([at[i] for i in crop], device=dev))
    loss, true, _ = losses(logits, iou, target, near, ~box)
    stats = (float(loss.detach()), float(true[box, 0].mean()), float(true[~box, 0].mean()),
             float((iou.detach() - true).abs().mean()))
    # One more click, with the mask so far, for a third of them.
    k = torch.from_numpy(rng.permutation(n)[:max(1, n // 3)]).to(dev)
    low = logits.detach()[k, :1]
    xy, lab = click(rng, (low[:, 0] > 0).cpu().numpy(), target[k].cpu().numpy())
    xy = torch.cat([pts[k, None], xy.to(dev)], 1)
    lab = torch.cat([ones[k], lab.to(dev)], 1)
    sparse = model.prompts(sam, frame[k], points=(xy, lab), boxes=boxes[k] if rng.random() < 0.4 else None)
    m, q, _ = model.decode(sam, src[k], frame[k], sparse, masks=low if rng.random() < 0.8 else None)
    more, _, _ = losses(m.float(), q.float(), target[k], near[k], torch.zeros(len(k), dtype=torch.bool, device=dev))
    return loss + 0.3 * more, aux, stats


class Feed(torch.utils.data.IterableDataset):
    """An endless stream of a stage's batches: crops and their places in the frame."""

    def __init__(self, dirs, mpp, stage, seed, partial=0.0):
        self.dirs, self.mpp, self.stage, self.seed, self.partial = dirs, mpp, stage, seed, partial

    def __iter__(self):
        size, crops, prompts, sub = self.stage
        info = torch.utils.data.get_worker_info()
        rng = np.random.default_rng([*self.seed, info.id if info else 0])
        shards = data.Shards(self.dirs, self.mpp, self.partial)
        free, w = model.GRID - size // model.PATCH, model.WINDOW
        for n in itertools.count():
            if n % 100 == 99:
                shards.refresh()
            bs = []
            while len(bs) < crops:
                if (b := data.batch(rng, shards, size, prompts, sub)) is not None:
                    bs.append(b)
            yield bs, [tuple(int(v) * w for v in rng.integers(free // w + 1, size=2)) for _ in bs]


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
    return [torch.optim.Muon(muon, lr=lr, weight_decay=0.02, momentum=0.95, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(rest, lr=lr, betas=(0.9, 0.98), fused=True)]


@torch.no_grad()
def share(params):
    """Gives all processes the matrices that each has stepped."""
    ps = [p for p in params if hasattr(p, "owned")]
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
    a.add_argument("--stage", default="256:4:16:256",
                   help="crop size : crops per step : prompts per window (0: helper head only) : window size")
    a.add_argument("--coarse", type=float, default=0, help="share of steps on pictures of 0.75 mpp and coarser, with --coarse-stage")
    a.add_argument("--coarse-stage", default="256:1:12:256")
    a.add_argument("--mpp", type=float, nargs=2, default=(0, 1e9), help="use only pictures between these scales")
    a.add_argument("--partial", type=float, default=0, help="share of crops from pictures with pseudo-labels, see pseudo.py")
    a.add_argument("--dense", type=float, default=0.5, help="weight of the helper head's loss")
    a.add_argument("--lr", type=float, default=1e-3)
    a.add_argument("--lr-end", type=float, default=1e-4)
    a.add_argument("--boost", type=float, default=1, help="rate of the neck and the upscaling over that of the rest")
    a.add_argument("--freeze", action="store_true", help="train the prompt encoder and the decoder alone")
    a.add_argument("--warm", type=int, default=150)
    a.add_argument("--steps", type=int, default=10**9)
    a.add_argument("--seconds", type=float, default=1e9)
    a.add_argument("--seed", type=int, default=1)
    a.add_argument("--ema", type=float, default=0.998)
    a.add_argument("--resume", help="a run's last.pt, to go on with")
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
    stages = [tuple(map(int, s.split(":"))) for s in (o.stage, o.coarse_stage)]
    os.makedirs(o.out, exist_ok=True)
    torch.manual_seed(o.seed)
    rng = np.random.default_rng([o.seed, o.rank])
    dev = torch.device(o.device)
    sam = model.build().to(dev)
    head = model.Dense(sam).to(dev)
    if o.freeze:
        sam.image_encoder.requires_grad_(False)
    params = [p for p in (*sam.parameters(), *head.parameters()) if p.requires_grad]
    opts = optimisers(sam, head, o.lr, o.boost, o.rank, o.world)
    step0 = 0
    ema = {k: v.cpu().clone() for k, v in sam.state_dict().items()}
    if o.init:
        sam.load_state_dict({k: v.float() for k, v in load_file(o.init).items()}, strict=False)
        ema = {k: v.cpu().clone() for k, v in sam.state_dict().items()}
    if o.resume:
        c = torch.load(o.resume, map_location="cpu")
        sam.load_state_dict(c["model"])
        if all(v.shape == c["head"][k].shape for k, v in head.state_dict().items()):
            head.load_state_dict(c["head"])
            for opt, state in zip(opts, c["opt"]):
                restore(opt, state, o.world)
        ema, step0 = c["ema"], c["step"]
    sam.train()
    dirs = o.shards.split(",")
    scales = [(0, 0.75) if o.coarse else tuple(o.mpp), (0.75, 1e9)]
    feeds = [iter(torch.utils.data.DataLoader(Feed(dirs, m, st, (o.seed, o.rank, i), o.partial), batch_size=None, num_workers=o.workers))
             for i, (m, st) in enumerate(zip(scales, stages))]
    turn = np.random.default_rng(o.seed)  # alike in all processes
    start, step, avg, last = time.time(), 0, None, time.time()
    log = open(os.path.join(o.out, "log.txt"), "a")

    def save(name):
        tmp = os.path.join(o.out, name + ".tmp")
        torch.save({"model": sam.state_dict(), "head": head.state_dict(), "ema": ema, "opt": [opt.state_dict() for opt in opts], "step": step0 + step}, tmp)
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
        kind = int(turn.random() < o.coarse)
        size, _, prompts, _ = stages[kind]
        bs, at = next(feeds[kind])
        x = model.normalise(sam, torch.from_numpy(np.stack([b["image"] for b in bs])).to(dev).permute(0, 3, 1, 2))
        if rng.random() < 0.05:  # what the frame holds right of and below a smaller picture
            x[:, :, :, int(size * rng.uniform(0.6, 1)):] = 0
        for p in params:
            p.grad = None
        with torch.autocast(dev.type, dtype=torch.bfloat16):
            emb = model.encode(sam, x, at)
            want = torch.from_numpy(np.stack([b["dense"] for b in bs])).to(dev)
            aux = dense_loss(head, model.upscale(sam, emb), want, torch.tensor(at, device=dev))
            total, st = o.dense * aux, (float("nan"),) * 4
            if prompts:
                loss, aux, st = prompted(sam, head, emb, at, bs, rng, dev)
                total = total + loss + o.dense * aux
        total.backward()
        if o.world > 1:
            grads = [p.grad if p.grad is not None else torch.zeros_like(p) for p in params]
            flat = torch.cat([g.flatten() for g in grads])
            dist.all_reduce(flat)
            flat /= o.world
            for p, g in zip(params, flat.split([g.numel() for g in grads])):
                p.grad = g.view_as(p)
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        for opt in opts:
            opt.step()
        if o.world > 1:
            share(params)
        step += 1
        if step % 4 == 0 and o.rank == 0:  # the average that is exported
            d = min(o.ema, (1 + step0 + step) / (10 + step0 + step)) ** 4
            with torch.no_grad():
                now = sam.state_dict()
                torch._foreach_lerp_([ema[k] for k in now], [now[k].cpu() for k in now], 1 - d)
        m = np.array([float(aux.detach()), *st])
        if not kind:
            avg = m if avg is None else np.where(np.isnan(m), avg, np.where(np.isnan(avg), m, 0.96 * avg + 0.04 * m))
        if step % 25 == 0 and o.rank == 0 and avg is not None:
            line = (f"{time.strftime('%H:%M:%S')} step {step0 + step} {(time.time() - last) / 25:.2f} s lr {lr:.2e} "
                    f"dense {avg[0]:.3f} loss {avg[1]:.3f} iou box {avg[2]:.3f} point {avg[3]:.3f} iou error {avg[4]:.3f}")
            print(line, flush=True)
            print(line, file=log, flush=True)
            last = time.time()
        if step % 100 == 0:
            if o.rank == 0:
                save("last.pt")
    if o.rank == 0:
        save("last.pt")


if __name__ == "__main__":
    main()
