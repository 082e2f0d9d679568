// state.h: what the parts of the stand-in's driver share.
//
// Environment variables set the machine that it plays; each is read when it
// matters, so that a test can change it:
//
//	STANDIN_DEVICES  number of devices, 1 by default
//	STANDIN_CC       compute capability, 90 by default
//	STANDIN_DRIVER   what cuDriverGetVersion says, 12000 by default
//	STANDIN_MEMORY   bytes of device memory, 8 GB by default
//	STANDIN_LOSE     the device falls off after that many more launches
//	STANDIN_EAGER    work is done when it is enqueued, not as late as possible
//	STANDIN_SHUFFLE  a seed: threads run in random order
#pragma once
#include <cuda.h>
#include <stdio.h>
#include <stdlib.h>

#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

#define API extern "C" __attribute__((visibility("default"))) CUresult

// Every entry point that needs a context begins with this.
#define ENTER                                             \
  std::lock_guard<std::recursive_mutex> lock(standin::mu); \
  if (!standin::current) return CUDA_ERROR_INVALID_CONTEXT; \
  if (standin::current->failed) return standin::current->failed

namespace standin {

typedef std::function<CUresult()> Job;

// Context is the primary context of a device.
struct Context {
  int retained = 0;
  CUresult failed = CUDA_SUCCESS;  // an error that it does not get over
};

struct Stream {
  Context* owner = 0;
  std::deque<Job> jobs;
  bool capturing = false;
  std::vector<Job> captured;
};

extern std::recursive_mutex mu;
extern thread_local Context* current;

long setting(const char* name, long otherwise);

// Reports why a call fails, on standard error and by cuGetErrorString.
CUresult fail(CUresult e, const std::string& why);

// Enqueues work, or records it while the stream is captured.
CUresult enqueue(CUstream s, Job j);

// Does all work of the current context that waits: of one stream, or of all.
CUresult drain(Stream* s);
CUresult drain_all();

// Whether [p, p+n) lies within one allocation.
bool inside(CUdeviceptr p, size_t n);

// Drops what is left when the last user of a context gives it back.
void forget_memory(Context* c);
void forget_streams(Context* c);

}  // namespace standin
