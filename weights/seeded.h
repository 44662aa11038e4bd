// Parameter values made from a name and a seed: golden tests need networks whose weights Python and C++ agree
// on bit for bit, without committing them. tools/reference/seeded.py is the twin.
#pragma once
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace retrace {

// The values of the parameter `name` (torchvision's names) of the given shape, in C order; convolution
// weights are [K, C, R, S], linear ones [K, C].
//
//   h      = 64-bit FNV-1a of the name's bytes
//   stream = h xor mix(seed), mix being splitmix64's finaliser (Steele, Lea, Flood 2014)
//   bits_i = mix(stream + i · 0x9e3779b97f4a7c15 mod 2^64), i the flat index
//   u_i    = (bits_i >> 40) / 2^24
//   x_i    = float(low + (high − low) · u_i), computed in double
//
// The range comes from the name's last part, the rank, and the module's name (what stands before the last
// part):
//   weight [K, C, R, S]  ± sqrt(6 / (C · R · S)), rounded to float
//   weight [K, C]        ± sqrt(3 / C), rounded to float
//   weight [C]           0.5 to 1.5 (batch norm)
//   bias [C]             ± 0.3f in a batch norm: the module is called bn… or norm…, or is `downsample.1`;
//                        ± 0.1f elsewhere
//   running_mean [C]     0
//   running_var [C]      1
// Throws Error, naming the tensor and its shape, for any other kind of tensor and for sizes below 1.
std::vector<float> seeded_tensor(std::string_view name, std::span<const std::int64_t> shape,
                                 std::uint64_t seed);

}  // namespace retrace
