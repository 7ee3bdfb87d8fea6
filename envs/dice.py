"""Random numbers that depend on (seed, world, draw) and on nothing else: Philox2x32-10 (Salmon et al., SC 2011).

World 17 of seed 3 rolls the same whatever the device, the batch, or the number of actors it is sharded over. Every product is of
two 32-bit numbers held in 64 bits, so nothing wraps: the same text is right in Python, Numba and CUDA.
"""

import numpy as np

from interplay.envs.rule import rule

MULTIPLIER, WEYL, LOW, HALF = np.uint64(0xD256D193), np.uint64(0x9E3779B9), np.uint64(0xFFFFFFFF), np.uint64(32)
BYTE, UNIT = np.uint64(8), np.float32(2.0**-24)
FIELDS = [("seed", "u4"), ("id", "u4"), ("draws", "u4")]  # last in every record

# Streams of one seed that never meet: a stream is mixed into the key.
WORLD, ACT, SHUFFLE, INIT, PLAY, META, INNER, IMAGINE, BELIEF, CHOOSE = range(10)


@rule
def philox(key, x, y):
    """One 32-bit word (as uint64) for a 32-bit key and a counter of two 32-bit words."""
    key, x, y = np.uint64(key), np.uint64(x), np.uint64(y)
    for _ in range(10):
        product = MULTIPLIER * x
        x, y = (product >> HALF) ^ key ^ y, product & LOW
        key = (key + WEYL) & LOW
    return x


@rule
def stream_key(seed, stream):
    """The key of one stream of a seed; stream 0 (the worlds' own) is the seed itself."""
    if stream == 0:
        return np.uint64(seed)
    return philox(seed, stream, 0xC0FFEE)


@rule
def word(w):
    """The world's next 32-bit word."""
    w.draws += 1
    return philox(w.seed, w.draws, w.id)


@rule
def below(w, n):
    """A whole number in [0, n) (bias at most n / 2**32)."""
    return np.int64((word(w) * np.uint64(n)) >> HALF)


@rule
def unit(w):
    """A float32 in [0, 1), a multiple of 2**-24."""
    return np.float32(word(w) >> BYTE) * UNIT
