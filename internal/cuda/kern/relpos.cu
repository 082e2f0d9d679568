// relpos.cu: the image encoder's attention.
#include "device.cuh"

#define QUERIES 32  // of a block
#define KEYS 64     // at a time
#define OWN_DIMS 8  // of a thread at most: heads of up to 128 channels

// Attention with decomposed relative positions over windows of sh x sw tokens
// of a map [H*W, 3*heads*hd], softmax block by block. Tokens are in picture
// order; those of a window that lie outside the picture have the query, key
// and value pad. relh is [2*sh-1, hd], relw [2*sw-1, hd].
//
// Grid (query tiles of a window, heads, windows), 128 threads: 16 for each 4
// queries, of which a thread makes the scores with every 16th key and every
// 16th channel of the result. Dynamic shared memory:
// (32 + 64) * (hd+1) + 32*65 + 32 * (sh+sw) floats.
extern "C" __global__ void __launch_bounds__(128) relpos_attention(float* out, const float* qkv, const float* relh, const float* relw,
                                                                   const float* pad, i64 H, i64 W, i64 sh, i64 sw, i64 heads, i64 hd) {
  DYNAMIC_SHARED(float, shared);
  const int pitch = (int)hd + 1, n = (int)(sh * sw), head = blockIdx.y;
  float* qs = shared;                 // [QUERIES, pitch]
  float* kv = qs + QUERIES * pitch;   // [KEYS, pitch]: keys, then values
  float* ps = kv + KEYS * pitch;      // [QUERIES, KEYS+1]
  float* rh = ps + QUERIES * (KEYS + 1); // [QUERIES, sh]: products with relh
  float* rw = rh + QUERIES * sh;      // [QUERIES, sw]
  const int t = threadIdx.x, tx = t & 15, row = (t >> 4) * 4, across = (int)((W + sw - 1) / sw);
  const i64 y0 = blockIdx.z / across * sh, x0 = blockIdx.z % across * sw;

  // Part 0, 1 or 2 (query, key, value) of count tokens from first on.
  auto load = [&](float* s, int first, int count, int part) {
    for (int i = t; i < count * hd; i += 128) {
      int a = i / (int)hd, d = i % (int)hd, token = first + a;
      float v = 0;
      if (token < n) {
        i64 y = y0 + token / sw, x = x0 + token % sw, at = (part * heads + head) * hd + d;
        v = y < H && x < W ? qkv[(y * W + x) * 3 * heads * hd + at] : pad[at];
      }
      s[a * pitch + d] = v;
    }
  };

  const int q0 = blockIdx.x * QUERIES;
  load(qs, q0, QUERIES, 0);
  __syncthreads();
  for (int i = t; i < QUERIES * (int)(sh + sw); i += 128) {
    int a = i / (int)(sh + sw), j = i % (int)(sh + sw), token = q0 + a < n ? q0 + a : n - 1;
    const float* e = j < sh ? relh + (token / sw - j + sh - 1) * hd : relw + (token % sw - (j - sh) + sw - 1) * hd;
    float v = 0;
    for (int d = 0; d < hd; d++) v = fmaf(qs[a * pitch + d], e[d], v);
    if (j < sh) rh[a * sh + j] = v;
    else rw[a * sw + j - sh] = v;
  }

  const float scale = 1.0f / sqrtf((float)hd);
  float acc[4][OWN_DIMS] = {}, top[4], weight[4];
  for (int i = 0; i < 4; i++) top[i] = -INF, weight[i] = 0;
  for (int k0 = 0; k0 < n; k0 += KEYS) {
    __syncthreads(); // the last values are used, the products written
    load(kv, k0, KEYS, 1);
    __syncthreads();
    float s[4][4] = {};
    for (int d = 0; d < hd; d++) {
      float q[4], k[4];
#pragma unroll
      for (int i = 0; i < 4; i++) q[i] = qs[(row + i) * pitch + d], k[i] = kv[(tx + 16 * i) * pitch + d];
#pragma unroll
      for (int i = 0; i < 4; i++)
#pragma unroll
        for (int j = 0; j < 4; j++) s[i][j] = fmaf(q[i], k[j], s[i][j]);
    }
    int ky[4], kx[4];
#pragma unroll
    for (int j = 0; j < 4; j++) ky[j] = (k0 + tx + 16 * j) / (int)sw, kx[j] = (k0 + tx + 16 * j) % (int)sw;
#pragma unroll
    for (int i = 0; i < 4; i++) {
      float high = -INF;
#pragma unroll
      for (int j = 0; j < 4; j++) {
        s[i][j] = k0 + tx + 16 * j < n ? s[i][j] * scale + rh[(row + i) * sh + ky[j]] + rw[(row + i) * sw + kx[j]] : -INF;
        high = fmaxf(high, s[i][j]);
      }
      float next = fmaxf(top[i], group_max(high, 8)), old = expf(top[i] - next), sum = 0;
#pragma unroll
      for (int j = 0; j < 4; j++) {
        float e = expf(s[i][j] - next);
        ps[(row + i) * (KEYS + 1) + tx + 16 * j] = e;
        sum += e;
      }
      weight[i] = weight[i] * old + group_sum(sum, 8);
      top[i] = next;
#pragma unroll
      for (int j = 0; j < OWN_DIMS; j++) acc[i][j] *= old;
    }
    __syncthreads(); // the keys are used
    load(kv, k0, KEYS, 2);
    __syncthreads();
    for (int c = 0; c < KEYS; c++) {
      float p[4];
#pragma unroll
      for (int i = 0; i < 4; i++) p[i] = ps[(row + i) * (KEYS + 1) + c];
#pragma unroll
      for (int j = 0; j < OWN_DIMS; j++) {
        if (tx + 16 * j >= hd) break;
        float v = kv[c * pitch + tx + 16 * j];
#pragma unroll
        for (int i = 0; i < 4; i++) acc[i][j] = fmaf(p[i], v, acc[i][j]);
      }
    }
  }
#pragma unroll
  for (int i = 0; i < 4; i++) {
    int token = q0 + row + i;
    i64 y = y0 + token / sw, x = x0 + token % sw;
    if (token >= n || y >= H || x >= W) continue;
#pragma unroll
    for (int j = 0; j < OWN_DIMS; j++)
      if (tx + 16 * j < hd) out[((y * W + x) * heads + head) * hd + tx + 16 * j] = acc[i][j] / weight[i];
  }
}
