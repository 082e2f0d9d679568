// product.cuh: where a product reads its left side and writes its result. Both
// prepare a row once (row, and column for a target) for the values in it. The
// fp32 and the tensor-core products share these.
#pragma once
#include "device.cuh"

// Rows of a matrix [m, k].
struct RowSource {
  const float* a;
  i64 m, k;
  typedef const float* Row;
  __device__ __forceinline__ Row row(i64 r) const { return r < m ? a + r * k : 0; }
  // Where the values from column i on lie; 0 if they are zeros.
  __device__ __forceinline__ const float* from(Row r, i64 i) const { return r && i < k ? r + i : 0; }
};

// The pixels of maps [maps*h*w, c] under a square kernel at each of its places,
// oh x ow of them in a map, as rows of size*size*c columns in the order (y, x,
// channel). pad pixels of zeros surround each map.
struct KernelSource {
  const float* x;
  int h, w, c, size, stride, pad, oh, ow;
  i64 rows;
  struct Row {
    const float* map; // 0 beyond the last row
    int y, x;
  };
  __device__ __forceinline__ Row row(i64 r) const {
    int p = (int)r % (oh * ow);
    const float* map = x + (int)r / (oh * ow) * ((i64)h * w * c);
    return Row{r < rows ? map : 0, p / ow * stride - pad, p % ow * stride - pad};
  }
  __device__ __forceinline__ const float* from(Row r, i64 i) const {
    int t = (int)i / c, y = r.y + t / size, px = r.x + t % size;
    return r.map && t < size * size && y >= 0 && y < h && px >= 0 && px < w ? r.map + ((i64)y * w + px) * c + (int)i % c : 0;
  }
};

// act(v + bias) + add, where the rows of add repeat; add may be the result.
struct RowTarget {
  float* c;
  const float *bias, *add;
  i64 n, act, addrows;
  struct Row {
    float* c;
    const float* add;
  };
  typedef i64 Column;
  __device__ __forceinline__ Row row(i64 r) const { return Row{c + r * n, add ? add + (unsigned)r % (unsigned)addrows * n : 0}; }
  __device__ __forceinline__ Column column(i64 q) const { return q; }
  __device__ __forceinline__ void put(Row r, Column q, float v) const {
    if (bias) v += bias[q];
    v = activate(v, act);
    if (r.add) v += r.add[q];
    r.c[q] = v;
  }
};

// A transposed convolution of size and stride 2: column (dy, dx, channel) of
// row (y, x) goes to the pixel (2y+dy, 2x+dx); y counts the rows of all maps.
struct UpscaleTarget {
  float* c;
  const float* bias; // [4 * channels]
  int w, channels;
  i64 act;
  typedef float* Row;
  struct Column {
    i64 at;
    float bias;
  };
  __device__ __forceinline__ Row row(i64 r) const {
    int y = (int)r / w, x = (int)r % w;
    return c + ((i64)y * 4 * w + 2 * x) * channels;
  }
  __device__ __forceinline__ Column column(i64 q) const {
    int d = (int)q / channels;
    return Column{((i64)(d / 2) * 2 * w + d % 2) * channels + (int)q % channels, bias[q]};
  }
  __device__ __forceinline__ void put(Row r, Column q, float v) const { r[q.at] = activate(v + q.bias, act); }
};
