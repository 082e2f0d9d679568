#include "fiber.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

// Both keep the callee-saved registers on the stack. The floating-point
// control words are those of all fibers.
#if defined(__x86_64__)
__asm__(R"(
.text
.globl standin_switch
.type standin_switch, @function
standin_switch:
  push %rbp
  push %rbx
  push %r12
  push %r13
  push %r14
  push %r15
  mov %rsp, (%rdi)
  mov %rsi, %rsp
  pop %r15
  pop %r14
  pop %r13
  pop %r12
  pop %rbx
  pop %rbp
  ret
)");
#elif defined(__aarch64__)
__asm__(R"(
.text
.globl standin_switch
.type standin_switch, %function
standin_switch:
  sub sp, sp, #160
  stp x19, x20, [sp]
  stp x21, x22, [sp, #16]
  stp x23, x24, [sp, #32]
  stp x25, x26, [sp, #48]
  stp x27, x28, [sp, #64]
  stp x29, x30, [sp, #80]
  stp d8, d9, [sp, #96]
  stp d10, d11, [sp, #112]
  stp d12, d13, [sp, #128]
  stp d14, d15, [sp, #144]
  mov x9, sp
  str x9, [x0]
  mov sp, x1
  ldp x19, x20, [sp]
  ldp x21, x22, [sp, #16]
  ldp x23, x24, [sp, #32]
  ldp x25, x26, [sp, #48]
  ldp x27, x28, [sp, #64]
  ldp x29, x30, [sp, #80]
  ldp d8, d9, [sp, #96]
  ldp d10, d11, [sp, #112]
  ldp d12, d13, [sp, #128]
  ldp d14, d15, [sp, #144]
  add sp, sp, #160
  ret
)");
#endif

namespace standin {

char* new_stack() {
  char* s = (char*)mmap(0, StackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (s == MAP_FAILED) abort();
  mprotect(s, 4096, PROT_NONE);
  return s;
}

void delete_stack(char* stack) { munmap(stack, StackBytes); }

void* fresh_fiber(char* stack, void (*entry)()) {
  uint64_t* top = (uint64_t*)(stack + StackBytes);
#if defined(__x86_64__)
  *--top = 0;  // aligns the stack as a call would
  *--top = (uint64_t)entry;
  for (int i = 0; i < 6; i++) *--top = 0;
#elif defined(__aarch64__)
  top -= 20;
  memset(top, 0, 160);
  top[11] = (uint64_t)entry;
#endif
  return top;
}

}  // namespace standin
