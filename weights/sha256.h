// SHA-256 (FIPS 180-4), and the hash of a file's contents by it.
#pragma once
#include <array>
#include <cstdint>
#include <span>
#include <string>

#include "weights/checkpoint.h"
#include "weights/sha256_blocks.h"

namespace retrace::weights {

class Sha256 {
 public:
  Sha256();  // with the processor's instructions where it has them
  explicit Sha256(Sha256Blocks blocks) : blocks_(blocks) {}
  void add(std::span<const std::byte> bytes);
  // 64 hexadecimal digits. Nothing may be added afterwards.
  std::string hex();

 private:
  Sha256Blocks blocks_;
  Sha256State state_{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                     0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::array<std::byte, 64> buffer_{};
  std::uint64_t length_ = 0;  // bytes added
};

// Over names, types, shapes and bytes of the tensors in their order. Of each: the name's length and the name; the
// type's name ("f32") likewise; the number of sizes and the sizes; the number of bytes and the bytes. Numbers are
// 64 bits, little-endian. What else a file holds (metadata, padding) does not count.
std::string content_sha256(std::span<const HostTensor> tensors);
// The part of one of them.
void add_content(Sha256& hash, const HostTensor& tensor);

// The metadata entry of what we write.
inline constexpr const char* content_sha256_key = "content_sha256";

// Whether a safetensors file with such an entry holds what it was written with. Error naming both hashes if not.
void check_content(const Checkpoint& checkpoint);

}  // namespace retrace::weights
