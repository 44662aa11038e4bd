// What the launchers of training refuse: one line, which names the launcher and the argument.
#include "tests/kernels/ops/support.h"

using namespace retrace;
using namespace retrace::test;

namespace {

// The launch of `good` must work, and refusals are of copies with one change.
template <class Arguments>
class Refusals {
 public:
  using Launcher = void (*)(const Arguments&, Stream);
  Refusals(std::string name, Launcher launcher, Arguments good)
      : name_(std::move(name) + ":"), launcher_(launcher), good_(good) {
    launcher_(good_, stream());
  }
  template <class Change>
  void refused(Change change, std::vector<std::string> parts) const {
    Arguments changed = good_;
    change(changed);
    parts.push_back(name_);
    check_refused([&] { launcher_(changed, stream()); }, parts);
  }
  template <class T>
  void refuses_null(T* Arguments::*pointer, const std::string& argument) const {
    refused([&](Arguments& a) { a.*pointer = nullptr; }, {" " + argument + " is null", "expected"});
  }
  template <class T>
  void refuses(T Arguments::*member, T value, const std::vector<std::string>& parts) const {
    refused([&](Arguments& a) { a.*member = value; }, parts);
  }
  // Either of the two laid over the last byte of the other, and on it.
  template <class T, class U>
  void refuses_shared(T* Arguments::*out, const std::string& out_name, U* Arguments::*in,
                      const std::string& in_name, long long in_count) const {
    const auto shared = [&](auto* address) {
      refused(
          [&](Arguments& a) { a.*out = reinterpret_cast<T*>(const_cast<std::remove_const_t<U>*>(address)); },
          {out_name, in_name, "in the memory of"});
    };
    shared(good_.*in);
    shared(good_.*in + (in_count - 1));
  }

 private:
  std::string name_;
  Launcher launcher_;
  Arguments good_;
};

}  // namespace

TEST_CASE("batch_norm_fprop refuses what it cannot work on") {
  constexpr int pixels = 4, c = 8, count = pixels * c;
  const Input<float> x(Floats(count, 0.5f)), residual(Floats(count, 0.5f)), weight(Floats(c, 1)),
      bias(Floats(c, 1));
  const Input<float> running_mean(Floats(c, 0)), running_var(Floats(c, 1));
  const Output<float> y(count), mean(c), inverse_std(c), workspace(kernels::batch_norm_workspace(pixels, c));
  const Output<std::uint8_t> mask(pixels);
  using A = kernels::BatchNormFprop;
  A a;
  a.pixels = pixels;
  a.c = c;
  a.x = x;
  a.weight = weight;
  a.bias = bias;
  a.residual = residual;
  a.relu = true;
  a.running_mean = running_mean;
  a.running_var = running_var;
  a.mean = mean;
  a.inverse_std = inverse_std;
  a.y = y;
  a.relu_mask = mask;
  a.workspace = workspace;
  const Refusals<A> r("batch_norm_fprop", table().batch_norm_fprop, a);
  r.refuses(&A::pixels, 1, {"pixels is 1", "at least 2"});
  r.refuses(&A::pixels, -3, {"pixels is -3"});
  r.refuses(&A::c, 0, {"c is 0", "at least 1"});
  r.refused([](A& b) { b.pixels = b.c = 2000000000; }, {"the size of x", "2^38"});
  r.refuses_null(&A::x, "x");
  r.refuses_null(&A::weight, "weight");
  r.refuses_null(&A::bias, "bias");
  r.refuses_null(&A::mean, "mean");
  r.refuses_null(&A::inverse_std, "inverse_std");
  r.refuses_null(&A::y, "y");
  r.refuses_null(&A::workspace, "workspace");
  r.refuses_null(&A::running_mean, "running_mean");
  r.refuses_null(&A::running_var, "running_var");
  r.refuses(&A::workspace, workspace + 1, {"workspace is not aligned", "8 bytes"});
  for (const float epsilon : {0.0f, -1e-5f, nan_value})
    r.refuses(&A::epsilon, epsilon, {"epsilon is", "above 0"});
  for (const float momentum : {-0.1f, 1.1f, nan_value})
    r.refuses(&A::momentum, momentum, {"momentum is", "0 to 1"});
  r.refuses(&A::relu, false, {"relu_mask is given without relu"});
  r.refuses_shared(&A::y, "y", &A::x, "x", count);
  r.refuses_shared(&A::y, "y", &A::weight, "weight", c);
  r.refuses_shared(&A::y, "y", &A::bias, "bias", c);
  r.refuses_shared(&A::y, "y", &A::mean, "mean", c);
  r.refuses_shared(&A::y, "y", &A::inverse_std, "inverse_std", c);
  r.refuses_shared(&A::y, "y", &A::workspace, "workspace", 4 * c);
  r.refuses(&A::y, residual + 1, {"y is in the memory of residual"});
  r.refuses_shared(&A::mean, "mean", &A::inverse_std, "inverse_std", c);
  r.refuses_shared(&A::mean, "mean", &A::x, "x", count);
  r.refuses_shared(&A::inverse_std, "inverse_std", &A::residual, "residual", count);
  r.refuses_shared(&A::running_mean, "running_mean", &A::mean, "mean", c);
  r.refuses_shared(&A::running_mean, "running_mean", &A::running_var, "running_var", c);
  r.refuses_shared(&A::running_var, "running_var", &A::weight, "weight", c);
  r.refuses_shared(&A::relu_mask, "relu_mask", &A::y, "y", count);
  r.refuses_shared(&A::relu_mask, "relu_mask", &A::x, "x", count);
  r.refuses(&A::workspace, static_cast<float*>(x), {"workspace is in the memory of x"});
  r.refuses(&A::workspace, static_cast<float*>(residual), {"workspace is in the memory of residual"});
  r.refuses(&A::workspace, static_cast<float*>(weight), {"workspace is in the memory of weight"});
}

TEST_CASE("batch_norm_backward refuses what it cannot work on") {
  constexpr int pixels = 4, c = 8, count = pixels * c;
  const Input<float> x(Floats(count, 0.5f)), dy(Floats(count, 0.5f)), pending(Floats(count, 0.5f));
  const Input<float> weight(Floats(c, 1)), mean(Floats(c, 1)), inverse_std(Floats(c, 1));
  const Input<std::uint8_t> mask(Bytes(pixels, 0x55));
  const Output<float> dx(count), dweight(c), dbias(c), workspace(kernels::batch_norm_workspace(pixels, c));
  using A = kernels::BatchNormBackward;
  A a;
  a.pixels = pixels;
  a.c = c;
  a.x = x;
  a.dy = dy;
  a.weight = weight;
  a.mean = mean;
  a.inverse_std = inverse_std;
  a.dweight = dweight;
  a.dbias = dbias;
  a.epilogue = {pending, mask};
  a.dx = dx;
  a.workspace = workspace;
  const Refusals<A> r("batch_norm_backward", table().batch_norm_backward, a);
  r.refuses(&A::pixels, 1, {"pixels is 1", "at least 2"});
  r.refuses(&A::c, -1, {"c is -1", "at least 1"});
  r.refused([](A& b) { b.pixels = b.c = 2000000000; }, {"the size of x", "2^38"});
  r.refuses_null(&A::x, "x");
  r.refuses_null(&A::dy, "dy");
  r.refuses_null(&A::weight, "weight");
  r.refuses_null(&A::mean, "mean");
  r.refuses_null(&A::inverse_std, "inverse_std");
  r.refuses_null(&A::dweight, "dweight");
  r.refuses_null(&A::dbias, "dbias");
  r.refuses_null(&A::workspace, "workspace");
  r.refuses(&A::workspace, workspace + 1, {"workspace is not aligned", "8 bytes"});
  r.refuses_shared(&A::dx, "dx", &A::x, "x", count);
  r.refuses_shared(&A::dx, "dx", &A::weight, "weight", c);
  r.refuses_shared(&A::dx, "dx", &A::mean, "mean", c);
  r.refuses_shared(&A::dx, "dx", &A::inverse_std, "inverse_std", c);
  r.refuses_shared(&A::dx, "dx", &A::dweight, "dweight", c);
  r.refuses_shared(&A::dx, "dx", &A::workspace, "workspace", 4 * c);
  r.refuses(&A::dx, dy + 1, {"dx is in the memory of dy"});
  r.refuses(&A::dx, pending + 1, {"dx is in the memory of epilogue.pending"});
  r.refused([&](A& b) { b.epilogue.mask = reinterpret_cast<std::uint8_t*>(b.dx + count - 1); },
            {"dx is in the memory of epilogue.mask"});
  r.refused([&](A& b) { b.epilogue.pending = b.dweight; }, {"dweight is in the memory of epilogue.pending"});
  r.refused([&](A& b) { b.epilogue.mask = reinterpret_cast<std::uint8_t*>(b.workspace); },
            {"workspace is in the memory of epilogue.mask"});
  r.refuses_shared(&A::dweight, "dweight", &A::dbias, "dbias", c);
  r.refuses_shared(&A::dweight, "dweight", &A::x, "x", count);
  r.refuses_shared(&A::dweight, "dweight", &A::dy, "dy", count);
  r.refuses_shared(&A::dweight, "dweight", &A::weight, "weight", c);
  r.refuses_shared(&A::dbias, "dbias", &A::mean, "mean", c);
  r.refuses_shared(&A::dbias, "dbias", &A::inverse_std, "inverse_std", c);
  r.refuses(&A::workspace, static_cast<float*>(x), {"workspace is in the memory of x"});
  r.refuses(&A::workspace, static_cast<float*>(dy), {"workspace is in the memory of dy"});
  r.refuses(&A::workspace, static_cast<float*>(dbias), {"workspace is in the memory of dbias"});
}

TEST_CASE("cross_entropy refuses what it cannot work on") {
  constexpr int rows = 3, columns = 4, count = rows * columns;
  const Input<float> logits(Floats(count, 0.5f)), targets(Floats(count, 0.25f));
  const Input<std::int32_t> classes(Ints(rows, 1));
  const Output<float> loss(rows), dlogits(count);
  using A = kernels::CrossEntropy;
  A a;
  a.rows = rows;
  a.columns = columns;
  a.logits = logits;
  a.classes = classes;
  a.loss = loss;
  a.dlogits = dlogits;
  const Refusals<A> r("cross_entropy", table().cross_entropy, a);
  r.refuses(&A::rows, 0, {"rows is 0", "at least 1"});
  r.refuses(&A::columns, -1, {"columns is -1", "at least 1"});
  r.refused([](A& b) { b.rows = b.columns = 2000000000; }, {"the size of logits", "2^38"});
  r.refuses_null(&A::logits, "logits");
  r.refuses_null(&A::loss, "loss");
  r.refused([](A& b) { b.classes = nullptr; }, {"the target is neither kind", "classes or targets"});
  r.refused([&](A& b) { b.targets = targets; }, {"the target is both kinds", "classes or targets"});
  for (const float smoothing : {-0.1f, 1.1f, nan_value}) {
    r.refuses(&A::smoothing, smoothing, {"smoothing is", "0 to 1"});
  }
  r.refuses_shared(&A::loss, "loss", &A::logits, "logits", count);
  r.refuses_shared(&A::loss, "loss", &A::classes, "classes", rows);
  r.refuses_shared(&A::loss, "loss", &A::dlogits, "dlogits", count);
  r.refuses_shared(&A::dlogits, "dlogits", &A::logits, "logits", count);
  r.refuses_shared(&A::dlogits, "dlogits", &A::classes, "classes", rows);
  a.classes = nullptr;
  a.targets = targets;
  const Refusals<A> soft("cross_entropy", table().cross_entropy, a);
  soft.refuses_shared(&A::loss, "loss", &A::targets, "targets", count);
  soft.refuses_shared(&A::dlogits, "dlogits", &A::targets, "targets", count);
}

TEST_CASE("dropout refuses what it cannot work on") {
  const Input<float> x(Floats(8, 1));
  const Output<float> y(8);
  using A = kernels::Dropout;
  A a;
  a.count = 8;
  a.x = x;
  a.y = y;
  const Refusals<A> r("dropout", table().dropout, a);
  r.refuses(&A::count, 0LL, {"count is 0", "at least 1"});
  r.refuses(&A::count, 1LL << 39, {"the size of x", "2^38"});
  r.refuses_null(&A::x, "x");
  r.refuses_null(&A::y, "y");
  for (const float p : {-0.1f, 1.0f, 2.0f, nan_value}) r.refuses(&A::p, p, {"p is", "0 to below 1"});
  r.refuses(&A::y, x + 1, {"y is in the memory of x"});
  r.refuses(&A::y, x + 7, {"y is in the memory of x"});
}

TEST_CASE("sgd_step refuses what it cannot work on") {
  const Input<float> dw(Floats(8, 1)), velocity(Floats(8, 0)), w(Floats(8, 0)), scale({1});
  using A = kernels::SgdStep;
  A a;
  a.count = 8;
  a.momentum = 0.9f;
  a.scale = scale;
  a.dw = dw;
  a.velocity = velocity;
  a.w = w;
  const Refusals<A> r("sgd_step", table().sgd_step, a);
  r.refuses(&A::count, -1LL, {"count is -1", "at least 1"});
  r.refuses(&A::count, 1LL << 39, {"the size of w", "2^38"});
  r.refuses_null(&A::dw, "dw");
  r.refuses_null(&A::w, "w");
  r.refuses_null(&A::velocity, "velocity");
  r.refused([](A& b) { b.velocity = nullptr, b.momentum = 0, b.nesterov = true; },
            {"velocity is null", "momentum"});
  r.refuses_shared(&A::w, "w", &A::dw, "dw", 8);
  r.refuses_shared(&A::w, "w", &A::velocity, "velocity", 8);
  r.refuses_shared(&A::w, "w", &A::scale, "scale", 1);
  r.refuses_shared(&A::velocity, "velocity", &A::dw, "dw", 8);
  r.refuses_shared(&A::velocity, "velocity", &A::scale, "scale", 1);
}

TEST_CASE("adamw_step refuses what it cannot work on") {
  const Input<float> dw(Floats(8, 1)), first(Floats(8, 0)), second(Floats(8, 0)), w(Floats(8, 0)), scale({1});
  using A = kernels::AdamWStep;
  A a;
  a.count = 8;
  a.scale = scale;
  a.dw = dw;
  a.first = first;
  a.second = second;
  a.w = w;
  const Refusals<A> r("adamw_step", table().adamw_step, a);
  r.refuses(&A::count, 0LL, {"count is 0", "at least 1"});
  r.refuses(&A::count, 1LL << 39, {"the size of w", "2^38"});
  r.refuses(&A::step, 0LL, {"step is 0", "at least 1"});
  for (const float beta : {-0.1f, 1.0f, nan_value}) {
    r.refuses(&A::beta1, beta, {"a beta is", "0 to below 1"});
    r.refuses(&A::beta2, beta, {"a beta is", "0 to below 1"});
  }
  r.refuses_null(&A::dw, "dw");
  r.refuses_null(&A::w, "w");
  r.refuses_null(&A::first, "first");
  r.refuses_null(&A::second, "second");
  r.refuses_shared(&A::w, "w", &A::dw, "dw", 8);
  r.refuses_shared(&A::w, "w", &A::first, "first", 8);
  r.refuses_shared(&A::w, "w", &A::second, "second", 8);
  r.refuses_shared(&A::w, "w", &A::scale, "scale", 1);
  r.refuses_shared(&A::first, "first", &A::second, "second", 8);
  r.refuses_shared(&A::first, "first", &A::dw, "dw", 8);
  r.refuses_shared(&A::first, "first", &A::scale, "scale", 1);
  r.refuses_shared(&A::second, "second", &A::dw, "dw", 8);
  r.refuses_shared(&A::second, "second", &A::scale, "scale", 1);
}

TEST_CASE("sum_squares and clip_scale refuse what they cannot work on") {
  const Input<float> x(Floats(8, 1));
  const Output<double> partial(1);
  using S = kernels::SumSquares;
  const Refusals<S> s("sum_squares", table().sum_squares, {8, x, partial});
  s.refuses(&S::count, 0LL, {"count is 0", "at least 1"});
  s.refuses(&S::count, 1LL << 39, {"the size of x", "2^38"});
  s.refuses_null(&S::x, "x");
  s.refuses_null(&S::partial, "partial");
  s.refuses_shared(&S::partial, "partial", &S::x, "x", 8);

  const Output<float> norm(1), scale(1);
  using C = kernels::ClipScale;
  const Refusals<C> c("clip_scale", table().clip_scale, {1, partial, 1, norm, scale});
  c.refuses(&C::partials, 0, {"partials is 0", "at least 1"});
  c.refuses_null(&C::partial, "partial");
  c.refuses_null(&C::norm, "norm");
  c.refuses_null(&C::scale, "scale");
  for (const float norm_given : {-1.0f, nan_value})
    c.refuses(&C::max_norm, norm_given, {"max_norm is", "0 or more"});
  c.refuses_shared(&C::norm, "norm", &C::scale, "scale", 1);
  c.refuses_shared(&C::norm, "norm", &C::partial, "partial", 1);
  c.refuses_shared(&C::scale, "scale", &C::partial, "partial", 1);
}

TEST_CASE("the workspaces of training refuse sizes that are none") {
  check_refused([] { kernels::batch_norm_workspace(0, 4); }, {"batch_norm: pixels is 0", "at least 1"});
  check_refused([] { kernels::batch_norm_workspace(4, -1); }, {"batch_norm: c is -1", "at least 1"});
  check_refused([] { kernels::sum_squares_partials(0); }, {"sum_squares: count is 0", "at least 1"});
  check_refused([] { kernels::sum_squares_partials(1LL << 39); }, {"sum_squares: the size of x", "2^38"});
  check_refused([] { kernels::column_sums_workspace(0, 4); }, {"column_sums: rows is 0", "at least 1"});
  check_refused([] { kernels::column_sums_workspace(4, 0); }, {"column_sums: columns is 0", "at least 1"});
  // Two doubles for each slice of 512 pixels and each channel, and two for the totals.
  CHECK(kernels::batch_norm_workspace(512, 3) == (1 + 1) * 4 * 3);
  CHECK(kernels::batch_norm_workspace(513, 3) == (2 + 1) * 4 * 3);
  CHECK(kernels::batch_norm_workspace(2000000000, 1) == (256 + 1) * 4);
}
