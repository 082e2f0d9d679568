// module.cpp: modules and launches. A module is PTX text, of which only the
// entries are read: a launch runs the kernel of that name that was compiled
// for the CPU.
#include <string.h>

#include <map>

#include "runtime.h"
#include "state.h"

namespace standin {

struct Function {
  std::string name;
  int params;
  unsigned max_threads;
  int max_shared;
  const Kernel* kernel;
};

struct Module {
  std::map<std::string, Function> functions;
};

static int compute_capability() { return (int)setting("STANDIN_CC", 90); }

// Reads one entry, "name(.param ...) .maxntid x, y, z {", at p, and moves p
// to its body.
static CUresult read_entry(const char** p, Module* m) {
  const char *open = strchr(*p, '('), *shut = strchr(*p, ')'), *body = shut ? strchr(shut, '{') : 0;
  if (!open || !body) return fail(CUDA_ERROR_INVALID_PTX, "module: an entry without a body");
  Function f{std::string(*p, open), 0, 1024, 48 << 10, 0};
  for (const char* q = open; (q = strstr(q, ".param ")) && q < shut; q += 7) {
    f.params++;
    if (strncmp(q + 7, ".u64", 4) && strncmp(q + 7, ".b64", 4) && strncmp(q + 7, ".f64", 4))
      return fail(CUDA_ERROR_INVALID_PTX, f.name + ": a parameter that does not take 8 bytes");
  }
  std::string directives(shut, body);
  size_t at = directives.find(".maxntid ");
  int x, y, z;
  if (at != std::string::npos && sscanf(directives.c_str() + at, ".maxntid %d, %d, %d", &x, &y, &z) == 3) f.max_threads = x * y * z;
  f.kernel = find_kernel(f.name.c_str());
  if (!f.kernel) return fail(CUDA_ERROR_INVALID_PTX, f.name + ": not compiled for the CPU");
  if (f.kernel->params != f.params) return fail(CUDA_ERROR_INVALID_PTX, f.name + ": PTX and source differ in parameters");
  m->functions[f.name] = f;
  *p = body;
  return CUDA_SUCCESS;
}

// The latest PTX that a driver reads: CUDA 12.0 brought ISA 8.0, 11.8 had 7.8.
static int ptx_isa(int driver) { return driver >= 12000 ? 80 : 78; }

static CUresult read_module(const char* s, Module* m) {
  const char *target = strstr(s, ".target sm_"), *version = strstr(s, ".version ");
  if (!target || !version) return fail(CUDA_ERROR_INVALID_IMAGE, "module: not PTX");
  int major, minor;
  if (sscanf(version, ".version %d.%d", &major, &minor) != 2) return fail(CUDA_ERROR_INVALID_IMAGE, "module: no version");
  if (10 * major + minor > ptx_isa((int)setting("STANDIN_DRIVER", 12000)))
    return fail(CUDA_ERROR_UNSUPPORTED_PTX_VERSION, "module: compiled for a later driver");
  if (atoi(target + 11) > compute_capability()) return fail(CUDA_ERROR_NO_BINARY_FOR_GPU, "module: compiled for a later GPU");
  for (const char* p = s; (p = strstr(p, ".entry "));) {
    p += 7;
    if (CUresult e = read_entry(&p, m)) return e;
  }
  return CUDA_SUCCESS;
}

// Whether the device has just fallen off; counts launches down.
static bool lost() {
  long n = setting("STANDIN_LOSE", -1);
  if (n < 0) return false;
  if (n == 0) return true;
  setenv("STANDIN_LOSE", std::to_string(n - 1).c_str(), 1);
  return false;
}

}  // namespace standin

using namespace standin;

API cuModuleLoadData(CUmodule* m, const void* image) {
  ENTER;
  Module* x = new Module;
  if (CUresult e = read_module((const char*)image, x)) {
    delete x;
    return e;
  }
  *m = (CUmodule)x;
  return CUDA_SUCCESS;
}

API cuModuleUnload(CUmodule m) {
  ENTER;
  delete (Module*)m;
  return CUDA_SUCCESS;
}

API cuModuleGetFunction(CUfunction* f, CUmodule m, const char* name) {
  ENTER;
  auto& all = ((Module*)m)->functions;
  auto i = all.find(name);
  if (i == all.end()) return CUDA_ERROR_NOT_FOUND;
  *f = (CUfunction)&i->second;
  return CUDA_SUCCESS;
}

API cuFuncSetAttribute(CUfunction f, CUfunction_attribute a, int v) {
  ENTER;
  if (a != CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES) return CUDA_SUCCESS;
  int most;
  cuDeviceGetAttribute(&most, CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN, 0);
  if (v > most) return CUDA_ERROR_INVALID_VALUE;
  ((Function*)f)->max_shared = v;
  return CUDA_SUCCESS;
}

API cuLaunchKernel(CUfunction h, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared, CUstream s,
                   void** params, void**) {
  ENTER;
  Function* f = (Function*)h;
  if (!gx || !gy || !gz || !bx || !by || !bz || gy > 65535 || gz > 65535 || bz > 64) return fail(CUDA_ERROR_INVALID_VALUE, f->name + ": bad grid");
  if (bx * by * bz > f->max_threads) return fail(CUDA_ERROR_INVALID_VALUE, f->name + ": too many threads in a block");
  if ((int)shared > f->max_shared)
    return fail(CUDA_ERROR_INVALID_VALUE, f->name + ": more dynamic shared memory than cuFuncSetAttribute has allowed");
  std::vector<unsigned long long> args;
  for (int i = 0; i < f->params; i++) args.push_back(*(unsigned long long*)params[i]);
  return enqueue(s, [=]() mutable {
    if (lost()) return fail(CUDA_ERROR_LAUNCH_FAILED, f->name + ": the device has fallen off");
    std::vector<void*> p;
    for (auto& a : args) p.push_back(&a);
    std::string fault = run({f->kernel, {gx, gy, gz}, {bx, by, bz}, shared, p.data()});
    return fault.empty() ? CUDA_SUCCESS : fail(CUDA_ERROR_LAUNCH_FAILED, f->name + ": " + fault);
  });
}
