// Every way in which a pickle can ask for code to run, or act on what is no such thing; beside test_torch_hostile.cpp.
#include <doctest/doctest.h>

#include "build_files.h"

namespace retrace::weights::test {
namespace {

using namespace std::string_literals;

const std::string four = bytes_of<float>({1, 2, 3, 4});

std::string error_of_object(const std::string& object) {
  return error_of_bytes(torch_zip(object, {{"0", four}}));
}

// What all of them must say: the file, the record, the byte.
std::string refused(const std::string& object) {
  const std::string message = error_of_object(object);
  CHECK(contains(message, ": data.pkl: pickle, byte "));
  // The same object in the other containers, and a legacy stream's other pickles.
  CHECK(contains(error_of_bytes(torch_legacy(object, {})), "pickle, byte "));
  CHECK(contains(
      error_of_bytes(pk::pickle("\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19") + pk::pickle(object)),
      "protocol number (at byte "));
  return message;
}

}  // namespace

TEST_CASE("pickle: opcodes that import, call or extend are refused, whatever their arguments") {
  const std::string os = "os", system = "system";
  const auto none = [](const std::string& object, const std::string& opcode) {
    CHECK(contains(refused(object), "opcode " + opcode + " is not one that torch.save writes"));
  };
  none("(" + pk::text("true") + "ios\nsystem\n", "0x69");              // INST
  none("(" + pk::global("collections", "OrderedDict") + "o", "0x6f");  // OBJ
  none("\x82\x01", "0x82");                                            // EXT1: the registry of copyreg
  none("\x83\x01\x00"s, "0x83");                                       // EXT2
  none("\x84\x01\x00\x00\x00"s, "0x84");                               // EXT4
  none(pk::global("collections", "OrderedDict") + ")}\x92", "0x92");   // NEWOBJ_EX
  none("Pos.system\n", "0x50");                                        // PERSID
  none("\x97", "0x97");                                                // NEXT_BUFFER
  none("}\x98", "0x98");                                               // READONLY_BUFFER
  // Protocol 0 and 1 write literals, containers and the memo as text.
  none("L1L\n", "0x4c");
  none("F1.5\n", "0x46");
  none("S'x'\n", "0x53");
  none("Vx\n", "0x56");
  none("Np0\n", "0x70");
  none("Ng0\n", "0x67");
  for (const int opcode : {0x00, 0x0a, 0x20, 0x40, 0x7f, 0x99, 0xff}) {
    CHECK(contains(refused(std::string(1, char(opcode))), "is not one that torch.save writes"));
  }
}

TEST_CASE("pickle: a number as text is a whole number of 64 bits") {
  for (const char* digits :
       {"", "x", "1x", " 1", "+1", "1.5", "1e5", "9223372036854775808", "--1", "0x10", "1L"}) {
    CHECK(contains(refused("I" + std::string(digits) + "\n"), "is not a whole number of 64 bits"));
  }
  CHECK(contains(refused("I1\n\x85Q"), "begins with its type"));
  // As a count, as a key, as a truth value.
  const std::string storage = "(" + pk::text("storage") + pk::global("torch", "FloatStorage") +
                              pk::text("0") + pk::text("cpu") + "I4\ntQ";
  const std::string object = "}(I139637976727552\n" + pk::tensor(storage, 0, {4}, {1}) + pk::text("t") +
                             "I01\n" + pk::text("least") + "I-9223372036854775808\nu";
  CHECK(raw(read_bytes(torch_zip(object, {{"0", four}})), "139637976727552", DType::f32, {4}) == four);
}

TEST_CASE("pickle: what is called, built and referred to must be a known name") {
  // STACK_GLOBAL from the memo, after a harmless use of the same text; NEWOBJ and REDUCE of what is no class.
  CHECK(
      contains(refused(pk::text("os") + "q\x01" + pk::text("system") + "h\x01" + pk::text("system") + "\x93"),
               "refers to 'os.system'"));
  CHECK(contains(refused(pk::text("collections") + pk::text("OrderedDict.__init__") + "\x93"),
                 "'collections.OrderedDict.__init__'"));
  CHECK(contains(refused(pk::global("torch", "FloatStorage.__reduce__")), "'torch.FloatStorage.__reduce__'"));
  CHECK(contains(refused(pk::global("collections", "OrderedDict") + "q\x01)R)R"),
                 "not a known name is called"));
  CHECK(contains(refused("})\x81"), "not a known name is called"));
  CHECK(contains(refused(pk::text("os.system") + pk::tuple({pk::text("true")}) + "R"),
                 "not a known name is called"));
  CHECK(contains(refused(pk::global("torch._utils", "_rebuild_tensor_v2") + "NR"), "are not a tuple"));
  // Tensor.__setstate__ of four parts is set_(storage, offset, size, strides): other values than those it was made with.
  const std::string w = pk::floats("0", 4), part = pk::storage("FloatStorage", "1", 4);
  CHECK(contains(refused(w + pk::tuple({part, pk::integer(0), pk::integers({4}), pk::integers({1})}) + "b"),
                 "a tensor that has been made is given other values"));
  const auto with_metadata = [&](const std::string& metadata) {
    return pk::call(pk::global("torch._utils", "_rebuild_tensor_v2"),
                    {part, pk::integer(0), pk::integers({4}), pk::integers({1}), "\x89", "}", metadata});
  };
  CHECK(contains(refused(with_metadata(pk::integer(1))), "metadata is not a dict"));
  CHECK(contains(refused(with_metadata(pk::dict({{"scale", "\x88"}}))),
                 "more than its conjugate and negative bits"));
  CHECK(contains(refused(with_metadata(pk::dict({{"neg", pk::integer(1)}}))), "conjugate and negative bits"));
  // BUILD would call __setstate__ or set attributes: never on a class, a function, a list.
  for (const std::string& target : {pk::global("collections", "OrderedDict"),
                                    pk::global("torch", "FloatStorage"), "]"s, ")"s, "N"s, pk::text("x")}) {
    const bool tuple = target == ")";  // torch.Size is one, and its state is let go
    if (!tuple) CHECK(contains(refused(target + "}b"), "attributes are set on something that has none"));
  }
  // A dict's state that names another class is dropped unseen.
  const std::string odd = pk::call(pk::global("collections", "OrderedDict"), {}) +
                          pk::dict({{"__class__", pk::text("os.system")}, {"__setstate__", "N"}}) + "b";
  CHECK(contains(error_of_object(odd), "holds no tensors, only an empty dict"));
}

TEST_CASE("pickle: persistent ids are storages and nothing else") {
  CHECK(contains(refused(pk::text("os.system") + "Q"), "not a tuple that begins with its type"));
  CHECK(contains(refused("]Q"), "not a tuple that begins with its type"));
  CHECK(contains(refused(")Q"), "not a tuple that begins with its type"));
  CHECK(contains(refused(pk::tuple({pk::integer(1), "N", "N", "N", "N"}) + "Q"), "begins with its type"));
  CHECK(contains(refused(pk::tuple({pk::text("storage"), pk::global("collections", "OrderedDict"),
                                    pk::text("0"), pk::text("cpu"), pk::integer(4)}) +
                         "Q"),
                 "not one of torch's storages"));
  CHECK(contains(refused(pk::tuple({pk::text("storage"), pk::global("torch", "FloatStorage"), pk::text("0"),
                                    pk::text("cpu"), "\x8a\x09" + std::string(9, '\x01')}) +
                         "Q"),
                 "a storage's size is a int, expected a whole number"));
  // A key that would lead out of the archive is only ever a record's name.
  for (const std::string& key : std::vector<std::string>{"../../etc/passwd", "/etc/passwd", "..\\0"}) {
    const std::string object =
        pk::dict({{"w", pk::tensor(pk::storage("FloatStorage", key, 4), 0, {4}, {1})}});
    CHECK(contains(error_of_object(object), "is not in the archive"));
  }
}

TEST_CASE("pickle: items are put only into containers of their kind") {
  const std::string opcodes[] = {"Na", "(NNe", "NNs", "(NNu", "(NN\x90"};
  const std::string targets[] = {"]", "]", "}", "}", "\x8f"};
  for (std::size_t i = 0; i < 5; ++i) {
    for (const std::string& target : {"]"s, "}"s, ")"s, "\x8f"s, "N"s, "\x88"s, pk::integer(1), pk::text("x"),
                                      pk::global("collections", "OrderedDict"),
                                      pk::storage("FloatStorage", "0", 4), pk::floats("0", 4)}) {
      if (target == targets[i]) {
        CHECK(contains(error_of_object(target + opcodes[i]), "holds no tensors"));
      } else {
        CHECK(contains(error_of_object(target + opcodes[i]), "items are put into a "));
      }
    }
    CHECK(contains(error_of_object(opcodes[i]), "the stack is empty"));
  }
  for (const char* opcode : {"e", "u", "\x90", "t", "l", "d", "1", "\x91"}) {
    CHECK(contains(error_of_object("N"s + opcode), "there is no mark"));
  }
}

TEST_CASE("pickle: the memo may hold much, but no more than the file names") {
  // Each key costs five bytes of file; a key far away costs no more memory than a near one.
  CHECK(contains(error_of_object("Nr\xff\xff\xff\xff"
                                 "0j\xff\xff\xff\xff"),
                 "holds no tensors, only a None"));
  std::string many = "N";
  for (std::uint32_t key = 0; key < 300'000; ++key) many += "r" + little(key * 13007u);
  CHECK(contains(error_of_object(many), "holds no tensors, only a None"));
  std::string too_many = "N";
  too_many.reserve(21'000'000);
  for (std::uint32_t key = 0; key < 4'000'001; ++key) too_many += "r" + little(key);
  CHECK(contains(error_of_object(too_many), "the memo grows too large"));
}

}  // namespace retrace::weights::test
