"""Checksums of the counter-based rules themselves."""

import zlib

import counter
from store import Store

PICTURES = [(1, 1), (1, 7), (64, 64), (65, 63), (33, 200), (300, 9), (768, 1024)]

# One weight for each rule, by its layout A name.
WEIGHTS = [
    ("prompt_encoder.pe_layer.positional_encoding_gaussian_matrix", (2, 128)),
    ("image_encoder.blocks.2.attn.rel_pos_h", (127, 64)),
    ("image_encoder.blocks.0.attn.rel_pos_w", (27, 64)),
    ("image_encoder.pos_embed", (1, 8, 8, 48)),
    ("prompt_encoder.point_embeddings.3.weight", (1, 256)),
    ("prompt_encoder.not_a_point_embed.weight", (1, 256)),
    ("prompt_encoder.no_mask_embed.weight", (1, 256)),
    ("mask_decoder.iou_token.weight", (1, 256)),
    ("mask_decoder.mask_tokens.weight", (4, 256)),
    ("image_encoder.blocks.0.norm1.weight", (768,)),
    ("image_encoder.neck.1.bias", (256,)),
    ("mask_decoder.output_upscaling.0.weight", (256, 64, 2, 2)),
    ("mask_decoder.output_upscaling.3.weight", (64, 32, 2, 2)),
    ("mask_decoder.output_upscaling.1.weight", (64,)),
    ("image_encoder.patch_embed.proj.weight", (96, 3, 16, 16)),
    ("image_encoder.neck.2.weight", (32, 32, 3, 3)),
    ("image_encoder.blocks.0.attn.qkv.weight", (288, 96)),
    ("mask_decoder.output_hypernetworks_mlps.0.layers.2.weight", (32, 256)),
    ("prompt_encoder.mask_downscaling.0.weight", (4, 1, 2, 2)),
]


def crc(a):
    return zlib.crc32(a.tobytes())


def counters(folder):
    s, cases, weights = Store("counter", folder), [], []
    for k, size in enumerate(PICTURES):
        for kind in ("picture", "noise", "mask"):
            f = dict(picture=counter.picture, noise=counter.noise, mask=counter.mask_logits)[kind]
            for seed in (k, 2**63 + 12345 + k):
                cases.append(dict(kind=kind, size=size, seed=seed, crc=crc(f(*size, seed))))
    for k, (name, shape) in enumerate(WEIGHTS):
        for seed in (1, 0xFFFFFFFFFFFFFFF0 + k % 16):
            weights.append(dict(name=name, shape=shape, seed=seed, crc=crc(counter.weight(name, shape, seed))))
    s.put("uniform", counter.uniform(7, 64))
    s.close(dict(what="CRC-32 of little-endian arrays", cases=cases, weights=weights))
