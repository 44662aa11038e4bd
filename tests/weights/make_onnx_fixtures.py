#!/usr/bin/env python3
"""Makes the ONNX files in tests/weights/fixtures: exported by PyTorch 1.13 (Debian's python3-torch), and by hand.

Needs onnx==1.14.1 (with protobuf==4.24.4 and numpy==1.26.4) in an environment that sees the distribution's torch. The
values of exported networks are those of weights/seeded.h (tools/reference/seeded.py), of the others formulas that
test_onnx.cpp repeats.
"""
import pathlib
import sys

import numpy as np
import onnx
import torch
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


def main():
    HERE.mkdir(exist_ok=True)
    types()
    net = seed(Small())
    export(net, "small.11", 8, 11)
    export(net, "small.17", 8, 17)
    export(net, "small.nofold", 8, 11, fold=False)
    model = export(net, "small.training", 8, 17, training=True)
    # The same with initialisers outside: one file, offsets aligned.
    onnx.save_model(model, str(HERE / "small.external.onnx"), save_as_external_data=True, all_tensors_to_one_file=True,
                    location="small.external.data", size_threshold=0)
    export(net, "small.old", 8, 9, keep_initializers_as_inputs=True)


if __name__ == "__main__":
    main()
