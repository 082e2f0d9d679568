"""Values to take gradients with, and what is stored of large tensors."""

import math

import counter

PROJECTIONS = 8


def values(name, n, seed):
    """Returns n values of unit variance: those that a weight [n, 1] of that
    name has."""
    return counter.weight(name, (n, 1), seed).reshape(-1)


def digest(name, v):
    """Returns a tensor's length and its products with fixed vectors."""
    v = v.detach().double().numpy().reshape(-1)
    out = [math.sqrt((v * v).sum())]
    for k in range(PROJECTIONS):
        out.append(float((v * counter.uniform(counter.hash64(k ^ counter.fnv1a64(name.encode())), v.size)).sum()))
    return out
