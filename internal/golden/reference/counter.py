"""Counter-based weights, pictures and masks, alike in Go and in Python.

Every value is a function of a seed and of its own index, so nothing has to be
stored. Package golden repeats the pictures, package weights the weights.
"""

import math

import numpy as np

MASK64 = (1 << 64) - 1
CHUNK = 1 << 22  # values made at a time, which bounds memory


def splitmix64(z):
    """Returns the splitmix64 hash of each element of the uint64 array z."""
    z = z + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def hash64(v):
    """Returns splitmix64 of one Python integer, as a Python integer."""
    return int(splitmix64(np.array([v & MASK64], np.uint64))[0])


def fnv1a64(data):
    """Returns the 64-bit FNV-1a hash of a byte string."""
    h = 0xCBF29CE484222325
    for b in data:
        h = ((h ^ b) * 0x100000001B3) & MASK64
    return h


def uniform(key, n):
    """Returns n float32 values in [-1, 1): v(i) of the weights rule."""
    out = np.empty(n, np.float32)
    for at in range(0, n, CHUNK):
        i = np.arange(at, min(n, at + CHUNK), dtype=np.uint64)
        u = splitmix64(i + np.uint64(key)) >> np.uint64(40)
        out[at : at + len(i)] = (2 * u.astype(np.int64) - (1 << 24)).astype(np.float32)
    out *= np.float32(2.0**-24)
    return out


def scale_offset(name, shape):
    """Returns (scale, offset) of a weight by its layout A name and shape."""
    if "positional_encoding_gaussian_matrix" in name:
        return math.sqrt(3), 0
    if "rel_pos_" in name:
        return 0.25, 0
    if "attention_biases" in name:
        return 0.5, 0
    if name.endswith("pos_embed"):
        return 0.5, 0
    if any(s in name for s in ("point_embeddings.", "not_a_point_embed", "no_mask_embed", "iou_token", "mask_tokens")):
        return 1, 0
    if len(shape) == 1:
        return (0.2, 1) if name.endswith((".weight", ".running_var")) else (0.1, 0)
    if "output_upscaling.0.weight" in name or "output_upscaling.3.weight" in name:
        return math.sqrt(3 / shape[0]), 0
    return math.sqrt(3 / math.prod(shape[1:])), 0


def weight(name, shape, seed):
    """Returns the float32 array of one weight."""
    scale, offset = scale_offset(name, tuple(shape))
    key = hash64(seed ^ fnv1a64(name.encode()))
    v = uniform(key, math.prod(shape))
    v *= np.float32(scale)
    v += np.float32(offset)
    return v.reshape(tuple(shape))


def _octave(h, w, c, seed, s):
    """Bilinear integer noise on a lattice of 2^s pixels: int64 [h, w], 0..255."""
    n = 1 << s
    iy = np.arange(h, dtype=np.int64)[:, None]
    ix = np.arange(w, dtype=np.int64)[None, :]

    def corner(gy, gx):
        g = (np.uint64((c << 60) | (s << 56)) | (gy.astype(np.uint64) << np.uint64(28)) | gx.astype(np.uint64))
        return (splitmix64(g + np.uint64(hash64(seed))) >> np.uint64(56)).astype(np.int64)

    gy = np.arange((h >> s) + 2)[:, None]
    gx = np.arange((w >> s) + 2)[None, :]
    lat = corner(gy, gx)
    y, x, fy, fx = iy >> s, ix >> s, iy & (n - 1), ix & (n - 1)
    top = lat[y, x] * (n - fx) + lat[y, x + 1] * fx
    bottom = lat[y + 1, x] * (n - fx) + lat[y + 1, x + 1] * fx
    return (top * (n - fy) + bottom * fy) >> (2 * s)


def picture(h, w, seed):
    """Returns the counter-based picture, uint8 [h, w, 3].

    Channel c is (3*coarse + fine + 2) >> 2 of two octaves of integer lattice
    noise, 32 and 8 pixels apart.
    """
    chans = [(3 * _octave(h, w, c, seed, 5) + _octave(h, w, c, seed, 3) + 2) >> 2 for c in range(3)]
    return np.stack(chans, axis=-1).astype(np.uint8)


def noise(h, w, seed):
    """Returns uint8 [h, w, 3] without any smoothness: splitmix64(seed + i) >> 56."""
    i = np.arange(h * w * 3, dtype=np.uint64)
    return (splitmix64(i + np.uint64(seed)) >> np.uint64(56)).astype(np.uint8).reshape(h, w, 3)


def mask_logits(h, w, seed):
    """Returns float32 [h, w] in [-16, 16): channel 0 of the picture, minus 128, over 8."""
    p = (3 * _octave(h, w, 0, seed, 5) + _octave(h, w, 0, seed, 3) + 2) >> 2
    return ((p - 128).astype(np.float32) / np.float32(8)).astype(np.float32)
