// device.cpp: devices, contexts and errors.
#include <string.h>

#include "state.h"

namespace standin {

std::recursive_mutex mu;
thread_local Context* current;
static Context contexts[16]; // by device
static std::string last_fault;

long setting(const char* name, long otherwise) {
  const char* s = getenv(name);
  return s && *s ? atol(s) : otherwise;
}

CUresult fail(CUresult e, const std::string& why) {
  last_fault = why;
  fprintf(stderr, "stand-in for libcuda: %s\n", why.c_str());
  return e;
}

}  // namespace standin

using namespace standin;

API cuInit(unsigned flags) { return flags ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS; }

API cuDriverGetVersion(int* v) {
  *v = (int)setting("STANDIN_DRIVER", 12000);
  return CUDA_SUCCESS;
}

API cuDeviceGetCount(int* n) {
  *n = (int)setting("STANDIN_DEVICES", 1);
  return CUDA_SUCCESS;
}

API cuDeviceGet(CUdevice* d, int i) {
  if (i < 0 || i >= setting("STANDIN_DEVICES", 1)) return CUDA_ERROR_INVALID_DEVICE;
  *d = i;
  return CUDA_SUCCESS;
}

API cuDeviceGetName(char* s, int n, CUdevice) {
  snprintf(s, n, "stand-in on the CPU");
  return CUDA_SUCCESS;
}

API cuDeviceTotalMem_v2(size_t* n, CUdevice) {
  *n = setting("STANDIN_MEMORY", 8l << 30);
  return CUDA_SUCCESS;
}

// The most shared memory of a block, as the CUDA programming guide lists it.
static int most_shared(int cc) {
  if (cc >= 90) return 232448;
  if (cc == 80 || cc == 87) return 166912;
  if (cc >= 86) return 101376;
  return 65536;
}

API cuDeviceGetAttribute(int* v, CUdevice_attribute a, CUdevice) {
  int cc = (int)setting("STANDIN_CC", 90);
  switch ((int)a) {
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR: *v = cc / 10; break;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR: *v = cc % 10; break;
    case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT: *v = 4; break;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN: *v = most_shared(cc); break;
    case CU_DEVICE_ATTRIBUTE_WARP_SIZE: *v = 32; break;
    default: *v = 0;
  }
  return CUDA_SUCCESS;
}

API cuDevicePrimaryCtxSetFlags_v2(CUdevice, unsigned) { return CUDA_SUCCESS; }

API cuDevicePrimaryCtxRetain(CUcontext* c, CUdevice d) {
  std::lock_guard<std::recursive_mutex> lock(mu);
  contexts[d % 16].retained++;
  *c = (CUcontext)&contexts[d % 16];
  return CUDA_SUCCESS;
}

API cuDevicePrimaryCtxRelease_v2(CUdevice d) {
  std::lock_guard<std::recursive_mutex> lock(mu);
  Context* c = &contexts[d % 16];
  if (!c->retained) return CUDA_ERROR_INVALID_CONTEXT;
  if (--c->retained) return CUDA_SUCCESS;
  forget_streams(c);
  forget_memory(c);
  c->failed = CUDA_SUCCESS;
  return CUDA_SUCCESS;
}

API cuCtxSetCurrent(CUcontext c) {
  current = (Context*)c;
  return CUDA_SUCCESS;
}

API cuCtxGetCurrent(CUcontext* c) {
  *c = (CUcontext)current;
  return CUDA_SUCCESS;
}

API cuCtxSynchronize() {
  ENTER;
  return drain_all();
}

API cuGetErrorName(CUresult e, const char** s) {
  *s = e ? "CUDA_ERROR" : "CUDA_SUCCESS";
  return CUDA_SUCCESS;
}

API cuGetErrorString(CUresult, const char** s) {
  *s = last_fault.c_str();
  return CUDA_SUCCESS;
}
