// tensor_relpos.cu: relpos_attention on tensor cores.
#include "tensor.cuh"

// As relpos_attention of relpos.cu, with products of 16-bit values; heads of
// up to Dims channels, the missing ones are zeros. 4 warps with 16 queries
// each, 64 keys at a time. Dynamic shared memory: (64 + 64) * (Dims+8) +
// Dims * 72 values of 16 bits, and 64 * (sh+sw) floats.
template <class Format, int Dims>
__device__ __forceinline__ void tensor_relpos(float* out, const float* qkv, const float* relh, const float* relw, const float* pad, i64 H, i64 W,
                                              i64 sh, i64 sw, i64 heads, i64 hd) {
  typedef unsigned short Half;
  const int Rows = 64, Pitch = Dims + 8, PitchV = Rows + 8;
  DYNAMIC_SHARED(Half, shared);
  Half *qs = shared, *ks = qs + Rows * Pitch, *vs = ks + Rows * Pitch; // vs is transposed: [Dims, PitchV]
  float *rh = (float*)(vs + Dims * PitchV), *rw = rh + Rows * sh;
  const int t = threadIdx.x, lane = t & 31, g = lane >> 2, q = lane & 3, own = (t >> 5) * 16, n = (int)(sh * sw), head = blockIdx.y;
  const int across = (int)((W + sw - 1) / sw), q0 = blockIdx.x * Rows;
  const i64 y0 = blockIdx.z / across * sh, x0 = blockIdx.z % across * sw;

  // Channels d and d+1 of part 0, 1 or 2 of a token; 0 where there are none.
  auto pair = [&](int token, int d, int part) {
    float v[2] = {0, 0};
    if (token < n) {
      i64 y = y0 + token / sw, x = x0 + token % sw, at = (part * heads + head) * hd + d;
      const float* p = y < H && x < W ? qkv + (y * W + x) * 3 * heads * hd + at : pad + at;
      for (int i = 0; i < 2; i++)
        if (d + i < hd) v[i] = p[i];
    }
    return Format::pack(v[0], v[1]);
  };
  auto load = [&](Half* s, int first, int part) {
    for (int i = t; i < Rows * Dims / 2; i += 128) {
      int a = i / (Dims / 2), d = i % (Dims / 2) * 2;
      *(unsigned*)(s + a * Pitch + d) = pair(first + a, d, part);
    }
  };
  auto load_transposed = [&](int first) {
    for (int i = t; i < Rows * Dims / 2; i += 128) {
      int a = i / (Dims / 2), d = i % (Dims / 2) * 2;
      unsigned v = pair(first + a, d, 2);
      vs[d * PitchV + a] = (Half)v;
      vs[(d + 1) * PitchV + a] = (Half)(v >> 16);
    }
  };

  load(qs, q0, 0);
  __syncthreads();
  for (int i = t; i < Rows * (int)(sh + sw); i += 128) {
    int a = i / (int)(sh + sw), j = i % (int)(sh + sw), token = q0 + a < n ? q0 + a : n - 1;
    const float* e = j < sh ? relh + (token / sw - j + sh - 1) * hd : relw + (token % sw - (j - sh) + sw - 1) * hd;
    float v = 0;
    for (int d = 0; d < hd; d++) v = fmaf(Format::unpack(qs[a * Pitch + d]), e[d], v);
    if (j < sh) rh[a * sh + j] = v;
    else rw[a * sw + j - sh] = v;
  }

  const float scale = 1.0f / sqrtf((float)hd);
  float acc[Dims / 8][4] = {}, top[2] = {-INF, -INF}, weight[2] = {0, 0}; // of rows g and g+8
  for (int k0 = 0; k0 < n; k0 += Rows) {
    __syncthreads();
    load(ks, k0, 1);
    load_transposed(k0);
    __syncthreads();
    float s[8][4] = {};
#pragma unroll
    for (int d = 0; d < Dims; d += 16) {
      unsigned a[4];
      const Half* p = qs + (own + g) * Pitch + d + 2 * q;
      a[0] = *(const unsigned*)p;
      a[1] = *(const unsigned*)(p + 8 * Pitch);
      a[2] = *(const unsigned*)(p + 8);
      a[3] = *(const unsigned*)(p + 8 * Pitch + 8);
#pragma unroll
      for (int j = 0; j < 8; j++) {
        unsigned b[2];
        Format::right(b, ks + j * 8 * Pitch + d, Pitch, g, q);
        Format::multiply(s[j], a, b);
      }
    }
    float high[2] = {-INF, -INF};
#pragma unroll
    for (int j = 0; j < 8; j++)
#pragma unroll
      for (int e = 0; e < 4; e++) {
        int key = k0 + j * 8 + 2 * q + (e & 1), row = own + g + (e >> 1) * 8;
        s[j][e] = key < n ? s[j][e] * scale + rh[row * sh + key / (int)sw] + rw[row * sw + key % (int)sw] : -INF;
        high[e >> 1] = fmaxf(high[e >> 1], s[j][e]);
      }
    float next[2], old[2], sum[2] = {0, 0};
#pragma unroll
    for (int r = 0; r < 2; r++) {
      next[r] = fmaxf(top[r], group_max(high[r], 2));
      old[r] = expf(top[r] - next[r]);
      top[r] = next[r];
    }
#pragma unroll
    for (int j = 0; j < 8; j++)
#pragma unroll
      for (int e = 0; e < 4; e++) {
        s[j][e] = expf(s[j][e] - next[e >> 1]);
        sum[e >> 1] += s[j][e];
      }
#pragma unroll
    for (int r = 0; r < 2; r++) weight[r] = weight[r] * old[r] + group_sum(sum[r], 2);
#pragma unroll
    for (int i = 0; i < Dims / 8; i++)
#pragma unroll
      for (int e = 0; e < 4; e++) acc[i][e] *= old[e >> 1];
#pragma unroll
    for (int j = 0; j < 8; j += 2) { // 16 keys: scores of two tiles are the left side of one product
      unsigned a[4] = {Format::pack(s[j][0], s[j][1]), Format::pack(s[j][2], s[j][3]), Format::pack(s[j + 1][0], s[j + 1][1]),
                       Format::pack(s[j + 1][2], s[j + 1][3])};
#pragma unroll
      for (int i = 0; i < Dims / 8; i++) {
        unsigned b[2];
        Format::right(b, vs + i * 8 * PitchV + j * 8, PitchV, g, q);
        Format::multiply(acc[i], a, b);
      }
    }
  }
#pragma unroll
  for (int r = 0; r < 2; r++) {
    int token = q0 + own + g + 8 * r;
    i64 y = y0 + token / sw, x = x0 + token % sw;
    if (token >= n || y >= H || x >= W) continue;
#pragma unroll
    for (int i = 0; i < Dims / 8; i++)
#pragma unroll
      for (int e = 0; e < 2; e++) {
        int d = i * 8 + 2 * q + e;
        if (d < hd) out[((y * W + x) * heads + head) * hd + d] = acc[i][2 * r + e] / weight[r];
      }
  }
}

#define TENSOR_RELPOS(suffix, Format, dims)                                                                                             \
  extern "C" __global__ void __launch_bounds__(128)                                                                                     \
      tensor_relpos_##suffix##_##dims(float* out, const float* qkv, const float* relh, const float* relw, const float* pad, i64 H, i64 W, \
                                      i64 sh, i64 sw, i64 heads, i64 hd) {                                                              \
    tensor_relpos<Format, dims>(out, qkv, relh, relw, pad, H, W, sh, sw, heads, hd);                                                    \
  }
TENSOR_RELPOS(bf16, Bf16, 64)
TENSOR_RELPOS(bf16, Bf16, 80)
TENSOR_RELPOS(f16, F16, 64)
TENSOR_RELPOS(f16, F16, 80)
