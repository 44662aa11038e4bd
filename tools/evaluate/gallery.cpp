#include "tools/evaluate/gallery.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "attribution/render/layout.h"
#include "attribution/render/png.h"
#include "attribution/render/render.h"

namespace retrace::tools {
namespace {

constexpr std::size_t most_rows = 3;

Picture stack(const std::vector<Picture>& rows) {
  int width = 0, height = 0;
  for (const Picture& row : rows) width = std::max(width, row.width), height += row.height;
  Picture out = render::blank(width, height, {255, 255, 255});
  int y = 0;
  for (const Picture& row : rows) {
    render::paste(out, row, 0, y);
    y += row.height;
  }
  return out;
}

// The picture where the mask is, yellow where it is widened, and dark elsewhere.
Picture draw_mask(const Picture& picture, const measures::Mask& mask, const measures::Mask& wide) {
  Picture out = picture;
  for (std::size_t p = 0; p < mask.size(); ++p) {
    if (mask[p]) continue;
    std::uint8_t* const rgb = out.rgb.data() + p * 3;
    const int grey = (rgb[0] + rgb[1] + rgb[2]) / 9;
    for (int c = 0; c < 3; ++c) rgb[c] = std::uint8_t(wide[p] ? (c < 2 ? 150 + grey : 40 + grey) : grey);
  }
  return out;
}

// Explains one question once more.
class Painter {
 public:
  Painter(const Evaluator& evaluator, Session& session, const Results& results, const Method& method,
          const MethodResults& measured)
      : evaluator_(evaluator), session_(session), results_(results), method_(method), measured_(measured) {}

  // Picture, map and truth.
  Picture row(std::size_t i) const {
    const Asked& asked = results_.single[i];
    const Evaluator::Ready ready = evaluator_.ready(asked.sample);
    std::vector<render::Panel> panels{{ready.picture, picture_caption(asked)},
                                      render::panel_of(draw(ready, asked.target), map_caption(i))};
    if (!ready.masks.empty()) panels.push_back(truth(ready, 0));
    return render::side_by_side(panels, asked.name);
  }

  // Picture, and map and truth for each of its classes; `first` is the first question of its sample.
  Picture objects_row(std::size_t first) const {
    const Asked& asked = results_.several[first];
    const Evaluator::Ready ready = evaluator_.ready(asked.sample);
    std::vector<render::Panel> panels{{ready.picture, picture_caption(asked)}};
    for (std::size_t q = first; q < results_.several.size() && results_.several[q].sample == asked.sample;
         ++q) {
      const int target = results_.several[q].target;
      const measures::ObjectShare& share = measured_.objects[q];
      panels.push_back(render::panel_of(draw(ready, target),
                                        fmt::format("why {}: own {:.0f}%, other {:.0f}%", label(target),
                                                    100 * share.own, 100 * share.other)));
      const std::size_t which =
          std::size_t(std::find(ready.classes.begin(), ready.classes.end(), target) - ready.classes.begin());
      panels.push_back(truth(ready, which));
    }
    return render::side_by_side(panels, asked.name);
  }

 private:
  const std::string& label(int c) const { return results_.accuracy.labels[std::size_t(c)]; }

  std::string picture_caption(const Asked& asked) const {
    if (asked.answer == asked.target)
      return fmt::format("{}, {:.0f}%", label(asked.target), 100 * asked.probability);
    return fmt::format("{}, {:.0f}%; answer: {}", label(asked.target), 100 * asked.probability,
                       label(asked.answer));
  }

  std::string map_caption(std::size_t i) const {
    const double q = measured_.quality(i);
    if (!measured_.localization[i]) return fmt::format("{}: score {:.3f}", method_.text, q);
    return fmt::format("{}: {:.0f}% inside", method_.text, 100 * q);
  }

  render::Panel truth(const Evaluator::Ready& ready, std::size_t which) const {
    const measures::Mask& mask = ready.masks[which];
    const int h = ready.picture.height, w = ready.picture.width;
    const measures::Mask wide =
        measured_.cam ? measures::dilate_cell(mask, h, w, h / measured_.cell_height, w / measured_.cell_width)
                      : measures::dilate_disc(mask, h, w, tolerance_pixels);
    return {draw_mask(ready.picture, mask, wide), fmt::format("truth: {}", label(ready.classes[which]))};
  }

  render::RenderedMap draw(const Evaluator::Ready& ready, int target) const {
    const Session::Forward pass = session_.forward({ready.picture});
    const Evaluator::Maps maps = evaluator_.explain(pass, {ready}, {target}, method_);
    const int h = ready.picture.height, w = ready.picture.width;
    return maps.grid_height ? render::render_cam(maps.maps[0], h, w, ready.picture)
                            : render::render_signed(maps.maps[0], h, w);
  }

  const Evaluator& evaluator_;
  Session& session_;
  const Results& results_;
  const Method& method_;
  const MethodResults& measured_;
};

}  // namespace

std::vector<Gallery> write_galleries(const Evaluator& evaluator, Session& session, const Results& results,
                                     const std::vector<Method>& methods,
                                     const std::filesystem::path& folder) {
  std::vector<Gallery> galleries;
  for (std::size_t m = 0; m < methods.size() && m < results.methods.size(); ++m) {
    const MethodResults& measured = results.methods[m];
    const Painter painter(evaluator, session, results, methods[m], measured);
    Gallery gallery{.method = measured.name, .worst = "", .best = "", .objects = ""};
    const auto write = [&](const char* kind, const std::vector<Picture>& rows) {
      const std::string name = fmt::format("{}.{}.png", methods[m].file_name(), kind);
      render::write_png(folder / name, stack(rows));
      return name;
    };

    std::vector<std::size_t> order(results.single.size());
    std::iota(order.begin(), order.end(), std::size_t(0));
    std::stable_sort(order.begin(), order.end(),
                     [&](std::size_t a, std::size_t b) { return measured.quality(a) < measured.quality(b); });
    const std::size_t rows = std::min(most_rows, order.size());
    if (rows) {
      std::vector<Picture> worst, best;
      for (std::size_t i = 0; i < rows; ++i) {
        worst.push_back(painter.row(order[i]));
        best.push_back(painter.row(order[order.size() - 1 - i]));
      }
      gallery.worst = write("worst", worst);
      gallery.best = write("best", best);
    }

    // Of each sample of several classes the first question, and how well the worst of its maps follows.
    std::vector<std::pair<double, std::size_t>> samples;
    for (std::size_t q = 0; q < results.several.size(); ++q) {
      const double follows = measured.objects[q].own - measured.objects[q].other;
      if (q == 0 || results.several[q].sample != results.several[q - 1].sample) {
        samples.emplace_back(follows, q);
      } else {
        samples.back().first = std::min(samples.back().first, follows);
      }
    }
    std::sort(samples.begin(), samples.end());
    if (!samples.empty()) {
      std::vector<Picture> pictures;
      for (std::size_t i = 0; i < std::min(most_rows, samples.size()); ++i) {
        pictures.push_back(painter.objects_row(samples[i].second));
      }
      gallery.objects = write("objects", pictures);
    }
    galleries.push_back(std::move(gallery));
  }
  return galleries;
}

}  // namespace retrace::tools
