"""Whole models of full size, from files that PyTorch wrote to logits: `check_torchvision.py RETRACE PICTURE [MODEL…]` saves
torchvision's models with random weights, as a state dict, a TorchScript program and an ONNX graph, and has the program
RETRACE classify the picture with them. Nothing is downloaded."""
import json
import pathlib
import subprocess
import sys
import tempfile

import torch
import torchvision
from PIL import Image
from torchvision import transforms

MODELS = ["resnet18", "resnet50", "vgg11", "vgg16_bn", "alexnet", "squeezenet1_0", "squeezenet1_1", "mobilenet_v2",
          "densenet121", "densenet161"]
PREPARE = transforms.Compose([
    transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor(),
    transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])])


def randomised(name):
    """In evaluation mode, with batch norms whose statistics one pass over noise has set: as trained ones, they keep values
    of order 1."""
    torch.manual_seed(1)
    model = getattr(torchvision.models, name)()
    norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None
        torch.nn.init.uniform_(norm.weight, 0.5, 1.5)
        torch.nn.init.normal_(norm.bias, 0, 0.2)
    with torch.no_grad():
        model.train()(torch.randn(4, 3, 224, 224))
    return model.eval()


def logits(program, picture, path):
    """Without --model: the file has to tell it."""
    out = subprocess.run([program, "classify", picture, "--weights", path, "--top", "1000", "--json"], check=True,
                         stdout=subprocess.PIPE, text=True)
    values = torch.zeros(1000, dtype=torch.float64)
    for row in json.loads(out.stdout)["top"]:
        values[row["index"]] = row["logit"]
    return values


def main():
    program, picture, names = sys.argv[1], sys.argv[2], sys.argv[3:] or MODELS
    x = PREPARE(Image.open(picture).convert("RGB"))[None]
    worst = 0.0
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            model = randomised(name)
            paths = {kind: pathlib.Path(folder) / f"{name}.{kind}" for kind in ("pth", "pt", "onnx")}
            torch.save(model.state_dict(), paths["pth"])
            with torch.no_grad():
                torch.jit.save(torch.jit.trace(model, x), str(paths["pt"]))
                torch.onnx.export(model, x, str(paths["onnx"]))
                want = model.double()(x.double())[0]
            for kind, path in paths.items():
                off = float((logits(program, picture, path) - want).norm() / want.norm())
                print(f"{name}.{kind}: relative RMS of the logits {off:.2e}", flush=True)
                worst = max(worst, off)
                path.unlink()
    if not worst <= 1e-4:
        sys.exit("expected at most 1e-4")


if __name__ == "__main__":
    main()
