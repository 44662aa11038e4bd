#include <fmt/format.h>

#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>

#include "attribution/render/mosaic.h"
#include "attribution/render/png.h"
#include "tools/commands/commands.h"
#include "tools/image/expand.h"
#include "tools/output_names.h"
#include "tools/session.h"

namespace retrace::tools {

namespace {

using Json = nlohmann::ordered_json;
namespace fs = std::filesystem;

struct Options {
  CommonOptions common;
  ModelOptions model;
  std::vector<fs::path> images;
  std::vector<std::string> layers;
  fs::path out;
  int strongest = 64;
  bool json = false;
};

struct Statistics {
  double mean = 0, std = 0, min = 0, max = 0, zeros = 0;
  int dead = 0;  // channels that are 0 everywhere in this picture
  bool finite = true;
};

Statistics statistics_of(std::span<const float> values, std::size_t channels) {
  Statistics s;
  std::vector<bool> alive(channels);
  double sum = 0, squares = 0;
  std::size_t zeros = 0;
  s.min = s.max = values.empty() ? 0 : values[0];
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double v = values[i];
    s.finite = s.finite && std::isfinite(v);
    sum += v;
    s.min = std::min(s.min, v);
    s.max = std::max(s.max, v);
    if (v == 0) ++zeros;
    else alive[i % channels] = true;
  }
  const double count = double(values.size());
  s.mean = sum / count;
  for (const float v : values) squares += (v - s.mean) * (v - s.mean);
  s.std = std::sqrt(squares / count);
  s.zeros = double(zeros) / count;
  for (const bool a : alive) s.dead += !a;
  return s;
}

void print_table(const fs::path& image, const Json& layers) {
  fmt::print("{}\n  {:<22} {:<16} {:>10} {:>10} {:>10} {:>10} {:>7} {:>6}\n", image.string(), "layer", "shape", "mean",
             "std", "min", "max", "zeros", "dead");
  for (const Json& l : layers) {
    fmt::print("  {:<22} {:<16} {:>10.4g} {:>10.4g} {:>10.4g} {:>10.4g} {:>5.1f} % {:>6}\n",
               l["name"].get<std::string>(), l["shape"].dump(), l["mean"].get<double>(), l["std"].get<double>(),
               l["min"].get<double>(), l["max"].get<double>(), 100 * l["zeros"].get<double>(),
               l["dead_channels"].get<int>());
    if (l.contains("png")) fmt::print("    {}\n", l["png"].get<std::string>());
  }
}

int run(const Options& o) {
  Console console(o.common.quiet);
  const auto images = image::expand_images(o.images);
  Session session(o.common, o.model, console);
  make_folder(o.out);
  const OutputNames names(images);
  session.for_each_batch(images, [&](const std::vector<Session::Item>& items) {
    std::vector<Picture> pictures;
    for (const auto& item : items) pictures.push_back(item.prepared);
    const Session::Forward pass = session.forward(pictures);
    const Tape& tape = *pass.tape;
    std::vector<bool> chosen(std::size_t(tape.size()));
    for (const std::string& name : o.layers) {
      if (name == "all") chosen.assign(chosen.size(), true);
      else chosen[std::size_t(session.model().layer(tape, name))] = true;
    }
    std::vector<Json> layers(items.size(), Json::array());
    for (NodeId id = 0; id < tape.size(); ++id) {
      const Tensor& value = tape.value(id);
      const Shape each(value.shape().begin() + 1, value.shape().end());
      const std::vector<float> host = value.to_host();
      const std::size_t size = host.size() / items.size(), channels = std::size_t(each.back());
      for (std::size_t i = 0; i < items.size(); ++i) {
        const std::span<const float> mine(host.data() + i * size, size);
        const Statistics s = statistics_of(mine, channels);
        Json layer{{"name", tape.node(id).name}, {"op", op_name(tape.node(id).op)}, {"shape", each},
                   {"mean", s.mean}, {"std", s.std}, {"min", s.min}, {"max", s.max}, {"zeros", s.zeros},
                   {"dead_channels", s.dead}};
        if (chosen[std::size_t(id)] && each.size() == 3) {
          const fs::path path =
              o.out / fmt::format("{}.activations.{}.png", names.stem_of(items[i].path), tape.node(id).name);
          const std::string title = fmt::format("{}  {} x {} x {}", tape.node(id).name, each[0], each[1], each[2]);
          const auto mosaic = render::render_mosaic(
              mine, int(each[0]), int(each[1]), int(each[2]),
              {.strongest = o.strongest < int(channels) ? o.strongest : 0, .title = title});
          render::write_png(path, mosaic.picture);
          layer["png"] = path.string();
        }
        layers[i].push_back(std::move(layer));
      }
    }
    for (std::size_t i = 0; i < items.size(); ++i) {
      if (o.json) {
        const Json line{{"image", items[i].path.string()}, {"layers", layers[i]}};
        fmt::print("{}\n", line.dump(-1, ' ', false, Json::error_handler_t::replace));
      } else {
        print_table(items[i].path, layers[i]);
      }
    }
  });
  return console.errors() ? 1 : 0;
}

}  // namespace

Command add_activations(CLI::App& program) {
  CLI::App* const app =
      program.add_subcommand("activations", "Statistics of every layer's output, and its feature maps as pictures");
  auto o = std::make_shared<Options>();
  app->add_option("image", o->images, "Pictures, or folders of pictures")->required();
  app->add_option("--layer", o->layers, "Layers to draw, separated by commas, or all")->delimiter(',');
  app->add_option("--out", o->out, "Folder the pictures are written to")->required();
  app->add_option("--strongest", o->strongest, "Draw the N channels of largest mean size (0: all)")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app->add_flag("--json", o->json, "One JSON object per picture on standard output");
  o->model.add_to(*app);
  o->common.add_to(*app);
  return {app, [o] { return run(*o); }};
}

}  // namespace retrace::tools
