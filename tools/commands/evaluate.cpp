#include <fmt/format.h>

#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <span>

#include "attribution/render/png.h"
#include "tools/commands/commands.h"
#include "tools/evaluate/evaluator.h"
#include "tools/evaluate/gallery.h"
#include "tools/evaluate/report.h"
#include "weights/atomic_file.h"

namespace retrace::tools {

namespace {

namespace fs = std::filesystem;

struct Options {
  CommonOptions common;
  ModelOptions model;
  std::string data;
  std::vector<std::string> methods{"input-gradient;grad-cam;lrp"};
  int count = 64, steps = 16, patch = 0;
  std::string removed = "blur";
  fs::path out;
  bool write = false;  // --out was given, be it empty
  bool json = false;
};

void write_text(const fs::path& path, const std::string& text) {
  weights::write_atomically(path, std::as_bytes(std::span(text)), weights::Durability::cached);
}

// UsageError for a layer that is not there, before the first of many pictures is classified.
void check_layers(const std::vector<Method>& methods, Session& session) {
  Session::Forward pass;
  for (const Method& method : methods) {
    if (method.layer.empty()) continue;
    if (!pass.tape) pass = session.try_forward();
    attribute(session.model(), *pass.tape, pass.logits, {0}, method);
  }
}

int run(const Options& o) {
  Console console(o.common.quiet);
  EvaluateOptions options{.methods = parse_methods(o.methods),
                          .count = std::size_t(o.count),
                          .steps = o.steps,
                          .patch = o.patch,
                          .removal = o.removed == "blur" ? Removal::blur : Removal::grey,
                          .seed = o.common.seed};
  const std::vector<Method> methods = options.methods;
  const auto dataset = data::open_dataset(o.data);
  Session session(o.common, o.model, console);
  check_classes(session, *dataset);
  check_layers(methods, session);
  if (o.write) make_folder(o.out);

  Evaluator evaluator(session, console, *dataset, std::move(options));
  const Results results = evaluator.run();
  const nlohmann::ordered_json json = json_report(results);
  constexpr auto replace = nlohmann::ordered_json::error_handler_t::replace;
  if (o.write) {
    std::vector<Gallery> galleries;
    if (!results.single.empty()) render::write_png(o.out / curves_file, curves_picture(results));
    if (!results.methods.empty()) galleries = write_galleries(evaluator, session, results, methods, o.out);
    write_text(o.out / "confusion.csv", confusion_csv(results));
    if (!results.methods.empty()) write_text(o.out / "measures.csv", measures_csv(results));
    write_text(o.out / "report.json", json.dump(2, ' ', false, replace) + "\n");
    write_text(o.out / "report.md", markdown_report(results, galleries));
  }
  console.result(o.json ? json.dump(-1, ' ', false, replace) + "\n" : text_report(results));
  if (o.write) console.note(fmt::format("report: {}", (o.out / "report.md").string()));
  return console.errors() ? 1 : 0;
}

}  // namespace

Command add_evaluate(const Arguments& program) {
  const Arguments arguments =
      program.command("evaluate", "Measure right answers and how good their explanations are");
  auto o = std::make_shared<Options>();
  arguments
      .add("--data", o->data,
           "Labelled pictures: scenes:size=128,count=1000, idx:FOLDER,split=test or folder:FOLDER")
      .required();
  arguments
      .add("--method", o->methods,
           "Explanations to measure, as `retrace explain` takes them; several separated by ';' or repeated")
      .one_value_a_time()
      .shows_default();
  arguments.add("--count", o->count, "Pictures explained, of one class and of several each (0: none)")
      .within(0, 1 << 24)
      .shows_default();
  arguments.add("--steps", o->steps, "Steps of deletion and insertion").within(1, 4096).shows_default();
  arguments.add("--patch", o->patch, "Side of the patches deleted and inserted, in pixels (0: an eighth)")
      .within(0, 4096)
      .shows_default();
  arguments.add("--removed", o->removed, "What takes a removed patch's place: blur or grey")
      .one_of({"blur", "grey"})
      .shows_default();
  const Argument out = arguments.add(
      "--out", o->out, "Folder for report.md, report.json, curves.png, the tables as .csv and pictures");
  arguments.flag("--json", o->json, "One JSON object on standard output");
  o->model.add_to(arguments);
  o->common.add_to(arguments);
  return {arguments, [o, out] {
            o->write = out.given();
            return run(*o);
          }};
}

}  // namespace retrace::tools
