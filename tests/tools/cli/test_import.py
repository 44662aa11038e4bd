"""retrace import and inspect: names of the field, --map, --dry-run, --check, what is written and shown."""

import io
import json
import os
import pickle
import re
import struct
import sys
import types
import unittest
import zipfile

from support import Case, content_sha256, read_safetensors, safetensors, seeded_weights

MODEL = "cifar_resnet20"


# What torch.save writes, by pickle alone: its names are made up, so that pickle finds them.

class Tensor:
    def __init__(self, shape, values):
        self.shape, self.values = shape, values


class Storage:
    def __init__(self, key, values):
        self.key, self.values = key, values


def torch_names():
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")

    def rebuild(*arguments):
        raise NotImplementedError

    rebuild.__name__ = rebuild.__qualname__ = "_rebuild_tensor_v2"
    rebuild.__module__ = "torch._utils"
    utils._rebuild_tensor_v2 = rebuild
    torch.FloatStorage = type("FloatStorage", (), {"__module__": "torch"})
    torch._utils = utils
    sys.modules["torch"], sys.modules["torch._utils"] = torch, utils
    return torch


def torch_zip(saved):
    torch, storages, out = torch_names(), [], io.BytesIO()

    class Pickler(pickle.Pickler):
        def persistent_id(self, value):
            if isinstance(value, Storage):
                return ("storage", torch.FloatStorage, value.key, "cpu", len(value.values))
            return None

        def reducer_override(self, value):
            if not isinstance(value, Tensor):
                return NotImplemented
            storages.append(Storage(str(len(storages)), value.values))
            strides = [1]
            for side in reversed(value.shape[1:]):
                strides.insert(0, strides[0] * side)
            strides = tuple(strides[:len(value.shape)])
            return torch._utils._rebuild_tensor_v2, (storages[-1], 0, tuple(value.shape), strides, False, {})

    text = io.BytesIO()
    Pickler(text, protocol=2).dump(saved)
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("net/data.pkl", text.getvalue())
        archive.writestr("net/.format_version", "1")
        archive.writestr("net/byteorder", "little")
        for s in storages:
            archive.writestr("net/data/" + s.key, struct.pack("<%df" % len(s.values), *s.values))
        archive.writestr("net/version", "3\n")
    return out.getvalue()


def tensors_of(weights, prefix=""):
    return {prefix + name: Tensor(shape, values) for name, (shape, values) in weights.items()}


def renamed(weights, rename):
    return {rename(name): value for name, value in weights.items()}


class Importing(Case):
    def setUp(self):
        super().setUp()
        self.out = self.path("out.safetensors")

    def take(self, file, *arguments):
        """Imports the file; what is said on standard error and what was written."""
        r = self.good("import", file, "--model", MODEL, "--out", self.out, *arguments)
        return r, read_safetensors(self.out)

    def plain(self):
        """What importing the plain file writes."""
        return self.take(self.w)[1]

    def refused(self, code, words, file, *arguments):
        if os.path.exists(self.out):
            os.remove(self.out)
        r = self.bad(code, words, "import", file, "--model", MODEL, "--out", self.out, *arguments)
        self.assertFalse(os.path.exists(self.out))
        self.assertEqual([name for name in os.listdir(self.folder) if "out" in name], [])
        return r


class Names(Importing):
    def test_a_common_prefix(self):
        w = self.make("p.safetensors", safetensors(renamed(seeded_weights(), lambda n: "model.net." + n)))
        r, written = self.take(w)
        self.assertIn("prefix 'model.net.' removed from every name", r.err)
        self.assertEqual(written, self.plain())

    def test_lightning(self):
        saved = {"epoch": 3, "pytorch-lightning_version": "2.4.0", "state_dict": tensors_of(seeded_weights(), "net."),
                 "hyper_parameters": {"lr": 0.1}, "optimizer_states": [{"state": {0: Tensor((2,), [1, 2])}}]}
        w = self.make("lightning.ckpt", torch_zip(saved))
        r, written = self.take(w)
        for words in ("entry 'state_dict'", "'hyper_parameters' (dict)", "'optimizer_states' (list)", "prefix 'net.'"):
            self.assertIn(words, r.err)
        self.assertEqual(written, self.plain())
        r = self.good("classify", self.a, "--weights", w)
        self.assertIn("prefix 'net.' removed", r.err)
        self.assertEqual(r.out, self.good("classify", self.a, "--weights", self.w).out)

    def test_plain_and_averaged(self):
        plain, averaged = seeded_weights(1), seeded_weights(2)
        averaged_alone = self.take(self.make("a.safetensors", safetensors(averaged)))[1]
        plain_alone = self.take(self.make("b.safetensors", safetensors(plain)))[1]
        ema = dict(tensors_of(averaged, "module."), n_averaged=Tensor((), [5]))
        both = {"timm.pth": torch_zip({"state_dict": tensors_of(plain), "state_dict_ema": tensors_of(averaged)}),
                "torchvision.pth": torch_zip({"model": tensors_of(plain), "model_ema": ema, "epoch": 1}),
                "ema.safetensors": safetensors({**plain, **renamed(averaged, lambda n: "ema." + n)})}
        for name, data in both.items():
            w = self.make(name, data)
            r, written = self.take(w)
            self.assertIn("the plain weights are taken; averaged ones are there too", r.err)
            self.assertEqual(written, plain_alone, name)
            r, written = self.take(w, "--ema")
            self.assertIn("the averaged weights are taken", r.err)
            self.assertEqual(written, averaged_alone, name)
            self.assertEqual(self.good("classify", self.a, "--weights", w, "--ema").out,
                             self.good("classify", self.a, "--weights", self.path("a.safetensors")).out)
        self.refused(1, [self.w, "no averaged weights", "--ema"], self.w, "--ema")
        self.bad(2, ["--ema", "--weights"], "classify", self.a, "--ema")

    def test_a_deep_stem_is_refused(self):
        tensors = seeded_weights()
        tensors["conv1.0.weight"] = tensors.pop("conv1.weight")
        tensors["conv1.3.weight"] = ((16, 16, 3, 3), [0.0] * 2304)
        w = self.make("deep.safetensors", safetensors(tensors))
        self.refused(1, [w, "deep stem", "conv1.0", "expected " + MODEL], w)
        self.assertIn("it is a ResNet with a deep stem", self.good("inspect", w).out)

    def test_any_head(self):
        w = self.make("seven.safetensors", safetensors(seeded_weights(classes=7)))
        r, (metadata, _) = self.take(w)
        self.assertIn("the classifier has 7 classes (usual for %s: 10)" % MODEL, r.err)
        self.assertEqual(metadata["classes"], "7")
        self.assertNotIn("labels", metadata)


class Maps(Importing):
    def test_in_order(self):
        odd = renamed(seeded_weights(), lambda n: re.sub(r"layer(\d)\.(\d)", r"stage\1_block\2", "x." + n))
        w = self.make("odd.safetensors", safetensors(odd))
        self.refused(1, ["missing", "layer1.0.conv1.weight"], w)
        _, written = self.take(w, "--map", r"^x\.=", "--map", r"stage(\d)_block=layer$1.")
        self.assertEqual(written, self.plain())

    def test_refused(self):
        self.refused(2, ["--map 'conv('", "REGEX=REPLACEMENT"], self.w, "--map", "conv(")
        self.refused(2, ["--map 'conv(=x'", "no regular expression"], self.w, "--map", "conv(=x")
        self.refused(1, [self.w, "97 missing"], self.w, "--map", ".*=")

    def test_left_out(self):
        tensors = dict(seeded_weights(), **{"criterion.weight": ((2,), [1.0, 2.0])})
        w = self.make("criterion.safetensors", safetensors(tensors))
        self.refused(1, [w, "1 unexpected: 'criterion.weight'"], w)
        r, written = self.take(w, "--map", r"^criterion\..*=")
        self.assertIn("left out because --map leaves nothing of the name: 'criterion.weight'", r.err)
        self.assertEqual(written, self.plain())
        r = self.good("import", w, "--model", MODEL, "--dry-run", "--json", "--map", r"^criterion\..*=")
        self.assertNotIn("criterion.weight", [t["file"] for t in r.lines[0]["tensors"]])
        self.refused(1, [self.w, "both become 'x'"], self.w, "--map", r"bn.*=x", "--map", ".*x=x")
        w = self.make("long.safetensors", safetensors({**seeded_weights(), "a" * 600: ((1,), [1.0])}))
        self.refused(1, [w, "600 characters, expected at most 512"], w, "--map", "(a*)*b=c")


class DryRun(Importing):
    def lines(self, r):
        return [re.split(r" {2,}| (?=f32|i64|\[)", line.strip()) for line in r.out.splitlines()[1:]]

    def test_a_file_that_fits(self):
        tensors = renamed(seeded_weights(), lambda n: "model." + n)
        tensors["model.bn1.num_batches_tracked"] = ((), [1.0])
        w = self.make("p.safetensors", safetensors(tensors))
        before = sorted(os.listdir(self.folder))
        r = self.good("import", w, "--model", MODEL, "--dry-run")
        self.assertEqual(sorted(os.listdir(self.folder)), before)
        self.assertRegex(r.out, r"(?m)^model\.layer1\.0\.conv1\.weight +layer1\.0\.conv1\.weight +f32 +\[16, 16, 3, 3\] +taken$")
        self.assertRegex(r.out, r"(?m)^model\.bn1\.num_batches_tracked .* ignored \(counter\)$")
        self.assertEqual(len(r.out.splitlines()), 1 + len(tensors))
        self.assertIn("prefix 'model.' removed", r.err)
        line = self.good("import", w, "--model", MODEL, "--dry-run", "--json").lines[0]
        self.assertEqual((line["file"], line["model"], line["classes"], line["fits"]), (w, MODEL, 10, True))
        self.assertEqual(line["notes"], ["prefix 'model.' removed from every name",
                                         "the file names no classes: the usual ones of %s are taken (airplane … truck)" % MODEL])
        self.assertEqual(line["tensors"][0], {"file": "model.conv1.weight", "model": "conv1.weight", "dtype": "f32",
                                              "shape": [16, 3, 3, 3], "what": "taken"})
        self.assertEqual(line["tensors"][-1]["what"], "ignored")

    def test_the_file_s_own_names_are_shown_beside_mapped_ones(self):
        w = self.make("m.safetensors", safetensors(renamed(seeded_weights(), lambda n: n.replace("conv", "kernel"))))
        r = self.good("import", w, "--model", MODEL, "--dry-run", "--map", "kernel=conv")
        self.assertRegex(r.out, r"(?m)^kernel1\.weight +conv1\.weight +f32 .* taken$")

    def test_a_file_that_does_not_fit(self):
        tensors = seeded_weights()
        tensors["layer9.weight"] = tensors.pop("layer1.0.bn1.bias")
        tensors["linear.weight"] = ((10, 63), [0.0] * 630)
        w = self.make("odd.safetensors", safetensors(tensors))
        r = self.bad(1, [w, "does not fit", "layer9.weight"], "import", w, "--model", MODEL, "--dry-run")
        self.assertRegex(r.out, r"(?m)^layer9\.weight +layer9\.weight .* unexpected$")
        self.assertRegex(r.out, r"(?m)^- +layer1\.0\.bn1\.bias +- +\[16\] +missing$")
        self.assertRegex(r.out, r"(?m)^linear\.weight .* \[10, 63\] +wrong shape, expected \[10, 64\]$")
        r = self.bad(1, [w], "import", w, "--model", MODEL, "--dry-run", "--json")
        line = r.lines[0]
        self.assertFalse(line["fits"])
        self.assertIn({"file": None, "model": "layer1.0.bn1.bias", "dtype": None, "shape": None, "expected": [16],
                       "what": "missing"}, line["tensors"])
        self.assertIn({"file": "linear.weight", "model": "linear.weight", "dtype": "f32", "shape": [10, 63],
                       "expected": [10, 64], "what": "wrong shape"}, line["tensors"])

    def test_values_count_too(self):
        tensors = seeded_weights()
        tensors["conv1.weight"][1][3] = float("nan")
        w = self.make("nan.safetensors", safetensors(tensors))
        self.bad(1, [w, "conv1.weight", "nan"], "import", w, "--model", MODEL, "--dry-run")

    def test_usage(self):
        self.bad(2, ["--out"], "import", self.w, "--model", MODEL)
        self.refused(2, ["--json", "--dry-run"], self.w, "--json")
        self.refused(2, ["--check", "--dry-run"], self.w, "--dry-run", "--check", self.a)


class Metadata(Importing):
    def with_metadata(self, **metadata):
        return self.make("said.safetensors", safetensors(seeded_weights(), metadata))

    def test_what_an_own_file_says_is_kept(self):
        labels = json.dumps(["L%d" % i for i in range(10)])
        metadata = self.take(self.with_metadata(model=MODEL, labels=labels, resize="40", crop="36", mean="0.1 0.2 0.3"))[1][0]
        self.assertEqual([metadata[k] for k in ("labels", "resize", "crop", "mean")],
                         [labels.replace(" ", ""), "40", "36", "0.1 0.2 0.3"])
        self.assertNotIn("names no classes", self.take(self.with_metadata(model=MODEL, labels=labels))[0].err)
        self.assertIn("names no classes", self.take(self.with_metadata(model=MODEL))[0].err)

    def test_another_model_s_is_not(self):
        r, written = self.take(self.with_metadata(model="resnet18", resize="40"))
        self.assertIn("says it is a 'resnet18': its labels and preprocessing are not taken", r.err)
        self.assertEqual(written, self.plain())

    def test_numbers_beside_pytorch_s_weights_are_no_metadata_of_ours(self):
        beside = {"model": MODEL, "resize": 256, "crop": 224, "mean": 0.5, "labels": "none"}
        w = self.make("beside.pth", torch_zip(dict(beside, state_dict=tensors_of(seeded_weights()))))
        self.assertEqual(self.take(w)[1], self.plain())
        self.assertEqual(self.good("classify", self.a, "--weights", w).out,
                         self.good("classify", self.a, "--weights", self.w).out)

    def test_refused(self):
        for metadata, words in (({"labels": '["a","b"]'}, "metadata labels: 2 of them, expected 10"),
                                ({"labels": "cat"}, "metadata labels: expected a JSON list of strings"),
                                ({"crop": "16385"}, "metadata crop: '16385', expected a number from 1 to 16384"),
                                ({"mean": "0.5"}, "metadata mean: '0.5', expected three numbers")):
            w = self.with_metadata(model=MODEL, **metadata)
            self.refused(1, [w + ": " + words], w)
            self.bad(1, [w + ": " + words], "import", w, "--model", MODEL, "--dry-run")
            self.bad(1, [w + ": " + words], "classify", self.a, "--weights", w)

    def test_values_that_do_not_fit(self):
        tensors = seeded_weights()
        tensors["conv1.weight"][1][3] = 70000.0
        w = self.make("large.safetensors", safetensors(tensors))
        self.refused(1, [w + ": tensor 'conv1.weight': value 70000 does not fit f16"], w, "--dtype", "f16")
        tensors = seeded_weights()
        tensors["bn1.running_var"][1][3] = -1.0
        w = self.make("negative.safetensors", safetensors(tensors))
        self.refused(1, [w + ": ", "variance -1 plus epsilon 1e-05 is not above 0"], w, "--fold-bn")


class Contents(Importing):
    def test_hash(self):
        for dtype in ("f32", "bf16"):
            _, (metadata, _) = self.take(self.w, "--dtype", dtype)
            self.assertEqual(metadata["content_sha256"], content_sha256(self.out))
            r = self.good("inspect", self.out)
            self.assertIn("content_sha256 = " + metadata["content_sha256"], r.out)
            self.assertTrue(self.good("inspect", self.out, "--json").lines[0]["content_holds"])
            self.good("classify", self.a, "--weights", self.out)

    def test_changed_contents_are_refused(self):
        _, (metadata, _) = self.take(self.w)
        with open(self.out, "rb") as file:
            data = bytearray(file.read())
        data[-1] ^= 1
        w = self.make("changed.safetensors", data)
        now = content_sha256(w)
        words = [w, metadata["content_sha256"], now]
        self.bad(1, words, "classify", self.a, "--weights", w)
        self.refused(1, words, w)
        r = self.bad(1, words, "inspect", w)
        self.assertIn("fits " + MODEL, r.out)
        self.assertFalse(self.bad(1, words, "inspect", w, "--json").lines[0]["content_holds"])


class Training(Importing):
    COMMAND = ("train", "--data", "scenes:size=32,count=8,seed=1", "--model", MODEL, "--epochs", "1",
               "--batch", "8")

    def test_from_names_of_the_field(self):
        weights = seeded_weights(classes=8)
        outs = []
        for prefix in ("", "net."):
            w = self.make("w8.safetensors", safetensors(renamed(weights, lambda n: prefix + n)))
            outs.append(self.path("trained%d.safetensors" % len(outs)))
            r = self.good(*self.COMMAND, "--weights", w, "--out", outs[-1])
        self.assertIn("prefix 'net.' removed", r.err)
        self.assertEqual(*[read_safetensors(out)[1] for out in outs])

    def test_from_changed_contents(self):
        w = self.make("w8.safetensors", safetensors(seeded_weights(classes=8), {"content_sha256": "0" * 64}))
        self.bad(1, [w, "SHA-256", "0" * 64], *self.COMMAND, "--weights", w, "--out", self.path("trained.safetensors"))
        self.assertFalse(os.path.exists(self.path("trained.safetensors")))


class Inspecting(Importing):
    def test_nothing_in_a_file_steers_the_terminal(self):
        evil = "evil\x1b[31m\nretrace: fits"
        w = self.make("evil.safetensors", safetensors(dict(seeded_weights(), **{evil: ((1,), [1.0])}), {evil: evil}))
        for r in (self.good("inspect", w), self.bad(1, [w], "import", w, "--model", MODEL, "--dry-run")):
            self.assertNotIn("\x1b", r.out + r.err)
            self.assertIn(r"evil\x1b[31m\x0aretrace: fits", r.out)
        labels = json.dumps([evil] * 10)
        w2 = self.make("labels.safetensors", safetensors(seeded_weights(), {"model": MODEL, "labels": labels}))
        for command in (["classify", self.a], ["explain", self.a, "--method", "grad-cam", "--out", self.path("maps")]):
            text = self.good(*command, "--weights", w2).out
            self.assertNotIn("\x1b", text)
            self.assertIn(r"evil\x1b[31m\x0aretrace: fits", text)
        self.assertIn(evil, [t["name"] for t in self.good("inspect", w, "--json").lines[0]["tensors"]])

    def test_container(self):
        w = self.make("net.pt", torch_zip({"state_dict": tensors_of(seeded_weights())}))
        r = self.good("inspect", w)
        total = 4 * sum(len(values) for _, values in seeded_weights().values())
        self.assertIn("pytorch zip, 97 tensors, %d bytes" % total, r.out)
        for words in ("container's version: 3", "container's .format_version: 1", "container's byteorder: little"):
            self.assertIn(words, r.out)
        line = self.good("inspect", w, "--json").lines[0]
        self.assertEqual(line["container"], {"version": "3", ".format_version": "1", "byteorder": "little"})
        self.assertEqual(line["bytes"], total)

    def test_why_it_fits(self):
        tensors = renamed(seeded_weights(), lambda n: "net." + n)
        tensors["net.bn1.num_batches_tracked"] = ((), [1.0])
        w = self.make("p.safetensors", safetensors(tensors))
        self.assertIn("fits %s with 10 classes, prefix 'net.' removed from every name: all 97 tensors by name and "
                      "shape, 1 counters ignored" % MODEL, self.good("inspect", w).out)

    def test_nearest(self):
        tensors = seeded_weights()
        tensors["layer9.weight"] = tensors.pop("layer1.0.bn1.bias")
        tensors["linear.weight"] = ((10, 63), [0.0] * 630)
        w = self.make("odd.safetensors", safetensors(tensors))
        out = self.good("inspect", w).out
        self.assertIn("fits no known model; nearest is %s with 10 classes, from which 3 tensors differ:" % MODEL, out)
        nearest = self.good("inspect", w, "--json").lines[0]["nearest"]
        self.assertEqual((nearest["name"], nearest["differing"]), (MODEL, 3))
        self.assertEqual(sorted(nearest["differences"]), ["'layer1.0.bn1.bias' is missing", "'layer9.weight' is unexpected",
                                                          "'linear.weight' is [10, 63], expected [10, 64]"])
        for difference in nearest["differences"]:
            self.assertIn("    " + difference + "\n", out)
        for name in list(tensors)[:20]:
            tensors["other." + name] = tensors.pop(name)
        w = self.make("odder.safetensors", safetensors(tensors))
        nearest = self.good("inspect", w, "--json").lines[0]["nearest"]
        self.assertEqual(len(nearest["differences"]), 3)
        self.assertGreater(nearest["differing"], 20)


class Check(Importing):
    PATTERN = r"(?m)^.*: logits differ by at most (\S+), relative to the largest (\S+); the best class agrees \(\d\)$"

    def check(self, *arguments):
        r, _ = self.take(self.w, "--check", self.a, "--device", "sim", *arguments)
        self.assertIn(self.a, r.out)
        return tuple(map(float, re.search(self.PATTERN, r.out).groups()))

    def test_what_is_written_answers_as_what_was_read(self):
        # The source runs with its batch norms apart, what was written folds them: float32's rounding lies between.
        for arguments in ((), ("--fold-bn",)):
            absolute, relative = self.check(*arguments)
            self.assertTrue(0 < relative < 1e-5, relative)
        # bf16 keeps 8 bits: a difference must be seen, and is no failure.
        absolute, relative = self.check("--dtype", "bf16")
        self.assertGreater(absolute, 0)
        self.assertTrue(0 < relative < 0.2, relative)

    def test_quiet(self):
        r, _ = self.take(self.w, "--check", self.a, "--device", "sim", "--quiet")
        self.assertEqual((r.out, r.err), ("", ""))

    def test_nothing_is_written_where_the_check_cannot_be_made(self):
        self.refused(1, ["missing.png"], self.w, "--check", "missing.png", "--device", "sim")
        self.refused(2, ["nonsense"], self.w, "--check", self.a, "--device", "nonsense")


if __name__ == "__main__":
    unittest.main()
