"""Runs MobileSAM's own TinyViT with counter-based weights and captures its
stages.

MOBILE_SAM names a clone of github.com/ChaoningZhang/MobileSAM at 34bbbfdf;
timm 0.6.13 is needed besides. TinyViT takes pictures of 1024 x 1024 alone.

eval() is called after the weights are loaded, as MobileSAM's README does.
Without that, attention runs with all biases zero: its cache of them is made
when eval() is called. "zero_bias" holds what comes out then.
"""

import os
import sys

import numpy as np
import torch

import counter
from store import Store

SEED = 7
SIZE = (768, 1024)


def full(folder):
    sys.path.insert(0, os.environ["MOBILE_SAM"])
    from mobile_sam import SamPredictor
    from mobile_sam.build_sam import build_sam_vit_t

    sam = build_sam_vit_t()  # calls eval() while all biases are zero
    state = sam.state_dict()
    for k, v in state.items():
        if v.dtype == torch.float32 and k not in ("pixel_mean", "pixel_std"):
            state[k] = torch.from_numpy(counter.weight(k, v.shape, SEED))
    sam.load_state_dict(state)
    encoder = sam.image_encoder
    stages = {}

    def keep(name):
        def hook(_, __, out):
            stages[name] = out[0].detach().numpy().copy()

        return hook

    encoder.patch_embed.register_forward_hook(keep("patch"))
    for i, layer in enumerate(encoder.layers):
        layer.register_forward_hook(keep(f"layer{i}"))
    s = Store("mobile_full", folder)
    picture = counter.picture(*SIZE, SEED)
    predictor = SamPredictor(sam)
    predictor.set_image(picture)
    s.sample("zero_bias/embedding", predictor.features[0].numpy(), 4000)
    sam.eval()
    predictor.set_image(picture)
    for name, v in stages.items():
        s.sample(name, v, 6000)
    s.sample("embedding", predictor.features[0].numpy(), 12000)
    masks, iou, low = predictor.predict(np.array([[500.0, 300.0]]), np.array([1]), multimask_output=True)
    s.put("iou", iou)
    s.sample("lowres", low, 6000)
    s.masks("masks", masks, 16)
    s.close(dict(size=SIZE, seed=SEED, point=[500, 300], torch=torch.__version__))


def state(folder):
    """The names and shapes of a checkpoint of MobileSAM, as its own code makes them."""
    sys.path.insert(0, os.environ["MOBILE_SAM"])
    from mobile_sam.build_sam import build_sam_vit_t

    all = build_sam_vit_t().state_dict()
    s = Store("mobile_state", folder)
    s.close(dict(weights=list(all), shapes=[list(v.shape) for v in all.values()], torch=torch.__version__))
