#!/usr/bin/env python3
"""Makes the ONNX files in tests/weights/fixtures: exported by PyTorch 1.13 (Debian's python3-torch), and by hand.

Needs onnx==1.14.1 and onnxruntime==1.15.1 (with protobuf==4.24.4 and numpy==1.26.4) in an environment that sees the distribution's torch and
torchvision. The
values of exported networks are those of weights/seeded.h (tools/reference/seeded.py), of the others formulas that
test_onnx.cpp repeats. Narrow networks, net.*.onnx, are for
tests/engine/test_onnx_models.cpp; net.*.npz has onnxruntime's logits of its picture.
"""
import pathlib
import sys

import numpy as np
import onnx
import onnxruntime
import torch
import torchvision
from onnx import TensorProto, helper, numpy_helper

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tools/reference"))
from seeded import seeded_tensor  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent / "fixtures"


class Small(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = torch.nn.Conv2d(3, 4, 3, 2, 1, bias=False)
        self.bn1 = torch.nn.BatchNorm2d(4)
        self.conv2 = torch.nn.Conv2d(4, 4, 3, 1, 1, groups=2)
        self.bn2 = torch.nn.BatchNorm2d(4)
        self.fc = torch.nn.Linear(4, 5)

    def forward(self, x):
        x = torch.relu(self.bn1(self.conv1(x)))
        x = torch.relu(self.bn2(self.conv2(x)) + x)
        return self.fc(torch.flatten(torch.nn.functional.adaptive_avg_pool2d(x, 1), 1))


def seed(net):
    state = {name: t if t.dtype == torch.int64 else torch.from_numpy(seeded_tensor(name, tuple(t.shape), 1))
             for name, t in net.state_dict().items()}
    net.load_state_dict(state)
    return net.eval()


def export(net, name, size, opset, fold=True, training=False, **options):
    path = HERE / f"{name}.onnx"
    torch.onnx.export(net, torch.zeros(1, 3, size, size), str(path), opset_version=opset, do_constant_folding=fold,
                      training=torch.onnx.TrainingMode.PRESERVE if training else torch.onnx.TrainingMode.EVAL,
                      input_names=["image"], output_names=["logits"], **options)
    model = onnx.load(path)
    onnx.checker.check_model(model)
    return model


def values(kind):
    """Six numbers that every type holds, with the type's own extremes."""
    if kind == TensorProto.BOOL:
        return np.array([True, False, True, True, False, False]).reshape(2, 3)
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    if np.issubdtype(dtype, np.floating):
        return np.array([0, -0.0, 1.5, -2, 0.25, np.inf], dtype).reshape(2, 3)
    info = np.iinfo(dtype)
    return np.array([info.min, info.max, 0, 1, 2, 3], dtype).reshape(2, 3)


def types():
    """Each element type in raw_data and in its own field, both packed (as protobuf does) and not."""
    made, names = [], {TensorProto.FLOAT: "f32", TensorProto.DOUBLE: "f64", TensorProto.FLOAT16: "f16",
                       TensorProto.INT64: "i64", TensorProto.INT32: "i32", TensorProto.INT16: "i16",
                       TensorProto.INT8: "i8", TensorProto.UINT64: "u64", TensorProto.UINT32: "u32",
                       TensorProto.UINT16: "u16", TensorProto.UINT8: "u8", TensorProto.BOOL: "bool"}
    for kind, name in names.items():
        array = values(kind)
        made.append(helper.make_tensor(f"{name}.raw", kind, (2, 3), array.tobytes(), raw=True))
        flat = array.flatten()
        made.append(helper.make_tensor(f"{name}.typed", kind, (2, 3), flat))
    # bfloat16 and 8-bit floats, which NumPy has not: by their bits.
    floats = [0, -0.0, 1.5, -2, 0.25, 0.5]
    for kind, name in ((TensorProto.BFLOAT16, "bf16"), (TensorProto.FLOAT8E4M3FN, "f8_e4m3"),
                       (TensorProto.FLOAT8E5M2, "f8_e5m2")):
        made.append(helper.make_tensor(f"{name}.typed", kind, (2, 3), floats))
    made.append(helper.make_tensor("scalar", TensorProto.FLOAT, (), [2.5]))
    made.append(helper.make_tensor("empty", TensorProto.FLOAT, (0, 3), []))
    nodes = [
        helper.make_node("Constant", [], ["constant"], value=helper.make_tensor("x", TensorProto.INT64, (2,), [7, -8])),
        helper.make_node("Constant", [], ["real"], value_float=0.5),
        helper.make_node("Constant", [], ["reals"], value_floats=[0.5, 1.5]),
        helper.make_node("Constant", [], ["integer"], value_int=-3),
        helper.make_node("Constant", [], ["integers"], value_ints=[1, -2, 3]),
        helper.make_node("Constant", [], ["words"], value_string="text"),
        helper.make_node("Identity", ["f32.raw"], ["alias"]),
        helper.make_node("Identity", ["alias"], ["alias of the alias"]),
        helper.make_node("Add", ["x", "reals"], ["y"], name="sum"),
    ]
    graph = helper.make_graph(nodes, "types", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 2])],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 2])], made)
    model = helper.make_model(graph, producer_name="by hand", producer_version="1", opset_imports=[helper.make_opsetid("", 19)])
    model.ir_version = 9
    onnx.checker.check_model(model)
    onnx.save(model, HERE / "types.onnx")


class ResNet(torchvision.models.ResNet):
    """torchvision's with `width` channels in the first stage instead of 64."""

    def __init__(self, block, layers, width, classes):
        super().__init__(block, [1, 1, 1, 1], num_classes=classes)
        self.inplanes = width
        self.conv1, self.bn1 = torch.nn.Conv2d(3, width, 7, 2, 3, bias=False), torch.nn.BatchNorm2d(width)
        for stage, blocks in enumerate(layers):
            setattr(self, f"layer{stage + 1}", self._make_layer(block, width << stage, blocks, 2 if stage else 1))
        self.fc = torch.nn.Linear(block.expansion * width << 3, classes)


class CifarBlock(torch.nn.Module):
    def __init__(self, c, k, stride):
        super().__init__()
        self.conv1, self.bn1 = torch.nn.Conv2d(c, k, 3, stride, 1, bias=False), torch.nn.BatchNorm2d(k)
        self.conv2, self.bn2 = torch.nn.Conv2d(k, k, 3, 1, 1, bias=False), torch.nn.BatchNorm2d(k)
        self.added = k - c

    def forward(self, x):
        h = torch.relu(self.bn1(self.conv1(x)))
        h = self.bn2(self.conv2(h))
        if self.added:
            x = torch.nn.functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.added // 2, self.added // 2))
        return torch.relu(h + x)


class CifarResNet(torch.nn.Module):
    def __init__(self, n, width, classes):
        super().__init__()
        self.conv1, self.bn1 = torch.nn.Conv2d(3, width, 3, 1, 1, bias=False), torch.nn.BatchNorm2d(width)
        c = width
        for stage in range(3):
            blocks = []
            for i in range(n):
                blocks.append(CifarBlock(c, width << stage, 2 if i == 0 and stage > 0 else 1))
                c = width << stage
            setattr(self, f"layer{stage + 1}", torch.nn.Sequential(*blocks))
        self.linear = torch.nn.Linear(c, classes)

    def forward(self, x):
        x = torch.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        # Reshape and Softmax instead of Flatten and nothing: both are passed over.
        return torch.softmax(self.linear(x.mean((2, 3))), 1)


def squeezenet(width, classes):
    from torchvision.models.squeezenet import Fire, SqueezeNet
    net = SqueezeNet("1_1", num_classes=classes)
    of = lambda usual: usual * width // 64
    fire = lambda *usual: Fire(*(of(v) for v in usual))
    pool = lambda: torch.nn.MaxPool2d(3, 2, ceil_mode=True)
    net.features = torch.nn.Sequential(
        torch.nn.Conv2d(3, of(64), 3, 2), torch.nn.ReLU(), pool(), fire(64, 16, 64, 64), fire(128, 16, 64, 64), pool(),
        fire(128, 32, 128, 128), fire(256, 32, 128, 128), pool(), fire(256, 48, 192, 192), fire(384, 48, 192, 192),
        fire(384, 64, 256, 256), fire(512, 64, 256, 256))
    net.classifier[1] = torch.nn.Conv2d(of(512), classes, 1)
    return net


def with_statistics(net):
    """Seeded, and running statistics that are not 0 and 1: made from the bias beside them."""
    seed(net)
    state = net.state_dict()
    for name, tensor in state.items():
        if "running" in name:
            bias = state[name.rsplit(".", 1)[0] + ".bias"]
            tensor.copy_(bias * 0.5 if name.endswith("mean") else bias.abs() + 0.5)
    return net.eval()


def networks():
    basic, bottleneck = torchvision.models.resnet.BasicBlock, torchvision.models.resnet.Bottleneck
    for name, net, size, options in [
            ("net.resnet18_w2", ResNet(basic, (2, 2, 2, 2), 2, 7), 64, dict(opset=17)),
            ("net.resnet18_w1.unfolded", ResNet(basic, (2, 2, 2, 2), 1, 7), 64, dict(opset=11, training=True, fold=False)),
            ("net.resnet50_w1", ResNet(bottleneck, (3, 4, 6, 3), 1, 5), 64, dict(opset=11)),
            ("net.cifar_resnet20_w2", CifarResNet(3, 2, 10), 32, dict(opset=17)),
            ("net.cifar_resnet20_w2.unfolded", CifarResNet(3, 2, 10), 32, dict(opset=11, training=True, fold=False)),
            ("net.squeezenet1_1_w4", squeezenet(4, 9), 64, dict(opset=17))]:
        export(with_statistics(net), name, size, **options)
        picture = seeded_tensor("picture.weight", (1, 3, size, size), 1)
        logits, = onnxruntime.InferenceSession(str(HERE / f"{name}.onnx")).run(None, {"image": picture})
        np.savez_compressed(HERE / f"{name}.npz", logits=logits)


def main():
    HERE.mkdir(exist_ok=True)
    networks()
    types()
    net = seed(Small())
    export(net, "small.11", 8, 11)
    export(net, "small.17", 8, 17)
    export(net, "small.nofold", 8, 11, fold=False)
    model = export(net, "small.training", 8, 17, training=True)
    (HERE / "small.external.data").unlink(missing_ok=True)  # it would be appended to
    # The same with initialisers outside: one file, offsets aligned.
    onnx.save_model(model, str(HERE / "small.external.onnx"), save_as_external_data=True, all_tensors_to_one_file=True,
                    location="small.external.data", size_threshold=0)
    export(net, "small.old", 8, 9, keep_initializers_as_inputs=True)


if __name__ == "__main__":
    main()
