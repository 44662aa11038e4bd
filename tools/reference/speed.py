"""Times something in PyTorch: median over runs, in float32 and, on a GPU, in TF32 as well."""
import json
import time

import torch


class Report:
    def __init__(self, device, runs):
        self.device, self.runs, self.rows = device, runs, []
        self.name = torch.cuda.get_device_name() if device.startswith("cuda") else f"{torch.get_num_threads()} threads"
        print(f"PyTorch {torch.__version__} on {device} ({self.name}), median of {runs} [least, most]")

    def measure(self, what, work):
        """`what` says in words and numbers what is measured; its "batch" gives pictures per second."""
        for precision in ("fp32", "tf32") if self.device.startswith("cuda") else ("fp32",):
            torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
            times = self.timed(work)
            median = times[len(times) // 2]
            self.rows.append({**what, "precision": precision, "median_ms": median, "least_ms": times[0],
                              "most_ms": times[-1]})
            print("  " + ", ".join(f"{v}" if k in ("what", "model") else f"{k} {v}" for k, v in what.items()) +
                  f", {precision}: {median:.2f} ms [{times[0]:.2f}, {times[-1]:.2f}], "
                  f"{1000 * what['batch'] / median:.1f} pictures/s", flush=True)

    def timed(self, work):
        times = []
        for _ in range(self.runs + 3):  # the first three warm up
            begin = time.perf_counter()
            work()
            if self.device.startswith("cuda"):
                torch.cuda.synchronize()
            times.append(1000 * (time.perf_counter() - begin))
        return sorted(times[3:])

    def save(self, path):
        if path:
            with open(path, "w") as file:
                json.dump({"pytorch": torch.__version__, "device": self.name, "runs": self.runs, "rows": self.rows}, file)
