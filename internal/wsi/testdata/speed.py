#!/usr/bin/env python3
"""Whole tiles of level 0 per second of processor time, beside OpenSlide.

    pip install openslide-python==1.4.7 openslide-bin==4.0.1.2
    ./speed.py SLIDE... [-rounds 9]

Runs BenchmarkTiles of package wsi and OpenSlide by turns, each in a process of its
own with one thread and a cache that holds no tile, and prints the medians of both
and of the ratios of neighbouring runs. Processor time, not the clock's: the
ratio holds on a machine that does other things besides.
"""
import ctypes, os, resource, statistics, subprocess, sys, tempfile, time

PASSES = 2


def tiles(path):
    """OpenSlide, below the binding, which would undo the premultiplication."""
    import openslide
    from openslide import lowlevel
    s = openslide.OpenSlide(path)
    s.set_cache(openslide.OpenSlideCache(0))
    tw, th = int(s.properties["openslide.level[0].tile-width"]), int(s.properties["openslide.level[0].tile-height"])
    w, h = s.level_dimensions[0]
    buf = (ctypes.c_uint32 * (tw * th))()
    n, before = 0, time.process_time()
    for _ in range(PASSES):
        for y in range(0, h - th + 1, th):
            for x in range(0, w - tw + 1, tw):
                lowlevel._read_region(s._osr, buf, x, y, 0, tw, th)
                n += 1
    print(n, time.process_time() - before)


def ours(binary, path):
    env = dict(os.environ, SAM_BENCH_SLIDE=path, GOMAXPROCS="1")
    out = subprocess.run([binary, "-test.run=^$", "-test.bench=^BenchmarkTiles$", "-test.benchtime=%dx" % PASSES, "-test.cpu=1"], env=env, check=True, capture_output=True, text=True)
    f = next(l for l in out.stdout.splitlines() if l.startswith("BenchmarkTiles")).split()
    return 1000 / float(f[f.index("cpu-ms/tile") - 1])


def theirs(path):
    out = subprocess.run([sys.executable, __file__, "-openslide", path], check=True, capture_output=True, text=True)
    n, t = out.stdout.split()
    return int(n) / float(t)


def main():
    if sys.argv[1] == "-openslide":
        return tiles(sys.argv[2])
    args, rounds = sys.argv[1:], 9
    if "-rounds" in args:
        i = args.index("-rounds")
        rounds = int(args[i + 1])
        del args[i:i + 2]
    here = os.path.dirname(os.path.abspath(__file__))
    with tempfile.TemporaryDirectory() as d:
        binary = os.path.join(d, "wsi.test")
        subprocess.run(["go", "test", "-c", "-o", binary, ".."], cwd=here, check=True)
        for path in args:
            pairs = [(ours(binary, path), theirs(path)) for _ in range(rounds)]
            a, b = (statistics.median(v) for v in zip(*pairs))
            r = sorted(x / y for x, y in pairs)
            print("%s: %.0f tiles/s, OpenSlide %.0f, ratio %.2f (%.2f to %.2f, %d rounds)" % (os.path.basename(path), a, b, statistics.median(r), r[0], r[-1], rounds))


main()
