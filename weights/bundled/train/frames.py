"""Augmented pictures and the decoder's targets, in files: embed/ adds the embeddings, so that a step of train_decoder.py costs the decoder alone.

    python frames.py --shards tr,cmu1024 --out frames --count 300 --seed 1

NNNN-maps.npy holds the targets of decoder.distances, uint8 [3, 1024, 1024]: foreground 0, 1
or UNKNOWN, distances in 255ths; NNNN-nuclei.npy the labels they were made of, uint16;
NNNN.png, written last, the picture.
"""

import argparse
import os
import time

import cv2
import numpy as np

import data
import decoder
import distract
import pseudo

SIZE = 1024


def frame(rng, shards, plain, empty):
    """A picture uint8 [1024, 1024, 3], its nuclei uint16 [1024, 1024] and its targets float32 [3, 1024, 1024]."""
    size = SIZE
    if rng.random() < empty:
        nuc = np.zeros((size, size), np.uint16)
        return data.blank(rng, size, 0.25), nuc, decoder.distances(nuc)
    vary = rng.random() >= plain
    img, nuc, _, flags, mpp, partial = shards.crop(rng, size, vary)
    ghosts = None
    if vary:
        img = img.astype(np.float32)
        if rng.random() < (0.4 if partial else 0.75):
            img = data.fade(rng, img, nuc, mpp)
        if not partial and rng.random() < 0.4 and (texture := shards.texture(rng, size)) is not None:
            img = data.overlay(rng, img, texture)
            # Its nuclei shine through on pale ground: they are not labelled, and no background either.
            ghosts = cv2.GaussianBlur(pseudo.haematoxylin(texture), (0, 0), 2)
            ghosts = cv2.dilate((ghosts > np.percentile(ghosts, 75)).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
        if rng.random() < (0.4 if partial else 0.75):
            img = distract.over(rng, img, nuc, mpp)
        if not partial and rng.random() < 0.75:
            nuc = data.redraw(rng, nuc, mpp, shift=0)
        if rng.random() < 0.6:
            img = distract.restain(rng, img)
        if rng.random() < 0.25:  # a pale section
            img = 255 * (np.clip(img, 1, 255) / 255) ** rng.uniform(0.35, 0.8)
        img = distract.files(rng, data.augment(rng, img, mpp))
    maps = decoder.distances(nuc)
    if ghosts is not None:  # but outlines of labelled nuclei must be known
        near = cv2.dilate((maps[0] == 1).astype(np.uint8), np.ones((11, 11), np.uint8)) > 0
        maps[0][ghosts & ~near] = decoder.UNKNOWN
    if partial:
        if not (flags & pseudo.COMPLETE).any():
            raise ValueError("pseudo-labels of some nuclei alone: make them with pseudo.py --objects")
        maps[0][(flags & pseudo.UNKNOWN) > 0] = decoder.UNKNOWN
    return np.ascontiguousarray(img), nuc.astype(np.uint16), maps


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--shards", required=True)
    a.add_argument("--out", required=True)
    a.add_argument("--count", type=int, default=1000)
    a.add_argument("--seed", type=int, default=1)
    a.add_argument("--plain", type=float, default=0.15, help="share of pictures as drawn")
    a.add_argument("--partial", type=float, default=0.3, help="share of pictures with pseudo-labels, see pseudo.py --objects")
    a.add_argument("--empty", type=float, default=0.02, help="share of pictures of nothing")
    o = a.parse_args()
    os.makedirs(o.out, exist_ok=True)
    rng = np.random.default_rng([o.seed, 77])
    shards = data.Shards(o.shards.split(","), (0, 0.75), o.partial, SIZE)
    start = time.time()
    for i in range(o.count):
        if i % 10 == 9:
            shards.refresh()
        img, nuc, maps = frame(rng, shards, o.plain, o.empty)
        base = os.path.join(o.out, f"{i:04d}")
        scale = np.array([1, 255, 255], np.float32)[:, None, None]
        np.save(base + "-nuclei.npy", nuc)
        np.save(base + "-maps.npy", np.rint(maps * scale).astype(np.uint8))
        with open(base + ".part", "wb") as f:
            f.write(cv2.imencode(".png", img[:, :, ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 1])[1])
        os.replace(base + ".part", base + ".png")
        if i % 20 == 19:
            print(f"{time.strftime('%H:%M:%S')} {i + 1} of {o.count} pictures, {(time.time() - start) / (i + 1):.2f} s each", flush=True)


if __name__ == "__main__":
    main()
