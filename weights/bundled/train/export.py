"""Writes a training checkpoint's averaged weights as the float16 file that is embedded.

    python export.py --run RUN/last.pt --out ../model.safetensors
"""

import argparse

import torch
from safetensors.torch import save_file

import model


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--run", required=True)
    a.add_argument("--out", required=True)
    o = a.parse_args()
    c = torch.load(o.run, map_location="cpu")
    want = model.build().state_dict()
    out = {}
    for k, v in c["ema"].items():
        if k in ("pixel_mean", "pixel_std"):
            continue
        assert k in want and want[k].shape == v.shape, k
        h = v.half().contiguous()
        assert torch.isfinite(h).all(), k
        out[k] = h
    assert len(out) == len([k for k in want if k not in ("pixel_mean", "pixel_std")])
    save_file(out, o.out, metadata={"format": "pt", "step": str(c["step"]), "licence": "Apache-2.0"})
    print(len(out), "tensors,", sum(v.numel() for v in out.values()), "parameters, step", c["step"])


if __name__ == "__main__":
    main()
