#include "weights/onnx_parse.h"

#include <fmt/format.h>

#include <bit>
#include <cstring>

#include "weights/checked.h"

namespace retrace::weights {
namespace {

constexpr std::size_t max_nodes = 100'000, max_attributes = 250'000, max_names = 1'000'000,
                      max_numbers = 4'000'000;

void expect(const ProtoReader& message, const ProtoField& field, ProtoWire wire, std::string_view what) {
  if (field.wire != wire) {
    message.fail(
        fmt::format("{} is {}, expected {}", what, proto_wire_name(field.wire), proto_wire_name(wire)));
  }
}

std::string text_of(const ProtoReader& message, const ProtoField& field, std::string_view what) {
  expect(message, field, ProtoWire::bytes, what);
  return std::string(field.text());
}

ProtoReader message_in(const ProtoReader& message, const ProtoField& field, std::string_view what) {
  expect(message, field, ProtoWire::bytes, what);
  return message.inside(field.bytes);
}

class GraphParser {
 public:
  explicit GraphParser(OnnxTensorReader& tensors) : tensors_(tensors) {}

  OnnxGraphParts parse(ProtoReader message) {
    OnnxGraphParts graph;
    ProtoField field;
    while (message.next(field)) {
      switch (field.number) {
        case 1:
          limit(message, graph.nodes.size(), max_nodes, "nodes");
          graph.nodes.push_back(node(message_in(message, field, "a node"), graph.nodes.size()));
          break;
        case 5:
          limit(message, graph.initializers.size(), max_nodes, "initialisers");
          graph.initializers.push_back(tensors_.read(message_in(message, field, "an initialiser")));
          if (graph.initializers.back().tensor.name.empty()) message.fail("an initialiser has no name");
          break;
        case 11:
        case 12: {
          const char* const what = field.number == 11 ? "an input" : "an output";
          count_name(message);
          (field.number == 11 ? graph.inputs : graph.outputs)
              .push_back(value(message_in(message, field, what), what));
          break;
        }
        case 15:
          message.fail("has a sparse initialiser, which is not read");
        default:
          break;
      }
    }
    return graph;
  }

 private:
  static void limit(const ProtoReader& message, std::size_t now, std::size_t most, const char* what) {
    if (now >= most) message.fail(fmt::format("more than {} {}", most, what));
  }
  void count_name(const ProtoReader& message) { limit(message, names_++, max_names, "names"); }
  void count_number(const ProtoReader& message) {
    limit(message, numbers_++, max_numbers, "numbers in attributes");
  }

  OnnxNode node(ProtoReader message, std::size_t number) {
    OnnxNode node;
    ProtoField field;
    while (message.next(field)) {
      switch (field.number) {
        case 1:
        case 2:
          count_name(message);
          (field.number == 1 ? node.inputs : node.outputs)
              .push_back(text_of(message, field, "a value's name"));
          break;
        case 3:
          node.name = text_of(message, field, "a node's name");
          break;
        case 4:
          node.op = text_of(message, field, "a node's operator");
          break;
        case 5: {
          limit(message, attributes_++, max_attributes, "attributes");
          OnnxAttribute made = attribute(message_in(message, field, "an attribute"));
          if (node.find(made.name) != nullptr) {
            message.fail(fmt::format("{}: has attribute {} twice", node.text(number), quote(made.name)));
          }
          // find() above looks at all that there are.
          limit(message, node.attributes.size(), 64, "attributes of a node");
          node.attributes.push_back(std::move(made));
          break;
        }
        case 7:
          node.domain = text_of(message, field, "a node's domain");
          if (node.domain == "ai.onnx") node.domain.clear();  // ONNX's own, by its other name
          break;
        default:
          break;
      }
    }
    if (node.op.empty()) message.fail(fmt::format("node {} names no operator", number));
    return node;
  }

  OnnxAttribute attribute(ProtoReader message) {
    using Kind = OnnxAttribute::Kind;
    OnnxAttribute out;
    // AttributeProto's own numbers of types. Older files leave the type out: then the field that is there tells it.
    constexpr std::pair<std::uint64_t, Kind> kinds[] = {
        {1, Kind::real},  {2, Kind::integer},  {3, Kind::text}, {4, Kind::tensor},
        {6, Kind::reals}, {7, Kind::integers}, {8, Kind::texts}};
    std::uint64_t type = 0;
    std::optional<Kind> seen;
    bool by_reference = false;
    ProtoField field;
    while (message.next(field)) {
      switch (field.number) {
        case 1:
          out.name = text_of(message, field, "an attribute's name");
          break;
        case 2:
          expect(message, field, ProtoWire::fixed32, "an attribute's float");
          out.real = std::bit_cast<float>(std::uint32_t(field.value));
          seen = Kind::real;
          break;
        case 3:
          expect(message, field, ProtoWire::varint, "an attribute's integer");
          out.integer = std::int64_t(field.value);
          seen = Kind::integer;
          break;
        case 4:
          out.text = text_of(message, field, "an attribute's text");
          seen = Kind::text;
          break;
        case 5: {
          OnnxTensor made = tensors_.read(message_in(message, field, "an attribute's tensor"));
          // Its name is of no use: a Constant's tensor is named by the node's output.
          if (made.external) message.fail(fmt::format("attribute {} is an external tensor", quote(out.name)));
          out.tensor = std::move(made.tensor);
          seen = Kind::tensor;
          break;
        }
        case 7:
          read_reals(message, field, out);
          seen = Kind::reals;
          break;
        case 8:
          read_integers(message, field, out);
          seen = Kind::integers;
          break;
        case 9:
          count_number(message);
          out.texts.push_back(text_of(message, field, "an attribute's text"));
          seen = Kind::texts;
          break;
        case 20:
          expect(message, field, ProtoWire::varint, "an attribute's type");
          type = field.value;
          break;
        case 21:
          by_reference = !field.bytes.empty();
          break;
        default:
          break;
      }
    }
    if (out.name.empty()) message.fail("an attribute has no name");
    if (by_reference)
      message.fail(fmt::format("attribute {} refers to a function's, outside of one", quote(out.name)));
    out.kind = type == 0 ? seen.value_or(Kind::other) : Kind::other;
    for (const auto& [number, kind] : kinds) {
      if (number == type) out.kind = kind;
    }
    // Lists may be empty, and zeros are left out by some writers; a tensor is never.
    if (out.kind == Kind::tensor && seen != Kind::tensor) {
      message.fail(fmt::format("attribute {} is to be a tensor, but has none", quote(out.name)));
    }
    return out;
  }

  void read_reals(const ProtoReader& message, const ProtoField& field, OnnxAttribute& out) {
    if (field.wire == ProtoWire::fixed32) {
      count_number(message);
      out.reals.push_back(std::bit_cast<float>(std::uint32_t(field.value)));
      return;
    }
    expect(message, field, ProtoWire::bytes, "an attribute's list of floats");
    if (field.bytes.size() % sizeof(float) != 0)
      message.fail("a list of floats packs no multiple of 4 bytes");
    for (std::size_t at = 0; at < field.bytes.size(); at += sizeof(float)) {
      count_number(message);
      float value = 0;
      std::memcpy(&value, field.bytes.data() + at, sizeof(float));
      out.reals.push_back(value);
    }
  }

  void read_integers(const ProtoReader& message, ProtoField field, OnnxAttribute& out) {
    if (field.wire == ProtoWire::varint) {
      count_number(message);
      out.integers.push_back(std::int64_t(field.value));
      return;
    }
    expect(message, field, ProtoWire::bytes, "an attribute's list of integers");
    while (!field.bytes.empty()) {
      count_number(message);
      out.integers.push_back(std::int64_t(message.packed_varint(field.bytes)));
    }
  }

  // ValueInfoProto -> TypeProto -> TypeProto.Tensor -> TensorShapeProto -> Dimension
  OnnxValue value(ProtoReader message, const char* what) {
    OnnxValue out;
    ProtoField field;
    while (message.next(field)) {
      if (field.number == 1) out.name = text_of(message, field, "a value's name");
      if (field.number == 2) read_type(message_in(message, field, "a value's type"), out);
    }
    if (out.name.empty()) message.fail(fmt::format("{} has no name", what));
    return out;
  }

  void read_type(ProtoReader message, OnnxValue& out) {
    ProtoField field;
    while (message.next(field)) {
      if (field.number != 1) continue;
      ProtoReader tensor = message_in(message, field, "a tensor's type");
      ProtoField part;
      while (tensor.next(part)) {
        if (part.number == 2) read_shape(message_in(tensor, part, "a tensor's shape"), out);
      }
    }
  }

  void read_shape(ProtoReader message, OnnxValue& out) {
    out.has_shape = true;
    ProtoField field;
    while (message.next(field)) {
      if (field.number != 1) continue;
      limit(message, out.shape.size(), 64, "dimensions");
      out.shape.push_back(-1);
      ProtoReader dimension = message_in(message, field, "a dimension");
      ProtoField part;
      while (dimension.next(part)) {
        if (part.number == 1 && part.wire == ProtoWire::varint) out.shape.back() = std::int64_t(part.value);
      }
    }
  }

  OnnxTensorReader& tensors_;
  std::size_t names_ = 0, attributes_ = 0, numbers_ = 0;
};

}  // namespace

const OnnxAttribute* OnnxNode::find(std::string_view attribute) const {
  for (const OnnxAttribute& a : attributes) {
    if (a.name == attribute) return &a;
  }
  return nullptr;
}

std::string OnnxNode::text(std::size_t number) const {
  const std::string full = domain.empty() ? op : domain + "." + op;
  return fmt::format("node {} ({}{})", number, quote(full), name.empty() ? "" : " " + quote(name));
}

OnnxModel parse_onnx_model(ProtoReader message) {
  OnnxModel model;
  ProtoField field;
  while (message.next(field)) {
    switch (field.number) {
      case 1:
        expect(message, field, ProtoWire::varint, "ir_version");
        model.ir_version = field.value;
        break;
      case 2:
        model.producer = text_of(message, field, "the producer's name");
        break;
      case 3:
        model.producer_version = text_of(message, field, "the producer's version");
        break;
      case 7:
        if (model.graph) message.fail("has a second graph");
        model.graph = message_in(message, field, "the graph");
        break;
      case 8: {
        ProtoReader opset = message_in(message, field, "an opset");
        std::string domain;
        std::int64_t version = 0;
        ProtoField part;
        while (opset.next(part)) {
          if (part.number == 1) domain = text_of(opset, part, "an opset's domain");
          if (part.number == 2) version = std::int64_t(part.value);
        }
        if (domain == "ai.onnx") domain.clear();
        if (model.opsets.size() >= 1000) message.fail("has more than 1000 opsets");
        model.opsets[domain] = version;
        break;
      }
      case 14: {
        ProtoReader entry = message_in(message, field, "metadata");
        std::pair<std::string, std::string> pair;
        ProtoField part;
        while (entry.next(part)) {
          if (part.number == 1) pair.first = text_of(entry, part, "metadata's key");
          if (part.number == 2) pair.second = text_of(entry, part, "metadata's value");
        }
        if (model.metadata.size() >= 10'000) message.fail("has more than 10000 entries of metadata");
        model.metadata.push_back(std::move(pair));
        break;
      }
      case 25:
        ++model.functions;
        break;
      default:
        break;
    }
  }
  return model;
}

OnnxGraphParts parse_onnx_graph(ProtoReader message, OnnxTensorReader& tensors) {
  return GraphParser(tensors).parse(message);
}

}  // namespace retrace::weights
