#include "tools/evaluate/evaluator.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "attribution/measures/baselines.h"
#include "attribution/render/render.h"

namespace retrace::tools {

void check_classes(const Session& session, const data::Dataset& dataset) {
  const ModelInfo& model = session.model().info();
  const std::vector<std::string>& there = dataset.labels();
  if (int(there.size()) != model.classes) {
    constexpr std::size_t most = 12;
    const std::vector<std::string> some(there.begin(),
                                        there.begin() + std::ptrdiff_t(std::min(most, there.size())));
    throw UsageError(fmt::format("--data {} has {} classes ({}{}), {} has {}: expected the same",
                                 dataset.spec(), there.size(), fmt::join(some, ", "),
                                 there.size() > most ? ", ..." : "", model.name, model.classes));
  }
  const std::vector<std::string>& known = session.labels();
  for (std::size_t c = 0; c < known.size(); ++c) {
    if (known[c] == there[c]) continue;
    throw UsageError(fmt::format(
        "class {} is '{}' in --data {} and '{}' in {}: expected the same (--labels says what the model's "
        "are)",
        c, there[c], dataset.spec(), known[c], model.name));
  }
}

namespace {

// Masks go the way of the picture: resized and cropped as it is.
measures::Mask prepare_mask(const measures::Mask& mask, int width, int height,
                            const image::Preprocessing& preprocessing) {
  Picture drawn{width, height, std::vector<std::uint8_t>(mask.size() * 3)};
  for (std::size_t p = 0; p < drawn.rgb.size(); ++p) drawn.rgb[p] = mask[p / 3] ? 255 : 0;
  const Picture prepared = image::prepare(drawn, preprocessing);
  measures::Mask out(prepared.rgb.size() / 3);
  for (std::size_t p = 0; p < out.size(); ++p) out[p] = prepared.rgb[p * 3] >= 128;
  return out;
}

Localization localize(const std::vector<float>& map, const measures::Mask& mask, const measures::Mask& pixels,
                      const measures::Mask& cell) {
  Localization l;
  l.mass = measures::mass_accuracy(map, mask);
  l.mass_pixels = measures::mass_accuracy(map, pixels);
  l.rank = measures::rank_accuracy(map, mask);
  l.pointing_pixels = measures::pointing_game(map, pixels);
  l.empty = !measures::shows_anything(map);
  if (!cell.empty()) {
    l.mass_cell = measures::mass_accuracy(map, cell);
    l.pointing_cell = measures::pointing_game(map, cell);
  }
  return l;
}

}  // namespace

Evaluator::Ready Evaluator::ready(std::size_t index) const {
  Ready r;
  r.sample = dataset_.sample(index);
  const Picture& picture = r.sample.picture;
  r.picture = image::prepare(picture, session_.preprocessing());
  r.classes = classes_of(r.sample);
  for (const int c : r.classes) {
    measures::Mask mask;
    for (const data::Object& object : r.sample.objects) {
      if (object.label != c) continue;
      if (object.mask.size() != std::size_t(picture.width) * std::size_t(picture.height)) {
        throw Error(fmt::format("{}: a mask of {} pixels, expected {} x {}", r.sample.name,
                                object.mask.size(), picture.width, picture.height));
      }
      mask = mask.empty() ? object.mask : measures::unite(mask, object.mask);
    }
    if (mask.empty()) continue;
    r.masks.push_back(prepare_mask(mask, picture.width, picture.height, session_.preprocessing()));
  }
  return r;
}

Evaluator::Maps Evaluator::explain(const Session::Forward& pass, const std::vector<Ready>& batch,
                                   const std::vector<int>& targets, const Method& method) const {
  Attribution a = attribute(session_.model(), *pass.tape, pass.logits, targets, method);
  const int h = batch.front().picture.height, w = batch.front().picture.width;
  const std::size_t each = a.values.size() / batch.size();
  Maps out;
  for (std::size_t i = 0; i < batch.size(); ++i) {
    const std::span<const float> values(a.values.data() + i * each, each);
    render::check_finite(values, h, w, a.is_cam() ? 1 : int(a.shape[1]));
    out.maps.push_back(a.is_cam() ? std::vector<float>(values.begin(), values.end())
                                  : render::channel_sum(values, h, w, int(a.shape[1]), render::Layout::chw));
  }
  if (a.is_cam()) out.grid_height = int(a.grid_shape[1]), out.grid_width = int(a.grid_shape[2]);
  for (const std::string& warning : a.warnings) {
    out.warnings.push_back(warning);
    // It speaks of "image N" of the batch.
    for (std::size_t i = 0; i < batch.size(); ++i) {
      const std::string number = fmt::format("image {}: ", i);
      if (warning.starts_with(number)) {
        out.warnings.back() = batch[i].sample.name + ": " + warning.substr(number.size());
      }
    }
  }
  return out;
}

void Evaluator::classify(Results& results) {
  console_.begin_progress(dataset_.size(), "classified");
  std::vector<std::size_t> indices;
  std::vector<Ready> batch;
  const auto flush = [&] {
    if (batch.empty()) return;
    std::vector<Picture> pictures;
    for (const Ready& r : batch) pictures.push_back(r.picture);
    const Session::Forward pass = session_.forward(pictures);
    for (std::size_t i = 0; i < batch.size(); ++i) {
      const auto& classes = batch[i].classes;
      results.accuracy.add(batch[i].sample, pass.best(i, std::max<std::size_t>(1, classes.size())));
      ++results.samples;
      auto& questions = classes.size() == 1 ? single_ : several_;
      // Several classes make several questions of one sample.
      const std::size_t most = o_.count * (classes.size() == 1 ? 1 : classes.size());
      if (questions.size() >= most) continue;
      for (const int c : classes) questions.push_back({indices[i], c});
    }
    results.height = batch.front().picture.height, results.width = batch.front().picture.width;
    console_.advance(batch.size());
    batch.clear();
    indices.clear();
  };
  for (std::size_t index = 0; index < dataset_.size(); ++index) {
    try {
      batch.push_back(ready(index));
      indices.push_back(index);
    } catch (const UsageError&) {
      throw;
    } catch (const Error& error) {
      console_.error(error.what());
      console_.advance();
    }
    if (batch.size() == session_.batch()) flush();
  }
  flush();
  console_.end_progress();
  if (results.samples == 0) throw Error(fmt::format("--data {}: no sample could be read", dataset_.spec()));
}

void Evaluator::measure_one(Results& results, const Ready& ready, Asked asked,
                            const std::vector<std::vector<float>>& maps) {
  const int h = results.height, w = results.width;
  const std::size_t which = std::size_t(std::find(ready.classes.begin(), ready.classes.end(), asked.target) -
                                        ready.classes.begin());
  for (std::size_t c = 0; c < ready.masks.size(); ++c) {
    if (measures::area(ready.masks[c]) > 0) continue;
    console_.note(fmt::format("{}: an object lies outside what the network sees; not measured", asked.name));
    return;
  }
  if (!ready.masks.empty()) {
    asked.mask_share = double(measures::area(ready.masks[which])) / (double(h) * double(w));
  }

  if (ready.classes.size() > 1) {
    std::vector<measures::MaskView> others;
    for (std::size_t c = 0; c < ready.masks.size(); ++c) {
      if (c != which) others.emplace_back(ready.masks[c]);
    }
    for (std::size_t m = 0; m < maps.size(); ++m) {
      results.methods[m].objects.push_back(measures::object_share(maps[m], ready.masks[which], others));
    }
    results.several.push_back(std::move(asked));
    return;
  }

  measures::Mask pixels;
  if (!ready.masks.empty()) pixels = measures::dilate_disc(ready.masks[0], h, w, tolerance_pixels);
  std::map<std::pair<int, int>, measures::Mask> cells;
  for (std::size_t m = 0; m < maps.size(); ++m) {
    MethodResults& method = results.methods[m];
    if (ready.masks.empty()) {
      method.localization.emplace_back();
      continue;
    }
    measures::Mask& cell = cells[{method.cell_height, method.cell_width}];
    if (cell.empty() && method.cell_height > 0) {
      cell = measures::dilate_cell(ready.masks[0], h, w, h / method.cell_height, w / method.cell_width);
    }
    method.localization.emplace_back(localize(maps[m], ready.masks[0], pixels, cell));
  }

  Picture removed;
  if (o_.removal == Removal::blur) {
    removed = measures::blurred(ready.picture, std::min(h, w) / 8.0);
  } else {
    const auto grey = [&](std::size_t c) {
      return std::uint8_t(std::lround(std::clamp(session_.preprocessing().mean[c], 0.0f, 1.0f) * 255));
    };
    removed = measures::filled(w, h, {grey(0), grey(1), grey(2)});
  }
  std::vector<std::vector<int>> orders;
  for (const auto& map : maps) orders.push_back(measures::rank_patches(map, h, w, results.patch));
  auto curves = measures::deletion_insertion(
      ready.picture, removed, orders,
      {.patch = results.patch, .steps = results.steps, .batch = int(session_.batch())},
      [&](const std::vector<Picture>& pictures) {
        const Session::Forward pass = session_.forward(pictures);
        std::vector<float> scores;
        for (std::size_t i = 0; i < pictures.size(); ++i) {
          scores.push_back(pass.probabilities[i * pass.classes + std::size_t(asked.target)]);
        }
        return scores;
      });
  for (std::size_t m = 0; m < maps.size(); ++m) results.methods[m].curves.push_back(std::move(curves[m]));
  results.single.push_back(std::move(asked));
}

void Evaluator::measure(Results& results, const std::vector<Question>& questions) {
  const std::size_t asked_methods = o_.methods.size();
  std::vector<std::vector<std::string>> warnings(asked_methods);
  for (std::size_t from = 0; from < questions.size(); from += session_.batch()) {
    const std::size_t until = std::min(questions.size(), from + session_.batch());
    std::vector<Ready> batch;
    std::vector<Picture> pictures;
    std::vector<int> targets;
    for (std::size_t q = from; q < until; ++q) {
      batch.push_back(ready(questions[q].sample));
      pictures.push_back(batch.back().picture);
      targets.push_back(questions[q].target);
    }
    std::vector<std::vector<std::vector<float>>> maps(batch.size());  // [picture][method]
    std::vector<Asked> asked;
    {
      const Session::Forward pass = session_.forward(pictures);
      int cell_height = 0, cell_width = 0;  // the coarsest
      for (std::size_t m = 0; m < asked_methods; ++m) {
        Maps some = explain(pass, batch, targets, o_.methods[m]);
        for (std::size_t i = 0; i < batch.size(); ++i) maps[i].push_back(std::move(some.maps[i]));
        for (std::string& warning : some.warnings) warnings[m].push_back(std::move(warning));
        if (some.grid_height == 0) continue;
        MethodResults& method = results.methods[m];
        method.cam = true;
        method.cell_height = results.height / some.grid_height,
        method.cell_width = results.width / some.grid_width;
        cell_height = std::max(cell_height, method.cell_height);
        cell_width = std::max(cell_width, method.cell_width);
      }
      for (MethodResults& method : results.methods) {
        if (!method.cam) method.cell_height = cell_height, method.cell_width = cell_width;
      }
      for (std::size_t i = 0; i < batch.size(); ++i) {
        const std::size_t target = std::size_t(targets[i]), sample = questions[from + i].sample;
        maps[i].push_back(
            measures::random_map(results.height, results.width, o_.seed, sample * pass.classes + target));
        maps[i].push_back(measures::centre_map(results.height, results.width));
        asked.push_back({.sample = sample,
                         .target = targets[i],
                         .name = batch[i].sample.name,
                         .answer = pass.best(i, 1).front(),
                         .probability = pass.probabilities[i * pass.classes + target]});
      }
    }  // The tape's memory is free again: the curves need it.
    for (std::size_t i = 0; i < batch.size(); ++i) {
      measure_one(results, batch[i], std::move(asked[i]), maps[i]);
      console_.advance();
    }
  }
  for (std::size_t m = 0; m < asked_methods; ++m) {
    if (warnings[m].empty()) continue;
    console_.note(fmt::format("{}: {} warnings, the first: {}", o_.methods[m].text, warnings[m].size(),
                              warnings[m].front()));
  }
}

Results Evaluator::run() {
  Results results;
  results.data = dataset_.spec();
  results.model = session_.model().info().name;
  results.accuracy = Accuracy(dataset_.labels());
  classify(results);
  results.removal = o_.removal;
  results.patch = o_.patch > 0 ? o_.patch : std::max(1, std::min(results.height, results.width) / 8);
  const int across = (results.width + results.patch - 1) / results.patch,
            down = (results.height + results.patch - 1) / results.patch;
  results.steps = std::min(o_.steps, across * down);
  if (single_.empty() && several_.empty()) return results;
  for (const Method& method : o_.methods) results.methods.emplace_back().name = method.text;
  for (const char* const name : {"random order", "constant centre"}) {
    results.methods.emplace_back().name = name;
    results.methods.back().baseline = true;
  }
  console_.begin_progress(single_.size() + several_.size(), "explained");
  measure(results, single_);
  measure(results, several_);
  console_.end_progress();
  return results;
}

}  // namespace retrace::tools
