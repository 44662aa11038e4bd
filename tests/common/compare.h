// How far a result is from its reference, said so that a failing test shows where to look.
#pragma once
#include <cmath>
#include <cstddef>
#include <cstring>
#include <limits>
#include <sstream>
#include <string>
#include <vector>

namespace retrace {

struct Comparison {
  std::size_t got_count = 0, want_count = 0;
  double max_abs = 0;  // largest |got − want|; infinity where one is NaN or infinite and the other is not
  double relative_rms = 0;  // √(Σ (got − want)² / Σ want²); the plain root of the sum where want is all 0
  std::size_t worst = 0;     // index of the largest difference
  double got = 0, want = 0;  // the two values there

  bool within(double max_abs_tolerance, double relative_rms_tolerance) const {
    return got_count == want_count && max_abs <= max_abs_tolerance && relative_rms <= relative_rms_tolerance;
  }
  // "max abs 1.2e-07, relative RMS 3.4e-08, worst at 17: got 0.25, want 0.25000012"
  std::string message() const {
    std::ostringstream out;
    out.precision(9);
    if (got_count != want_count) {
      out << "got " << got_count << " values, want " << want_count;
      return out.str();
    }
    out << "max abs " << max_abs << ", relative RMS " << relative_rms << ", worst at " << worst << ": got "
        << got << ", want " << want;
    return out.str();
  }
};

// Two NaNs agree, and so do two equal infinities.
template <class Got, class Want>
Comparison compare(const std::vector<Got>& got, const std::vector<Want>& want) {
  Comparison result;
  result.got_count = got.size();
  result.want_count = want.size();
  if (got.size() != want.size()) {
    result.max_abs = result.relative_rms = std::numeric_limits<double>::infinity();
    return result;
  }
  double difference_square = 0, want_square = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    const double g = double(got[i]), w = double(want[i]);
    double difference = 0;
    if (std::isfinite(g) && std::isfinite(w)) {
      difference = std::abs(g - w);
      want_square += w * w;
    } else if (!(g == w || (std::isnan(g) && std::isnan(w)))) {
      difference = std::numeric_limits<double>::infinity();
    }
    difference_square += difference * difference;
    if (difference > result.max_abs || i == 0) {
      result.max_abs = difference;
      result.worst = i;
      result.got = g;
      result.want = w;
    }
  }
  result.relative_rms = std::sqrt(want_square > 0 ? difference_square / want_square : difference_square);
  return result;
}

// Empty if the two hold the same bytes; else where they first differ.
template <class T>
std::string bitwise_difference(const std::vector<T>& a, const std::vector<T>& b) {
  std::ostringstream out;
  out.precision(9);
  if (a.size() != b.size()) {
    out << a.size() << " values against " << b.size();
    return out.str();
  }
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (std::memcmp(&a[i], &b[i], sizeof(T)) != 0) {
      out << "first at " << i << ": " << +a[i] << " against " << +b[i];
      return out.str();
    }
  }
  return {};
}

}  // namespace retrace

// For doctest: CHECK_CLOSE(got, want, 1e-6, 1e-7) with the report in the failure's message.
#define CHECK_CLOSE(got, want, max_abs_tolerance, relative_rms_tolerance)                                    \
  do {                                                                                                       \
    const ::retrace::Comparison comparison_ = ::retrace::compare((got), (want));                             \
    CHECK_MESSAGE(comparison_.within((max_abs_tolerance), (relative_rms_tolerance)), comparison_.message()); \
  } while (false)
#define CHECK_SAME_BITS(a, b)                                                \
  do {                                                                       \
    const std::string difference_ = ::retrace::bitwise_difference((a), (b)); \
    CHECK_MESSAGE(difference_.empty(), difference_);                         \
  } while (false)
