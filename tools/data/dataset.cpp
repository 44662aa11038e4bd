#include "tools/data/dataset.h"

#include <fmt/format.h>

#include <algorithm>

#include "kernels/error.h"
#include "tools/data/folder.h"
#include "tools/data/idx.h"
#include "tools/data/scenes.h"
#include "tools/data/spec.h"

namespace retrace::data {

std::vector<float> Dataset::target(const Sample& sample) const {
  std::vector<float> out(labels().size());
  const auto add = [&](int label) {
    if (label < 0 || std::size_t(label) >= out.size())
      throw Error(fmt::format("{}: label {}, expected 0 to {}", sample.name, label, int(out.size()) - 1));
    out[std::size_t(label)] = 1;
  };
  add(sample.label);
  for (const Object& object : sample.objects) add(object.label);
  const auto classes = std::count(out.begin(), out.end(), 1.0f);
  for (float& p : out) p /= float(classes);
  return out;
}

namespace {

std::unique_ptr<Dataset> open_scenes(const std::string& spec, const std::string& text) {
  SceneOptions o;
  Options options("data '" + spec + "'", text);
  o.size = int(options.integer("size", o.size, SceneOptions::least_size, SceneOptions::most_size));
  o.count = std::size_t(options.integer("count", std::int64_t(o.count), 1, SceneOptions::most_count));
  o.seed = options.unsigned_integer("seed", o.seed);
  std::tie(o.fewest_objects, o.most_objects) =
      options.range("objects", {o.fewest_objects, o.most_objects}, 1, 2);
  std::tie(o.fewest_distractors, o.most_distractors) = options.range(
      "distractors", {o.fewest_distractors, o.most_distractors}, 0, SceneOptions::distractors_limit);
  options.finish();
  return std::make_unique<Scenes>(o);
}

std::unique_ptr<Dataset> open_idx(const std::string& spec, const std::string& text) {
  static const std::vector<std::string> keys{"split", "labels"}, splits{"train", "test"},
      names{"digits", "fashion"};
  const auto [folder, rest] = split_folder(text, keys);
  Options options("data '" + spec + "'", rest);
  IdxOptions o;
  o.train = options.one_of("split", "train", splits) == "train";
  if (const std::string labels = options.one_of("labels", "", names); !labels.empty())
    o.labels = labels == "fashion" ? IdxOptions::Labels::fashion : IdxOptions::Labels::digits;
  options.finish();
  return std::make_unique<Idx>(folder, o);
}

}  // namespace

std::unique_ptr<Dataset> open_dataset(const std::string& spec) {
  const std::size_t colon = spec.find(':');
  const std::string kind = spec.substr(0, colon);
  const std::string rest = colon == std::string::npos ? "" : spec.substr(colon + 1);
  if (kind == "scenes") return open_scenes(spec, rest);
  if ((kind == "idx" || kind == "folder") && (rest.empty() || rest.front() == ','))
    throw UsageError(fmt::format("data '{}': no folder, expected {}:FOLDER", spec, kind));
  if (kind == "idx") return open_idx(spec, rest);
  if (kind == "folder") return std::make_unique<Folder>(rest);
  throw UsageError(
      fmt::format("data '{}': expected scenes[:size=N,count=N,seed=N,objects=A-B,distractors=A-B], "
                  "idx:FOLDER[,split=train|test,labels=digits|fashion] or folder:FOLDER",
                  spec));
}

}  // namespace retrace::data
