"""Runs torch_em's UNETR as micro-sam uses it, with counter-based weights.

TORCH_EM names a clone of github.com/constantinpape/torch-em at 6f71247c.
micro-sam 3acdcd72 runs the decoder without calling eval(): its batch norms use
the statistics of the batch, which "batch" holds; "running" is after eval().
"""

import functools
import os
import sys
import types

import numpy as np
import torch

import counter
from store import Store

SHAPES = {
    # features: width of the finest level; micro-sam's is 64, its embedding 256 x 64 x 64.
    "instance_a": dict(embed=32, grid=6, features=8, out=3, transpose=False, seed=5),
    "instance_b": dict(embed=24, grid=4, features=8, out=6, transpose=True, seed=6),
    # Batch norms in the blocks, as the bundled model has; micro-sam's are instance norms.
    "instance_c": dict(embed=24, grid=4, features=8, out=3, transpose=True, seed=9, norm="BatchNorm"),
}
FULL = {"instance_full": dict(embed=256, grid=64, features=64, out=3, transpose=False, seed=8)}


def unetr():
    """Returns torch_em.model.unetr without the package around it, which would
    import data loaders."""
    root = os.environ["TORCH_EM"]
    for name in ("torch_em", "torch_em.model"):
        m = types.ModuleType(name)
        m.__path__ = [os.path.join(root, *name.split("."))]
        sys.modules[name] = m
    import torch_em.model.unetr as module

    return module


class Encoder(torch.nn.Module):
    """Stands for an image encoder: UNETR asks it for two widths."""

    def __init__(self, embed, grid):
        super().__init__()
        self.img_size, self.in_chans = 16 * grid, 3
        self.neck = torch.nn.ModuleList([torch.nn.Identity(), torch.nn.Identity(), torch.nn.Conv2d(1, embed, 1)])


def decode(u, z):
    """The decoder on an embedding, as micro-sam's DecoderAdapter._forward_impl
    calls its parts."""
    z9 = u.deconv1(z)
    z6 = u.deconv2(z9)
    z3 = u.deconv3(z6)
    z0 = u.deconv4(z3)
    x = u.decoder(u.base(z), encoder_inputs=[z9, z6, z3])
    x = u.decoder_head(torch.cat([u.deconv_out(x), z0], dim=1))
    return dict(z9=z9, z0=z0, maps=u.final_activation(u.out_conv(x)))


def every(folder):
    make(folder, SHAPES | FULL)


def full(folder):
    """micro-sam's own shape."""
    make(folder, FULL)


def shaped(c):
    """Returns a UNETR of a shape, and its state: counter-based weights."""
    module = unetr()
    module.ConvBlock2d = functools.partial(module.ConvBlock2d, norm=c.get("norm", "InstanceNorm"))

    class Shaped(module.UNETR):
        """UNETR has no argument for its widths."""

        def __init__(self, **kw):
            self.features = c["features"]
            super().__init__(**kw)

        def __setattr__(self, k, v):
            super().__setattr__(k, c["features"] if k == "initial_features" else v)

    u = Shaped(
        backbone="sam", encoder=Encoder(c["embed"], c["grid"]), out_channels=c["out"], use_sam_stats=True,
        final_activation="Sigmoid", use_skip_connection=False, resize_input=True, use_conv_transpose=c["transpose"],
    )  # fmt: skip
    state = {k: v for k, v in u.state_dict().items() if not k.startswith("encoder.")}
    for k, v in state.items():
        if not k.endswith("num_batches_tracked"):
            state[k] = torch.from_numpy(counter.weight(k, v.shape, c["seed"]))
    u.load_state_dict(state, strict=False)
    return u, state


def make(folder, shapes):
    for name, c in shapes.items():
        u, state = shaped(c)
        n = c["embed"] * c["grid"] ** 2
        z = counter.uniform(counter.hash64(c["seed"]), n).reshape(1, c["embed"], c["grid"], c["grid"])
        s = Store(name, folder)
        with torch.no_grad():
            u.train()
            for mode in ("batch", "running"):
                for stage, v in decode(u, torch.from_numpy(z.copy())).items():
                    s.sample(f"{mode}/{stage}", v[0].numpy(), 6000)
                u.load_state_dict(state, strict=False)  # a run in training mode moved the running statistics
                u.eval()
        names = sorted(k for k in state if not k.endswith("num_batches_tracked"))
        s.close(dict(c, weights=names, shapes=[list(state[k].shape) for k in names], torch=torch.__version__))
