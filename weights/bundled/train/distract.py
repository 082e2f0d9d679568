"""What is dark and blue but no nucleus, drawn over pictures: clouds of haematoxylin, smears, nuclei out of focus, debris.

    img = distract.over(rng, img, nuclei, mpp)

To the instance decoder it is background: synth's slides have little of it, real ones much.
"""

import cv2
import numpy as np

import data
import pseudo


def ground(od, nuclei, px):
    """The optical density that would be there without nuclei [H, W, 3], from around them."""
    h, w = nuclei.shape
    out = cv2.erode((nuclei == 0).astype(np.uint8), np.ones((3, 3), np.uint8)).astype(np.float32)
    part = lambda m: cv2.GaussianBlur(cv2.resize(m, (w // 4, h // 4), interpolation=cv2.INTER_AREA), (0, 0), 3 * px + 1)
    return cv2.resize(part(od * out[:, :, None]) / (part(out)[:, :, None] + 1e-3), (w, h), interpolation=cv2.INTER_LINEAR)


def clouds(rng, h, w, px):
    """Patches without a shape, in some regions."""
    step = lambda a, b: max(3, round(rng.uniform(a, b) * px))
    some = np.clip(2 * data.smooth(rng, h, w, step(90, 250)) + rng.uniform(-1, 0.5), 0, 1)
    fine = 0.7 * data.smooth(rng, h, w, step(18, 60)) + 0.5 * data.smooth(rng, h, w, step(6, 18))
    return some * np.clip(rng.uniform(0.8, 3) * (fine - rng.uniform(0, 0.8)), 0, 1) * rng.uniform(0.15, 0.7)


def smears(rng, h, w, px):
    """Strokes as of crushed nuclei, of any direction or of one."""
    out = np.zeros((h, w), np.float32)
    way, wide = rng.uniform(0, np.pi), rng.choice([0.3, 3.0])
    for _ in range(rng.integers(3, 70)):
        n, a = rng.integers(2, 6), way + rng.normal(0, wide)
        turn = a + np.cumsum(rng.normal(0, 0.35, n))
        step = rng.uniform(5, 30) * px
        line = np.cumsum(np.stack([np.cos(turn), np.sin(turn)], 1) * step, 0) + rng.uniform(0, [w, h])
        much = float(rng.uniform(0.2, 0.95))
        cv2.polylines(out, [line.astype(np.int32)], False, much, max(1, round(rng.uniform(2, 13) * px)), cv2.LINE_8)
    return cv2.GaussianBlur(out, (0, 0), rng.uniform(1, 5) * px + 0.3)


def unfocused(rng, nuclei, px):
    """Nuclei of the picture elsewhere, turned and blurred by 1 to 2.5 micrometres."""
    h, w = nuclei.shape
    n = int(nuclei.max()) + 1
    much = (rng.uniform(0.35, 1.1, n) * (rng.random(n) < rng.uniform(0.05, 0.5))).astype(np.float32)
    much[0] = 0
    a = np.roll(much[np.rot90(nuclei, 2)], tuple(rng.integers(0, (h, w))), (0, 1))
    far = data.smooth(rng, h, w, max(8, round(120 * px)))
    near, off = (cv2.GaussianBlur(a, (0, 0), s * px) for s in (rng.uniform(3.5, 6), rng.uniform(6, 10)))
    return np.where(far > 0, near, off)


def debris(rng, h, w, px):
    """Specks smaller than nuclei."""
    out = np.zeros((h, w), np.float32)
    for _ in range(rng.integers(5, 120)):
        r = rng.uniform(0.8, 4.5, 2) * px + 0.5
        at = rng.uniform(0, [w, h])
        cv2.ellipse(out, (tuple(map(float, at)), tuple(map(float, 2 * r)), float(rng.uniform(0, 180))), float(rng.uniform(0.3, 1.2)), -1)
    return cv2.GaussianBlur(out, (0, 0), rng.uniform(0.4, 1.2) * px + 0.2)


def over(rng, img, nuclei, mpp):
    """img float32 [H, W, 3] of 0..255 with some of it, beside the nuclei [H, W] and in their colour."""
    h, w = nuclei.shape
    px = 0.25 / mpp
    od = -np.log10(np.maximum(img, 2) / 255)
    inside = nuclei > 0
    ink = 0.45 * (pseudo.RUIFROK[0] / np.linalg.norm(pseudo.RUIFROK[0])) * 1.7
    if inside.mean() > 0.005:
        ink = np.maximum((od - ground(od, nuclei, px))[inside].mean(0), 0.05)
    ink = ink * np.exp(rng.normal(0, 0.12, 3))
    layer = np.zeros((h, w), np.float32)
    for draw, often in ((clouds, 0.5), (smears, 0.45), (debris, 0.4)):
        if rng.random() < often:
            layer = np.maximum(layer, draw(rng, h, w, px))
    if inside.any() and rng.random() < 0.6:
        layer = np.maximum(layer, unfocused(rng, nuclei, px))
    if rng.random() < 0.7:
        layer *= np.clip(1 + rng.uniform(0.1, 0.4) * data.smooth(rng, h, w, max(2, round(rng.uniform(2, 8) * px))), 0.2, 1.6)
    clear = 1 - cv2.GaussianBlur(inside.astype(np.float32), (0, 0), 0.8 * px + 0.3)
    od = od + (layer * clear)[:, :, None] * ink.astype(np.float32)
    return 255 * 10 ** -od


def restain(rng, img):
    """Another amount of each stain: haematoxylin and eosin of img apart, what is left as it is."""
    h, e = pseudo.RUIFROK / np.linalg.norm(pseudo.RUIFROK, axis=1, keepdims=True)
    third = np.cross(h, e)
    basis = np.stack([h, e, third / np.linalg.norm(third)]).astype(np.float32)
    to = basis * np.exp(rng.normal(0, [[0.25], [0.35], [0.1]])) + rng.normal(0, [[0.04], [0.05], [0]], (3, 3))
    od = -np.log10(np.maximum(img, 2) / 255)
    return 255 * 10 ** -np.maximum(od @ (np.linalg.inv(basis) @ to).astype(np.float32), 0)


def files(rng, img):
    """uint8 as it comes out of scanners and files: resampled, in JPEG."""
    h, w = img.shape[:2]
    if rng.random() < 0.25:
        s = rng.uniform(0.5, 0.95)
        img = cv2.resize(cv2.resize(img, None, fx=s, fy=s, interpolation=cv2.INTER_AREA), (w, h), interpolation=cv2.INTER_CUBIC)
    if rng.random() < 0.5:
        img = cv2.imdecode(cv2.imencode(".jpg", img, [cv2.IMWRITE_JPEG_QUALITY, int(rng.uniform(35, 95))])[1], cv2.IMREAD_COLOR)
    return img
