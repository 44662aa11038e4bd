// ONNX: a ModelProto. Its initialisers, the tensors of its Constant nodes, and other names of both (Identity) become
// tensors; the graph goes with them.
#include <fmt/format.h>

#include <algorithm>

#include "kernels/error.h"
#include "weights/checked.h"
#include "weights/onnx_external.h"
#include "weights/onnx_parse.h"
#include "weights/readers.h"

namespace retrace::weights {
namespace {

constexpr std::uint64_t newest_ir = 32;  // 10 in 2024; one or two years each

class Reader {
 public:
  explicit Reader(const std::shared_ptr<const MappedFile>& file)
      : file_(file),
        where_(file->path() + ": ONNX"),
        tensors_(file, unfolding_budget(file->bytes().size())),
        graph_(std::make_shared<OnnxGraph>()) {}

  Checkpoint read() {
    const OnnxModel model = parse_onnx_model(ProtoReader(file_->bytes(), file_->bytes(), where_));
    if (model.ir_version < 1 || model.ir_version > newest_ir) {
      fail(fmt::format("ir_version {}, expected 1 to {}", model.ir_version, newest_ir));
    }
    if (!model.graph) fail("has no graph; the file is cut short or damaged");
    if (model.opsets.empty() && model.ir_version >= 3) fail("has no opset; the file is cut short or damaged");
    describe(model);
    OnnxGraphParts parts = parse_onnx_graph(*model.graph, tensors_);
    read_onnx_external(file_, parts.initializers);
    for (OnnxTensor& t : parts.initializers) add(std::move(t.tensor), "two initialisers are named");
    for (OnnxValue& value : parts.inputs) {
      if (!graph_->constants.contains(value.name))
        graph_->inputs.push_back(std::move(value));  // before IR 4 both
    }
    graph_->outputs = std::move(parts.outputs);
    graph_->nodes = std::move(parts.nodes);
    link();
    if (checkpoint_.tensors.empty()) fail("holds no tensors");
    checkpoint_.graph = graph_;
    return std::move(checkpoint_);
  }

 private:
  [[noreturn]] void fail(const std::string& what) const { throw Error(fmt::format("{}: {}", where_, what)); }

  void describe(const OnnxModel& model) {
    checkpoint_.path = file_->path();
    checkpoint_.format = "onnx";
    checkpoint_.container["ir_version"] = std::to_string(model.ir_version);
    const auto own = model.opsets.find("");
    graph_->opset = own == model.opsets.end() ? 0 : own->second;
    std::string opsets;
    for (const auto& [domain, version] : model.opsets) {
      opsets += fmt::format("{}{}{}", opsets.empty() ? "" : ", ",
                            domain.empty() ? "" : printable(domain) + " ", version);
    }
    if (!opsets.empty()) checkpoint_.container["opset"] = opsets;
    std::string producer = printable(model.producer);
    if (!producer.empty() && !model.producer_version.empty())
      producer += " " + printable(model.producer_version);
    if (!producer.empty()) checkpoint_.container["producer"] = producer;
    for (const auto& [key, value] : model.metadata) checkpoint_.metadata[key] = value;
    if (model.functions > 0)
      checkpoint_.notes.push_back(fmt::format("{} functions not read", model.functions));
  }

  static std::string printable(std::string_view text) {
    constexpr std::size_t longest = 64;
    std::string out(text.substr(0, longest));
    std::replace_if(
        out.begin(), out.end(), [](char c) { return c < ' ' || c > '~'; }, '?');
    return out;
  }

  void add(HostTensor tensor, const char* twice) {
    if (!graph_->constants.emplace(tensor.name, tensor).second) {
      fail(fmt::format("{} {}", twice, quote(tensor.name)));
    }
    checkpoint_.tensors.push_back(std::move(tensor));
  }

  // Nodes stand in the order they can run, as ONNX demands: so there is no ring, and one pass sees all.
  void link() {
    std::unordered_map<std::string_view, bool> inputs;
    for (const OnnxValue& value : graph_->inputs) {
      if (!inputs.emplace(value.name, true).second)
        fail(fmt::format("two inputs are named {}", quote(value.name)));
    }
    const auto known = [&](const std::string& name) {
      return inputs.contains(name) || graph_->constants.contains(name) || graph_->maker.contains(name);
    };
    for (std::size_t i = 0; i < graph_->nodes.size(); ++i) {
      const OnnxNode& node = graph_->nodes[i];
      for (const std::string& name : node.inputs) {
        if (!name.empty() && !known(name)) {
          fail(fmt::format("{} reads {}, which nothing before it makes", node.text(i), quote(name)));
        }
      }
      for (const std::string& name : node.outputs) {
        if (name.empty()) continue;
        if (known(name)) fail(fmt::format("{} makes {}, which there is already", node.text(i), quote(name)));
        graph_->maker.emplace(name, i);
      }
      add_constant(node, i);
    }
    for (const OnnxValue& value : graph_->outputs) {
      if (!known(value.name)) fail(fmt::format("nothing makes the output {}", quote(value.name)));
    }
  }

  void add_constant(const OnnxNode& node, std::size_t number) {
    if (!node.domain.empty() || node.outputs.size() != 1 || node.outputs[0].empty()) return;
    if (node.op == "Identity" && node.inputs.size() == 1) {
      const auto source = graph_->constants.find(node.inputs[0]);
      if (source == graph_->constants.end()) return;
      HostTensor alias = source->second;
      alias.name = node.outputs[0];
      add(std::move(alias), "two tensors are named");
      return;
    }
    if (node.op != "Constant") return;
    if (node.attributes.size() != 1) {
      fail(fmt::format("{} has {} attributes, expected its value alone", node.text(number),
                       node.attributes.size()));
    }
    const OnnxAttribute& value = node.attributes[0];
    using Kind = OnnxAttribute::Kind;
    HostTensor tensor;
    if (value.name == "value" && value.kind == Kind::tensor) {
      tensor = value.tensor;
      tensor.name = node.outputs[0];
    } else if (value.name == "value_float" && value.kind == Kind::real) {
      tensor = HostTensor::from_f32(node.outputs[0], {}, {value.real});
    } else if (value.name == "value_floats" && value.kind == Kind::reals) {
      tensor = HostTensor::from_f32(node.outputs[0], {std::int64_t(value.reals.size())}, value.reals);
    } else if (value.name == "value_int" && value.kind == Kind::integer) {
      tensor = integers(node.outputs[0], {}, {value.integer});
    } else if (value.name == "value_ints" && value.kind == Kind::integers) {
      tensor = integers(node.outputs[0], {std::int64_t(value.integers.size())}, value.integers);
    } else {
      return;  // text, sparse tensors: no weights
    }
    add(std::move(tensor), "two tensors are named");
  }

  static HostTensor integers(const std::string& name, std::vector<std::int64_t> shape,
                             const std::vector<std::int64_t>& values) {
    HostTensor tensor{name, DType::i64, std::move(shape), nullptr};
    const std::shared_ptr<std::int64_t[]> memory(new std::int64_t[values.size() + 1]);
    std::copy(values.begin(), values.end(), memory.get());
    tensor.data = {memory, reinterpret_cast<const std::byte*>(memory.get())};
    return tensor;
  }

  std::shared_ptr<const MappedFile> file_;
  std::string where_;
  OnnxTensorReader tensors_;
  std::shared_ptr<OnnxGraph> graph_;
  Checkpoint checkpoint_;
};

}  // namespace

bool is_onnx(std::span<const std::byte> bytes) {
  // ModelProto has no magic; but every writer begins with ir_version, and its fields are few, texts or messages.
  static const std::string nowhere;
  const auto start = bytes.first(std::min(bytes.size(), MappedFile::start_size));
  ProtoReader reader(start, start, nowhere);
  ProtoField field;
  try {
    if (!reader.next(field) || field.number != 1 || field.wire != ProtoWire::varint || field.value < 1 ||
        field.value > newest_ir || !reader.next_start(field)) {
      return false;
    }
    do {
      // producer_name, producer_version, domain; model_version; doc_string, graph, opset_import, metadata_props,
      // training_info, functions, configuration
      constexpr std::uint32_t texts[] = {2, 3, 4}, messages[] = {6, 7, 8, 14, 20, 25, 26};
      const auto among = [&](const auto& numbers) {
        return std::find(std::begin(numbers), std::end(numbers), field.number) != std::end(numbers);
      };
      if (field.number == 5 ? field.wire != ProtoWire::varint : field.wire != ProtoWire::bytes) return false;
      if (field.number == 5) continue;
      if (among(texts)) {
        if (std::any_of(field.bytes.begin(), field.bytes.end(),
                        [](std::byte b) { return b < std::byte{' '}; }))
          return false;
      } else if (among(messages)) {
        if (!field.bytes.empty() && field.bytes[0] == std::byte{0}) return false;
      } else {
        return false;
      }
    } while (reader.next_start(field));
    return true;
  } catch (const Error&) {
    return false;
  }
}

Checkpoint read_onnx(const std::shared_ptr<const MappedFile>& file) {
  return Reader(file).read();
}

}  // namespace retrace::weights
