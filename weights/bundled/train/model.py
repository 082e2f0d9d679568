"""The bundled model: Segment Anything's own classes with small widths.

The classes come from the public repository facebookresearch/segment-anything
(commit dca509fe793f601edb92606367a655c15ac00fdf); nothing of it is copied here.
"""

from functools import partial

import torch
import torch.nn as nn
import torch.nn.functional as F
from segment_anything.modeling import (ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer)
from segment_anything.modeling import image_encoder as ie

SIZE, PATCH, GRID = 1024, 16, 64
WIDTH, DEPTH, HEADS, WINDOW, GLOBAL = 192, 6, 6, 16, (3, 5)
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


class Attention(torch.autograd.Function):
    """Attention with relative positions whose scores exist for ROWS queries at a time, forward and again backward: they stay in a cache."""

    ROWS = 256

    @staticmethod
    def scores(q, k, up, across):
        s = (q @ k.T).view(len(q), up.shape[1], across.shape[1])
        s += up[:, :, None]
        s += across[:, None]
        return s.flatten(1)

    @staticmethod
    def forward(ctx, q, k, v, up, across):
        """q (scaled), k, v [B, h*w, C]; what queries add to the scores of the h rows, up, and w columns of keys, across, [B, h*w, h or w]."""
        out, total = torch.empty_like(v), q.new_empty(q.shape[:2])
        for b in range(len(q)):
            for i in range(0, q.shape[1], Attention.ROWS):
                r = slice(i, i + Attention.ROWS)
                s = Attention.scores(q[b, r], k[b], up[b, r], across[b, r])
                total[b, r] = s.logsumexp(1)
                out[b, r] = (s - total[b, r, None]).exp_() @ v[b]
        ctx.save_for_backward(q, k, v, up, across, out, total)
        return out

    @staticmethod
    def backward(ctx, grad):
        q, k, v, up, across, out, total = ctx.saved_tensors
        dq, dk, dv, dup, dacross = (torch.zeros_like(x) for x in (q, k, v, up, across))
        same = (grad * out).sum(2)
        for b in range(len(q)):
            for i in range(0, q.shape[1], Attention.ROWS):
                r = slice(i, i + Attention.ROWS)
                p = Attention.scores(q[b, r], k[b], up[b, r], across[b, r]).sub_(total[b, r, None]).exp_()
                dv[b].addmm_(p.T, grad[b, r])
                ds = (grad[b, r] @ v[b].T).sub_(same[b, r, None]).mul_(p)
                dq[b, r] = ds @ k[b]
                dk[b].addmm_(ds.T, q[b, r])
                ds = ds.unflatten(1, (up.shape[2], across.shape[2]))
                dup[b, r], dacross[b, r] = ds.sum(2), ds.sum(1)
        return dq, dk, dv, dup, dacross


def attention(self, x):
    """Upstream's ie.Attention.forward of one picture's tokens or windows [B, h, w, C], with Attention where a CPU has many tokens."""
    b, h, w, _ = x.shape
    q, k, v = self.qkv(x).reshape(b, h * w, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4).flatten(1, 2).unbind(0)
    grid = q.unflatten(1, (h, w))
    up = torch.einsum("bhwc,hkc->bhwk", grid, ie.get_rel_pos(h, h, self.rel_pos_h)).flatten(1, 2)
    across = torch.einsum("bhwc,wkc->bhwk", grid, ie.get_rel_pos(w, w, self.rel_pos_w)).flatten(1, 2)
    q = q * self.scale
    if x.device.type == "cpu" and h * w > WINDOW * WINDOW and q.dtype == torch.float32:
        out = Attention.apply(q, k.contiguous(), v.contiguous(), up, across)
    else:
        s = (q @ k.transpose(1, 2)).unflatten(2, (h, w)) + up[:, :, :, None] + across[:, :, None]
        out = s.flatten(2).softmax(2) @ v
    return self.proj(out.unflatten(0, (b, -1)).transpose(1, 2).reshape(b, h, w, -1))


ie.Attention.forward = attention


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


def place_map():
    """Random directions of the stream for the position code: [WIDTH, DIM], orthonormal columns."""
    return torch.linalg.qr(torch.randn(WIDTH, DIM, generator=torch.Generator().manual_seed(6)))[0]


def place_code(sam):
    """The prompts' position code at each token, in random directions of the stream: [1, GRID, GRID, WIDTH], deviation 2.5.

    A mask is a product of the decoder's map with one vector per prompt, so like
    objects at two places can only be told apart if the map says where they are,
    in the waves that prompts are coded in. Learning that from noise takes longer
    than a short training has."""
    code = sam.prompt_encoder.get_dense_pe()[0].permute(1, 2, 0) @ place_map().T
    return (code * 2.5 / code.std())[None]


def pick_waves(sam, wanted):
    """For each wanted number of half waves across the frame two of the prompts' waves, as perpendicular as there are."""
    g = sam.prompt_encoder.pe_layer.positional_encoding_gaussian_matrix
    r, angle = g.norm(dim=0), torch.atan2(g[1], g[0])
    out = []
    for want in wanted:
        near = [i for i in range(len(r)) if abs(r[i] / want - 1) < 0.12]
        _, i, j = max((abs(torch.sin(angle[i] - angle[j])).item(), i, j) for i in near for j in near)
        out += [i, j]
    return out


def carried(sam):
    """The parts of the position code that the neck passes on: 24 indices of DIM."""
    waves = pick_waves(sam, (9.5, 7, 5, 3.5, 2.5, 1.4))
    return torch.tensor(waves + [w + DIM // 2 for w in waves])


def pass_code(neck, channels, read, stream):
    """Makes channels of the neck read the position code, rows read [len(channels), WIDTH], and pass it to the embedding.

    It takes 0.4 of the embedding's variance; stream [N, WIDTH], whole crops of 256
    tokens, tells how large the rest is."""
    with torch.no_grad():
        neck[0].weight[channels, :, 0, 0] = read
        neck[1].weight[channels] = 1
        neck[1].bias[channels] = 0
        neck[2].weight[:, channels] = 0
        x = stream[:256 * (len(stream) // 256)].reshape(-1, 16, 16, WIDTH).permute(0, 3, 1, 2)[:20]
        rest = neck[2](neck[1](neck[0](x))).std()
        q, _ = torch.linalg.qr(torch.randn(DIM, len(channels), generator=torch.Generator().manual_seed(8)))
        neck[2].weight[:, channels, 1, 1] = q * rest * (0.4 * DIM / len(channels)) ** 0.5


def start(sam):
    """Starting weights that spare a short training most of its first half.

    Patches start as cosines scaled to even out a picture's spectrum; the position
    code has wavelengths from the frame to a few tokens; and queries and keys of
    each attention between tokens and picture start alike, so that a prompt looks
    at its own place from the first step."""
    enc, pe, dec = sam.image_encoder, sam.prompt_encoder, sam.mask_decoder
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
        enc.pos_embed.copy_(place_code(sam))
        read = place_map()[:, carried(sam)].T * enc.neck[0].weight.std() * WIDTH ** 0.5
        content = torch.randn(5120, WIDTH, generator=g) * 6.5  # about what patches bring
        pass_code(enc.neck, torch.arange(len(read)), read, content)
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
    """Helper head for training only: which 4 x 4 cells show a nucleus, a border, a gland, a tumour.

    It reads the decoder's own upscaling of the embedding, which so learns from
    every cell of a crop."""

    def __init__(self):
        super().__init__()
        self.out = nn.Conv2d(DIM // 8, 4, 1)

    def forward(self, up):
        """up [B, DIM/8, h, w], from the decoder's output_upscaling."""
        return self.out(up)


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


def unprompted(sam, emb):
    """The decoder's upscaled map of embeddings that have met no prompt: [B, DIM/8, 4h, 4w]."""
    return sam.mask_decoder.output_upscaling(emb + sam.prompt_encoder.no_mask_embed.weight.reshape(1, -1, 1, 1))


def prompts(sam, at, points=None, boxes=None):
    """Prompt tokens [P, N, DIM]. Coordinates are pixels of a crop whose first token is at = (row, column) of the frame, or [P, 2] of them.

    points = (xy [P, N, 2], labels [P, N]). One point and one box both take two
    tokens (a lone point is padded), so such prompts can be joined in one batch."""
    shift = torch.as_tensor(at, device=sam.device).reshape(-1, 1, 2).flip(-1).float() * PATCH
    if points is not None:
        points = (points[0] + shift, points[1])
    if boxes is not None:
        boxes = boxes + shift.flatten(1).repeat(1, 2)
    return sam.prompt_encoder(points=points, boxes=boxes, masks=None)[0]


def places(sam, at, h, w):
    """The prompts' code of each token of crops at [(row, column)]: [B, h*w, DIM]."""
    code = sam.prompt_encoder.get_dense_pe()
    return torch.cat([code[:, :, r:r + h, c:c + w] for r, c in at]).flatten(2).transpose(1, 2)


def look(attn, tokens, keys, placed, weight=None):
    """Tokens [P, T, DIM] attend to the picture: keys [P or 1, N, DIM], placed: the same with their place codes.

    Upstream's attention with the projections of the picture moved to the few
    tokens; the keys' bias is the same for all of the picture and drops out. Of a picture's
    sample each key stands for exp(weight) of them, weight [P, N]."""
    n, t, c = tokens.shape
    h = attn.num_heads
    d = attn.internal_dim // h
    q = attn.q_proj(tokens).reshape(n, t, h, d)
    a = torch.einsum("pthd,hdc->phtc", q, attn.k_proj.weight.reshape(h, d, c)) / d ** 0.5
    s = a.reshape(n, h * t, c) @ placed.transpose(1, 2)
    p = (s if weight is None else s + weight[:, None]).softmax(-1)
    o = (p @ keys).reshape(n, h, t, c)
    o = torch.einsum("phtc,hdc->pthd", o, attn.v_proj.weight.reshape(h, d, c))
    return attn.out_proj(o.reshape(n, t, h * d) + attn.v_proj.bias)


def tell(attn, placed, tokens, values):
    """What the picture, placed [P or 1, N, DIM], takes from tokens [P, T, DIM] with values alike: [P, N, DIM]."""
    n, t, c = tokens.shape
    h = attn.num_heads
    d = attn.internal_dim // h
    k = attn.k_proj(tokens).reshape(n, t, h, d) / d ** 0.5
    a = torch.einsum("pthd,hdc->phtc", k, attn.q_proj.weight.reshape(h, d, c)).reshape(n, h * t, c)
    shift = torch.einsum("pthd,hd->pht", k, attn.q_proj.bias.reshape(h, d)).reshape(n, 1, h * t)
    s = placed @ a.transpose(1, 2) + shift
    p = s.unflatten(-1, (h, t)).softmax(-1).flatten(-2)
    v = attn.v_proj(values).reshape(n, t, h, d)
    return p @ torch.einsum("pthd,chd->phtc", v, attn.out_proj.weight.reshape(c, h, d)).reshape(n, h * t, c) + attn.out_proj.bias


def attend(sam, emb, place, sparse, masks=None, weight=None):
    """The decoder's transformer for P prompts: tokens [P, T, DIM] and the map [P, h*w, DIM].

    emb [P or 1, DIM, h, w] are the embeddings of the prompts' crops, place [P or 1, h*w,
    DIM] their places' codes; weight as look has it. The steps of upstream's TwoWayTransformer."""
    pe, dec = sam.prompt_encoder, sam.mask_decoder
    src = emb + (pe.no_mask_embed.weight.reshape(1, -1, 1, 1) if masks is None else pe._embed_masks(masks))
    keys = src.flatten(2).transpose(1, 2)
    out = torch.cat([dec.iou_token.weight, dec.mask_tokens.weight])
    first = torch.cat([out.expand(len(sparse), -1, -1), sparse], 1)
    q = first
    for layer in dec.transformer.layers:
        if layer.skip_first_layer_pe:
            q = layer.self_attn(q, q, q)
        else:
            q = q + layer.self_attn(q + first, q + first, q)
        q = layer.norm1(q)
        placed = keys + place
        q = layer.norm2(q + look(layer.cross_attn_token_to_image, q + first, keys, placed, weight))
        q = layer.norm3(q + layer.mlp(q))
        keys = layer.norm4(keys + tell(layer.cross_attn_image_to_token, placed, q + first, q))
    q = q + look(dec.transformer.final_attn_token_to_image, q + first, keys, keys + place, weight)
    return dec.transformer.norm_final_attn(q), keys


def hyper(sam, hs):
    """The masks' vectors [P, 4, DIM/8] and predicted IoU [P, 4] of tokens [P, T, DIM]."""
    dec = sam.mask_decoder
    vec = torch.stack([mlp(hs[:, 1 + i]) for i, mlp in enumerate(dec.output_hypernetworks_mlps)], 1)
    return vec, dec.iou_prediction_head(hs[:, 0])


CELLS = [(a, b, c, d) for a in (0, 1) for b in (0, 1) for c in (0, 1) for d in (0, 1)]  # of a token: row 2a + c, column 2b + d


def upscaled(sam, x, cells=None):
    """The decoder's upscaling of tokens x [..., DIM], which never looks past a token: [..., K, DIM/8].

    K are all 16 cells in the order of CELLS, or those of the numbers cells."""
    up1, norm, act, up2, act2 = sam.mask_decoder.output_upscaling
    c = x.shape[-1]
    if cells is None:
        w1, w2 = up1.weight.permute(2, 3, 1, 0).reshape(c, c), up2.weight.permute(2, 3, 1, 0).reshape(c // 2, c // 4)
        y = F.linear(x, w1, up1.bias.repeat(4)).unflatten(-1, (4, c // 4))
        y = act(F.layer_norm(y, (c // 4,), norm.weight, norm.bias, norm.eps))
        return act2(F.linear(y, w2, up2.bias.repeat(4))).reshape(*x.shape[:-1], 16, c // 8)
    out = []
    for i in cells:
        a, b, e, d = CELLS[i]
        y = act(F.layer_norm(F.linear(x, up1.weight[:, :, a, b].T, up1.bias), (c // 4,), norm.weight, norm.bias, norm.eps))
        out.append(act2(F.linear(y, up2.weight[:, :, e, d].T, up2.bias)))
    return torch.stack(out, -2)


def spread_cells(m, h, w):
    """Maps [..., h*w, 16] by token and cell as pictures [..., 4h, 4w]."""
    m = m.reshape(*m.shape[:-2], h, w, 2, 2, 2, 2)
    n = m.ndim - 6
    return m.permute(*range(n), n, n + 2, n + 4, n + 1, n + 3, n + 5).reshape(*m.shape[:n], 4 * h, 4 * w)


def by_token(m):
    """The inverse of spread_cells: [..., H, W] as [..., H/4 * W/4, 16]."""
    h, w = m.shape[-2] // 4, m.shape[-1] // 4
    m = m.reshape(*m.shape[:-2], h, 2, 2, w, 2, 2)
    n = m.ndim - 6
    return m.permute(*range(n), n, n + 3, n + 1, n + 4, n + 2, n + 5).reshape(*m.shape[:n], h * w, 16)


def decode(sam, emb, at, sparse, masks=None):
    """Logits [P, 4, 4h, 4w] and IoU [P, 4] of P prompts on one crop, emb [1, DIM, h, w], which lies at token at of the frame."""
    hs, keys = attend(sam, emb, places(sam, [at], *emb.shape[2:]), sparse, masks)
    vec, iou = hyper(sam, hs)
    up = upscaled(sam, keys).flatten(1, 2)
    logits = (vec @ up.transpose(1, 2)).unflatten(2, (-1, 16))
    return spread_cells(logits, *emb.shape[2:]), iou
