"""The instance decoder's training by torch_em: gradients of the whole decoder by
PyTorch's autograd, targets, and steps of training.

TORCH_EM names a clone of github.com/constantinpape/torch-em at 6f71247c;
requirements-unetr.txt has what its targets need.
"""

import importlib
import math
import os
import sys
import types

import numpy as np
import torch

import counter
from digests import digest, values
from instance import SHAPES, decode, shaped
from store import Store


def learned(state):
    """Returns the names of what a decoder's training changes, in order."""
    return [k for k in state if not k.startswith("encoder.") and not k.endswith("num_batches_tracked")]


def every(folder):
    for job in (gradients, targets, steps):
        job(folder)


def gradients(folder):
    """Gradients of the sum of the maps times fixed values, in both modes of the
    batch norms. Statistics have none."""
    for name, c in SHAPES.items():
        u, state = shaped(c)
        n = c["embed"] * c["grid"] ** 2
        z0 = counter.uniform(counter.hash64(c["seed"]), n).reshape(1, c["embed"], c["grid"], c["grid"])
        s = Store(name.replace("instance", "unetr"), folder)
        for mode in ("batch", "running"):
            u.load_state_dict(state, strict=False)
            u.train(mode == "batch")
            u.zero_grad(set_to_none=True)
            z = torch.from_numpy(z0.copy()).requires_grad_()
            maps = decode(u, z)["maps"]
            a = torch.from_numpy(values("maps", maps.numel(), c["seed"])).reshape(1, *maps.shape[2:], maps.shape[1]).permute(0, 3, 1, 2)
            loss = (a * maps).sum() / math.sqrt(maps.numel())
            loss.backward()
            params = {k: p for k, p in u.named_parameters() if not k.startswith("encoder.")}
            rows = [digest("z", z.grad[0].permute(1, 2, 0))] + [digest(k, p.grad) for k, p in params.items()]
            s.put(mode, np.array(rows, np.float32))
            s.put(mode + "/loss", np.array([loss.item()], np.float32))
            if mode == "batch":  # what a step in training mode made of the statistics
                buffers = [k for k in learned(u.state_dict()) if k not in params]
                s.put("statistics", np.array([digest(k, u.state_dict()[k]) for k in buffers], np.float32).reshape(-1, 9))
        s.close(dict(what="torch_em 6f71247c, torch.autograd", model=name, tensors=["z", *params], statistics=buffers, torch=torch.__version__))


def transform():
    """Returns torch_em.transform.label without the package around it."""
    root = os.environ["TORCH_EM"]
    for name in ("torch_em", "torch_em.transform"):
        m = types.ModuleType(name)
        m.__path__ = [os.path.join(root, *name.split("."))]
        sys.modules[name] = m
    util = types.ModuleType("torch_em.util")
    util.ensure_array = util.ensure_spatial_array = None  # for transforms that are not used here
    sys.modules["torch_em.util"] = util
    return importlib.import_module("torch_em.transform.label")


def labels(h, w, seed):
    """Returns ellipses that touch and overlap, at the edges too, a ring whose
    centroid lies outside of it, a number on two parts, and specks."""
    r = np.random.default_rng(seed)
    y, x = np.mgrid[:h, :w] + 0.5
    out = np.zeros((h, w), np.uint32)
    for i in range(14):
        a, b, t = r.uniform(3, 11), r.uniform(3, 8), r.uniform(0, np.pi)
        u, v = x - r.uniform(-2, w + 2), y - r.uniform(-2, h + 2)
        out[((u * np.cos(t) + v * np.sin(t)) / a) ** 2 + ((v * np.cos(t) - u * np.sin(t)) / b) ** 2 < 1] = i + 1
    out[2:9, 2:20][(out[2:9, 2:20] > 0) & (x[2:9, 2:20] > 11)] = 0
    u, v = x - 20, y - h + 14
    out[(np.hypot(u, v) < 11) & (np.hypot(u, v) > 7) & (u < 6)] = 40  # a C
    out[:3, w - 6 : w - 2] = 41
    out[6:16, w - 8 : w - 2] = 41  # the same number apart
    out[h - 4 : h - 2, w - 4 : w - 2] = 42  # a speck
    return out


def targets(folder):
    """Targets as micro-sam's default_sam_dataset asks for them, with instances
    of at least 25 pixels and with all."""
    label = transform()
    s = Store("unetr_targets", folder)
    cases = []
    for i, (h, w, least) in enumerate([(48, 61, 25), (40, 52, 0), (9, 7, 0)]):
        lab = labels(h, w, i) if h > 9 else np.full((h, w), 3, np.uint32)  # one that fills the picture
        t = label.PerObjectDistanceTransform(
            distances=True, boundary_distances=True, directed_distances=False, foreground=True, instances=True, min_size=least
        )(lab)
        s.put(f"{i}/labels", lab.astype(np.float32))
        s.put(f"{i}/parts", t[0].astype(np.float32))
        s.put(f"{i}/maps", t[1:].astype(np.float32))
        cases.append(dict(H=h, W=w, Least=least))
    s.close(dict(what="torch_em 6f71247c, PerObjectDistanceTransform", cases=cases))


STEPS = 20


def steps(folder):
    """Steps of training as micro-sam's train_instance_segmentation takes them,
    with a batch of one: DiceBasedDistanceLoss, AdamW, batch norms in training
    mode. Embeddings and targets take turns."""
    label = transform()
    root = os.environ["TORCH_EM"]
    sys.modules["torch_em.loss"] = m = types.ModuleType("torch_em.loss")
    m.__path__ = [os.path.join(root, "torch_em", "loss")]
    criterion = importlib.import_module("torch_em.loss.distance_based").DiceBasedDistanceLoss(mask_distances_in_bg=True)
    for name in ("instance_a", "instance_c"):
        c = SHAPES[name]
        u, state = shaped(c)
        u.train()
        side = 16 * c["grid"]
        params = {k: p for k, p in u.named_parameters() if not k.startswith("encoder.")}
        # At torch's eps of 1e-8 float32 is as far from float64 as 0.02 of a tensor's
        # length after these steps: elements whose gradient is nothing but rounding
        # make steps like the others. At 1e-4 it is 1.4e-4 (measured).
        opt = torch.optim.AdamW(params.values(), lr=1e-3, eps=1e-4)  # weight_decay 0.01
        t = label.PerObjectDistanceTransform(
            distances=True, boundary_distances=True, directed_distances=False, foreground=True, min_size=25)  # fmt: skip
        s, data, losses = Store(name.replace("instance", "unetr_steps"), folder), [], []
        n = c["embed"] * c["grid"] ** 2
        for k in range(2):
            z = counter.uniform(counter.hash64(c["seed"] + k), n).reshape(1, c["embed"], c["grid"], c["grid"])
            lab = labels(side, side, 10 + k)
            s.put(f"{k}/labels", lab.astype(np.float32))
            data.append((torch.from_numpy(z.copy()), torch.from_numpy(t(lab)[None].astype(np.float32))))
        for step in range(STEPS):
            z, want = data[step % 2]
            opt.zero_grad()
            loss = criterion(decode(u, z)["maps"], want)
            loss.backward()
            opt.step()
            losses.append(loss.item())
        s.put("losses", np.array(losses, np.float32))
        after = u.state_dict()
        names = learned(after)
        s.put("weights", np.array([digest(k, after[k]) for k in names], np.float32))
        s.close(dict(what="torch_em 6f71247c, DiceBasedDistanceLoss, torch.optim.AdamW", model=name, tensors=names, torch=torch.__version__))
        print("loss", losses[0], losses[-1])
