#include "tools/session.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fstream>
#include <new>
#include <numeric>
#include <optional>

#include "engine/input.h"
#include "kernels/simt/sim_runtime.h"
#include "tools/image/expand.h"
#include "tools/image/picture.h"

namespace retrace::tools {

namespace fs = std::filesystem;

namespace {

constexpr const char* out_of_memory = "no memory left on the host";

LoadedModel load(Device& device, const ModelOptions& options, std::uint64_t seed) {
  if (!options.ema) return load_model(device, options.model, options.weights, seed);
  if (options.weights.empty())
    throw UsageError("--ema: expected --weights with averaged weights beside the plain ones");
  weights::Checkpoint checkpoint = weights::read_checkpoint(options.weights);
  weights::take_averaged(checkpoint);
  return load_model(device, options.model, std::move(checkpoint));
}

}  // namespace

std::unique_ptr<Device> open_device(const CommonOptions& common) {
  if (common.precision != "fp32") {
    throw UsageError(fmt::format("precision '{}': this version computes in fp32 only", common.precision));
  }
  simt::SimOptions sim = simt::sim_options();
  sim.threads = common.threads;
  simt::set_sim_options(sim);
  return Device::open(common.device);
}

image::Preprocessing preprocessing_of(const ModelInput& input) {
  image::Preprocessing p;
  p.resize_shorter = input.resize;
  p.crop = input.crop;
  p.exact = input.resize == 0;
  p.mean = input.mean;
  p.std = input.std;
  return p;
}

std::vector<fs::path> find_images(const std::vector<fs::path>& arguments, Console& console) {
  std::vector<fs::path> images;
  for (const fs::path& argument : arguments) {
    try {
      const auto some = image::expand_images(std::span(&argument, 1));
      images.insert(images.end(), some.begin(), some.end());
    } catch (const Error& error) {
      console.error(error.what());
    }
  }
  return images;
}

std::vector<std::string> read_labels(const fs::path& path, int classes) {
  // Opening a pipe would wait for a writer.
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (status.type() == fs::file_type::not_found) throw Error(fmt::format("{}: no such file", path.string()));
  if (error) throw Error(fmt::format("{}: cannot read the labels: {}", path.string(), error.message()));
  if (!fs::is_regular_file(status)) {
    throw Error(fmt::format("{}: not a regular file, expected one class name per line", path.string()));
  }
  constexpr std::uintmax_t most_bytes = std::uintmax_t(1) << 26;
  if (const std::uintmax_t size = fs::file_size(path, error); !error && size > most_bytes) {
    throw Error(fmt::format("{}: {} bytes are too many for labels, expected at most {}", path.string(), size,
                            most_bytes));
  }
  std::ifstream file(path);
  if (!file) throw Error(fmt::format("{}: cannot read the labels", path.string()));
  std::vector<std::string> labels;
  for (std::string line; std::getline(file, line);) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (line.find('\0') != std::string::npos || line.size() > 1000) {
      throw Error(fmt::format("{}: line {} is no label", path.string(), labels.size() + 1));
    }
    labels.push_back(line);
  }
  while (!labels.empty() && labels.back().empty()) labels.pop_back();
  if (int(labels.size()) != classes) {
    throw Error(
        fmt::format("{}: {} labels, the model has {} classes", path.string(), labels.size(), classes));
  }
  return labels;
}

void make_folder(const fs::path& path) {
  if (path.empty()) throw UsageError("--out '': expected a folder");
  std::error_code error, ignored;
  if (fs::exists(path, ignored) && !fs::is_directory(path, ignored)) {
    throw Error(fmt::format("{}: a file, expected a folder", path.string()));
  }
  fs::create_directories(path, error);
  if (!fs::is_directory(path, ignored)) {
    throw Error(fmt::format("{}: cannot make this folder: {}", path.string(), error.message()));
  }
}

Session::Session(const CommonOptions& common, const ModelOptions& options, Console& console)
    : console_(console), batch_(std::size_t(common.batch)), device_(open_device(common)) {
  LoadedModel loaded = load(*device_, options, common.seed);
  model_ = std::move(loaded.model);
  for (const std::string& line : loaded.notes) console.note(line);
  labels_ =
      options.labels.empty() ? model_->info().labels : read_labels(options.labels, model_->info().classes);

  const ModelInput& input = model_->info().input;
  ModelInput wanted = input;
  if (options.resize >= 0) wanted.resize = options.resize;
  if (options.crop > 0) wanted.crop = options.crop;
  preprocessing_ = preprocessing_of(wanted);
  if (!options.mean.empty()) std::copy_n(options.mean.begin(), 3, preprocessing_.mean.begin());
  if (!options.std.empty()) std::copy_n(options.std.begin(), 3, preprocessing_.std.begin());
  for (const float s : preprocessing_.std) {
    if (!(s > 0)) throw UsageError(fmt::format("--std {}: must be above 0", s));
  }
}

std::string Session::label(int index) const {
  return std::size_t(index) < labels_.size() ? labels_[std::size_t(index)] : fmt::format("class {}", index);
}

int Session::class_of(const std::string& text) const {
  if (const auto at = std::find(labels_.begin(), labels_.end(), text); at != labels_.end()) {
    return int(at - labels_.begin());
  }
  int index = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), index);
  if (error == std::errc{} && end == text.data() + text.size()) {
    if (index >= 0 && index < model_->info().classes) return index;
    throw UsageError(fmt::format("target {}: {} has classes 0 to {}", text, model_->info().name,
                                 model_->info().classes - 1));
  }
  throw UsageError(fmt::format("target '{}': expected top1, top:K, a class index or {}", text,
                               labels_.empty() ? "(with --labels) a label" : "one of the model's labels"));
}

std::vector<int> Session::Forward::best(std::size_t i, std::size_t most) const {
  std::vector<int> order(classes);
  std::iota(order.begin(), order.end(), 0);
  const float* const row = scores.data() + i * classes;
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return row[a] > row[b]; });
  order.resize(std::min(most, classes));
  return order;
}

Session::Forward Session::forward(const std::vector<Picture>& prepared) {
  const int h = prepared.front().height, w = prepared.front().width, n = int(prepared.size());
  std::vector<std::uint8_t> pixels;
  pixels.reserve(std::size_t(n) * std::size_t(h) * std::size_t(w) * 3);
  for (const Picture& picture : prepared) pixels.insert(pixels.end(), picture.rgb.begin(), picture.rgb.end());
  const Tensor x = normalized_input(*device_, pixels, n, h, w, preprocessing_.mean, preprocessing_.std);

  Forward result;
  result.tape = std::make_unique<Tape>(*device_);
  result.input = result.tape->input(x);
  result.logits = model_->forward(*result.tape, result.input);
  const Tensor& z = result.tape->value(result.logits);
  result.classes = std::size_t(z.dim(1));
  Tensor p(*device_, z.shape());
  device_->kernels().softmax_fprop({int(z.dim(0)), int(z.dim(1)), false, z.data(), p.data()},
                                   device_->stream());
  result.scores = z.to_host();
  result.probabilities = p.to_host();
  for (const float score : result.scores) {
    if (!std::isfinite(score)) {
      throw Error(
          fmt::format("the network's scores are not finite (one is {}): its weights or --mean and --std are "
                      "out of proportion",
                      score));
    }
  }
  return result;
}

Session::Forward Session::try_forward() {
  const int side = preprocessing_.crop;
  return forward({{side, side, std::vector<std::uint8_t>(std::size_t(side) * std::size_t(side) * 3)}});
}

void Session::for_each_batch(const std::vector<fs::path>& images,
                             const std::function<void(const std::vector<Item>&)>& work) {
  console_.begin_progress(images.size(), "pictures");
  std::vector<Item> items;
  // What went wrong, if anything did.
  const auto attempt = [&](const std::vector<Item>& some) -> std::optional<std::string> {
    try {
      work(some);
    } catch (const UsageError&) {
      throw;
    } catch (const Error& error) {
      return error.what();
    } catch (const std::bad_alloc&) {
      return out_of_memory;
    }
    return {};
  };
  const auto flush = [&] {
    if (items.empty()) return;
    std::optional<std::string> failure = attempt(items);
    if (failure && items.size() > 1) {
      console_.note(
          fmt::format("{} pictures at once failed ({}); they are tried one by one", items.size(), *failure));
      for (const Item& item : items) {
        failure = attempt({item});
        if (failure) console_.error(fmt::format("{}: {}", item.path.string(), *failure));
      }
    } else if (failure) {
      console_.error(fmt::format("{}: {}", items.front().path.string(), *failure));
    }
    console_.advance(items.size());
    items.clear();
  };
  for (const fs::path& path : images) {
    try {
      items.push_back({path, image::prepare(image::load_picture(path), preprocessing_)});
    } catch (const UsageError&) {
      throw;
    } catch (const Error& error) {
      console_.error(error.what());
      console_.advance();
    } catch (const std::bad_alloc&) {
      console_.error(fmt::format("{}: {}", path.string(), out_of_memory));
      console_.advance();
    }
    if (items.size() == batch_) flush();
  }
  flush();
  console_.end_progress();
}

}  // namespace retrace::tools
