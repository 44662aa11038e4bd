// Files that are no weight files at all, and every reader against cut and damaged files.
#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <random>

#include "build_files.h"
#include "kernels/error.h"
#include "weights/safetensors.h"

namespace retrace::weights::test {
namespace {

const char* const torch_fixtures[] = {
    "plain.zip.pt",      "plain.legacy.pt", "module.zip.pt",    "module.legacy.pt", "wrapped.zip.pt",
    "wrapped.legacy.pt", "nested.zip.pt",   "nested.legacy.pt", "many.zip.pt",      "many.legacy.pt"};

// A safetensors file with the same tensors as a fixture.
std::string as_safetensors(const std::string& name) {
  const TemporaryFolder folder;
  write_safetensors(folder / "copy.safetensors", read_checkpoint(fixture(name)).tensors);
  return read_file(folder / "copy.safetensors");
}

std::vector<std::pair<std::string, std::string>> good_files() {
  std::vector<std::pair<std::string, std::string>> files;
  for (const char* name : torch_fixtures) files.emplace_back(name, read_file(fixture(name)));
  files.emplace_back("plain.safetensors", as_safetensors("plain.zip.pt"));
  return files;
}

// Writes one byte of an open file.
void put(std::fstream& file, std::size_t at, char byte) {
  file.seekp(std::streamoff(at));
  file.put(byte);
  file.flush();
  REQUIRE(file);
}

}  // namespace

TEST_CASE("what is no regular file is refused") {
  const TemporaryFolder folder;
  const auto message = [](const std::filesystem::path& path) {
    const std::string text = error_of([&] { read_checkpoint(path); });
    CHECK(text.starts_with(path.string() + ": "));
    return text;
  };
  CHECK(contains(message(folder.path()), "is a folder"));
  CHECK(contains(message(folder / "missing.pt"), "cannot open: No such file"));
  const auto pipe = folder / "pipe";
  REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
  CHECK(contains(message(pipe), "is a pipe"));  // and does not wait for a writer
  CHECK(contains(message("/dev/zero"), "is a device"));
  write_file(folder / "empty", "");
  CHECK(contains(message(folder / "empty"), "is empty"));
}

TEST_CASE("a file that may not be read is refused") {
  const TemporaryFolder folder;
  const auto path = folder / "secret.pt";
  write_file(path, read_file(fixture("module.zip.pt")));
  REQUIRE(::chmod(path.c_str(), 0) == 0);
  REQUIRE(::chmod(folder.path().c_str(), 0755) == 0);
  // Root may read everything, so it has to become someone else for a moment.
  const bool root = ::geteuid() == 0;
  constexpr uid_t nobody = 65534;
  if (root) REQUIRE(::seteuid(nobody) == 0);
  const std::string message = error_of([&] { read_checkpoint(path); });
  if (root) REQUIRE(::seteuid(0) == 0);
  CHECK(contains(message, "secret.pt: cannot open: Permission denied"));
}

TEST_CASE("files of other kinds are told by name") {
  using namespace std::string_literals;
  CHECK(contains(error_of_bytes("version https://git-lfs.github.com/spec/v1\n"), "a Git LFS pointer"));
  CHECK(contains(error_of_bytes("<!DOCTYPE html><html>"), "an HTML page"));
  CHECK(contains(error_of_bytes("\x93NUMPY\x01"s), "a NumPy array"));
  CHECK(contains(error_of_bytes("\x89HDF\r\n\x1a\n"s), "an HDF5 file"));
  CHECK(contains(error_of_bytes("GGUF\x03\0\0\0"s), "a GGUF file"));
  CHECK(contains(error_of_bytes("\x1f\x8b\x08"s), "gzip"));
  CHECK(contains(error_of_bytes("PK\x05\x06"s + std::string(18, '\0')), "an empty zip archive"));
  CHECK(contains(error_of_bytes(pk::pickle("}")), "a pickle, but not one that torch.save wrote"));
  CHECK(contains(error_of_bytes("\x01\x02"s), "unknown format (first bytes 01 02)"));
  std::string tar(512, '\0');
  tar.replace(257, 5, "ustar");
  CHECK(contains(error_of_bytes(tar), "a tar archive; if PyTorch 0.1.9 or older wrote it"));
}

TEST_CASE("a file cut short anywhere is an error") {
  const TemporaryFolder folder;
  const auto path = folder / "cut";
  for (const auto& [name, bytes] : good_files()) {
    // Every byte of small files; of larger ones every 13th, which meets every alignment.
    const std::size_t step = bytes.size() > 8000 ? 13 : 1;
    write_file(path, bytes);
    for (std::size_t n = bytes.size(); n > step;) {
      n -= step;
      std::filesystem::resize_file(path, n);
      try {
        read_checkpoint(path);
        FAIL_CHECK(name << " cut to " << n << " of " << bytes.size() << " bytes was read");
      } catch (const Error&) {
      }
    }
    write_file(path, bytes);
    CHECK_NOTHROW(read_checkpoint(path));
  }
}

// Which damage can be seen differs by format: a weight's own bytes are as good as any others. What must hold
// is that a reader either throws Error or gives tensors whose every byte can be read (run it under a
// sanitizer).
TEST_CASE("a damaged byte never does worse than an error") {
  const TemporaryFolder folder;
  const auto path = folder / "damaged";
  std::mt19937 engine(20);
  std::size_t refused = 0, read = 0;
  for (const auto& [name, bytes] : good_files()) {
    const std::size_t step = bytes.size() > 8000 ? 29 : 2;
    write_file(path, bytes);
    std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
    for (std::size_t at = engine() % step; at < bytes.size(); at += step) {
      // Random, all ones, or a small step: the last makes lengths and counts a little wrong.
      const unsigned kind = engine() % 3;
      const char now = kind == 0   ? char(engine())
                       : kind == 1 ? '\xff'
                                   : char(bytes[at] + (engine() % 2 ? 1 : -1));
      put(file, at, now);
      try {
        const Checkpoint checkpoint = read_checkpoint(path);
        for (const HostTensor& tensor : checkpoint.tensors) {
          if (tensor.to_f32().size() != std::size_t(tensor.count())) FAIL("sizes differ");
        }
        ++read;
      } catch (const Error& error) {
        if (std::string_view(error.what()).find('\n') != std::string_view::npos) FAIL(error.what());
        ++refused;
      }
      put(file, at, bytes[at]);
    }
  }
  // Both happen often; else the test would look at nothing.
  CHECK(refused > 1000);
  CHECK(read > 1000);
}

}  // namespace retrace::weights::test
