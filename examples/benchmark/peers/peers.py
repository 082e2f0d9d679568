#!/usr/bin/env python3
"""Times PyTorch, ONNX Runtime and Hugging Face on Segment Anything.

    python peers.py --segment-anything PATH [--image FILE] [--model vit_b] [--everything]

Every peer runs in a process of its own, one after the other, on the same
picture, the same counter-based weights (those of sam.NewRandom) and the same
number of threads, and prints one JSON object per line:

    {"peer": "pytorch", "what": "encode", "seconds": [...], "best": 1.0, ...}

"seconds" are wall times of the measured runs, after one run to warm up;
"peak_mb" is the largest resident memory of that process so far. "what" is one
of load, encode, point, points64, everything.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
REFERENCE = os.path.join(HERE, "..", "..", "..", "internal", "golden", "reference")
PEERS = ["pytorch", "onnxruntime", "huggingface"]


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--segment-anything", metavar="PATH", help="clone of segment-anything at dca509f, if not installed")
    p.add_argument("--model", default="vit_b", help="vit_b, vit_l, vit_h, or a reference model such as small_a")
    p.add_argument("--seed", type=int, default=1, help="seed of the counter-based weights")
    p.add_argument("--image", metavar="FILE", help="picture; a counter-based one of 1024 x 1024 if left out")
    p.add_argument("--onnx", metavar="FILE", help="the encoder as ONNX, exported here when missing (default MODEL.onnx)")
    p.add_argument("--threads", type=int, default=os.cpu_count())
    p.add_argument("--repeat", type=int, default=3, help="measured runs of each")
    p.add_argument("--peers", nargs="+", choices=PEERS, default=PEERS)
    p.add_argument("--what", nargs="+", choices=["encode", "point", "points64"], default=["encode", "point", "points64"])
    p.add_argument("--everything", action="store_true", help="time automatic masks from 32 x 32 points, PyTorch only")
    p.add_argument("--child", choices=PEERS, help=argparse.SUPPRESS)
    a = p.parse_args()
    a.onnx = a.onnx or a.model + ".onnx"
    return a


def peak_mb():
    """The peak resident memory of this process in MiB (Linux counts KiB, macOS bytes)."""
    kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(kib / (1024 if sys.platform != "darwin" else 1024 * 1024), 1)


class Bench:
    def __init__(self, a, peer, version):
        self.a, self.peer, self.version = a, peer, version

    def line(self, what, seconds, **more):
        print(json.dumps(dict(
            peer=self.peer, version=self.version, model=self.a.model, what=what, threads=self.a.threads,
            seconds=[round(s, 4) for s in seconds], best=round(min(seconds), 4), peak_mb=peak_mb(), **more,
        )), flush=True)  # fmt: skip

    def time(self, what, f, repeat=None, warm=True, **more):
        """Times f, which warms up first, and returns what its last run returned."""
        out, seconds = f() if warm else None, []
        for _ in range(repeat or self.a.repeat):
            start = time.perf_counter()
            out = f()
            seconds.append(time.perf_counter() - start)
        self.line(what, seconds, **more)
        return out


def picture(a):
    """The picture, uint8 [H, W, 3]."""
    import counter
    import numpy as np

    if not a.image:
        return counter.picture(1024, 1024, 1000 * a.seed)
    from PIL import Image

    return np.array(Image.open(a.image).convert("RGB"))


def original(a):
    """segment_anything's model with counter-based weights, and its shape."""
    import models

    c = models.SHAPES["full_" + a.model[-1] if a.model.startswith("vit_") else a.model]
    return models.build(c, a.seed), c


def grid_points(h, w, n):
    """n*n points on a regular grid, [n*n, 2], x fastest, in pixels."""
    import numpy as np

    at = (np.arange(n) + 0.5) / n
    x, y = np.meshgrid(at * w, at * h)
    return np.stack([x.ravel(), y.ravel()], -1)


def pytorch(a):
    import numpy as np
    import torch
    from segment_anything import SamAutomaticMaskGenerator, SamPredictor

    torch.set_num_threads(a.threads)
    b = Bench(a, "pytorch", torch.__version__)
    start = time.perf_counter()
    sam, _ = original(a)
    b.line("load", [time.perf_counter() - start], note="counter-based weights made, not read")
    img = picture(a)
    h, w = img.shape[:2]
    predictor = SamPredictor(sam)
    with torch.inference_mode():
        if "encode" in a.what:
            b.time("encode", lambda: predictor.set_image(img))
        else:
            predictor.set_image(img)
        if "point" in a.what:
            one = np.array([[w / 2, h / 2]])
            b.time("point", lambda: predictor.predict(one, np.array([1])))
        if "points64" in a.what:
            pts = torch.as_tensor(predictor.transform.apply_coords(grid_points(h, w, 8), (h, w)), dtype=torch.float)
            labels = torch.ones(64, 1, dtype=torch.int)
            b.time("points64", lambda: predictor.predict_torch(pts[:, None], labels))
        if a.everything:
            generator = SamAutomaticMaskGenerator(sam)
            b.time("everything", lambda: generator.generate(img), repeat=1, warm=False)


def export(a, path):
    """Writes the encoder as ONNX with PyTorch's exporter."""
    import torch

    sam, c = original(a)
    x = torch.zeros(1, 3, c["img_size"], c["img_size"])
    tmp = path + ".part"
    with torch.no_grad():
        torch.onnx.export(sam.image_encoder, (x,), tmp, input_names=["x"], output_names=["embedding"],
                          opset_version=17, dynamo=False)  # fmt: skip
    os.replace(tmp, path)


def onnxruntime(a):
    if not os.path.exists(a.onnx):
        # In a process of its own, so that PyTorch does not count as memory.
        subprocess.run([sys.executable, "-W", "ignore", "-c", "import peers; a = peers.arguments(); peers.setup(a); peers.export(a, a.onnx)",
                        *sys.argv[1:]], env={**os.environ, "PYTHONPATH": HERE}, check=True, stdout=sys.stderr)  # fmt: skip
    import numpy as np
    import onnxruntime as ort
    from PIL import Image

    b = Bench(a, "onnxruntime", ort.__version__)
    options = ort.SessionOptions()
    options.intra_op_num_threads = a.threads
    start = time.perf_counter()
    session = ort.InferenceSession(a.onnx, options, providers=["CPUExecutionProvider"])
    b.line("load", [time.perf_counter() - start])
    if "encode" not in a.what:
        return
    side = session.get_inputs()[0].shape[-1]
    img = picture(a)

    def encode():
        h, w = img.shape[:2]
        scale = side / max(h, w)
        size = (int(w * scale + 0.5), int(h * scale + 0.5))
        x = np.asarray(Image.fromarray(img).resize(size, Image.BILINEAR), np.float32)
        x = (x - np.float32([123.675, 116.28, 103.53])) / np.float32([58.395, 57.12, 57.375])
        x = np.pad(x, ((0, side - size[1]), (0, side - size[0]), (0, 0))).transpose(2, 0, 1)[None]
        return session.run(None, {"x": np.ascontiguousarray(x)})[0]

    out = b.time("encode", encode)
    print(f"onnxruntime: embedding {out.shape}, rms {np.sqrt(np.mean(out**2)):.6f}", file=sys.stderr)


def huggingface(a):
    import numpy as np
    import torch
    import transformers

    import hf

    torch.set_num_threads(a.threads)
    b = Bench(a, "huggingface", f"{transformers.__version__}, PyTorch {torch.__version__}")
    sam, c = original(a)
    start = time.perf_counter()
    model = hf.build(c, sam)
    b.line("load", [time.perf_counter() - start], note="counter-based weights copied, not read")
    del sam
    proc, img = hf.processor(c), picture(a)
    h, w = img.shape[:2]
    scale = np.array([0.0, 0.0])
    with torch.inference_mode():

        def encode():
            x = proc(img, return_tensors="pt")
            return x, model.get_image_embeddings(x["pixel_values"])

        x, embedding = b.time("encode", encode) if "encode" in a.what else encode()
        inp = [int(v) for v in x["reshaped_input_sizes"][0]]
        scale[:] = inp[1] / w, inp[0] / h

        def ask(pts):
            pts = torch.tensor(pts * scale, dtype=torch.float32)[None, :, None]
            o = model(image_embeddings=embedding, input_points=pts)
            return proc.post_process_masks(o.pred_masks, [[h, w]], [inp])

        if "point" in a.what:
            b.time("point", lambda: ask(np.array([[w / 2, h / 2]])))
        if "points64" in a.what:
            b.time("points64", lambda: ask(grid_points(h, w, 8)))


def setup(a):
    sys.path.insert(0, REFERENCE)
    if a.segment_anything:
        sys.path.insert(0, a.segment_anything)


def main():
    a = arguments()
    setup(a)
    if a.child:
        return dict(pytorch=pytorch, onnxruntime=onnxruntime, huggingface=huggingface)[a.child](a)
    for peer in a.peers:
        subprocess.run([sys.executable, os.path.abspath(__file__), *sys.argv[1:], "--child", peer], check=True)


if __name__ == "__main__":
    main()
