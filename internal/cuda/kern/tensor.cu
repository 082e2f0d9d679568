// tensor.cu: matrix products on tensor cores.
#include "tensor.cuh"

// The product of a source's rows with w [n, k], transposed. A block of 8 warps
// makes 128 x 128 of the result, each warp 64 x 32 of it, 32 columns of the
// source at a time, which are on their way some stages ahead. k is a multiple
// of 8, and all addresses of 16 bytes. Dynamic shared memory: for each stage
// 128 * 36 floats and 128 rows of 36 floats or 40 weights of 16 bits.
template <class Format, class Source, class Target>
__device__ __forceinline__ void tensor_product(const Source& source, const typename Format::Weight* w, const Target& target, i64 m, i64 n, i64 k) {
  typedef typename Format::Weight Weight;
  const int Tile = 128, Step = 32, Pitch = Step + 4, Chunk = 16 / sizeof(Weight), PitchW = Step + (sizeof(Weight) == 4 ? 4 : 8);
  const int Stages = Format::Stages, StageBytes = Tile * (Pitch * 4 + PitchW * (int)sizeof(Weight)), Loads = Tile * Step / 4 / 256;
  DYNAMIC_SHARED(unsigned char, shared);
  const int t = threadIdx.x, lane = t & 31, g = lane >> 2, q = lane & 3, warp = t >> 5, wm = (warp >> 2) * 64, wn = (warp & 3) * 32;
  const i64 row0 = (i64)blockIdx.y * Tile, col0 = (i64)blockIdx.x * Tile;
  typename Source::Row rows[Loads];
#pragma unroll
  for (int i = 0; i < Loads; i++) rows[i] = source.row(row0 + t / 8 + 32 * i);

  auto load = [&](int step) {
    if ((i64)step * Step < k) {
      float* as = (float*)(shared + step % Stages * StageBytes);
      Weight* ws = (Weight*)(as + Tile * Pitch);
      i64 k0 = (i64)step * Step;
#pragma unroll
      for (int i = 0; i < Loads; i++) copy_begin(as + (t / 8 + 32 * i) * Pitch + t % 8 * 4, source.from(rows[i], k0 + t % 8 * 4), w);
      for (int i = t; i < Tile * Step / Chunk; i += 256) {
        i64 r = col0 + i / (Step / Chunk), kk = k0 + i % (Step / Chunk) * Chunk;
        copy_begin(ws + i / (Step / Chunk) * PitchW + i % (Step / Chunk) * Chunk, r < n && kk < k ? w + r * k + kk : 0, w);
      }
    }
    copy_commit(); // also without copies, so that groups can be counted
  };

  float sum[4][4][4] = {};
  for (int s = 0; s < Stages - 1; s++) load(s);
  for (int step = 0; (i64)step * Step < k; step++) {
    copy_wait<Stages - 2>();
    __syncthreads(); // this step has arrived, and the one before is used
    load(step + Stages - 1);
    const float* as = (const float*)(shared + step % Stages * StageBytes);
    const Weight* ws = (const Weight*)(as + Tile * Pitch);
#pragma unroll
    for (int kk = 0; kk < Step; kk += Format::Depth) {
      unsigned a[4][4], b[4][2];
#pragma unroll
      for (int i = 0; i < 4; i++) {
        Format::left(a[i], as + (wm + i * 16) * Pitch + kk, Pitch, g, q);
        Format::right(b[i], ws + (wn + i * 8) * PitchW + kk, PitchW, g, q);
      }
#pragma unroll
      for (int i = 0; i < 4; i++)
#pragma unroll
        for (int j = 0; j < 4; j++) Format::multiply(sum[i][j], a[i], b[j]);
    }
  }
  // By way of shared memory, so that rows are written as wholes.
  const int PitchC = Tile + 4;
  float* cs = (float*)shared;
  copy_wait<0>();
  __syncthreads();
#pragma unroll
  for (int i = 0; i < 8; i++)
#pragma unroll
    for (int j = 0; j < 8; j++)
      cs[(wm + i / 2 * 16 + g + i % 2 * 8) * PitchC + wn + j / 2 * 8 + q * 2 + j % 2] = sum[i / 2][j / 2][i % 2 * 2 + j % 2];
  __syncthreads();
#pragma unroll 4
  for (int i = t; i < Tile * Tile; i += 256) {
    i64 r = row0 + i / Tile, c = col0 + i % Tile;
    if (r < m && c < n) target.put(target.row(r), target.column(c), cs[i / Tile * PitchC + i % Tile]);
  }
}

// As linear_64 and conv of product.cu.
#define TENSOR_PRODUCTS(suffix, Format)                                                                                                    \
  extern "C" __global__ void __launch_bounds__(256) tensor_linear_##suffix(float* c, const float* a, const Format::Weight* w, const float* bias, \
                                                                           const float* add, i64 m, i64 n, i64 k, i64 act, i64 addrows) {   \
    tensor_product<Format>(RowSource{a, m, k}, w, RowTarget{c, bias, add, n, act, addrows}, m, n, k);                                       \
  }                                                                                                                                        \
  extern "C" __global__ void __launch_bounds__(256) tensor_conv_##suffix(                                                                   \
      float* c, const float* x, const Format::Weight* w, const float* bias, const float* add, i64 h, i64 wide, i64 in, i64 out, i64 size,   \
      i64 stride, i64 pad, i64 oh, i64 ow, i64 m, i64 act, i64 addrows) {                                                                   \
    KernelSource source{x, (int)h, (int)wide, (int)in, (int)size, (int)stride, (int)pad, (int)oh, (int)ow, m};                              \
    tensor_product<Format>(source, w, RowTarget{c, bias, add, out, act, addrows}, m, out, size * size * in);                                \
  }
TENSOR_PRODUCTS(tf32, Tf32)
TENSOR_PRODUCTS(bf16, Bf16)
TENSOR_PRODUCTS(f16, F16)
