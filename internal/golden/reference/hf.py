"""Hugging Face's SamModel on the same weights: how far it is from
segment_anything, and a small checkpoint of its layout with its outputs.

Needs requirements-hf.txt, not requirements.txt.
"""

import os
import re

import numpy as np
import torch
import transformers
from segment_anything import SamPredictor
from transformers import SamConfig, SamImageProcessor, SamMaskDecoderConfig, SamModel
from transformers import SamPromptEncoderConfig, SamVisionConfig

import counter
import models
import prompts
from store import Store

SEED = 11
SHAPE = models.config(
    img_size=64, patch=8, width=16, depth=2, heads=2, mlp_ratio=2, window=5, globals=[1], prompt=32,
    decoder_mlp=32, iou_hidden=24,
)  # fmt: skip
PICTURES = [(60, 90), (100, 75)]
TARGET = {**models.SMALL, "plane": 600}

RENAMES = [
    (r"^image_encoder\.", "vision_encoder."),
    (r"^(vision_encoder\.)blocks\.", r"\1layers."),
    (r"^(vision_encoder\..*)norm([12])\.", r"\1layer_norm\2."),
    (r"patch_embed\.proj\.", "patch_embed.projection."),
    (r"neck\.0\.", "neck.conv1."),
    (r"neck\.1\.", "neck.layer_norm1."),
    (r"neck\.2\.", "neck.conv2."),
    (r"neck\.3\.", "neck.layer_norm2."),
    (r"mask_downscaling\.0\.", "mask_embed.conv1."),
    (r"mask_downscaling\.1\.", "mask_embed.layer_norm1."),
    (r"mask_downscaling\.3\.", "mask_embed.conv2."),
    (r"mask_downscaling\.4\.", "mask_embed.layer_norm2."),
    (r"mask_downscaling\.6\.", "mask_embed.conv3."),
    (r"point_embeddings\.", "point_embed."),
    (r"^prompt_encoder\.pe_layer\.positional_encoding_gaussian_matrix$", "shared_image_embedding.positional_embedding"),
    (r"^(mask_decoder\.transformer\.layers\..*)norm([1-4])\.", r"\1layer_norm\2."),
    (r"transformer\.norm_final_attn\.", "transformer.layer_norm_final_attn."),
    (r"output_upscaling\.0\.", "upscale_conv1."),
    (r"output_upscaling\.1\.", "upscale_layer_norm."),
    (r"output_upscaling\.3\.", "upscale_conv2."),
]  # fmt: skip


def rename(name, heads):
    """Returns Hugging Face's name of a layout A weight. heads maps the prefix of
    each MLP head to its number of layers."""
    for prefix, n in heads.items():
        if name.startswith(prefix + ".layers."):
            i, kind = name[len(prefix) + 8 :].split(".")
            at = "proj_in" if i == "0" else "proj_out" if int(i) == n - 1 else f"layers.{int(i) - 1}"
            return f"{prefix}.{at}.{kind}"
    for pattern, to in RENAMES:
        name = re.sub(pattern, to, name)
    return name


def build(c, sam, decoder_eps=None):
    """Returns SamModel of that shape with sam's weights."""
    size = dict(image_size=c["img_size"], patch_size=c["patch"])
    eps = {} if decoder_eps is None else dict(layer_norm_eps=decoder_eps)
    model = SamModel(SamConfig(
        vision_config=SamVisionConfig(
            hidden_size=c["width"], output_channels=c["prompt"], num_hidden_layers=c["depth"],
            num_attention_heads=c["heads"], mlp_ratio=float(c["mlp_ratio"]), window_size=c["window"],
            global_attn_indexes=c["globals"], num_pos_feats=c["prompt"] // 2, **size,
        ),
        prompt_encoder_config=SamPromptEncoderConfig(
            hidden_size=c["prompt"], mask_input_channels=c["mask_chans"], **size,
        ),
        mask_decoder_config=SamMaskDecoderConfig(
            hidden_size=c["prompt"], mlp_dim=c["decoder_mlp"], num_hidden_layers=c["decoder_depth"],
            num_attention_heads=c["decoder_heads"], iou_head_depth=c["iou_depth"],
            iou_head_hidden_dim=c["iou_hidden"], **eps,
        ),
    ))  # fmt: skip
    heads = {f"mask_decoder.output_hypernetworks_mlps.{i}": 3 for i in range(4)}
    heads["mask_decoder.iou_prediction_head"] = c["iou_depth"]
    state = {rename(k, heads): v.clone() for k, v in sam.state_dict().items()}
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected, unexpected
    # The same parameter under its second name.
    assert missing in ([], ["prompt_encoder.shared_embedding.positional_embedding"]), missing
    model.tie_weights()
    assert torch.equal(model.prompt_encoder.shared_embedding.positional_embedding,
                       model.shared_image_embedding.positional_embedding)  # fmt: skip
    return model.eval()


def rel(want, got):
    want, got = np.asarray(want, np.float64), np.asarray(got, np.float64)
    return float(np.linalg.norm(want - got) / np.linalg.norm(want))


def save(model, folder):
    """Writes the checkpoint as Hugging Face itself does."""
    out = os.path.join(folder, "hf_small.safetensors")
    tmp = os.path.join(folder, "hf_small.tmp")
    model.save_pretrained(tmp)
    os.replace(os.path.join(tmp, "model.safetensors"), out)
    for f in os.listdir(tmp):
        os.remove(os.path.join(tmp, f))
    os.rmdir(tmp)
    print(f"hf_small.safetensors: {os.path.getsize(out)} bytes")


class Runner:
    """Asks SamModel with one prompt, for one mask and for three."""

    def __init__(self, model, c, processor):
        self.model, self.c, self.processor = model, c, processor

    @torch.no_grad()
    def ask(self, embedding, size, inp, p, mask, dtype):
        """Returns logits, IoU and low-resolution logits like models.predict
        twice. Coordinates are scaled in float64, then cast to dtype."""
        kw = {}
        scale = np.array([inp[1] / size[1], inp[0] / size[0]])
        if p.get("points"):
            kw["input_points"] = torch.tensor(np.array(p["points"], np.float64) * scale, dtype=dtype)[None, None]
            kw["input_labels"] = torch.tensor(p["labels"], dtype=torch.int)[None, None]
        if p.get("box"):
            kw["input_boxes"] = torch.tensor((np.array(p["box"]).reshape(2, 2) * scale).reshape(1, 1, 4), dtype=dtype)
        if mask is not None:
            kw["input_masks"] = torch.from_numpy(mask)[None, None]
        parts = []
        for multimask in (False, True):
            o = self.model(image_embeddings=embedding, multimask_output=multimask, **kw)
            full = self.processor.post_process_masks(
                [o.pred_masks[0]], [size], [inp], binarize=False,
                pad_size=dict(height=self.c["img_size"], width=self.c["img_size"]),
            )  # fmt: skip
            parts.append((full[0][0].numpy(), o.iou_scores[0, 0].numpy(), o.pred_masks[0, 0].numpy()))
        return tuple(np.concatenate(x) for x in zip(*parts))


def processor(c):
    side = dict(height=c["img_size"], width=c["img_size"])
    return SamImageProcessor(size=dict(longest_edge=c["img_size"]), pad_size=side)


def differences(c, seed, size, report):
    """Measures each known difference from segment_anything by itself."""
    from transformers import SamImageProcessorPil

    low = 4 * (c["img_size"] // c["patch"])
    sam = models.build(c, seed)
    cap, predictor = models.Capture(sam, c), SamPredictor(sam)
    img = counter.picture(*size, 1000 * seed)
    predictor.set_image(img)
    cap.take()
    want = predictor.get_image_embedding()
    inp = predictor.input_size
    fast = processor(c)
    pil = SamImageProcessorPil(size=fast.size, pad_size=fast.pad_size)
    pixels = sam.preprocess(torch.from_numpy(predictor.transform.apply_image(img)).permute(2, 0, 1)[None].float())
    shipped, aligned = build(c, sam), build(c, sam, 1e-5)
    run = {k: Runner(m, c, fast) for k, m in (("shipped", shipped), ("aligned", aligned))}
    with torch.no_grad():
        same = aligned.get_image_embeddings(pixels)
        report("embedding, the same pixels", rel(want, same))
        for name, proc in (("torchvision", fast), ("Pillow", pil)):
            x = torch.as_tensor(proc(img, return_tensors="pt")["pixel_values"])
            gap = (x - pixels).abs() * torch.tensor([58.395, 57.12, 57.375]).view(1, 3, 1, 1)
            report(f"pixels, {name} processor, largest gap in grey levels", float(gap.max()))
            report(f"embedding, {name} processor", rel(want, aligned.get_image_embeddings(x)))
        for p in prompts.first(*size):
            if "feed" in p:
                continue
            mask = counter.mask_logits(low, low, p["mask_seed"]) if "mask_seed" in p else None
            a, b = (models.predict(predictor, p, mask, m) for m in (False, True))
            ref = np.concatenate([a[2], b[2]])
            cap.take()
            for kind, dtype, what in (
                ("aligned", torch.float32, "decoder eps 1e-5, float32 coordinates"),
                ("aligned", torch.float64, "decoder eps 1e-5, float64 coordinates"),
                ("shipped", torch.float64, "as shipped: decoder eps 1e-6, float64 coordinates"),
            ):
                got = run[kind].ask(want, size, inp, p, mask, dtype)[2]
                report(f"low-resolution logits, {what}", rel(ref, got))
        # A batch of prompts of unequal length is padded with label -10.
        p = prompts.first(*size)[0]
        ref = models.predict(predictor, p, None, True)[2]
        cap.take()
        pts = torch.tensor(np.array(p["points"]) * [inp[1] / size[1], inp[0] / size[0]], dtype=torch.float32)[None, None]
        pad = torch.cat([pts, torch.full((1, 1, 2, 2), -10.0)], 2)
        o = aligned(image_embeddings=want, input_points=pad, input_labels=torch.tensor([[[1, -10, -10]]]))
        report("low-resolution logits, one point padded to three with label -10", rel(ref, o.pred_masks[0, 0]))


def measure(c, seed, size, name):
    worst = {}

    def report(what, v):
        worst[what] = max(worst.get(what, 0), v)

    differences(c, seed, size, report)
    for what, v in worst.items():
        print(f"{name}: {what}: {v:.2g}")
    return worst


@torch.no_grad()
def small(folder):
    """Writes hf_small.safetensors and hf_small.npz.

    The usual arrays are SamModel's with its differences taken away: pixels by
    segment_anything, decoder eps 1e-5, float32 coordinates. Arrays named
    shipped_* are what SamProcessor and SamModel give as they come.
    """
    c, low = SHAPE, 4 * (SHAPE["img_size"] // SHAPE["patch"])
    sam = models.build(c, SEED)
    predictor, proc = SamPredictor(sam), processor(c)
    aligned, shipped = build(c, sam, 1e-5), build(c, sam)
    save(shipped, folder)
    store, pictures = Store("hf_small", folder), []
    store.sample("dense_pe", aligned.get_image_wide_positional_embeddings()[0].numpy(), TARGET["dense_pe"])
    for k, size in enumerate(PICTURES):
        img = counter.picture(*size, 1000 * SEED + k)
        resized = predictor.transform.apply_image(img)
        pixels = sam.preprocess(torch.from_numpy(resized).permute(2, 0, 1)[None].float())
        embedding = aligned.get_image_embeddings(pixels)
        x = proc(img, return_tensors="pt")
        own = shipped.get_image_embeddings(x["pixel_values"])
        inp = tuple(resized.shape[:2])
        assert inp == tuple(int(v) for v in x["reshaped_input_sizes"][0])
        store.sample(f"p{k}/embedding", embedding[0].numpy(), TARGET["embedding"])
        store.sample(f"p{k}/shipped_embedding", own[0].numpy(), TARGET["embedding"])
        pic = dict(size=size, seed=1000 * SEED + k, input=inp, prompts=[])
        results = {}
        for j, p in enumerate(prompts.first(*size) if k == 0 else prompts.others(*size)):
            key = f"p{k}/q{j}"
            mask = counter.mask_logits(low, low, p["mask_seed"]) if "mask_seed" in p else None
            masks = {"": mask, "shipped_": mask}
            if "feed" in p:
                p["feed_mask"] = 1 + int(np.argmax(results["", p["feed"]][1][1:]))
                masks = {kind: results[kind, p["feed"]][2][p["feed_mask"]] for kind in masks}
            for kind, model, emb, dtype in (("", aligned, embedding, torch.float32), ("shipped_", shipped, own, torch.float64)):
                logits, iou, lowres = results[kind, p["name"]] = Runner(model, c, proc).ask(
                    emb, size, inp, p, masks[kind], dtype)  # fmt: skip
                store.sample(f"{key}/{kind}lowres", lowres, TARGET["plane"])
                store.put(f"{key}/{kind}iou", iou)
                store.masks(f"{key}/{kind}masks", logits > 0)
                if not kind:
                    store.sample(f"{key}/logits", logits, TARGET["plane"])
                    p["area"] = (logits > 0).sum((1, 2)).tolist()
            pic["prompts"].append(p)
        pictures.append(pic)
    worst = measure(c, SEED, PICTURES[0], "hf_small")
    store.close(dict(what=f"transformers {transformers.__version__} SamModel, PyTorch {torch.__version__}", model="hf_small",
                     seed=SEED, config=c, pictures=pictures, differences=worst))  # fmt: skip
    print("transformers", transformers.__version__, "torch", torch.__version__, "numpy", np.__version__)


def full(folder):
    """Measures the differences on ViT-B; writes nothing."""
    measure(models.SHAPES["full_b"], 1, (700, 1000), "vit_b")
