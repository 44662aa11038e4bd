"""Weight files where all goes well: what inspect shows, and that what import writes is the network it read."""

import json
import os
import re
import struct
import unittest
import zipfile

from support import LABELS, Case, product, read_npy, safetensors, safetensors_header, seeded_weights

FIXTURES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "weights", "fixtures")


class Weights(Case):
    def top(self, weights, *arguments):
        lines = self.good("classify", self.a, self.b, "--weights", weights, "--top", 10, "--json", *arguments).lines
        return [{t["index"]: t["logit"] for t in line["top"]} for line in lines]

    def far(self, one, other):
        return max(abs(one[i][k] - other[i][k]) for i in range(len(one)) for k in one[i])

    def test_inspect(self):
        r = self.good("inspect", self.w)
        self.assertIn("safetensors, 97 tensors", r.out)
        self.assertIn("fits cifar_resnet20 with 10 classes", r.out)
        self.assertRegex(r.out, r"(?m)^  layer1\.0\.conv1\.weight +f32 +\[16,16,3,3\] ")

    def test_inspect_json(self):
        r = self.good("inspect", self.w, "--json")
        self.assertEqual(len(r.lines), 1)
        line = r.lines[0]
        self.assertEqual(list(line), ["file", "format", "container", "bytes", "metadata", "notes", "models", "nearest",
                                      "tensors"])
        self.assertEqual((line["file"], line["format"]), (self.w, "safetensors"))
        self.assertEqual(line["models"], [{"name": "cifar_resnet20", "classes": 10, "folded": False, "taken": 97,
                                           "ignored": 0, "names": []}])
        ours = seeded_weights()
        self.assertEqual({t["name"] for t in line["tensors"]}, set(ours))
        for t in line["tensors"]:
            shape, values = ours[t["name"]]
            self.assertEqual((t["dtype"], t["shape"], t["bytes"]), ("f32", list(shape), 4 * len(values)))
            # Our values are doubles, the file's are rounded to float32.
            size = max(map(abs, values))
            for key, value in (("min", min(values)), ("max", max(values)), ("mean", sum(values) / len(values))):
                self.assertAlmostEqual(t[key], value, delta=1e-6 * size)
            self.assertEqual((t["nan"], t["inf"]), (0, 0))

    def test_inspect_every_container(self):
        bytes_of = {"f64": 8, "f32": 4, "f16": 2, "bf16": 2, "i64": 8, "i32": 4, "i16": 2, "i8": 1, "u64": 8, "u32": 4,
                    "u16": 2, "u8": 1, "bool": 1}
        with zipfile.ZipFile(os.path.join(FIXTURES, "arrays.stored.npz")) as archive:
            archive.extractall(self.path("arrays"))
        for file, form, container in (
                (self.w, "safetensors", {}),
                (os.path.join(FIXTURES, "plain.zip.pt"), "pytorch zip", {"version": "3"}),
                (os.path.join(FIXTURES, "plain.legacy.pt"), "pytorch legacy", {"protocol": "1001"}),
                (os.path.join(FIXTURES, "plain.tar.pt"), "pytorch tar", {"protocol": "1000"}),
                (os.path.join(FIXTURES, "arrays.stored.npz"), "numpy npz", {"npy version": "1.0"}),
                (os.path.join(FIXTURES, "arrays.deflated.npz"), "numpy npz", {"npy version": "1.0"}),
                (self.path("arrays"), "numpy folder", {"npy version": "1.0"}),
                (self.path("arrays/fortran.npy"), "numpy array", {"npy version": "1.0"})):
            line = self.good("inspect", file, "--json").lines[0]
            text = self.good("inspect", file).out
            self.assertEqual((line["format"], line["container"]), (form, container), file)
            self.assertEqual(line["bytes"], sum(t["bytes"] for t in line["tensors"]))
            self.assertTrue(line["models"] or "fits no known model" in text)
            for key, value in container.items():
                self.assertIn("  container's %s: %s\n" % (key, value), text)
            for t in line["tensors"]:
                count = product(t["shape"])
                self.assertEqual(t["bytes"], count * bytes_of[t["dtype"]], t)
                keys = ["name", "dtype", "shape", "bytes"] + ["min", "max", "mean", "std"] * (count > 0) + ["nan", "inf"]
                self.assertEqual(list(t), keys)
                self.assertRegex(text, r"(?m)^  %s +%s +%s +%d( |$)" % (
                    re.escape(t["name"]), t["dtype"], re.escape(json.dumps(t["shape"], separators=(",", ":"))),
                    t["bytes"]))

    def test_inspect_counts_what_is_not_finite(self):
        odd = self.make("odd.safetensors", safetensors({"x": ((4,), [float("nan"), float("inf"), 1, 3])}))
        t = self.good("inspect", odd, "--json").lines[0]["tensors"][0]
        self.assertEqual((t["nan"], t["inf"], t["min"], t["max"], t["mean"]), (1, 1, 1, 3, 2))
        self.assertIn("1 NaN, 1 Inf", self.good("inspect", odd).out)
        self.assertIn("fits no known model", self.good("inspect", odd).out)

    def test_doubles_are_looked_at_as_doubles(self):
        values = [1e300, -2e300, 1e-300, 0.0]
        header = b'{"x":{"dtype":"F64","shape":[4],"data_offsets":[0,32]}}'
        wide = self.make("wide.safetensors", struct.pack("<Q", len(header)) + header + struct.pack("<4d", *values))
        t = self.good("inspect", wide, "--json").lines[0]["tensors"][0]
        self.assertEqual((t["nan"], t["inf"], t["min"], t["max"]), (0, 0, -2e300, 1e300))
        self.assertAlmostEqual(t["mean"] / -0.25e300, 1, delta=1e-12)
        close = self.make("close.safetensors",
                          struct.pack("<Q", len(header)) + header + struct.pack("<4d", *[1, 1, 1 + 1e-12, 1 + 1e-12]))
        t = self.good("inspect", close, "--json").lines[0]["tensors"][0]
        self.assertAlmostEqual(t["std"], 5e-13, delta=1e-15)

    def test_import_keeps_logits(self):
        own = self.top(self.w)
        scale = max(abs(z) for line in own for z in line.values())
        # Relative to the largest logit: f32 is exact; f16 rounds weights to 2^-11, bf16 to 2^-8, over 20 layers.
        for dtype, most in (("f32", 1e-6), ("f16", 0.01), ("bf16", 0.1)):
            out = self.path(dtype + ".safetensors")
            said = self.good("import", self.w, "--model", "cifar_resnet20", "--out", out, "--dtype", dtype)
            self.assertIn("cifar_resnet20 with 10 classes, 97 tensors as " + dtype, said.out)
            types = {t["dtype"] for name, t in safetensors_header(out).items() if name != "__metadata__"}
            self.assertEqual(types, {dtype.upper()})
            self.assertLess(self.far(self.top(out), own), most * scale, dtype)
            if dtype != "f32":
                self.assertGreater(self.far(self.top(out), own), 0, dtype)

    def test_import_to_numpy(self):
        own = self.top(self.w)
        out = self.path("out.npz")
        self.assertIn("97 tensors as f32", self.good("import", self.w, "--model", "cifar_resnet20", "--out", out).out)
        with zipfile.ZipFile(out) as archive:
            self.assertIsNone(archive.testzip())
            self.assertEqual(len(archive.namelist()), 97)
            archive.extractall(self.path("arrays"))
        dtype, shape, values = read_npy(os.path.join(self.path("arrays"), "linear.bias.npy"))
        self.assertEqual((dtype, shape, len(values)), ("<f4", (10,), 10))
        self.assertEqual(self.good("inspect", out, "--json").lines[0]["format"], "numpy npz")
        # The archive and its arrays in a folder are weights again; neither says which model's.
        for weights in (out, self.path("arrays")):
            self.assertEqual(self.top(weights, "--model", "cifar_resnet20"), own)

    def test_import_folds(self):
        out = self.path("folded.safetensors")
        self.assertIn("batch norm folded", self.good("import", self.w, "--model", "cifar_resnet20", "--out", out,
                                                     "--fold-bn").out)
        names = set(safetensors_header(out)) - {"__metadata__"}
        self.assertEqual(len(names), 2 * 19 + 2)
        self.assertFalse(any("bn" in name for name in names))
        own = self.top(self.w)
        # The same folding, done before or after it was written: float32 either way.
        self.assertLess(self.far(self.top(out), own), 1e-6 * max(abs(z) for line in own for z in line.values()))
        fits = self.good("inspect", out, "--json").lines[0]["models"]
        self.assertEqual(fits, [{"name": "cifar_resnet20", "classes": 10, "folded": True, "taken": 40, "ignored": 0,
                                 "names": []}])

    def test_import_of_another_head(self):
        w = self.make("seven.safetensors", safetensors(seeded_weights(classes=7)))
        out = self.path("out.safetensors")
        self.assertIn("7 classes", self.good("import", w, "--model", "cifar_resnet20", "--out", out).out)
        r = self.good("classify", self.a, "--weights", out, "--top", 10, "--json")
        self.assertEqual(sorted(t["index"] for t in r.lines[0]["top"]), list(range(7)))
        self.assertIn("7 classes", r.err)
        self.assertNotIn(r.lines[0]["top"][0]["label"], LABELS)

    def test_quiet_import(self):
        r = self.good("import", self.w, "--model", "cifar_resnet20", "--out", self.path("q.safetensors"), "--quiet")
        self.assertEqual((r.out, r.err), ("", ""))

    def test_import_says_what_it_was_made_for(self):
        out = self.path("out.safetensors")
        self.good("import", self.w, "--model", "cifar_resnet20", "--out", out)
        metadata = safetensors_header(out)["__metadata__"]
        self.assertEqual((metadata["model"], metadata["classes"], metadata["batch_norm"], metadata["crop"]),
                         ("cifar_resnet20", "10", "separate", "32"))

    def test_metadata_chooses_the_model(self):
        # The tensors are cifar_resnet20's; only the metadata can make the program say that cifar_resnet32's lack.
        w = self.make("says32.safetensors", safetensors(seeded_weights(), {"model": "cifar_resnet32"}))
        self.bad(1, [w, "missing", "layer1.3.conv1.weight"], "classify", self.a, "--weights", w)
        self.good("classify", self.a, "--weights", w, "--model", "cifar_resnet20")
        # A name from elsewhere is no reason to fail.
        w = self.make("other.safetensors", safetensors(seeded_weights(), {"model": "somebody's"}))
        self.good("classify", self.a, "--weights", w)


if __name__ == "__main__":
    unittest.main()
