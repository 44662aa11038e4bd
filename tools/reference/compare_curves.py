"""Draws the curves of two training runs over each other and says how far apart they are.

    compare_curves.py FIRST.log.jsonl SECOND.log.jsonl OUT.png [NAME NAME]

Both logs are of one command on two devices. The noise between neighbouring entries of one run is the measure: it comes
from the pictures in them, and what rounding does to a run grows until it is as large as that and no larger.
"""
import json
import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt


def read(path):
    with open(path) as file:
        entries = [json.loads(line) for line in file]
    return [e for e in entries if "loss" in e], [e for e in entries if "validation_accuracy" in e]


def noise(values):
    """Root mean square of what a value differs by from the mean of its neighbours, less what that mean adds itself."""
    off = [b - (a + c) / 2 for a, b, c in zip(values, values[1:], values[2:])]
    return (sum(o * o for o in off) / len(off) / 1.5) ** 0.5


def main():
    first, second, out, *names = sys.argv[1:]
    names = names or [first, second]
    runs = [read(first), read(second)]
    figure, axes = plt.subplots(1, 2, figsize=(10, 3.6))
    for axis, key in zip(axes, ("loss", "accuracy")):
        for (steps, _), name, style in zip(runs, names, ("-", "--")):
            axis.plot([e["step"] for e in steps], [e[key] for e in steps], style, label=name, linewidth=1.2)
        axis.set_xlabel("step")
        axis.set_title("training " + key)
        axis.grid(alpha=0.3)
        axis.legend()
    figure.tight_layout()
    figure.savefig(out, dpi=90)
    for key in ("loss", "accuracy"):
        one, two = ([e[key] for e in run[0]] for run in runs)
        n = min(len(one), len(two))
        apart = [a - b for a, b in zip(one, two)]
        late = apart[n // 4:]  # past the first fall, where a curve is no longer steep
        print(f"{key}: mean difference {sum(late) / len(late):+.4f}, rms {(sum(a * a for a in late) / len(late)) ** 0.5:.4f}; "
              f"noise of one run {noise(one[n // 4:]):.4f}, of the other {noise(two[n // 4:]):.4f}")
    for entries in zip(runs[0][1], runs[1][1]):
        print(f"step {entries[0]['step']}: validation accuracy " + ", ".join(f"{e['validation_accuracy']:.4f}" for e in entries))


if __name__ == "__main__":
    main()
