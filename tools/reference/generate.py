"""Makes the golden files of explanations: `generate.py OUT_DIR`, or compares with those there: `generate.py
--check DIR`. `generate.py --choose NETWORK` lists the candidate pictures instead, best conditioned first."""
import argparse
import copy
import dataclasses
import functools
import pathlib
import re
import sys

import numpy as np
import torch
import torch.nn.functional as F

import conditioning
import golden_io
import graph_golden
import graph_lrp
import graph_networks
import lrp_reference
import networks
from conditioning import CANDIDATES, MIN_MARGIN, MIN_SWITCH
from methods import check, expect_close, grad_cam, input_gradient, relative_rms, upsample
from networks import SEED
from seeded import fnv1a, seeded_tensor
from zennit_maps import zennit_maps

# What the chosen ones must reach, so that a float32 engine with any order of summation can be held to 1e-4.
MAX_CONDITION, MAX_FLOAT32_RMS = 45, 1e-5
# Fifty layers are worse conditioned than twenty: of a thousand pictures the best had 90, this one has 103, and PyTorch's own
# float32 is up to 1.3e-5 off. The wide one's picture, the best of 200, has 59.6.
MAX_OF_DEEP = {"resnext50_32x4d_w16": (110, 2e-5), "wide_resnet50_2_w16": (60, 2e-5)}
# name: picture size, pictures taken, pictures that set the batch norms' statistics, second class, and the
# layer of Grad-CAM
NETWORKS = {
    "cifar_resnet20": (32, (32, 41, 87), 32, 7, "layer3"),
    "resnet18": (64, (91, 141), 32, 207, "layer4"),
    "resnext50_32x4d_w16": (48, (190,), 16, 207, "layer4"),
    "wide_resnet50_2_w16": (48, (77,), 16, 207, "layer4"),
}


def layer_outputs(model, x):
    """Outputs of the fused layers by name: convolutions after batch norm and ReLU, blocks after the sum and
    ReLU."""
    out, handles = {}, []

    def keep(name, function=lambda y: y):
        return lambda module, inputs, output: out.__setitem__(name, function(output).detach())

    for name, module in model.named_modules():
        # All but a block's last batch norm are followed by a ReLU.
        if re.search(r"bn[12]$", name) and (name.endswith("bn1") or hasattr(model.get_submodule(name[:-4]), "conv3")):
            handles.append(module.register_forward_hook(keep(name[:-3] + "conv" + name[-1], F.relu)))
        elif name in ("maxpool", "avgpool", "fc", "linear") or re.fullmatch(r"layer\d\.\d", name):
            handles.append(module.register_forward_hook(keep(name)))
    with torch.no_grad():
        model(x)
    for handle in handles:
        handle.remove()
    return out


def in_float32(net):
    """The folded network with every tensor in float32."""
    convert = lambda op: dataclasses.replace(op, w=op.w.float(), b=op.b.float()) \
        if isinstance(op, networks.Conv) else op
    blocks = [networks.Block(b.name, [convert(conv) for conv in b.convs], convert(b.shortcut)) for b in net.blocks]
    return networks.Folded(convert(net.stem), net.pool, blocks, tuple(t.float() for t in net.linear))


def conditions(model, net, jittered_nets, x, other_target):
    """(target, closest switch, condition number), the last None where the picture is out anyway."""
    with torch.no_grad():
        best = model(x)[0].topk(2)
    target, margin = int(best.indices[0]), float(best.values[0] - best.values[1])
    switch = conditioning.closest_switch(net, x)
    fit = margin >= MIN_MARGIN and target != other_target and switch >= MIN_SWITCH
    return target, switch, conditioning.condition_number(net, jittered_nets, x, target) if fit else None


def explain(prefix, model, merged, jittered_nets, x, other_target, layer, size):
    """Every golden tensor of one picture, float64. x [1, 3, size, size]."""
    with torch.no_grad():
        logits = model(x)[0]
    net = networks.folded(model)
    target, switch, condition = conditions(model, net, jittered_nets, x, other_target)
    max_condition, max_float32_rms = MAX_OF_DEEP.get(prefix.split(".")[0], (MAX_CONDITION, MAX_FLOAT32_RMS))
    if condition is None or condition > max_condition:
        raise AssertionError(f"{prefix}: class {target}, closest switch {switch:.2g}, condition number "
                             f"{condition}: take another picture")
    print(f"{prefix}: class {target}, closest switch {switch:.2g}, condition number {condition:.3g}")
    out = {"logits": logits.numpy(), "target": np.array([target]), "other_target": np.array([other_target]),
           "closest_switch": np.array([switch])}
    outputs = layer_outputs(model, x)
    last_block = max(name for name in outputs if name.startswith(layer) and name.count(".") == 1)
    out["features"] = outputs[last_block][0].numpy()
    for name, value in outputs.items():
        out[f"stats.{name}"] = np.array([value.mean(), value.std(unbiased=False), value.min(), value.max()])
    merged32 = copy.deepcopy(merged).float()
    for key, index in (("input_gradient", target), ("input_gradient.other", other_target)):
        out[key] = input_gradient(model, x, index).numpy()
        leaf = x.float().requires_grad_()
        rounded, = torch.autograd.grad(merged32(leaf)[0, index], leaf)
        out[f"{key}.float32_rms"] = np.array([relative_rms(rounded[0].numpy(), out[key])])
    cam = grad_cam(model, x, target, layer)
    if not cam.max() > 0:
        raise AssertionError(f"{prefix}: Grad-CAM is blank: choose another seed")
    out["grad_cam"], out["grad_cam.upsampled"] = cam, upsample(cam, size)

    graph = graph_networks.Graph(graph_networks.merge_batch_norms(model))
    for name, config in (lrp_reference.GOLDEN | lrp_reference.ZENNIT).items():
        expect_close(f"{prefix}: {name} over the graph", graph_lrp.lrp(graph, x, target, config).numpy(),
                     lrp_reference.lrp_r_form(net, x, target, config).numpy(), 1e-10)
    start, small = float(logits[target]), in_float32(net)
    maps32 = zennit_maps(merged32, x.float(), target)
    for name, value in zennit_maps(merged, x, target).items():
        mine = lrp_reference.lrp_r_form(net, x, target, lrp_reference.ZENNIT[name], start=1.0)
        # Two orders of summation in float64, amplified by cancelling sums; seen: 5e-12.
        expect_close(f"{prefix}: our R form of Zennit's {name}", mine.numpy(), value.numpy(), 1e-10)
        out[f"zennit.{name}"] = value.numpy()
        out[f"zennit.{name}.float32_rms"] = np.array([relative_rms(maps32[name].numpy(), value.numpy())])
    for name, config in lrp_reference.GOLDEN.items():
        value = lrp_reference.lrp_r_form(net, x, target, config)
        out[f"lrp.{name}"] = value.numpy()
        out[f"lrp.{name}.start_sum"] = np.array([start, float(value.sum())])
        if config.residual == "joint":
            by_c = lrp_reference.lrp_c_form(net, x, target, config)
            expect_close(f"{prefix}: the c form of {name}", by_c.numpy(), value.numpy(), 1e-10)
            rounded = lrp_reference.lrp_c_form(small, x.float(), target, config)
        else:
            rounded = lrp_reference.lrp_r_form(small, x.float(), target, config)
        out[f"lrp.{name}.float32_rms"] = np.array([relative_rms(rounded.numpy(), value.numpy())])
        print(f"{prefix}lrp.{name}: sum / start = {float(value.sum()) / start:.15g}")
    for key, value in out.items():
        if key.endswith("float32_rms") and value[0] > max_float32_rms:
            raise AssertionError(f"{prefix}{key} is {value[0]:.3g}, expected at most {max_float32_rms:g}: "
                                 "take another picture")
    return out


def prepared(name):
    """The network with calibrated batch norms, their statistics, and conditioning.py's jittered copies."""
    size, _, calibration, _, _ = NETWORKS[name]
    model = networks.make(name)
    networks.seed_weights(model, SEED)
    statistics = networks.calibrate(
        model, networks.seeded_pictures(f"{name}.calibration", calibration, size, SEED))
    net = networks.folded(model)
    return model, statistics, [conditioning.jittered(net, draw) for draw in range(conditioning.DRAWS)]


def choose(name):
    size, taken, _, other_target, _ = NETWORKS[name]
    model, _, jittered_nets = prepared(name)
    net, rows = networks.folded(model), []
    for i, picture in enumerate(networks.seeded_pictures(f"{name}.pictures", CANDIDATES, size, SEED)):
        x = networks.normalise(picture[None])
        target, switch, condition = conditions(model, net, jittered_nets, x, other_target)
        if condition is not None:
            rows.append((condition, i, target, switch))
    for condition, i, target, switch in sorted(rows):
        print(f"picture {i}: condition number {condition:.3g}, class {target}, closest switch {switch:.2g}"
              f"{' (taken)' if i in taken else ''}")


def golden_of_network(name):
    size, taken, _, other_target, layer = NETWORKS[name]
    model, statistics, jittered_nets = prepared(name)
    merged = networks.merge_batch_norms(copy.deepcopy(model))
    pictures = networks.seeded_pictures(f"{name}.pictures", CANDIDATES, size, SEED)[list(taken)]
    tensors = {f"bn.{key}": value for key, value in statistics.items()}
    for i in range(len(taken)):
        x = networks.normalise(pictures[i:i + 1])
        expect_close("the merged network", merged(x).detach().numpy(), model(x).detach().numpy(), 1e-12)
        tensors[f"picture{i}.pixels"] = pictures[i]
        for key, value in explain(f"{name}.picture{i}.", model, merged, jittered_nets, x, other_target,
                                  layer, size).items():
            tensors[f"picture{i}.{key}"] = value.astype(np.float32) if value.dtype.kind == "f" else value
    return tensors, golden_io.metadata(name, len(taken), layer)


def golden_of_seeded_values():
    """For a few parameters: shape, the first 64 values, and FNV-1a over the float32 bytes of all of them."""
    shapes = {"conv1.weight": (64, 3, 7, 7), "layer1.0.conv2.weight": (64, 64, 3, 3),
              "layer2.0.downsample.0.weight": (128, 64, 1, 1), "layer2.0.downsample.1.weight": (128,),
              "layer2.0.downsample.1.bias": (128,), "bn1.weight": (64,), "layer4.1.bn2.bias": (512,),
              "bn1.running_mean": (64,), "bn1.running_var": (64,), "fc.weight": (1000, 512),
              "fc.bias": (1000,), "linear.bias": (10,), "layer3.2.conv2.weight": (64, 64, 3, 3)}
    tensors = {}
    for name, shape in shapes.items():
        for seed in (0, SEED, 2**64 - 1):
            values = seeded_tensor(name, shape, seed)
            tensors[f"{name}.shape"] = np.array(shape)
            tensors[f"{name}.seed{seed}.first"] = values.ravel()[:64]
            checksum = np.array([fnv1a(values.astype("<f4").tobytes())], np.uint64)
            tensors[f"{name}.seed{seed}.checksum"] = checksum.view(np.int64)
    return tensors, {"made_by": "tools/reference/generate.py"}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=pathlib.Path, nargs="?")
    parser.add_argument("--check", action="store_true", help="compare with the files there, write nothing")
    parser.add_argument("--only", choices=[*NETWORKS, *graph_golden.NETWORKS, "seeded_values"])
    parser.add_argument("--choose", choices=[*NETWORKS, *graph_networks.MODELS],
                        help="list candidate pictures, write nothing")
    args = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    if args.choose:
        return (choose if args.choose in NETWORKS else graph_golden.choose)(args.choose)
    if args.directory is None:
        parser.error("DIRECTORY is required, except with --choose")
    makers = {"seeded_values": golden_of_seeded_values}
    makers |= {name: functools.partial(golden_of_network, name) for name in NETWORKS}
    makers |= {name: functools.partial(graph_golden.golden, name) for name in graph_golden.NETWORKS}
    for name, make in makers.items():
        if args.only not in (None, name):
            continue
        tensors, metadata = make()
        path = args.directory / f"{name}.safetensors"
        if args.check:
            check(path, tensors)
        else:
            golden_io.save(path, tensors, metadata)
            print(f"{path}: {len(tensors)} tensors, {path.stat().st_size} bytes")


if __name__ == "__main__":
    sys.exit(main())
