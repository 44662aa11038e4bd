"""Makes the golden file of training: `generate_training.py OUT_DIR`, or compares with the one there:
`generate_training.py --check DIR`. `generate_training.py --choose COUNT` lists candidate batches instead."""
import argparse
import copy
import pathlib
import sys

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

import conditioning
import golden_io
import methods
import networks

SEED, CLASSES, BATCH, SIZE = 1, 10, 4, 40
# The batch taken, among runs of BATCH seeded pictures: one where no forward pass comes closer to a tie than
# MIN_SWITCH (see --choose) and float32 stays within MAX_FLOAT32_RMS.
TAKEN, MIN_SWITCH, MAX_FLOAT32_RMS = 65, 4e-6, 4e-6
TARGETS = (7, 2, 0, 5)
SMOOTHING = 0.1
SAMPLES = 256
# Each block's last batch norm starts at a quarter of its seeded weight. With the whole, rounding grows
# sixteenfold from the first layer to the last (and the gradients back), with this sixfold.
BRANCH_SCALE = 0.25
# name: class, options, weight decay. eps 1e-4 and not AdamW's 1e-8: the first step is lr g / (|g| + eps), so
# that a small eps turns the rounding of a gradient near 0 into a step of random sign; and a tiny one would
# test nothing.
OPTIMIZERS = {
    "sgd": (torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True}, 5e-4),
    "adamw": (torch.optim.AdamW, {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-4}, 0.05),
}


class Tie(Exception):
    pass


def network(dtype):
    model = networks.make("resnet18")
    model.fc = nn.Linear(512, CLASSES)
    networks.seed_weights(model.double(), SEED)
    for name, parameter in model.named_parameters():
        if name.endswith(".bn2.weight"):
            parameter.data *= BRANCH_SCALE
    return model.to(dtype).train()


def optimizer(name, model):
    """Weight decay on the weights of convolutions and of the linear layer only."""
    make, options, decay = OPTIMIZERS[name]
    decayed = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() <= 1]
    groups = [{"params": decayed, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]
    return make(groups, **options)


def closest_switch(model, x):
    """As conditioning.closest_switch, in training mode and over the whole batch. The model stays as it is."""
    model, smallest = copy.deepcopy(model), []

    def relu(module, inputs):
        smallest.append(float(inputs[0].abs().min() / conditioning.rms(inputs[0])))

    def pool(module, inputs):
        smallest.append(float(conditioning.pool_gap(inputs[0]) / conditioning.rms(inputs[0])))

    for module in model.modules():
        if isinstance(module, nn.ReLU):
            module.register_forward_pre_hook(relu)
        elif isinstance(module, nn.MaxPool2d):
            module.register_forward_pre_hook(pool)
    with torch.no_grad():
        model(x)
    return min(smallest)


def sample(t):
    """All values of up to SAMPLES, else SAMPLES spread by the golden ratio, so that they meet every tap and
    channel: flat index i is (i * 2654435769 mod 2^32) * size >> 32."""
    flat = t.detach().double().flatten().numpy().copy()  # the next step overwrites t
    if len(flat) <= SAMPLES:
        return flat
    return flat[[(i * 2654435769 % 2**32) * len(flat) >> 32 for i in range(SAMPLES)]]


def train(dtype, x, smallest_switch=None):
    """(values, closest switches): everything computed, {name: float64 array}, and, if a smallest switch is
    given, how close each forward pass comes to a tie; Tie is raised where that is closer."""
    x, values, switches = x.to(dtype), {}, {}
    norm = lambda t: t.detach().double().norm().view(1).numpy()
    for name in OPTIMIZERS:
        model = network(dtype)
        start = {key: p.detach().clone() for key, p in model.named_parameters()}
        stepper = optimizer(name, model)
        for step in (1, 2):
            # The first forward and backward pass is the same for all.
            this = "step1" if step == 1 else f"{name}.step2"
            if smallest_switch is not None and this not in switches:
                switches[this] = closest_switch(model, x)
                if switches[this] < smallest_switch:
                    raise Tie(f"closest switch of {this} {switches[this]:.2g}")
            logits = model(x)
            loss = F.cross_entropy(logits, torch.tensor(TARGETS), label_smoothing=SMOOTHING)
            stepper.zero_grad()
            loss.backward()
            values[f"{this}.loss"] = loss.detach().view(1).double().numpy()
            values[f"{this}.logits"] = logits.detach().double().numpy()
            for key, p in model.named_parameters():
                values[f"{this}.gradient.{key}"] = sample(p.grad)
                values[f"{this}.gradient_norm.{key}"] = norm(p.grad)
            for key, buffer in model.named_buffers():
                if not key.endswith("num_batches_tracked"):
                    values[f"{this}.{key}"] = sample(buffer)
            stepper.step()
            for key, p in model.named_parameters():
                values[f"{name}.step{step}.{key}"] = sample(p)
                values[f"{name}.step{step}.change_norm.{key}"] = norm(p - start[key])
    return values, switches


def golden(taken=TAKEN, smallest_switch=MIN_SWITCH):
    """(tensors, metadata, {kind of value: (float32_rms, name) of the worst})"""
    pixels = networks.seeded_pictures("resnet18.training", (taken + 1) * BATCH, SIZE, SEED)[taken * BATCH:]
    x = networks.normalise(pixels)
    exact, switches = train(torch.float64, x, smallest_switch)
    rounded, _ = train(torch.float32, x)
    tensors, worst = {"pixels": pixels, "targets": np.array(TARGETS)}, {}
    for this, value in switches.items():
        tensors[f"{this}.closest_switch"] = np.array([value], np.float32)
    for name, value in exact.items():
        tensors[name] = value.astype(np.float32)
        rms = methods.relative_rms(rounded[name], value)
        # [optimizer.]stepN, then what: a word of its own, or a parameter
        words = name.split(".")
        head = words[:1 if words[0] == "step1" else 2]
        what = words[len(head)]
        if what not in ("loss", "logits", "gradient", "gradient_norm", "change_norm"):
            what = words[-1] if words[-1].startswith("running_") else "parameter"
        kind = ".".join([*head, what])
        if kind == "step1.gradient":
            tensors[f"{name}.float32_rms"] = np.array([rms], np.float32)
        if kind.endswith("change_norm"):  # a small difference of two float32 weights
            continue
        worst[kind] = max(worst.get(kind, (0.0, "")), (rms, name))
    for kind, (rms, _) in worst.items():
        tensors[f"float32_rms.{kind}"] = np.array([rms], np.float32)
    metadata = {"model": "resnet18", "classes": CLASSES, "seed": SEED, "bn2_weight_scale": BRANCH_SCALE,
                "label_smoothing": SMOOTHING, "samples": SAMPLES, "mean": networks.MEAN, "std": networks.STD,
                "torch": torch.__version__.split("a")[0], "made_by": "tools/reference/generate_training.py"}
    for name, (_, options, decay) in OPTIMIZERS.items():
        metadata |= {f"{name}.{key}": value for key, value in (options | {"weight_decay": decay}).items()}
    return tensors, metadata, worst


def choose(count):
    for i in range(count):
        try:
            tensors, _, worst = golden(i)
        except Tie:
            continue
        switches = [f"{float(v[0]):.2g}" for k, v in tensors.items() if k.endswith("closest_switch")]
        rms, name = max(worst.values())
        print(f"batch {i}: closest switches {', '.join(switches)}, float32_rms at most {rms:.2g} ({name})",
              flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=pathlib.Path, nargs="?")
    parser.add_argument("--check", action="store_true", help="compare with the file there, write nothing")
    parser.add_argument("--choose", type=int, metavar="COUNT", help="list the batches of COUNT that would do")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.choose:
        return choose(args.choose)
    if args.directory is None:
        parser.error("DIRECTORY is required, except with --choose")
    tensors, metadata, worst = golden()
    for kind, (rms, name) in worst.items():
        print(f"{kind}: PyTorch's float32 differs by at most {rms:.2g} ({name})")
    if max(worst.values())[0] > MAX_FLOAT32_RMS:
        raise AssertionError(f"expected at most {MAX_FLOAT32_RMS:g}: take another batch")
    path = args.directory / "training_resnet18.safetensors"
    if args.check:
        methods.check(path, tensors)
    else:
        golden_io.save(path, tensors, metadata)
        print(f"{path}: {len(tensors)} tensors, {path.stat().st_size} bytes")


if __name__ == "__main__":
    sys.exit(main())
