"""The prompts of the reference files, in pixels of the picture.

A prompt has any of points with labels, a box, and a mask: mask_seed names a
counter-based one, feed the earlier prompt whose best low-resolution logits (by
predicted IoU, among the three) are fed back.
"""


def at(h, w, x, y):
    """A point at the given fractions of the picture, to a quarter pixel."""
    return [round(4 * x * (w - 1)) / 4, round(4 * y * (h - 1)) / 4]


def first(h, w, full=False):
    a, b, c = at(h, w, 0.37, 0.55), at(h, w, 0.72, 0.21), at(h, w, 0.11, 0.83)
    box = at(h, w, 0.21, 0.17) + at(h, w, 0.83, 0.71)
    point = dict(name="point", points=[a], labels=[1])
    if full:
        return [
            point,
            dict(name="box and points", points=[a, b], labels=[1, 0], box=box),
            dict(name="mask and point", points=[b], labels=[1], mask_seed=77),
            dict(name="fed back", points=[a, c], labels=[1, 0], feed="point"),
            dict(name="none"),
        ]
    return [
        point,
        dict(name="background point", points=[b], labels=[0]),
        dict(name="points", points=[a, b, c, [0, 0], [w - 1, h - 1]], labels=[1, 0, 1, 0, 1]),
        dict(name="box", box=box),
        dict(name="box and points", points=[a, b], labels=[1, 0], box=box),
        dict(name="mask", mask_seed=71),
        dict(name="mask and point", points=[b], labels=[1], mask_seed=72),
        dict(name="mask and box", box=box, mask_seed=73),
        dict(name="mask, box and points", points=[c, a], labels=[0, 1], box=box, mask_seed=74),
        dict(name="fed back", points=[a, c], labels=[1, 0], feed="point"),
        dict(name="fed back again", points=[a, c, b], labels=[1, 0, 1], feed="fed back"),
        dict(name="none"),
    ]


def others(h, w):
    a, b = at(h, w, 0.61, 0.33), at(h, w, 0.24, 0.77)
    return [
        dict(name="points", points=[a, b], labels=[1, 0]),
        dict(name="box", box=at(h, w, 0.1, 0.2) + [w, h]),
    ]
