#include "kernels/simt/sim/fiber.h"

#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__)
#define RETRACE_OWN_SWITCH 1
#else
#include <boost/context/detail/fcontext.hpp>
#endif
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstring>

#include "kernels/error.h"
#include "kernels/simt/sim/sanitizer.h"

namespace retrace::simt {
namespace {

#if !defined(RETRACE_OWN_SWITCH)
namespace ctx = boost::context::detail;
#endif

// AddressSanitizer's frames are several times as large, and unoptimised ones too.
#if defined(RETRACE_ASAN)
constexpr std::size_t stack_bytes = 1024 * 1024;
#elif defined(__OPTIMIZE__) && !defined(RETRACE_RACECHECK)
constexpr std::size_t stack_bytes = 128 * 1024;
#else
constexpr std::size_t stack_bytes = 256 * 1024;
#endif
constexpr std::size_t stacks_per_chunk = 64;
constexpr std::size_t max_fibers = 1024;  // a block's most threads

// Each guard page splits a mapping in two, and Linux allows a process 65530 of them by default: with many
// cores the last stacks go without.
constexpr int max_guards = 16384;
std::atomic<int> guards = 0;

// Stacks that begin at the same offset of their pages would fight for the same few sets of the caches. The
// next stack is an odd number of pages away, so that 16 of them spread over 64 KiB; the next 16 begin some
// lines lower.
constexpr std::size_t colours = 16;
constexpr std::size_t colour_bytes = 17 * 64;

std::size_t page_bytes() {
  static const auto bytes = std::size_t(sysconf(_SC_PAGESIZE));
  return bytes;
}

thread_local FiberSet::Entry entry_of_next = nullptr;
thread_local Context* left_last = nullptr;

// The first function on a new stack.
void begin() {
  Context& left = *left_last;
  const void* stack = nullptr;
  std::size_t bytes = 0;
  finish_switch(nullptr, &stack, &bytes);
  if (!left.stack) {  // the OS thread's own stack: only now do we learn where it is
    left.stack = stack;
    left.stack_bytes = bytes;
  }
  entry_of_next();
}

#if defined(RETRACE_OWN_SWITCH)

// Pushes what the System V ABI says a call preserves, notes the stack pointer in *left, and takes up where
// `to` was left, by a return like any other.
extern "C" void retrace_switch_stack(void** left, void* to);
asm(R"(
.text
.local retrace_switch_stack
.type retrace_switch_stack, @function
.p2align 4
retrace_switch_stack:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size retrace_switch_stack, .-retrace_switch_stack
)");

void jump(Context& from, Context& to) {
  retrace_switch_stack(&from.handle, to.handle);
}

void* new_stack(char* top) {
  // What retrace_switch_stack pops: six registers and where to return to; then, as if called, a return
  // address that leads nowhere, and a stack aligned as the ABI wants it on entry.
  auto* slot = reinterpret_cast<void**>(reinterpret_cast<std::uintptr_t>(top) & ~std::uintptr_t(15));
  *--slot = nullptr;  // keeps begin()'s frame at 8 modulo 16
  *--slot = reinterpret_cast<void*>(&begin);
  for (int i = 0; i < 6; ++i) *--slot = nullptr;
  return slot;
}

#else

// The one who arrives is handed where the other left off.
void arrive(ctx::transfer_t from) {
  static_cast<Context*>(from.data)->handle = from.fctx;
}
void arrive_first(ctx::transfer_t from) {
  arrive(from);
  begin();
}
void jump(Context& from, Context& to) {
  arrive(ctx::jump_fcontext(to.handle, &from));
}
void* new_stack(char* top) {
  return ctx::make_fcontext(top, stack_bytes / 2, arrive_first);
}

#endif

}  // namespace

void switch_context(Context& from, Context& to) {
  start_switch(&from.fake_stack, to.stack, to.stack_bytes);
  left_last = &from;
  jump(from, to);
  finish_switch(from.fake_stack, nullptr, nullptr);
}

void leave_context(Context& from, Context& to) {
  start_switch(nullptr, to.stack, to.stack_bytes);
  left_last = &from;
  jump(from, to);
  __builtin_unreachable();
}

FiberSet::~FiberSet() {
  const std::size_t chunk_bytes = stacks_per_chunk * (stack_bytes + page_bytes());
  for (void* chunk : chunks_) munmap(chunk, chunk_bytes);
}

int FiberSet::start(Entry entry) {
  if (idle_.empty()) add_stacks();
  const int fiber = idle_.back();
  idle_.pop_back();
  Context& context = fibers_[std::size_t(fiber)];
  context.handle = new_stack(static_cast<char*>(const_cast<void*>(context.stack)) + context.stack_bytes);
  entry_of_next = entry;
  return fiber;
}

void FiberSet::add_stacks() {
  link_sanitizer_hooks();
  fibers_.reserve(max_fibers);  // growing would move a context that somebody refers to
  const std::size_t page = page_bytes(), stride = stack_bytes + page;
  void* const chunk = mmap(nullptr, stacks_per_chunk * stride, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (chunk == MAP_FAILED) {
    throw OutOfMemory("simulator: no memory for " + std::to_string(stacks_per_chunk) + " stacks of " +
                      std::to_string(stack_bytes) + " bytes: " + std::strerror(errno));
  }
  chunks_.push_back(chunk);
  for (std::size_t i = 0; i < stacks_per_chunk; ++i) {
    char* const low = static_cast<char*>(chunk) + i * stride;
    if (guards.fetch_add(1, std::memory_order_relaxed) < max_guards) mprotect(low, page, PROT_NONE);
    Context context;
    context.stack = low + page;
    context.stack_bytes = stack_bytes - fibers_.size() / 16 % colours * colour_bytes;
    idle_.push_back(int(fibers_.size()));
    fibers_.push_back(context);
  }
}

void FiberSet::forget_all() {
  idle_.clear();
  for (std::size_t i = 0; i < fibers_.size(); ++i) {
    // Frames that never returned left their red zones behind.
    unpoison(fibers_[i].stack, fibers_[i].stack_bytes);
    idle_.push_back(int(i));
  }
}

}  // namespace retrace::simt
