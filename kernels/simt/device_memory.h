// Device memory of the simulator.
#pragma once
#include <cstddef>
#include <cstdint>

namespace retrace::simt {

// Memory for kernels, 256-byte aligned, contents undefined; null where there is none. Under AddressSanitizer
// the block is exactly as long as asked, so that every overrun is seen. In builds with RETRACE_RACECHECK it
// is registered, stands between guard zones of 4 KiB and, once freed, stays out of use for a while, so that
// an access past its ends or after device_free is reported with kernel, block, thread and line.
void* device_allocate(std::size_t bytes);
void device_free(void* memory) noexcept;

// Memory that comes from elsewhere. An access to one of the `guard` bytes before or behind it is reported;
// they must belong to nobody else. Memory that is neither registered nor inside a guard zone is left
// unwatched. Both do nothing in builds without RETRACE_RACECHECK.
void register_memory(const void* memory, std::size_t bytes, std::size_t guard = 0);
void unregister_memory(const void* memory) noexcept;

}  // namespace retrace::simt
