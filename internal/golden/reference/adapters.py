"""Runs adapted models: micro-sam's parameter-efficient trainings and CellSeg1's
low-rank adapters, each with its own code and counter-based weights.

MICRO_SAM names a clone of github.com/computational-cell-analytics/micro-sam at
3acdcd72 or its unpacked wheel (micro_sam 1.8.14), CELLSEG1 a clone of
github.com/Nuisal/cellseg1 at 9437fb6. After eval(): micro-sam itself leaves the
dropout of FacT active.
"""

import importlib.util
import os
import tempfile

import numpy as np
import torch
from segment_anything import SamPredictor

import counter
import models
from store import Store

SEED = 41
SIZE = (70, 60)
CONFIG = models.config(img_size=96, patch=8, width=32, depth=3, heads=2, window=5, globals=[1], prompt=32, decoder_mlp=64, iou_hidden=32)


def module(root, path):
    spec = importlib.util.spec_from_file_location(os.path.basename(path)[:-3], os.path.join(os.environ[root], path))
    m = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(m)
    return m


def factor(name):
    """Factors lie around 1."""
    return name.endswith((".scale", ".alpha"))


def fill(net):
    state = {}
    for k, v in net.state_dict().items():
        if k.startswith("peft_blocks."):
            continue  # the adapters once more
        w = torch.from_numpy(counter.weight(k, v.shape, SEED))
        state[k] = 1 + 2 * w if factor(k) else w
    net.load_state_dict(state, strict=False)
    return state


def cases():
    peft = module("MICRO_SAM", "micro_sam/models/peft_sam.py")
    for name, surgery, options in (
        ("fact", peft.FacTSurgery, dict(rank=4)),
        ("ssf", peft.SSFSurgery, {}),
        ("adaptformer", peft.AdaptFormer, dict(projection_size=8)),
        ("adaptformer_late", peft.AdaptFormer, dict(projection_size=8, attention_layers_to_update=[1, 2])),
        ("lora", peft.LoRASurgery, dict(rank=4, update_matrices=["q", "k", "mlp"])),
    ):
        net = peft.PEFT_Sam(models.empty(CONFIG), peft_module=surgery, **options).eval()
        yield name, net, net.sam
    cellseg1 = module("CELLSEG1", "peft/sam_lora_image_encoder_mask_decoder.py")
    frozen = ("image_encoder", "prompt_encoder", "mask_decoder_transformer", "output_hypernetworks_mlps", "upscaling_cnn",
              "mask_decoder_mask_tokens", "mask_decoder_iou")  # fmt: skip
    config = {f"freeze_{k}": True for k in frozen} | dict(image_encoder_lora_rank=4, mask_decoder_lora_rank=4, lora_dropout=0.1)
    net = cellseg1.LoRA_Sam(models.empty(CONFIG), config).eval()
    yield "cellseg1", net, net.sam


def every(folder):
    s, all = Store("adapters", folder), []
    for name, net, sam in cases():
        state = fill(net)
        p = SamPredictor(sam)
        p.set_image(counter.picture(*SIZE, SEED))
        s.sample(name + "/embedding", p.get_image_embedding()[0].detach().numpy(), 3000)
        _, iou, low = p.predict(np.array([[30.0, 40.0]]), np.array([1]), multimask_output=True)
        s.sample(name + "/lowres", low, 1500)
        s.put(name + "/iou", iou)
        if name == "cellseg1":
            # What its own function saves, beside the model that it was made of.
            with tempfile.TemporaryDirectory() as tmp:
                net.save_lora_parameters(os.path.join(tmp, "a.pth"))
                own = torch.load(os.path.join(tmp, "a.pth"), weights_only=True)
            all.append(dict(name=name, weights=list(state), shapes=[list(v.shape) for v in state.values()], own=same(own, state)))
        else:
            all.append(dict(name=name, weights=list(state), shapes=[list(v.shape) for v in state.values()], own={}))
    s.close(dict(config=CONFIG, size=SIZE, seed=SEED, point=[30, 40], cases=all, torch=torch.__version__))


def same(own, state):
    """Which of the model's tensors each tensor of a file is."""
    out = {}
    for k, v in own.items():
        found = [n for n, w in state.items() if v.shape == w.shape and torch.equal(v, w)]
        assert len(found) == 1, (k, found)
        out[k] = found[0]
    return out
