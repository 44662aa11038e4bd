"""Gradients and Grad-CAM of any model, agreed to by Captum and pytorch-grad-cam, and comparisons."""
import captum.attr
import numpy as np
import pytorch_grad_cam
import torch
import torch.nn.functional as F
from safetensors.numpy import load_file


def relative_rms(a, b):
    return float(np.linalg.norm(np.asarray(a, np.float64) - b) / np.linalg.norm(b))


def expect_close(what, a, b, tolerance):
    rms = relative_rms(a, b)
    if not rms <= tolerance:
        raise AssertionError(f"{what}: relative RMS {rms:.3g}, expected at most {tolerance:g}")


def input_gradient(model, x, target):
    leaf = x.clone().requires_grad_()
    gradient, = torch.autograd.grad(model(leaf)[0, target], leaf)
    captum_product = captum.attr.InputXGradient(model).attribute(x.clone().requires_grad_(), target=target)
    expect_close("Captum's input x gradient", (x * gradient).numpy(), captum_product.detach().numpy(), 1e-12)
    return gradient[0]


def grad_cam(model, x, target, layer, tolerance=1e-12):
    """[h, w] by Captum, agreed to by pytorch-grad-cam."""
    module = getattr(model, layer)
    cam = captum.attr.LayerGradCam(model, module).attribute(x, target=target, relu_attributions=True)[0, 0]
    other = pytorch_grad_cam.GradCAM(model=model, target_layers=[module])
    hooks = other.activations_and_grads
    hooks(x)[0, target].backward()
    # The names of its arguments notwithstanding, the base class uses activations and gradients only.
    raw = other.get_cam_image(x, module, None, hooks.activations[0].numpy(), hooks.gradients[0].numpy())
    hooks.release()
    cam = cam.detach().numpy()
    expect_close("pytorch-grad-cam", np.maximum(raw[0], 0), cam, tolerance)
    return cam


def upsample(cam, size):
    cam = torch.from_numpy(cam)[None, None]
    return F.interpolate(cam, size=(size, size), mode="bilinear", align_corners=False)[0, 0].numpy()


def check(path, tensors):
    """Stored and fresh values agree; float64 sums in another order may move a stored float32's last bit."""
    stored = load_file(path)
    if stored.keys() != tensors.keys():
        raise AssertionError(f"{path}: tensors differ: {sorted(stored.keys() ^ tensors.keys())}")
    worst = 0.0
    for name, value in tensors.items():
        if "float32_rms" in name:  # a measurement of rounding noise, not a value
            continue
        if value.dtype.kind == "f" and np.any(value):
            worst = max(worst, relative_rms(stored[name], value))
        elif not np.array_equal(stored[name], value):
            raise AssertionError(f"{path}: {name} differs")
    if worst > 1e-6:
        raise AssertionError(f"{path}: relative RMS of the worst tensor {worst:.3g}, expected at most 1e-6")
    print(f"{path}: worst tensor differs by a relative RMS of {worst:.3g}")
