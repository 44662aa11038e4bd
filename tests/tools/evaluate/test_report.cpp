// The same numbers in every form.
#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "kernels/error.h"
#include "made_up.h"
#include "tools/evaluate/report.h"

namespace retrace::tools {
namespace {

bool holds(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST_CASE("csv") {
  const Results r = made_up();
  CHECK(confusion_csv(r) == "true class,cat,\"dog, small\"\ncat,2,0\n\"dog, small\",1,1\n");
  const std::string text = measures_csv(r);
  CHECK(text.starts_with("method,baseline,localization.mass,localization.mass.standard_error,"));
  CHECK(holds(text, "\ncam,0,0.15,"));
  CHECK(holds(text, "\n\"lrp:a,b\",0,0.15,"));
  CHECK(holds(text, "\nrandom order,1,0.15,"));
}

TEST_CASE("json") {
  const auto json = json_report(made_up());
  CHECK(json["one_class"]["accuracy"] == 0.75);
  CHECK(json["several_classes"]["best_is_one_of_them"] == 1);
  CHECK(json["several_classes"]["best_are_exactly_them"] == 0);
  CHECK(json["explained"]["of_these_right"] == 3);
  CHECK(json["methods"].size() == 3);
  CHECK(json["methods"][0]["localization"]["mass"]["mean"].get<double>() == doctest::Approx(0.15));
  CHECK(json["methods"][2]["baseline"] == true);
  // The mean of the curves 1, i/4, 0.
  CHECK(json["methods"][1]["curves"]["deletion"] == nlohmann::ordered_json{1, 0.375, 0});
  const auto bare = json_report(made_up(false));
  CHECK(bare["masks"] == false);
  CHECK_FALSE(bare["methods"][0].contains("localization"));
  CHECK(bare["several_classes"]["best_is_one_of_them"].is_null());
}

TEST_CASE("text") {
  const std::string text = text_report(made_up());
  CHECK(text.starts_with("net on made:up: 5 samples\n  one class: 75.00 % right (3 of 4)\n"));
  CHECK(holds(text, "Localization (4 pictures; mean ± standard error)\n"));
  CHECK(holds(text, "(random order)"));
  CHECK(holds(text, "cells: cam: 4 x 4 pixels"));
  CHECK_FALSE(holds(text, "no masks"));
  CHECK(holds(text_report(made_up(false)), "the data has no masks"));
  // Columns stand below each other: every line of a table is as long as the next, in letters.
  const std::size_t at = text.find("\nTwo objects");
  const std::string table = text.substr(text.find('\n', at + 1) + 1);
  std::size_t before = 0;
  for (std::size_t from = 0, row = 0; row < 4; ++row) {
    const std::size_t to = table.find('\n', from);
    std::size_t letters = 0;
    for (std::size_t i = from; i < to; ++i) letters += (table[i] & 0xC0) != 0x80;
    if (row) CHECK(letters == before);
    before = letters;
    from = to + 1;
  }
}

TEST_CASE("markdown") {
  const std::string page = markdown_report(
      made_up(), {{"cam", "cam.worst.png", "cam.best.png", ""}, {"lrp:a,b", "", "", "lrp_a_b.objects.png"}});
  CHECK(page.starts_with("# net on `made:up`\n"));
  CHECK(holds(page, "| cat | 2 | . |"));
  CHECK(holds(page, "| smallest third of the objects | 30.0 | 1 |"));
  CHECK(holds(page, "![worst](cam.worst.png)"));
  CHECK(holds(page, "![several objects](lrp_a_b.objects.png)"));
  CHECK(holds(page, "(curves.png)"));
  CHECK(holds(page,
              "## lrp:a,b\n\nWhere it does well and where not, by mass inside the mask widened by 3 pixels"));
}

TEST_CASE("curves") {
  CHECK(curves_picture(made_up()).width == 1200);
  CHECK_THROWS_AS(curves_picture(Results{}), Error);
}

}  // namespace
}  // namespace retrace::tools
