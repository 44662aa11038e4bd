#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "attribution/attribute.h"
#include "attribution/measures/localization.h"
#include "attribution/render/layout.h"
#include "attribution/render/npy.h"
#include "attribution/render/png.h"
#include "attribution/render/render.h"
#include "tools/commands/commands.h"
#include "tools/image/picture.h"
#include "tools/output_names.h"
#include "tools/session.h"
#include "weights/checked.h"

namespace retrace::tools {

namespace {

using Json = nlohmann::ordered_json;
namespace fs = std::filesystem;

struct Options {
  CommonOptions common;
  ModelOptions model;
  std::vector<fs::path> images;
  std::vector<std::string> methods{"input-gradient;grad-cam;lrp"};
  std::string target = "top1";
  fs::path out;
  fs::path masks;
  std::vector<std::string> save{"png", "npy"};
  bool json = false;
};

// "top1" and "top:K" as a number of best classes; 0 for a class by index or label.
std::size_t best_wanted(const std::string& target) {
  if (target == "top1") return 1;
  if (!target.starts_with("top:")) return 0;
  std::size_t k = 0;
  const auto [end, error] = std::from_chars(target.data() + 4, target.data() + target.size(), k);
  if (error != std::errc{} || end != target.data() + target.size() || k == 0) {
    throw UsageError(fmt::format("target '{}': expected top:K with K at least 1", target));
  }
  return k;
}

Json ledger_json(const Ledger& ledger, std::size_t image) {
  const LedgerTotals t = ledger.totals(image);
  Json json{{"start", t.start},
            {"arrived", t.arrived},
            {"absorbed_bias", t.absorbed_bias},
            {"absorbed_epsilon", t.absorbed_epsilon},
            {"dropped", t.dropped},
            {"unexplained", t.unexplained}};
  json["layers"] = Json::array();
  for (const LedgerRow& row : ledger.rows) {
    const LedgerEntry& e = row.images[image];
    json["layers"].push_back({{"layer", row.layer},
                              {"rule", row.rule},
                              {"entering", e.entering},
                              {"leaving", e.leaving},
                              {"absorbed_bias", e.absorbed_bias},
                              {"absorbed_epsilon", e.absorbed_epsilon},
                              {"dropped", e.dropped}});
  }
  return json;
}

// One map of one picture as it is drawn: the channels added up.
std::vector<float> one_value_a_pixel(const Attribution& a, std::size_t image, const Picture& picture) {
  const std::size_t each = a.values.size() / std::size_t(a.shape[0]);
  const std::span<const float> map(a.values.data() + image * each, each);
  if (a.is_cam()) return {map.begin(), map.end()};
  return render::channel_sum(map, picture.height, picture.width, int(a.shape[1]), render::Layout::chw);
}

render::RenderedMap draw(const Attribution& a, std::size_t image, const Picture& picture) {
  const std::vector<float> map = one_value_a_pixel(a, image, picture);
  if (a.is_cam()) return render::render_cam(map, picture.height, picture.width, picture);
  return render::render_signed(map, picture.height, picture.width);
}

// Where the object of a picture is.
struct TrueMask {
  Picture picture;                   // white on black, as large as the picture that is explained
  std::vector<std::uint8_t> inside;  // one a pixel
};

// The mask of the object that is asked for, bright where it is, prepared as the picture is: the folder's STEM.LABEL.png
// where a picture has several objects, else STEM.png.
TrueMask read_mask(const fs::path& folder, const fs::path& image, const std::string& label,
                   const Session& session) {
  fs::path path = folder / fmt::format("{}.{}.png", image.stem().string(), label);
  std::error_code ignored;
  if (!fs::exists(path, ignored)) path = folder / (image.stem().string() + ".png");
  TrueMask mask{session.prepare(image::load_picture(path)), {}};
  for (std::size_t i = 0; i < mask.picture.rgb.size(); i += 3) {
    const bool inside = mask.picture.rgb[i] >= 128;
    mask.inside.push_back(inside);
    for (std::size_t c = 0; c < 3; ++c) mask.picture.rgb[i + c] = inside ? 255 : 0;
  }
  if (std::find(mask.inside.begin(), mask.inside.end(), 1) == mask.inside.end()) {
    throw Error(fmt::format("{}: the mask is dark all over, expected a bright object", path.string()));
  }
  return mask;
}

// A warning speaks of "image N" of the batch; the reader knows the picture's file.
std::string with_file_name(const std::string& warning, const std::vector<Session::Item>& items) {
  for (std::size_t i = 0; i < items.size(); ++i) {
    const std::string number = fmt::format("image {}: ", i);
    if (warning.starts_with(number)) return items[i].path.string() + ": " + warning.substr(number.size());
  }
  return warning;
}

// UsageError for a layer that is not there or cannot be used, before anything is written.
void check_layers(const std::vector<Method>& methods, Session& session) {
  Session::Forward pass;
  for (const Method& method : methods) {
    if (method.layer.empty()) continue;
    if (!pass.tape) pass = session.try_forward();
    attribute(session.model(), *pass.tape, pass.logits, {0}, method);
  }
}

class Explainer {
 public:
  Explainer(const Options& options, Session& session, Console& console, std::vector<Method> methods,
            OutputNames names)
      : o_(options),
        session_(session),
        console_(console),
        methods_(std::move(methods)),
        names_(std::move(names)),
        best_(best_wanted(options.target)),
        fixed_(best_ ? -1 : session.class_of(options.target)) {
    for (const std::string& kind : o_.save) (kind == "png" ? png_ : npy_) = true;
  }

  void explain(const std::vector<Session::Item>& items) {
    masks_.clear();
    std::vector<Picture> pictures;
    for (const auto& item : items) pictures.push_back(item.prepared);
    const Session::Forward pass = session_.forward(pictures);
    const std::size_t rounds = best_ ? std::min(best_, pass.classes) : 1;
    std::vector<std::vector<Json>> lines(items.size());
    for (std::size_t round = 0; round < rounds; ++round) {
      std::vector<int> targets;
      for (std::size_t i = 0; i < items.size(); ++i) {
        targets.push_back(best_ ? pass.best(i, round + 1).back() : fixed_);
      }
      for (std::size_t i = 0; i < items.size(); ++i) {
        const std::size_t at = i * pass.classes + std::size_t(targets[i]);
        if (!o_.masks.empty()) {
          masks_[{items[i].path, targets[i]}] =
              read_mask(o_.masks, items[i].path, session_.label(targets[i]), session_);
        }
        lines[i].push_back({{"image", items[i].path.string()},
                            {"target",
                             {{"index", targets[i]},
                              {"label", session_.label(targets[i])},
                              {"probability", pass.probabilities[at]},
                              {"logit", pass.scores[at]}}},
                            {"maps", Json::array()}});
      }
      for (const Method& method : methods_) {
        const Attribution a = attribute(session_.model(), *pass.tape, pass.logits, targets, method);
        for (const std::string& warning : a.warnings) {
          console_.note(fmt::format("{}: {}", method.text, with_file_name(warning, items)));
        }
        for (std::size_t i = 0; i < items.size(); ++i) {
          lines[i].back()["maps"].push_back(save(items[i], method, a, i, targets[i], items.size()));
        }
      }
    }
    std::string text;
    for (const auto& picture : lines) {
      for (const Json& line : picture) text += report(line);
    }
    console_.result(text);
  }

 private:
  Json save(const Session::Item& item, const Method& method, const Attribution& a, std::size_t i, int target,
            std::size_t batch) {
    const std::string stem = fmt::format("{}.{}.{}", names_.stem_of(item.path), method.file_name(), target);
    Json map{{"method", method.text}};
    const std::size_t each = a.values.size() / batch;
    const std::span<const float> values(a.values.data() + i * each, each);
    // A map with NaN or Inf is an error, not a picture.
    render::check_finite(values, item.prepared.height, item.prepared.width, a.is_cam() ? 1 : int(a.shape[1]));
    if (png_) {
      const render::RenderedMap drawn = draw(a, i, item.prepared);
      const fs::path path = o_.out / (stem + ".png");
      std::vector<render::Panel> panels{
          {item.prepared, item.path.filename().string()},
          render::panel_of(drawn, fmt::format("{}: {} ({})", method.text, session_.label(target), target))};
      if (const auto mask = masks_.find({item.path, target}); mask != masks_.end()) {
        panels.push_back({mask->second.picture, "true mask"});
      }
      render::write_png(path, render::side_by_side(panels));
      map["png"] = path.string();
      map["clip"] = drawn.clip;
      map["clip_percentile"] = drawn.percentile;
      map["all_zero"] = drawn.all_zero;
    }
    if (npy_) {
      const fs::path path = o_.out / (stem + ".npy");
      render::write_npy(path, std::vector<std::int64_t>(a.shape.begin() + 1, a.shape.end()), values);
      map["npy"] = path.string();
    }
    if (const auto mask = masks_.find({item.path, target}); mask != masks_.end()) {
      map["inside_mask"] =
          measures::mass_accuracy(one_value_a_pixel(a, i, item.prepared), mask->second.inside);
    }
    map["sum"] = a.sum[i];
    map["start"] = a.start[i];
    if (a.ledger) map["ledger"] = ledger_json(*a.ledger, i);
    map["milliseconds"] = a.milliseconds / double(batch);
    return map;
  }

  // What is said of one picture and target.
  std::string report(const Json& line) const {
    if (o_.json) return line.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
    std::string text;
    const Json& target = line["target"];
    text += fmt::format("{}: {} ({}), {:.1f} %, logit {:.3f}\n", line["image"].get<std::string>(),
                        weights::printable(target["label"].get<std::string>()), target["index"].get<int>(),
                        100 * target["probability"].get<double>(), target["logit"].get<double>());
    for (const Json& map : line["maps"]) {
      text +=
          fmt::format("  {:<16} sum {:.4f} of {:.4f}  {:.1f} ms{}{}\n", map["method"].get<std::string>(),
                      map["sum"].get<double>(), map["start"].get<double>(), map["milliseconds"].get<double>(),
                      map.contains("inside_mask")
                          ? fmt::format("  {:.0f} % inside the mask", 100 * map["inside_mask"].get<double>())
                          : "",
                      map.value("all_zero", false) ? "  (all zero)"
                      : map.contains("clip")
                          ? fmt::format("  colours end at {:.3g} (percentile {:g})",
                                        map["clip"].get<double>(), map["clip_percentile"].get<double>())
                          : "");
      if (map.contains("ledger")) {
        const Json& l = map["ledger"];
        text += fmt::format(
            "    ledger: arrived {:.4f}, kept by biases {:.4f}, by epsilon {:.2g}, dropped {:.2g}, "
            "unexplained {:.1e}\n",
            l["arrived"].get<double>(), l["absorbed_bias"].get<double>(), l["absorbed_epsilon"].get<double>(),
            l["dropped"].get<double>(), l["unexplained"].get<double>());
      }
      for (const char* kind : {"png", "npy"}) {
        if (map.contains(kind)) text += fmt::format("    {}\n", map[kind].get<std::string>());
      }
    }
    return text;
  }

  const Options& o_;
  Session& session_;
  Console& console_;
  std::vector<Method> methods_;
  OutputNames names_;
  std::map<std::pair<fs::path, int>, TrueMask> masks_;  // of the batch at hand, by picture and target
  std::size_t best_;
  int fixed_;
  bool png_ = false, npy_ = false;
};

int run(const Options& o) {
  Console console(o.common.quiet);
  std::vector<Method> methods = parse_methods(o.methods);
  (void)best_wanted(o.target);
  Session session(o.common, o.model, console);
  check_layers(methods, session);
  const auto images = find_images(o.images, console);
  Explainer explainer(o, session, console, std::move(methods), OutputNames(images));
  make_folder(o.out);
  session.for_each_batch(images, [&](const auto& items) { explainer.explain(items); });
  return console.errors() ? 1 : 0;
}

}  // namespace

Command add_explain(const Arguments& program) {
  const Arguments arguments = program.command("explain", "Show which pixels decided");
  auto o = std::make_shared<Options>();
  arguments.add("image", o->images, "Pictures, or folders of pictures").required();
  arguments
      .add("--method", o->methods,
           "input-gradient, grad-cam, lrp; several separated by ';' or repeated; options after a colon, "
           "e.g. lrp:epsilon-plus-flat,bias=absorb")
      .one_value_a_time()  // what follows is a picture
      .shows_default();
  arguments.add("--target", o->target, "Class to explain: top1, top:K, an index or a label").shows_default();
  arguments.add("--out", o->out, "Folder the maps are written to").required();
  arguments.add("--save", o->save, "png, npy or both")
      .list()
      .one_value_a_time()
      .one_of({"png", "npy"})
      .shows_default();
  arguments.add("--masks", o->masks,
                "Folder with true masks, NAME.png or NAME.LABEL.png, bright where the object is; drawn "
                "beside the maps");
  arguments.flag("--json", o->json, "One JSON object per picture and target on standard output");
  o->model.add_to(arguments);
  o->common.add_to(arguments);
  return {arguments, [o] { return run(*o); }};
}

}  // namespace retrace::tools
