// device.cuh: what the kernels use besides plain CUDA C.
//
// The same sources are compiled by NVRTC for a GPU and, after standin/words.h,
// by a C++ compiler for the stand-in. Each parameter of a kernel takes 8 bytes,
// because gorgonia.org/cu copies 8 for each.
#pragma once

typedef long long i64;

// Activations, as kernel.Act numbers them.
#define ACT_NONE 0
#define ACT_RELU 1
#define ACT_GELU 2

#ifdef __CUDA_ARCH__
#define INF __int_as_float(0x7f800000)
#define NOT_A_NUMBER __int_as_float(0x7fc00000)
// Shared memory is declared by these two only: the stand-in fills it with
// NaN for each block and watches its end.
#define SHARED(T, name, count) __shared__ __align__(16) T name[count]
#define DYNAMIC_SHARED(T, name)                                  \
  extern __shared__ __align__(16) unsigned char dynamic_bytes[]; \
  T* name = (T*)dynamic_bytes
#endif

__device__ __forceinline__ float activate(float x, i64 act) {
  if (act == ACT_RELU) return fmaxf(x, 0.0f);
  if (act == ACT_GELU) return 0.5f * x * (1.0f + erff(x * 0.70710678118654752f));
  return x;
}

// The sum and the maximum over the 2*half lanes of a group, in all of them.
__device__ __forceinline__ float group_sum(float v, int half) {
  for (int o = half; o; o >>= 1) v += __shfl_xor_sync(~0u, v, o);
  return v;
}
__device__ __forceinline__ float group_max(float v, int half) {
  for (int o = half; o; o >>= 1) v = fmaxf(v, __shfl_xor_sync(~0u, v, o));
  return v;
}

// The index of this thread in the grid's first dimension.
__device__ __forceinline__ i64 global_index() { return (i64)blockIdx.x * blockDim.x + threadIdx.x; }
