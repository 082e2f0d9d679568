"""What pictures of regions are drawn with: layouts of objects, stains, textures of tissue, glass."""

import cv2
import numpy as np

import data

# Optical densities R G B per unit: nuclei, cytoplasm and muscle, fibres, mucin.
STAINS = {
    "he": ((0.62, 0.72, 0.32), (0.14, 0.55, 0.22), (0.10, 0.45, 0.16), (0.16, 0.14, 0.06)),
    "pas": ((0.55, 0.50, 0.22), (0.10, 0.30, 0.14), (0.12, 0.36, 0.16), (0.20, 0.85, 0.35)),
    "trichrome": ((0.55, 0.70, 0.40), (0.12, 0.65, 0.35), (0.75, 0.38, 0.12), (0.35, 0.22, 0.08)),
    "silver": ((0.40, 0.45, 0.45), (0.12, 0.20, 0.22), (0.85, 0.95, 0.95), (0.10, 0.12, 0.14)),
    "dab": ((0.55, 0.42, 0.18), (0.35, 0.60, 0.95), (0.10, 0.09, 0.05), (0.08, 0.07, 0.05)),
    "blue": ((0.55, 0.42, 0.18), (0.13, 0.11, 0.06), (0.08, 0.07, 0.04), (0.05, 0.05, 0.03)),
}


def between(rng, a, b):
    """A random number from a to b whose logarithm is evenly spread."""
    return float(np.exp(rng.uniform(np.log(a), np.log(b))))


def vary(rng, much):
    """A random factor about 1."""
    return float(np.exp(rng.normal(0, much)))


def field(rng, n, wave, octaves=3, fall=0.5):
    """Smooth noise [n, n] of mean 0 and deviation 1 with waves of some pixels and finer ones."""
    out = np.zeros((n, n), np.float32)
    for k in range(octaves):
        s = max(2, int(wave / 2 ** k / 2))
        if s >= 2:
            out += fall ** k * data.smooth(rng, n, n, s)[:n, :n]
        if s == 2:
            break
    return (out - out.mean()) / (out.std() + 1e-6)


def warp(rng, m, wave, much):
    """m displaced by smooth noise: labels keep their values."""
    n = m.shape[0]
    y, x = np.mgrid[:n, :n].astype(np.float32)
    how = cv2.INTER_NEAREST if m.dtype != np.float32 else cv2.INTER_LINEAR
    m = m.astype(np.float32)
    return cv2.remap(m, x + much * field(rng, n, wave, 2), y + much * field(rng, n, wave, 2), how, borderMode=cv2.BORDER_REFLECT)


def numbered(mask, least):
    """Components of a mask of at least so many pixels: int32 labels."""
    _, lab, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    keep = np.where(stats[:, 4] >= least, np.arange(len(stats)), 0)
    keep[0] = 0
    return keep[lab].astype(np.int32)


def star(rng, r, wild):
    """Corners of an irregular, squeezed outline about 0: [64, 2]."""
    t = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    f = np.ones(64)
    for k in range(2, 8):
        f += wild / k * rng.normal(0, 1) * np.cos(k * t + rng.uniform(0, 6.3))
    f = np.clip(f, 0.25, 2.2)
    flat, phi = rng.uniform(0.3, 1), rng.uniform(0, 6.3)
    x, y = r * f * np.cos(t), r * f * np.sin(t) * flat
    return np.stack([x * np.cos(phi) - y * np.sin(phi), x * np.sin(phi) + y * np.cos(phi)], 1)


def layout(rng, n, r, how=None):
    """Labels int32 [n, n] of objects of about r pixels' radius; crowded, alone, fused or branching."""
    how = how or rng.choice(["stars", "stars", "cells", "cells", "noise", "branches"])
    lab = np.zeros((n, n), np.int32)
    if how == "noise":
        lab = numbered(field(rng, n, r * rng.uniform(2.5, 5), 4, rng.uniform(0.35, 0.6)) > rng.uniform(-0.1, 1.1), 0.3 * r * r)
    elif how == "cells":
        pitch = r * rng.uniform(1.9, 2.4)
        k = int(n / pitch) + 3
        seeds = (np.stack(np.mgrid[:k, :k], -1).reshape(-1, 2) - 0.5 + rng.uniform(-0.42, 0.42, (k * k, 2))) * pitch
        yx = np.stack(np.mgrid[:n, :n], -1).astype(np.float32)
        much = r * rng.uniform(0.1, 0.45)
        wave = r * rng.uniform(1.2, 3)
        yx += much * np.stack([field(rng, n, wave, 3), field(rng, n, wave, 3)], -1)
        marks = np.full((n, n), 255, np.uint8)
        inside = np.round(seeds).astype(int)
        inside = inside[((inside >= 0) & (inside < n)).all(1)]
        marks[inside[:, 0], inside[:, 1]] = 0
        if not len(inside):
            return layout(rng, n, r, "noise")
        _, near = cv2.distanceTransformWithLabels(marks, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
        i = yx.round().astype(int).clip(0, n - 1)
        near = near[i[..., 0], i[..., 1]]
        edge = cv2.morphologyEx(near.astype(np.float32), cv2.MORPH_GRADIENT, np.ones((3, 3))) > 0
        gap = max(1.0, r * rng.uniform(0.03, 0.5)) * np.exp(0.5 * field(rng, n, 3 * r, 2))
        far = cv2.distanceTransform((~edge).astype(np.uint8), cv2.DIST_L2, 5)
        use = rng.random(near.max() + 1) < rng.uniform(0.35, 1)
        lab = np.where(use[near] & (far > gap), near, 0).astype(np.int32)
        if rng.random() < 0.3:  # some grow together
            lab = numbered(lab > 0, 0.2 * r * r)
    else:
        count = int(np.clip(n * n * rng.uniform(0.1, 0.7) / (4 * r * r), 1, 160))
        over = rng.random() < 0.3
        for k in range(count):
            at = rng.uniform(0, n, 2)
            m = np.zeros((n, n), np.uint8)
            size = r * vary(rng, 0.35)
            if how == "stars":
                cv2.fillPoly(m, [np.round((star(rng, size, 0.45) + at) * 16).astype(np.int32)], 1, shift=4)
            else:
                for _ in range(rng.integers(1, 5)):
                    p, a, w = at.copy(), rng.uniform(0, 6.3), size * rng.uniform(0.2, 0.45)
                    for _ in range(rng.integers(3, 9)):
                        a += rng.normal(0, 0.5)
                        q = p + np.array([np.cos(a), np.sin(a)]) * size * 0.5
                        w *= vary(rng, 0.2)
                        cv2.line(m, tuple(p.round().astype(int).tolist()), tuple(q.round().astype(int).tolist()), 1, max(2, int(w)))
                        p = q
            if over:
                lab[m > 0] = k + 1
            else:
                grown = cv2.dilate(m, np.ones((3, 3), np.uint8), iterations=int(rng.integers(1, 5)))
                if not (lab[grown > 0] > 0).any():
                    lab[m > 0] = k + 1
        lab = warp(rng, lab, max(8, r * rng.uniform(0.3, 1.2)), r * rng.uniform(0, 0.16)).astype(np.int32)
    if rng.random() < 0.6:  # borders that waver by pixels
        lab = warp(rng, lab, rng.uniform(5, 14), rng.uniform(0.3, 1.8)).astype(np.int32)
    return lab


def apart(lab, least):
    """One label per connected piece of a label, without pieces of less than so many pixels."""
    edge = np.zeros(lab.shape, bool)
    edge[:, 1:] |= lab[:, 1:] != lab[:, :-1]
    edge[1:] |= lab[1:] != lab[:-1]
    return numbered((lab > 0) & ~edge, least)


def stain(rng):
    """Densities [4, 3] of a stain with a laboratory's variation."""
    s = np.array(STAINS[rng.choice(list(STAINS), p=[0.5, 0.1, 0.1, 0.08, 0.12, 0.1])])
    s = s * np.exp(rng.normal(0, 0.25, (4, 1))) * np.exp(rng.normal(0, 0.12, (4, 3)))
    return (s * vary(rng, 0.2)).astype(np.float32)


def dots(rng, od, colour, where, size, pitch, along=None, long=1.4):
    """Draws dark ellipses (nuclei) on a jittered lattice where the field where is above a random number.

    along [n, n]: their direction in radians; no direction: any."""
    n = od.shape[0]
    m = np.zeros((n, n), np.uint8)
    pitch = max(2.0, pitch)
    k = int(n / pitch) + 1
    p = (np.stack(np.mgrid[:k, :k], -1).reshape(-1, 2) + rng.uniform(0, 1, (k * k, 2))) * pitch
    p = p[(p < n - 1).all(1)]
    i = p.astype(int)
    taken = rng.random(len(p)) < where[i[:, 0], i[:, 1]]
    p, i = p[taken], i[taken]
    if size < 1.3:
        m[i[:, 0], i[:, 1]] = 200
        m = cv2.GaussianBlur(m, (0, 0), 0.6)
    else:
        r = size * np.exp(rng.normal(0, 0.2, len(p)))
        a = np.degrees(along[i[:, 0], i[:, 1]] + rng.normal(0, 0.3, len(p))) if along is not None else rng.uniform(0, 180, len(p))
        e, dark = long * np.exp(rng.normal(0, 0.15, len(p))), rng.integers(120, 256, len(p))
        for (y, x), r, a, e, d in zip(p, r, a, e, dark):
            cv2.ellipse(m, (int(x * 16), int(y * 16)), (int(r * e * 16), int(r / e * 16)), float(a), 0, 360, int(d), -1, shift=4)
    a = m.astype(np.float32)[:, :, None] / 255
    if size > 3:  # chromatin
        a = a * (1 + 0.25 * field(rng, n, size, 2)[:, :, None]).clip(0.3, 1.5)
    return od * (1 - np.minimum(a, 1)) + a * colour


def direction(rng, n, wave):
    return 1.3 * field(rng, n, wave, 2) + rng.uniform(0, 3.2)


def fibres(rng, n, fine, wave):
    """A texture of strands [n, n], deviation 1: noise that is stretched and bent."""
    low = rng.standard_normal((max(4, int(n * 1.6 / fine)), max(4, int(n * 1.6 / fine / rng.uniform(4, 12)))), dtype=np.float32)
    big = cv2.resize(low, (int(n * 1.6), int(n * 1.6)), interpolation=cv2.INTER_CUBIC)
    a, c = rng.uniform(0, 3.14), 0.8 * n
    y, x = np.mgrid[:n, :n].astype(np.float32)
    y, x = y - n / 2 + wave * 0.14 * field(rng, n, wave, 2), x - n / 2 + wave * 0.14 * field(rng, n, wave, 2)
    out = cv2.remap(big, (x * np.cos(a) - y * np.sin(a) + c).astype(np.float32), (x * np.sin(a) + y * np.cos(a) + c).astype(np.float32), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    return out / (out.std() + 1e-6)


def foam(rng, n, r):
    """Honeycomb of fat or mucin: 1 inside of cells, 0 at their walls, [n, n]."""
    k = int(n / r) + 1
    marks = np.full((n, n), 255, np.uint8)
    p = ((np.stack(np.mgrid[:k, :k], -1).reshape(-1, 2) + rng.uniform(0.1, 0.9, (k * k, 2))) * r).astype(int).clip(0, n - 1)
    marks[p[:, 0], p[:, 1]] = 0
    _, near = cv2.distanceTransformWithLabels(marks, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    wall = cv2.morphologyEx(near.astype(np.float32), cv2.MORPH_GRADIENT, np.ones((2, 2))) > 0
    return np.minimum(1, cv2.distanceTransform((~wall).astype(np.uint8), cv2.DIST_L2, 3) / rng.uniform(1, 3))


def texture(rng, n, shards, s=None):
    """Optical density [n, n, 3] of one tissue: cells, strands, foam, smooth or blotched ground, or part of a picture."""
    s = stain(rng) if s is None else s
    u = rng.random()
    if shards is not None and u < 0.3:
        maps, i, _ = shards.sets[rng.integers(len(shards.sets))]
        side = maps[0].shape[1]
        part = int(min(side, n / between(rng, 0.35, 2.5)))
        y, x = rng.integers(side - part + 1, size=2)
        a = np.rot90(np.asarray(maps[0][i, y:y + part, x:x + part]), rng.integers(4))
        to = int(min(n, part * 2.5, max(part, n // 3)))
        a = cv2.resize(a, (to, to), interpolation=cv2.INTER_AREA if to < part else cv2.INTER_LINEAR)
        k = -(-n // to)
        if k > 1:  # mirrored tiles join
            a = np.concatenate([a if j % 2 == 0 else a[::-1] for j in range(k)], 0)
            a = np.concatenate([a if j % 2 == 0 else a[:, ::-1] for j in range(k)], 1)
        return -np.log10(np.maximum(a[:n, :n].astype(np.float32), 3) / 245)
    base = s[1] if rng.random() < 0.5 else s[2]
    tone = 1 + rng.uniform(0.05, 0.35) * field(rng, n, between(rng, 6, 300), 4, 0.6)
    od = base * rng.uniform(0.3, 1.2) * np.maximum(tone, 0.1)[:, :, None]
    if u < 0.45:
        od *= np.exp(rng.uniform(0.15, 0.5) * fibres(rng, n, rng.uniform(2, 7), rng.uniform(60, 300)))[:, :, None].clip(0.2, 3)
    elif u < 0.53:
        r = between(rng, 6, 60)
        od *= (1 - rng.uniform(0.5, 0.95) * foam(rng, n, r))[:, :, None]
    if u > 0.38:
        size = between(rng, 0.8, 9)
        some = np.clip(rng.uniform(0.1, 1) + 0.3 * field(rng, n, size * 20, 2), 0, 1)
        along = direction(rng, n, 200) if rng.random() < 0.4 else None
        od = dots(rng, od, s[0] * rng.uniform(0.6, 1.3), some, size, size * rng.uniform(2.0, 4.5), along, rng.uniform(1, 1.9))
    return od


def compartment(rng, n, s, role, unit, shards):
    """Optical density [n, n, 3] of one kind of tissue in the stain s with nuclei of about unit pixels.

    role: epithelium, stroma (strands with gaps), lymph, fat, smooth, necrosis, blood, mucin, glass or picture (a texture of any kind)."""
    def ground(colour, most, wave):
        return colour * np.maximum(0.1, most * (1 + rng.uniform(0.05, 0.25) * field(rng, n, wave, 4, 0.6)))[:, :, None]

    if role == "picture":
        return texture(rng, n, shards, s if rng.random() < 0.7 else None)
    if role == "glass":
        return np.full((n, n, 3), 0.02, np.float32)
    if role == "fat":
        return s[2] * (0.04 + rng.uniform(0.2, 0.8) * (1 - foam(rng, n, unit * rng.uniform(5, 14))))[:, :, None]
    if role == "blood":
        return ground(np.array([0.08, 0.6, 0.5], np.float32) * vary(rng, 0.3), rng.uniform(0.6, 1.3), unit * 8)
    if role == "mucin":
        return ground(s[3], rng.uniform(0.3, 1.3), unit * 25) + 0.02
    if role == "stroma":
        line = fibres(rng, n, max(1.5, unit * rng.uniform(0.5, 2)), unit * rng.uniform(20, 90))
        od = ground(s[2], rng.uniform(0.5, 1.6), unit * 40) * np.exp(rng.uniform(0.1, 0.4) * line).clip(0.2, 3)[:, :, None]
        if rng.random() < 0.6:  # gaps between strands
            od = mix(od, 0.02, soft((line < -rng.uniform(0.7, 2)) & (field(rng, n, unit * 60, 2) > rng.uniform(-1.5, 0.5)), 0.6))
        return dots(rng, od, s[0], np.clip(rng.uniform(0.05, 0.6) + 0.25 * field(rng, n, unit * 15, 2), 0, 1), unit * 0.8, unit * 3.6, direction(rng, n, unit * 60), 1.8)
    if role == "smooth":
        od = ground(s[1], rng.uniform(0.4, 1.4), unit * 60) * np.exp(0.12 * fibres(rng, n, max(2, unit * 2), unit * 80)).clip(0.3, 2)[:, :, None]
        return dots(rng, od, s[0], np.full((n, n), rng.uniform(0.05, 0.5)), unit * 0.8, unit * 4, direction(rng, n, unit * 80), 1.9)
    if role == "necrosis":
        od = ground(s[1], rng.uniform(0.4, 1.2), unit * 5)
        return dots(rng, od, s[0] * rng.uniform(0.5, 1), np.clip(0.3 + 0.4 * field(rng, n, unit * 12, 2), 0, 1), unit * 0.5, unit * 2.5)
    if role == "lymph":
        od = ground(s[1], rng.uniform(0.2, 0.8), unit * 20)
        return dots(rng, od, s[0] * rng.uniform(0.8, 1.2), np.full((n, n), rng.uniform(0.75, 1)), unit * 0.8, unit * rng.uniform(1.8, 2.5))
    od = ground(s[1] + s[0] * rng.uniform(0, 0.35), rng.uniform(0.5, 1.4), unit * 25)
    return dots(rng, od, s[0] * rng.uniform(0.7, 1.2), np.clip(rng.uniform(0.5, 1) + 0.2 * field(rng, n, unit * 20, 2), 0, 1), unit, unit * rng.uniform(2.1, 3.2), None, rng.uniform(1, 1.6))


def soft(mask, sigma):
    m = mask.astype(np.float32)
    return (cv2.GaussianBlur(m, (0, 0), sigma) if sigma > 0.2 else m)[:, :, None]


def mix(a, b, m):
    return a * (1 - m) + b * m


def glass(rng, n):
    """Empty glass: light, its fall, dust and scratches; optical density [n, n, 3]."""
    od = np.full((n, n, 3), rng.uniform(0, 0.06), np.float32) + rng.uniform(0, 0.03, 3).astype(np.float32)
    od += (rng.uniform(0, 0.03) * np.abs(field(rng, n, rng.uniform(200, 900), 1)))[:, :, None]
    if rng.random() < 0.5:
        m = np.zeros((n, n), np.uint8)
        for _ in range(rng.integers(1, 40)):
            x, y = rng.integers(n, size=2).tolist()
            if rng.random() < 0.85:
                cv2.circle(m, (x, y), int(rng.integers(1, 4)), int(rng.integers(40, 200)), -1)
            else:
                cv2.line(m, (x, y), (x + int(rng.normal(0, 80)), y + int(rng.normal(0, 80))), int(rng.integers(40, 160)), 1)
        od += soft(m / 255, 0.8) * rng.uniform(0.1, 0.7)
    if rng.random() < 0.2:  # edge of the glass or its cover
        at, w = int(rng.integers(n)), int(rng.integers(1, 14))
        band = np.zeros((n, n), np.float32)
        band[at:at + w] = 1
        if rng.random() < 0.3:
            band[at:] = np.maximum(band[at:], rng.uniform(0.02, 0.3))
        band = band.T if rng.random() < 0.5 else band
        od += soft(band, 0.8) * rng.uniform(0.05, 0.6)
    return od
