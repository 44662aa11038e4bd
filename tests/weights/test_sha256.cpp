// SHA-256 against the examples NIST publishes with FIPS 180-4, and the hash of a checkpoint's contents.
#include <doctest/doctest.h>

#include "build_files.h"
#include "weights/background_hash.h"
#include "weights/sha256.h"

namespace retrace::weights::test {
namespace {

std::string hash_by(Sha256Blocks blocks, std::string_view text, std::size_t piece) {
  Sha256 hash(blocks);
  for (std::size_t at = 0; at < text.size(); at += piece)
    hash.add(std::as_bytes(std::span(text.substr(at, piece))));
  return hash.hex();
}

// By every implementation this processor has; what they do not agree about is no hash.
std::string hash_of(std::string_view text, std::size_t piece = 1 << 20) {
  const std::string plain = hash_by(sha256_blocks_plain, text, piece);
  if (sha256_blocks_x86() && hash_by(sha256_blocks_x86(), text, piece) != plain) return "differ";
  return plain;
}

}  // namespace

TEST_CASE("SHA-256: NIST's examples") {
  // csrc.nist.gov, Cryptographic Standards and Guidelines, Examples with Intermediate Values: SHA256.pdf,
  // and SHA2_Additional.pdf.
  CHECK(hash_of("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(hash_of("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(hash_of("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq") ==
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  CHECK(hash_of(std::string(1, '\xbd')) ==
        "68325720aabd7c82f30f554b313d0570c95accbb7dc4b5aae11204c08ffe732b");
  CHECK(hash_of(std::string(55, '\0')) == "02779466cdec163811d078815c633f21901413081449002f24aa3e80f0b88ef7");
  CHECK(hash_of(std::string(56, '\0')) == "d4817aa5497628e7c77e6b606107042bbba3130888c5f47a375e6179be789fbb");
  CHECK(hash_of(std::string(57, '\0')) == "65a16cb7861335d5ace3c60718b5052e44660726da4cd13bb745381b235a1785");
  CHECK(hash_of(std::string(64, '\0')) == "f5a5fd42d16a20302798ef6ed309979b43003d2320d9f0e8ea9831a92759fb4b");
  CHECK(hash_of(std::string(1000, '\0')) ==
        "541b3e9daa09b20bf85fa273e5cbd3e80185aa4ec298e765db87742b70138a53");
  CHECK(hash_of(std::string(1000, 'A')) ==
        "c2e686823489ced2017f6059b8b239318b6364f6dcd835d0a519105a1eadd6e4");
  CHECK(hash_of(std::string(1'000'000, 'a')) ==
        "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST_CASE("SHA-256: in pieces of any size") {
  const std::string text(1000, 'A');
  for (std::size_t piece = 1; piece < 200; ++piece) {
    CAPTURE(piece);
    CHECK(hash_of(text, piece) == "c2e686823489ced2017f6059b8b239318b6364f6dcd835d0a519105a1eadd6e4");
  }
}

TEST_CASE("SHA-256: every length around the ends of blocks, from unaligned memory, by every implementation") {
  if (!sha256_blocks_x86()) MESSAGE("this processor has no SHA instructions: only the plain code was run");
  std::string text(400, '\0');
  for (std::size_t i = 0; i < text.size(); ++i) text[i] = char(i * i % 251);
  Sha256 all;  // of all hashes below; hashlib makes the same:
  for (std::size_t begin = 0; begin < 20; ++begin) {
    for (std::size_t size = 0; size <= 260; ++size) {
      const std::string hash =
          hash_of(std::string_view(text).substr(begin, size), 1 + (begin * 37 + size) % 150);
      REQUIRE(hash.size() == 64);
      all.add(std::as_bytes(std::span(hash)));
    }
  }
  // text = bytes(i * i % 251 for i in range(400)); h = hashlib.sha256()
  // for b in range(20): for n in range(261): h.update(hashlib.sha256(text[b:b + n]).hexdigest().encode())
  CHECK(all.hex() == "4a3fb912f2797614a567ee6bb4fa237db486372441ec6af9621f400ab4cfc89f");
}

TEST_CASE("a hash made in the background is the same") {
  std::vector<HostTensor> tensors;
  for (int i = 0; i < 50; ++i) {
    tensors.push_back(HostTensor::from_f32("t" + std::to_string(i), {1 + i * 997 % 4001},
                                           std::vector<float>(std::size_t(1 + i * 997 % 4001), float(i))));
  }
  for (std::size_t n : {0, 1, 2, 50}) {
    BackgroundHash hash;
    for (std::size_t i = 0; i < n; ++i) hash.add(tensors[i]);
    CHECK(hash.hex() == content_sha256(std::span(tensors).first(n)));
  }
  BackgroundHash given_up;  // ends with what was added unhashed or not
  for (const HostTensor& tensor : tensors) given_up.add(tensor);
}

TEST_CASE("the hash of contents: every name, type, shape and byte counts") {
  const auto tensor = [](const std::string& name, std::vector<std::int64_t> shape,
                         std::vector<float> values) {
    return HostTensor::from_f32(name, std::move(shape), values);
  };
  const std::vector<HostTensor> ours{tensor("ab", {2}, {1, 2}), tensor("c", {1, 2}, {3, 4})};
  // As the header says it is made, by hashlib:
  //   b"".join(q(len(n)) + n + q(3) + b"f32" + q(len(s)) + b"".join(map(q, s)) + q(4 * len(v)) + values)
  CHECK(content_sha256(ours) == "747faba995f56361517bfa8077cad170d9d9c7cdc80fa0817fe1f7d7692c749b");
  const auto other = [&](std::size_t i, HostTensor changed) {
    std::vector<HostTensor> tensors = ours;
    tensors[i] = std::move(changed);
    return content_sha256(tensors) != content_sha256(ours);
  };
  CHECK(other(0, tensor("aB", {2}, {1, 2})));
  CHECK(other(0, tensor("ab", {2, 1}, {1, 2})));
  CHECK(other(1, tensor("c", {1, 2}, {3, -4})));
  HostTensor integers = ours[0];
  integers.dtype = DType::i32;
  CHECK(other(0, integers));
  CHECK(content_sha256(std::vector<HostTensor>{ours[1], ours[0]}) != content_sha256(ours));
}

TEST_CASE("a file with such a hash is checked against it") {
  Checkpoint c;
  c.path = "net.safetensors";
  c.format = "safetensors";
  c.tensors = {HostTensor::from_f32("w", {1}, {1})};
  check_content(c);
  const std::string right = content_sha256(c.tensors);
  c.metadata[content_sha256_key] = right;
  check_content(c);
  c.tensors[0] = HostTensor::from_f32("w", {1}, {2});
  const std::string message = error_of([&] { check_content(c); });
  CHECK(contains(message, "net.safetensors: its contents are not those it was written with"));
  CHECK(contains(message, right));
  CHECK(contains(message, content_sha256(c.tensors)));
  c.format = "pytorch zip";  // anybody's entry of that name
  check_content(c);
}

}  // namespace retrace::weights::test
