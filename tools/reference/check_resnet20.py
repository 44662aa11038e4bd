"""Compares these scripts with maps made elsewhere for a trained network: check_resnet20.py DATA_DIR.

DATA_DIR holds resnet20-12fca82f.th (a trained CIFAR-10 ResNet-20), cifar10/<class>/NNNN.png,
resnet20-logits.json and resnet20-reference.npz. It is not part of the repository.
"""
import json
import pathlib
import sys

import numpy as np
import torch
from PIL import Image

import lrp_reference
import networks
from methods import grad_cam, input_gradient, relative_rms
from zennit_maps import zennit_maps

COMPOSITES = {"zennit_EpsilonPlusFlat": "epsilon-plus-flat", "zennit_EpsilonGammaBox": "epsilon-gamma-box",
              "zennit_EpsilonAlpha2Beta1": "epsilon-alpha2-beta1"}


def load(path):
    state = torch.load(path, map_location="cpu")["state_dict"]
    model = networks.make("cifar_resnet20")
    state = {name.removeprefix("module."): value for name, value in state.items()}
    missing, unexpected = model.load_state_dict(state, strict=False)
    # Files from before PyTorch 0.4.1 have no batch counters.
    if unexpected or any(not name.endswith("num_batches_tracked") for name in missing):
        raise AssertionError(f"{path}: missing {missing}, unexpected {unexpected}")
    return model


def main():
    data = pathlib.Path(sys.argv[1])
    torch.set_num_threads(1)
    model = load(data / "resnet20-12fca82f.th")
    merged = networks.merge_batch_norms(load(data / "resnet20-12fca82f.th"))
    net = networks.folded(model)
    picture = lambda name: np.asarray(Image.open(data / "cifar10" / name).convert("RGB"))[None]

    logits = json.loads((data / "resnet20-logits.json").read_text())
    inputs = networks.normalise(np.concatenate([picture(name) for name in logits]))
    with torch.no_grad():
        own = model(inputs).numpy()
    stored = np.array(list(logits.values()))
    print(f"logits of {len(logits)} pictures: worst difference {np.abs(own - stored).max():.2g} (stored to 5 "
          "decimals)")

    reference = np.load(data / "resnet20-reference.npz")
    worst = {}

    def compare(key, value, expected):
        worst[key] = max(worst.get(key, 0), relative_rms(value, expected.astype(np.float64)))

    for i, name in enumerate(reference["picture"]):
        name = name if (data / "cifar10" / str(name)).is_file() else f"{name}/0000.png"
        x = networks.normalise(picture(str(name)))
        target = int(reference["target"][i])
        compare("logits", model(x)[0].detach().numpy(), reference["logits"][i])
        compare("input_gradient", input_gradient(model, x, target).numpy(), reference["input_gradient"][i])
        compare("grad_cam_8x8", grad_cam(model, x, target, "layer3"), reference["grad_cam_8x8"][i])
        maps = zennit_maps(merged, x, target)
        for key, composite in COMPOSITES.items():
            compare(f"{key}, by Zennit", maps[composite].numpy(), reference[key][i])
            own = lrp_reference.lrp_r_form(net, x, target, lrp_reference.ZENNIT[composite], start=1.0)
            compare(f"{key}, by our R form", own.numpy(), reference[key][i])
        start = float(model(x)[0, target])
        for key, config in lrp_reference.GOLDEN.items():
            value = lrp_reference.lrp_r_form(net, x, target, config)
            worst[f"{key}: |sum/start - 1|"] = max(worst.get(f"{key}: |sum/start - 1|", 0),
                                                   abs(float(value.sum()) / start - 1))
            if config.residual == "joint":
                compare(f"{key}: c form against R form",
                        lrp_reference.lrp_c_form(net, x, target, config).numpy(), value.numpy())
    for key, value in worst.items():
        print(f"{key}: {value:.3g}" + ("" if "sum" in key else " relative RMS, worst picture"))


if __name__ == "__main__":
    main()
