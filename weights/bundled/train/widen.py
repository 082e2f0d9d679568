"""Lets a block that attended within windows attend to the whole picture, and keeps what it learned.

    python widen.py --run RUN/last.pt --shards valc,big3 --out wide.pt

Its tables of relative positions grow from 31 rows to 127. The old rows stay in the
middle; the new ones, of rows or columns farther away than a window is wide, are one
vector whose product with a query, which is added to the attention's logits, is to be
-4: the least squares solution over queries of some pictures (-3.3 on average there).
"""

import argparse
import glob

import numpy as np
import torch

import model


@torch.no_grad()
def queries(sam, block, shards, pictures=4, each=6000):
    """Queries [N, head width] of a block for some tokens and all heads of the first pictures of each folder."""
    attn, out = sam.image_encoder.blocks[block].attn, []

    def keep(_, __, qkv):
        q = qkv.unflatten(-1, (3, attn.num_heads, -1))[..., 0, :, :].flatten(0, -2)
        out.append(q[torch.randperm(len(q))[:each]])

    hook = attn.qkv.register_forward_hook(keep)
    for folder in shards:
        images = np.load(sorted(glob.glob(folder + "/*-image.npy"))[0], mmap_mode="r")
        for img in images[:pictures]:
            x = torch.from_numpy(np.array(img)).permute(2, 0, 1)[None].float()
            model.encode(sam, model.normalise(sam, x), [(0, 0)])
    hook.remove()
    return torch.cat(out).double()


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--run", required=True, help="a run's last.pt; its averaged weights are used")
    a.add_argument("--shards", required=True, help="folders with pictures of 1024 x 1024, with commas")
    a.add_argument("--block", type=int, default=5)
    a.add_argument("--out", required=True)
    o = a.parse_args()
    torch.manual_seed(0)
    c = torch.load(o.run, map_location="cpu")
    model.GLOBAL = tuple(b for b in model.GLOBAL if b != o.block)
    sam = model.build()
    sam.load_state_dict(c["ema"])
    q = queries(sam, o.block, o.shards.split(","))
    square = q.T @ q / len(q)  # with a little of its diagonal, which keeps the vector short
    far = torch.linalg.solve(square + 1e-3 * square.diagonal().mean() * torch.eye(len(square)), -4 * q.mean(0)).float()
    for n in "hw":
        name = f"image_encoder.blocks.{o.block}.attn.rel_pos_{n}"
        old = c["ema"][name]
        new = far.repeat(2 * model.GRID - 1, 1)
        first = (len(new) - len(old)) // 2
        new[first:first + len(old)] = old
        c["ema"][name] = new
    torch.save({"model": c["ema"], "head": c["head"], "ema": c["ema"], "opt": {}, "step": c["step"]}, o.out)
    bias = q.float() @ far
    print(f"logits of far rows and columns lowered by {-bias.mean():.1f}, deviation {bias.std():.1f}")


if __name__ == "__main__":
    main()
