// Models out of ONNX files: exported by PyTorch (tests/weights/make_onnx_fixtures.py), run by onnxruntime, changed by hand.
#include <doctest/doctest.h>

#include <cmath>
#include <functional>

#include "engine/models/load.h"
#include "engine/models/onnx_match.h"
#include "tests/common/test_device.h"
#include "weights/onnx_graph.h"
#include "weights/seeded.h"

namespace retrace {
namespace {

using weights::Checkpoint;
using weights::HostTensor;
using weights::OnnxGraph;
using weights::OnnxNode;

Checkpoint fixture(const std::string& name) {
  return weights::read_checkpoint(std::string(RETRACE_WEIGHTS_FIXTURES) + "/net." + name);
}

// make_onnx_fixtures.py's with_statistics.
std::vector<ParameterValue> parameters_of(const std::string& model, int classes) {
  auto values = seeded_parameters(model, classes, 1);
  const auto specs = model_parameters(model, classes);
  for (std::size_t i = 0; i < specs.size(); ++i) {
    const bool mean = specs[i].name.ends_with("running_mean"), var = specs[i].name.ends_with("running_var");
    const std::size_t bias = mean ? i - 1 : i - 2;
    for (std::size_t k = 0; (mean || var) && k < values[i].values.size(); ++k) {
      const float b = values[bias].values[k];
      values[i].values[k] = mean ? b * 0.5f : std::fabs(b) + 0.5f;
    }
  }
  return values;
}

struct Exported {
  std::string file, model;
  int classes, size;
  bool folded, softmax;
};
const Exported exported[] = {{"resnet18_w2", "resnet18_w2", 7, 64, true, false},
                             {"resnet18_w1.unfolded", "resnet18_w1", 7, 64, false, false},
                             {"resnet50_w1", "resnet50_w1", 5, 64, true, false},
                             {"cifar_resnet20_w2", "cifar_resnet20_w2", 10, 32, true, true},
                             {"cifar_resnet20_w2.unfolded", "cifar_resnet20_w2", 10, 32, false, true},
                             {"squeezenet1_1_w4", "squeezenet1_1_w4", 9, 64, false, false}};

// What the graph says after `change`, read as the model.
OnnxMatch matched(const Exported& e, const std::function<void(OnnxGraph&)>& change) {
  OnnxGraph graph = *fixture(e.file + ".onnx").graph;
  change(graph);
  return match_onnx(graph, model_graph(e.model, e.classes));
}
OnnxNode& node_of(OnnxGraph& graph, const std::string& op, int number = 0) {
  for (OnnxNode& node : graph.nodes) {
    if (node.op == op && number-- == 0) return node;
  }
  FAIL("no such node");
  return graph.nodes.front();
}
weights::OnnxAttribute& set(OnnxNode& node, const std::string& name, weights::OnnxAttribute::Kind kind) {
  std::erase_if(node.attributes, [&](const auto& a) { return a.name == name; });
  weights::OnnxAttribute& made = node.attributes.emplace_back();
  made.name = name;
  made.kind = kind;
  return made;
}
void set(OnnxNode& node, const std::string& name, int value) {
  set(node, name, weights::OnnxAttribute::Kind::integer).integer = value;
}
void set(OnnxNode& node, const std::string& name, float value) {
  set(node, name, weights::OnnxAttribute::Kind::real).real = value;
}
void set(OnnxNode& node, const std::string& name, const std::vector<std::int64_t>& values) {
  set(node, name, weights::OnnxAttribute::Kind::integers).integers = values;
}

}  // namespace

TEST_CASE(
    "onnx: the model, its head and its folding are told by the graph, and its logits are onnxruntime's") {
  Device& device = test_device();
  for (const Exported& e : exported) {
    INFO(e.file);
    const Checkpoint checkpoint = fixture(e.file + ".onnx");
    const auto fitting = fitting_models(checkpoint);
    REQUIRE(fitting.size() == 1);
    CHECK(fitting[0].model == e.model);
    CHECK(fitting[0].classes == e.classes);
    CHECK(fitting[0].folded == e.folded);
    const LoadedModel loaded = load_model(device, "", checkpoint);

    const std::size_t side = std::size_t(e.size), pixels = side * side;
    const std::vector<std::int64_t> shape{1, 3, e.size, e.size};
    const std::vector<float> picture = seeded_tensor("picture.weight", shape, 1);
    std::vector<float> x(picture.size());  // NHWC of NCHW
    for (std::size_t i = 0; i < pixels; ++i) {
      for (std::size_t c = 0; c < 3; ++c) x[i * 3 + c] = picture[c * pixels + i];
    }
    Tape tape(device);
    const NodeId input = tape.input(Tensor::from_host(device, {1, e.size, e.size, 3}, x));
    std::vector<float> logits = tape.value(loaded.model->forward(tape, input)).to_host();
    if (e.softmax) {
      double sum = 0;
      for (float& v : logits) sum += v = std::exp(v);
      for (float& v : logits) v = float(v / sum);
    }
    const std::vector<float> expected = fixture(e.file + ".npz").find("logits")->to_f32();
    REQUIRE(logits.size() == expected.size());
    double largest = 0, difference = 0;
    for (std::size_t i = 0; i < logits.size(); ++i) {
      largest = std::max(largest, std::fabs(double(expected[i])));
      difference = std::max(difference, std::fabs(double(logits[i]) - double(expected[i])));
    }
    MESSAGE(e.file << ": logits differ by " << difference / largest << " of the largest");
    CHECK(difference <= 1e-4 * largest);  // both sum in float, in other orders, over up to 50 layers
  }
}

TEST_CASE("onnx: parameters are the exporter's, bit by bit where it did not fold") {
  for (const Exported& e : exported) {
    INFO(e.file);
    const Checkpoint checkpoint = fixture(e.file + ".onnx");
    const auto read = take_parameters(checkpoint, fit_for(checkpoint, e.model));
    auto expected = parameters_of(e.model, e.classes);
    if (e.folded) expected = fold_model(e.model, e.classes, expected);
    REQUIRE(read.size() == expected.size());
    for (std::size_t i = 0; i < read.size(); ++i) {
      INFO(model_parameters(e.model, e.classes, e.folded)[i].name);
      REQUIRE(read[i].shape == expected[i].shape);
      if (!e.folded) {
        CHECK(read[i].values == expected[i].values);
        continue;
      }
      double off = 0;
      for (std::size_t k = 0; k < read[i].values.size(); ++k) {
        off = std::max(off, std::fabs(double(read[i].values[k]) - double(expected[i].values[k])));
      }
      CHECK(off < 1e-6);  // the exporter folds in float: values of about 1, three roundings
    }
  }
}

TEST_CASE("onnx: the graph in other words is the same network") {
  const Exported& e = exported[0];
  const auto fits = [&](const std::function<void(OnnxGraph&)>& change) {
    const OnnxMatch match = matched(e, change);
    CHECK(match.error == "");
    CHECK(match.fits);
    CHECK(match.tensors.size() == 42);
    return match;
  };
  fits([](OnnxGraph&) {});
  fits([](OnnxGraph& g) {
    for (OnnxNode& node : g.nodes) {
      if (node.op == "Add") std::swap(node.inputs[0], node.inputs[1]);
    }
  });
  const OnnxMatch turned = fits([](OnnxGraph& g) {  // a weight as [C, K]
    OnnxNode& gemm = node_of(g, "Gemm");
    set(gemm, "transB", 0);
    HostTensor& weight = g.constants.at(gemm.inputs[1]);
    const std::vector<float> values = weight.to_f32();
    std::vector<float> other(values.size());
    for (std::size_t k = 0; k < 7; ++k) {
      for (std::size_t c = 0; c < 16; ++c) other[c * 7 + k] = values[k * 16 + c];
    }
    weight = HostTensor::from_f32(weight.name, {16, 7}, other);
  });
  CHECK(turned.tensors[40].to_f32() == seeded_tensor("fc.weight", std::vector<std::int64_t>{7, 16}, 1));
  fits([](OnnxGraph& g) {  // no node says its kernel
    for (OnnxNode& node : g.nodes) {
      if (node.op == "Conv")
        std::erase_if(node.attributes, [](const auto& a) { return a.name == "kernel_shape"; });
    }
  });
  fits([](OnnxGraph& g) {  // an identity, a dropout and a softmax
    const std::string last = g.outputs[0].name;
    g.nodes.push_back({"", "Identity", "", {last}, {"a"}, {}});
    g.nodes.push_back({"", "Dropout", "", {"a"}, {"b", "mask"}, {}});
    g.nodes.push_back({"", "Softmax", "", {"b"}, {"c"}, {}});
    for (std::size_t i = 0; i < 3; ++i)
      g.maker[g.nodes[g.nodes.size() - 3 + i].outputs[0]] = g.nodes.size() - 3 + i;
    g.outputs[0].name = "c";
  });
}

TEST_CASE("onnx: what differs from the model is told, with its node") {
  const auto error = [](const Exported& e, const std::function<void(OnnxGraph&)>& change) {
    const OnnxMatch match = matched(e, change);
    CHECK_FALSE(match.fits);
    CHECK(match.tensors.empty());
    return match.error;
  };
  const Exported &resnet = exported[0], &unfolded = exported[1], &cifar = exported[3],
                 &squeezenet = exported[5];
  using G = OnnxGraph&;
  const auto contains = [](const std::string& text, const std::string& part) {
    INFO(text);
    CHECK(text.find(part) != std::string::npos);
  };
  contains(error(resnet,
                 [](G g) {
                   set(node_of(g, "Conv"), "strides", {1, 1});
                 }),
           "layer 'conv1': node 0 ('Conv' '/conv1/Conv'): strides [1, 1], expected [2, 2]");
  contains(error(resnet,
                 [](G g) {
                   set(node_of(g, "Conv"), "pads", {3, 3, 2, 2});
                 }),
           "pads [3, 3, 2, 2], expected");
  contains(error(resnet,
                 [](G g) {
                   set(node_of(g, "Conv", 1), "dilations", {2, 2});
                 }),
           "dilations [2, 2], expected [1, 1]");
  contains(error(resnet,
                 [](G g) {
                   set(node_of(g, "Conv", 1), "kernel_shape", {3, 1});
                 }),
           "kernel_shape [3, 1]");
  contains(error(resnet, [](G g) { set(node_of(g, "Conv", 1), "group", 2); }), "group 2, expected 1");
  contains(error(resnet, [](G g) { node_of(g, "Conv", 1).inputs.pop_back(); }),
           "has no bias, expected one or a Batch");
  contains(error(resnet, [](G g) { node_of(g, "Relu", 1).op = "Sigmoid"; }), "('Sigmoid' ");
  contains(error(resnet, [](G g) { node_of(g, "Relu", 1).domain = "com.example"; }), "('com.example.Relu'");
  contains(error(resnet, [](G g) { node_of(g, "Add").op = "Mul"; }), "expected Add of a residual");
  contains(error(resnet, [](G g) { set(node_of(g, "MaxPool"), "ceil_mode", 1); }), "ceil_mode 1, expected 0");
  contains(error(resnet, [](G g) { node_of(g, "MaxPool").op = "AveragePool"; }),
           "layer 'maxpool': node 2 ('AveragePool'");
  contains(error(resnet, [](G g) { set(node_of(g, "Gemm"), "alpha", 0.5f); }), "alpha 0.5, beta 1");
  contains(error(resnet, [](G g) { set(node_of(g, "Gemm"), "transA", 1); }), "transA 1");
  contains(error(resnet, [](G g) { node_of(g, "GlobalAveragePool").op = "GlobalMaxPool"; }),
           "expected GlobalAveragePool");
  contains(error(resnet,
                 [](G g) {
                   HostTensor& bias = g.constants.at(node_of(g, "Conv").inputs[2]);
                   bias.shape = {1, 2};
                 }),
           "is [1, 2], expected [2]");
  contains(error(resnet, [](G g) { g.constants.erase(node_of(g, "Conv").inputs[1]); }),
           "is no tensor of the file");
  contains(error(resnet,
                 [](G g) {
                   g.inputs[0].shape = {1, 1, 64, 64};
                 }),
           "is [1, 1, 64, 64], expected [N, 3, H, W]");
  contains(error(resnet, [](G g) { g.outputs.push_back(g.outputs[0]); }), "1 inputs and 2 outputs");
  // The skip of another block than the one before.
  contains(error(resnet, [](G g) { node_of(g, "Add", 1).inputs[1] = node_of(g, "MaxPool").outputs[0]; }),
           "layer 'layer1");
  // Two max-pools alike, one of them for the skip: two convolutions alike might have different weights.
  contains(error(resnet,
                 [](G g) {
                   OnnxNode copy = node_of(g, "MaxPool");
                   copy.outputs[0] = "copy";
                   g.maker["copy"] = g.nodes.size();
                   g.nodes.push_back(copy);
                   node_of(g, "Add").inputs[1] = "copy";
                 }),
           "layer 'maxpool': is both node ");
  contains(error(unfolded, [](G g) { set(node_of(g, "BatchNormalization"), "epsilon", 1e-3f); }),
           "epsilon 0.001, expected");
  contains(error(cifar, [](G g) { node_of(g, "Slice").inputs[4] = node_of(g, "Slice").inputs[1]; }),
           "does not take every");
  contains(error(cifar, [](G g) { node_of(g, "Slice").op = "Identity"; }),
           "steps [1, 1, 1, 2] of its Slices");
  contains(error(squeezenet, [](G g) { set(node_of(g, "MaxPool"), "ceil_mode", 0); }),
           "ceil_mode 0, expected 1");
  contains(error(squeezenet,
                 [](G g) { std::swap(node_of(g, "Concat").inputs[0], node_of(g, "Concat").inputs[1]); }),
           "expand1x1'");
  contains(error(squeezenet, [](G g) { node_of(g, "Concat").inputs.pop_back(); }), "layer 'features.3");
}

TEST_CASE("onnx: partly folded graphs are folded to the end") {
  const Exported& e = exported[1];
  const OnnxMatch whole = matched(e, [](OnnxGraph&) {});
  const OnnxMatch part = matched(e, [](OnnxGraph& g) {  // the stem's batch norm away, a bias there instead
    OnnxNode& norm = node_of(g, "BatchNormalization");
    OnnxNode& conv = node_of(g, "Conv");
    conv.inputs.push_back(norm.inputs[2]);
    norm.op = "Identity";
  });
  REQUIRE(part.fits);
  CHECK(part.folded);
  CHECK(part.notes == std::vector<std::string>{"batch norm that the graph has not folded was folded"});
  CHECK(part.tensors.size() == 42);
  // All others are what folding makes of them.
  std::vector<ParameterValue> values;
  for (const HostTensor& t : whole.tensors) values.push_back({t.shape, t.to_f32()});
  const auto folded = fold_model(e.model, e.classes, values);
  for (std::size_t i = 2; i < folded.size(); ++i) CHECK(part.tensors[i].to_f32() == folded[i].values);
}

TEST_CASE("onnx: a graph that fits no model, or not the one that is named") {
  Device& device = test_device();
  const std::string small = std::string(RETRACE_WEIGHTS_FIXTURES) + "/small.17.onnx";
  CHECK_THROWS_WITH_AS(load_model(device, "", small, 0), doctest::Contains("fit no model; nearest is "),
                       Error);
  CHECK_THROWS_WITH_AS(load_model(device, "resnet34_w2", fixture("resnet18_w2.onnx")),
                       doctest::Contains("its graph does not fit resnet34_w2: layer 'layer"), Error);
  CHECK_THROWS_WITH_AS(load_model(device, "resnet18_w2", fixture("resnet18_w1.unfolded.onnx")),
                       doctest::Contains("layer 'fc': tensor 'fc.weight' is [7, 8], expected [7, 16]"),
                       Error);
}

}  // namespace retrace
