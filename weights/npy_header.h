// The header of a NumPy array file. Specification: NEP 1 and numpy.lib.format, versions 1.0 to 3.0:
//   "\x93NUMPY", two bytes of version, the text's length (16 bits, from 2.0 on 32), the text, the elements.
// The text is a Python dict literal: {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "weights/dtype.h"

namespace retrace::weights {

struct NpyHeader {
  DType dtype = DType::f32;
  bool big_endian = false;
  bool fortran_order = false;  // the first index runs fastest
  std::vector<std::int64_t> shape;
  int version = 1;               // 1.0, 2.0 or 3.0
  std::size_t size = 0;          // bytes before the elements
  std::uint64_t data_bytes = 0;  // of the elements
};

// Enough of a file's beginning for npy_header_size.
inline constexpr std::size_t npy_prefix_size = 12;

// Bytes of the whole header of the file that begins with these; at most 64 KiB and a little. Throws Error, beginning
// with `where`, for another magic or version and for a longer header.
std::size_t npy_header_size(std::span<const std::byte> start, const std::string& where);

// Reads the header at the beginning of `bytes`. Throws Error, beginning with `where`, if it is not the literal of a
// dict of exactly the three keys, and for every element type but f2 f4 f8 i1 i2 i4 i8 u1 u2 u4 u8 b1: arrays of Python
// objects ('O') hold a pickle, and nothing is executed here.
NpyHeader read_npy_header(std::span<const std::byte> bytes, const std::string& where);

}  // namespace retrace::weights
