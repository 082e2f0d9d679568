#!/usr/bin/env python3
"""Times what finds nuclei without a prompt, and MobileSAM, beside the packages
that they come from.

    python nuclei.py --segment-anything PATH --mobile-sam PATH --torch-em PATH [--threads 2] [--repeat 3]

Four jobs, on counter-based weights of full size:

  mobile     MobileSAM's embedding of a picture of 1024 x 1024
  ais        a ViT-B's embedding of 2048 x 2048 and the instance decoder's maps, as
             micro-sam makes them of a picture that it does not cut into tiles
  watershed  the instances of given maps of 2048 x 2048, discs that touch, by
             bioimage-cpp's functions, as micro-sam calls them
  cellpose   Cellpose-SAM's maps of 300 x 280, four windows, in float32

Each program runs in a process of its own: the package, which writes the weights, and then
slidesam twice, of which the
slower counts. Beside the clock's seconds stand those of the processor, which hold on
a machine that does other things besides.

What has to be there: clones of segment_anything at dca509f, MobileSAM at 34bbbfdf and
torch-em at 6f71247c, and torch, torchvision, timm==0.6.13, bioimage-cpp==0.10.0 and
cellpose==4.2.1.1. A job whose package is not there is left out, and that is said.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time

from peers import REFERENCE, ROOT, cpu

JOBS = ["mobile", "ais", "watershed", "cellpose"]
SEED = 1


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--segment-anything", metavar="PATH")
    p.add_argument("--mobile-sam", metavar="PATH")
    p.add_argument("--torch-em", metavar="PATH")
    p.add_argument("--threads", type=int, default=os.cpu_count())
    p.add_argument("--repeat", type=int, default=3, help="measured runs of each, after one to warm up")
    p.add_argument("--jobs", nargs="+", choices=JOBS, default=JOBS)
    p.add_argument("--child", nargs=2, metavar=("JOB", "FOLDER"), help=argparse.SUPPRESS)
    return p.parse_args()


def counted(state, fixed=()):
    """The state with counter-based weights."""
    import counter
    import torch

    return {
        k: torch.from_numpy(counter.weight(k, v.shape, SEED)) if v.dtype == torch.float32 and k not in fixed else v
        for k, v in state.items()
    }


def mobile(folder):
    import counter
    import torch
    from mobile_sam import SamPredictor
    from mobile_sam.build_sam import build_sam_vit_t

    sam = build_sam_vit_t()
    sam.load_state_dict(counted(sam.state_dict(), ("pixel_mean", "pixel_std")))
    torch.save(sam.state_dict(), os.path.join(folder, "mobile_sam.pt"))
    predictor, picture = SamPredictor(sam.eval()), counter.picture(1024, 1024, SEED)
    return lambda: predictor.set_image(picture)


def ais(folder):
    import counter
    import instance
    import torch
    from segment_anything import SamPredictor, sam_model_registry

    sam = sam_model_registry["vit_b"]()
    sam.load_state_dict(counted(sam.state_dict(), ("pixel_mean", "pixel_std")))
    unetr, decoder = instance.shaped(instance.FULL["instance_full"])
    torch.save({"model_state": sam.state_dict(), "decoder_state": decoder}, os.path.join(folder, "ais.pt"))
    predictor, picture = SamPredictor(sam.eval()), counter.picture(2048, 2048, SEED)
    unetr.train()  # as micro-sam leaves it

    def run():
        predictor.set_image(picture)
        with torch.no_grad():
            maps = instance.decode(unetr, predictor.features)["maps"]
            # DecoderAdapter: to the frame, without its padding, to the picture.
            maps = torch.nn.functional.interpolate(maps, (1024, 1024), mode="bilinear", align_corners=False)
            h, w = predictor.input_size
            return torch.nn.functional.interpolate(maps[..., :h, :w], predictor.original_size, mode="bilinear", align_corners=False).numpy()

    return run


def watershed(folder):
    import numpy as np

    sys.path.insert(0, os.path.join(ROOT, "internal", "instance", "reference"))
    import reference

    # In 64 parts, each with its own discs.
    parts = [[np.stack(reference.maps(256, 256, 140, SEED + 8 * y + x)) for x in range(8)] for y in range(8)]
    maps = np.ascontiguousarray(np.concatenate([np.concatenate(row, 2) for row in parts], 1))
    maps.astype("<f4").tofile(os.path.join(folder, "maps.float32"))
    return lambda: reference.segment(*maps, reference.DEFAULTS)[1].max()


def cellpose(folder):
    import cellpose_sam
    import counter
    import torch
    from cellpose import core, transforms

    net = cellpose_sam.network(cellpose_sam.FULL | dict(seed=SEED))
    torch.save(net.state_dict(), os.path.join(folder, "cpsam"))
    picture = counter.picture(300, 280, SEED)

    def run():
        x = transforms.normalize_img(transforms.convert_image(picture)[None], normalize=True, percentile=None)
        return core.run_net(net, x, bsize=256, batch_size=4)

    return run


def child(a):
    """Writes the job's files, times its package and prints the line."""
    sys.path[:0] = [REFERENCE] + [p for p in (a.segment_anything, a.mobile_sam) if p]
    if a.torch_em:
        os.environ["TORCH_EM"] = os.path.abspath(a.torch_em)
    if a.child[0] != "watershed":
        import torch

        torch.set_num_threads(a.threads)
    run = globals()[a.child[0]](a.child[1])
    out, seconds, busy = run(), [], []
    for _ in range(a.repeat):
        start, before = time.perf_counter(), time.process_time()
        run()
        seconds.append(time.perf_counter() - start)
        busy.append(time.process_time() - before)
    line = dict(peer="package", job=a.child[0], threads=a.threads, best=round(min(seconds), 3), cpu=round(min(busy), 3))
    if a.child[0] == "watershed":
        line["objects"] = int(out)
    print(json.dumps(line), flush=True)


def ours(a, job, folder, binary):
    """Times slidesam and returns the line."""
    import resource

    cmd = [binary, "-test.run=^$", f"-test.bench=^BenchmarkNuclei$/^{job}$"]
    env = {**os.environ, "GOMAXPROCS": str(a.threads), "SAM_BENCH_NUCLEI": folder}

    def run(n):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        out = subprocess.run(cmd + [f"-test.benchtime={n}x"], cwd=ROOT, env=env, check=True, text=True, stdout=subprocess.PIPE).stdout
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        m = re.search(r"^BenchmarkNuclei/\S+\s+\d+\s+([\d.e+]+) ns/op(.*)", out, re.M)
        if not m:
            sys.exit(f"no line of the benchmark in:\n{out}")
        return float(m[1]) / 1e9, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, m[2]

    # What loading takes of the processor is the same in both runs.
    _, once, _ = run(1)
    best, more, rest = run(1 + a.repeat)
    line = dict(peer="slidesam", job=job, threads=a.threads, best=round(best, 3), cpu=round((more - once) / a.repeat, 3))
    if m := re.search(r"([\d.]+) objects", rest):
        line["objects"] = int(float(m[1]))
    print(json.dumps(line), flush=True)
    return line


def main():
    a = arguments()
    if a.child:
        return child(a)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        binary = os.path.join(folder, "sam.test")
        subprocess.run(["go", "test", "-c", "-o", binary, "."], cwd=ROOT, check=True)
        for job in a.jobs:
            cmd = [sys.executable, os.path.abspath(__file__), "--threads", str(a.threads), "--repeat", str(a.repeat), "--child", job, folder]
            for name in ("segment_anything", "mobile_sam", "torch_em"):
                if getattr(a, name):
                    cmd += ["--" + name.replace("_", "-"), os.path.abspath(getattr(a, name))]
            p = subprocess.run(cmd, text=True, stdout=subprocess.PIPE)
            if p.returncode:
                print(f"{job}: left out: its package did not run", file=sys.stderr)
                continue
            print(p.stdout, end="", flush=True)
            theirs = json.loads(p.stdout.splitlines()[-1])
            own = max((ours(a, job, folder, binary) for _ in range(2)), key=lambda o: o["best"])
            if own.get("objects") != theirs.get("objects"):
                sys.exit(f"{job}: {own['objects']} objects, the package has {theirs['objects']}")
            rows.append((job, own, theirs))
    if rows:
        print(f"\n{cpu()}, {a.threads} threads\n")
        print("| job | slidesam | its package | ratio | processor: slidesam | its package | ratio |\n|---|---|---|---|---|---|---|")
        for job, o, t in rows:
            print(
                f"| {job} | {o['best']:.2f} s | {t['best']:.2f} s | {t['best'] / o['best']:.1f} x "
                f"| {o['cpu']:.2f} s | {t['cpu']:.2f} s | {t['cpu'] / o['cpu']:.1f} x |"
            )


if __name__ == "__main__":
    main()
