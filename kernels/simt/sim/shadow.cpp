#include "kernels/simt/sim/shadow.h"

#include <algorithm>

#include "kernels/simt/sim/executor.h"

namespace retrace::simt {

thread_local constinit Shadow* watching = nullptr;

namespace {

std::string bytes_text(std::size_t n) {
  return std::to_string(n) + (n == 1 ? " byte" : " bytes");
}

std::string verb(Access access, std::size_t bytes) {
  const char* const word = access == Access::read    ? "reads "
                           : access == Access::write ? "writes "
                                                     : "updates ";
  return word + bytes_text(bytes);
}

}  // namespace

void Shadow::begin_launch(const char* kernel, unsigned threads,
                          std::shared_ptr<const std::vector<MemoryBlock>> memory, const SimOptions& options) {
  memory_ = std::move(memory);
  plain_.fill({});
  for (const auto& [word, bytes] : split_) cells_[word] = {};
  split_.clear();
  clocks_.assign(std::size_t(threads) * 32, 0);
  between_blocks_ = options.check_global_races;
  counting_ = options.count_accesses;
  global_.clear();
  counter_.begin_launch(kernel);
}

void Shadow::begin_block(uint3 block) {
  first_interval_ = ++interval_;
  const dim3 grid = current.grid_dim;
  block_shape_ = current.block_dim;
  block_number_ = block.x + std::uint64_t(grid.x) * (block.y + std::uint64_t(grid.y) * block.z) + 1;
  std::fill(clocks_.begin(), clocks_.end(), 0);
  for (unsigned t = 0; t < clocks_.size() / 32; ++t) clock(t)[t % 32] = 1;
}

void Shadow::end_block() {
  if (counting_) counter_.flush();
}

void Shadow::forget() {
  cells_.clear();
  split_.clear();
  counter_.forget();
}

void Shadow::barrier() {
  ++interval_;
  if (counting_) counter_.flush();
}

void Shadow::warp_sync(unsigned first_thread, unsigned mask) {
  std::uint32_t together[32] = {};
  for (unsigned lane = 0; lane < 32; ++lane) {
    if (!(mask >> lane & 1)) continue;
    const std::uint32_t* const known = clock(first_thread + lane);
    for (unsigned i = 0; i < 32; ++i) together[i] = std::max(together[i], known[i]);
  }
  for (unsigned lane = 0; lane < 32; ++lane) {
    if (!(mask >> lane & 1)) continue;
    std::uint32_t* const known = clock(first_thread + lane);
    std::copy(together, together + 32, known);
    ++known[lane];  // what it does from now on the others have yet to meet
  }
}

std::array<Shadow::Cell, 4>& Shadow::split(std::uintptr_t word) {
  Cell& whole = cells_[word];
  const auto [bytes, is_new] = split_.try_emplace(word);
  if (is_new) {
    bytes->second.fill(whole);
    whole.split = true;
  }
  return bytes->second;
}

template <class F>
bool Shadow::each_cell(std::uintptr_t offset, std::size_t bytes, const F& visit) {
  const std::uintptr_t end = offset + bytes;
  if ((end + 3) / 4 > cells_.size()) cells_.resize((end + 3) / 4 + 1024);
  for (std::uintptr_t byte = offset; byte < end;) {
    Cell& word = cells_[byte / 4];
    if (!word.split && byte % 4 == 0 && end - byte >= 4) {
      if (!visit(word, byte)) return false;
      byte += 4;
      continue;
    }
    auto& parts = split(byte / 4);
    do {
      if (!visit(parts[byte % 4], byte)) return false;
    } while (++byte < end && byte % 4 != 0);
  }
  return true;
}

void Shadow::set_copying(const void* to, std::size_t bytes, bool copying) {
  const auto offset =
      reinterpret_cast<std::uintptr_t>(to) - reinterpret_cast<std::uintptr_t>(shared_.arena());
  if (offset + bytes > SharedMemory::arena_bytes) return;
  each_cell(offset, bytes, [&](Cell& cell, std::uintptr_t) {
    cell.copying = copying;
    return true;
  });
}

// Two readers are kept, of two warps where possible: a writer is ordered with neither only if it waited for
// all.
void Shadow::note_read(Cell& cell, const Visit& visit) const {
  Visit *first = &cell.reads[0], *second = &cell.reads[1];
  if (first->interval != interval_ || first->thread == visit.thread) {
    if (first->interval != interval_) *second = {};
    *first = visit;
  } else if (second->interval != interval_ || second->thread == visit.thread ||
             second->thread / 32 == visit.thread / 32 || first->thread / 32 == second->thread / 32) {
    *second = visit;
  }
}

std::string Shadow::thread_name(unsigned t) const {
  const dim3 shape = block_shape_;
  return "thread " + triple({t % shape.x, t / shape.x % shape.y, t / shape.x / shape.y});
}

bool Shadow::fail(std::string what) {
  fault_ = std::move(what);
  return false;
}

bool Shadow::fail_outside(std::uintptr_t offset, std::size_t bytes, Access access) {
  const auto arena = reinterpret_cast<std::uintptr_t>(shared_.arena());
  const SharedMemory::Array* nearest = nullptr;
  std::uintptr_t nearest_distance = ~std::uintptr_t(0);
  for (const auto& array : shared_.arrays()) {
    const auto begin = reinterpret_cast<std::uintptr_t>(array.data) - arena;
    const std::uintptr_t distance =
        offset < begin ? begin - offset : offset - begin - std::min(offset - begin, array.bytes);
    if (distance < nearest_distance) {
      nearest_distance = distance;
      nearest = &array;
    }
  }
  if (!nearest) return fail(verb(access, bytes) + " of shared memory outside of every array");
  const auto begin = std::int64_t(reinterpret_cast<std::uintptr_t>(nearest->data) - arena);
  return fail(verb(access, bytes) + " at byte " + std::to_string(std::int64_t(offset) - begin) + " of " +
              nearest->name() + ", which is out of bounds: it has " + bytes_text(nearest->bytes));
}

bool Shadow::check_shared(unsigned thread, std::uintptr_t offset, std::size_t bytes, Access access,
                          CallSite at) {
  const auto arena = reinterpret_cast<std::uintptr_t>(shared_.arena());
  const SharedMemory::Array* inside = nullptr;
  for (const auto& array : shared_.arrays()) {
    const auto begin = reinterpret_cast<std::uintptr_t>(array.data) - arena;
    if (offset >= begin && offset + bytes <= begin + array.bytes) {
      inside = &array;
      break;
    }
  }
  if (!inside) return fail_outside(offset, bytes, access);
  const std::uintptr_t begin = reinterpret_cast<std::uintptr_t>(inside->data) - arena;
  if (counting_) {
    counter_.count(thread, reinterpret_cast<std::uintptr_t>(inside->data) + (offset - begin), bytes, true,
                   access != Access::read, at);
  }

  const Visit visit{interval_, clock(thread)[thread % 32], thread, at};
  return each_cell(offset, bytes, [&](Cell& c, std::uintptr_t byte) {
    const auto what = [&](const std::string& wrong) {
      return fail(verb(access, bytes) + " at byte " + std::to_string(byte - begin) + " of shared array " +
                  inside->name() + wrong);
    };
    const bool was_written = c.write.interval >= first_interval_;
    if (access != Access::write) {
      if (c.copying && was_written) {
        return what(", where the cp.async at " + c.write.at.place() + " by " + thread_name(c.write.thread) +
                    " has not been waited for");
      }
      if (!was_written) return what(", which no thread of the block has written");
    }
    if (was_written && !ordered(c.write, thread) && !(access == Access::atomic && c.atomic)) {
      return what(", a race: " + thread_name(c.write.thread) + " wrote it at " + c.write.at.place() +
                  " with no barrier in between");
    }
    if (access == Access::read) {
      note_read(c, visit);
      return true;
    }
    for (const Visit& read : c.reads) {
      if (read.interval >= first_interval_ && !ordered(read, thread)) {
        return what(", a race: " + thread_name(read.thread) + " read it at " + read.at.place() +
                    " with no barrier in between");
      }
    }
    c.write = visit;
    c.atomic = access == Access::atomic;
    return true;
  });
}

bool Shadow::fail_device(std::uintptr_t address, std::size_t bytes, Access access, const MemoryBlock& block) {
  return fail(verb(access, bytes) + " at byte " + std::to_string(std::int64_t(address - block.begin)) +
              " of a block of device memory of " + bytes_text(block.end - block.begin) +
              (block.freed ? ", which has been freed" : ", which is out of bounds"));
}

bool Shadow::check_device(unsigned thread, std::uintptr_t address, std::size_t bytes, Access access,
                          CallSite at) {
  if (!memory_) return true;
  const auto& blocks = *memory_;
  const auto after =
      std::upper_bound(blocks.begin(), blocks.end(), address,
                       [](std::uintptr_t a, const MemoryBlock& b) { return a < b.zone_begin; });
  const MemoryBlock* const block = after == blocks.begin() ? nullptr : &*std::prev(after);
  Range& plain = plain_[at.hash() % plain_.size()];
  if (!block || address >= block->zone_end) {  // nobody's
    Range gap{block ? block->zone_end : 1, after == blocks.end() ? ~std::uintptr_t(0) : after->zone_begin};
    // Shared memory lies between blocks too, and is not plain.
    const auto arena = reinterpret_cast<std::uintptr_t>(shared_.arena());
    if (arena >= address) {
      gap.end = std::min(gap.end, arena);
    } else {
      gap.begin = std::max(gap.begin, arena + SharedMemory::arena_bytes);
    }
    plain = gap;
    return true;
  }
  if (block->freed || address < block->begin || address + bytes > block->end) {
    return fail_device(address, bytes, access, *block);
  }
  if (counting_) counter_.count(thread, address, bytes, false, access != Access::read, at);
  if (between_blocks_) return check_between_blocks(address, bytes, access, at, *block);
  if (!counting_) plain = {block->begin, block->end};
  return true;
}

bool Shadow::check_between_blocks(std::uintptr_t address, std::size_t bytes, Access access, CallSite at,
                                  const MemoryBlock& block) {
  const auto conflict = [&](std::uint64_t other, CallSite where, const char* did) {
    const std::uint64_t b = other - 1;
    const dim3 grid = current.grid_dim;
    return fail(verb(access, bytes) + " at byte " + std::to_string(address - block.begin) +
                " of a block of device memory of " + bytes_text(block.end - block.begin) +
                ", a race: block " +
                triple({unsigned(b % grid.x), unsigned(b / grid.x % grid.y), unsigned(b / grid.x / grid.y)}) +
                did + where.place() + " in the same launch");
  };
  for (std::uintptr_t word = address / 4; word <= (address + bytes - 1) / 4; ++word) {
    GlobalCell& cell = global_[word];
    const bool both_atomic = access == Access::atomic && cell.atomic;
    if (cell.writer && cell.writer != block_number_ && !both_atomic) {
      return conflict(cell.writer, cell.write, " wrote it at ");
    }
    if (access == Access::read) {
      if (!cell.reader || cell.reader == block_number_) {
        cell.reader = block_number_;
        cell.read = at;
      } else {
        cell.reader = several_blocks;
      }
      continue;
    }
    if (cell.reader && cell.reader != block_number_) {
      return cell.reader == several_blocks
                 ? fail(verb(access, bytes) + " at byte " + std::to_string(address - block.begin) +
                        " of a block of device memory, a race: several blocks read it, one at " +
                        cell.read.place() + ", in the same launch")
                 : conflict(cell.reader, cell.read, " read it at ");
    }
    cell.writer = block_number_;
    cell.write = at;
    cell.atomic = access == Access::atomic;
  }
  return true;
}

}  // namespace retrace::simt
