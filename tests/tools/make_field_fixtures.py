#!/usr/bin/env python3
"""Makes tests/tools/cli/field: weight files as timm, Hugging Face transformers, Lightning, torchvision and PyTorch's own wrappers
write them, of small networks, and logits.json, what each library's network says of the picture that test_field.py draws.

Made with PyTorch 2.15, torchvision 0.29, timm 1.0.31, transformers 5.24, lightning 2.6. The networks are the libraries' own in
two channels instead of 64; timm's stem cannot be told so, its first layers are put in by hand. Logits are of the stored weights
(some in 16 bits, for the repository's sake), computed in float64.
"""
import argparse
import copy
import json
import pathlib
import shutil
import warnings

import lightning
import timm
import torch
import torch.nn.functional as F
import torchvision
import transformers
from timm.models.resnet import BasicBlock, ResNet
from timm.utils import CheckpointSaver, ModelEmaV3

warnings.filterwarnings("ignore")
HERE = pathlib.Path(__file__).resolve().parent / "cli/field"
SIDE, CLASSES, CHANNELS = 64, 7, (2, 4, 8, 16)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def picture():
    """test_field.py's."""
    y, x, c = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), torch.arange(3), indexing="ij")
    values = ((7 * x + 13 * y + 29 * c + x * y) % 256).double() / 255
    return ((values - torch.tensor(MEAN).double()) / torch.tensor(STD).double()).permute(2, 0, 1)[None]


def train(net, logits=lambda out: out, steps=3):
    """A few steps on noise, so that no two tensors are alike and running statistics are not those of the start."""
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    for _ in range(steps):
        optimizer.zero_grad()
        x, target = torch.randn(4, 3, SIDE, SIDE), torch.randint(CLASSES, (4,))
        F.cross_entropy(logits(net(x)), target).backward()
        optimizer.step()
    return optimizer


def said(net, logits=lambda out: out):
    """Of a copy: the float32 weights, computed in float64."""
    net = copy.deepcopy(net).double().eval()
    with torch.no_grad():
        return logits(net(picture()))[0].tolist()


def timm_net():
    net = ResNet(BasicBlock, (2, 2, 2, 2), num_classes=CLASSES, channels=CHANNELS)
    narrow = CHANNELS[0]
    net.conv1 = torch.nn.Conv2d(3, narrow, 7, stride=2, padding=3, bias=False)
    net.bn1 = torch.nn.BatchNorm2d(narrow)
    first = net.layer1[0]
    first.conv1 = torch.nn.Conv2d(narrow, narrow, 3, padding=1, bias=False)
    first.downsample = None
    return net


class TorchvisionNet(torchvision.models.ResNet):
    """torchvision's, whose first stage is 64 channels wide in its source: every number of channels there is divided."""

    def __init__(self):
        super().__init__(torchvision.models.resnet.BasicBlock, [2, 2, 2, 2], num_classes=CLASSES)
        self.inplanes, narrow = CHANNELS[0], CHANNELS
        self.conv1 = torch.nn.Conv2d(3, narrow[0], 7, stride=2, padding=3, bias=False)
        self.bn1 = torch.nn.BatchNorm2d(narrow[0])
        for stage in range(4):
            layer = self._make_layer(torchvision.models.resnet.BasicBlock, narrow[stage], 2, stride=2 if stage else 1)
            setattr(self, "layer%d" % (stage + 1), layer)
        self.fc = torch.nn.Linear(narrow[3], CLASSES)


class Module(lightning.LightningModule):
    def __init__(self, lr=0.05):
        super().__init__()
        self.save_hyperparameters()
        self.model = TorchvisionNet()

    def training_step(self, batch, _):
        return F.cross_entropy(self.model(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.hparams.lr)


def main():
    shutil.rmtree(HERE, ignore_errors=True)
    HERE.mkdir(parents=True)
    torch.manual_seed(1)
    logits = {}

    # timm's train.py: its saver, the plain weights and the averaged ones.
    net = timm_net()
    optimizer = train(net)
    net.bfloat16()
    ema = ModelEmaV3(net, decay=0.5)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(1.25)
    ema.update(net, step=5)  # from its second step on it averages
    args = argparse.Namespace(model="resnet18", lr=0.05, epochs=1)
    saver = CheckpointSaver(net, optimizer, args=args, model_ema=ema, checkpoint_dir=str(HERE), recovery_dir=str(HERE))
    saver.save_checkpoint(epoch=0, metric=12.5)
    (HERE / "last.pth.tar").rename(HERE / "timm_train.pth.tar")
    for path in list(HERE.glob("checkpoint-*")) + list(HERE.glob("model_best*")):
        path.unlink()
    assert said(net) != said(ema.module)
    logits["timm_train.pth.tar"], logits["timm_train.pth.tar --ema"] = said(net), said(ema.module)

    # transformers: in one file, and in several by an index.
    config = transformers.ResNetConfig(embedding_size=CHANNELS[0], hidden_sizes=list(CHANNELS), depths=[2, 2, 2, 2],
                                       layer_type="basic", num_labels=CLASSES)
    net = transformers.ResNetForImageClassification(config)
    train(net, lambda out: out.logits)
    net.half()
    for name, options in (("hf", {}), ("hf_shards", {"max_shard_size": "10KB"})):
        net.save_pretrained(HERE / name, **options)
        (HERE / name / "config.json").unlink()
    logits["hf/model.safetensors"] = logits["hf_shards/model.safetensors.index.json"] = said(net, lambda out: out.logits)

    # Lightning's trainer.
    module = Module()
    data = torch.utils.data.TensorDataset(torch.randn(8, 3, SIDE, SIDE), torch.randint(CLASSES, (8,)))
    trainer = lightning.Trainer(max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False,
                                enable_progress_bar=False, enable_model_summary=False, default_root_dir=str(HERE))
    trainer.fit(module, torch.utils.data.DataLoader(data, batch_size=4))
    trainer.save_checkpoint(HERE / "lightning.ckpt")
    logits["lightning.ckpt"] = said(module.model)

    # A hand-written loop around DataParallel, as the field's training scripts save it; in bfloat16.
    net = TorchvisionNet()
    optimizer = train(net)
    net.bfloat16()
    torch.save({"epoch": 1, "arch": "resnet18", "best_acc1": torch.tensor(12.5),
                "state_dict": torch.nn.DataParallel(net).state_dict(), "optimizer": optimizer.state_dict(),
                "scheduler": torch.optim.lr_scheduler.StepLR(optimizer, 30).state_dict()}, HERE / "parallel.pth")
    logits["parallel.pth"] = said(net)

    (HERE / "logits.json").write_text(json.dumps(logits, indent=1) + "\n")


if __name__ == "__main__":
    main()
