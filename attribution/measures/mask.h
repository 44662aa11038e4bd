// Masks of objects: [height, width], not 0 where the object is.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace retrace::measures {

using Mask = std::vector<std::uint8_t>;

// Pixels of the mask. All functions here throw Error if a side is not positive or the size is wrong.
std::size_t area(std::span<const std::uint8_t> mask);

// Every pixel at a distance of at most `radius` pixels (between centres) from one of the mask.
// UsageError for a negative radius.
Mask dilate_disc(std::span<const std::uint8_t> mask, int height, int width, double radius);

// Every pixel within one cell, in each direction, of one of the mask; a cell is height / grid_height by
// width / grid_width pixels. A CAM of that grid cannot place anything more exactly.
Mask dilate_cell(std::span<const std::uint8_t> mask, int height, int width, int grid_height, int grid_width);

// Every pixel in either.
Mask unite(std::span<const std::uint8_t> a, std::span<const std::uint8_t> b);

}  // namespace retrace::measures
