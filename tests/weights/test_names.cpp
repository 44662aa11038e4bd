// How names of the field become a model's own, and which of two sets of weights is taken.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>

#include "build_files.h"
#include "kernels/error.h"
#include "weights/names.h"
#include "weights/rename.h"

namespace retrace::weights::test {
namespace {

using Names = std::vector<std::string>;

Checkpoint named(const Names& names) {
  Checkpoint checkpoint;
  checkpoint.path = "net.pt";
  float value = 0;
  for (const std::string& name : names) {
    checkpoint.tensors.push_back(HostTensor::from_f32(name, {1}, {value++}));
  }
  return checkpoint;
}

Names names_of(const std::vector<HostTensor>& tensors) {
  Names out;
  for (const HostTensor& tensor : tensors) out.push_back(tensor.name);
  return out;
}

// The names by that convention and without that prefix; empty if there is no such way.
Names read_as(const Names& names, const std::string& convention, const std::string& prefix = "") {
  for (const Naming& way : namings(named(names).tensors)) {
    if (!way.plain() && way.convention == convention && way.prefix == prefix) return way.names;
  }
  return {};
}

bool any_note(const Checkpoint& checkpoint, std::string_view part) {
  return std::any_of(checkpoint.notes.begin(), checkpoint.notes.end(),
                     [&](const std::string& note) { return note.find(part) != std::string::npos; });
}

const std::string eight = bytes_of<float>({1, 2, 3, 4, 5, 6, 7, 8});
std::string one(int key) {
  return pk::floats(std::to_string(key), 1);
}
std::vector<std::pair<std::string, std::string>> storages(int n) {
  std::vector<std::pair<std::string, std::string>> out;
  for (int i = 0; i < n; ++i) out.emplace_back(std::to_string(i), eight.substr(std::size_t(i) * 4, 4));
  return out;
}

}  // namespace

TEST_CASE("names: rules with numbers and rests") {
  const NameRule rule{"a.{s}.b.{k}.*", "x{s+1}.{k}.*"};
  CHECK(apply_rule(rule, "a.0.b.12.weight") == "x1.12.weight");
  CHECK(apply_rule(rule, "a.9.b.9.c.d") == "x10.9.c.d");
  for (const char* other :
       {"a.b.0.weight", "a.0.b.1", "a.0.b.1.", "A.0.b.1.weight", "a..b.1.w", "a.12345.b.1.w", ""}) {
    CHECK(apply_rule(rule, other) == other);
  }
  CHECK(apply_rule({"a.{s}", "b{s}"}, "a.3") == "b3");
  CHECK(apply_rule({"a.{s}.*", "b.{s+17}.*"}, "a.3.c") == "b.20.c");
  CHECK(apply_rule({"a.{s}", "b{s}"}, "a.3.c") == "a.3.c");
}

TEST_CASE("names: Hugging Face's ResNet") {
  // transformers 4, ResNetForImageClassification: state_dict() of the first stage's and a later layer.
  const Names theirs{"resnet.embedder.embedder.convolution.weight",
                     "resnet.embedder.embedder.normalization.running_mean",
                     "resnet.embedder.embedder.normalization.num_batches_tracked",
                     "resnet.encoder.stages.0.layers.0.shortcut.convolution.weight",
                     "resnet.encoder.stages.0.layers.0.shortcut.normalization.bias",
                     "resnet.encoder.stages.0.layers.0.layer.0.convolution.weight",
                     "resnet.encoder.stages.0.layers.0.layer.2.normalization.running_var",
                     "resnet.encoder.stages.3.layers.22.layer.1.convolution.weight",
                     "classifier.1.weight",
                     "classifier.1.bias"};
  const Names ours{"conv1.weight",
                   "bn1.running_mean",
                   "bn1.num_batches_tracked",
                   "layer1.0.downsample.0.weight",
                   "layer1.0.downsample.1.bias",
                   "layer1.0.conv1.weight",
                   "layer1.0.bn3.running_var",
                   "layer4.22.conv2.weight",
                   "fc.weight",
                   "fc.bias"};
  CHECK(read_as(theirs, "Hugging Face names") == ours);
  Names in_lightning = theirs;
  for (std::string& name : in_lightning) name = "net.model." + name;
  CHECK(read_as(in_lightning, "Hugging Face names", "net.model.") == ours);
  // The bare ResNetModel.
  CHECK(read_as(
            {"embedder.embedder.convolution.weight", "encoder.stages.1.layers.0.layer.0.convolution.weight"},
            "Hugging Face names") == Names{"conv1.weight", "layer2.0.conv1.weight"});
}

TEST_CASE("names: timm's MobileNetV2") {
  Names theirs{"conv_stem.weight",    "bn1.running_mean",          "blocks.0.0.conv_dw.weight",
               "blocks.0.0.bn1.bias", "blocks.0.0.conv_pw.weight", "blocks.0.0.bn2.weight"};
  Names ours{"features.0.0.weight",      "features.0.1.running_mean", "features.1.conv.0.0.weight",
             "features.1.conv.0.1.bias", "features.1.conv.1.weight",  "features.1.conv.2.weight"};
  const std::pair<const char*, const char*> parts[] = {{"conv_pw", "0.0"}, {"bn1", "0.1"},
                                                       {"conv_dw", "1.0"}, {"bn2", "1.1"},
                                                       {"conv_pwl", "2"},  {"bn3", "3"}};
  int feature = 2;
  const int blocks[] = {2, 3, 4, 3, 3, 1};  // of its stages from the second on
  for (int stage = 1; stage <= 6; ++stage) {
    for (int block = 0; block < blocks[stage - 1]; ++block, ++feature) {
      for (const auto& [their_part, our_part] : parts) {
        theirs.push_back(fmt::format("blocks.{}.{}.{}.weight", stage, block, their_part));
        ours.push_back(fmt::format("features.{}.conv.{}.weight", feature, our_part));
      }
    }
  }
  CHECK(feature == 18);
  for (const char* last : {"conv_head.weight", "bn2.running_var", "classifier.bias"}) theirs.push_back(last);
  for (const char* last : {"features.18.0.weight", "features.18.1.running_var", "classifier.1.bias"})
    ours.push_back(last);
  CHECK(read_as(theirs, "timm's names of MobileNetV2") == ours);
}

TEST_CASE("names: MMPretrain's") {
  CHECK(read_as({"backbone.conv1.weight", "backbone.layer1.0.bn1.bias", "head.fc.weight"},
                "MMPretrain names") == Names{"conv1.weight", "layer1.0.bn1.bias", "fc.weight"});
}

TEST_CASE("names: torchvision's first DenseNets") {
  // densenet121-a639ec97.pth and its like; torchvision's own rule is in _load_state_dict of densenet.py.
  const Names theirs{"features.conv0.weight",
                     "features.norm0.running_mean",
                     "features.denseblock1.denselayer1.norm.1.weight",
                     "features.denseblock1.denselayer1.conv.1.weight",
                     "features.denseblock3.denselayer24.norm.2.running_var",
                     "features.denseblock3.denselayer24.conv.2.weight",
                     "features.transition1.norm.weight",
                     "features.transition1.conv.weight",
                     "features.norm5.bias",
                     "classifier.weight"};
  const Names ours{"features.conv0.weight",
                   "features.norm0.running_mean",
                   "features.denseblock1.denselayer1.norm1.weight",
                   "features.denseblock1.denselayer1.conv1.weight",
                   "features.denseblock3.denselayer24.norm2.running_var",
                   "features.denseblock3.denselayer24.conv2.weight",
                   "features.transition1.norm.weight",
                   "features.transition1.conv.weight",
                   "features.norm5.bias",
                   "classifier.weight"};
  const std::string title = "names of torchvision's first DenseNets";
  CHECK(read_as(theirs, title) == ours);
  CHECK(read_as(ours, title).empty());  // today's names need nothing
  Names parallel = theirs;
  for (std::string& name : parallel) name = "module." + name;
  CHECK(read_as(parallel, title, "module.") == ours);
}

TEST_CASE("names: as they are first, then without what all share up to a dot") {
  const auto ways = namings(named({"a.b.c", "a.b.d", "a.bx.e"}).tensors);
  REQUIRE(ways.size() == 2);
  CHECK(ways[0].plain());
  CHECK(ways[0].notes().empty());
  CHECK(ways[1].prefix == "a.");
  CHECK(ways[1].names == Names{"b.c", "b.d", "bx.e"});
  CHECK(ways[1].notes() == Names{"prefix 'a.' removed from every name"});
  CHECK(namings(named({"a.b", "b.c"}).tensors).size() == 1);
  CHECK(namings(named({"a.", "a.b"}).tensors).size() == 1);  // nothing may be left of a name
  CHECK(namings(named({}).tensors).size() == 1);
  const Checkpoint c = renamed(named({"a.b.c", "a.b.d", "a.bx.e"}), ways[1]);
  CHECK(names_of(c.tensors) == ways[1].names);
  CHECK(c.tensors[2].to_f32() == std::vector<float>{2});
}

TEST_CASE("names: a way that gives one name twice is none") {
  CHECK(read_as({"fc.weight", "classifier.1.weight"}, "Hugging Face names").empty());
}

TEST_CASE("names: of too many there is one way") {
  Names many;
  for (int i = 0; i < 10'001; ++i) many.push_back("a." + std::to_string(i));
  CHECK(namings(named(many).tensors).size() == 1);
  many.pop_back();
  CHECK(namings(named(many).tensors).size() == 2);
}

TEST_CASE("names: architectures known not to be offered") {
  const auto with = [](const std::vector<std::pair<std::string, std::vector<std::int64_t>>>& tensors) {
    Checkpoint c;
    for (const auto& [name, shape] : tensors) {
      std::size_t n = 1;
      for (const auto side : shape) n *= std::size_t(side);
      c.tensors.push_back(HostTensor::from_f32(name, shape, std::vector<float>(n)));
    }
    return known_misfit(c);
  };
  CHECK(contains(with({{"conv1.0.weight", {8, 3, 3, 3}}, {"conv1.3.weight", {8, 8, 3, 3}}}), "deep stem"));
  CHECK(contains(with({{"layer2.0.downsample.1.weight", {8, 8, 1, 1}}}), "pool before they convolve"));
  CHECK(contains(with({{"layer1.0.se.fc1.weight", {2, 8, 1, 1}}}),
                 "squeeze-and-excitation ('layer1.0.se.fc1.weight')"));
  CHECK(contains(with({{"layer1.0.conv2.weight", {8, 2, 3, 3}}, {"layer1.0.conv3.weight", {8, 8, 1, 1}}}),
                 "grouped"));
  CHECK(with({{"conv1.weight", {8, 3, 7, 7}},
              {"layer1.0.conv2.weight", {8, 8, 3, 3}},
              {"layer1.0.conv3.weight", {32, 8, 1, 1}},
              {"layer2.0.downsample.1.weight", {8}}})
            .empty());
}

TEST_CASE("averaged weights beside the plain ones, by prefix") {
  for (const std::string prefix : {"ema.", "model_ema.", "ema_model."}) {
    CAPTURE(prefix);
    Checkpoint c = named({"model.w", "model.b", prefix + "w", prefix + "b"});
    c.tensors.push_back(HostTensor::from_f32(prefix + "n_averaged", {}, {3}));
    set_averaged_apart(c);
    CHECK(names_of(c.tensors) == Names{"model.w", "model.b"});
    CHECK(names_of(c.averaged) == Names{"w", "b"});
    CHECK(any_note(c, "the plain weights are taken; averaged ones are there too (prefix '" + prefix + "'"));
    take_averaged(c);
    CHECK(names_of(c.tensors) == Names{"w", "b"});
    CHECK(c.tensors[0].to_f32() == std::vector<float>{2});
    REQUIRE(c.notes.size() == 1);
    CHECK(any_note(c, "the averaged weights are taken (prefix '" + prefix + "')"));
    CHECK(contains(error_of([&] { take_averaged(c); }), "net.pt: holds no averaged weights"));
  }
}

TEST_CASE("a stray module called ema, and averaged weights alone, are the weights") {
  Checkpoint stray = named({"a", "b", "c", "ema.x"});
  set_averaged_apart(stray);
  CHECK(stray.averaged.empty());
  CHECK(stray.tensors.size() == 4);
  Checkpoint alone = named({"ema.a", "ema.b"});
  set_averaged_apart(alone);
  CHECK(alone.averaged.empty());
  CHECK(alone.tensors.size() == 2);
  CHECK(alone.notes.empty());
  // torch.optim.swa_utils.AveragedModel's own state dict.
  Checkpoint swa = named({"module.a", "module.b"});
  swa.tensors.push_back(HostTensor::from_f32("n_averaged", {}, {3}));
  set_averaged_apart(swa);
  CHECK(names_of(swa.tensors) == Names{"module.a", "module.b"});
  CHECK(any_note(swa, "counter"));
}

TEST_CASE("torch: averaged weights beside a wrapper's entry") {
  for (const std::string key : {"state_dict_ema", "model_ema", "ema"}) {
    CAPTURE(key);
    // torchvision's references/classification: model, model_ema (AveragedModel), optimizer.
    const std::string object =
        pk::dict({{"model", pk::dict({{"w", one(0)}, {"b", one(1)}})},
                  {key, pk::dict({{"n_averaged", pk::tensor(pk::storage("FloatStorage", "2", 1), 0, {}, {})},
                                  {"module.w", one(3)},
                                  {"module.b", one(4)}})},
                  {"epoch", pk::integer(4)}});
    Checkpoint c = read_bytes(torch_zip(object, storages(5)));
    CHECK(names_of(c.tensors) == Names{"w", "b"});
    CHECK(names_of(c.averaged) == Names{"module.w", "module.b"});
    CHECK(c.averaged_from == "entry '" + key + "'");
    CHECK(any_note(c, "averaged ones are there too (entry '" + key + "'; --ema takes them)"));
    CHECK(c.metadata.at("epoch") == "4");
    take_averaged(c);
    CHECK(c.tensors[0].to_f32() == std::vector<float>{4});
  }
}

TEST_CASE("torch: averaged weights beside plain ones in the root, and alone") {
  const std::string ema = pk::dict({{"w", one(1)}});
  const Checkpoint both = read_bytes(torch_zip(pk::dict({{"w", one(0)}, {"ema", ema}}), storages(2)));
  CHECK(names_of(both.tensors) == Names{"w"});
  CHECK(both.tensors[0].to_f32() == std::vector<float>{1});
  CHECK(names_of(both.averaged) == Names{"w"});
  const Checkpoint alone = read_bytes(
      torch_zip(pk::dict({{"state_dict_ema", ema}, {"optimizer", pk::dict({{"m", one(0)}})}}), storages(2)));
  CHECK(names_of(alone.tensors) == Names{"w"});
  CHECK(alone.tensors[0].to_f32() == std::vector<float>{2});
  CHECK(alone.averaged.empty());
  CHECK(any_note(alone, "averaged weights taken from entry 'state_dict_ema': there are no others"));
  CHECK(any_note(alone, "'optimizer' (dict)"));
}

TEST_CASE("torch: a Lightning checkpoint, its hyper-parameters an AttributeDict") {
  for (const std::string module :
       {"lightning.fabric.utilities.data", "pytorch_lightning.utilities.parsing"}) {
    const std::string hyper =
        pk::call(pk::global(module, "AttributeDict"), {}) + "(" + pk::text("lr") + pk::integer(3) + "u";
    const Checkpoint c =
        read_bytes(torch_zip(pk::dict({{"epoch", pk::integer(2)},
                                       {"pytorch-lightning_version", pk::text("2.4.0")},
                                       {"state_dict", pk::dict({{"model.w", one(0)}, {"model.b", one(1)}})},
                                       {"hyper_parameters", hyper}}),
                             storages(2)));
    CHECK(names_of(c.tensors) == Names{"model.w", "model.b"});
    CHECK(c.metadata.at("pytorch-lightning_version") == "2.4.0");
    CHECK(any_note(c, "'hyper_parameters' (dict)"));
  }
}

TEST_CASE("names: ema_pytorch keeps counters beside both networks") {
  Checkpoint c = named({"initted", "step", "online_model.a", "online_model.b", "ema_model.a", "ema_model.b"});
  for (HostTensor& tensor : c.tensors) {
    if (tensor.name == "initted" || tensor.name == "step") tensor.shape.clear();
  }
  set_averaged_apart(c);
  CHECK(names_of(c.tensors) == Names{"online_model.a", "online_model.b"});
  CHECK(names_of(c.averaged) == Names{"a", "b"});
  CHECK(namings(c.tensors).back().names == Names{"a", "b"});
}

TEST_CASE("renaming: rules in order, all matches, groups") {
  const auto by = [](const std::vector<std::string>& rules, const Names& names) {
    Checkpoint c = named(names);
    Renaming(rules).apply(c);
    return names_of(c.tensors);
  };
  CHECK(by({"^net\\.=", "block(\\d)=layer$1", "q=b"}, {"net.block2.qq", "net.net.c"}) ==
        Names{"layer2.bb", "net.c"});
  CHECK(by({"(?=w)=x"}, {"w"}) == Names{"xw"});  // the last = parts
  CHECK(by({}, {"w", "b"}) == Names{"w", "b"});
}

TEST_CASE("renaming: a tensor of whose name nothing is left is left out") {
  Checkpoint c = named({"model.a", "criterion.weight", "model.b", "criterion.pos"});
  const auto kept = Renaming(std::vector<std::string>{"^criterion\\..*=", "^model\\.="}).apply(c);
  CHECK(kept == std::vector<std::size_t>{0, 2});
  CHECK(names_of(c.tensors) == Names{"a", "b"});
  CHECK(c.tensors[1].to_f32() == std::vector<float>{2});
  CHECK(c.notes ==
        Names{"left out because --map leaves nothing of the name: 'criterion.weight', 'criterion.pos'"});
  CHECK(Renaming(std::vector<std::string>{}).apply(c) == std::vector<std::size_t>{0, 1});
}

TEST_CASE("renaming: no regular expression takes for ever") {
  Checkpoint c = named({std::string(500, 'a'), std::string(500, 'a') + "b"});
  Renaming(std::vector<std::string>{"^(a*)*b$=found"}).apply(c);
  CHECK(c.tensors[0].name == std::string(500, 'a'));
  CHECK(c.tensors[1].name == "found");
}

TEST_CASE("renaming: what cannot be") {
  const auto usage = [](const std::string& rule) {
    CHECK_THROWS_AS(Renaming(std::vector<std::string>{rule}), UsageError);
    return error_of([&] { (void)Renaming(std::vector<std::string>{rule}); });
  };
  CHECK(contains(usage("conv1"), "--map 'conv1': expected REGEX=REPLACEMENT"));
  CHECK(contains(usage("=conv1"), "expected REGEX=REPLACEMENT"));
  CHECK(contains(usage("(a)\\1=x"), "no regular expression"));
  CHECK(contains(usage("conv(=x"), "--map 'conv(=x': no regular expression"));
  CHECK(contains(usage(std::string(600, '(') + "=x"), "602 characters, expected at most 512"));
  const auto failed = [](const std::string& rule, const Names& names) {
    Checkpoint c = named(names);
    return error_of([&] { Renaming(std::vector<std::string>{rule}).apply(c); });
  };
  CHECK(contains(failed("\\d=x", {"w1", "w2"}), "'w1' and 'w2' both become 'wx'"));
  CHECK(contains(failed("a=b", {std::string(513, 'a')}), "has 513 characters, expected at most 512"));
  Checkpoint longest = named({std::string(512, 'a')});
  Renaming(std::vector<std::string>{"(a|b)*$=x"}).apply(longest);
  CHECK(longest.tensors[0].name.starts_with("x"));
}

}  // namespace retrace::weights::test
