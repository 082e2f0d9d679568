"""References for what happens to pixels: Pillow's resize, PyTorch's
interpolation, COCO's run-length code."""

import zlib

import numpy as np

import counter
from store import Store

# (height, width) -> (height, width), and what the picture is.
RESIZES = [
    ((7, 5), (4, 3)), ((5, 7), (3, 4)), ((1, 3), (1, 2)), ((3, 1), (2, 1)),
    ((1, 1), (1, 1)), ((1, 1), (64, 64)), ((64, 64), (1, 1)), ((1, 1), (7, 1)),
    ((2, 2), (3, 3)), ((3, 3), (2, 2)), ((2, 2), (128, 128)), ((17, 13), (17, 13)),
    ((17, 13), (17, 26)), ((17, 13), (34, 13)), ((17, 13), (16, 13)), ((17, 13), (17, 12)),
    ((48, 64), (48, 63)), ((40, 60), (43, 64)), ((60, 40), (64, 43)), ((90, 70), (64, 50)),
    ((100, 100), (64, 64)), ((97, 101), (123, 128)), ((200, 133), (128, 85)), ((300, 400), (96, 128)),
    ((1, 100), (1, 128)), ((1, 200), (1, 128)), ((100, 1), (128, 1)), ((2, 255), (1, 128)), ((255, 2), (128, 1)),
    ((1, 2000), (1, 1024)), ((3, 700), (4, 1024)), ((1200, 5), (1024, 4)),
    ((768, 1024), (768, 1024)), ((600, 800), (768, 1024)), ((1000, 1000), (1024, 1024)),
    ((1023, 1025), (1022, 1024)), ((1400, 2000), (717, 1024)), ((2304, 1536), (1024, 683)),
    ((3000, 40), (1024, 14)), ((511, 513), (1020, 1024)), ((256, 256), (255, 254)), ((30, 2500), (12, 1024)),
]  # fmt: skip

# low-resolution size, model input size, picture size: Sam.postprocess_masks.
POSTPROCESS = [
    (16, 64, (64, 64)), (16, 64, (48, 64)), (16, 64, (1, 1)), (16, 64, (1, 70)), (16, 64, (70, 1)),
    (32, 128, (90, 128)), (32, 128, (128, 37)), (32, 128, (300, 200)), (32, 128, (20, 33)), (32, 64, (45, 61)),
    (64, 256, (191, 256)), (64, 256, (256, 256)), (64, 128, (77, 100)), (128, 256, (400, 300)),
    (256, 1024, (768, 1024)), (256, 1024, (1024, 600)), (256, 1024, (600, 800)), (256, 1024, (1365, 2048)), (256, 1024, (3, 1500)),
]  # fmt: skip

# input size, output size: F.interpolate(mode="bilinear", align_corners=False).
INTERPOLATE = [
    ((4, 4), (16, 16)), ((4, 4), (4, 4)), ((3, 5), (7, 11)), ((7, 11), (3, 5)), ((1, 1), (5, 6)), ((5, 6), (1, 1)),
    ((1, 9), (4, 4)), ((16, 16), (64, 64)), ((64, 64), (63, 65)), ((256, 256), (1024, 1024)), ((1024, 768), (333, 250)),
    ((37, 53), (1000, 9)), ((683, 1024), (1400, 2099)),
]  # fmt: skip


def resample(folder):
    """Pillow's bilinear resize of uint8 pictures, bit for bit."""
    from PIL import Image

    s, cases = Store("resample", folder), []
    for k, (src, dst) in enumerate(RESIZES):
        kind = "noise" if k % 2 else "picture"
        seed = 100 + k
        img = getattr(counter, kind)(*src, seed)
        out = np.asarray(Image.fromarray(img).resize((dst[1], dst[0]), Image.BILINEAR))
        s.sample(f"c{k}/out", out, 4096)
        cases.append(dict(kind=kind, seed=seed, src=src, dst=dst, crc=zlib.crc32(out.tobytes())))
    s.close(dict(what="Pillow Image.resize, BILINEAR, RGB", cases=cases))


def interpolate(folder):
    """PyTorch's bilinear interpolation, one step and postprocess_masks's two."""
    import torch
    import torch.nn.functional as F
    from segment_anything.modeling import Sam
    from segment_anything.utils.transforms import ResizeLongestSide

    s, one, two = Store("interpolate", folder), [], []
    for k, (src, dst) in enumerate(INTERPOLATE):
        seed = 300 + k
        x = torch.from_numpy(counter.uniform(seed, src[0] * src[1]) * np.float32(8)).reshape(1, 1, *src)
        y = F.interpolate(x, dst, mode="bilinear", align_corners=False)[0, 0].numpy()
        s.sample(f"i{k}/out", y, 1500)
        one.append(dict(seed=seed, src=src, dst=dst))

    class Encoder(torch.nn.Module):
        img_size = 0

    encoder = Encoder()
    sam = Sam(encoder, torch.nn.Identity(), torch.nn.Identity())
    for k, (low, size, pic) in enumerate(POSTPROCESS):
        seed = 400 + k
        encoder.img_size = size
        x = torch.from_numpy(counter.mask_logits(low, low, seed)).reshape(1, 1, low, low)
        x = x + torch.from_numpy(counter.uniform(seed, low * low)).reshape(1, 1, low, low)
        inp = ResizeLongestSide.get_preprocess_shape(*pic, size)
        y = sam.postprocess_masks(x, inp, pic)[0].numpy()
        s.sample(f"p{k}/out", y, 1500)
        s.masks(f"p{k}/mask", y > 0, row_step=1 if y.size < 100000 else 7)
        two.append(dict(seed=seed, low=low, size=size, picture=pic, input=inp, area=int((y > 0).sum())))
    s.close(dict(what="bilinear, align_corners=False; input is 8*uniform(seed)", interpolate=one,
                 postprocess=two, postprocess_input="mask_logits(seed) + uniform(seed)"))


def rle(folder):
    """COCO run-length code by pycocotools, lists and strings."""
    from pycocotools import mask as coco

    shapes = [(1, 1), (2, 3), (3, 2), (1, 40), (40, 1), (5, 7), (31, 33), (64, 64), (100, 80), (257, 129), (700, 900)]
    cases = []
    for h, w in shapes:
        for kind in ("blobs", "zeros", "ones", "noise", "checker", "first"):
            seed = 500 + len(cases)
            if kind == "blobs":
                m = counter.mask_logits(h, w, seed) > 0
            elif kind == "noise":
                m = counter.noise(h, w, seed)[:, :, 0] >= 200
            elif kind == "checker":
                m = np.add.outer(np.arange(h), np.arange(w)) % 2 == 0
            elif kind == "first":
                m = np.zeros((h, w), bool)
                m[0, 0] = True
            else:
                m = np.full((h, w), kind == "ones")
            if kind in ("noise", "checker") and h * w > 9000:
                continue
            r = coco.encode(np.asfortranarray(m.astype(np.uint8)))
            flat = m.T.reshape(-1)
            edges = np.flatnonzero(np.diff(flat.astype(np.int8))) + 1
            counts = np.diff(np.concatenate([[0], edges, [flat.size]])).tolist()
            if flat[0]:
                counts = [0] + counts
            back = coco.frPyObjects(dict(size=[h, w], counts=counts), h, w)
            assert back["counts"] == r["counts"], (h, w, kind)
            x, y, bw, bh = (int(v) for v in coco.toBbox(r))
            cases.append(dict(kind=kind, seed=seed, size=[h, w], string=r["counts"].decode(),
                              counts=counts if len(counts) <= 400 else None, runs=len(counts),
                              area=int(coco.area(r)), bbox=[x, y, bw, bh]))  # fmt: skip
    s = Store("rle", folder)
    s.close(dict(what="pycocotools.mask.encode", cases=cases))
