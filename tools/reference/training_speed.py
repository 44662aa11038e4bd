"""How long PyTorch takes for what `bench_train` measures: a training step of one network on random pictures.

    training_speed.py [NETWORK,WIDTH,BATCH,SIZE,CLASSES]… [--device cpu] [--runs 9] [--json FILE]

NETWORK is resnet18 or cifar_resnet20; resnet18,16,32,128,8 where none is given. SGD with Nesterov's momentum, eager
mode.
"""
import argparse

import torch
import torch.nn.functional as F
from torch import nn
from torchvision.models.resnet import BasicBlock, ResNet

from speed import Report


def resnet18(width, classes):
    """torchvision's, `width` channels in the first stage instead of 64."""
    net = ResNet(BasicBlock, [2, 2, 2, 2], num_classes=classes)
    net.inplanes = width
    net.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
    net.bn1 = nn.BatchNorm2d(width)
    for stage in range(4):
        setattr(net, f"layer{stage + 1}", net._make_layer(BasicBlock, width << stage, 2, 1 if stage == 0 else 2))
    net.fc = nn.Linear(width << 3, classes)
    return net


class Block(nn.Module):
    """He et al. 2016, section 4.2, option A."""

    def __init__(self, c, k, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(c, k, 3, stride, 1, bias=False), nn.BatchNorm2d(k)
        self.conv2, self.bn2 = nn.Conv2d(k, k, 3, 1, 1, bias=False), nn.BatchNorm2d(k)
        self.stride, self.added = stride, k - c

    def forward(self, x):
        h = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.added:
            half = self.added // 2
            x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, half, half))
        return F.relu(h + x)


def cifar_resnet20(width, classes):
    layers, c = [nn.Conv2d(3, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()], width
    for stage in range(3):
        for i in range(3):
            layers.append(Block(c, width << stage, 2 if i == 0 and stage else 1))
            c = width << stage
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(c, classes))


def training(network, width, batch, size, classes, device):
    """A function that makes one step."""
    net = {"resnet18": resnet18, "cifar_resnet20": cifar_resnet20}[network](width, classes).to(device).train()
    optimizer = torch.optim.SGD(net.parameters(), 0.01, 0.9, weight_decay=5e-4, nesterov=True)
    x, y = torch.randn(batch, 3, size, size, device=device), (torch.arange(batch) % classes).to(device)

    def step():
        loss = F.cross_entropy(net(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("shapes", nargs="*", default=["resnet18,16,32,128,8"])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--json")
    asked = parser.parse_args()
    report = Report(asked.device, asked.runs)
    for shape in asked.shapes:
        network, *numbers = shape.split(",")
        width, batch, size, classes = (int(n) for n in numbers)
        torch.manual_seed(1)
        report.measure({"what": "training step", "model": f"{network}_w{width}", "batch": batch, "size": size,
                        "classes": classes}, training(network, width, batch, size, classes, asked.device))
    report.save(asked.json)


if __name__ == "__main__":
    main()
