// One fuzzer a reader (RETRACE_FUZZ_READER): whatever the bytes, the reader returns tensors that can be used or throws
// one retrace::Error. libFuzzer's entry point; AddressSanitizer and UBSan watch.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "kernels/error.h"
#include "weights/pickle.h"
#include "weights/readers.h"

using namespace retrace;
using namespace retrace::weights;

namespace {

[[maybe_unused]] bool begins_with(std::span<const std::byte> bytes, std::size_t at, std::string_view magic) {
  return bytes.size() >= at + magic.size() && std::memcmp(bytes.data() + at, magic.data(), magic.size()) == 0;
}

// Stands in for a user of the tensors: reads every byte. Large tensors are not widened, which would take more memory than
// the reader may.
[[maybe_unused]] void use(const Checkpoint& checkpoint) {
  constexpr std::size_t large = 1 << 20;
  for (const auto* tensors : {&checkpoint.tensors, &checkpoint.averaged}) {
    for (const HostTensor& t : *tensors) {
      if (t.byte_size() < large) {
        if (std::int64_t(t.to_f32().size()) != t.count()) std::abort();
      } else {
        volatile std::byte last{};
        for (std::size_t i = 0; i < t.byte_size(); i += 64) last = t.data.get()[i];
        last = t.data.get()[t.byte_size() - 1];
      }
    }
  }
  for (const HostTensor& t : checkpoint.tensors) {
    if (checkpoint.find(t.name) == nullptr) std::abort();
  }
}

// What read_checkpoint does once it has told the format.
void read(std::span<const std::byte> bytes) {
  [[maybe_unused]] const auto file = MappedFile::view("/nowhere/fuzz", bytes);
#if RETRACE_FUZZ_READER == 0
  if (begins_with(bytes, 8, "{")) use(read_safetensors(file));
#elif RETRACE_FUZZ_READER == 1  // torch's and NumPy's
  if (!begins_with(bytes, 0, "PK\x03\x04")) return;
  ZipArchive archive(bytes, "fuzz");
  use(is_npz(archive) ? read_npz(file, archive) : read_torch_zip(file, std::move(archive)));
#elif RETRACE_FUZZ_READER == 2
  if (is_torch_legacy(bytes)) use(read_torch_legacy(file));
#elif RETRACE_FUZZ_READER == 3
  const Pickle pickle = unpickle(bytes, "fuzz", nullptr, PickleDialect::torch_script);  // knows all names
  if (pickle.root >= pickle.nodes.size() || pickle.length > bytes.size()) std::abort();
#elif RETRACE_FUZZ_READER == 4
  if (begins_with(bytes, 257, "ustar")) use(read_torch_tar(file));
#elif RETRACE_FUZZ_READER == 5
  if (begins_with(bytes, 0, "\x93NUMPY")) use(read_npy(file));
#elif RETRACE_FUZZ_READER == 6
  if (is_onnx(bytes)) use(read_onnx(file));
#endif
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    read({reinterpret_cast<const std::byte*>(data), size});
  } catch (const Error& error) {
    const std::string_view message = error.what();
    if (message.empty() || message.find('\n') != std::string_view::npos) std::abort();
  }
  return 0;
}
