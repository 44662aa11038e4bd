#include <fmt/format.h>

#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>

#include "attribution/render/mosaic.h"
#include "attribution/render/png.h"
#include "tools/commands/commands.h"
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
};

Statistics statistics_of(std::span<const float> values, std::size_t channels) {
  Statistics s;
  std::vector<bool> alive(channels);
  double sum = 0, squares = 0;
  std::size_t zeros = 0;
  s.min = s.max = values.empty() ? 0 : values[0];
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double v = values[i];
    sum += v;
    s.min = std::min(s.min, v);
    s.max = std::max(s.max, v);
    if (v == 0)
      ++zeros;
    else
      alive[i % channels] = true;
  }
  const double count = double(values.size());
  s.mean = sum / count;
  for (const float v : values) squares += (v - s.mean) * (v - s.mean);
  s.std = std::sqrt(squares / count);
  s.zeros = double(zeros) / count;
  for (const bool a : alive) s.dead += !a;
  return s;
}

std::string table(const fs::path& image, const Json& layers) {
  std::string text =
      fmt::format("{}\n  {:<22} {:<16} {:>10} {:>10} {:>10} {:>10} {:>7} {:>6}\n", image.string(), "layer",
                  "shape", "mean", "std", "min", "max", "zeros", "dead");
  for (const Json& l : layers) {
    text += fmt::format("  {:<22} {:<16} {:>10.4g} {:>10.4g} {:>10.4g} {:>10.4g} {:>5.1f} % {:>6}\n",
                        l["name"].get<std::string>(), l["shape"].dump(), l["mean"].get<double>(),
                        l["std"].get<double>(), l["min"].get<double>(), l["max"].get<double>(),
                        100 * l["zeros"].get<double>(), l["dead_channels"].get<int>());
    if (l.contains("png")) text += fmt::format("    {}\n", l["png"].get<std::string>());
  }
  return text;
}

// The layers to draw, as flags by node.
std::vector<bool> chosen_layers(const Model& model, const Tape& tape, const std::vector<std::string>& names) {
  std::vector<bool> chosen(std::size_t(tape.size()));
  for (const std::string& name : names) {
    if (name == "all")
      chosen.assign(chosen.size(), true);
    else
      chosen[std::size_t(model.layer(tape, name))] = true;
  }
  return chosen;
}

int run(const Options& o) {
  Console console(o.common.quiet);
  Session session(o.common, o.model, console);
  if (!o.layers.empty()) {
    // For a name that is not there, before anything is written.
    (void)chosen_layers(session.model(), *session.try_forward().tape, o.layers);
  }
  const auto images = find_images(o.images, console);
  make_folder(o.out);
  const OutputNames names(images);
  session.for_each_batch(images, [&](const std::vector<Session::Item>& items) {
    std::vector<Picture> pictures;
    for (const auto& item : items) pictures.push_back(item.prepared);
    const Session::Forward pass = session.forward(pictures);
    const Tape& tape = *pass.tape;
    const std::vector<bool> chosen = chosen_layers(session.model(), tape, o.layers);
    std::vector<Json> layers(items.size(), Json::array());
    for (NodeId id = 0; id < tape.size(); ++id) {
      const Tensor& value = tape.value(id);
      const Shape each(value.shape().begin() + 1, value.shape().end());
      const std::vector<float> host = value.to_host();
      const std::size_t size = host.size() / items.size(), channels = std::size_t(each.back());
      for (std::size_t i = 0; i < items.size(); ++i) {
        const std::span<const float> mine(host.data() + i * size, size);
        const Statistics s = statistics_of(mine, channels);
        Json layer{{"name", tape.node(id).name},
                   {"op", op_name(tape.node(id).op)},
                   {"shape", each},
                   {"mean", s.mean},
                   {"std", s.std},
                   {"min", s.min},
                   {"max", s.max},
                   {"zeros", s.zeros},
                   {"dead_channels", s.dead}};
        if (chosen[std::size_t(id)]) {
          // A vector is drawn as channels of one pixel.
          const int h = each.size() == 3 ? int(each[0]) : 1, w = each.size() == 3 ? int(each[1]) : 1;
          const fs::path path =
              o.out / fmt::format("{}.activations.{}.png", names.stem_of(items[i].path), tape.node(id).name);
          const std::string title = fmt::format("{}  {} x {} x {}", tape.node(id).name, h, w, channels);
          const auto mosaic = render::render_mosaic(
              mine, h, w, int(channels),
              {.strongest = o.strongest < int(channels) ? o.strongest : 0, .title = title});
          render::write_png(path, mosaic.picture);
          layer["png"] = path.string();
        }
        layers[i].push_back(std::move(layer));
      }
    }
    std::string text;
    for (std::size_t i = 0; i < items.size(); ++i) {
      if (o.json) {
        const Json line{{"image", items[i].path.string()}, {"layers", layers[i]}};
        text += line.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
      } else {
        text += table(items[i].path, layers[i]);
      }
    }
    console.result(text);
  });
  return console.errors() ? 1 : 0;
}

}  // namespace

Command add_activations(const Arguments& program) {
  const Arguments arguments =
      program.command("activations", "Statistics of every layer's output, and its feature maps as pictures");
  auto o = std::make_shared<Options>();
  arguments.add("image", o->images, "Pictures, or folders of pictures").required();
  arguments.add("--layer", o->layers, "Layers to draw, separated by commas, or all")
      .list()
      .one_value_a_time();  // what follows is a picture
  arguments.add("--out", o->out, "Folder the pictures are written to").required();
  arguments.add("--strongest", o->strongest, "Draw the N channels of largest mean size (0: all)")
      .zero_or_more()
      .shows_default();
  arguments.flag("--json", o->json, "One JSON object per picture on standard output");
  o->model.add_to(arguments);
  o->common.add_to(arguments);
  return {arguments, [o] { return run(*o); }};
}

}  // namespace retrace::tools
