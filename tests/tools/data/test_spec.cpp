// What users write to name data.
#include <doctest/doctest.h>

#include "kernels/error.h"
#include "tools/data/dataset.h"
#include "tools/data/spec.h"

namespace retrace::data {
namespace {

TEST_CASE("a spec opens the same data again") {
  CHECK(open_dataset("scenes")->spec() ==
        "scenes:size=128,count=20000,seed=1,objects=1-2,distractors=0-6,texture=0-1");
  const std::string spec =
      "scenes:size=32,count=7,seed=18446744073709551615,objects=2,distractors=0,texture=0.25";
  const auto data = open_dataset(spec);
  CHECK(data->spec() == spec);
  CHECK(data->size() == 7);
  CHECK(data->labels().size() == 8);
  CHECK(open_dataset(
            "scenes:texture=0.25-0.25,distractors=0,seed=18446744073709551615,objects=2-2,count=7,size=32")
            ->spec() == spec);
}

TEST_CASE("malformed specs say what was expected") {
  const auto complains = [](const std::string& spec, const std::string& message) {
    CHECK_THROWS_WITH_AS(open_dataset(spec), message.c_str(), UsageError);
  };
  const std::string kinds =
      "expected scenes[:size=N,count=N,seed=N,objects=A-B,distractors=A-B,texture=A-B], "
      "idx:FOLDER[,split=train|test,labels=digits|fashion] or folder:FOLDER";
  for (const std::string spec : {"", "scene", "/some/folder", "Scenes:size=32"})
    complains(spec, "data '" + spec + "': " + kinds);
  complains("scenes:size=12", "data 'scenes:size=12': size=12, expected a whole number from 24 to 1024");
  complains("scenes:size=64x", "data 'scenes:size=64x': size=64x, expected a whole number from 24 to 1024");
  complains("scenes:size=", "data 'scenes:size=': size=, expected a whole number from 24 to 1024");
  complains("scenes:size", "data 'scenes:size': 'size' without a value, expected size=N");
  complains("scenes:size=64,size=64", "data 'scenes:size=64,size=64': 'size' is given twice");
  complains("scenes:size=64,", "data 'scenes:size=64,': '' is not an option, expected key=value");
  complains("scenes:=3", "data 'scenes:=3': '=3' is not an option, expected key=value");
  complains("scenes:seed=-1",
            "data 'scenes:seed=-1': seed=-1, expected a whole number from 0 to 18446744073709551615");
  complains(
      "scenes:objects=0-2",
      "data 'scenes:objects=0-2': objects=0-2, expected a number from 1 to 2 or a range of them like 1-2");
  for (const std::string range : {"2-1", "1-", "-2", "1-2-3", "1..2"})
    CHECK_THROWS_AS(open_dataset("scenes:objects=" + range), UsageError);
  complains("scenes:colour=red",
            "data 'scenes:colour=red': option 'colour', expected size=N, count=N, seed=N, objects=N or A-B, "
            "distractors=N or A-B, texture=N or A-B");
  for (const std::string range : {"1.5", "-0.1", "0.5-0.2", "nan", "0-nan", "x"})
    CHECK_THROWS_AS(open_dataset("scenes:texture=" + range), UsageError);
  complains("idx", "data 'idx': no folder, expected idx:FOLDER");
  complains("folder:", "data 'folder:': no folder, expected folder:FOLDER");
  complains("idx:,split=test", "data 'idx:,split=test': no folder, expected idx:FOLDER");
  complains("idx:f,split=val", "data 'idx:f,split=val': split=val, expected train or test");
}

TEST_CASE("a folder's name may have commas and equals signs") {
  const std::vector<std::string> keys{"split", "labels"};
  const auto split = [&](const std::string& text) { return split_folder(text, keys); };
  using Parts = std::pair<std::string, std::string>;
  CHECK(split("a") == Parts("a", ""));
  CHECK(split("a,b=c,d") == Parts("a,b=c,d", ""));
  CHECK(split("a,b=c,split=test") == Parts("a,b=c", "split=test"));
  CHECK(split("a,split=test,labels=x") == Parts("a", "split=test,labels=x"));
  CHECK(split(",split=test") == Parts("", "split=test"));
}

}  // namespace
}  // namespace retrace::data
