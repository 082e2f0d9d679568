// words.h: CUDA C's words for a C++ compiler, so that kernels run on the CPU.
// It is included before each kernel file.
//
// A block runs on one OS thread. Its CUDA threads are fibers, which switch at
// barriers and warp operations only.
#pragma once
#include <math.h>
#include <stdint.h>
#include <string.h>

#include <utility>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define INF INFINITY
#define NOT_A_NUMBER NAN

struct Dim3 {
  unsigned x, y, z;
};

namespace standin {

// Where the running fiber is.
struct Place {
  Dim3 thread, block, block_size, grid_size;
};
extern thread_local Place* place;

// __syncthreads.
void barrier();

// Puts n bytes of this lane where its warp can read them, waits for all lanes
// of mask and returns the lanes' values, LaneBytes apart. They are valid until
// the warp operation after the next.
const char* exchange(unsigned mask, const void* v, unsigned n);
const unsigned LaneBytes = 64;

unsigned lane();

// The block's shared memory: of the launch, and of a declaration, which tag
// stands for. Both are NaN at the block's start.
void* dynamic_shared();
void* static_shared(const void* tag, size_t bytes);

// Asynchronous copies to shared memory: the destination is NaN until the copy
// has been waited for.
void copy_async(void* shared, const void* global);
void commit_copies();
void wait_copies(int pending);

// Makes a kernel known by its name. The threads of a flat one never wait for
// each other, so that they need no fibers.
void add_kernel(const char* name, void (*call)(void**), int params, bool flat);

template <auto F>
struct Registration;
template <class... A, void (*F)(A...)>
struct Registration<F> {
  static_assert(((sizeof(A) == 8) && ...), "each parameter of a kernel takes 8 bytes");
  template <size_t... I>
  static void spread(void** p, std::index_sequence<I...>) {
    F(*(A*)p[I]...);
  }
  static void call(void** p) { spread(p, std::index_sequence_for<A...>()); }
  Registration(const char* name, bool flat) { add_kernel(name, call, sizeof...(A), flat); }
};

template <class T>
inline T shuffle(unsigned mask, T v, unsigned from) {
  T r;
  memcpy(&r, exchange(mask, &v, sizeof v) + LaneBytes * from, sizeof r);
  return r;
}

}  // namespace standin

#define threadIdx (standin::place->thread)
#define blockIdx (standin::place->block)
#define blockDim (standin::place->block_size)
#define gridDim (standin::place->grid_size)
#define DYNAMIC_SHARED(T, name) T* name = (T*)standin::dynamic_shared()
#define SHARED(T, name, count) \
  static char name##_tag;      \
  T* name = (T*)standin::static_shared(&name##_tag, sizeof(T) * (count))
#define KERNEL(name) static standin::Registration<name> registration_##name(#name, false);
#define FLAT_KERNEL(name) static standin::Registration<name> registration_##name(#name, true);

static inline void __syncthreads() { standin::barrier(); }
static inline void __syncwarp(unsigned mask = ~0u) { standin::exchange(mask, 0, 0); }
template <class T>
static inline T __shfl_xor_sync(unsigned mask, T v, int o) {
  return standin::shuffle(mask, v, standin::lane() ^ o);
}
static inline unsigned __float_as_uint(float f) {
  unsigned u;
  memcpy(&u, &f, 4);
  return u;
}
static inline float __uint_as_float(unsigned u) {
  float f;
  memcpy(&f, &u, 4);
  return f;
}
static inline float __fmul_rn(float a, float b) { return a * b; }
static inline float __fadd_rn(float a, float b) { return a + b; }
static inline unsigned __ballot_sync(unsigned mask, int set) {
  const char* lanes = standin::exchange(mask, &set, sizeof set);
  unsigned all = 0;
  for (int i = 0; i < 32; i++) {
    int v;
    memcpy(&v, lanes + standin::LaneBytes * i, sizeof v);
    if (v && (mask >> i & 1)) all |= 1u << i;
  }
  return all;
}
static inline int __popc(unsigned v) { return __builtin_popcount(v); }
static inline int atomicAdd(int* p, int v) { return __atomic_fetch_add(p, v, __ATOMIC_RELAXED); }
