"""How long PyTorch takes for what `bench_train` measures: a training step of one network on random pictures.

    training_speed.py [resnet18 | cifar_resnet20] [WIDTH] [BATCH] [SIZE] [CLASSES] [RUNS]
"""
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn
from torchvision.models.resnet import BasicBlock, ResNet


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


def main():
    usual = ["resnet18", "16", "32", "128", "8", "9"]
    name, *numbers = sys.argv[1:] + usual[len(sys.argv) - 1:]
    width, batch, size, classes, runs = (int(n) for n in numbers)
    torch.manual_seed(1)
    net = {"resnet18": resnet18, "cifar_resnet20": cifar_resnet20}[name](width, classes).train()
    optimizer = torch.optim.SGD(net.parameters(), 0.01, 0.9, weight_decay=5e-4, nesterov=True)
    x, y = torch.randn(batch, 3, size, size), torch.arange(batch) % classes
    times = []
    for _ in range(runs + 2):  # the first two warm up
        begin = time.perf_counter()
        loss = F.cross_entropy(net(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        times.append(time.perf_counter() - begin)
    median = sorted(times[2:])[runs // 2]
    print(f"{name} width {width}, batch {batch}, {size} x {size}, fp32, SGD, PyTorch {torch.__version__}, "
          f"{torch.get_num_threads()} threads: {1000 * median:.1f} ms a step, median of {runs}, "
          f"{batch / median:.1f} pictures/s")


if __name__ == "__main__":
    main()
