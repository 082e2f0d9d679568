#!/usr/bin/env python3
"""Times a step of fine-tuning a ViT-B in slidesam and in PyTorch.

    python finetune.py --segment-anything PATH [--threads 2] [--repeat 5]

A step is forward, backward, clipping and AdamW for 25 objects of one field of
1024 x 1024, a point each, with SAM's loss: of the decoder and the prompt
encoder alone on a cached embedding, and with low-rank matrices (rank 4, queries
and values) in the image encoder's last three blocks on their cached input. Both
programs have the same counter-based weights, points and targets: the losses of
the first step are compared, and must agree to 1e-3.

Every program runs in a process of its own, slidesam first and last; of slidesam
the slower of the two counts, of PyTorch the faster of a batch of all objects
and of one object at a time (--batch). One JSON object per measurement, then the
table. PyTorch in batches of 25 takes some 10 GB.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time

from peers import REFERENCE, ROOT, cpu, peak_mb

SEED, OBJECTS, SIDE, RANK, BLOCKS = 1, 25, 1024, 4, 3
WHAT = ["decoder", "lora"]


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--segment-anything", metavar="PATH", help="clone of segment-anything at dca509f, if not installed")
    p.add_argument("--threads", type=int, default=os.cpu_count())
    p.add_argument("--repeat", type=int, default=5, help="measured steps of each, after one to warm up")
    p.add_argument("--what", nargs="+", choices=WHAT, default=WHAT)
    p.add_argument("--batch", type=int, nargs="+", default=[1, OBJECTS], help="objects at a time in PyTorch")
    p.add_argument("--peers-only", action="store_true", help="do not time slidesam")
    p.add_argument("--child", nargs=2, metavar=("WHAT", "BATCH"), help=argparse.SUPPRESS)
    return p.parse_args()


def sam_loss(logits, iou, target):
    """SAM's loss of prompts [N, 3, H, W]: of the best of three masks focal 20,
    dice 1, and the squared error of all predicted IoU, 1; mean over prompts."""
    import torch

    t = target[:, None].expand_as(logits)
    p = torch.sigmoid(logits)
    bce = torch.nn.functional.binary_cross_entropy_with_logits(logits, t, reduction="none")
    miss = 1 - (p * t + (1 - p) * (1 - t))
    focal = ((0.25 * t + 0.75 * (1 - t)) * bce * miss**2).mean((2, 3))
    dice = 1 - (2 * (p * t).sum((2, 3)) + 1) / (p.sum((2, 3)) + t.sum((2, 3)) + 1)
    with torch.no_grad():
        a, b = logits > 0, t >= 0.5
        true = (a & b).sum((2, 3)) / (a | b).sum((2, 3)).clamp(min=1)
    return ((20 * focal + dice).min(1).values + ((iou - true) ** 2).mean(1)).mean()


class LowRank:
    """Adds low-rank products to the queries and values of a block."""

    def __init__(self, qkv):
        import torch

        self.qkv, w = qkv, qkv.in_features
        self.a = [torch.nn.Parameter((torch.rand(RANK, w) * 2 - 1) / w**0.5) for _ in range(2)]
        self.b = [torch.nn.Parameter(torch.zeros(w, RANK)) for _ in range(2)]
        qkv.register_forward_hook(self.hook)

    def hook(self, _, args, out):
        import torch

        q, k, v = out.chunk(3, -1)
        low = [(args[0] @ a.T) @ b.T for a, b in zip(self.a, self.b)]
        return torch.cat([q + low[0], k, v + low[1]], -1)

    def parameters(self):
        return self.a + self.b


def child(a):
    """Times PyTorch and prints the line."""
    sys.path[:0] = [REFERENCE] + ([a.segment_anything] if a.segment_anything else [])
    import counter
    import gradients
    import torch
    from segment_anything.modeling import ImageEncoderViT

    torch.set_num_threads(a.threads)
    what, batch = a.child[0], int(a.child[1])
    c = gradients.config()
    m = gradients.Model(c, SEED)
    trained = [p for name, p in m.named_parameters() if name != "embedding"]
    n = 64 * 64
    embedding = torch.from_numpy(gradients.values("embedding", n * c["prompt"], SEED)).reshape(64, 64, -1).permute(2, 0, 1)[None]
    blocks = []
    if what == "lora":
        enc = ImageEncoderViT(
            img_size=SIDE, patch_size=16, embed_dim=768, depth=12, num_heads=12, mlp_ratio=4, qkv_bias=True, use_rel_pos=True,
            norm_layer=lambda d: torch.nn.LayerNorm(d, eps=1e-6), global_attn_indexes=c["globals"], window_size=14, out_chans=256,
        )  # fmt: skip
        with torch.no_grad():
            for name, p in enc.state_dict().items():
                if name.startswith("neck") or name.split(".")[0] == "blocks" and int(name.split(".")[1]) >= 12 - BLOCKS:
                    p.copy_(torch.from_numpy(counter.weight("image_encoder." + name, p.shape, SEED)))
        enc.requires_grad_(False)
        blocks = enc.blocks[12 - BLOCKS :]
        for b in blocks:
            trained += LowRank(b.attn.qkv).parameters()
        hidden = torch.from_numpy(gradients.values("hidden", n * 768, SEED)).reshape(1, 64, 64, 768)
    opt = torch.optim.AdamW(trained, lr=1e-5, weight_decay=0.01)
    at = [(100 + 200 * (i % 5), 100 + 200 * (i // 5)) for i in range(OBJECTS)]
    xs = torch.arange(256) + 0.5
    target = torch.stack([((xs[None] - x / 4) ** 2 + (xs[:, None] - y / 4) ** 2 < (8 + i) ** 2).float() for i, (x, y) in enumerate(at)])
    points, labels = torch.tensor(at, dtype=torch.float32)[:, None], torch.ones(OBJECTS, 1)

    def step():
        opt.zero_grad()
        e = embedding
        if what == "lora":
            e = hidden
            for b in blocks:
                e = b(e)
            e = enc.neck(e.permute(0, 3, 1, 2))
        # The encoder is gone through once: the decoder's share of its gradient adds up.
        leaf = e.detach().requires_grad_(what == "lora")
        total = 0.0
        for i in range(0, OBJECTS, batch):
            sparse, dense = m.prompt_encoder(points=(points[i : i + batch], labels[i : i + batch]), boxes=None, masks=None)
            logits, iou = m.mask_decoder(
                image_embeddings=leaf, image_pe=m.prompt_encoder.get_dense_pe(),
                sparse_prompt_embeddings=sparse, dense_prompt_embeddings=dense, multimask_output=True,
            )  # fmt: skip
            loss = sam_loss(logits, iou, target[i : i + batch]) * (len(logits) / OBJECTS)
            loss.backward()
            total += loss.item()
        if what == "lora":
            e.backward(leaf.grad)
        torch.nn.utils.clip_grad_norm_(trained, 1)
        opt.step()
        return total

    first, seconds = step(), []
    for _ in range(a.repeat):
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
    print(json.dumps(dict(
        peer="pytorch", version=torch.__version__, what=what, batch=batch, threads=a.threads, seconds=[round(s, 3) for s in seconds],
        best=round(min(seconds), 3), peak_mb=peak_mb(), loss=round(first, 6),
    )), flush=True)  # fmt: skip


def ours(a, what):
    """Times slidesam and returns the line."""
    cmd = ["go", "test", "./internal/train", "-run", "^$", "-bench", f"^BenchmarkStep$/^{what}$", "-benchtime", f"{a.repeat}x", "-timeout", "60m"]
    out = subprocess.run(cmd, cwd=ROOT, env={**os.environ, "GOMAXPROCS": str(a.threads)}, check=True, text=True, stdout=subprocess.PIPE).stdout
    m = re.search(rf"BenchmarkStep/{what}\S*\s+\d+\s+([\d.e+]+) ns/op(.*)", out)
    if not m:
        sys.exit(f"no line of the benchmark in:\n{out}")
    more = {k: float(v) for v, k in re.findall(r"([\d.e+-]+) (loss|peak-MB)", m[2])}
    line = dict(peer="slidesam", what=what, threads=a.threads, best=round(float(m[1]) / 1e9, 3), peak_mb=more["peak-MB"], loss=more["loss"])
    print(json.dumps(line), flush=True)
    return line


def main():
    a = arguments()
    if a.child:
        return child(a)
    rows = []
    for what in a.what:
        own = [] if a.peers_only else [ours(a, what)]
        theirs = []
        for batch in a.batch:
            cmd = [sys.executable, os.path.abspath(__file__), "--threads", str(a.threads), "--repeat", str(a.repeat), "--child", what, str(batch)]
            if a.segment_anything:
                cmd += ["--segment-anything", os.path.abspath(a.segment_anything)]
            out = subprocess.run(cmd, check=True, text=True, stdout=subprocess.PIPE).stdout
            print(out, end="", flush=True)
            theirs.append(json.loads(out.splitlines()[-1]))
        best = min(theirs, key=lambda t: t["best"])
        if not own:
            continue
        own.append(ours(a, what))
        slow = max(own, key=lambda o: o["best"])
        for t in theirs:
            if abs(t["loss"] - slow["loss"]) > 1e-3 * abs(t["loss"]):
                sys.exit(f"{what}: the losses of the first step differ: {slow['loss']} and PyTorch's {t['loss']}")
        rows.append((what, slow, best))
    if rows:
        print(f"\n{cpu()}, {a.threads} threads; a step with {OBJECTS} objects\n")
        print("| step | slidesam | PyTorch | ratio | memory | PyTorch | ratio |\n|---|---|---|---|---|---|---|")
        for what, o, t in rows:
            print(
                f"| {what} | {o['best']:.2f} s | {t['best']:.2f} s, {t['batch']} at a time | {t['best'] / o['best']:.2f} x "
                f"| {o['peak_mb']:.0f} MB | {t['peak_mb']:.0f} MB | {t['peak_mb'] / o['peak_mb']:.2f} x |"
            )


if __name__ == "__main__":
    main()
