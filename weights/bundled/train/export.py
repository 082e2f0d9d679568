"""Writes a training checkpoint's averaged weights as the float16 file that is embedded.

    python export.py --run RUN/last.pt --out ../model.safetensors
    python export.py --run run2/last.pt --from OLD.safetensors --share 0.6 --out ../model.safetensors

With --from the weights are those a share of the way from OLD's to the run's; what the run did not train stays bit for bit.
"""

import argparse

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import model


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--run", required=True)
    a.add_argument("--out", required=True)
    a.add_argument("--from", dest="old", help="weights that the run began with")
    a.add_argument("--share", type=float, default=1.0, help="with --from, how far to go to the run's")
    o = a.parse_args()
    c = torch.load(o.run, map_location="cpu")
    old = load_file(o.old) if o.old else {}
    metadata = {"format": "pt", "step": str(c["step"]), "licence": "Apache-2.0"}
    if o.old:
        with safe_open(o.old, "pt") as f:
            metadata = f.metadata()
    want = model.build().state_dict()
    out = {}
    for k, v in c["ema"].items():
        if k in ("pixel_mean", "pixel_std"):
            continue
        assert k in want and want[k].shape == v.shape, k
        if old and not torch.equal(v.half(), old[k]):
            v = old[k].float() * (1 - o.share) + o.share * v
        h = v.half().contiguous()
        assert torch.isfinite(h).all(), k
        out[k] = h
    assert len(out) == len([k for k in want if k not in ("pixel_mean", "pixel_std")])
    save_file(out, o.out, metadata=metadata)
    print(len(out), "tensors,", sum(v.numel() for v in out.values()), "parameters, step", c["step"])


if __name__ == "__main__":
    main()
