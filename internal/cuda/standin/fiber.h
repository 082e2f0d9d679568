// fiber.h: contexts that switch by hand.
#pragma once
#include <stddef.h>

namespace standin {

const size_t StackBytes = 64 << 10;

// A stack whose last page cannot be touched.
char* new_stack();
void delete_stack(char* stack);

// A fiber's stack pointer for a first switch to entry, which must not return.
void* fresh_fiber(char* stack, void (*entry)());

// Saves this context's stack pointer in from and goes on at to.
extern "C" void standin_switch(void** from, void* to);

}  // namespace standin
