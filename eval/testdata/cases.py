"""Label maps for the goldens: random and hard pairs of truth and prediction."""

import numpy as np

SEED = 20230409


def voronoi(rng, h, w, n, cover):
    """n instances that touch: nearest of n points, cut to a part of the picture."""
    pts = rng.random((n, 2)) * (h, w)
    yy, xx = np.mgrid[:h, :w]
    d = (yy[..., None] - pts[:, 0]) ** 2 + (xx[..., None] - pts[:, 1]) ** 2
    lab = d.argmin(-1).astype(np.int32) + 1
    r2 = d.min(-1)
    lab[r2 > np.quantile(r2, cover)] = 0
    return lab


def discs(rng, h, w, n, rmax):
    """n discs, later ones over earlier ones; some reach over the border."""
    lab = np.zeros((h, w), np.int32)
    yy, xx = np.mgrid[:h, :w]
    for i in range(n):
        y, x, r = rng.random() * h, rng.random() * w, 0.5 + rng.random() * rmax
        lab[(yy - y) ** 2 + (xx - x) ** 2 <= r * r] = i + 1
    return lab


def shift(lab, dy, dx):
    out = np.zeros_like(lab)
    h, w = lab.shape
    out[max(dy, 0):h + min(dy, 0), max(dx, 0):w + min(dx, 0)] = \
        lab[max(-dy, 0):h + min(-dy, 0), max(-dx, 0):w + min(-dx, 0)]
    return out


def spoil(rng, lab):
    """a prediction: the truth shifted, with instances lost, merged, split, noisy and renumbered."""
    out = shift(lab, int(rng.integers(-2, 3)), int(rng.integers(-2, 3)))
    ids = [i for i in np.unique(out) if i]
    for i in ids:
        u = rng.random()
        if u < 0.12:
            out[out == i] = 0
        elif u < 0.24:
            out[out == i] = rng.choice(ids)
        elif u < 0.36:
            yy, xx = np.nonzero(out == i)
            cut = xx > np.median(xx)
            out[yy[cut], xx[cut]] = out.max() + 1
    noise = rng.random(out.shape) < 0.02
    out[noise] = rng.integers(0, max(1, out.max()) + 1, noise.sum())
    top = int(out.max())
    renum = np.zeros(top + 1, np.int32)
    renum[1:] = rng.permutation(np.arange(1, 3 * top + 1))[:top]   # gaps and another order
    return renum[out]


def cases():
    rng = np.random.default_rng(SEED)
    out = []

    def add(name, t, p):
        out.append((name, t.astype(np.int32), p.astype(np.int32)))

    z = np.zeros((12, 9), np.int32)
    one = z.copy(); one[4, 3] = 1
    far = z.copy(); far[11, 8] = 7
    full = np.ones((12, 9), np.int32)
    add("both empty", z, z)
    add("truth empty", z, one)
    add("prediction empty", one, z)
    add("single pixel, same", one, one)
    add("single pixel, apart", one, far)
    add("full, same", full, full)
    add("full against single pixel", full, one)
    add("full against empty", full, z)
    halves = full.copy(); halves[:, 5:] = 2
    add("one in two halves", full, halves)
    add("two halves in one", halves, full)
    add("every pixel an instance", np.arange(1, 109).reshape(12, 9), np.arange(1, 109).reshape(12, 9))
    add("every pixel an instance, one shifted", np.arange(1, 109).reshape(12, 9), np.roll(np.arange(1, 109).reshape(12, 9), 1, 1))
    nested = z.copy(); nested[1:11, 1:8] = 1; nested[3:9, 3:6] = 2; nested[5:7, 4] = 3
    add("nested", nested, shift(nested, 1, 0))
    ring = z.copy(); ring[1:11, 1:8] = 5; ring[3:9, 3:6] = 0
    add("ring against its hole", ring, np.where(ring == 0, 4, 0))
    add("ring against disc", ring, np.where(nested > 0, 1, 0))
    half = z.copy(); half[2:4, 2:4] = 1
    tie = z.copy(); tie[2:4, 2] = 1; tie[2:4, 3] = 2
    add("IoU of exactly one half, twice", half, tie)
    add("row picture", np.array([[1, 1, 0, 2, 2, 2]]), np.array([[1, 0, 0, 2, 2, 3]]))
    add("column picture", np.array([[1, 1, 0, 2, 2, 2]]).T, np.array([[0, 3, 3, 3, 2, 2]]).T)
    add("one pixel picture", np.array([[1]]), np.array([[9]]))
    edge = z.copy(); edge[0, :] = 1; edge[-1, :] = 2; edge[1:-1, 0] = 3; edge[1:-1, -1] = 4
    add("border frames", edge, shift(edge, 1, 1))
    add("large numbers", one * 60000, one * 65535)
    for i in range(280):
        h, w = (int(v) for v in rng.integers(5, 33, 2))
        n = int(rng.integers(1, 14))
        k = i % 7
        if k == 0:
            t = voronoi(rng, h, w, n, 0.4 + 0.6 * rng.random())
        elif k == 1:
            t = discs(rng, h, w, n, min(h, w) / 3)
        elif k == 2:
            t = discs(rng, h, w, 3 * n, 1.5)
        elif k == 3:
            t = rng.integers(0, n + 1, (h, w))
        elif k == 4:
            t = discs(rng, h, w, 2, max(h, w))
        elif k == 5:
            t = voronoi(rng, h, w, n, 1)
        else:
            t = np.where(rng.random((h, w)) < 0.05, rng.integers(1, 4, (h, w)), 0)
        u = rng.random()
        if u < 0.7:
            p = spoil(rng, t)
        elif u < 0.85:
            p = discs(rng, h, w, n, min(h, w) / 3)
        else:
            p = voronoi(rng, h, w, n, rng.random())
        add(f"random {i}", t, p)
    for i in range(6):
        t = discs(rng, 96, 96, 60, 6)
        add(f"larger {i}", t, spoil(rng, t))
    return out
