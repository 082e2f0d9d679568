// tensor_words.h: tensor cores and asynchronous copies on the CPU, by the
// fragment layouts of the PTX manual. The kernels' tensor.cuh has the same
// functions for a GPU.
#pragma once
#include "words.h"

// Rounds to the nearest, halves away from zero, 10 bits of mantissa.
static inline unsigned to_tf32(float x) {
  unsigned u = __float_as_uint(x);
  return (u & 0x7f800000) == 0x7f800000 ? u : (u + 0x1000) & ~0x1fffu;
}

static inline float unpack_bf16(unsigned short v) { return __uint_as_float((unsigned)v << 16); }
static inline unsigned to_bf16(float x) {
  unsigned u = __float_as_uint(x);
  if (x != x) return 0x7fff;
  return (u + 0x7fff + (u >> 16 & 1)) >> 16;
}
static inline float unpack_f16(unsigned short v) {
  _Float16 h;
  memcpy(&h, &v, 2);
  return (float)h;
}
static inline unsigned to_f16(float x) {
  _Float16 h = (_Float16)x;
  unsigned short v;
  memcpy(&v, &h, 2);
  return v;
}
static inline unsigned pack_bf16(float a, float b) { return to_bf16(a) | to_bf16(b) << 16; }
static inline unsigned pack_f16(float a, float b) { return to_f16(a) | to_f16(b) << 16; }

// d += a·b of 16 x Depth and Depth x 8. value turns element i of a register
// into a number; a register holds PerWord elements. Left, the registers run
// over row halves first, then column halves; right, over depth halves.
template <int Depth, int PerWord, class Value>
static inline void emulate_mma(float d[4], const unsigned a[4], const unsigned b[2], Value value) {
  unsigned own[6];
  memcpy(own, a, 16);
  memcpy(own + 4, b, 8);
  const char* all = standin::exchange(~0u, own, sizeof own);
  unsigned lane = standin::lane(), g = lane >> 2, q = lane & 3;
  auto element = [&](unsigned row, int k, int first, int step) {
    int half = k / (Depth / 2), in_half = k % (Depth / 2);
    unsigned word;
    memcpy(&word, all + standin::LaneBytes * (row * 4 + in_half / PerWord) + 4 * (first + step * half), 4);
    return value(word, in_half % PerWord);
  };
  for (int e = 0; e < 4; e++) { // row g + 8*(e/2), column 2q + e%2
    float s = d[e];
    for (int k = 0; k < Depth; k++) s += element(g, k, e / 2, 2) * element(2 * q + e % 2, k, 4, 1);
    d[e] = s;
  }
}

static inline void mma_tf32(float d[4], const unsigned a[4], const unsigned b[2]) {
  emulate_mma<8, 1>(d, a, b, [](unsigned w, int) { return __uint_as_float(w & ~0x1fffu); });
}
static inline void mma_bf16(float d[4], const unsigned a[4], const unsigned b[2]) {
  emulate_mma<16, 2>(d, a, b, [](unsigned w, int i) { return unpack_bf16((unsigned short)(w >> 16 * i)); });
}
static inline void mma_f16(float d[4], const unsigned a[4], const unsigned b[2]) {
  emulate_mma<16, 2>(d, a, b, [](unsigned w, int i) { return unpack_f16((unsigned short)(w >> 16 * i)); });
}

static inline void copy_begin(void* shared, const void* from, const void*) { standin::copy_async(shared, from); }
static inline void copy_commit() { standin::commit_copies(); }
template <int Pending>
static inline void copy_wait() {
  standin::wait_copies(Pending);
}
