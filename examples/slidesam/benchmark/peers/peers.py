#!/usr/bin/env python3
"""Times PyTorch, ONNX Runtime, OpenVINO and Hugging Face beside slidesam.

    go build -o slidesam ./examples/slidesam
    python peers.py --ours ./slidesam --segment-anything PATH [--model vit_b] [--everything]

Every program runs in a process of its own, one after the other, slidesam first
and last, on the same picture, the same checkpoint file and the same number of
threads, and prints one JSON object per line:

    {"peer": "pytorch", "what": "encode", "seconds": [...], "best": 1.0, ...}

"seconds" are wall times of the measured runs, after one run to warm up;
"peak_mb" is the largest resident memory of that process so far, in 10^6 bytes.
"what" is one of load, encode, point, points64, everything32 (or another side).
A table in Markdown comes last; --table makes it from lines kept with --json.
"""

import argparse
import json
import os
import platform
import resource
import signal
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.join(HERE, "..", "..", "..", "..")
REFERENCE = os.path.join(ROOT, "internal", "golden", "reference")
BUNDLED = os.path.join(ROOT, "weights", "bundled")
PEERS = ["pytorch", "onnxruntime", "onnxruntime-int8", "openvino", "openvino-int8", "huggingface"]
OURS = {"fp32": "slidesam", "int8": "slidesam-int8", "fp16weights": "slidesam-fp16weights"}
SEED = 1  # of counter-based weights


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--ours", metavar="PATH", help="the program of examples/slidesam; left out, slidesam is not timed")
    p.add_argument("--segment-anything", metavar="PATH", help="clone of segment-anything at dca509f, if not installed")
    p.add_argument("--model", default="vit_b", help="vit_b, vit_l, vit_h, bundled, a reference model such as small_a, or any name with --checkpoint")
    p.add_argument("--checkpoint", metavar="FILE",
                   help="its weights, .pth or .safetensors in the original's names; counter-based ones if left out, written to MODEL.pth when missing")  # fmt: skip
    p.add_argument("--image", metavar="FILE", help="picture; the bundled one of 1024 x 1024 if left out")
    p.add_argument("--onnx", metavar="FILE", help="the encoder as ONNX, exported here when missing (default MODEL.onnx)")
    p.add_argument("--threads", type=int, default=os.cpu_count())
    p.add_argument("--repeat", type=int, default=3, help="measured runs of each")
    p.add_argument("--peers", nargs="*", choices=PEERS, default=["pytorch", "onnxruntime", "huggingface"])
    p.add_argument("--precision", nargs="+", choices=["fp32", "int8", "fp16weights"], default=["fp32"], help="of slidesam, one after the other")
    p.add_argument("--what", nargs="+", choices=["encode", "point", "points64"], default=["encode", "point", "points64"])
    p.add_argument("--everything", action="store_true", help="time automatic masks too, once: slidesam and PyTorch")
    p.add_argument("--points-per-side", type=int, default=32, help="side of their grid of points")
    p.add_argument("--pred-iou-thresh", type=float, default=0.88)
    p.add_argument("--stability-score-thresh", type=float, default=0.95)
    p.add_argument("--pass", type=float, dest="share", metavar="SHARE",
                   help="slidesam chooses both thresholds so that about this share of the masks passes; PyTorch gets the same")  # fmt: skip
    p.add_argument("--scaling", action="store_true", help="time slidesam's encode on one thread too")
    p.add_argument("--json", metavar="FILE", help="append the lines to this file")
    p.add_argument("--table", nargs="+", metavar="FILE", help="only print the table of the lines in these files")
    p.add_argument("--child", choices=PEERS, help=argparse.SUPPRESS)
    a = p.parse_args()
    if a.model == "bundled":
        a.checkpoint = a.checkpoint or os.path.join(BUNDLED, "model.safetensors")
    a.checkpoint = a.checkpoint or a.model + ".pth"
    a.onnx = a.onnx or a.model + ".onnx"
    a.image = a.image or os.path.join(BUNDLED, "picture.jpg")
    if a.share is not None and not a.ours:
        p.error("--pass: slidesam chooses the thresholds; give --ours")
    return a


def peak_mb():
    """The peak resident memory of this process in 10^6 bytes (Linux counts KiB, macOS bytes)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak * (1024 if sys.platform != "darwin" else 1) / 1e6, 1)


def cpu():
    try:
        with open("/proc/cpuinfo") as f:
            return next(line.split(":")[1].strip() for line in f if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


class Bench:
    def __init__(self, a, peer, version):
        self.a, self.peer, self.version = a, peer, version

    def line(self, what, seconds, **more):
        print(json.dumps(dict(
            peer=self.peer, version=self.version, model=self.a.model, what=what, threads=self.a.threads,
            seconds=[round(s, 4) for s in seconds], best=round(min(seconds), 4), peak_mb=peak_mb(), **more,
        )), flush=True)  # fmt: skip

    def time(self, what, f, repeat=None, warm=True, more=lambda out: {}):
        """Times f, which warms up first, and returns what its last run returned."""
        out, seconds = f() if warm else None, []
        for _ in range(repeat or self.a.repeat):
            start = time.perf_counter()
            out = f()
            seconds.append(time.perf_counter() - start)
        self.line(what, seconds, **more(out))
        return out


def picture(a):
    """The picture, uint8 [H, W, 3]."""
    import numpy as np
    from PIL import Image

    return np.array(Image.open(a.image).convert("RGB"))


def shape_of(state):
    """The shape of the model that these weights belong to."""
    import models

    enc, dec = "image_encoder.", "mask_decoder."

    def size(name, axis=0):
        return state[name].shape[axis]

    def count(prefix):
        return len({k[len(prefix):].split(".")[0] for k in state if k.startswith(prefix)})

    width, depth, grid = size(enc + "pos_embed", 3), count(enc + "blocks."), size(enc + "pos_embed", 1)
    patch = size(enc + "patch_embed.proj.weight", 2)
    rel = [(size(f"{enc}blocks.{i}.attn.rel_pos_h") + 1) // 2 for i in range(depth)]
    windows = [r for r in rel if r != grid]
    return models.config(
        img_size=grid * patch, patch=patch, width=width, depth=depth,
        heads=width // size(enc + "blocks.0.attn.rel_pos_h", 1), mlp_ratio=size(enc + "blocks.0.mlp.lin1.weight") / width,
        window=windows[0] if windows else 14, globals=[i for i, r in enumerate(rel) if r == grid],
        prompt=size(enc + "neck.0.weight"), decoder_depth=count(dec + "transformer.layers."),
        decoder_mlp=size(dec + "transformer.layers.0.mlp.lin1.weight"), mask_chans=size("prompt_encoder.mask_downscaling.3.weight"),
        iou_depth=count(dec + "iou_prediction_head.layers."), iou_hidden=size(dec + "iou_prediction_head.layers.0.weight"),
    )  # fmt: skip


def original(a):
    """segment_anything's model with the checkpoint's weights, loaded as its
    own build_sam does."""
    import models
    import torch

    if a.checkpoint.endswith(".safetensors"):
        from safetensors.torch import load_file

        state = load_file(a.checkpoint)
    else:
        state = torch.load(a.checkpoint)
    sam = models.empty(shape_of(state))
    sam.load_state_dict(state)
    return sam


def make_checkpoint(a):
    """Writes counter-based weights, those of sam.NewRandom, as a checkpoint."""
    import models
    import torch

    name = "full_" + a.model[-1] if a.model.startswith("vit_") else a.model
    torch.save(models.build(models.SHAPES[name], SEED).state_dict(), a.checkpoint + ".part")
    os.replace(a.checkpoint + ".part", a.checkpoint)


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
    sam = original(a)
    b.line("load", [time.perf_counter() - start])
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
            generator = SamAutomaticMaskGenerator(
                sam, points_per_side=a.points_per_side, pred_iou_thresh=a.pred_iou_thresh,
                stability_score_thresh=a.stability_score_thresh)  # fmt: skip
            b.time(f"everything{a.points_per_side}", lambda: generator.generate(img), repeat=1, warm=False,
                   more=lambda out: dict(masks=len(out)))  # fmt: skip


def export(a, path):
    """Writes the encoder as ONNX with PyTorch's exporter."""
    import torch

    sam = original(a)
    side = sam.image_encoder.img_size
    x = torch.zeros(1, 3, side, side)
    tmp = path + ".part"
    with torch.no_grad():
        torch.onnx.export(sam.image_encoder, (x,), tmp, input_names=["x"], output_names=["embedding"],
                          opset_version=17, dynamo=False)  # fmt: skip
    os.replace(tmp, path)


def quantise(a):
    """Writes the encoder with the weights of its linear layers in 8 bits, per
    output channel, and activations rounded as they come: no calibration."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(a.onnx, int8(a) + ".part", op_types_to_quantize=["MatMul", "Gemm"], per_channel=True,
                     weight_type=QuantType.QInt8, extra_options=dict(MatMulConstBOnly=True))  # fmt: skip
    os.replace(int8(a) + ".part", int8(a))


def int8(a):
    return a.onnx.removesuffix(".onnx") + ".int8.onnx"


def prepared(a, img, side):
    """The picture as the encoder reads it, float32 [1, 3, side, side]."""
    import numpy as np
    from PIL import Image

    h, w = img.shape[:2]
    scale = side / max(h, w)
    size = (int(w * scale + 0.5), int(h * scale + 0.5))
    x = np.asarray(Image.fromarray(img).resize(size, Image.BILINEAR), np.float32)
    x = (x - np.float32([123.675, 116.28, 103.53])) / np.float32([58.395, 57.12, 57.375])
    x = np.pad(x, ((0, side - size[1]), (0, side - size[0]), (0, 0))).transpose(2, 0, 1)[None]
    return np.ascontiguousarray(x)


def encode(a, b, run, side):
    """Times run, which makes an embedding of a prepared picture."""
    import numpy as np

    if "encode" not in a.what:
        return
    img = picture(a)
    out = b.time("encode", lambda: run(prepared(a, img, side)))
    print(f"{a.child}: embedding {out.shape}, rms {np.sqrt(np.mean(out**2)):.6f}", file=sys.stderr)


def onnxruntime(a):
    if not os.path.exists(a.onnx):
        apart("export(a, a.onnx)")  # so that PyTorch does not count as memory
    if a.child == "onnxruntime-int8" and not os.path.exists(int8(a)):
        apart("quantise(a)")
    import onnxruntime as ort

    b = Bench(a, a.child, ort.__version__)
    options = ort.SessionOptions()
    options.intra_op_num_threads = a.threads
    start = time.perf_counter()
    session = ort.InferenceSession(int8(a) if a.child.endswith("int8") else a.onnx, options, providers=["CPUExecutionProvider"])
    b.line("load", [time.perf_counter() - start])
    encode(a, b, lambda x: session.run(None, {"x": x})[0], session.get_inputs()[0].shape[-1])


def calibrate(a):
    """Writes the encoder as NNCF quantises transformers for OpenVINO: weights and
    activations in 8 bits, ranges of activations by the picture itself."""
    import nncf
    import openvino as ov

    model = ov.Core().read_model(a.onnx)
    x = prepared(a, picture(a), model.inputs[0].shape[-1])
    small = nncf.quantize(model, nncf.Dataset([x]), model_type=nncf.ModelType.TRANSFORMER, subset_size=1)
    ov.save_model(small, calibrated(a), compress_to_fp16=False)


def calibrated(a):
    return a.onnx.removesuffix(".onnx") + ".openvino.int8.xml"


def openvino(a):
    if not os.path.exists(a.onnx):
        apart("export(a, a.onnx)")
    if a.child == "openvino-int8" and not os.path.exists(calibrated(a)):
        apart("calibrate(a)")
    import openvino as ov

    b = Bench(a, a.child, ov.__version__.split("-")[0])
    start = time.perf_counter()
    options = {"INFERENCE_NUM_THREADS": a.threads, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    model = ov.Core().compile_model(calibrated(a) if a.child.endswith("int8") else a.onnx, "CPU", options)
    b.line("load", [time.perf_counter() - start])
    encode(a, b, lambda x: model(x)[0].copy(), model.inputs[0].shape[-1])


def huggingface(a):
    import numpy as np
    import torch
    import transformers

    import hf

    torch.set_num_threads(a.threads)
    b = Bench(a, "huggingface", f"{transformers.__version__}, PyTorch {torch.__version__}")
    sam = original(a)
    c = shape_of(sam.state_dict())
    model = hf.build(c, sam)
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


def apart(call):
    """Runs a function of this file in a process of its own."""
    code = "import peers; a = peers.arguments(); peers.setup(a); peers." + call
    subprocess.run([sys.executable, "-W", "ignore", "-c", code, *sys.argv[1:]],
                   env={**os.environ, "PYTHONPATH": HERE}, check=True, stdout=sys.stderr)  # fmt: skip


def slidesam(a, precision, first):
    """Runs slidesam benchmark in a precision and returns its figures as lines of this
    program. Later runs repeat encode and prompts only, without what takes long."""
    from PIL import Image

    with tempfile.TemporaryDirectory() as tmp:
        out, png = os.path.join(tmp, "figures.json"), os.path.join(tmp, "picture.png")
        # The same pixels for all: JPEG decoders differ.
        Image.open(a.image).convert("RGB").save(png, compress_level=1)
        cmd = [a.ours, "benchmark", "-model", a.checkpoint, "-picture", png, "-json", out, "-runs", str(a.repeat), "-precision", precision]
        if not {"point", "points64"} & set(a.what):
            cmd += ["-prompts=false"]
        if first and a.scaling:
            cmd += ["-scaling"]
        if first and a.everything:
            cmd += ["-everything", "-points-per-side", str(a.points_per_side)]
            cmd += ["-pred-iou-thresh", repr(a.pred_iou_thresh), "-stability-score-thresh", repr(a.stability_score_thresh)]
            cmd += ["-pass", repr(a.share)] if a.share is not None else []
        subprocess.run(cmd, check=True, stdout=sys.stderr, env={**os.environ, "GOMAXPROCS": str(a.threads)})
        with open(out) as f:
            r = json.load(f)
    names = {"one point": "point", "64 points": "points64"}
    for f in r["figures"]:
        what = f["what"]
        line = {**f, "peer": OURS[precision], "version": f"{r['go']}, {r['kernels']}", "model": a.model, "what": names.get(what, what)}
        if what.startswith("everything"):
            line.update(what=f"everything{a.points_per_side}")
            line.update({k: r[k] for k in ("pred_iou_thresh", "stability_score_thresh")})
        if "scaling" in r and what == f"encode, {a.threads} threads":
            line.update(scaling=r["scaling"])
        yield line


def main():
    import table

    a = arguments()
    setup(a)
    if a.child:
        return dict(pytorch=pytorch, onnxruntime=onnxruntime, openvino=openvino, huggingface=huggingface)[a.child.removesuffix("-int8")](a)
    if a.table:
        lines = []
        for path in a.table:
            with open(path) as f:
                lines += [json.loads(x) for x in f]
        return print(table.Results(lines).table())
    if not os.path.exists(a.checkpoint):
        apart("make_checkpoint(a)")
    from PIL import Image

    size = "%d x %d" % Image.open(a.image).size
    here = dict(picture=size, cpu=cpu(), cores=os.cpu_count())
    lines = []

    def keep(line, process):
        lines.append({**line, **here, "process": process})
        print(json.dumps(lines[-1]), flush=True)
        if a.json:
            with open(a.json, "a") as f:
                f.write(json.dumps(lines[-1]) + "\n")

    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    if a.ours:
        for precision in a.precision:
            for line in slidesam(a, precision, True):
                keep(line, f"{os.getpid()} first {precision}")
                if "pred_iou_thresh" in line:
                    a.pred_iou_thresh, a.stability_score_thresh, a.share = line["pred_iou_thresh"], line["stability_score_thresh"], None
    for peer in a.peers:
        cmd = [sys.executable, os.path.abspath(__file__), *sys.argv[1:], "--child", peer]
        cmd += ["--pred-iou-thresh", repr(a.pred_iou_thresh), "--stability-score-thresh", repr(a.stability_score_thresh)]
        with subprocess.Popen(cmd, stdout=subprocess.PIPE, text=True) as child:
            try:
                for line in child.stdout:
                    keep(json.loads(line), f"{os.getpid()} {peer}")
            except BaseException:
                child.terminate()
                raise
        if child.returncode:
            sys.exit(f"{peer} ended with {child.returncode}")
    if a.ours and a.peers:
        for precision in a.precision:
            for line in slidesam(a, precision, False):
                keep(line, f"{os.getpid()} last {precision}")
    print("\n" + table.Results(lines).table())


if __name__ == "__main__":
    main()
