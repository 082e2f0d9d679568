// map.cu: what convolutional maps [h*w, c] need besides convolutions. Kernels
// with a parameter n have one thread for each of n values of the result.
#include "device.cuh"

// Twice the sides of a map [h*w, c], bilinearly: pixels are squares, and beyond
// the edge is what is at the edge.
extern "C" __global__ void __launch_bounds__(256) bilinear2x(float* out, const float* x, i64 h, i64 w, i64 c, i64 n) {
  i64 i = global_index();
  if (i >= n) return;
  i64 k = i % c, px = i / c % (2 * w), py = i / c / (2 * w);
  i64 y0 = py / 2, x0 = px / 2, y1 = y0 - 1 + py % 2 * 2, x1 = x0 - 1 + px % 2 * 2;
  y1 = y1 < 0 ? 0 : y1 < h ? y1 : h - 1;
  x1 = x1 < 0 ? 0 : x1 < w ? x1 : w - 1;
  float near = fmaf(0.75f, x[(y0 * w + x0) * c + k], 0.25f * x[(y1 * w + x0) * c + k]);
  float far = fmaf(0.75f, x[(y0 * w + x1) * c + k], 0.25f * x[(y1 * w + x1) * c + k]);
  out[i] = fmaf(0.75f, near, 0.25f * far);
}

// Sums and sums of squares of rows of c channels, sums [parts, 2, c]: a block
// for 32 channels of a part of the rows, with 8 threads for each channel. Grid
// (tiles of 32 channels, parts).
extern "C" __global__ void __launch_bounds__(256) channel_sums(double* sums, const float* x, i64 rows, i64 c, i64 perpart) {
  SHARED(double, found, 2 * 256);
  const int lane = threadIdx.x & 31, part = threadIdx.x >> 5;
  i64 k = (i64)blockIdx.x * 32 + lane, first = blockIdx.y * perpart, end = first + perpart < rows ? first + perpart : rows;
  double sum = 0, square = 0;
  if (k < c)
    for (i64 r = first + part; r < end; r += 8) {
      double v = x[r * c + k];
      sum += v;
      square += v * v;
    }
  found[threadIdx.x] = sum;
  found[256 + threadIdx.x] = square;
  __syncthreads();
  if (part || k >= c) return;
  for (int i = 1; i < 8; i++) {
    sum += found[32 * i + lane];
    square += found[256 + 32 * i + lane];
  }
  sums[(2 * blockIdx.y) * c + k] = sum;
  sums[(2 * blockIdx.y + 1) * c + k] = square;
}

// The factor and the summand [2, c] that bring a channel to mean 0 and variance
// 1, and then to gamma and beta, if they are not null: for kept statistics mean
// and variance, or, where those are null, for the sums of parts of rows rows.
extern "C" __global__ void __launch_bounds__(256) channel_scale(float* out, const double* sums, const float* mean, const float* variance,
                                                                const float* gamma, const float* beta, double eps, i64 parts, i64 rows, i64 n) {
  i64 k = global_index();
  if (k >= n) return;
  double m, v;
  if (mean) {
    m = mean[k];
    v = variance[k];
  } else {
    double sum = 0, square = 0;
    for (i64 p = 0; p < parts; p++) {
      sum += sums[2 * p * n + k];
      square += sums[(2 * p + 1) * n + k];
    }
    m = sum / rows;
    v = fmax(0.0, square / rows - m * m);
  }
  double a = 1 / sqrt(v + (float)eps), b = 0;
  if (gamma) {
    a *= gamma[k];
    b = beta[k];
  }
  out[k] = (float)a;
  out[n + k] = (float)(b - m * a);
}

// out = x times a factor plus a summand for each of c channels, scale [2, c];
// out may be x.
extern "C" __global__ void __launch_bounds__(256) scale_shift(float* out, const float* x, const float* scale, i64 c, i64 n) {
  i64 i = global_index();
  if (i < n) out[i] = x[i] * scale[i % c] + scale[c + i % c];
}

// The count channels of y [M, b] from first on beside the a of x [M, a].
extern "C" __global__ void __launch_bounds__(256) skip(float* out, const float* x, const float* y, i64 a, i64 b, i64 first, i64 count, i64 n) {
  i64 i = global_index();
  if (i >= n) return;
  i64 r = i / (a + count), k = i % (a + count);
  out[i] = k < a ? x[r * a + k] : y[r * b + first + k - a];
}

// 1/(1+exp(-x)); out may be x.
extern "C" __global__ void __launch_bounds__(256) sigmoid(float* out, const float* x, i64 n) {
  i64 i = global_index();
  if (i < n) out[i] = 1.0f / (1.0f + expf(-x[i]));
}

// A 3 x 3 convolution of each channel of a map [h*w, c] by itself, with zero
// padding 1: weight [9, c], bias [c]; ow columns of the result.
extern "C" __global__ void __launch_bounds__(256) depthwise(float* out, const float* x, const float* weight, const float* bias, i64 h, i64 w,
                                                            i64 c, i64 stride, i64 ow, i64 n) {
  i64 i = global_index();
  if (i >= n) return;
  i64 k = i % c, px = i / c % ow * stride - 1, py = i / c / ow * stride - 1;
  float sum = bias[k];
#pragma unroll
  for (int t = 0; t < 9; t++) {
    i64 y = py + t / 3, xx = px + t % 3;
    if (y >= 0 && y < h && xx >= 0 && xx < w) sum = fmaf(x[(y * w + xx) * c + k], weight[t * c + k], sum);
  }
  out[i] = sum;
}

// Attention within windows of side tokens of a map [h*w], with a bias [heads,
// side*side] for how many rows and columns lie between query and key: a thread
// for each query, which walks over all keys. Tokens beyond the map are keys,
// with the key and the value of pad [3*heads*hd]. Grid (query tiles of 128,
// heads, windows). Dims is the most channels of a head.
template <int Dims>
__device__ __forceinline__ void attend_offsets(float* out, const float* qkv, const float* bias, const float* pad, i64 h, i64 w, i64 side,
                                               i64 heads, i64 hd) {
  i64 i = global_index(), across = (w + side - 1) / side, width = heads * hd, at = blockIdx.y * hd;
  if (i >= side * side) return;
  i64 top = blockIdx.z / across * side, left = blockIdx.z % across * side, qy = i / side, qx = i % side;
  if (top + qy >= h || left + qx >= w) return;
  i64 own = (top + qy) * w + left + qx;
  bias += blockIdx.y * side * side;
  float q[Dims], acc[Dims] = {}, high = -INF, weight = 0, scale = 1.0f / sqrtf((float)hd);
#pragma unroll
  for (int d = 0; d < Dims; d++) q[d] = d < hd ? qkv[own * 3 * width + at + d] : 0.0f;
  for (i64 j = 0; j < side * side; j++) {
    i64 ky = j / side, kx = j % side, dy = ky < qy ? qy - ky : ky - qy, dx = kx < qx ? qx - kx : kx - qx;
    const float* row = top + ky < h && left + kx < w ? qkv + ((top + ky) * w + left + kx) * 3 * width : pad;
    const float *k = row + width + at, *v = row + 2 * width + at;
    float s = 0;
#pragma unroll
    for (int d = 0; d < Dims; d++)
      if (d < hd) s = fmaf(q[d], k[d], s);
    s = fmaf(s, scale, bias[dy * side + dx]);
    float next = fmaxf(high, s), old = expf(high - next), e = expf(s - next);
    high = next;
    weight = weight * old + e;
#pragma unroll
    for (int d = 0; d < Dims; d++)
      if (d < hd) acc[d] = fmaf(e, v[d], acc[d] * old);
  }
  out += own * width + at;
#pragma unroll
  for (int d = 0; d < Dims; d++)
    if (d < hd) out[d] = acc[d] / weight;
}

#define OFFSETS(dims)                                                                                                                     \
  extern "C" __global__ void __launch_bounds__(128) attend_offsets_##dims(float* out, const float* qkv, const float* bias, const float* pad, \
                                                                          i64 h, i64 w, i64 side, i64 heads, i64 hd) {                    \
    attend_offsets<dims>(out, qkv, bias, pad, h, w, side, heads, hd);                                                                     \
  }
OFFSETS(32)
OFFSETS(128)
