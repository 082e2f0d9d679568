// block.cpp: runs the blocks of a launch on OS threads and the threads of a
// block as fibers.
#include <stdio.h>
#include <stdlib.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <mutex>
#include <random>
#include <thread>
#include <vector>

#include "fiber.h"
#include "runtime.h"
#include "words.h"
#undef threadIdx
#undef blockIdx
#undef blockDim
#undef gridDim

namespace standin {

enum State { Ready, AtBarrier, InWarp, Done };

struct Copy {
  void* shared;
  char data[16];
  int group;
};

struct Fiber {
  char* stack;
  void* sp;
  Place place;
  State state;
  unsigned id;
  std::vector<Copy> copies;
  int group;  // of copies, not yet committed
};

// A warp operation in progress. Two buffers, because a lane may be at the next
// operation while others still read this one's values.
struct Warp {
  unsigned arrived, mask;
  int buffer;
  char values[2][32][LaneBytes];
};

// Shared memory between two margins that nobody may write to.
struct Shared {
  std::vector<unsigned char> bytes;
  size_t size = 0;
  static constexpr size_t Margin = 128;
  static constexpr unsigned char Guard = 0xa5, NaN = 0xff;
  void reset(size_t n) {
    size = n;
    bytes.assign(n + 2 * Margin + 128, Guard);
    std::fill_n(data(), n, NaN);
  }
  unsigned char* data() {
    uintptr_t p = (uintptr_t)bytes.data() + Margin;
    return (unsigned char*)((p + 127) & ~(uintptr_t)127);
  }
  bool intact() {
    unsigned char *first = data(), *last = first + size;
    for (unsigned char* p = bytes.data(); p < first; p++)
      if (*p != Guard) return false;
    for (unsigned char* p = last; p < bytes.data() + bytes.size(); p++)
      if (*p != Guard) return false;
    return true;
  }
};

struct Block {
  const Launch* launch;
  std::vector<Fiber> fibers;
  std::vector<Warp> warps;
  Shared dynamic;
  std::map<const void*, Shared> declared;
  size_t declared_bytes;
  void* scheduler;
  Fiber* now;
  std::string fault;
  std::mt19937 random;

  void run(const Launch& l, unsigned number);
  Place at(unsigned thread, unsigned number) const;
  void prepare(unsigned number);
  void run_flat(unsigned number);
  bool step(unsigned i);
  bool round(bool shuffled);
  void check_shared();
};

thread_local Place* place;
static thread_local Block* block;

static std::map<std::string, Kernel>& kernels() {
  static std::map<std::string, Kernel> k;
  return k;
}

void add_kernel(const char* name, void (*call)(void**), int params, bool flat) { kernels()[name] = {name, call, params, flat}; }

const Kernel* find_kernel(const char* name) {
  auto i = kernels().find(name);
  return i == kernels().end() ? 0 : &i->second;
}

static void to_scheduler() { standin_switch(&block->now->sp, block->scheduler); }

static void fiber_entry() {
  block->launch->kernel->call(block->launch->args);
  block->now->state = Done;
  to_scheduler();
  abort();
}

unsigned lane() { return block->now->id & 31; }

void* dynamic_shared() { return block->dynamic.data(); }

void* static_shared(const void* tag, size_t bytes) {
  auto i = block->declared.find(tag);
  if (i == block->declared.end()) {
    i = block->declared.emplace(tag, Shared()).first;
    i->second.reset(bytes);
    block->declared_bytes += bytes;
    if (block->declared_bytes > StaticSharedLimit) block->fault = "more static shared memory than a block can have";
  }
  return i->second.data();
}

// Ends the program for a kernel that waits although it is said to be flat.
static void need_fibers() {
  if (block->now) return;
  fprintf(stderr, "stand-in for libcuda: %s waits, but is a FLAT_KERNEL\n", block->launch->kernel->name);
  abort();
}

void barrier() {
  need_fibers();
  block->now->state = AtBarrier;
  to_scheduler();
}

const char* exchange(unsigned mask, const void* v, unsigned n) {
  need_fibers();
  Fiber* f = block->now;
  unsigned first = f->id & ~31u, self = f->id & 31, bit = 1u << self;
  Warp& w = block->warps[f->id >> 5];
  if (!w.arrived) w.mask = mask;
  if (w.mask != mask || !(mask & bit)) {
    block->fault = "lanes of a warp with different masks";
    f->state = Done;
    to_scheduler();
  }
  int buffer = w.buffer;
  if (n) memcpy(w.values[buffer][self], v, n);
  w.arrived |= bit;
  if (w.arrived != mask) {
    f->state = InWarp;
    to_scheduler();
    return &w.values[buffer][0][0];
  }
  // The last one wakes the others.
  w.arrived = 0;
  w.buffer ^= 1;
  unsigned end = std::min<unsigned>(block->fibers.size(), first + 32);
  for (unsigned i = first; i < end; i++)
    if (block->fibers[i].state == InWarp) block->fibers[i].state = Ready;
  return &w.values[buffer][0][0];
}

void copy_async(void* shared, const void* global) {
  Fiber* f = block->now;
  Copy c;
  c.shared = shared;
  c.group = f->group;
  if (global) memcpy(c.data, global, 16);
  else memset(c.data, 0, 16);
  memset(shared, 0xff, 16);
  f->copies.push_back(c);
}

void commit_copies() { block->now->group++; }

void wait_copies(int pending) {
  Fiber* f = block->now;
  size_t kept = 0;
  for (auto& c : f->copies) {
    if (c.group < f->group - pending) memcpy(c.shared, c.data, 16);
    else f->copies[kept++] = c;
  }
  f->copies.resize(kept);
}

// Where a thread of a block is.
Place Block::at(unsigned i, unsigned number) const {
  const unsigned *g = launch->grid, *b = launch->block;
  return {{i % b[0], i / b[0] % b[1], i / (b[0] * b[1])},
          {number % g[0], number / g[0] % g[1], number / (g[0] * g[1])},
          {b[0], b[1], b[2]},
          {g[0], g[1], g[2]}};
}

// Sets up the fibers and the shared memory of a block.
void Block::prepare(unsigned number) {
  const unsigned *b = launch->block, n = b[0] * b[1] * b[2];
  while (fibers.size() < n) {
    Fiber f{};
    f.stack = new_stack();
    fibers.push_back(f);
  }
  while (fibers.size() > n) {
    delete_stack(fibers.back().stack);
    fibers.pop_back();
  }
  for (unsigned i = 0; i < n; i++) {
    Fiber& f = fibers[i];
    f.place = at(i, number);
    f.state = Ready;
    f.id = i;
    f.group = 0;
    f.copies.clear();
    f.sp = fresh_fiber(f.stack, fiber_entry);
  }
  warps.assign((n + 31) / 32, Warp{});
  dynamic.reset(launch->shared);
  declared.clear();
  declared_bytes = 0;
  fault.clear();
}

// Runs a fiber as far as it gets; reports whether it could run.
bool Block::step(unsigned i) {
  Fiber& f = fibers[i];
  bool ran = false;
  while (f.state == Ready && fault.empty()) {
    now = &f;
    place = &f.place;
    standin_switch(&scheduler, f.sp);
    ran = true;
  }
  return ran;
}

// Runs each fiber as far as it gets: in order, or warp after warp in a random
// order, the lanes of a warp in any order. Random orders find missing barriers.
bool Block::round(bool shuffled) {
  bool ran = false;
  if (!shuffled) {
    for (unsigned i = 0; i < fibers.size(); i++) ran |= step(i);
    return ran;
  }
  std::vector<unsigned> order(warps.size());
  for (unsigned i = 0; i < order.size(); i++) order[i] = i;
  std::shuffle(order.begin(), order.end(), random);
  for (unsigned w : order) {
    std::vector<unsigned> lanes;
    for (unsigned i = 32 * w; i < std::min<unsigned>(fibers.size(), 32 * w + 32); i++) lanes.push_back(i);
    for (bool more = true; more;) {
      std::shuffle(lanes.begin(), lanes.end(), random);
      more = false;
      for (unsigned i : lanes) more |= step(i);
      ran |= more;
    }
  }
  return ran;
}

void Block::check_shared() {
  bool intact = dynamic.intact();
  for (auto& d : declared) intact = intact && d.second.intact();
  if (!intact && fault.empty()) fault = "written outside of the shared memory";
}

// Runs the threads of a flat kernel one after the other.
void Block::run_flat(unsigned number) {
  fault.clear();
  now = 0;
  unsigned n = launch->block[0] * launch->block[1] * launch->block[2];
  for (unsigned i = 0; i < n; i++) {
    Place p = at(i, number);
    place = &p;
    launch->kernel->call(launch->args);
  }
  place = 0;
}

void Block::run(const Launch& l, unsigned number) {
  launch = &l;
  block = this;
  if (l.kernel->flat) return run_flat(number);
  prepare(number);
  const char* seed = getenv("STANDIN_SHUFFLE");
  if (seed) random.seed(atoi(seed) + number);
  for (;;) {
    bool ran = round(seed);
    size_t done = 0, waiting = 0;
    for (auto& f : fibers) done += f.state == Done, waiting += f.state == AtBarrier;
    if (!fault.empty() || done == fibers.size()) break;
    if (done + waiting == fibers.size()) {
      // CUDA lets threads that have ended miss a barrier; a kernel of ours
      // must not rely on it for a warp operation, which the masks show.
      for (auto& f : fibers)
        if (f.state == AtBarrier) f.state = Ready;
      continue;
    }
    if (!ran) {
      fault = "threads wait for each other: a barrier or warp operation that not all reach";
      break;
    }
  }
  check_shared();
  place = 0;
}

// Blocks that no thread uses, with their stacks.
struct Idle {
  std::mutex mu;
  std::vector<Block*> blocks;
  Block* take() {
    std::lock_guard<std::mutex> guard(mu);
    if (blocks.empty()) return new Block;
    Block* b = blocks.back();
    blocks.pop_back();
    return b;
  }
  void put(Block* b) {
    std::lock_guard<std::mutex> guard(mu);
    blocks.push_back(b);
  }
};

static Idle& idle() {
  static Idle* i = new Idle; // outlives threads that run at the program's end
  return *i;
}

std::string run(const Launch& l) {
  unsigned blocks = l.grid[0] * l.grid[1] * l.grid[2];
  unsigned threads = std::min(std::max(1u, std::thread::hardware_concurrency()), blocks);
  std::atomic<unsigned> next{0};
  std::string fault;
  std::mutex mu;
  auto work = [&] {
    Block* b = idle().take();
    for (unsigned i; (i = next++) < blocks;) {
      b->run(l, i);
      if (b->fault.empty()) continue;
      std::lock_guard<std::mutex> guard(mu);
      fault = b->fault;
      next = blocks;
    }
    idle().put(b);
  };
  std::vector<std::thread> helpers;
  for (unsigned i = 1; i < threads; i++) helpers.emplace_back(work);
  work();
  for (auto& t : helpers) t.join();
  return fault;
}

}  // namespace standin
