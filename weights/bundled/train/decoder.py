"""The instance decoder: torch-em's UNETR at small widths, its targets, its loss and what is made of its maps.

Names of layers are those of torch_em.model.UNETR, so that micro-sam's tools and
this library read the file alike; nothing of it is copied here. It has transposed
convolutions (use_conv_transpose=True) and BatchNorm where upstream's default is
InstanceNorm (norm="BatchNorm" of its ConvBlock): with running statistics no
pixel's answer depends on what else is in the picture, but for what the encoder sees.
"""

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from scipy import ndimage as nd
from skimage.segmentation import watershed

FEATURES = (96, 48, 16, 8)
UNKNOWN = 255  # of the foreground's targets


class Block(nn.Module):
    """Two convolutions, a norm before each."""

    def __init__(self, cin, cout):
        super().__init__()
        self.block = nn.Sequential(
            nn.BatchNorm2d(cin), nn.Conv2d(cin, cout, 3, padding=1), nn.ReLU(inplace=True),
            nn.BatchNorm2d(cout), nn.Conv2d(cout, cout, 3, padding=1), nn.ReLU(inplace=True))

    def forward(self, x):
        return self.block(x)


class Up(nn.Module):
    """Doubles a map's sides."""

    def __init__(self, cin, cout):
        super().__init__()
        self.block = nn.ConvTranspose2d(cin, cout, 2, 2)

    def forward(self, x):
        return self.block(x)


class Conv(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.block = nn.Conv2d(c, c, 3, padding=1)

    def forward(self, x):
        return self.block(x)


class Deconv(nn.Module):
    """Doubles the map of the level before."""

    def __init__(self, cin, cout):
        super().__init__()
        self.block = nn.Sequential(Up(cin, cout), Conv(cout), nn.BatchNorm2d(cout), nn.ReLU(inplace=True))

    def forward(self, x):
        return self.block(x)


class Decoder(nn.Module):
    """Maps [B, 3, 16h, 16w] between 0 and 1 of embeddings [B, embed, h, w]: foreground, distance to the centre, to the boundary."""

    def __init__(self, embed=128, features=FEATURES):
        super().__init__()
        f = features
        self.deconv1, self.deconv2, self.deconv3, self.deconv4 = (Deconv(a, b) for a, b in zip((embed, *f), f))
        self.base = Block(embed, f[0])
        self.decoder = nn.Module()
        self.decoder.blocks = nn.ModuleList(Block(2 * c, c) for c in f[1:])
        self.decoder.samplers = nn.ModuleList(Up(a, b) for a, b in zip(f, f[1:]))
        self.deconv_out = Up(f[3], f[3])
        self.decoder_head = Block(2 * f[3], f[3])
        self.out_conv = nn.Conv2d(f[3], 3, 1)

    def forward(self, z):
        z9 = self.deconv1(z)
        z6 = self.deconv2(z9)
        z3 = self.deconv3(z6)
        z0 = self.deconv4(z3)
        x = self.base(z)
        for up, block, skip in zip(self.decoder.samplers, self.decoder.blocks, (z9, z6, z3)):
            x = up(x)
            a = (skip.shape[1] - x.shape[1]) // 2  # the middle channels
            x = block(torch.cat([x, skip[:, a:a + x.shape[1]]], 1))
        x = self.decoder_head(torch.cat([self.deconv_out(x), z0], 1))
        return torch.sigmoid(self.out_conv(x))


def distances(labels, least=25):
    """Targets of labels [H, W]: foreground, distance to the object's centre and to its boundary, float32 [3, H, W].

    Both distances are divided by the object's largest; the first is 0 at the centre, the
    second 0 deepest inside and 1 at the outline; outside both are 1. The centre is the
    centroid, or the deepest pixel if the centroid lies outside. Connected parts count as
    objects, those of fewer than least pixels as background. As torch_em's
    PerObjectDistanceTransform(boundary_distances=True, foreground=True, min_size=least)."""
    parts = np.zeros(labels.shape, np.int32)
    n = 0
    for i, s in enumerate(nd.find_objects(labels.astype(np.int32))):
        if s is None:
            continue
        lab, k = nd.label(labels[s] == i + 1, np.ones((3, 3)))
        parts[s][lab > 0] = lab[lab > 0] + n
        n += k
    out = np.ones((3, *labels.shape), np.float32)
    out[0] = 0
    for i, s in enumerate(nd.find_objects(parts)):
        m = parts[s] == i + 1
        if m.sum() < least:
            continue
        around = np.pad(m, 1, mode="edge")  # the picture's edge is no outline
        for k, side in enumerate(((s[0].start > 0, s[0].stop < labels.shape[0]), (s[1].start > 0, s[1].stop < labels.shape[1]))):
            for at, outline in zip((0, -1), side):
                if outline:
                    around[(slice(None),) * k + (at,)] = False
        inner = m & nd.binary_erosion(around, border_value=1)[1:-1, 1:-1]  # without the outline's pixels
        deep = nd.distance_transform_edt(inner) if inner.any() and not inner.all() else np.zeros(m.shape)
        deep[~m] = 0
        y, x = (int(round(v)) for v in nd.center_of_mass(m))
        if not m[y, x]:
            y, x = np.unravel_index(np.argmax(deep), deep.shape)
        far = np.hypot(*np.ogrid[-y:m.shape[0] - y, -x:m.shape[1] - x])
        out[0][s][m] = 1
        out[1][s][m] = (far / (far[m].max() + 1e-7))[m]
        edge = deep.max() - deep
        out[2][s][m] = (edge / (edge[m].max() + 1e-7))[m]
    return out


def dice(p, t):
    """torch_em's DiceLoss of one channel over a whole batch."""
    return 1 - 2 * (p * t).sum() / ((p * p).sum() + (t * t).sum()).clamp(min=1e-7)


def loss(maps, want, sure=0.5):
    """torch_em's DiceBasedDistanceLoss(mask_distances_in_bg=True): distances count in objects alone; and sure times the
    foreground's cross entropy, so that it is a probability and not only on the right side of a half.

    Pixels whose foreground is UNKNOWN do not count at all. maps and want [B, 3, H, W]."""
    known = (want[:, 0] <= 1).float()
    inside = known * want[:, 0]
    entropy = F.binary_cross_entropy(maps[:, 0], inside, known, reduction="sum") / known.sum().clamp(min=1)
    return sure * entropy + sum(dice(maps[:, i] * m, want[:, i] * m) for i, m in enumerate((known, inside, inside)))


def instances(maps, foreground=0.5, centre=0.5, boundary=0.5, smooth=(1.0, 1.6), least=0):
    """Labels [H, W] of maps float32 [3, H, W] as micro-sam makes them, but for the order of the flood where heights are equal."""
    f = nd.gaussian_filter(maps[0], smooth[0], truncate=3, mode="mirror")
    c, b = (nd.gaussian_filter(m, smooth[1], truncate=3, mode="mirror") for m in maps[1:])
    mask = f > foreground
    seeds, n = nd.label(mask & (c < centre) & (b < boundary), np.ones((3, 3)))
    out = watershed(b, seeds, mask=mask)
    if least:
        out[np.bincount(out.ravel(), minlength=n + 1)[out] < least] = 0
    return out


def counts(truth, found, unknown=None):
    """TP, FP, FN at an IoU of 0.5 and the sum of the IoU of the TP, of labels [H, W].

    Found objects that lie in what is unknown, bool [H, W], by more than half do not count."""
    if unknown is not None:
        size = np.bincount(found.ravel())
        inside = np.bincount(found.ravel(), unknown.ravel())
        found = np.where((2 * inside > size)[found], 0, found)
    t, a = np.unique(truth, return_counts=True)
    p, b = np.unique(found, return_counts=True)
    pair, both = np.unique(np.stack([truth.ravel(), found.ravel()]).astype(np.int64), axis=1, return_counts=True)
    area, size = dict(zip(t, a)), dict(zip(p, b))
    iou = [n / (area[i] + size[j] - n) for (i, j), n in zip(pair.T, both) if i and j]
    hit = [v for v in iou if v > 0.5]
    return np.array([len(hit), (p > 0).sum() - len(hit), (t > 0).sum() - len(hit), sum(hit)])
