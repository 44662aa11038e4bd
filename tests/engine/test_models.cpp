// Architectures, their parameters' names, and loading.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "engine/models/fold_written.h"
#include "engine/models/load.h"
#include "tests/common/few_cases.h"
#include "tests/common/test_device.h"
#include "weights/safetensors.h"

using namespace retrace;

namespace {

long long trainable(const std::string& model) {
  long long total = 0;
  for (const ParameterSpec& spec : model_parameters(model)) {
    if (spec.name.find("running_") != std::string::npos) continue;
    long long count = 1;
    for (const auto d : spec.shape) count *= d;
    total += count;
  }
  return total;
}

weights::Checkpoint checkpoint_of(const std::string& model, int classes, bool folded = false) {
  auto values = seeded_parameters(model, classes, 1);
  if (folded) values = fold_model(model, classes, values);
  weights::Checkpoint checkpoint;
  checkpoint.path = "made-here";
  checkpoint.format = "safetensors";
  const auto specs = model_parameters(model, classes, folded);
  for (std::size_t i = 0; i < specs.size(); ++i) {
    checkpoint.tensors.push_back(
        weights::HostTensor::from_f32(specs[i].name, specs[i].shape, values[i].values));
  }
  return checkpoint;
}

}  // namespace

TEST_CASE("parameter counts are torchvision's and the CIFAR paper's") {
  // torchvision's documentation of each model; He et al. 2016, table 6 (in millions, here exact with option A)
  CHECK(trainable("resnet18") == 11689512);
  CHECK(trainable("resnet34") == 21797672);
  CHECK(trainable("resnet50") == 25557032);
  CHECK(trainable("resnet101") == 44549160);
  CHECK(trainable("resnet152") == 60192808);
  CHECK(trainable("wide_resnet50_2") == 68883240);
  CHECK(trainable("wide_resnet101_2") == 126886696);
  CHECK(trainable("resnext50_32x4d") == 25028904);
  CHECK(trainable("resnext101_32x8d") == 88791336);
  CHECK(trainable("resnext101_64x4d") == 83455272);
  CHECK(trainable("vgg11") == 132863336);
  CHECK(trainable("vgg13") == 133047848);
  CHECK(trainable("vgg16") == 138357544);
  CHECK(trainable("vgg19") == 143667240);
  CHECK(trainable("vgg11_bn") == 132868840);
  CHECK(trainable("vgg13_bn") == 133053736);
  CHECK(trainable("vgg16_bn") == 138365992);
  CHECK(trainable("vgg19_bn") == 143678248);
  CHECK(trainable("alexnet") == 61100840);
  CHECK(trainable("squeezenet1_0") == 1248424);
  CHECK(trainable("squeezenet1_1") == 1235496);
  CHECK(trainable("mobilenet_v2") == 3504872);
  CHECK(trainable("densenet121") == 7978856);
  CHECK(trainable("densenet161") == 28681000);
  CHECK(trainable("densenet169") == 14149480);
  CHECK(trainable("densenet201") == 20013928);
  CHECK(trainable("cifar_resnet20") == 269722);
  CHECK(trainable("cifar_resnet32") == 464154);
  CHECK(trainable("cifar_resnet44") == 658586);
  CHECK(trainable("cifar_resnet56") == 853018);
  CHECK(trainable("cifar_resnet110") == 1727962);
}

TEST_CASE("parameter names are torchvision's") {
  const auto has = [](const std::string& model, const std::string& name, const Shape& shape) {
    const auto specs = model_parameters(model);
    return std::any_of(specs.begin(), specs.end(),
                       [&](const ParameterSpec& s) { return s.name == name && s.shape == shape; });
  };
  CHECK(has("resnet18", "conv1.weight", {64, 3, 7, 7}));
  CHECK(has("resnet18", "layer2.0.downsample.0.weight", {128, 64, 1, 1}));
  CHECK(has("resnet18", "layer2.0.downsample.1.running_var", {128}));
  CHECK(has("resnet18", "layer4.1.bn2.bias", {512}));
  CHECK(has("resnet50", "layer1.0.downsample.0.weight", {256, 64, 1, 1}));
  CHECK(has("resnet50", "layer3.5.conv3.weight", {1024, 256, 1, 1}));
  CHECK(has("resnet50", "fc.weight", {1000, 2048}));
  CHECK(has("wide_resnet50_2", "layer2.0.conv2.weight", {256, 256, 3, 3}));
  CHECK(has("resnext50_32x4d", "layer2.0.conv2.weight", {256, 8, 3, 3}));
  CHECK(has("resnext101_64x4d", "layer4.2.conv2.weight", {2048, 32, 3, 3}));
  CHECK(has("resnext50_32x4d_w16", "layer1.0.conv2.weight", {32, 1, 3, 3}));
  CHECK_FALSE(is_model("resnext50_32x4d_w20"));  // 1.25 channels a group
  CHECK(has("vgg16", "classifier.0.weight", {4096, 25088}));
  CHECK(has("vgg16_bn", "features.1.running_mean", {64}));
  CHECK(has("vgg16_bn", "features.40.bias", {512}));
  CHECK(has("alexnet", "features.10.weight", {256, 256, 3, 3}));
  CHECK(has("alexnet", "classifier.6.bias", {1000}));
  CHECK(has("squeezenet1_0", "features.12.expand3x3.weight", {256, 64, 3, 3}));
  CHECK(has("squeezenet1_1", "classifier.1.weight", {1000, 512, 1, 1}));
  CHECK_FALSE(is_model("squeezenet1_1_w10"));
  CHECK(has("mobilenet_v2", "features.1.conv.0.0.weight", {32, 1, 3, 3}));
  CHECK(has("mobilenet_v2", "features.17.conv.3.running_var", {320}));
  CHECK(has("mobilenet_v2_w16", "features.18.0.weight", {1280, 160, 1, 1}));  // width_mult 0.5
  CHECK(has("mobilenet_v2_w24", "features.2.conv.0.0.weight",
            {96, 16, 1, 1}));  // 0.75: 12 channels would be less than nine tenths
  CHECK_FALSE(is_model("mobilenet_v2_w20"));
  CHECK(has("densenet121", "features.denseblock4.denselayer16.conv1.weight", {128, 992, 1, 1}));
  CHECK(has("densenet161", "features.transition2.conv.weight", {384, 768, 1, 1}));
  CHECK(has("densenet201", "features.norm5.running_var", {1920}));
  CHECK(has("cifar_resnet20", "layer3.2.conv2.weight", {64, 64, 3, 3}));
  CHECK(has("cifar_resnet20", "linear.bias", {10}));
  CHECK_FALSE(has("cifar_resnet20", "layer2.0.downsample.0.weight", {32, 16, 1, 1}));
}

namespace {

// The other families, with few channels: what they are made of is the same.
void run_narrow(Device& device, const std::string& name) {
  const std::string width = name.starts_with("vgg")             ? "_w8"
                            : name.starts_with("squeezenet1_0") ? "_w24"
                            : name.starts_with("densenet161")   ? "_w12"
                            : name.starts_with("densenet")      ? "_w8"
                                                                : "_w16";
  const LoadedModel loaded = load_model(device, name + width, std::filesystem::path{}, 1);
  Tape tape(device);
  const NodeId out = loaded.model->forward(
      tape, tape.input(Tensor::from_host(device, {2, 64, 64, 3}, std::vector<float>(24576, 0.5f))));
  CHECK(tape.value(out).shape() == Shape{2, 1000});
  const NodeId cam = loaded.model->layer(tape, loaded.model->cam_layer());
  CHECK(tape.value(cam).shape().size() == 4);
  CHECK(loaded.model->layer(tape, "features") == cam);
  // Modules inside a fused node stand for it.
  const auto is = [&](const std::string& a, const std::string& b) {
    CHECK_MESSAGE(loaded.model->layer(tape, a) == loaded.model->layer(tape, b), a);
  };
  if (name == "vgg16_bn") is("features.42", "features.40");  // ReLU and convolution
  if (name == "alexnet") is("classifier.2", "classifier.1");
  if (name == "squeezenet1_1") is("features.4.squeeze_activation", "features.4.squeeze");
  if (name == "mobilenet_v2") is("features.2.conv.1", "features.2.conv.1.0");
  if (name == "densenet121")
    is("features.denseblock2.denselayer3.relu1", "features.denseblock2.denselayer3.norm1");
  CHECK_THROWS_WITH_AS(loaded.model->layer(tape, "layer9"), doctest::Contains("layer 'layer9'"), UsageError);
}

}  // namespace

TEST_CASE("every architecture runs, with every layer named") {
  Device& device = test_device();
  for (const ModelInfo& info : model_catalog()) {
    // As 18 and 50, only deeper.
    if (info.name == "resnet34" || info.name == "resnet152" || info.name.find("101") != std::string::npos)
      continue;
    CAPTURE(info.name);
    if (info.name.find("resne") == std::string::npos) {
      // Where each access costs much, one of each family.
      const bool typical = info.name == "vgg16_bn" || info.name == "alexnet" ||
                           info.name == "squeezenet1_1" || info.name == "mobilenet_v2" ||
                           info.name == "densenet121";
      if (typical || !few_cases()) run_narrow(device, info.name);
      continue;
    }
    const LoadedModel loaded = load_model(device, info.name, std::filesystem::path{}, 1);
    CHECK(loaded.notes.front().find("untrained") != std::string::npos);
    Tape tape(device);
    const NodeId out = loaded.model->forward(
        tape, tape.input(Tensor::from_host(device, {2, 32, 32, 3}, std::vector<float>(6144, 0.5f))));
    CHECK(tape.value(out).shape() == Shape{2, info.classes});
    CHECK(loaded.model->layer(tape, "layer2") ==
          loaded.model->layer(tape,
                              info.name.starts_with("cifar")
                                  ? "layer2." + std::to_string((std::stoi(info.name.substr(12)) - 2) / 6 - 1)
                              : info.name == "resnet18" ? "layer2.1"
                                                        : "layer2.3"));
    CHECK(tape.value(loaded.model->layer(tape, loaded.model->cam_layer())).shape().size() == 4);
    CHECK_THROWS_WITH_AS(loaded.model->layer(tape, "layer9"), doctest::Contains("layer 'layer9'"),
                         UsageError);
  }
}

TEST_CASE("a checkpoint of every family tells its model, its width, its head and whether it is folded") {
  Device& device = test_device();
  for (const std::string model :
       {"vgg13_w8", "vgg11_bn_w8", "alexnet_w16", "squeezenet1_0_w24", "squeezenet1_1_w16",
        "mobilenet_v2_w16", "densenet121_w8", "densenet169_w8"}) {
    CAPTURE(model);
    const bool folds = model_parameters(model).size() != model_parameters(model, 0, true).size();
    std::vector<float> logits[2];
    for (const bool folded : {false, true}) {
      const auto checkpoint = checkpoint_of(model, 11, folded);
      const auto fits = fitting_models(checkpoint);
      REQUIRE(fits.size() == 1);
      CHECK(fits[0].model == model);
      CHECK(fits[0].classes == 11);
      CHECK(fits[0].folded == (folded && folds));
      const LoadedModel loaded = load_model(device, "", checkpoint);
      Tape tape(device);
      std::vector<float> x(64 * 64 * 3);
      for (std::size_t i = 0; i < x.size(); ++i) x[i] = std::sin(float(i));
      logits[folded] =
          tape.value(loaded.model->forward(tape, tape.input(Tensor::from_host(device, {1, 64, 64, 3}, x))))
              .to_host();
    }
    CHECK(logits[0].size() == 11);
    CHECK(logits[0] == logits[1]);
  }
}

TEST_CASE("a checkpoint tells its model, its head and whether it is folded") {
  Device& device = test_device();
  for (const bool folded : {false, true}) {
    const auto checkpoint = checkpoint_of("cifar_resnet32", 7, folded);
    const auto fits = fitting_models(checkpoint);
    REQUIRE(fits.size() == 1);
    CHECK(fits[0].model == "cifar_resnet32");
    CHECK(fits[0].classes == 7);
    CHECK(fits[0].folded == folded);
    const LoadedModel loaded = load_model(device, "", checkpoint);
    CHECK(loaded.model->info().name == "cifar_resnet32");
    CHECK(loaded.model->info().classes == 7);
    CHECK(loaded.model->info().labels.empty());
  }
}

TEST_CASE("folding changes nothing but rounding") {
  Device& device = test_device();
  const auto run = [&](bool folded) {
    const LoadedModel loaded = load_model(device, "", checkpoint_of("cifar_resnet20", 10, folded));
    Tape tape(device);
    std::vector<float> x(3072);
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = std::sin(float(i));
    return tape.value(loaded.model->forward(tape, tape.input(Tensor::from_host(device, {1, 32, 32, 3}, x))))
        .to_host();
  };
  CHECK(run(false) == run(true));  // both fold the same values, one of them earlier
}

TEST_CASE("batch norm apart and folded give the same logits, but for rounding") {
  Device& device = test_device();
  for (const std::string model :
       {"cifar_resnet20", "resnet50_w8", "vgg11_bn_w8", "mobilenet_v2_w16", "densenet121_w8"}) {
    auto values = seeded_parameters(model, 10, 1);
    // Seeded running statistics would be 0 and 1.
    const auto specs = model_parameters(model, 10);
    for (std::size_t i = 0; i < specs.size(); ++i) {
      const bool mean = specs[i].name.ends_with("running_mean"), var = specs[i].name.ends_with("running_var");
      for (std::size_t k = 0; (mean || var) && k < values[i].values.size(); ++k) {
        values[i].values[k] = float(mean ? 0.1 * std::sin(double(k)) : 1 + 0.5 * std::cos(double(k)));
      }
    }
    const auto run = [&](const std::unique_ptr<Model>& built) {
      Tape tape(device);
      std::vector<float> x(3072);
      for (std::size_t i = 0; i < x.size(); ++i) x[i] = std::sin(float(i));
      return tape.value(built->forward(tape, tape.input(Tensor::from_host(device, {1, 32, 32, 3}, x))))
          .to_host();
    };
    const auto apart = run(build_unfolded_model(device, model, 10, values));
    const auto folded = run(build_model(device, model, 10, fold_model(model, 10, values)));
    double largest = 0, difference = 0;
    for (std::size_t i = 0; i < apart.size(); ++i) {
      largest = std::max(largest, std::abs(double(apart[i])));
      difference = std::max(difference, std::abs(double(apart[i]) - double(folded[i])));
    }
    MESSAGE(model << ": " << difference / largest);
    CHECK(difference < 1e-5 * largest);
    CHECK(difference > 0);
    CHECK_THROWS_WITH_AS(build_unfolded_model(device, model, 10, fold_model(model, 10, values)),
                         doctest::Contains("parameters given"), Error);
  }
}

TEST_CASE("folding while writing makes what folding at once makes, bit for bit") {
  for (const std::string model : {"cifar_resnet20_w4", "resnet50_w8", "resnext50_32x4d_w16", "vgg11_bn_w4",
                                  "vgg11_w4", "mobilenet_v2_w8", "densenet121_w4"}) {
    CAPTURE(model);
    for (const auto type : {weights::DType::f32, weights::DType::f16}) {
      weights::Checkpoint apart = checkpoint_of(model, 10);
      for (auto& tensor : apart.tensors) tensor = weights::convert(tensor, type);
      const CheckpointFit fit{model, 10, false};
      const auto tensors = take_tensors(apart, fit);
      const auto expected = fold_model(model, 10, take_parameters(apart, fit));
      const auto specs = model_parameters(model, 10, true);
      for (const bool backwards : {false, true}) {
        auto written = folded_when_written(model, 10, tensors);
        REQUIRE(written.size() == expected.size());
        for (std::size_t k = 0; k < written.size(); ++k) {
          const std::size_t i = backwards ? written.size() - 1 - k : k;
          const weights::HostTensor made = written[i].stored({});
          CHECK(made.name == specs[i].name);
          CHECK(made.shape == expected[i].shape);
          CHECK(made.to_f32() == expected[i].values);
        }
      }
    }
  }
  CHECK_THROWS_WITH_AS(folded_when_written("cifar_resnet20", 10, {}),
                       doctest::Contains("0 parameters given, 97 expected"), Error);
}

TEST_CASE("strict: missing, unexpected and mis-shaped tensors are named") {
  Device& device = test_device();
  auto checkpoint = checkpoint_of("cifar_resnet20", 10);
  checkpoint.tensors[0].name = "conv_one.weight";
  for (auto& t : checkpoint.tensors) {
    if (t.name == "layer1.0.bn1.bias")
      t = weights::HostTensor::from_f32(t.name, {17}, std::vector<float>(17));
  }
  CHECK_THROWS_WITH_AS(load_model(device, "cifar_resnet20", checkpoint), doctest::Contains("conv1.weight"),
                       Error);
  CHECK_THROWS_WITH_AS(load_model(device, "cifar_resnet20", checkpoint), doctest::Contains("conv_one.weight"),
                       Error);
  CHECK_THROWS_WITH_AS(load_model(device, "cifar_resnet20", checkpoint),
                       doctest::Contains("layer1.0.bn1.bias"), Error);
  CHECK_THROWS_WITH_AS(load_model(device, "", checkpoint), doctest::Contains("fit no model"), Error);
  CHECK_THROWS_WITH_AS(load_model(device, "resnet19", checkpoint), doctest::Contains("resnet18"), UsageError);
  auto nan = checkpoint_of("cifar_resnet20", 10);
  std::vector<float> broken(10, 0.0f);
  broken[3] = NAN;
  nan.tensors.back() = weights::HostTensor::from_f32("linear.bias", {10}, broken);
  CHECK_THROWS_WITH_AS(load_model(device, "", nan), doctest::Contains("linear.bias holds nan"), Error);
}

namespace {

// The model's checkpoint under the names that Hugging Face's transformers gives its modules.
std::string hugging_face(std::string name) {
  const auto put = [&](const std::string& from, const std::string& to) {
    if (const auto at = name.find(from); at != std::string::npos) name.replace(at, from.size(), to);
  };
  if (name.starts_with("fc.")) return "classifier.1." + name.substr(3);
  if (name.starts_with("conv1.")) return "resnet.embedder.embedder.convolution." + name.substr(6);
  if (name.starts_with("bn1.")) return "resnet.embedder.embedder.normalization." + name.substr(4);
  for (const int stage : {1, 2, 3, 4}) {
    put("layer" + std::to_string(stage) + ".",
        "resnet.encoder.stages." + std::to_string(stage - 1) + ".layers.");
  }
  put("downsample.0", "shortcut.convolution");
  put("downsample.1", "shortcut.normalization");
  for (const int k : {1, 2, 3}) {
    put(".conv" + std::to_string(k), ".layer." + std::to_string(k - 1) + ".convolution");
    put(".bn" + std::to_string(k), ".layer." + std::to_string(k - 1) + ".normalization");
  }
  return name;
}

bool any_note(const std::vector<std::string>& notes, const std::string& part) {
  return std::any_of(notes.begin(), notes.end(),
                     [&](const std::string& note) { return note.find(part) != std::string::npos; });
}

}  // namespace

TEST_CASE("names of the field give the same network") {
  Device& device = test_device();
  for (const std::string model : {"resnet18_w8", "resnet50_w8"}) {
    CAPTURE(model);
    const auto logits = [&](const LoadedModel& loaded) {
      Tape tape(device);
      std::vector<float> x(32 * 32 * 3);
      for (std::size_t i = 0; i < x.size(); ++i) x[i] = std::sin(float(i));
      return tape.value(loaded.model->forward(tape, tape.input(Tensor::from_host(device, {1, 32, 32, 3}, x))))
          .to_host();
    };
    const auto own = checkpoint_of(model, 12);
    const auto expected = logits(load_model(device, "", own));
    auto theirs = own;
    for (auto& t : theirs.tensors) t.name = hugging_face(t.name);
    LoadedModel loaded = load_model(device, "", theirs);
    CHECK(loaded.model->info().name == model);
    CHECK(any_note(loaded.notes, "Hugging Face names"));
    CHECK(any_note(loaded.notes, "the classifier has 12 classes (usual for " + model + ": 1000)"));
    CHECK(logits(loaded) == expected);
    CHECK(logits(load_model(device, model, theirs)) == expected);

    auto lightning = own;
    for (auto& t : lightning.tensors) t.name = "backbone." + t.name;
    loaded = load_model(device, "", lightning);
    CHECK(any_note(loaded.notes, "prefix 'backbone.' removed from every name"));
    CHECK(logits(loaded) == expected);
  }
}

TEST_CASE("what does not fit under other names says which names it looked at") {
  Device& device = test_device();
  auto theirs = checkpoint_of("resnet18_w8", 10);
  for (auto& t : theirs.tensors) t.name = "net." + hugging_face(t.name);
  theirs.tensors.pop_back();  // fc.bias
  CHECK_THROWS_WITH_AS(
      load_model(device, "resnet18_w8", theirs),
      doctest::Contains("made-here (prefix 'net.' removed from every name, Hugging Face names): does "
                        "not fit the model: 1 missing: 'fc.bias'"),
      Error);
  CHECK_THROWS_WITH_AS(load_model(device, "", theirs),
                       doctest::Contains("nearest is resnet18_w8, from which"), Error);
}

TEST_CASE("a deep stem is refused by its name") {
  Device& device = test_device();
  auto deep = checkpoint_of("resnet18_w8", 10);
  deep.tensors[0].name = "conv1.0.weight";
  deep.tensors.push_back(
      weights::HostTensor::from_f32("conv1.3.weight", {8, 8, 3, 3}, std::vector<float>(576)));
  for (const std::string prefix : {"", "model."}) {
    auto file = deep;
    for (auto& t : file.tensors) t.name = prefix + t.name;
    CHECK_THROWS_WITH_AS(load_model(device, "resnet18_w8", file), doctest::Contains("a deep stem"), Error);
    CHECK_THROWS_WITH_AS(load_model(device, "", file), doctest::Contains("a deep stem"), Error);
  }
}
