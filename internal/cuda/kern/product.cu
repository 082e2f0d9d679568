// product.cu: matrix products in fp32.
#include "product.cuh"

// The product of a source's rows with w [n, k], transposed. A block of 256
// threads makes Tile x Tile of the result, each thread (Tile/16) squared in
// groups of 4 rows and columns, Step columns of the source at a time. The next
// step's values are on their way while this one's are used.
template <int Tile, class Source, class Target>
__device__ __forceinline__ void product(const Source& source, const float* w, const Target& target, i64 m, i64 n, i64 k) {
  const int Step = 16, Own = Tile / 16, Pitch = Tile + 4, Loads = Tile * Step / 256;
  SHARED(float, as, Step * Pitch);
  SHARED(float, ws, Step * Pitch);
  int t = threadIdx.x, tx = t & 15, ty = t >> 4;
  i64 row0 = (i64)blockIdx.y * Tile, col0 = (i64)blockIdx.x * Tile;
  float sum[Own][Own] = {}, a[Loads], b[Loads];
  typename Source::Row rows[Loads];
#pragma unroll
  for (int i = 0; i < Loads; i++) rows[i] = source.row(row0 + ty + 16 * i);
  RowSource weights{w, n, k};
  auto fetch = [&](i64 k0) {
#pragma unroll
    for (int i = 0; i < Loads; i++) {
      const float *x = source.from(rows[i], k0 + tx), *y = weights.from(weights.row(col0 + ty + 16 * i), k0 + tx);
      a[i] = x ? *x : 0.0f;
      b[i] = y ? *y : 0.0f;
    }
  };
  fetch(0);
  for (i64 k0 = 0; k0 < k; k0 += Step) {
#pragma unroll
    for (int i = 0; i < Loads; i++) {
      as[tx * Pitch + ty + 16 * i] = a[i];
      ws[tx * Pitch + ty + 16 * i] = b[i];
    }
    __syncthreads();
    if (k0 + Step < k) fetch(k0 + Step);
#pragma unroll
    for (int kk = 0; kk < Step; kk++) {
      float x[Own], y[Own];
#pragma unroll
      for (int i = 0; i < Own; i++) {
        x[i] = as[kk * Pitch + (i / 4) * 64 + ty * 4 + i % 4];
        y[i] = ws[kk * Pitch + (i / 4) * 64 + tx * 4 + i % 4];
      }
#pragma unroll
      for (int i = 0; i < Own; i++)
#pragma unroll
        for (int j = 0; j < Own; j++) sum[i][j] = fmaf(x[i], y[j], sum[i][j]);
    }
    __syncthreads();
  }
#pragma unroll
  for (int i = 0; i < Own; i++) {
    i64 r = row0 + (i / 4) * 64 + ty * 4 + i % 4;
    if (r >= m) continue;
    typename Target::Row row = target.row(r);
#pragma unroll
    for (int j = 0; j < Own; j++) {
      i64 q = col0 + (j / 4) * 64 + tx * 4 + j % 4;
      if (q < n) target.put(row, target.column(q), sum[i][j]);
    }
  }
}

// c [m, n] = act(a [m, k] · w [n, k]ᵀ + bias) + add [addrows, n], repeated.
// Grid (columns, rows) in tiles; bias and add may be 0.
extern "C" __global__ void __launch_bounds__(256) linear_64(float* c, const float* a, const float* w, const float* bias, const float* add,
                                                            i64 m, i64 n, i64 k, i64 act, i64 addrows) {
  product<64>(RowSource{a, m, k}, w, RowTarget{c, bias, add, n, act, addrows}, m, n, k);
}

extern "C" __global__ void __launch_bounds__(256) linear_128(float* c, const float* a, const float* w, const float* bias, const float* add,
                                                             i64 m, i64 n, i64 k, i64 act, i64 addrows) {
  product<128>(RowSource{a, m, k}, w, RowTarget{c, bias, add, n, act, addrows}, m, n, k);
}

// act(a convolution of maps of h x wide pixels + bias) + add: w [out,
// size*size*in] in the order (y, x, channel), m pixels of all results, which
// have oh x ow each.
extern "C" __global__ void __launch_bounds__(256) conv(float* c, const float* x, const float* w, const float* bias, const float* add, i64 h,
                                                       i64 wide, i64 in, i64 out, i64 size, i64 stride, i64 pad, i64 oh, i64 ow, i64 m, i64 act,
                                                       i64 addrows) {
  KernelSource source{x, (int)h, (int)wide, (int)in, (int)size, (int)stride, (int)pad, (int)oh, (int)ow, m};
  product<64>(source, w, RowTarget{c, bias, add, out, act, addrows}, m, out, size * size * in);
}

// A transposed convolution of size and stride 2 of rows maps' rows of wide
// pixels, w [4*out, in], bias [4*out].
extern "C" __global__ void __launch_bounds__(256) upscale2x2(float* c, const float* x, const float* w, const float* bias, i64 rows, i64 wide,
                                                             i64 in, i64 out, i64 act) {
  product<64>(RowSource{x, rows * wide, in}, w, UpscaleTarget{c, bias, (int)wide, (int)out, act}, rows * wide, 4 * out, in);
}
