"""Pictures of regions with truth: glands, tissue on glass, tumours, and shapes of one texture on another.

    python regions.py --out reg --count 400 --seed 1 [--kinds glands,sections,shapes] [--shards tr,cmu]

NNNN-labels.npy holds the objects, uint16 [1024, 1024], or [2, 1024, 1024] where objects have parts; NNNN.json the kind; NNNN.png,
written last, the picture. internal/synth draws slides, whose glands are near ellipses of H&E at
a known scale; here scale, stain, texture and outline are drawn at random, so that a prompt
asks for "the thing in the box". With --shards some textures are parts of their pictures.
"""

import argparse
import json
import os
import time

import cv2
import numpy as np

import data
from textures import apart, between, compartment, direction, dots, fibres, field, glass, layout, mix, numbered, soft, stain, star, texture, vary, warp

SIZE = 1024
ROLES = ("epithelium", "epithelium", "stroma", "lymph", "fat", "smooth", "necrosis", "blood", "mucin", "picture", "picture")  # see textures.compartment
PAD = (124, 116, 104)  # what the frame holds beside a smaller picture: zero once normalised


def glands(rng, n, shards):
    """Glands in stroma: outline, epithelium with nuclei, goblets, cribriform holes, lumen, tears."""
    s = stain(rng)
    r = between(rng, 18, 240)
    lab = apart(layout(rng, n, r), max(60, 0.15 * r * r))
    mask = lab > 0
    count = int(lab.max()) + 1
    deep = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 5)
    nucleus = float(np.clip(r * between(rng, 0.02, 0.09), 0.7, 9))
    # Stroma, and what it is soaked with.
    if shards is not None and rng.random() < 0.15:
        od = texture(rng, n, shards, s)
    else:
        od = s[2] * np.maximum(0.15, rng.uniform(0.4, 1) + rng.uniform(0.05, 0.3) * fibres(rng, n, rng.uniform(2, 6), 3 * r) + 0.2 * field(rng, n, 2 * r, 3))[:, :, None]
    along = direction(rng, n, 4 * r)
    od = dots(rng, od, s[0], np.clip(rng.uniform(0.05, 0.6) + 0.25 * field(rng, n, r, 2), 0, 1), nucleus * 0.8, nucleus * 3.4, along, 1.8)
    if rng.random() < 0.55:
        od = dots(rng, od, s[0] * 1.15, (field(rng, n, 2.5 * r, 3) > rng.uniform(-0.3, 1.4)) * 0.95, nucleus * 0.65, nucleus * 1.9)
    if rng.random() < 0.5:  # clefts beside glands and in stroma
        away = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 5)
        gap = (away < r * rng.uniform(0.03, 0.2)) & (field(rng, n, r, 2) > rng.uniform(-0.5, 1.2)) & ~mask
        od = mix(od, 0.02, soft(gap, 0.8))
    # Epithelium: cells at the border, lumen within.
    thick = (r * np.exp(rng.normal(np.log(rng.uniform(0.22, 0.75)), 0.25, count)))[lab].astype(np.float32)
    thick *= 1 + 0.3 * field(rng, n, r * 0.8, 3)
    hollow = rng.random(count)[lab] < rng.uniform(0.4, 1)
    lumen = mask & hollow & (deep > thick)
    crib = (rng.random(count)[lab] < rng.choice([0, 0.1, 0.6])) & mask & (deep > 0.22 * thick) & (field(rng, n, r * rng.uniform(0.25, 0.6), 2) > rng.uniform(0.7, 1.2))
    lumen |= crib
    epi = mask & ~lumen
    cyto = s[1] * np.maximum(0.2, rng.uniform(0.5, 1.2) + 0.18 * field(rng, n, max(4, 3 * nucleus), 3) + 0.2 * rng.normal(0, 1, count).astype(np.float32)[lab])[:, :, None]
    edge = rng.uniform(0.4, 1.6)
    od = mix(od, cyto, soft(mask, edge))
    if rng.random() < 0.4:  # goblets, vacuoles
        g = field(rng, n, max(5, nucleus * rng.uniform(2.5, 6)), 1) > rng.uniform(0.4, 1.5)
        g &= epi & (deep > rng.uniform(0.1, 0.45) * thick) & (field(rng, n, 3 * r, 2) > rng.uniform(-1.5, 0.5))
        od = mix(od, s[3] * rng.uniform(0.2, 1.2) + 0.02, soft(g, 0.7))
    gy, gx = cv2.Sobel(cv2.GaussianBlur(deep, (0, 0), 2), cv2.CV_32F, 0, 1), cv2.Sobel(cv2.GaussianBlur(deep, (0, 0), 2), cv2.CV_32F, 1, 0)
    basal = rng.random() < 0.55
    top = rng.uniform(0.35, 0.7) if basal else 1.2
    where = (epi & (deep > nucleus * 0.5) & (deep < np.where(hollow, thick * top, 1e9))).astype(np.float32) * rng.uniform(0.6, 1)
    od = dots(rng, od, s[0] * rng.uniform(0.75, 1.2), where, nucleus, nucleus * rng.uniform(1.8, 2.8), np.arctan2(gy, gx), rng.uniform(1.0, 1.7))
    fill = rng.choice(["clear", "clear", "mucin", "debris", "pink"])
    inner = np.full((n, n, 3), 0.02, np.float32)
    if fill == "mucin":
        inner = inner + s[3] * np.maximum(0, 0.6 + 0.5 * field(rng, n, r * 0.7, 3))[:, :, None]
    elif fill == "pink":
        inner = inner + s[1] * np.maximum(0, rng.uniform(0.2, 0.7) + 0.2 * field(rng, n, r, 3))[:, :, None]
    elif fill == "debris":
        inner = inner + s[1] * 0.8 * (field(rng, n, r * 0.4, 3) > 0.6)[:, :, None]
        inner = dots(rng, inner, s[0], (field(rng, n, r * 0.6, 2) > 0.3) * 0.5, nucleus * 0.7, nucleus * 3)
    od = mix(od, inner, soft(lumen, edge))
    if rng.random() < 0.35:  # tears and dropout, which a gland's outline runs across
        tear = (np.abs(field(rng, n, 4 * r, 3)) < rng.uniform(0.01, 0.06)) & (field(rng, n, 5 * r, 2) > 0.3)
        lost = mask & (field(rng, n, r, 3) > rng.uniform(1.6, 2.4))
        od = mix(od, 0.015, soft(tear | lost, 0.8))
    if rng.random() < 0.3:  # a basement membrane
        rim = mask & (deep < max(1.2, r * 0.02))
        od = od + soft(rim, 0.7) * s[rng.integers(4)] * rng.uniform(0.1, 0.7)
    return 10 ** -od * 250, lab


def fragments(rng, n, shards):
    """Tissue that is in whole pieces: sections and cores."""
    return tissue(rng, n, shards, True)


def tissue(rng, n, shards, whole=False):
    """Fragments on glass as thumbnails show them: 4 to 64 micrometres a pixel, any stain, pale fat, holes, tears."""
    s = stain(rng)
    r = between(rng, 25, 430)
    lab = layout(rng, n, r, rng.choice(["noise", "noise", "stars", "branches", "branches"]) if r < 250 else rng.choice(["noise", "stars"]))
    if whole:
        r = between(rng, 60, 420)
        lab = layout(rng, n, r, rng.choice(["stars", "stars", "branches"]))
    if rng.random() < 0.4:  # ragged
        lab = warp(rng, lab, r * 0.5, r * rng.uniform(0.02, 0.12)).astype(np.int32)
    mask = lab > 0
    holes = mask & (field(rng, n, r * rng.uniform(0.15, 0.9), 4) > rng.uniform(2 if whole else 1.1, 3.2))
    tears = (np.abs(field(rng, n, r * 2, 3)) < rng.uniform(0, 0.03)) & (field(rng, n, 3 * r, 1) > 0.2)
    mask &= ~(numbered(holes, 40) > 0)
    mask &= ~tears
    lab = apart(np.where(mask, lab, 0), 80)
    mask = lab > 0
    ground = glass(rng, n)
    od = texture(rng, n, shards, s)
    for _ in range(rng.integers(0, 3)):
        part = field(rng, n, r * rng.uniform(0.3, 1.5), 4, 0.6) > rng.uniform(0, 1.2)
        od = mix(od, texture(rng, n, shards, s) * rng.uniform(0.5, 1.4), soft(part, rng.uniform(0.5, 4)))
    if rng.random() < 0.4:  # fat
        part = field(rng, n, r * rng.uniform(0.5, 2), 3) > rng.uniform(0, 1.5)
        net = s[2] * (0.04 + rng.uniform(0.15, 0.5) * (1 - foam(rng, n, rng.uniform(4, 18))))[:, :, None]
        od = mix(od, net, soft(part, 1))
    pale = rng.uniform(0.12, 1) if rng.random() < 0.4 else rng.uniform(0.6, 1.3)
    od = od * pale * np.exp(0.35 * rng.normal(0, 1, int(lab.max()) + 1)).astype(np.float32)[lab][:, :, None]
    if rng.random() < 0.5:  # thinner at the border
        deep = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 5)
        od = od * np.minimum(1, rng.uniform(0.3, 0.9) + deep / (r * rng.uniform(0.05, 0.4)))[:, :, None]
    od = ground + (od + 0.012) * soft(mask, rng.uniform(0.4, 1.5))
    img = 10 ** -od * 250
    if rng.random() < 0.15:  # pen
        pen = np.abs(field(rng, n, 900, 2)) < rng.uniform(0.01, 0.04)
        img = mix(img, img * rng.uniform(0, 0.8, 3).astype(np.float32), soft(pen, 1))
    return img, lab


def parts(rng, n, r, inside, shards, s, unit, roles):
    """Tissue of several kinds, some of roles, inside of a mask: optical density [n, n, 3] and the parts' labels [n, n].

    The first role is the ground; the others lie in it as layouts of about r pixels, bands at the border or patches."""
    od = compartment(rng, n, s, roles[0], unit, shards)
    lab = np.zeros((n, n), np.int32)
    deep = None
    for k, role in enumerate(roles[1:]):
        size = max(8.0, r * between(rng, 0.06, 0.8))
        u = rng.random()
        if u < 0.3:  # a lining
            if deep is None:
                deep = cv2.distanceTransform(inside.astype(np.uint8), cv2.DIST_L2, 5)
            where = (deep < size * rng.uniform(0.3, 0.9) * np.exp(0.6 * field(rng, n, 3 * size, 3))) & (field(rng, n, 3 * r, 2) > rng.uniform(-1.5, 0.6))
        elif u < 0.55:
            where = field(rng, n, size * rng.uniform(2, 6), 4, rng.uniform(0.4, 0.65)) > rng.uniform(-0.1, 1)
        else:
            where = layout(rng, n, size) > 0
        where &= inside
        od = mix(od, compartment(rng, n, s, role, unit, shards), soft(where, rng.uniform(0.4, 2)))
        lab = np.where(where, k + 1, lab)
    edge = np.zeros((n, n), bool)
    edge[:, 1:] |= lab[:, 1:] != lab[:, :-1]
    edge[1:] |= lab[1:] != lab[:-1]
    return od, numbered((lab > 0) & ~edge, max(80, 0.02 * r * r))


def mount(rng, n):
    """Labels [n, n] of one to nine whole pieces beside one another, as thumbnails of slides show them, and about their radius."""
    rows, columns = rng.integers(1, 3, 2) if rng.random() < 0.8 else rng.integers(1, 4, 2)
    lab = np.zeros((n, n), np.int32)
    h, w = n / rows, n / columns
    for k in range(rows * columns):
        if k and rng.random() < 0.2:
            continue
        m = np.zeros((n, n), np.float32)
        outline = star(rng, 1, rng.uniform(0.2, 0.6))
        size = np.array([w, h]) * rng.uniform(0.5, 0.92)
        low, high = outline.min(0), outline.max(0)
        if rng.random() < 0.5:  # as long as it is, not as its place
            size = np.minimum(size, (high - low) * (size / (high - low)).min())
        outline = (outline - low) / (high - low) * size + (np.array([w, h]) - size) * rng.uniform(0.1, 0.9, 2) + np.array([k % columns * w, k // columns * h])
        cv2.fillPoly(m, [np.round(outline * 16).astype(np.int32)], 1, shift=4)
        reach = float(min(size))
        m = warp(rng, m, reach * rng.uniform(0.2, 0.7), reach * rng.uniform(0.01, 0.09))
        if rng.random() < 0.5:  # bitten and frayed
            deep = cv2.distanceTransform((m > 0.5).astype(np.uint8), cv2.DIST_L2, 5) / reach
            m = m * (deep > rng.uniform(0.02, 0.25) * (0.5 + 0.5 * field(rng, n, reach * rng.uniform(0.1, 0.6), 4, 0.6)))
        lab[(m > 0.5) & (lab == 0)] = k + 1
    return lab, float(0.35 * min(h, w))


def mounted(rng, n, shards):
    """Sections that lie whole in the picture."""
    return sections(rng, n, shards, True)


def sections(rng, n, shards, whole=False):
    """Pieces of tissue on glass of several kinds each, epithelium beside stroma, fat, lymph follicles: labels [2, n, n] of pieces and parts."""
    s = stain(rng)
    if whole:
        lab, r = mount(rng, n)
    else:
        r = between(rng, 90, 560)
        lab = layout(rng, n, r, rng.choice(["stars", "stars", "branches", "noise"]))
    if not whole and rng.random() < 0.25:  # cores
        lab[:] = 0
        pitch = r * rng.uniform(2.1, 3)
        at = rng.uniform(0, pitch, 2)
        for k in range(int(n / pitch + 2) ** 2):
            y, x = at + pitch * (np.array(divmod(k, int(n / pitch + 2))) - 0.5) + rng.normal(0, 0.03 * r, 2)
            cv2.circle(lab, (int(x), int(y)), int(r * rng.uniform(0.92, 1.02)), k + 1, -1)
    for _ in range(rng.integers(0, 3)):  # torn off, or hanging on
        one = layout(rng, n, r * rng.uniform(0.1, 0.35), "branches")
        lab = np.where((lab == 0) & (one > 0) & (field(rng, n, r, 2) > 0.6), one + lab.max(), lab)
    if rng.random() < 0.7:
        lab = warp(rng, lab, r * rng.uniform(0.15, 0.6), r * rng.uniform(0.01, 0.1)).astype(np.int32)
    mask = lab > 0
    holes = mask & (field(rng, n, r * rng.uniform(0.15, 0.9), 4) > rng.uniform(1.6, 3.4))
    mask &= ~(numbered(holes, max(60, 0.01 * r * r)) > 0)
    if rng.random() < 0.3:
        mask &= ~((np.abs(field(rng, n, r * 2, 3)) < rng.uniform(0, 0.03)) & (field(rng, n, 3 * r, 1) > 0.2))
    lab = apart(np.where(mask, lab, 0), 80)
    mask = lab > 0
    unit = between(rng, 0.5, 6)
    roles = ["stroma" if rng.random() < 0.6 else rng.choice(ROLES)] + list(rng.choice(ROLES, rng.integers(1, 5)))
    od, inner = parts(rng, n, r, mask, shards, s, unit, roles)
    pale = rng.uniform(0.2, 1) if rng.random() < 0.25 else rng.uniform(0.7, 1.3)
    od = od * pale * np.exp(0.2 * rng.normal(0, 1, int(lab.max()) + 1)).astype(np.float32)[lab][:, :, None]
    if rng.random() < 0.3:  # thinner at the border
        deep = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 5)
        od = od * np.minimum(1, rng.uniform(0.4, 0.9) + deep / (r * rng.uniform(0.05, 0.3)))[:, :, None]
    od = glass(rng, n) + (od + 0.012) * soft(mask, rng.uniform(0.4, 1.5))
    return 10 ** -od * 250, np.stack([lab, inner])


def tumours(rng, n, shards):
    """Tumours as annotators outline them, nests with the stroma between them, in other tissue: labels [2, n, n] of tumours and nests."""
    s = stain(rng)
    r = between(rng, 90, 480)
    lab = layout(rng, n, r, rng.choice(["stars", "stars", "noise"]))
    lab = apart(lab, 0.1 * r * r)
    mask = lab > 0
    unit = between(rng, 0.5, 7)
    od, _ = parts(rng, n, r, ~mask, shards, s, unit, ["stroma"] + list(rng.choice(ROLES, rng.integers(1, 4))))
    nests = rng.choice(["epithelium", "epithelium", "lymph", "picture"])
    within = [rng.choice(["stroma", "stroma", "lymph", "smooth"]), nests] if rng.random() < 0.7 else [nests, rng.choice(["stroma", "necrosis", "smooth"])]
    if rng.random() < 0.3:
        within.append(rng.choice(["necrosis", "blood", "mucin", "glass"]))
    tone = vary(rng, 0.15)
    inner_od, inner = parts(rng, n, r * 0.6, mask, shards, s * tone, unit * vary(rng, 0.25), within)
    od = mix(od, inner_od, soft(mask, rng.uniform(0.5, 3)))
    if rng.random() < 0.35:  # the section ends
        gone = field(rng, n, 1500, 4) > rng.uniform(0.3, 1.5)
        keep = soft(~gone, 1)
        od = glass(rng, n) + od * keep
        lab = apart(np.where(gone, 0, lab), 200)
        inner = apart(np.where(gone, 0, inner), 80)
    return 10 ** -od * 250, np.stack([lab, inner])


def shapes(rng, n, shards):
    """Shapes of one texture on another; sometimes each has its own tone, a rim or holes that are not part of it."""
    r = between(rng, 12, 330)
    lab = layout(rng, n, r)
    if rng.random() < 0.25:
        lab = np.where(numbered((lab > 0) & (field(rng, n, r * rng.uniform(0.4, 1), 2) > rng.uniform(0.9, 1.8)), 60) > 0, 0, lab)
    lab = apart(lab, max(50, 0.1 * r * r))
    s = stain(rng) if rng.random() < 0.6 else None  # one slide's stain, or two
    a, b = texture(rng, n, shards, s), texture(rng, n, shards, s) * vary(rng, 0.35)
    if np.abs(a.mean((0, 1)) - b.mean((0, 1))).max() < 0.07:
        b = b * float(rng.choice([0.5, 1.8]))
    if rng.random() < 0.4:
        b = b * np.exp(rng.uniform(0.05, 0.35) * rng.normal(0, 1, int(lab.max()) + 1)).astype(np.float32)[lab][:, :, None]
    wide = rng.uniform(0.3, 1.3) if rng.random() < 0.7 else rng.uniform(1.3, 4)
    od = mix(a, b, soft(lab > 0, wide))
    if rng.random() < 0.3:
        deep = cv2.distanceTransform((lab > 0).astype(np.uint8), cv2.DIST_L2, 5)
        rim = (lab > 0) & (deep < rng.uniform(1.5, max(2.5, 0.12 * r)))
        od = np.maximum(od + soft(rim, 0.7) * rng.uniform(-0.3, 0.4), 0)
    return 10 ** -od * 250, lab


KINDS = dict(glands=glands, tissue=tissue, shapes=shapes, fragments=fragments, sections=sections, mounted=mounted, tumours=tumours)


def picture(rng, kind, shards=None, n=SIZE):
    """A picture uint8 [n, n, 3] of a kind of KINDS and its objects' labels uint16 [n, n] or [2, n, n].

    A third of the pictures are not square: the frame beside them is PAD, as when they are shown to the model."""
    while True:
        img, lab = KINDS[kind](rng, n, shards)
        if 1 <= len(np.unique(lab)) - 1:
            break
    if rng.random() < 0.35:  # an old camera, or an enlarged picture
        k = rng.uniform(1.2, 3)
        img = cv2.resize(cv2.resize(img, (int(n / k),) * 2, interpolation=cv2.INTER_AREA), (n, n), interpolation=cv2.INTER_CUBIC)
    img = data.augment(rng, np.clip(img, 0, 255), 0.5)
    if rng.random() < 0.6:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(35, 96))]
        img = cv2.imdecode(cv2.imencode(".jpg", img, quality)[1], cv2.IMREAD_COLOR)
    lab = lab.copy()
    if rng.random() < 0.35:
        cut = int(n * rng.uniform(0.5, 0.95))
        img, lab = (np.ascontiguousarray(v) for v in (img, lab))
        if rng.random() < 0.6:
            img[cut:], lab[..., cut:, :] = PAD, 0
        else:
            img[:, cut:], lab[..., cut:] = PAD, 0
        lab = apart(lab, 50) if lab.ndim == 2 else np.stack([apart(v, 50) for v in lab])
    return img, np.minimum(lab, 65535).astype(np.uint16)


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--out", required=True)
    a.add_argument("--count", type=int, default=100)
    a.add_argument("--first", type=int, default=0)
    a.add_argument("--seed", type=int, default=1)
    a.add_argument("--kinds", default="glands,tissue,glands,shapes")
    a.add_argument("--shards", help="folders of shards whose pictures lend their texture")
    o = a.parse_args()
    cv2.setNumThreads(1)
    os.makedirs(o.out, exist_ok=True)
    shards = data.Shards(o.shards.split(",")) if o.shards else None
    kinds = o.kinds.split(",")
    start = time.time()
    for i in range(o.first, o.first + o.count):
        rng = np.random.default_rng([o.seed, i])
        kind = kinds[i % len(kinds)]
        img, lab = picture(rng, kind, shards)
        base = os.path.join(o.out, f"{i:04d}")
        np.save(base + "-labels.npy", lab)
        with open(base + ".json", "w") as f:
            json.dump(dict(kind=kind, objects=len(np.unique(lab)) - 1), f)
        with open(base + ".part", "wb") as f:
            f.write(cv2.imencode(".png", img[:, :, ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 1])[1])
        os.replace(base + ".part", base + ".png")
        if i % 10 == 9:
            print(f"{time.strftime('%H:%M:%S')} {i + 1}, {(time.time() - start) / (i - o.first + 1):.2f} s each", flush=True)


if __name__ == "__main__":
    main()
