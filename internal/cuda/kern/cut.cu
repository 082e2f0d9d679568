// cut.cu: masks of logits at a picture's size.
#include "device.cuh"

// One axis of an upscaling: the two positions that each of n positions lies
// between, and their weights; index [2, n], weight [2, n].
struct Axis {
  const int* index;
  const float* weight;
  i64 n;
  __device__ __forceinline__ float between(i64 i, float a, float b) const { return fmaf(weight[n + i], b, weight[i] * a); }
};

// The pixels of planes of logits [lh*lw] that exceed mid once both steps of
// interpolation have brought them to h x w pixels, as bits [planes, h, words],
// and how many exceed lo and hi, above [planes, 2], which is zero before.
// planes are the numbers of the planes. index and weight hold the axes one after
// the other: low to input across, iw, and down, ih, input to picture across, w,
// and down, h. Grid (tiles of 256 columns, h, planes).
extern "C" __global__ void __launch_bounds__(256) cut_masks(unsigned* bits, int* above, const float* logits, const int* planes, const int* index,
                                                            const float* weight, i64 lh, i64 lw, i64 ih, i64 iw, i64 h, i64 w, i64 words,
                                                            double lo, double mid, double hi) {
  i64 x = global_index(), y = blockIdx.y, p = blockIdx.z;
  if (x / 32 >= words) return; // the same for all of a warp
  float v = -INF;
  if (x < w) {
    Axis across1 = {index, weight, iw}, down1 = {across1.index + 2 * iw, across1.weight + 2 * iw, ih};
    Axis across2 = {down1.index + 2 * ih, down1.weight + 2 * ih, w}, down2 = {across2.index + 2 * w, across2.weight + 2 * w, h};
    const float* low = logits + planes[p] * lh * lw;
    float rows[2], columns[2];
#pragma unroll
    for (int r = 0; r < 2; r++) {
      i64 iy = down2.index[r * h + y];
#pragma unroll
      for (int c = 0; c < 2; c++) {
        i64 ix = across2.index[c * w + x];
        i64 x0 = across1.index[ix], x1 = across1.index[iw + ix];
        const float *a = low + down1.index[iy] * lw, *b = low + down1.index[ih + iy] * lw;
        columns[c] = down1.between(iy, across1.between(ix, a[x0], a[x1]), across1.between(ix, b[x0], b[x1]));
      }
      rows[r] = across2.between(x, columns[0], columns[1]);
    }
    v = down2.between(y, rows[0], rows[1]);
  }
  unsigned set = __ballot_sync(~0u, v > (float)mid), outer = __ballot_sync(~0u, v > (float)lo), inner = __ballot_sync(~0u, v > (float)hi);
  if (threadIdx.x & 31) return;
  bits[(p * h + y) * words + x / 32] = set;
  if (outer) atomicAdd(above + 2 * p, __popc(outer));
  if (inner) atomicAdd(above + 2 * p + 1, __popc(inner));
}
