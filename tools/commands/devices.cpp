#include <fmt/format.h>

#include "engine/device.h"
#include "tools/commands/commands.h"
#include "tools/console.h"

namespace retrace::tools {

Command add_devices(const Arguments& program) {
  const Arguments arguments = program.command("devices", "List the devices a network can run on");
  return {arguments, [] {
            Console console;
            for (const DeviceInfo& d : Device::list()) {
              const std::string memory =
                  d.memory ? fmt::format("{:.1f} GiB", double(d.memory) / (1 << 30)) : "";
              console.result(fmt::format("{:<8} {:<32} {:>10}  {}{}\n", d.id, d.name, memory,
                                         d.usable ? "" : "not usable: ", d.detail));
            }
            return 0;
          }};
}

}  // namespace retrace::tools
