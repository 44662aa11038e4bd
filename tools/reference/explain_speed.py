"""How long PyTorch and Zennit take for what `bench_explain` measures: ResNet-18 and its explanations on random
pictures. What PyTorch users would run: gradients by autograd, Grad-CAM by a forward hook, LRP by Zennit.

    explain_speed.py [--device cpu] [--batch 1 …] [--size 224] [--runs 5] [--json FILE]

Convolutions and matrix products in float32, as ours are, and on a GPU in TF32 as well. Every explanation contains its
own forward pass here (hooks have to be in place before), and its map stays on the device.
"""
import argparse

import torch
import torch.nn.functional as F
import torchvision

from speed import Report

try:
    from zennit.composites import EpsilonPlusFlat
    from zennit.torchvision import ResNetCanonizer
except ImportError:
    EpsilonPlusFlat = None


def input_gradient(net, x, targets):
    leaf = x.clone().requires_grad_()
    score = net(leaf).gather(1, targets).sum()
    return torch.autograd.grad(score, leaf)[0]


def grad_cam(net, x, targets):
    kept = []
    hook = net.layer4.register_forward_hook(lambda module, inputs, output: kept.append(output))
    score = net(x).gather(1, targets).sum()
    hook.remove()
    gradient, = torch.autograd.grad(score, kept[0])
    cam = F.relu((gradient.mean((2, 3), keepdim=True) * kept[0]).sum(1, keepdim=True))
    return F.interpolate(cam, x.shape[2:], mode="bilinear", align_corners=False)


def lrp(net, x, targets):
    with EpsilonPlusFlat(canonizers=[ResNetCanonizer()]).context(net) as hooked:
        leaf = x.clone().requires_grad_()
        logits = hooked(leaf)
        start = torch.zeros_like(logits).scatter_(1, targets, 1.0)
        return torch.autograd.grad(logits, leaf, start)[0]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, nargs="+", default=[1])
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json")
    asked = parser.parse_args()
    torch.manual_seed(1)
    net = torchvision.models.resnet18().eval().to(asked.device)
    if not EpsilonPlusFlat:
        print("Zennit is not installed: no LRP")
    report = Report(asked.device, asked.runs)
    for batch in asked.batch:
        x = torch.randn(batch, 3, asked.size, asked.size, device=asked.device)
        targets = torch.zeros(batch, 1, dtype=torch.long, device=asked.device)
        shape = {"model": "resnet18", "batch": batch, "size": asked.size}

        def forward():
            with torch.no_grad():
                net(x)

        report.measure({"what": "forward", **shape}, forward)
        report.measure({"what": "input-gradient", **shape}, lambda: input_gradient(net, x, targets))
        report.measure({"what": "grad-cam", **shape}, lambda: grad_cam(net, x, targets))
        if EpsilonPlusFlat:
            report.measure({"what": "zennit epsilon-plus-flat", **shape}, lambda: lrp(net, x, targets))
    report.save(asked.json)


if __name__ == "__main__":
    main()
