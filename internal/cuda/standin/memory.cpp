// memory.cpp: device memory. Each allocation is NaN at first, and ends at a
// page that cannot be touched.
#include <string.h>
#include <sys/mman.h>

#include <map>

#include "state.h"

namespace standin {

struct Allocation {
  char* map;
  size_t mapped, size;
  Context* owner;
};

static std::map<CUdeviceptr, Allocation> allocations;
static std::map<void*, Context*> pinned;
static size_t used;

const size_t Page = 4096;
const unsigned char NaN = 0xff;

static size_t padded(size_t n) { return (n + 255) & ~(size_t)255; }

bool inside(CUdeviceptr p, size_t n) {
  auto i = allocations.upper_bound(p);
  if (i == allocations.begin()) return false;
  --i;
  return p + n <= i->first + i->second.size;
}

void forget_memory(Context* c) {
  for (auto i = allocations.begin(); i != allocations.end();) {
    if (i->second.owner != c) {
      ++i;
      continue;
    }
    munmap(i->second.map, i->second.mapped);
    used -= i->second.size;
    i = allocations.erase(i);
  }
  for (auto i = pinned.begin(); i != pinned.end();) {
    if (i->second != c) {
      ++i;
      continue;
    }
    free(i->first);
    i = pinned.erase(i);
  }
}

}  // namespace standin

using namespace standin;

API cuMemGetInfo_v2(size_t* available, size_t* total) {
  ENTER;
  *total = setting("STANDIN_MEMORY", 8l << 30);
  *available = *total > used ? *total - used : 0;
  return CUDA_SUCCESS;
}

API cuMemAlloc_v2(CUdeviceptr* p, size_t n) {
  ENTER;
  if (!n) return CUDA_ERROR_INVALID_VALUE;
  if (used + n > (size_t)setting("STANDIN_MEMORY", 8l << 30)) return CUDA_ERROR_OUT_OF_MEMORY;
  size_t room = padded(n), mapped = ((room + Page - 1) & ~(Page - 1)) + 2 * Page;
  char* m = (char*)mmap(0, mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (m == MAP_FAILED) return CUDA_ERROR_OUT_OF_MEMORY;
  mprotect(m + Page, mapped - 2 * Page, PROT_READ | PROT_WRITE);
  *p = (CUdeviceptr)(m + mapped - Page - room);
  memset((void*)*p, NaN, room);
  allocations[*p] = {m, mapped, n, current};
  used += n;
  return CUDA_SUCCESS;
}

API cuMemFree_v2(CUdeviceptr p) {
  ENTER;
  if (CUresult e = drain_all()) return e;
  auto i = allocations.find(p);
  if (i == allocations.end()) return fail(CUDA_ERROR_INVALID_VALUE, "free of what was not allocated");
  Allocation a = i->second;
  bool intact = true;
  for (size_t k = a.size; k < padded(a.size); k++) intact = intact && ((unsigned char*)p)[k] == NaN;
  munmap(a.map, a.mapped);
  used -= a.size;
  allocations.erase(i);
  return intact ? CUDA_SUCCESS : fail(CUDA_ERROR_ILLEGAL_ADDRESS, "written behind the end of an allocation");
}

API cuMemHostAlloc(void** p, size_t n, unsigned) {
  ENTER;
  *p = aligned_alloc(Page, (n + Page - 1) & ~(Page - 1));
  pinned[*p] = current;
  return *p ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

API cuMemFreeHost(void* p) {
  ENTER;
  if (!pinned.erase(p)) return fail(CUDA_ERROR_INVALID_VALUE, "free of host memory that was not allocated");
  free(p);
  return CUDA_SUCCESS;
}

// The synchronous copies wait for the null stream, which waits for all others.
API cuMemcpyHtoD_v2(CUdeviceptr d, const void* h, size_t n) {
  ENTER;
  if (CUresult e = drain_all()) return e;
  if (!inside(d, n)) return fail(CUDA_ERROR_INVALID_VALUE, "copy to the device outside an allocation");
  memcpy((void*)d, h, n);
  return CUDA_SUCCESS;
}

API cuMemcpyDtoH_v2(void* h, CUdeviceptr d, size_t n) {
  ENTER;
  if (CUresult e = drain_all()) return e;
  if (!inside(d, n)) return fail(CUDA_ERROR_INVALID_VALUE, "copy from the device outside an allocation");
  memcpy(h, (void*)d, n);
  return CUDA_SUCCESS;
}

API cuMemcpyHtoDAsync_v2(CUdeviceptr d, const void* h, size_t n, CUstream s) {
  ENTER;
  if (!inside(d, n)) return fail(CUDA_ERROR_INVALID_VALUE, "copy to the device outside an allocation");
  return enqueue(s, [=] {
    memcpy((void*)d, h, n);
    return CUDA_SUCCESS;
  });
}

API cuMemcpyDtoHAsync_v2(void* h, CUdeviceptr d, size_t n, CUstream s) {
  ENTER;
  if (!inside(d, n)) return fail(CUDA_ERROR_INVALID_VALUE, "copy from the device outside an allocation");
  return enqueue(s, [=] {
    memcpy(h, (void*)d, n);
    return CUDA_SUCCESS;
  });
}

API cuMemcpyDtoDAsync_v2(CUdeviceptr d, CUdeviceptr from, size_t n, CUstream s) {
  ENTER;
  if (!inside(d, n) || !inside(from, n)) return fail(CUDA_ERROR_INVALID_VALUE, "copy on the device outside an allocation");
  return enqueue(s, [=] {
    memmove((void*)d, (void*)from, n);
    return CUDA_SUCCESS;
  });
}
