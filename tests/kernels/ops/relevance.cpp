// relu_pass and sign_select; the gate is tested with the rules that it serves (tests/attribution).
#include "tests/kernels/ops/support.h"
#include "tests/reference/signal.h"

using namespace retrace;
using namespace retrace::test;

namespace {

// Below, at and above what a thread and a block take.
const int counts[] = {1, 3, 4, 5, 1000, 1023, 1024, 1025, 10000};

// Positive, negative and zero, some beyond a ceiling of 6.
Floats mixed(long long count, unsigned seed) {
  Floats x = random_floats(count, seed, -12, 12);
  for (std::size_t i = 0; i < x.size(); i += 7) x[i] = i % 2 ? 0.0f : -0.0f;
  return x;
}

enum class Where { apart, in_x, in_signal, in_pending };

// call(count, x, signal, pending, out) on arrays of every count, aligned and one float off, and wherever out may lie.
template <class Call, class Want>
void check_scaled(bool signal_may_miss, Call call, Want want_of) {
  for (const int count : counts) {
    for (const int offset : {0, 1}) {
      for (const bool with_signal : {true, false}) {
        for (const bool with_pending : {true, false}) {
          for (const Where where : {Where::apart, Where::in_x, Where::in_signal, Where::in_pending}) {
            if (!with_signal && (!signal_may_miss || where == Where::in_signal)) continue;
            if (!with_pending && where == Where::in_pending) continue;
            CAPTURE(count);
            CAPTURE(offset);
            CAPTURE(with_signal);
            CAPTURE(with_pending);
            CAPTURE(int(where));
            const Floats x = mixed(count + offset, 1);
            const Floats signal = with_signal ? random_floats(count + offset, 2) : Floats();
            const Floats pending = with_pending ? random_floats(count + offset, 3) : Floats();
            const Results got = run_all_ways(1, [&](int, int) {
              const Input<float> device_x(x), device_signal(signal), device_pending(pending);
              const Output<float> out(count + offset);
              float* const to = where == Where::apart       ? out
                                : where == Where::in_x      ? static_cast<float*>(device_x)
                                : where == Where::in_signal ? device_signal
                                                            : device_pending;
              const auto past = [&](float* p) { return p ? p + offset : nullptr; };
              call(count, past(device_x), past(device_signal), past(device_pending), to + offset);
              const Floats values = where == Where::apart       ? out.to_host()
                                    : where == Where::in_x      ? device_x.to_host()
                                    : where == Where::in_signal ? device_signal.to_host()
                                                                : device_pending.to_host();
              return Results{.y = Floats(values.begin() + offset, values.end())};
            });
            reference::Values want;
            for (std::size_t i = std::size_t(offset); i < x.size(); ++i) {
              want.push_back(want_of(double(x[i]), with_signal ? double(signal[i]) : 1.0) +
                             (with_pending ? double(pending[i]) : 0.0));
            }
            // A quotient below 1 rounded by 2^-25 of 1 or less, a product up to 3 and a sum up to 4 rounded together.
            CHECK_CLOSE(got.y, want, 2.5e-7, 1e-7);
          }
        }
      }
    }
  }
}

}  // namespace

TEST_CASE("relu_pass") {
  for (const float ceiling : {6.0f, infinity}) {
    CAPTURE(ceiling);
    check_scaled(
        false,
        [&](long long count, const float* x, const float* dy, const float* pending, float* dx) {
          table().relu_pass({count, dy, x, ceiling, pending, dx}, stream());
        },
        [&](double x, double dy) { return x > 0 ? dy * std::min(x, double(ceiling)) / x : 0; });
  }
}

TEST_CASE("relu_pass keeps relevance: dx · x = dy · y, and dx = dy below the ceiling") {
  const Floats x = mixed(1000, 1), dy = random_floats(1000, 2);
  const Input<float> device_x(x), device_dy(dy);
  const Output<float> out(1000);
  table().relu_pass({1000, device_dy, device_x, 6, nullptr, out}, stream());
  const Floats dx = out.to_host();
  for (std::size_t i = 0; i < x.size(); ++i) {
    if (x[i] > 0 && x[i] <= 6) CHECK(dx[i] == dy[i]);
    const double y = std::clamp(double(x[i]), 0.0, 6.0);
    CHECK(std::abs(double(dx[i]) * double(x[i]) - double(dy[i]) * y) <=
          12 * 1.2e-7);  // two roundings of dx, times x
  }
}

TEST_CASE("relu_pass: what is not finite") {
  const Floats x = {nan_value, infinity, -infinity, -1, 0, 2, 1e-40f, infinity};
  const Floats dy = {1, 3, nan_value, infinity, nan_value, nan_value, 5, 0};
  const Input<float> device_x(x), device_dy(dy);
  const Output<float> out(8);
  table().relu_pass({8, device_dy, device_x, 6, nullptr, out}, stream());
  CHECK_CLOSE(out.to_host(), (Floats{0, 0, 0, 0, 0, nan_value, 5, 0}), 0, 0);
  table().relu_pass({8, device_dy, device_x, infinity, nullptr, out}, stream());
  CHECK_CLOSE(out.to_host(), (Floats{0, 3, 0, 0, 0, nan_value, 5, 0}), 0, 0);
}

TEST_CASE("sign_select") {
  check_scaled(
      true,
      [&](long long count, const float* x, const float* signal, const float* pending, float* out) {
        table().sign_select({count, x, 2.5f, -0.75f, signal, pending, out}, stream());
      },
      [](double x, double signal) {
        return (x > 0 ? 2.5 : x < 0 ? -0.75 : 0) * signal;
      });
}

TEST_CASE("sign_select: NaN, infinity and both zeros") {
  const Input<float> x(Floats{nan_value, infinity, -infinity, 0, -0.0f, 1e-40f, -1e-40f, 3});
  const Output<float> out(8);
  table().sign_select({8, x, 2, -3, nullptr, nullptr, out}, stream());
  CHECK_CLOSE(out.to_host(), (Floats{nan_value, 2, -3, 0, 0, 2, -3, 2}), 0, 0);
}

TEST_CASE("relu_pass and sign_select refuse what they cannot work on, and do nothing to nothing") {
  const Output<float> x(64), y(64);
  float* const px = x;
  float* const py = y;
  const auto pass = [&](kernels::ReluPass a) { return [=] { table().relu_pass(a, stream()); }; };
  pass({0, nullptr, nullptr, 6, nullptr, nullptr})();
  check_refused(pass({-1, px, px, 6, nullptr, py}), {"relu_pass", "count is -1"});
  check_refused(pass({4, nullptr, px, 6, nullptr, py}), {"dy is null"});
  check_refused(pass({4, px, nullptr, 6, nullptr, py}), {"x is null"});
  check_refused(pass({4, px, px, 6, nullptr, nullptr}), {"dx is null"});
  check_refused(pass({4, px, px, 0, nullptr, py}), {"ceiling is 0", "more than 0"});
  check_refused(pass({4, px, px, nan_value, nullptr, py}), {"ceiling is nan"});
  check_refused(pass({4, py + 1, px, 6, nullptr, py}), {"dx", "memory of dy"});
  check_refused(pass({4, px, py + 3, 6, nullptr, py}), {"dx", "memory of x"});
  check_refused(pass({4, px, px, 6, py + 3, py}), {"dx", "memory of pending"});
  const auto select = [&](kernels::SignSelect a) { return [=] { table().sign_select(a, stream()); }; };
  select({0, nullptr, 1, 1, nullptr, nullptr, nullptr})();
  check_refused(select({-1, px, 1, 1, nullptr, nullptr, py}), {"sign_select", "count is -1"});
  check_refused(select({4, nullptr, 1, 1, nullptr, nullptr, py}), {"x is null"});
  check_refused(select({4, px, 1, 1, nullptr, nullptr, nullptr}), {"out is null"});
  check_refused(select({4, py + 1, 1, 1, nullptr, nullptr, py}), {"out", "memory of x"});
  check_refused(select({4, px, 1, 1, py + 1, nullptr, py}), {"out", "memory of signal"});
  check_refused(select({4, px, 1, 1, nullptr, py + 1, py}), {"out", "memory of pending"});
}
