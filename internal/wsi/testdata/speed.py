#!/usr/bin/env python3
"""Whole tiles of level 0 per second of processor time, beside OpenSlide and, for
a folder of DICOM files, wsidicom.

    pip install openslide-python==1.4.7 openslide-bin==4.0.1.2 wsidicom==0.36.1
    ./speed.py SLIDE... [-rounds 9]

Runs BenchmarkTiles of package wsi and the others by turns, each in a process of its
own with one thread and a cache that holds no tile, and prints the medians of all
and of the ratios of neighbouring runs. Processor time, not the clock's: the
ratio holds on a machine that does other things besides. A folder of DICOM files
can be made of a slide by wsidicomizer==0.26.1 (in an environment of its own):

    python -c "from wsidicomizer import WsiDicomizer as W; W.convert('cmu-1-small-region.svs', 'FOLDER')"
"""
import ctypes, glob, os, resource, statistics, subprocess, sys, tempfile, time

PASSES = 2


def largest(path):
    """The file by which OpenSlide opens the slide: of a folder the largest."""
    return max(glob.glob(os.path.join(path, "*")), key=os.path.getsize) if os.path.isdir(path) else path


def openslide_tiles(path):
    """OpenSlide, below the binding, which would undo the premultiplication."""
    import openslide
    from openslide import lowlevel
    s = openslide.OpenSlide(largest(path))
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


def wsidicom_tiles(path):
    """wsidicom's pictures, with the decoder that it chooses."""
    from wsidicom import WsiDicom
    with WsiDicom.open(path) as s:
        level = s.pyramid.base_level
        across, down = level.size.width // level.tile_size.width, level.size.height // level.tile_size.height
        n, before = 0, time.process_time()
        for _ in range(PASSES):
            for y in range(down):
                for x in range(across):
                    s.read_tile(0, (x, y)).load()
                    n += 1
        print(n, time.process_time() - before)


def ours(binary, path):
    env = dict(os.environ, SAM_BENCH_SLIDE=path, GOMAXPROCS="1")
    out = subprocess.run([binary, "-test.run=^$", "-test.bench=^BenchmarkTiles$", "-test.benchtime=%dx" % PASSES, "-test.cpu=1"], env=env, check=True, capture_output=True, text=True)
    f = next(l for l in out.stdout.splitlines() if l.startswith("BenchmarkTiles")).split()
    return 1000 / float(f[f.index("cpu-ms/tile") - 1])


PEERS = {"OpenSlide": openslide_tiles, "wsidicom": wsidicom_tiles}


def theirs(peer, path):
    out = subprocess.run([sys.executable, __file__, "-peer", peer, path], check=True, capture_output=True, text=True)
    n, t = out.stdout.split()
    return int(n) / float(t)


def main():
    if sys.argv[1] == "-peer":
        return PEERS[sys.argv[2]](sys.argv[3])
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
            path = os.path.abspath(path)
            peers = list(PEERS) if os.path.isdir(path) else ["OpenSlide"]
            runs = [(ours(binary, path), [theirs(p, path) for p in peers]) for _ in range(rounds)]
            line = "%s: %.0f tiles/s" % (os.path.basename(path), statistics.median(r[0] for r in runs))
            for i, p in enumerate(peers):
                r = sorted(a / b[i] for a, b in runs)
                line += "; %s %.0f, ratio %.2f (%.2f to %.2f)" % (p, statistics.median(b[i] for _, b in runs), statistics.median(r), r[0], r[-1])
            print("%s; %d rounds" % (line, rounds))


main()
