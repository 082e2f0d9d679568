"""Gives a trained model the position code that model.start gives a new one.

    python place.py code RUN/last.pt OUT.pt            # adds the code to the position embedding
    python place.py neck RUN/last.pt OUT.pt --shards tr # lets the neck pass it on

The first command is for weights from before place_code; the second reads the
code off the last block's stream, by least squares on crops of the shards, into
the neck's weakest channels and from there into the embedding.
"""

import argparse

import numpy as np
import torch

import data
import model


@torch.no_grad()
def streams(sam, crops):
    """The encoder's stream before the neck [N, WIDTH] and the code of each token's place [N, 2 * waves]."""
    enc = sam.image_encoder
    pe, dims = sam.prompt_encoder.get_dense_pe()[0], model.carried(sam)
    xs, ys = [], []
    for img, r, c in crops:
        x = enc.patch_embed(model.normalise(sam, torch.from_numpy(img).permute(2, 0, 1)[None]))
        h, w = x.shape[1:3]
        x = x + enc.pos_embed[:, r:r + h, c:c + w]
        for blk in enc.blocks:
            x = blk(x)
        xs.append(x.reshape(h * w, -1))
        ys.append(pe[dims][:, r:r + h, c:c + w].flatten(1).T)
    return torch.cat(xs), torch.cat(ys)


@torch.no_grad()
def open_neck(sam, crops, channels=None):
    """Replaces the neck's weakest channels; returns which."""
    x, y = streams(sam, crops)
    ridge = 1e-3 * x.square().mean() * len(x) * torch.eye(x.shape[1])
    read = torch.linalg.solve(x.T @ x + ridge, x.T @ y)
    got = x @ read
    print("code's variance explained:", (1 - (got - y).square().mean(0) / y.var(0)).mean().item())
    neck = sam.image_encoder.neck
    dev = (x @ neck[0].weight[:, :, 0, 0].T).std(0)
    if channels is None:
        weight = neck[2].weight.square().sum((0, 2, 3)).sqrt() * neck[1].weight.abs() * dev
        channels = weight.argsort()[:y.shape[1]]
    model.pass_code(neck, channels, (read / got.std(0) * dev.mean()).T, x)
    return channels


def main():
    a = argparse.ArgumentParser()
    a.add_argument("what", choices=("code", "neck"))
    a.add_argument("run")
    a.add_argument("out")
    a.add_argument("--shards", default="tr")
    o = a.parse_args()
    c = torch.load(o.run, map_location="cpu")
    rng, channels, crops = np.random.default_rng(5), None, []
    if o.what == "neck":
        shards = data.Shards(o.shards.split(","), share=0.1)
        for _ in range(80):
            r, col = (int(v) * model.WINDOW for v in rng.integers(4, size=2))
            crops.append((data.augment(rng, shards.crop(rng, 256)[0]), r, col))
    for k in ("model", "ema"):
        sam = model.build()
        code = sam.image_encoder.pos_embed.detach().clone()
        sam.load_state_dict(c[k])
        if o.what == "code":
            sam.image_encoder.pos_embed.data += code
        else:
            channels = open_neck(sam, crops, channels)
        c[k] = sam.state_dict()
    torch.save(c, o.out)


if __name__ == "__main__":
    main()
