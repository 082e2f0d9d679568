"""Writes the checkpoint files that the tests of package weights read.

    python make.py OUT            torch 2.15.0, numpy 2.4.6, safetensors 0.8.0,
                                  transformers 5.23.0
    python make.py OUT old        torch 1.13.1: only original_torch113.pth

SEGMENT_ANYTHING names a checkout of facebookresearch/segment-anything at
dca509f. Values come from the counter-based generator that weights.Random
documents, seed 7, so that the tests need no second copy of them.
"""
import collections
import functools
import io
import math
import os
import re
import sys
import types
import zipfile

import numpy as np
import torch
from torch import nn

sys.path.insert(0, os.environ["SEGMENT_ANYTHING"])
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer  # noqa: E402

SEED = 7
OUT = sys.argv[1]


def splitmix64(z):
    z = np.asarray(z, np.uint64)
    with np.errstate(over="ignore"):
        z = z + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def fnv1a64(s):
    h = 0xCBF29CE484222325
    for b in s.encode():
        h = ((h ^ b) * 0x100000001B3) & (2**64 - 1)
    return h


def scale_offset(name, shape):
    embeds = ("point_embeddings.", "not_a_point_embed", "no_mask_embed", "iou_token", "mask_tokens")
    if "positional_encoding_gaussian_matrix" in name:
        return math.sqrt(3), 0
    if "rel_pos_" in name:
        return 0.25, 0
    if name.endswith("pos_embed"):
        return 0.5, 0
    if any(p in name for p in embeds):
        return 1, 0
    if len(shape) <= 1:
        return (0.2, 1) if len(shape) == 1 and name.endswith(".weight") else (0.1, 0)
    if "output_upscaling.0.weight" in name or "output_upscaling.3.weight" in name:
        return math.sqrt(3 / shape[0]), 0
    return math.sqrt(3 / np.prod(shape[1:], dtype=np.float64)), 0


def values(name, shape):
    """The weights of a name, as float32."""
    key = splitmix64(np.uint64((SEED ^ fnv1a64(name)) & (2**64 - 1)))
    with np.errstate(over="ignore"):
        u = splitmix64(key + np.arange(int(np.prod(shape)), dtype=np.uint64)) >> np.uint64(40)
    v = ((2 * u.astype(np.int64) - 2**24) / 2.0**24).astype(np.float32)
    scale, offset = (np.float32(x) for x in scale_offset(name, shape))
    return torch.from_numpy((offset + (v * scale).astype(np.float32)).astype(np.float32).reshape(shape))


def tiny_sam():
    """A SAM of one encoder block and one decoder layer, with Meta's own code."""
    norm = functools.partial(nn.LayerNorm, eps=1e-6)
    sam = Sam(
        ImageEncoderViT(img_size=32, patch_size=8, embed_dim=8, depth=1, num_heads=2, mlp_ratio=2, out_chans=8,
                        qkv_bias=True, norm_layer=norm, use_rel_pos=True, window_size=2, global_attn_indexes=()),
        PromptEncoder(embed_dim=8, image_embedding_size=(4, 4), input_image_size=(32, 32), mask_in_chans=4),
        MaskDecoder(transformer_dim=8, transformer=TwoWayTransformer(depth=1, embedding_dim=8, num_heads=2, mlp_dim=16),
                    num_multimask_outputs=3, iou_head_depth=3, iou_head_hidden_dim=8),
    )
    sam.load_state_dict({k: values(k, v.shape) for k, v in sam.state_dict().items()})
    return sam


def save(name, obj, **kw):
    torch.save(obj, os.path.join(OUT, name), **kw)


def rezip(name, out, change, method=zipfile.ZIP_STORED):
    """Copies a file of torch.save, with its entries changed."""
    with zipfile.ZipFile(os.path.join(OUT, name)) as src, zipfile.ZipFile(os.path.join(OUT, out), "w", method) as dst:
        for i in src.infolist():
            info = zipfile.ZipInfo(i.filename, (1980, 1, 1, 0, 0, 0))
            info.compress_type = method
            dst.writestr(info, change(i.filename, src.read(i)))


def fake_class(module, name):
    """A class of a package that is not installed."""
    parts = module.split(".")
    for i in range(len(parts)):
        sys.modules.setdefault(".".join(parts[: i + 1]), types.ModuleType(".".join(parts[: i + 1])))
    cls = type(name, (), {"__module__": module, "__reduce__": lambda self: (type(self), tuple(self.__dict__.values()))})
    cls.__init__ = lambda self, *a: self.__dict__.update(enumerate(a))
    setattr(sys.modules[module], name, cls)
    return cls


def layouts(sam):
    sd = sam.state_dict()
    save("original.pth", sd)
    save("nested.pth", {"epoch": 3, "state_dict": {
        head: {k[len(head) + 1:]: v for k, v in sd.items() if k.startswith(head)}
        for head in ("image_encoder", "prompt_encoder", "mask_decoder")}})

    optimizer = torch.optim.AdamW([nn.Parameter(torch.zeros(2))])
    optimizer.param_groups[0]["params"][0].grad = torch.ones(2)
    optimizer.step()
    loss = fake_class("torch_em.loss.dice", "DiceLoss")(0.5, {"nested": [1, 2]})
    logger = fake_class("micro_sam.training.joint_sam_trainer", "JointSamLogger")()
    logger.state = {"seen": {1, 2, 3}, "score": np.float64(0.5), "big": 2**80}
    save("trainer.pt", {
        "iteration": 10, "epoch": 1, "best_metric": np.float32(0.25), "current_metric": 0.5,
        "model_state": collections.OrderedDict(("sam." + k, v) for k, v in sd.items()),
        "decoder_state": {"out_conv.conv.weight": torch.zeros(3, 8, 1, 1)},
        "optimizer_state": optimizer.state_dict(), "scheduler_state": {"last_epoch": 1},
        "init": {"loss": loss, "logger": logger, "device": torch.device("cpu"), "dtype": torch.float32},
    })
    save("medsam.pth", {"model": dict(sd), "optimizer": optimizer.state_dict(), "epoch": 7})
    save("medsam_ddp.pth", {"model": {"module." + k: v for k, v in sd.items()}, "epoch": 7})


HUGGING_FACE = [  # pairs of regular expressions, applied in order
    (r"^image_encoder", "vision_encoder"), (r"(vision_encoder.*)blocks", r"\1layers"),
    (r"patch_embed\.proj\.", "patch_embed.projection."),
    (r"neck\.0", "neck.conv1"), (r"neck\.1", "neck.layer_norm1"), (r"neck\.2", "neck.conv2"), (r"neck\.3", "neck.layer_norm2"),
    (r"norm_final_attn", "layer_norm_final_attn"), (r"(layers\.\d+)\.norm(\d)", r"\1.layer_norm\2"),
    (r"(iou_prediction_head|mlps\.\d)\.layers\.0", r"\1.proj_in"), (r"(iou_prediction_head|mlps\.\d)\.layers\.2", r"\1.proj_out"),
    (r"(iou_prediction_head|mlps\.\d)\.layers\.1", r"\1.layers.0"),
    (r"output_upscaling\.0", "upscale_conv1"), (r"output_upscaling\.1", "upscale_layer_norm"), (r"output_upscaling\.3", "upscale_conv2"),
    (r"mask_downscaling\.0", "mask_embed.conv1"), (r"mask_downscaling\.1", "mask_embed.layer_norm1"),
    (r"mask_downscaling\.3", "mask_embed.conv2"), (r"mask_downscaling\.4", "mask_embed.layer_norm2"),
    (r"mask_downscaling\.6", "mask_embed.conv3"), (r"point_embeddings", "point_embed"),
    (r"pe_layer\.positional_encoding_gaussian_matrix", "shared_embedding.positional_embedding"),
]


def hugging_face_name(name):
    for old, new in HUGGING_FACE:
        name = re.sub(old, new, name)
    return name


def hugging_face(sam):
    from transformers import SamConfig, SamModel
    model = SamModel(SamConfig(
        vision_config=dict(hidden_size=8, output_channels=8, num_hidden_layers=1, num_attention_heads=2, image_size=32,
                           patch_size=8, window_size=2, global_attn_indexes=[], mlp_dim=16, mlp_ratio=2.0, num_pos_feats=4),
        prompt_encoder_config=dict(hidden_size=8, image_size=32, patch_size=8, mask_input_channels=4, image_embedding_size=4),
        mask_decoder_config=dict(hidden_size=8, mlp_dim=16, num_hidden_layers=1, num_attention_heads=2, iou_head_hidden_dim=8),
    ))
    sd = {hugging_face_name(k): v for k, v in sam.state_dict().items()}
    sd["shared_image_embedding.positional_embedding"] = sd["prompt_encoder.shared_embedding.positional_embedding"]
    model.load_state_dict(sd, strict=True)
    save("hf.bin", model.state_dict())
    model.save_pretrained(os.path.join(OUT, "hf"))
    os.rename(os.path.join(OUT, "hf", "model.safetensors"), os.path.join(OUT, "hf.safetensors"))
    for f in os.listdir(os.path.join(OUT, "hf")):
        os.remove(os.path.join(OUT, "hf", f))
    os.rmdir(os.path.join(OUT, "hf"))


def lora(sam):
    """micro-sam's low-rank layers on q, k, v and the MLP, and what they come to."""
    from safetensors.torch import save_file
    sd = sam.state_dict()
    out, merged = collections.OrderedDict(), {k: v.clone() for k, v in sd.items()}
    block, rank = "image_encoder.blocks.0.", 2
    for k, v in sd.items():
        k = k.replace(block + "attn.qkv.", block + "attn.qkv.qkv_proj.").replace(block + "mlp.", block + "mlp.mlp_layer.")
        out["sam." + k] = v
    for i, part in enumerate("qkv12"):
        at = block + ("attn.qkv." if i < 3 else "mlp.")
        weight = merged[at + ("weight" if i < 3 else f"lin{part}.weight")]
        rows = weight[i * 8:(i + 1) * 8] if i < 3 else weight
        na, nb = at + f"w_a_linear_{part}.weight", at + f"w_b_linear_{part}.weight"
        a, b = values(na, (rank, rows.shape[1])), values(nb, (rows.shape[0], rank))
        out["sam." + na], out["sam." + nb] = a, b
        rows.copy_((rows.double() + b.double() @ a.double()).float())
    save("lora.pt", {"model_state": out})
    save_file(merged, os.path.join(OUT, "lora_merged.safetensors"))
    save_file({k: v.bfloat16() for k, v in sd.items()}, os.path.join(OUT, "bfloat16.safetensors"))


def storages():
    """Every way a tensor can lie in a storage."""
    name = "image_encoder.{}.weight".format
    w = {n: values(name(n), (6, 4)) for n in ("plain", "t", "slice", "tail", "f16", "bf16", "f64", "param", "step", "nhwc")}
    base = torch.cat([torch.full((5,), 9.0), w["slice"].flatten(), w["tail"].flatten()])
    sd = collections.OrderedDict()
    sd[name("plain")] = w["plain"]
    sd[name("t")] = w["t"].t().contiguous().t()  # column-major
    sd[name("slice")] = base[5:29].view(6, 4)  # shares one storage with tail
    sd[name("tail")] = base[29:].view(6, 4)
    sd[name("f16")] = w["f16"].half()
    sd[name("bf16")] = w["bf16"].bfloat16()
    sd[name("f64")] = w["f64"].double()
    sd[name("param")] = nn.Parameter(w["param"])
    sd[name("step")] = torch.stack([w["step"], torch.zeros(6, 4)], -1)[..., 0]  # every other element
    sd[name("nhwc")] = w["nhwc"].view(1, 6, 2, 2).to(memory_format=torch.channels_last)
    sd[name("count")] = torch.tensor(12345)
    save("storages.pth", sd)
    for p in (4, 5):
        save(f"protocol{p}.pth", {name("plain"): w["plain"]}, pickle_protocol=p)

    def swap(path, b):
        if path.endswith("/byteorder"):
            return b"big"
        if "/data/" in path:
            return np.frombuffer(b, np.uint32).byteswap().tobytes()
        return b

    rezip("protocol4.pth", "big_endian.pth", swap)
    rezip("protocol4.pth", "compressed.pth", lambda path, b: b, zipfile.ZIP_DEFLATED)
    torch.serialization.set_crc32_options(False)
    save("no_checksum.pth", {name("plain"): w["plain"]})
    torch.serialization.set_crc32_options(True)


def arrays(sam):
    sd = {k: v.numpy() for k, v in sam.state_dict().items()}
    np.savez(os.path.join(OUT, "original.npz"), **sd)
    np.savez_compressed(os.path.join(OUT, "compressed.npz"), **sd)
    name = "image_encoder.{}.weight".format
    w = {n: values(name(n), (6, 4)).numpy() for n in ("plain", "t", "f16", "f64", "big")}
    np.savez(os.path.join(OUT, "storages.npz"), **{
        name("plain"): w["plain"], name("t"): np.asfortranarray(w["t"]), name("f16"): w["f16"].astype(np.float16),
        name("f64"): w["f64"].astype(np.float64), name("big"): w["big"].astype(">f4"), name("count"): np.int64(12345)})


def others(sam):
    """Files that are refused, each with its own reason."""
    z = lambda *names: {n: torch.zeros(2, 2) for n in names}  # noqa: E731
    save("sam2.pt", {"model": z("image_encoder.trunk.pos_embed", "sam_mask_decoder.iou_token.weight", "memory_attention.layers.0.norm1.weight")})
    save("unetr_decoder.pt", z("base.block.1.weight", "deconv1.block.0.conv.weight", "decoder_head.block.1.weight", "out_conv.conv.weight"))
    save("semantic.pt", {"model_state": z("encoder.blocks.0.norm1.weight", "deconv1.block.0.conv.weight", "decoder_head.block.1.weight")})
    q = "image_encoder.blocks.0.attn.qkv."
    save("fact.pt", {"model_state": z(*("sam." + q + n for n in ("qkv_proj.weight", "q_FacTs.weight", "FacTu.weight")))})
    save("ssf.pt", {"model_state": z(*("sam." + q + n for n in ("layer.weight", "scale", "shift")))})
    save("adaptformer.pt", {"model_state": z(*("sam.image_encoder.blocks.0.mlp." + n for n in ("mlp_proj.lin1.weight", "down_proj.weight")))})
    save("peft_adapter.pt", z("base_model.model.vision_encoder.layers.0.attn.qkv.lora_A.weight"))
    save("mobile_sam.pt", z("image_encoder.patch_embed.seq.0.c.weight", "mask_decoder.iou_token.weight"))
    save("hq_sam.pth", z("mask_decoder.hf_token.weight", "mask_decoder.iou_token.weight"))
    save("resnet.pth", z("conv1.weight", "layer1.0.conv1.weight", "fc.weight", "fc.bias"))
    save("two_models.pth", {"student": z("mask_decoder.iou_token.weight"), "teacher": z("mask_decoder.iou_token.weight")})
    save("quantized.pth", {"mask_decoder.iou_token.weight": torch.quantize_per_tensor(torch.zeros(2, 2), 0.1, 0, torch.qint8)})
    save("list.pth", [torch.zeros(2)])
    save("tensor.pth", torch.zeros(2))
    save("legacy.pth", z("mask_decoder.iou_token.weight"), _use_new_zipfile_serialization=False)
    save("module.pth", nn.Linear(2, 2))
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), os.path.join(OUT, "torchscript.pt"))
    nan = z("mask_decoder.iou_token.weight")
    nan["mask_decoder.iou_token.weight"][1, 0] = math.nan
    save("nan.pth", nan)


def main():
    torch.manual_seed(SEED)
    sam = tiny_sam()
    if "old" in sys.argv[2:]:
        save("original_torch113.pth", sam.state_dict())
        return
    layouts(sam)
    hugging_face(sam)
    lora(sam)
    storages()
    arrays(sam)
    others(sam)


if __name__ == "__main__":
    with torch.no_grad():
        main()
