"""Gradients of segment_anything's prompt encoder and mask decoder by PyTorch's
autograd, and fifty steps of training them."""

import functools
import math

import numpy as np
import torch
import torch.nn.functional as F
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, TwoWayTransformer

import counter
from digests import digest, values
from models import config
from store import Store

SHAPES = {
    "gradients_small": config(img_size=64, patch=8, prompt=32, decoder_mlp=64, iou_hidden=32),
    "gradients_b": config(),
}

# Points (x, y, label) and boxes as shares of the input picture's side.
KINDS = {
    "point": dict(points=[(0.31, 0.62, 1)], multi=True),
    "points": dict(points=[(0.31, 0.62, 1), (0.8, 0.1, 0), (0.4, 0.6, 1)], multi=False),
    "box": dict(box=(0.2, 0.3, 0.55, 0.9), multi=False),
    "point_box": dict(points=[(0.4, 0.5, 1)], box=(0.2, 0.3, 0.55, 0.9), multi=True),
    "point_mask": dict(points=[(0.31, 0.62, 1)], mask=True, multi=True),
    "box_mask": dict(box=(0.2, 0.3, 0.55, 0.9), mask=True, multi=False),
    "mask": dict(mask=True, multi=True),
    "none": dict(multi=True),
}


class Model(torch.nn.Module):
    def __init__(self, c, seed):
        super().__init__()
        self.c, self.grid = c, c["img_size"] // c["patch"]
        size = (c["img_size"], c["img_size"])
        self.prompt_encoder = PromptEncoder(c["prompt"], (self.grid, self.grid), size, c["mask_chans"])
        self.mask_decoder = MaskDecoder(
            num_multimask_outputs=3,
            transformer=TwoWayTransformer(
                depth=c["decoder_depth"], embedding_dim=c["prompt"], mlp_dim=c["decoder_mlp"], num_heads=c["decoder_heads"]
            ),
            transformer_dim=c["prompt"], iou_head_depth=c["iou_depth"], iou_head_hidden_dim=c["iou_hidden"],
        )  # fmt: skip
        with torch.no_grad():
            for name, p in self.state_dict().items():
                p.copy_(torch.from_numpy(counter.weight(name, p.shape, seed)))
        n = c["prompt"] * self.grid**2
        # [Grid*Grid, Channels], as Go keeps it.
        e = torch.from_numpy(values("embedding", n, seed)).reshape(self.grid, self.grid, c["prompt"])
        self.embedding = torch.nn.Parameter(e.permute(2, 0, 1)[None].contiguous())

    def forward(self, kind, masks):
        """Returns low-resolution logits and all qualities for prompts of one
        kind, [P, masks, H, W] and [P, 4]."""
        side, points, boxes = self.c["img_size"], None, None
        if "points" in kind:
            p = torch.tensor([kind["points"]], dtype=torch.float32)
            points = (p[:, :, :2] * side, p[:, :, 2])
        if "box" in kind:
            boxes = torch.tensor([kind["box"]], dtype=torch.float32) * side
        sparse, dense = self.prompt_encoder(points, boxes, masks)
        logits, iou = self.mask_decoder.predict_masks(
            self.embedding, self.prompt_encoder.get_dense_pe(), sparse, dense)  # fmt: skip
        return (logits[:, 1:] if kind["multi"] else logits[:, :1]), iou


def gradients(folder, names=tuple(SHAPES)):
    torch.manual_seed(0)
    for name in names:
        seed, store = 7, Store(name, folder)
        m = Model(SHAPES[name], seed)
        low = 4 * m.grid
        tensors = [n for n, p in m.named_parameters()]
        for kind, k in KINDS.items():
            masks = torch.from_numpy(counter.mask_logits(low, low, 3))[None, None] if k.get("mask") else None
            m.zero_grad(set_to_none=True)
            logits, iou = m(k, masks)
            a = torch.from_numpy(values("logits", logits.numel(), seed)).reshape(logits.shape)
            b = torch.from_numpy(values("iou", iou.numel(), seed)).reshape(iou.shape)
            loss = (a * logits).sum() / math.sqrt(logits.numel()) + (b * iou).sum()
            loss.backward()
            rows = []
            for n, p in m.named_parameters():
                g = torch.zeros_like(p) if p.grad is None else p.grad
                if n == "embedding":
                    g = g[0].permute(1, 2, 0)
                rows.append(digest(n, g))
            store.put(kind, np.array(rows, np.float32))
            store.put(kind + "/loss", np.array([loss.item()], np.float32))
        meta = dict(what="segment_anything dca509f, torch.autograd", model=name, seed=seed, config=SHAPES[name],
                    kinds=KINDS, tensors=tensors)  # fmt: skip
        store.close(meta)


# Blocks with windows that the map does not divide into, and with none.
ENCODER = config(img_size=80, patch=8, width=32, depth=3, heads=2, window=4, globals=[1], prompt=32)
RANK = 3


def encoder(folder):
    """Gradients of the whole image encoder, with low-rank matrices on the
    queries and values of every block, as micro-sam's AttentionLoRA has them."""
    name, seed, c = "gradients_encoder", 7, ENCODER
    m = ImageEncoderViT(
        depth=c["depth"], embed_dim=c["width"], img_size=c["img_size"], mlp_ratio=c["mlp_ratio"],
        norm_layer=functools.partial(torch.nn.LayerNorm, eps=1e-6), num_heads=c["heads"], patch_size=c["patch"],
        qkv_bias=True, use_rel_pos=True, global_attn_indexes=c["globals"], window_size=c["window"], out_chans=c["prompt"],
    )  # fmt: skip
    params = {}
    for n, p in m.state_dict().items():
        params["image_encoder." + n] = torch.from_numpy(counter.weight("image_encoder." + n, p.shape, seed))
    for i in range(c["depth"]):
        for part in "qv":
            for side, shape in (("a", (RANK, c["width"])), ("b", (c["width"], RANK))):
                n = f"image_encoder.blocks.{i}.attn.qkv.w_{side}_linear_{part}.weight"
                params[n] = torch.from_numpy(counter.weight(n, shape, seed))
    for p in params.values():
        p.requires_grad_(True)
    used = {}
    for n, _ in m.named_parameters():
        used[n] = params["image_encoder." + n]
    for i in range(c["depth"]):
        at = f"blocks.{i}.attn.qkv."
        low = {p: params[f"image_encoder.{at}w_b_linear_{p}.weight"] @ params[f"image_encoder.{at}w_a_linear_{p}.weight"] for p in "qv"}
        used[at + "weight"] = used[at + "weight"] + torch.cat([low["q"], torch.zeros_like(low["q"]), low["v"]])
    side = c["img_size"]
    x = torch.from_numpy(values("picture", side * side * 3, seed)).reshape(side, side, 3).permute(2, 0, 1)[None]
    y = torch.nn.utils.stateless.functional_call(m, used, (x,))[0].permute(1, 2, 0)
    a = torch.from_numpy(values("embedding", y.numel(), seed)).reshape(y.shape)
    loss = (a * y).sum() / math.sqrt(y.numel())
    loss.backward()
    store = Store(name, folder)
    store.put("gradients", np.array([digest(n, p.grad) for n, p in params.items()], np.float32))
    store.put("loss", np.array([loss.item()], np.float32))
    store.close(dict(what="segment_anything dca509f, torch.autograd", model=name, seed=seed, config=c, rank=RANK, tensors=list(params)))


def sam_loss(logits, iou, qualities, target):
    """Returns the mean over prompts of focal 20 : dice 1 : IoU 1, where the
    parts on pixels count for the mask that has the least of them.

    logits [P, M, H, W], iou [P, 4], qualities M columns of iou, target [P, H, W].
    """
    t = target[:, None].expand_as(logits)
    p = logits.sigmoid()
    bce = F.binary_cross_entropy_with_logits(logits, t, reduction="none")
    miss = 1 - (p * t + (1 - p) * (1 - t))
    focal = ((0.25 * t + 0.75 * (1 - t)) * bce * miss**2).mean((2, 3))
    dice = 1 - (2 * (p * t).sum((2, 3)) + 1) / (p.sum((2, 3)) + t.sum((2, 3)) + 1)
    pixels = (20 * focal + dice).min(1).values
    a, b = logits > 0, t >= 0.5
    measured = (a & b).sum((2, 3)) / (a | b).sum((2, 3)).clamp(min=1)
    return (pixels + ((iou[:, qualities] - measured) ** 2).mean(1)).mean()


STEPS = 50


def steps(folder):
    """Fifty steps of AdamW on four disks, prompts of every kind in turn."""
    name, seed = "steps", 7
    c = SHAPES["gradients_small"]
    m, store = Model(c, seed), Store(name, folder)
    m.embedding.requires_grad_(False)
    low = 4 * m.grid
    y, x = np.mgrid[0:low, 0:low] + 0.5
    disks = [(0.3, 0.6, 0.2), (0.6, 0.4, 0.25), (0.5, 0.5, 0.12), (0.35, 0.35, 0.3)]
    targets = [(np.hypot(x - a * low, y - b * low) < r * low).astype(np.float32) for a, b, r in disks]
    params = [p for p in m.parameters() if p.requires_grad]
    opt = torch.optim.AdamW(params, lr=1e-3, weight_decay=0.01)
    kinds = ["point", "box", "point_mask", "point_box"]
    losses = []
    for step in range(STEPS):
        a, b, r = disks[step % 4]
        kind = dict(KINDS[kinds[step // 4 % 4]])
        if "points" in kind:
            kind["points"] = [(a, b, 1)]
        if "box" in kind:
            kind["box"] = (a - r, b - r, a + r, b + r)
        masks = torch.from_numpy(counter.mask_logits(low, low, step))[None, None] if kind.get("mask") else None
        opt.zero_grad()
        logits, iou = m(kind, masks)
        loss = sam_loss(logits, iou, [1, 2, 3] if kind["multi"] else [0], torch.from_numpy(targets[step % 4])[None])
        loss.backward()
        for p in params:
            # A tensor without gradient still decays in Go; so it does here.
            if p.grad is None:
                p.grad = torch.zeros_like(p)
        opt.step()
        losses.append(loss.item())
    store.put("losses", np.array(losses, np.float32))
    names = [n for n, p in m.named_parameters() if p.requires_grad]
    store.put("weights", np.array([digest(n, p) for n, p in m.named_parameters() if p.requires_grad], np.float32))
    store.close(dict(what="segment_anything dca509f, torch.optim.AdamW", model=name, seed=seed, config=c, disks=disks,
                     kinds=kinds, tensors=names))  # fmt: skip
    print("loss", losses[0], losses[-1])
