// runtime.h: what the stand-in's driver asks of the kernels' run time.
#pragma once
#include <stddef.h>

#include <string>

namespace standin {

struct Kernel {
  const char* name;
  void (*call)(void** args);
  int params;
  bool flat;  // without barriers and warp operations
};

struct Launch {
  const Kernel* kernel;
  unsigned grid[3], block[3];
  size_t shared;  // dynamic shared memory in bytes
  void** args;
};

// The most static shared memory that a block may have.
const size_t StaticSharedLimit = 48 << 10;

// The kernel of that name, or 0.
const Kernel* find_kernel(const char* name);

// Runs a launch; returns the fault, or "".
std::string run(const Launch& l);

}  // namespace standin
