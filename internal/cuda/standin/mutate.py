#!/usr/bin/env python3
"""Break the kernels on purpose: the tests must notice.

    python3 mutate.py INCLUDE LIBRARY TEST...

INCLUDE is the folder of cuda.h, LIBRARY the folder in which build.sh has
built libcuda.so.1, and TEST a test binary of internal/cuda with its
arguments. Exits with 1 if a mutation is not found.
"""
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

HERE = os.path.dirname(os.path.abspath(__file__))
KERNELS = os.path.join(HERE, '..', 'kern')
BARRIER = '__syncthreads();'

# What is broken, file, old text, new text, which occurrence.
MUTATIONS = [
    ('product: first barrier missing', 'product.cu', BARRIER, '', 1),
    ('product: second barrier missing', 'product.cu', BARRIER, '', 2),
    ('product: last step not fetched', 'product.cu', 'if (k0 + Step < k) fetch', 'if (k0 + 2 * Step < k) fetch', 1),
    ('product: rows beyond the end written', 'product.cu', 'if (r >= m) continue;', 'if (r > m) continue;', 1),
    ('product: columns beyond the end written', 'product.cu', 'if (q < n) target', 'if (q <= n) target', 1),
    ('product: row of zeros too late', 'product.cuh', 'r < m ? a + r * k', 'r <= m ? a + r * k', 1),
    ('product: bias after the activation', 'product.cuh', 'if (bias) v += bias[q];\n    v = activate(v, act);',
     'v = activate(v, act);\n    if (bias) v += bias[q];', 1),
    ('product: rows of add not repeated', 'product.cuh', '(unsigned)r % (unsigned)addrows * n', 'r * n', 1),
    ('conv: left edge', 'product.cuh', 'px >= 0 && px < w', 'px < w', 1),
    ('conv: lower edge', 'product.cuh', 'y < h && px', 'y <= h && px', 1),
    ('conv: distance of the kernels', 'product.cuh', 'p % ow * stride', 'p % ow', 1),
    ('conv: first map always', 'product.cuh', 'x + (int)r / (oh * ow) *', 'x + 0 *', 1),
    ('upscale: rows and columns swapped', 'product.cuh', '(d / 2) * 2 * w + d % 2', '(d % 2) * 2 * w + d / 2', 1),
    ('relpos: queries read before they are there', 'relpos.cu', BARRIER, '', 1),
    ('relpos: keys overwrite values', 'relpos.cu', BARRIER, '', 2),
    ('relpos: keys read before they are there', 'relpos.cu', BARRIER, '', 3),
    ('relpos: values overwrite keys', 'relpos.cu', BARRIER, '', 4),
    ('relpos: values read before they are there', 'relpos.cu', BARRIER, '', 5),
    ('relpos: padding is zero', 'relpos.cu', ': pad[at]', ': 0.0f', 1),
    ('relpos: keys beyond the end count', 'relpos.cu', 'k0 + tx + 16 * j < n ?', 'k0 + tx + 16 * j <= n ?', 1),
    ('relpos: old sum not scaled', 'relpos.cu', 'acc[i][j] *= old;', ';', 1),
    ('relpos: shared memory of one row too few', 'relpos.cu', 'rh + QUERIES * sh;', 'rh + QUERIES * (sh + 1);', 1),
    ('relpos: maximum of half a group', 'relpos.cu', 'group_max(high, 8)', 'group_max(high, 4)', 1),
    ('relpos: sum in a branch', 'relpos.cu', 'group_sum(sum, 8)', '(tx < 8 ? group_sum(sum, 8) : sum)', 1),
    ('attention: a key left out', 'attention.cu', 'j < nk; j++', 'j + 1 < nk; j++', 1),
    ('attention: scale of the wrong size', 'attention.cu', '1.0f / sqrtf((float)hd)', '1.0f / sqrtf((float)Dims)', 1),
    ('attention: barrier of the merge missing', 'attention.cu', BARRIER, '', 1),
    ('attention: last barrier missing', 'attention.cu', BARRIER, '', 2),
    ('attention: empty threads counted', 'attention.cu', '|| tops[t + half] == -INF', '', 1),
    ('attention: values of another prompt', 'attention.cu', 'v += p * vstep', 'v += p * kstep', 1),
    ('layer norm: sum of half a warp', 'rows.cu', 'group_sum(sum, 16)', 'group_sum(sum, 8)', 1),
    ('layer norm: no epsilon', 'rows.cu', ' + (float)eps', '', 1),
    ('layer norm: barrier-free early end', 'rows.cu', 'if (row >= rows) return;', 'if (row > rows) return;', 1),
    ('add: not repeated', 'rows.cu', 'y[i % period]', 'y[i]', 1),
    ('tokens: one head too many', 'rows.cu', 'j < nhead ?', 'j <= nhead ?', 1),
    ('pick: first row always', 'rows.cu', 'which[r % count]', 'which[0]', 1),
    ('masks: fifth mask at the first one\'s place', 'rows.cu', 'first + j) * n', 'j) * n', 1),
    ('floor: any prompt for all', 'rows.cu', 'quality + i / (count * size) * all', 'quality', 1),
    ('floor: the last mask decides', 'rows.cu', 'keep = keep || q', 'keep = q', 1),
    ('points: half a pixel', 'prompt.cu', 'pt[0] + 0.5f', 'pt[0]', 1),
    ('points: label outside', 'prompt.cu', 'label < labels)', 'label <= labels)', 1),
    ('bilinear: no edge', 'map.cu', 'y1 < h ? y1 : h - 1', 'y1', 1),
    ('bilinear: rows and columns swapped', 'map.cu', 'x0 - 1 + px % 2 * 2', 'x0 - 1 + py % 2 * 2', 1),
    ('channel sums: barrier missing', 'map.cu', BARRIER, '', 1),
    ('channel sums: a part left out', 'map.cu', 'i < 8; i++', 'i < 7; i++', 1),
    ('channel sums: rows counted twice', 'map.cu', 'r += 8', 'r += 4', 1),
    ('channel scale: first part alone', 'map.cu', 'p < parts; p++', 'p < 1; p++', 1),
    ('channel scale: no epsilon', 'map.cu', 'v + (float)eps', 'v', 1),
    ('skip: crop at the beginning', 'map.cu', 'r * b + first + k - a', 'r * b + k - a', 1),
    ('depthwise: left edge', 'map.cu', 'xx >= 0 && xx < w) sum', 'xx < w) sum', 1),
    ('depthwise: stride of rows', 'map.cu', 'i / c / ow * stride', 'i / c / ow', 1),
    ('offsets: keys beyond the map', 'map.cu', 'left + kx < w ? qkv', 'left + kx <= w ? qkv', 1),
    ('offsets: rows and columns swapped', 'map.cu', 'bias[dy * side + dx]', 'bias[dx * side + dy]', 1),
    ('offsets: the first head\'s biases', 'map.cu', 'bias += blockIdx.y * side * side;', '', 1),
    ('offsets: old sum not scaled', 'map.cu', 'fmaf(e, v[d], acc[d] * old)', 'fmaf(e, v[d], acc[d])', 1),
    ('offsets: a key left out', 'map.cu', 'j < side * side; j++', 'j + 1 < side * side; j++', 1),
    ('offsets: queries beyond the map', 'map.cu', 'left + qx >= w) return', 'left + qx > w) return', 1),
    ('cut: last columns', 'cut.cu', 'if (x < w) {', 'if (x + 1 < w) {', 1),
    ('cut: another plane', 'cut.cu', 'planes[p] * lh * lw', 'p * lh * lw', 1),
    ('cut: rows of the input plane', 'cut.cu', 'down2.index[r * h + y]', 'down2.index[y]', 1),
    ('cut: axes one after the other', 'cut.cu', 'across2.index + 2 * w', 'across2.index + w', 1),
    ('cut: threshold of the count', 'cut.cu', 'v > (float)hi', 'v > (float)mid', 1),
    ('cut: counts of another plane', 'cut.cu', 'above + 2 * p,', 'above,', 1),
    ('tensor product: waits for one group too few', 'tensor.cu', 'copy_wait<Stages - 2>', 'copy_wait<Stages - 1>', 1),
    ('tensor product: barrier missing', 'tensor.cu', BARRIER, '', 1),
    ('tensor product: result over the last stage', 'tensor.cu', BARRIER, '', 2),
    ('tensor product: result read too early', 'tensor.cu', BARRIER, '', 3),
    ('tensor product: stage overwritten', 'tensor.cu', 'load(step + Stages - 1);', 'load(step + Stages);', 1),
    ('tensor product: one row too far', 'product.cuh', 'r < m ? a + r * k', 'r <= m ? a + r * k', 1),
    ('tensor product: columns of the weight', 'tensor.cu', 'r < n && kk < k ?', 'r < n ?', 1),
    ('tensor: registers swapped', 'tensor.cuh', 'a[1] = pack(below[0], below[1]);', 'a[1] = pack(p[8], p[9]);', 1),
    ('tensor: TF32 registers swapped', 'tensor.cuh', 'a[2] = to_tf32(p[4]);', 'a[2] = to_tf32(p[8 * pitch]);', 1),
    ('tensor: halves swapped', 'tensor_relpos.cu', 'pack(v[0], v[1])', 'pack(v[1], v[0])', 1),
    ('tensor relpos: queries read too early', 'tensor_relpos.cu', BARRIER, '', 1),
    ('tensor relpos: keys overwritten', 'tensor_relpos.cu', BARRIER, '', 2),
    ('tensor relpos: keys read too early', 'tensor_relpos.cu', BARRIER, '', 3),
    ('tensor relpos: maximum of a pair', 'tensor_relpos.cu', 'group_max(high[r], 2)', 'group_max(high[r], 1)', 1),
    ('tensor relpos: old sum not scaled', 'tensor_relpos.cu', 'acc[i][e] *= old[e >> 1];', ';', 1),
    ('tensor relpos: channels beyond the head', 'tensor_relpos.cu', 'if (d + i < hd) v', 'v', 1),
]


def found(name, file, old, new, occurrence, include, library, test):
    """Whether the tests fail with the mutation."""
    work = tempfile.mkdtemp()
    try:
        kernels, lib = os.path.join(work, 'kern'), os.path.join(work, 'lib')
        shutil.copytree(KERNELS, kernels)
        shutil.copytree(library, lib)
        path = os.path.join(kernels, file)
        with open(path) as f:
            text = f.read()
        at = -1
        for _ in range(occurrence):
            at = text.find(old, at + 1)
            if at < 0:
                sys.exit('mutate.py: %s: not in %s: %r' % (name, file, old))
        with open(path, 'w') as f:
            f.write(text[:at] + new + text[at + len(old):])
        build = subprocess.run([os.path.join(HERE, 'build.sh'), include, lib, kernels], capture_output=True, text=True,
                               env=dict(os.environ, OPTIMISE='-O1'))
        if build.returncode:
            sys.exit('mutate.py: %s: does not compile:\n%s' % (name, build.stderr))
        env = dict(os.environ, LD_LIBRARY_PATH=lib, STANDIN_SHUFFLE='7', SAM_CUDA='1')
        return subprocess.run(test, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=120).returncode != 0
    finally:
        shutil.rmtree(work)


def main():
    include, library, test = sys.argv[1], sys.argv[2], sys.argv[3:]
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda m: found(*m, include, library, test), MUTATIONS))
    missed = [m[0] for m, ok in zip(MUTATIONS, results) if not ok]
    for name in missed:
        print('not found: %s' % name)
    print('%d of %d mutations found' % (len(MUTATIONS) - len(missed), len(MUTATIONS)))
    sys.exit(1 if missed else 0)


main()
