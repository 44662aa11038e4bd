// The demo network's file as a part of the program, so that it is there wherever the program is.
#include "weights/checkpoint.h"
#include "weights/mapped_file.h"
#include "weights/readers.h"

// RETRACE_DEMO_FILE is its path, from CMake.
asm(".section .rodata\n"
    ".balign 64\n"
    "retrace_demo_begin:\n"
    ".incbin \"" RETRACE_DEMO_FILE
    "\"\n"
    "retrace_demo_end:\n"
    ".byte 0\n"
    ".global retrace_demo_begin, retrace_demo_end\n"
    ".hidden retrace_demo_begin, retrace_demo_end\n"
    ".previous\n");
extern "C" __attribute__((visibility("hidden"))) const std::byte retrace_demo_begin[], retrace_demo_end[];

namespace retrace::weights {

Checkpoint demo_checkpoint() {
  return read_safetensors(MappedFile::view(
      "the demo model", {retrace_demo_begin, std::size_t(retrace_demo_end - retrace_demo_begin)}));
}

}  // namespace retrace::weights
