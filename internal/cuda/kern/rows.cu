// rows.cu: norms, and what moves or adds rows of channels. Kernels with a
// parameter n have one thread for each of n values of the result.
#include "device.cuh"

// The layer norm of rows of c channels: a warp for each row, mean and
// deviations in two passes. y may be x.
extern "C" __global__ void __launch_bounds__(128) layer_norm(float* y, const float* x, const float* gamma, const float* beta, i64 rows, i64 c,
                                                             double eps, i64 act) {
  i64 row = global_index() >> 5;
  if (row >= rows) return;
  int lane = threadIdx.x & 31;
  x += row * c;
  y += row * c;
  float sum = 0, squares = 0;
  for (i64 i = lane; i < c; i += 32) sum += x[i];
  float mean = group_sum(sum, 16) / c;
  for (i64 i = lane; i < c; i += 32) {
    float d = x[i] - mean;
    squares = fmaf(d, d, squares);
  }
  float r = 1.0f / sqrtf(group_sum(squares, 16) / c + (float)eps);
  for (i64 i = lane; i < c; i += 32) y[i] = activate((x[i] - mean) * r * gamma[i] + beta[i], act);
}

// y = act(x); y may be x.
extern "C" __global__ void __launch_bounds__(256) activation(float* y, const float* x, i64 act, i64 n) {
  i64 i = global_index();
  if (i < n) y[i] = activate(x[i], act);
}

// out = x + y, where y's period values repeat; out may be x.
extern "C" __global__ void __launch_bounds__(256) add_rows(float* out, const float* x, const float* y, i64 period, i64 n) {
  i64 i = global_index();
  if (i < n) out[i] = x[i] + y[i % period];
}

// The same values head before the own values of each prompt.
extern "C" __global__ void __launch_bounds__(256) tokens(float* out, const float* head, const float* own, i64 nhead, i64 nown, i64 n) {
  i64 i = global_index();
  if (i >= n) return;
  i64 p = i / (nhead + nown), j = i % (nhead + nown);
  out[i] = j < nhead ? head[j] : own[p * nown + j - nhead];
}

// The count rows which of each block of rows rows of c channels.
extern "C" __global__ void __launch_bounds__(256) pick(float* out, const float* x, const int* which, i64 rows, i64 count, i64 c, i64 n) {
  i64 i = global_index();
  if (i >= n) return;
  i64 r = i / c;
  out[i] = x[(r / count * rows + which[r % count]) * c + i % c];
}

// Up to 4 of the masks of each prompt: the products of its rows [B, c] of h0
// to h3 with its n rows of up [B*n, c]. They are masks first to first+count-1
// of masks. Grid (tiles of 256 rows, prompts).
extern "C" __global__ void __launch_bounds__(256) mask_products(float* out, const float* up, const float* h0, const float* h1, const float* h2,
                                                                const float* h3, i64 first, i64 count, i64 masks, i64 n, i64 c) {
  i64 i = global_index(), p = blockIdx.y;
  if (i >= n) return;
  const float* h[4] = {h0 + p * c, h1 + p * c, h2 + p * c, h3 + p * c};
  float sum[4] = {};
  up += (p * n + i) * c;
  for (i64 k = 0; k < c; k++) {
    float x = up[k];
#pragma unroll
    for (int j = 0; j < 4; j++)
      if (j < count) sum[j] = fmaf(x, h[j][k], sum[j]);
  }
#pragma unroll
  for (int j = 0; j < 4; j++)
    if (j < count) out[(p * masks + first + j) * n + i] = sum[j];
}

// The n values of the masks of each prompt, or zeros if floor[0] is positive
// and the quality of none of them, columns which of quality [B, all], exceeds
// it. A prompt has count masks, of size values each; out may be x.
extern "C" __global__ void __launch_bounds__(256) quality_floor(float* out, const float* x, const float* quality, const float* floor,
                                                                const int* which, i64 count, i64 all, i64 size, i64 n) {
  i64 i = global_index();
  if (i >= n) return;
  const float* q = quality + i / (count * size) * all;
  bool keep = !(floor[0] > 0);
  for (i64 j = 0; j < count; j++) keep = keep || q[which[j]] > floor[0];
  out[i] = keep ? x[i] : 0.0f;
}
