"""The bundled model: Segment Anything's own classes with small widths.

The classes come from the public repository facebookresearch/segment-anything
(commit dca509fe793f601edb92606367a655c15ac00fdf); nothing of it is copied here.
"""

from functools import partial

import torch
import torch.nn as nn
from segment_anything.modeling import (ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer)
from segment_anything.modeling import image_encoder as ie

SIZE, PATCH, GRID = 1024, 16, 64
WIDTH, DEPTH, HEADS, WINDOW, GLOBAL = 192, 6, 6, 16, (3,)
DIM, MLP = 128, 512


def centre_rel_pos(q_size, k_size, rel_pos):
    """The rows of rel_pos that a smaller grid uses, instead of upstream's interpolation."""
    n = 2 * max(q_size, k_size) - 1
    if rel_pos.shape[0] > n:
        a = (rel_pos.shape[0] - n) // 2
        rel_pos = rel_pos[a:a + n]
    i = torch.arange(q_size)[:, None] - torch.arange(k_size)[None, :] + k_size - 1
    return rel_pos[i]


ie.get_rel_pos = centre_rel_pos  # the same numbers at full size; crops see the middle rows


def build():
    enc = ImageEncoderViT(
        img_size=SIZE, patch_size=PATCH, embed_dim=WIDTH, depth=DEPTH, num_heads=HEADS, mlp_ratio=4,
        norm_layer=partial(nn.LayerNorm, eps=1e-6), qkv_bias=True, use_rel_pos=True,
        global_attn_indexes=GLOBAL, window_size=WINDOW, out_chans=DIM)
    prompt = PromptEncoder(embed_dim=DIM, image_embedding_size=(GRID, GRID), input_image_size=(SIZE, SIZE), mask_in_chans=16)
    dec = MaskDecoder(
        num_multimask_outputs=3, transformer_dim=DIM, iou_head_depth=3, iou_head_hidden_dim=128,
        transformer=TwoWayTransformer(depth=2, embedding_dim=DIM, mlp_dim=MLP, num_heads=8))
    sam = Sam(enc, prompt, dec)
    start(sam)
    return sam


def dct_patches():
    """8 x 8 lowest cosines of a patch for each colour: [192, 3, 16, 16], orthonormal."""
    n = torch.arange(PATCH) + 0.5
    c = torch.cos(torch.pi * torch.arange(8)[:, None] * n / PATCH)
    c = c / c.norm(dim=1, keepdim=True)
    two = torch.einsum("ay,bx->abyx", c, c).reshape(64, PATCH, PATCH)
    out = torch.zeros(64, 3, 3, PATCH, PATCH)
    for k in range(3):
        out[:, k, k] = two
    return out.reshape(WIDTH, 3, PATCH, PATCH)


def start(sam):
    """Starting weights that spare a short training most of its first half.

    Patches start as cosines scaled to even out a picture's spectrum; the position
    code has wavelengths from the frame to a few tokens; and queries and keys of
    each attention between tokens and picture start alike, so that a prompt looks
    at its own place from the first step."""
    enc, pe, dec = sam.image_encoder, sam.prompt_encoder, sam.mask_decoder
    nn.init.trunc_normal_(enc.pos_embed, std=0.02)
    f = torch.arange(8)
    fall = (1 + (f[:, None] ** 2 + f[None, :] ** 2).sqrt()).reshape(64, 1).expand(64, 3).reshape(WIDTH)
    with torch.no_grad():
        # A cosine of order k has about 10 / (1 + k) of a pixel's deviation in it.
        enc.patch_embed.proj.weight.copy_(dct_patches() * (fall / 10 * fall.pow(-0.3))[:, None, None, None])
        enc.patch_embed.proj.bias.zero_()
        g = torch.Generator().manual_seed(5)
        n = DIM // 2
        r = 0.5 * 20 ** torch.linspace(0, 1, n)
        a = torch.rand(n, generator=g) * 2 * torch.pi
        pe.pe_layer.positional_encoding_gaussian_matrix.copy_(torch.stack([r * a.cos(), r * a.sin()]))
        for e in (*pe.point_embeddings, pe.not_a_point_embed, pe.no_mask_embed):
            e.weight.mul_(0.3)
        t = dec.transformer
        pairs = [t.final_attn_token_to_image]
        for layer in t.layers:
            pairs += [layer.cross_attn_token_to_image, layer.cross_attn_image_to_token]
        for p in pairs:
            w = torch.empty_like(p.q_proj.weight)
            nn.init.orthogonal_(w, gain=1.3)
            p.q_proj.weight.copy_(w)
            p.k_proj.weight.copy_(w)


class Dense(nn.Module):
    """Helper head for training only: what each 4 x 4 cell of the picture shows.

    It sits on the decoder's own upscaling, which so learns from every cell."""

    def __init__(self):
        super().__init__()
        self.out = nn.Conv2d(DIM // 8, 6, 1)

    def forward(self, sam, emb):
        return self.out(sam.mask_decoder.output_upscaling(emb + sam.prompt_encoder.no_mask_embed.weight.reshape(1, -1, 1, 1)))


def normalise(sam, img):
    """img [B, 3, H, W] of 0..255."""
    return (img - sam.pixel_mean) / sam.pixel_std


def encode(sam, x, at):
    """Embeds crops x [B, 3, H, W] (normalised) that lie at tokens at = [(row, col)] of the full frame."""
    enc = sam.image_encoder
    x = enc.patch_embed(x)
    h, w = x.shape[1:3]
    pos = torch.cat([enc.pos_embed[:, r:r + h, c:c + w] for r, c in at])
    x = x + pos
    for blk in enc.blocks:
        x = blk(x)
    return enc.neck(x.permute(0, 3, 1, 2))


def prompts(sam, at, points=None, boxes=None):
    """Prompt tokens [P, N, DIM]. Coordinates are pixels of crops whose first tokens are at [P, 2] (row, column).

    points = (xy [P, N, 2], labels [P, N]). One point and one box both take two
    tokens (a lone point is padded), so such prompts can be joined in one batch."""
    shift = (at.flip(1) * PATCH).float()
    if points is not None:
        points = (points[0] + shift[:, None], points[1])
    if boxes is not None:
        boxes = boxes + shift.repeat(1, 2)
    return sam.prompt_encoder(points=points, boxes=boxes, masks=None)[0]


def decode(sam, emb, at, sparse, masks=None):
    """Logits [P, 4, 4h, 4w] and IoU [P, 4] of P prompts, each on its own embedding emb [P, DIM, h, w] at tokens at [P, 2].

    The steps of upstream's MaskDecoder.predict_masks, which takes one embedding for all prompts."""
    pe, dec = sam.prompt_encoder, sam.mask_decoder
    n, _, h, w = emb.shape
    if masks is None:
        src = emb + pe.no_mask_embed.weight.reshape(1, -1, 1, 1)
    else:
        src = emb + pe._embed_masks(masks)
    every = pe.get_dense_pe()[0]
    where = torch.stack([every[:, r:r + h, c:c + w] for r, c in at.tolist()]) if n > 1 and (at != at[0]).any() else \
        every[None, :, at[0, 0]:at[0, 0] + h, at[0, 1]:at[0, 1] + w].expand(n, -1, -1, -1)
    out = torch.cat([dec.iou_token.weight, dec.mask_tokens.weight])
    tokens = torch.cat([out.expand(n, -1, -1), sparse], 1)
    hs, src = dec.transformer(src, where, tokens)
    up = dec.output_upscaling(src.transpose(1, 2).reshape(n, -1, h, w))
    hyper = torch.stack([mlp(hs[:, 1 + i]) for i, mlp in enumerate(dec.output_hypernetworks_mlps)], 1)
    logits = (hyper @ up.flatten(2)).reshape(n, -1, *up.shape[2:])
    return logits, dec.iou_prediction_head(hs[:, 0])


