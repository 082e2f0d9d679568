#!/usr/bin/env python3
"""Makes the reference files of package golden.

    python make.py --segment-anything PATH [--out ../testdata] WHAT...

WHAT is any of: counter resample interpolate rle small gradients encoder steps
full (or one model at a time: full_b full_l full_h).
PATH is a clone of github.com/facebookresearch/segment-anything at dca509f;
leave it out if that package is installed.
"""

import argparse
import importlib
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

JOBS = {
    "counter": "rules.counters",
    "resample": "pixels.resample",
    "interpolate": "pixels.interpolate",
    "rle": "pixels.rle",
    "small": "models.small",
    "full": "models.full",
    "full_b": "models.full_b",
    "full_l": "models.full_l",
    "full_h": "models.full_h",
    "everything": "everything.generate",
    "instance": "instance.every",
    "instance_full": "instance.full",
    "unetr": "unetr.every",
    "mobile": "mobile.full",
    "mobile_state": "mobile.state",
    "cellpose": "cellpose_sam.small",
    "cellpose_full": "cellpose_sam.full",
    "gradients": "gradients.gradients",
    "encoder": "gradients.encoder",
    "steps": "gradients.steps",
    "adapters": "adapters.every",
    "hf": "hf.small",
    "hf_full": "hf.full",
}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--segment-anything", metavar="PATH", help="clone of segment-anything at dca509f")
    p.add_argument("--out", default=os.path.join(HERE, "..", "testdata"), help="folder for the files")
    p.add_argument("what", nargs="+", choices=list(JOBS))
    a = p.parse_args()
    if a.segment_anything:
        sys.path.insert(0, a.segment_anything)
    os.makedirs(a.out, exist_ok=True)

    for name in a.what:
        module, function = JOBS[name].split(".")
        getattr(importlib.import_module(module), function)(a.out)


if __name__ == "__main__":
    main()
