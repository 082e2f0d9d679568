// prompt.cu: encodings of positions.
#include "device.cuh"

// Channel j of the random-Fourier encoding of a point with coordinates in
// [0, 1]: sines, then cosines, of 2π times its projections on g [2, c/2].
// Arguments are rounded as upstream's are: no fused operations.
__device__ __forceinline__ float fourier(float x, float y, const float* g, i64 j, i64 c) {
  i64 f = c / 2, i = j % f;
  float cx = 2 * x - 1, cy = 2 * y - 1;
  float a = __fmul_rn(__fadd_rn(__fmul_rn(cx, g[i]), __fmul_rn(cy, g[f + i])), 6.283185307179586f);
  return (float)(j < f ? sin((double)a) : cos((double)a));
}

// Tokens [n/c, c] of points, rows (x, y, label). Label -1 is padding, the
// table's first row; label i adds row i+1 of the labels+1 rows to the encoding. A label
// outside gives NaN: the host has checked them.
extern "C" __global__ void __launch_bounds__(256) points(float* out, const float* points, const float* g, const float* table, i64 labels,
                                                         i64 c, i64 size, i64 n) {
  i64 i = global_index();
  if (i >= n) return;
  const float* pt = points + i / c * 3;
  i64 j = i % c, label = (i64)pt[2];
  if (!(pt[2] >= -1 && label < labels)) out[i] = NOT_A_NUMBER;
  else if (label == -1) out[i] = table[j];
  else out[i] = fourier((pt[0] + 0.5f) / (float)size, (pt[1] + 0.5f) / (float)size, g, j, c) + table[(label + 1) * c + j];
}

// The encoding of the centre of each cell of a map [h*w, c].
extern "C" __global__ void __launch_bounds__(256) dense_positions(float* out, const float* g, i64 h, i64 w, i64 c, i64 n) {
  i64 i = global_index();
  if (i >= n) return;
  i64 p = i / c;
  out[i] = fourier(((float)(p % w) + 0.5f) / (float)w, ((float)(p / w) + 0.5f) / (float)h, g, i % c, c);
}
