"""Runs Cellpose-SAM's own network, tiling and dynamics with counter-based
weights and drawn flows.

Needs requirements-cellpose.txt's environment: cellpose 4.2.1.1, in float32
(its default is bfloat16, on any device). CPSAM has no argument for its widths:
the small network stands in for the ViT-L that its constructor asks
segment_anything for.
"""

import functools
import os

import numpy as np
import torch
from cellpose import core, dynamics, transforms, utils, vit
from segment_anything.modeling import ImageEncoderViT

import counter
from store import Store

SMALL = dict(width=32, depth=3, heads=2, out=16, globals=[2], side=64, seed=21, size=[100, 150])
FULL = dict(width=1024, depth=24, heads=16, out=256, globals=[5, 11, 17, 23], side=256, seed=22, size=[300, 280])


def network(c):
    """CPSAM of that shape with counter-based weights."""
    encoder = ImageEncoderViT(
        depth=c["depth"], embed_dim=c["width"], img_size=1024, mlp_ratio=4,
        norm_layer=functools.partial(torch.nn.LayerNorm, eps=1e-6), num_heads=c["heads"], patch_size=16, qkv_bias=True,
        use_rel_pos=True, global_attn_indexes=c["globals"], window_size=14, out_chans=c["out"],
    )  # fmt: skip

    class Registered:
        image_encoder = encoder

    vit.sam_model_registry = {"vit_l": lambda _: Registered}
    net = vit.CPSAM(bsize=c["side"], dtype=torch.float32)
    state = net.state_dict()
    for k, v in state.items():
        if k not in ("W2", "diam_mean", "diam_labels"):
            state[k] = torch.from_numpy(counter.weight(k, v.shape, c["seed"]))
    net.load_state_dict(state)
    return net.eval()


def run(name, c, folder, target):
    net = network(c)
    picture = counter.picture(*c["size"], c["seed"])
    x = transforms.normalize_img(transforms.convert_image(picture)[None], normalize=True, percentile=None)
    s = Store(name, folder)
    s.sample("normalised", x[0], target)
    y, _ = core.run_net(net, x, bsize=c["side"], batch_size=4)
    s.sample("maps", y[0], target)  # flow down, flow right, logit of being a cell
    # One window alone, before any blending.
    tile = counter.uniform(counter.hash64(c["seed"]), 3 * c["side"] ** 2).reshape(1, 3, c["side"], c["side"])
    s.sample("window", core._forward(net, tile)[0][0], target)
    state = net.state_dict()
    s.close(dict(c, weights=list(state), shapes=[list(v.shape) for v in state.values()], torch=torch.__version__))


def drawn(h, w, cell, seed, amp):
    """Flows [2, h, w] and logits [h, w] of round cells on a jittered lattice,
    some too small, some with a hole, some whose flows turn around them.
    Sums, products, quotients and roots in float64 alone, so that Go makes the
    same."""
    rows, cols = h // cell + 3, w // cell + 3
    key = counter.hash64(seed)
    bits = counter.splitmix64(np.arange(rows * cols, dtype=np.uint64) + np.uint64(key)).reshape(rows, cols)

    def part(shift, n):
        return (bits >> np.uint64(shift) & np.uint64(0xFFFF)).astype(np.int64) % n

    cy = (np.arange(rows)[:, None] - 1) * cell + part(0, cell)
    cx = (np.arange(cols)[None, :] - 1) * cell + part(16, cell)
    radius = 1 + part(32, 2 * cell // 3)
    kind = part(48, 10)
    y, x = np.mgrid[:h, :w]
    best = np.full((h, w), 1 << 40, np.int64)
    dy, dx, r, k = (np.zeros((h, w), np.int64) for _ in range(4))
    for i in (0, 1, 2):
        for j in (0, 1, 2):
            gy, gx = y // cell + i, x // cell + j
            ty, tx = cy[gy, gx] - y, cx[gy, gx] - x
            d = ty * ty + tx * tx
            near = d < best
            for a, b in ((best, d), (dy, ty), (dx, tx), (r, radius[gy, gx]), (k, kind[gy, gx])):
                a[near] = b[near]
    d = np.sqrt(best.astype(np.float64))
    div = np.maximum(d, 1)
    turned = k == 1
    fy, fx = 5 * np.where(turned, dx, dy) / div, 5 * np.where(turned, -dy, dx) / div
    logit = np.where((k == 2) & (d < 3), -1.0, r - d)
    noise = counter.uniform(counter.hash64(seed + 1), 3 * h * w).reshape(3, h, w).astype(np.float64)
    return (np.stack([fy, fx]) + amp * noise[:2]).astype(np.float32), (logit + amp * noise[2]).astype(np.float32)


FLOWS = [
    dict(name="plain", size=[200, 260], cell=24, seed=31, amp=0.5, options={}),
    dict(name="noisy", size=[150, 150], cell=16, seed=32, amp=3.0, options={}),
    dict(name="keep", size=[120, 200], cell=20, seed=33, amp=1.0, options=dict(flow_threshold=0.0, min_size=-1, cellprob_threshold=-2.0)),
    dict(name="strict", size=[128, 128], cell=30, seed=34, amp=1.0, options=dict(flow_threshold=0.2, cellprob_threshold=1.5, min_size=60)),
    dict(name="large", size=[40, 50], cell=60, seed=35, amp=0.2, options={}),
    dict(name="big", size=[40, 50], cell=80, seed=43, amp=0.1, options=dict(flow_threshold=0.0)),
    # Too few steps: ends lie scattered.
    dict(name="spread", size=[120, 120], cell=40, seed=39, amp=0.3, options=dict(niter=14, flow_threshold=0.0)),
    dict(name="sparse", size=[60, 7], cell=9, seed=36, amp=0.2, options=dict(niter=50)),
    dict(name="empty", size=[20, 20], cell=9, seed=37, amp=0.2, options=dict(cellprob_threshold=100.0)),
    dict(name="field", size=[1024, 1024], cell=28, seed=38, amp=1.0, options={}),
]


def flows(folder):
    s = Store("cellpose_flows", folder)
    for c in FLOWS:
        flow, logit = drawn(*c["size"], c["cell"], c["seed"], c["amp"])
        o = dict(niter=200, cellprob_threshold=0.0, flow_threshold=0.4, min_size=15) | c["options"]
        c["options"] = o
        c["foreground"] = int((logit > o["cellprob_threshold"]).sum())
        labels = dynamics.resize_and_compute_masks(flow, logit, max_size_fraction=0.4, **o)
        c["objects"] = int(labels.max())
        raw = dynamics.compute_masks(flow, logit, niter=o["niter"], cellprob_threshold=o["cellprob_threshold"], flow_threshold=0.0)
        c["raw"] = int(raw.max())
        # Low and high bytes, so that uint8 arrays hold them.
        s.put(c["name"], np.stack([labels & 255, labels >> 8]).astype(np.uint8))
        if flow[0].size < 100000:
            inds = np.nonzero(logit > o["cellprob_threshold"])
            if len(inds[0]):
                p = dynamics.follow_flows(flow * (logit > o["cellprob_threshold"]) / 5.0, inds, niter=o["niter"])
                s.sample(c["name"] + "/ends", p.numpy(), 8000)
        print(c["name"], c["foreground"], c["raw"], c["objects"])
    s.close(dict(cases=FLOWS, torch=torch.__version__))


def small(folder):
    run("cellpose_small", SMALL, folder, 12000)
    flows(folder)


def full(folder):
    run("cellpose_full", FULL, folder, 12000)
