// The records of a zip archive. Specification: PKWARE APPNOTE 6.3, with zip64.
#pragma once
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>

namespace retrace::weights {

class ZipArchive {
 public:
  // Reads the central directory of the archive that fills `bytes`, which must outlive this object. Throws
  // Error, beginning with `where`, if it is damaged, contradicts the local headers, spans several disks, or
  // if records overlap or share a name. Checksums are not compared, as PyTorch does not: it can be told to
  // leave them out. NumPy does: read_npz compares them.
  ZipArchive(std::span<const std::byte> bytes, std::string where);

  bool contains(std::string_view name) const { return records_.count(name) != 0; }
  // The bytes of a record. Throws Error if there is none of this name, or if it is compressed or encrypted.
  std::span<const std::byte> record(std::string_view name) const;

  struct Record {
    int method = 0;  // 0: stored
    bool encrypted = false;
    std::span<const std::byte> bytes;  // as they are in the file
    std::uint64_t plain = 0;           // how many they unfold to, so the archive says
    std::uint32_t checksum = 0;        // CRC-32 of the unfolded bytes
  };
  const std::map<std::string_view, Record>& records() const { return records_; }

 private:
  std::string where_;
  std::map<std::string_view, Record> records_;
};

}  // namespace retrace::weights
