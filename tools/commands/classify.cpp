#include <fmt/format.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "tools/commands/commands.h"
#include "tools/session.h"
#include "weights/checked.h"

namespace retrace::tools {

namespace {

struct Options {
  CommonOptions common;
  ModelOptions model;
  std::vector<std::filesystem::path> images;
  int top = 5;
  bool json = false;
};

int run(const Options& o) {
  Console console(o.common.quiet);
  Session session(o.common, o.model, console);
  const auto images = find_images(o.images, console);
  session.for_each_batch(images, [&](const std::vector<Session::Item>& items) {
    std::vector<Picture> pictures;
    for (const auto& item : items) pictures.push_back(item.prepared);
    const Session::Forward pass = session.forward(pictures);
    std::string text;
    for (std::size_t i = 0; i < items.size(); ++i) {
      const auto best = pass.best(i, std::size_t(o.top));
      nlohmann::ordered_json line{{"image", items[i].path.string()},
                                  {"top", nlohmann::ordered_json::array()}};
      if (!o.json) text += items[i].path.string() + "\n";
      for (const int k : best) {
        const std::size_t at = i * pass.classes + std::size_t(k);
        if (o.json) {
          line["top"].push_back({{"index", k},
                                 {"label", session.label(k)},
                                 {"probability", pass.probabilities[at]},
                                 {"logit", pass.scores[at]}});
        } else {
          text += fmt::format("  {:5.1f} %  {} ({})  logit {:.3f}\n", 100 * pass.probabilities[at],
                              weights::printable(session.label(k)), k, pass.scores[at]);
        }
      }
      if (o.json) text += line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
    }
    console.result(text);
  });
  return console.errors() ? 1 : 0;
}

}  // namespace

Command add_classify(const Arguments& program) {
  const Arguments arguments = program.command("classify", "Name what is in pictures");
  auto o = std::make_shared<Options>();
  arguments.add("image", o->images, "Pictures, or folders of pictures").required();
  arguments.add("--top", o->top, "Classes shown").above_zero().shows_default();
  arguments.flag("--json", o->json, "One JSON object per picture on standard output");
  o->model.add_to(arguments);
  o->common.add_to(arguments);
  return {arguments, [o] { return run(*o); }};
}

}  // namespace retrace::tools
