// Each method's best and worst maps, beside picture and truth: where it falls short, one sees why.
#pragma once
#include <filesystem>
#include <vector>

#include "tools/evaluate/evaluator.h"
#include "tools/evaluate/report.h"

namespace retrace::tools {

// Draws the maps again and writes them to `folder` as METHOD.worst.png, METHOD.best.png and METHOD.objects.png: three
// rows each, or as many as there are. One Gallery a method.
std::vector<Gallery> write_galleries(const Evaluator& evaluator, Session& session, const Results& results,
                                     const std::vector<Method>& methods, const std::filesystem::path& folder);

}  // namespace retrace::tools
