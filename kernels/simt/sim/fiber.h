// Stacks, and switching between them. One executor (OS thread) owns a set of fibers; a fiber is a stack and
// the place where its last switch left off.
//
// A simulated thread that is given up is forgotten, not unwound (device code owns nothing): so this is built
// on Boost.Context's fcontext layer, not on its fiber class, which knows no way to forget. On x86-64 Linux a
// few lines of our own do the switch: Boost's leaves by a jump, which throws the processor's prediction of
// the returns that follow out of step, and saves floating-point modes that kernels do not change; at a
// barrier that is half the time.
#pragma once
#include <cstddef>
#include <vector>

namespace retrace::simt {

// A place execution can go back to: a fiber, or the OS thread's own stack.
struct Context {
  void* handle = nullptr;       // the stack pointer it was left with
  void* fake_stack = nullptr;   // AddressSanitizer's, while this context is left
  const void* stack = nullptr;  // lowest address
  std::size_t stack_bytes = 0;
};

// Leaves `from` for `to`; returns when somebody switches back to `from`.
void switch_context(Context& from, Context& to);
// Leaves `from` for good: nobody will switch back to it.
[[noreturn]] void leave_context(Context& from, Context& to);

// The fibers of one executor. Fiber i's address stays the same; a finished fiber's stack is used again.
class FiberSet {
 public:
  using Entry = void (*)();

  FiberSet() = default;
  FiberSet(const FiberSet&) = delete;
  FiberSet& operator=(const FiberSet&) = delete;
  ~FiberSet();

  // A fiber that will run `entry` on an empty stack; the calling OS thread's next switch must go to it.
  // `entry` must not return. Throws OutOfMemory where no stack can be had.
  int start(Entry entry);
  void finish(int fiber) { idle_.push_back(fiber); }
  // Every fiber is idle from here on, wherever it was.
  void forget_all();

  Context& operator[](int fiber) { return fibers_[std::size_t(fiber)]; }

 private:
  void add_stacks();

  std::vector<Context> fibers_;
  std::vector<int> idle_;
  std::vector<void*> chunks_;
};

}  // namespace retrace::simt
