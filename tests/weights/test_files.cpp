// Files that are no weight files at all, and every reader against cut and damaged files.
#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <fstream>
#include <random>
#include <thread>

#include "build_files.h"
#include "kernels/error.h"
#include "tests/common/few_cases.h"
#include "weights/safetensors.h"

namespace retrace::weights::test {
namespace {

const char* const torch_fixtures[] = {"plain.zip.pt",
                                      "plain.legacy.pt",
                                      "module.zip.pt",
                                      "module.legacy.pt",
                                      "wrapped.zip.pt",
                                      "wrapped.legacy.pt",
                                      "nested.zip.pt",
                                      "nested.legacy.pt",
                                      "many.zip.pt",
                                      "many.legacy.pt",
                                      "plain.torch-2.15.zip.pt",
                                      "wrapped.torch-1.0.legacy.pt",
                                      "scripted.jit.pt",
                                      "half.jit.pt",
                                      "traced.jit.pt"};

// A safetensors file with the same tensors as a fixture.
std::string as_safetensors(const std::string& name) {
  const TemporaryFolder folder;
  write_safetensors(folder / "copy.safetensors", read_checkpoint(fixture(name)).tensors);
  return read_file(folder / "copy.safetensors");
}

std::vector<std::pair<std::string, std::string>> good_files() {
  std::vector<std::pair<std::string, std::string>> files;
  for (const char* name : torch_fixtures) files.emplace_back(name, read_file(fixture(name)));
  for (const char* name : {"arrays.stored.npz", "arrays.deflated.npz"}) {
    files.emplace_back(name, read_file(fixture(name)));
  }
  for (const char* name : {"types.onnx", "small.17.onnx", "small.training.onnx"}) {
    files.emplace_back(name, read_file(fixture(name)));
  }
  files.emplace_back("columns.npy",
                     npy("{'descr': '>f4', 'fortran_order': True, 'shape': (2, 3)}", std::string(24, '@')));
  // Without the zeros after its last entry, which nobody would miss.
  const std::string tar = read_file(fixture("plain.tar.pt"));
  files.emplace_back("plain.tar.pt", tar.substr(0, tar.find_last_not_of('\0') + 1));
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
  CHECK(contains(message(folder.path()), "is a folder without .npy files"));
  CHECK(contains(message(folder / "missing.pt"), "cannot open: No such file"));
  const auto pipe = folder / "pipe";
  REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
  CHECK(contains(message(pipe), "is a pipe"));  // and does not wait for a writer
  CHECK(contains(message("/dev/zero"), "is a device"));
  const auto socket = folder / "socket";
  REQUIRE(::mknod(socket.c_str(), S_IFSOCK | 0600, 0) == 0);
  CHECK(contains(message(socket), "is a socket"));
  std::filesystem::create_symlink("loop", folder / "loop");
  CHECK(contains(message(folder / "loop"), "symbolic links"));
  std::filesystem::create_symlink("pipe", folder / "link to pipe");
  CHECK(contains(message(folder / "link to pipe"), "is a pipe"));
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
  CHECK(contains(error_of_bytes("\x89HDF\r\n\x1a\n"s), "an HDF5 file"));
  CHECK(contains(error_of_bytes("GGUF\x03\0\0\0"s), "a GGUF file"));
  CHECK(contains(error_of_bytes("\x1f\x8b\x08"s), "gzip"));
  CHECK(contains(error_of_bytes("PK\x05\x06"s + std::string(18, '\0')), "an empty zip archive"));
  CHECK(contains(error_of_bytes(pk::pickle("}")), "a pickle, but not one that torch.save wrote"));
  CHECK(contains(error_of_bytes("\x01\x02"s), "unknown format (first bytes 01 02)"));
}

TEST_CASE("a file cut short anywhere is an error") {
  const TemporaryFolder folder;
  const auto path = folder / "cut";
  for (const auto& [name, bytes] : good_files()) {
    // Every byte of small files; of larger ones every 13th, which meets every alignment.
    const std::size_t step = (bytes.size() > 8000 ? 13 : 1) * (few_cases() ? 5 : 1);
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

TEST_CASE("what is no weight file is told by its first bytes, however large it is") {
  const TemporaryFolder folder;
  write_file(folder / "film", "\x1a\x45\xdf\xa3 not weights");
  // Without blocks on the disk; to read it all would take minutes and more memory than there is.
  std::filesystem::resize_file(folder / "film", std::uintmax_t(1) << 36);
  CHECK(contains(error_of([&] { read_checkpoint(folder / "film"); }),
                 "unknown format (first bytes 1a 45 df a3"));
}

TEST_CASE("a file that is cut off, rewritten and lengthened while it is read: an error or its tensors") {
  const TemporaryFolder folder;
  const auto path = folder / "busy.safetensors";
  // Large enough that a change falls into the middle of a read.
  std::vector<float> values(1 << 20);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = float(i);
  write_safetensors(path, std::vector{HostTensor::from_f32("w", {1 << 20}, values)});
  const std::string whole = read_file(path);
  std::atomic<bool> done{false};
  std::jthread writer([&] {
    for (unsigned round = 0; !done; ++round) {
      const std::size_t sizes[] = {0, 4096, whole.size() / 2, whole.size() - 1, whole.size() + 5000};
      ::truncate(path.c_str(), off_t(sizes[round % 5]));
      // Over the old bytes, so that there is always a moment in which the file is whole.
      std::ofstream out(path, std::ios::binary | std::ios::in | std::ios::out);
      out.write(whole.data(), std::streamsize(whole.size()));
      out.close();
      std::filesystem::resize_file(path, whole.size());
      std::this_thread::sleep_for(std::chrono::milliseconds(round % 8));
    }
  });
  int read = 0, refused = 0, wrong = 0;
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(1);
  while (std::chrono::steady_clock::now() < end) {
    try {
      const Checkpoint checkpoint = read_checkpoint(path);
      // The bytes stay what they were, whatever becomes of the file.
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
      const std::vector<float> now = checkpoint.tensors.at(0).to_f32();
      // A rewrite in the tick of the clock in which the file was last written cannot be told by its time: then zeros
      // of a file just lengthened may stand for values, but nothing else.
      for (std::size_t i = 0; i < now.size(); ++i) wrong += now[i] != values[i] && now[i] != 0;
      ++read;
    } catch (const Error& error) {
      CHECK(contains(error.what(), "busy.safetensors: "));
      ++refused;
    }
  }
  done = true;
  CHECK(wrong == 0);
  CHECK(read > 0);
  CHECK(refused > 0);
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
    const std::size_t step = (bytes.size() > 8000 ? 29 : 2) * (few_cases() ? 5 : 1);
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
