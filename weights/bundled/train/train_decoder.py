"""Trains the bundled model's instance decoder on the files of frames.py and embed/. The encoder stays as it is.

    python train_decoder.py --frames frames --held vframes --out RUN --seconds 3600
    python train_decoder.py --run RUN/last.pt --export ../instances.safetensors
    python train_decoder.py --run RUN/last.pt --held vframes

--held measures F1 and PQ on other frames now and then; by these checkpoints are chosen.
"""

import argparse
import glob
import itertools
import math
import os
import time

import numpy as np
import torch
from safetensors.torch import save_file

import decoder

PATCH = 16


class Frames:
    """Crops of the complete frames of a folder; picks up new ones as they appear."""

    def __init__(self, path):
        self.path, self.all = path, []
        self.refresh()

    def refresh(self):
        files = sorted(f[:-len("-maps.npy")] for f in glob.glob(os.path.join(self.path, "*-maps.npy")))
        known = {f for f, *_ in self.all}
        for f in files:
            if f not in known and os.path.exists(f + ".npy"):
                self.all.append((f, np.load(f + ".npy").astype(np.float16), np.load(f + "-maps.npy")))

    def batch(self, rng, crops, tokens):
        """Embeddings [crops, C, tokens, tokens] and targets [crops, 3, 16 tokens, 16 tokens]."""
        z, t = [], []
        for i in rng.choice(len(self.all), crops, replace=len(self.all) < crops):
            _, emb, maps = self.all[i]
            y, x = rng.integers(emb.shape[1] - tokens + 1, size=2)
            z.append(emb[:, y:y + tokens, x:x + tokens])
            t.append(maps[:, y * PATCH:(y + tokens) * PATCH, x * PATCH:(x + tokens) * PATCH])
        scale = torch.tensor([1.0, 255.0, 255.0])[:, None, None]
        return torch.from_numpy(np.stack(z)).float(), torch.from_numpy(np.stack(t)).float() / scale


def averaged(ema, frames, crops, tokens, batches=12):
    """A decoder of the averaged weights, whose running statistics are those of fresh batches."""
    net = decoder.Decoder()
    net.load_state_dict(ema)
    norms = [m for m in net.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    for m in norms:
        m.reset_running_stats()
        m.momentum = None  # the mean of all
    rng = np.random.default_rng(5)
    net.train()
    with torch.no_grad():
        for _ in range(batches):
            net(frames.batch(rng, crops, tokens)[0])
    return net.eval()


@torch.no_grad()
def measure(net, path, most=None, **options):
    """F1 at an IoU of 0.5 and PQ, pooled over whole frames, at most so many."""
    total = np.zeros(4)
    for f in sorted(glob.glob(os.path.join(path, "*-nuclei.npy")))[:most]:
        emb = f[:-len("-nuclei.npy")] + ".npy"
        if os.path.exists(emb):
            maps = net(torch.from_numpy(np.load(emb))[None].float())[0].numpy()
            unknown = np.load(f.replace("-nuclei.npy", "-maps.npy"))[0] == decoder.UNKNOWN
            total += decoder.counts(np.load(f), decoder.instances(maps, **options), unknown)
    tp, fp, fn, iou = total
    return f"TP {tp:.0f} FP {fp:.0f} FN {fn:.0f} F1 {2 * tp / max(1, 2 * tp + fp + fn):.4f} PQ {2 * iou / max(1, 2 * tp + fp + fn):.4f}"


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--frames", help="folder to train on")
    a.add_argument("--held", help="folder to measure on")
    a.add_argument("--out", help="folder of the run")
    a.add_argument("--run", help="a run's last.pt: to go on with, to measure or to export")
    a.add_argument("--export", help="file for the weights of --run, float16")
    a.add_argument("--crops", type=int, default=4)
    a.add_argument("--tokens", type=int, default=20, help="side of a crop in tokens of 16 pixels")
    a.add_argument("--lr", type=float, default=3e-3)
    a.add_argument("--lr-end", type=float, default=2e-5)
    a.add_argument("--warm", type=int, default=40)
    a.add_argument("--seconds", type=float, default=3600)
    a.add_argument("--every", type=float, default=600, help="seconds between measurements")
    a.add_argument("--few", type=int, default=4, help="frames of --held to measure on while training")
    a.add_argument("--ema", type=float, default=0.99)
    a.add_argument("--threads", type=int, default=1)
    a.add_argument("--seed", type=int, default=1)
    o = a.parse_args()
    torch.set_num_threads(o.threads)
    state = torch.load(o.run, map_location="cpu") if o.run else None
    if not o.frames:
        net = decoder.Decoder()
        net.load_state_dict(state["final"])
        net.eval()
        if o.held:
            print(measure(net, o.held))
        if o.export:
            # What the library binds: the norms' counts of batches are training's alone.
            out = {k: v.half().contiguous() for k, v in net.state_dict().items() if not k.endswith("num_batches_tracked")}
            assert all(torch.isfinite(v).all() for v in out.values())
            save_file(out, o.export, metadata={"format": "pt", "step": str(state["step"]), "licence": "Apache-2.0"})
            print(len(out), "tensors,", sum(v.numel() for v in out.values()), "parameters, step", state["step"])
        return
    os.makedirs(o.out, exist_ok=True)
    log = open(os.path.join(o.out, "log.txt"), "a")

    def say(text):
        print(time.strftime("%H:%M:%S"), text, flush=True)
        print(time.strftime("%H:%M:%S"), text, file=log, flush=True)

    torch.manual_seed(o.seed)
    rng = np.random.default_rng([o.seed, 31])
    frames = Frames(o.frames)
    while len(frames.all) < 8:
        time.sleep(5)
        frames.refresh()
    net = decoder.Decoder()
    step0 = 0
    if state:
        net.load_state_dict(state["ema"])
        step0 = state["step"]
    ema = {k: v.clone() for k, v in net.state_dict().items()}
    matrices = [p for p in net.parameters() if p.ndim > 1]
    rest = [p for p in net.parameters() if p.ndim <= 1]
    opt = torch.optim.AdamW([{"params": matrices, "weight_decay": 0.02}, {"params": rest, "weight_decay": 0}], lr=o.lr, betas=(0.9, 0.98), fused=True)
    start = last = time.time()
    mean = None

    def save(step):
        final = averaged(ema, frames, o.crops, o.tokens)
        tmp = os.path.join(o.out, "last.pt.tmp")
        torch.save({"final": final.state_dict(), "ema": ema, "step": step0 + step}, tmp)
        os.replace(tmp, os.path.join(o.out, "last.pt"))
        if o.held:
            say(f"step {step0 + step}, {len(frames.all)} frames, held back: {measure(final, o.held, o.few)}")

    for step in itertools.count(1):
        t = (time.time() - start) / o.seconds
        if t >= 1:
            break
        lr = o.lr_end + (o.lr - o.lr_end) * 0.5 * (1 + math.cos(math.pi * t))
        for g in opt.param_groups:
            g["lr"] = lr * min(1, step / o.warm)
        if step % 10 == 0:
            frames.refresh()
        z, want = frames.batch(rng, o.crops, o.tokens)
        l = decoder.loss(net.train()(z), want)
        opt.zero_grad()
        l.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        opt.step()
        d = min(o.ema, (1 + step) / (10 + step))
        with torch.no_grad():
            for k, v in net.state_dict().items():
                if v.is_floating_point():
                    ema[k].lerp_(v, 1 - d)
                else:
                    ema[k].copy_(v)
        mean = l.item() if mean is None else 0.97 * mean + 0.03 * l.item()
        if step % 20 == 0:
            say(f"step {step0 + step} loss {mean:.4f} lr {lr:.1e} {len(frames.all)} frames, {(time.time() - start) / step:.2f} s a step")
        if time.time() - last > o.every:
            last = time.time()
            save(step)
    save(step - 1)


if __name__ == "__main__":
    main()
