// attention.cu: the decoder's attention, softmax(q·kᵀ/√hd)·v for each head and
// prompt. Rows have heads*hd columns. qstep, kstep and vstep are the rows from
// one prompt to the next, 0 where all prompts share them.
#include "device.cuh"

// For many queries: a thread for each, which walks over all keys. Grid (query
// tiles of 128, heads, prompts). Dims is the most channels of a head.
template <int Dims>
__device__ __forceinline__ void attend_queries(float* out, const float* q, const float* k, const float* v, i64 nq, i64 nk, i64 heads, i64 hd,
                                               i64 qstep, i64 kstep, i64 vstep) {
  i64 i = global_index(), p = blockIdx.z, width = heads * hd, at = blockIdx.y * hd;
  if (i >= nq) return;
  q += (p * qstep + i) * width + at;
  k += p * kstep * width + at;
  v += p * vstep * width + at;
  float own[Dims], acc[Dims] = {}, top = -INF, weight = 0, scale = 1.0f / sqrtf((float)hd);
#pragma unroll
  for (int d = 0; d < Dims; d++) own[d] = d < hd ? q[d] : 0.0f;
  for (i64 j = 0; j < nk; j++, k += width, v += width) {
    float s = 0;
#pragma unroll
    for (int d = 0; d < Dims; d++)
      if (d < hd) s = fmaf(own[d], k[d], s);
    s *= scale;
    float next = fmaxf(top, s), old = expf(top - next), e = expf(s - next);
    top = next;
    weight = weight * old + e;
#pragma unroll
    for (int d = 0; d < Dims; d++)
      if (d < hd) acc[d] = fmaf(e, v[d], acc[d] * old);
  }
  out += (p * nq + i) * width + at;
#pragma unroll
  for (int d = 0; d < Dims; d++)
    if (d < hd) out[d] = acc[d] / weight;
}

// For many keys: a block of 128 threads for each query, each thread with every
// 128th key; then all add up what they found. Grid (queries, heads, prompts).
// Dynamic shared memory: 128 * (hd+3) floats.
template <int Dims>
__device__ __forceinline__ void attend_keys(float* out, const float* q, const float* k, const float* v, i64 nq, i64 nk, i64 heads, i64 hd,
                                            i64 qstep, i64 kstep, i64 vstep) {
  DYNAMIC_SHARED(float, shared);
  const int t = threadIdx.x, pitch = (int)hd + 1;
  float *found = shared, *tops = found + 128 * pitch, *weights = tops + 128;
  i64 i = blockIdx.x, p = blockIdx.z, width = heads * hd, at = blockIdx.y * hd;
  q += (p * qstep + i) * width + at;
  k += p * kstep * width + at;
  v += p * vstep * width + at;
  float own[Dims], acc[Dims] = {}, top = -INF, weight = 0, scale = 1.0f / sqrtf((float)hd);
#pragma unroll
  for (int d = 0; d < Dims; d++) own[d] = d < hd ? q[d] : 0.0f;
  for (i64 j = t; j < nk; j += 128) {
    float s = 0;
#pragma unroll
    for (int d = 0; d < Dims; d++)
      if (d < hd) s = fmaf(own[d], k[j * width + d], s);
    s *= scale;
    float next = fmaxf(top, s), old = expf(top - next), e = expf(s - next);
    top = next;
    weight = weight * old + e;
#pragma unroll
    for (int d = 0; d < Dims; d++)
      if (d < hd) acc[d] = fmaf(e, v[j * width + d], acc[d] * old);
  }
#pragma unroll
  for (int d = 0; d < Dims; d++)
    if (d < hd) found[t * pitch + d] = acc[d];
  tops[t] = top;
  weights[t] = weight;
  for (int half = 64; half; half >>= 1) {
    __syncthreads();
    if (t >= half || tops[t + half] == -INF) continue; // nothing there
    float next = fmaxf(tops[t], tops[t + half]), a = expf(tops[t] - next), b = expf(tops[t + half] - next);
    for (int d = 0; d < hd; d++) found[t * pitch + d] = a * found[t * pitch + d] + b * found[(t + half) * pitch + d];
    tops[t] = next;
    weights[t] = a * weights[t] + b * weights[t + half];
  }
  __syncthreads();
  if (t < hd) out[(p * nq + i) * width + at + t] = found[t] / weights[0];
}

#define ATTENTION(kind, dims)                                                                                                            \
  extern "C" __global__ void __launch_bounds__(128) attend_##kind##_##dims(float* out, const float* q, const float* k, const float* v, i64 nq, \
                                                                           i64 nk, i64 heads, i64 hd, i64 qstep, i64 kstep, i64 vstep) { \
    attend_##kind<dims>(out, q, k, v, nq, nk, heads, hd, qstep, kstep, vstep);                                                           \
  }
ATTENTION(queries, 16)
ATTENTION(queries, 32)
ATTENTION(queries, 128)
ATTENTION(keys, 16)
ATTENTION(keys, 32)
ATTENTION(keys, 128)
