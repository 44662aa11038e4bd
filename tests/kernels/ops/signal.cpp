// Parts, signal loads, masks: checked value by value through 1 × 1 linear layers, which add nothing of their
// own.
#include "tests/reference/signal.h"

#include "tests/kernels/ops/support.h"

using namespace retrace;
using namespace retrace::test;
using kernels::Part;

TEST_CASE("part_of keeps the sign it names, and NaN in every part") {
  const Floats x = {-2.5f, -0.0f, 0.0f, 3.0f, infinity, -infinity, nan_value};
  for (const Part part : {Part::all, Part::positive, Part::negative}) {
    CAPTURE(int(part));
    kernels::LinearFprop a;
    a.n = int(x.size());
    const Input<float> device_x(x), w(Floats{1});
    const Output<float> y(a.n);
    a.x = device_x;
    a.w = w;
    a.y = y;
    a.part = part;
    table().linear_fprop(a, stream());
    reference::Values want;
    for (const float v : x) want.push_back(reference::part(part, v));
    CHECK_CLOSE(y.to_host(), want, 0, 0);  // nothing is rounded
  }
}

TEST_CASE("load_signal divides by the stabilized denominator, and gives 0 for 0 / 0") {
  const Floats signal = {1, -2, 0, 3, 4, 5, -6, 0, nan_value, 1};
  const Floats factor = {2, 2, 2, 0, 0.5f, -1, 1, 0, 1, nan_value};
  const Floats denominator = {4, -4, 0, 0, 0, -0.0f, 1e-3f, -2, 2, 2};
  for (const float epsilon : {0.0f, 0.25f}) {
    for (const bool with_factor : {false, true}) {
      for (const bool with_denominator : {false, true}) {
        CAPTURE(epsilon);
        CAPTURE(with_factor);
        CAPTURE(with_denominator);
        const Floats f = with_factor ? factor : Floats(), d = with_denominator ? denominator : Floats();
        const Input<float> device_signal(signal), device_factor(f), device_denominator(d), w(Floats{1});
        const Output<float> dx(std::ptrdiff_t(signal.size()));
        kernels::LinearDgrad a;
        a.n = int(signal.size());
        a.dy = {device_signal, device_factor, device_denominator, epsilon};
        a.w = w;
        a.dx = dx;
        table().linear_dgrad(a, stream());
        // One product and one quotient, each rounded once: 2 · 2^-24 of values up to 6000.
        CHECK_CLOSE(dx.to_host(), reference::load(signal, f, d, epsilon), 7e-4, 1.2e-7);
      }
    }
  }
}
