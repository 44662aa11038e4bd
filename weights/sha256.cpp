#include "weights/sha256.h"

#include <fmt/format.h>

#include <algorithm>

#include "kernels/error.h"
#include "weights/checked.h"

namespace retrace::weights {
namespace {

void add_number(Sha256& hash, std::uint64_t value) {
  hash.add(std::as_bytes(std::span(&value, 1)));  // the host is little-endian (host_tensor.cpp)
}

void add_text(Sha256& hash, std::string_view text) {
  add_number(hash, text.size());
  hash.add(std::as_bytes(std::span(text)));
}

}  // namespace

Sha256::Sha256() : Sha256(sha256_blocks_x86() ? sha256_blocks_x86() : sha256_blocks_plain) {}

void Sha256::add(std::span<const std::byte> bytes) {
  const std::size_t held = length_ % 64;
  length_ += bytes.size();
  if (held) {
    const std::size_t n = std::min(bytes.size(), 64 - held);
    std::copy_n(bytes.begin(), n, buffer_.begin() + std::ptrdiff_t(held));
    if (held + n < 64) return;
    blocks_(state_, buffer_.data(), 1);
    bytes = bytes.subspan(n);
  }
  blocks_(state_, bytes.data(), bytes.size() / 64);
  const auto rest = bytes.last(bytes.size() % 64);
  std::copy(rest.begin(), rest.end(), buffer_.begin());
}

std::string Sha256::hex() {
  const std::uint64_t bits = length_ * 8;
  std::array<std::byte, 72> end{
      std::byte{0x80}};  // a one, zeros, and the length, big-endian, to a whole block
  const std::size_t zeros = (119 - length_ % 64) % 64;
  for (std::size_t i = 0; i < 8; ++i) end[1 + zeros + i] = std::byte(bits >> (56 - 8 * i));
  add(std::span(end).first(9 + zeros));
  std::string text;
  for (const std::uint32_t word : state_) text += fmt::format("{:08x}", word);
  return text;
}

void add_content(Sha256& hash, const HostTensor& tensor) {
  add_text(hash, tensor.name);
  add_text(hash, dtype_name(tensor.dtype));
  add_number(hash, tensor.shape.size());
  for (const std::int64_t size : tensor.shape) add_number(hash, std::uint64_t(size));
  add_number(hash, tensor.byte_size());
  hash.add({tensor.data.get(), tensor.byte_size()});
}

std::string content_sha256(std::span<const HostTensor> tensors) {
  Sha256 hash;
  for (const HostTensor& tensor : tensors) add_content(hash, tensor);
  return hash.hex();
}

void check_content(const Checkpoint& checkpoint) {
  const auto said = checkpoint.metadata.find(content_sha256_key);
  if (said == checkpoint.metadata.end() || checkpoint.format != "safetensors") return;
  const std::string found = content_sha256(checkpoint.tensors);
  if (found != said->second) {
    throw Error(
        fmt::format("{}: its contents are not those it was written with: their SHA-256 is {}, its metadata "
                    "expect {}",
                    checkpoint.path, found, quote(said->second)));
  }
}

}  // namespace retrace::weights
