// tensor.cuh: tensor cores and asynchronous copies, Ampere and later. The
// stand-in has these functions in standin/tensor_words.h.
#pragma once
#include "product.cuh"

#ifdef __CUDA_ARCH__
// Two values rounded to 16 bits in one word, the first in the lower half.
__device__ __forceinline__ unsigned pack_bf16(float a, float b) {
  unsigned r;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(b), "f"(a));
  return r;
}
__device__ __forceinline__ unsigned pack_f16(float a, float b) {
  unsigned r;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(b), "f"(a));
  return r;
}
__device__ __forceinline__ float unpack_bf16(unsigned short v) { return __uint_as_float((unsigned)v << 16); }
__device__ __forceinline__ float unpack_f16(unsigned short v) {
  float r;
  asm("cvt.f32.f16 %0, %1;" : "=f"(r) : "h"(v));
  return r;
}
__device__ __forceinline__ unsigned to_tf32(float x) {
  unsigned r;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(r) : "f"(x));
  return r;
}

// d += a·b with fp32 sums: m16n8k8 in TF32, m16n8k16 in 16 bits.
#define MMA(name, shape, types)                                                                                  \
  __device__ __forceinline__ void name(float d[4], const unsigned a[4], const unsigned b[2]) {                   \
    asm volatile("mma.sync.aligned." shape ".row.col.f32." types ".f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};" \
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])                                                \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));                            \
  }
MMA(mma_tf32, "m16n8k8", "tf32.tf32")
MMA(mma_bf16, "m16n8k16", "bf16.bf16")
MMA(mma_f16, "m16n8k16", "f16.f16")

// Begins to copy 16 bytes to shared memory: of from, or zeros if it is 0. any
// is some global memory, which is not read.
__device__ __forceinline__ void copy_begin(void* shared, const void* from, const void* any) {
  unsigned s = (unsigned)__cvta_generic_to_shared(shared);
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(s), "l"(from ? from : any), "r"(from ? 16 : 0));
}
// Closes a group of copies, and waits until at most pending groups are open.
__device__ __forceinline__ void copy_commit() { asm volatile("cp.async.commit_group;"); }
template <int Pending>
__device__ __forceinline__ void copy_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(Pending));
}
#endif

// A number format of the products: how fragments are read from rows in shared
// memory (p points at a fragment's first row and column) and multiplied. g is
// lane/4 and q is lane%4, as the PTX manual lays fragments out.
struct Tf32 {
  typedef float Weight;
  static const int Depth = 8, Stages = 2;
  static __device__ __forceinline__ void left(unsigned a[4], const float* p, int pitch, int g, int q) {
    p += g * pitch + q;
    a[0] = to_tf32(p[0]);
    a[1] = to_tf32(p[8 * pitch]);
    a[2] = to_tf32(p[4]);
    a[3] = to_tf32(p[8 * pitch + 4]);
  }
  static __device__ __forceinline__ void right(unsigned b[2], const Weight* p, int pitch, int g, int q) {
    p += g * pitch + q;
    b[0] = to_tf32(p[0]);
    b[1] = to_tf32(p[4]);
  }
  static __device__ __forceinline__ void multiply(float d[4], const unsigned a[4], const unsigned b[2]) { mma_tf32(d, a, b); }
};

#define FORMAT16(name, suffix)                                                                                              \
  struct name {                                                                                                             \
    typedef unsigned short Weight;                                                                                          \
    static const int Depth = 16, Stages = 3;                                                                                \
    static __device__ __forceinline__ unsigned pack(float a, float b) { return pack_##suffix(a, b); }                       \
    static __device__ __forceinline__ float unpack(Weight v) { return unpack_##suffix(v); }                                 \
    static __device__ __forceinline__ void left(unsigned a[4], const float* p, int pitch, int g, int q) {                   \
      p += g * pitch + 2 * q;                                                                                               \
      const float* below = p + 8 * pitch;                                                                                   \
      a[0] = pack(p[0], p[1]);                                                                                              \
      a[1] = pack(below[0], below[1]);                                                                                      \
      a[2] = pack(p[8], p[9]);                                                                                              \
      a[3] = pack(below[8], below[9]);                                                                                      \
    }                                                                                                                       \
    static __device__ __forceinline__ void right(unsigned b[2], const Weight* p, int pitch, int g, int q) {                 \
      p += g * pitch + 2 * q;                                                                                               \
      b[0] = *(const unsigned*)p;                                                                                           \
      b[1] = *(const unsigned*)(p + 8);                                                                                     \
    }                                                                                                                       \
    static __device__ __forceinline__ void multiply(float d[4], const unsigned a[4], const unsigned b[2]) { mma_##suffix(d, a, b); } \
  };
FORMAT16(Bf16, bf16)
FORMAT16(F16, f16)
