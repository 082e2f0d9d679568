"""Runs segment_anything's own classes with counter-based weights and captures
their stages."""

import functools

import numpy as np
import torch
from segment_anything import SamPredictor
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer

import counter
import prompts
from store import Store

# Sampling targets, in values: encoder stages, embedding, decoder planes.
SMALL = dict(stage=2048, embedding=4096, dense_pe=1024, plane=320, row_pixels=40000)
FULL = dict(stage=5120, embedding=16384, dense_pe=2048, plane=600, row_pixels=60000)


def config(**kw):
    """A model's shape. The defaults are build_sam.py's for ViT-B."""
    c = dict(img_size=1024, patch=16, width=768, depth=12, heads=12, mlp_ratio=4, window=14, globals=[2, 5, 8, 11],
             prompt=256, decoder_depth=2, decoder_heads=8, decoder_mlp=2048, mask_chans=16, iou_depth=3,
             iou_hidden=256)  # fmt: skip
    assert set(kw) <= set(c)
    return {**c, **kw}


SHAPES = {
    "small_a": config(img_size=64, patch=8, width=32, depth=3, heads=2, window=4, globals=[2], prompt=32, decoder_mlp=64),
    "small_b": config(img_size=128, patch=16, width=48, depth=4, heads=3, window=7, globals=[0], prompt=64, decoder_mlp=128, iou_hidden=64),
    "small_c": config(img_size=128, patch=8, width=96, depth=2, heads=2, mlp_ratio=2, window=14, globals=[1], prompt=32, decoder_mlp=96, iou_hidden=48),
    "small_d": config(img_size=256, patch=16, width=48, depth=2, heads=4, window=7, globals=[], prompt=64, decoder_mlp=128, iou_hidden=64),
    "small_e": config(img_size=64, patch=16, width=32, depth=2, heads=4, window=14, globals=[0, 1], prompt=32, decoder_mlp=64, iou_hidden=32),
    "small_f": config(img_size=256, patch=8, width=32, depth=3, heads=1, window=14, globals=[1], prompt=32, decoder_mlp=64, iou_hidden=32),
    "small_g": config(img_size=64, patch=16, width=96, depth=2, heads=6, window=7, globals=[1], prompt=64, decoder_depth=3, decoder_mlp=64, mask_chans=8, iou_depth=2, iou_hidden=32),
    "full_b": config(),
    "full_b_portrait": config(),
    "full_l": config(width=1024, depth=24, heads=16, globals=[5, 11, 17, 23]),
    "full_h": config(width=1280, depth=32, heads=16, globals=[7, 15, 23, 31]),
}  # fmt: skip

# (height, width) of the pictures; the first one meets every prompt.
PICTURES = {
    "small_a": [(60, 90), (90, 60), (1, 1), (1, 100), (300, 400)],
    "small_b": [(100, 100), (200, 133), (2, 3), (128, 96)],
    "small_c": [(150, 100), (1, 200), (1, 1)],
    "small_d": [(191, 256), (400, 250), (300, 1)],
    "small_e": [(30, 40), (64, 64)],
    "small_f": [(140, 200), (20, 300)],
    "small_g": [(100, 70)],
    "full_b": [(768, 1024)],
    "full_b_portrait": [(1300, 900)],
    "full_l": [(700, 1000)],
    "full_h": [(768, 1024)],
}


def empty(c):
    """Returns segment_anything's model of that shape, with weights that mean
    nothing."""
    grid = c["img_size"] // c["patch"]
    sam = Sam(
        image_encoder=ImageEncoderViT(
            depth=c["depth"], embed_dim=c["width"], img_size=c["img_size"], mlp_ratio=c["mlp_ratio"],
            norm_layer=functools.partial(torch.nn.LayerNorm, eps=1e-6), num_heads=c["heads"], patch_size=c["patch"],
            qkv_bias=True, use_rel_pos=True, global_attn_indexes=c["globals"], window_size=c["window"],
            out_chans=c["prompt"],
        ),
        prompt_encoder=PromptEncoder(
            embed_dim=c["prompt"], image_embedding_size=(grid, grid), input_image_size=(c["img_size"], c["img_size"]),
            mask_in_chans=c["mask_chans"],
        ),
        mask_decoder=MaskDecoder(
            num_multimask_outputs=3,
            transformer=TwoWayTransformer(
                depth=c["decoder_depth"], embedding_dim=c["prompt"], mlp_dim=c["decoder_mlp"],
                num_heads=c["decoder_heads"],
            ),
            transformer_dim=c["prompt"], iou_head_depth=c["iou_depth"], iou_head_hidden_dim=c["iou_hidden"],
        ),
        pixel_mean=[123.675, 116.28, 103.53],
        pixel_std=[58.395, 57.12, 57.375],
    )  # fmt: skip
    return sam.eval()


def build(c, seed):
    """Returns segment_anything's model of that shape with counter-based
    weights."""
    sam = empty(c)
    with torch.no_grad():
        for name, p in sam.state_dict().items():
            p.copy_(torch.from_numpy(counter.weight(name, p.shape, seed)))
    return sam


class Capture:
    """Keeps what chosen modules put out."""

    def __init__(self, sam, c):
        self.got = {}
        enc, dec = sam.image_encoder, sam.mask_decoder
        enc.blocks[0].register_forward_pre_hook(lambda m, x: self.keep("patch", x[0]))
        windows = [i for i in range(c["depth"]) if i not in c["globals"]]
        for name, at in (("window_block", windows[:1]), ("global_block", c["globals"][:1])):
            for i in at:
                enc.blocks[i].register_forward_hook(lambda m, x, y, name=name: self.keep(name, y))
        sam.prompt_encoder.register_forward_hook(self.prompt)
        dec.transformer.register_forward_hook(self.transformer)
        dec.output_upscaling.register_forward_hook(lambda m, x, y: self.keep("upscaled", y))

    def keep(self, name, t):
        assert t.shape[0] == 1, (name, t.shape)
        self.got[name] = t[0].detach().clone().numpy()

    def prompt(self, m, x, y):
        self.keep("sparse", y[0])
        self.keep("dense", y[1])

    def transformer(self, m, x, y):
        self.keep("tokens", y[0])
        self.keep("image_tokens", y[1])

    def take(self):
        got, self.got = self.got, {}
        return got


def predict(predictor, p, mask, multimask):
    """Calls the predictor with one prompt; returns logits, iou, low-res logits."""
    kw = {}
    if p.get("points"):
        kw["point_coords"] = np.array(p["points"], np.float64)
        kw["point_labels"] = np.array(p["labels"])
    if p.get("box"):
        kw["box"] = np.array(p["box"], np.float64)
    if mask is not None:
        kw["mask_input"] = mask[None]
    return predictor.predict(multimask_output=multimask, return_logits=True, **kw)


def capture_prompt(store, key, predictor, cap, p, low, target, stages):
    """Runs one prompt with one mask and with three, and stores both: index 0
    of the results is multimask_output=False, 1..3 are True. Returns all four
    low-resolution logits and p completed for the file's description."""
    p, mask = dict(p), None
    if "mask_seed" in p:
        mask = counter.mask_logits(low, low, p["mask_seed"])
    if "feed" in p:
        mask = p.pop("fed")
    one = predict(predictor, p, mask, False)
    first = cap.take()
    three = predict(predictor, p, mask, True)
    got = cap.take()
    for k, v in got.items():
        assert np.array_equal(v, first[k]), k
    logits, iou, lowres = (np.concatenate([a, b]) for a, b in zip(one, three))
    if stages:
        store.put(key + "/sparse", got["sparse"])
        if mask is not None:
            store.sample(key + "/dense", got["dense"], target["plane"])
        if "feed" in p and mask.size <= 4096:
            store.put(key + "/mask_input", mask)
        store.put(key + "/tokens", got["tokens"])
        store.sample(key + "/image_tokens", got["image_tokens"], target["plane"])
        store.sample(key + "/upscaled", got["upscaled"], target["plane"])
    store.sample(key + "/lowres", lowres, 3 * target["plane"] // 2)
    store.put(key + "/iou", iou)
    store.sample(key + "/logits", logits, target["plane"])
    step = 1
    while logits.size // step > target["row_pixels"]:
        step += 1
    store.masks(key + "/masks", logits > predictor.model.mask_threshold, step)
    p["area"] = (logits > 0).sum((1, 2)).tolist()
    return lowres, iou, p


def run(name, seed, target, folder):
    c = SHAPES[name]
    sam = build(c, seed)
    cap, predictor, store = Capture(sam, c), SamPredictor(sam), Store(name, folder)
    low = 4 * (c["img_size"] // c["patch"])
    store.sample("dense_pe", sam.prompt_encoder.get_dense_pe()[0].detach().numpy(), target["dense_pe"])
    pictures = []
    for k, size in enumerate(PICTURES[name]):
        pic = dict(size=size, seed=1000 * seed + k)
        predictor.set_image(counter.picture(*size, pic["seed"]))
        stages = cap.take()
        stages["embedding"] = predictor.get_image_embedding()[0].numpy()
        for stage, v in stages.items():
            if k == 0 or stage == "embedding":
                store.sample(f"p{k}/{stage}", v, target["embedding" if stage == "embedding" else "stage"] >> 2 * (k > 0))
        pic["input"] = predictor.input_size
        pic["prompts"], results = [], {}
        full = name.startswith("full")
        for j, p in enumerate(prompts.first(*size, full) if k == 0 else prompts.others(*size)):
            if "feed" in p:
                lowres, iou = results[p["feed"]]
                p["feed_mask"] = 1 + int(np.argmax(iou[1:]))
                p["fed"] = lowres[p["feed_mask"]]
            lowres, iou, p = capture_prompt(store, f"p{k}/q{j}", predictor, cap, p, low, target, k == 0)
            results[p["name"]] = (lowres, iou)
            pic["prompts"].append(p)
        pictures.append(pic)
    store.close(dict(what="segment_anything dca509f, SamPredictor", model=name, seed=seed, config=c, pictures=pictures))


def small(folder):
    for k, name in enumerate(n for n in SHAPES if n.startswith("small")):
        run(name, k + 1, SMALL, folder)


def full(folder, names=("full_b", "full_b_portrait", "full_l", "full_h")):
    for name in names:
        run(name, 1, FULL, folder)


full_b = functools.partial(full, names=("full_b", "full_b_portrait"))
full_l = functools.partial(full, names=("full_l",))
full_h = functools.partial(full, names=("full_h",))
