"""The command line where all goes well: what it prints and what it writes (the project's contract for both)."""

import json
import math
import os
import pty
import re
import subprocess
import unittest

from support import LABELS, LAYERS, RETRACE, Case, png, pixels, png_size, read_npy, run

MODELS = ["resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "wide_resnet50_2", "wide_resnet101_2",
          "resnext50_32x4d", "resnext101_32x8d", "resnext101_64x4d", "cifar_resnet20", "cifar_resnet32",
          "cifar_resnet44", "cifar_resnet56", "cifar_resnet110"]


class Program(Case):
    def test_version_and_help(self):
        self.assertRegex(self.good("--version").out, r"^\d+\.\d+\.\d+\n$")
        text = self.good("--help").out
        for command in ("devices", "models", "inspect", "import", "classify", "explain", "activations", "evaluate"):
            self.assertRegex(text, r"(?m)^  %s " % command)
            self.assertIn("--help", self.good(command, "--help").out)

    def test_devices(self):
        out = self.good("devices").out
        self.assertRegex(out, r"(?m)^sim +simulator on \d+ core")

    def test_models(self):
        names = [line.split()[0] for line in self.good("models").out.splitlines()]
        for name in MODELS:
            self.assertIn(name, names)
        self.assertEqual(len(names), len(set(names)))
        self.assertRegex(self.good("models").out, r"(?m)^resnet18 +11\.69 M parameters")


class Classify(Case):
    def test_text(self):
        r = self.good("classify", self.a, "--weights", self.w, "--device", "sim")
        lines = r.out.splitlines()
        self.assertEqual(lines[0], self.a)
        self.assertEqual(len(lines), 6)
        for line in lines[1:]:
            self.assertRegex(line, r"^ +\d+\.\d %  [a-z]+ \(\d\)  logit -?\d+\.\d{3}$")

    def test_json(self):
        r = self.good("classify", self.a, self.b, self.c, "--weights", self.w, "--top", 10, "--json")
        self.assertEqual([line["image"] for line in r.lines], [self.a, self.b, self.c])
        for line in r.lines:
            self.assertEqual(list(line), ["image", "top"])
            self.assertEqual(sorted(t["index"] for t in line["top"]), list(range(10)))
            for t in line["top"]:
                self.assertEqual(list(t), ["index", "label", "probability", "logit"])
                self.assertEqual(t["label"], LABELS[t["index"]])
            logits = [t["logit"] for t in line["top"]]
            self.assertEqual(logits, sorted(logits, reverse=True))
            # The probabilities are the softmax of the logits, to float32's rounding.
            total = sum(math.exp(z - logits[0]) for z in logits)
            for t in line["top"]:
                self.assertAlmostEqual(t["probability"], math.exp(t["logit"] - logits[0]) / total, delta=1e-5)
        # Three pictures are not one.
        self.assertEqual(len({json.dumps(line["top"]) for line in r.lines}), 3)

    def test_top(self):
        full = self.good("classify", self.a, "--weights", self.w, "--json", "--top", 10).lines[0]["top"]
        self.assertEqual(self.good("classify", self.a, "--weights", self.w, "--json").lines[0]["top"], full[:5])
        self.assertEqual(self.good("classify", self.a, "--weights", self.w, "--json", "--top", 1).lines[0]["top"],
                         full[:1])
        # More than there are: all.
        self.assertEqual(self.good("classify", self.a, "--weights", self.w, "--json", "--top", 99).lines[0]["top"],
                         full)

    def test_labels(self):
        # As editors on other systems write it: carriage returns, and empty lines at the end.
        labels = self.make("labels.txt", b"".join(b"Name %d\r\n" % i for i in range(10)) + b"\n\n")
        for t in self.good("classify", self.a, "--weights", self.w, "--labels", labels, "--json").lines[0]["top"]:
            self.assertEqual(t["label"], "Name %d" % t["index"])

    def test_folder(self):
        for name in ("z.png", "B.PNG", "a.jpeg"):
            self.make("pictures/" + name, png(32, 32, pixels(32, 32, 5)))
        self.make("pictures/readme.txt", b"no picture")
        self.make("pictures/below/deep.png", png(32, 32, pixels(32, 32, 6)))
        r = self.good("classify", self.path("pictures"), self.b, "--weights", self.w, "--json")
        self.assertEqual([os.path.basename(line["image"]) for line in r.lines], ["B.PNG", "a.jpeg", "z.png", "b.ppm"])

    def test_batches_agree(self):
        pictures = [self.make("p%d.png" % i, png(32, 32, pixels(32, 32, 10 + i))) for i in range(5)]
        command = ["classify", *pictures, "--weights", self.w, "--json", "--top", 10]
        one = self.good(*command, "--batch", 1).out
        # Bit for bit: no sum's order depends on the batch.
        self.assertEqual(self.good(*command, "--batch", 4).out, one)
        self.assertEqual(self.good(*command, "--batch", 4, "--threads", 1).out, one)

    def test_quiet_and_notes(self):
        r = self.good("classify", self.a, "--model", "cifar_resnet20")
        self.assertIn("seeded, untrained weights", r.err)
        r = self.good("classify", self.a, "--model", "cifar_resnet20", "--quiet")
        self.assertEqual(r.err, "")
        self.assertIn(self.a, r.out)

    def test_seeded_weights_are_reproducible(self):
        command = ["classify", self.a, "--model", "cifar_resnet20", "--json", "--quiet"]
        first = self.good(*command).out
        self.assertEqual(self.good(*command, "--seed", 1).out, first)
        self.assertNotEqual(self.good(*command, "--seed", 2).out, first)

    def test_preprocessing_options(self):
        command = ["classify", self.b, "--weights", self.w, "--json"]
        own = self.good(*command).out
        # The model's own, said aloud.
        self.assertEqual(self.good(*command, "--resize", 0, "--crop", 32, "--mean", "0.485,0.456,0.406",
                                   "--std", "0.229,0.224,0.225").out, own)
        for option in (["--resize", 32], ["--crop", 40], ["--mean", "0.5,0.5,0.5"], ["--std", "0.5", "0.5", "0.5"]):
            self.assertNotEqual(self.good(*command, *option).out, own, option)

    def test_options_before_pictures(self):
        r = self.good("classify", "--weights", self.w, "--mean", "0.5,0.5,0.5", "--json", "--", self.a, self.b)
        self.assertEqual(len(r.lines), 2)

    def test_no_progress_without_terminal(self):
        r = self.good("classify", self.a, self.b, self.c, "--weights", self.w, "--batch", 1)
        self.assertNotIn("\r", r.err)
        self.assertNotIn("\x1b", r.err)
        self.assertEqual(r.err, "")

    def on_terminal(self, *options):
        master, slave = pty.openpty()
        done = subprocess.Popen([RETRACE, "classify", "--device=sim", self.a, self.b, self.c, "--weights", self.w,
                                 "--batch", "1", "--json", *options],
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=slave)
        os.close(slave)
        out = done.communicate(timeout=120)[0].decode()
        seen = b""
        while True:
            try:
                more = os.read(master, 65536)
            except OSError:  # how Linux tells that the other side is closed
                break
            if not more:
                break
            seen += more
        os.close(master)
        self.assertEqual(done.returncode, 0)
        self.assertEqual([json.loads(line)["image"] for line in out.splitlines()], [self.a, self.b, self.c])
        return seen.decode()

    def test_progress_on_terminal(self):
        seen = self.on_terminal()
        self.assertRegex(seen, r"\rpictures \[[#.]{30}\] 0/3 ")
        self.assertRegex(seen, r"\rpictures \[#{30}\] 3/3 ")
        self.assertTrue(seen.endswith("\r\x1b[K"), repr(seen[-40:]))  # nothing stays behind
        self.assertEqual(self.on_terminal("--quiet"), "")

    def test_standard_input_closed(self):
        # The weights must not be opened as descriptor 0 and taken for input, nor anything else go wrong.
        done = subprocess.run([RETRACE, "classify", "--device=sim", self.a, "--weights", self.w, "--json"],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=lambda: os.close(0),
                              timeout=120)
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        self.assertEqual(json.loads(done.stdout)["image"], self.a)


class Explain(Case):
    map_keys = {"method", "png", "npy", "clip", "clip_percentile", "all_zero", "sum", "start", "milliseconds"}
    ledger_keys = ["start", "arrived", "absorbed_bias", "absorbed_epsilon", "dropped", "unexplained", "layers"]

    def explain(self, *arguments):
        return self.good("explain", *arguments, "--weights", self.w, "--out", self.path("out"), "--json").lines

    def test_three_methods(self):
        lines = self.explain(self.a, self.b)
        self.assertEqual([line["image"] for line in lines], [self.a, self.b])
        expected = []
        for line, stem in zip(lines, "ab"):
            self.assertEqual(list(line), ["image", "target", "maps"])
            target = line["target"]
            self.assertEqual(list(target), ["index", "label", "probability", "logit"])
            self.assertEqual(target["label"], LABELS[target["index"]])
            best = self.good("classify", line["image"], "--weights", self.w, "--json").lines[0]["top"][0]
            self.assertEqual(target, best)
            self.assertEqual([m["method"] for m in line["maps"]], ["input-gradient", "grad-cam", "lrp"])
            for m in line["maps"]:
                is_lrp = m["method"] == "lrp"
                self.assertEqual(set(m), self.map_keys | ({"ledger"} if is_lrp else set()))
                base = "%s.%s.%d" % (stem, m["method"], target["index"])
                expected += [base + ".npy", base + ".png"]
                self.assertEqual(m["png"], self.path("out/" + base + ".png"))
                self.assertEqual(m["npy"], self.path("out/" + base + ".npy"))
                self.assertFalse(m["all_zero"])
                self.assertGreater(m["clip"], 0)
                self.assertGreaterEqual(m["milliseconds"], 0)
                self.assertEqual(m["start"], target["logit"])
                width, height = png_size(m["png"])
                self.assertGreater(width, 2 * 224)  # picture and map side by side, enlarged
                self.assertGreaterEqual(height, 224)
                dtype, shape, values = read_npy(m["npy"])
                self.assertEqual(dtype, "<f4")
                self.assertEqual(shape, (32, 32) if m["method"] == "grad-cam" else (3, 32, 32))
                # Both are the double sum of the same floats, maybe in another order.
                self.assertAlmostEqual(m["sum"], math.fsum(values), delta=1e-9 * math.fsum(map(abs, values)))
                if m["method"] == "grad-cam":
                    self.assertGreaterEqual(min(values), 0)
                if is_lrp:
                    # What the design promises of the default composite: conserved (worst case seen 5e-5).
                    self.assertAlmostEqual(m["sum"] / m["start"], 1, delta=1e-4)
                    self.assertEqual(list(m["ledger"]), self.ledger_keys)
                    # The double sum of what was counted on the device in float32.
                    self.assertAlmostEqual(m["ledger"]["arrived"], m["sum"], delta=1e-5 * abs(m["start"]))
                    self.assertAlmostEqual(m["ledger"]["unexplained"], 0, delta=1e-4 * abs(m["start"]))
                    self.assertGreater(len(m["ledger"]["layers"]), 5)
                    for row in m["ledger"]["layers"]:
                        self.assertEqual(list(row), ["layer", "rule", "entering", "leaving", "absorbed_bias",
                                                     "absorbed_epsilon", "dropped"])
        self.assertEqual(self.listing("out"), sorted(expected))

    def test_text(self):
        r = self.good("explain", self.a, "--weights", self.w, "--out", self.path("out"))
        lines = r.out.splitlines()
        self.assertRegex(lines[0], r"^%s: [a-z]+ \(\d\), \d+\.\d %%, logit -?\d+\.\d+$" % re.escape(self.a))
        for method in ("input-gradient", "grad-cam", "lrp"):
            self.assertRegex(r.out, r"(?m)^  %s +sum -?\d+\.\d+ of -?\d+\.\d+ .*percentile 99\.5" % method)
        self.assertEqual(r.out.count("    ledger: "), 1)
        written = [line.strip() for line in lines if line.startswith("    " + self.folder)]
        self.assertEqual(sorted(os.path.basename(p) for p in written), self.listing("out"))

    def test_methods(self):
        def methods(*arguments):
            return [m["method"] for m in self.explain(self.a, "--save", "npy", *arguments)[0]["maps"]]

        self.assertEqual(methods("--method", "lrp;grad-cam"), ["lrp", "grad-cam"])
        self.assertEqual(methods("--method", "lrp", "--method", "input-gradient"), ["lrp", "input-gradient"])
        self.assertEqual(methods("--method", "grad-cam; lrp", "--method", "lrp:bias=absorb"),
                         ["grad-cam", "lrp", "lrp:bias=absorb"])

    def test_method_takes_one_argument(self):
        # Pictures after it are pictures.
        lines = self.explain("--method", "grad-cam", "--save", "npy", self.a, self.b)
        self.assertEqual([line["image"] for line in lines], [self.a, self.b])

    def test_method_options(self):
        options = ["lrp", "lrp:epsilon-plus-flat,bias=absorb,residual=split,start=one-hot", "lrp:gamma=0.5",
                   "grad-cam", "grad-cam:layer=layer2", "grad-cam:layer=layer2.2"]
        line = self.explain(self.a, "--save", "npy", *[x for m in options for x in ("--method", m)])[0]
        maps = {m["method"]: m for m in line["maps"]}
        self.assertEqual(list(maps), options)
        values = {name: read_npy(m["npy"])[2] for name, m in maps.items()}
        self.assertEqual(maps[options[1]]["start"], 1)
        self.assertNotEqual(values["lrp"], values["lrp:gamma=0.5"])
        self.assertNotEqual(values["grad-cam"], values["grad-cam:layer=layer2"])
        # A stage is its last block.
        self.assertEqual(values["grad-cam:layer=layer2"], values["grad-cam:layer=layer2.2"])
        index = line["target"]["index"]
        self.assertEqual(os.path.basename(maps["grad-cam:layer=layer2"]["npy"]),
                         "a.grad-cam_layer=layer2.%d.npy" % index)

    def test_targets(self):
        def targets(*arguments):
            lines = self.explain(self.a, "--method", "grad-cam", "--save", "npy", *arguments)
            return [line["target"]["index"] for line in lines]

        order = [t["index"] for t in
                 self.good("classify", self.a, "--weights", self.w, "--json", "--top", 10).lines[0]["top"]]
        self.assertEqual(targets(), order[:1])
        self.assertEqual(targets("--target", "top1"), order[:1])
        self.assertEqual(targets("--target", "top:3"), order[:3])
        self.assertEqual(targets("--target", "top:99"), order)
        self.assertEqual(targets("--target", order[4]), [order[4]])
        self.assertEqual(targets("--target", LABELS[order[5]]), [order[5]])
        labels = self.make("labels.txt", "\n".join("Tier %d" % i for i in range(10)).encode())
        self.assertEqual(targets("--target", "Tier 7", "--labels", labels), [7])
        self.assertEqual(self.listing("out"), sorted("a.grad-cam.%d.npy" % i for i in range(10)))

    def test_targets_of_a_batch(self):
        together = self.explain(self.a, self.b, "--target", "top:2", "--save", "npy")
        self.assertEqual([line["image"] for line in together], [self.a, self.a, self.b, self.b])
        saved = {name: read_npy(self.path("out/" + name))[2] for name in self.listing("out")}
        self.explain(self.a, self.b, "--target", "top:2", "--save", "npy", "--batch", 1)
        # Bit for bit: no sum's order depends on the batch.
        for name, values in saved.items():
            self.assertEqual(read_npy(self.path("out/" + name))[2], values, name)

    def test_save(self):
        def kinds(*arguments):
            m = self.explain(self.a, "--method", "grad-cam", *arguments)[0]["maps"][0]
            names = self.listing("out")
            for name in names:
                os.remove(self.path("out/" + name))
            return "png" in m, "npy" in m, {name.rsplit(".", 1)[1] for name in names}

        self.assertEqual(kinds("--save", "png"), (True, False, {"png"}))
        self.assertEqual(kinds("--save", "npy"), (False, True, {"npy"}))
        self.assertEqual(kinds("--save", "png,npy"), (True, True, {"png", "npy"}))
        self.assertEqual(kinds("--save", "npy", "--save", "png"), (True, True, {"png", "npy"}))
        self.assertEqual(kinds(), (True, True, {"png", "npy"}))

    def test_stems_that_collide(self):
        picture = png(32, 32, pixels(32, 32, 3))
        names = ["one/x.png", "two/x.png", "two/x.ppm", "one/y.png"]
        for name in names:
            self.make(name, picture)
        lines = self.explain(*[self.path(n) for n in names], "--method", "grad-cam", "--save", "npy")
        written = [os.path.basename(line["maps"][0]["npy"]) for line in lines]
        index = lines[0]["target"]["index"]
        self.assertEqual(written, ["%s.grad-cam.%d.npy" % (stem, index)
                                   for stem in ("one_x", "two_x_png", "two_x_ppm", "y")])
        self.assertEqual(self.listing("out"), sorted(written))

    def test_stems_that_collide_with_numbered_names(self):
        # The first name tried for the two spellings of d/a.png is another picture's stem.
        picture = png(32, 32, pixels(32, 32, 3))
        self.make("d/a.png", picture)
        self.make("e/d_a_png_1.png", picture)
        lines = self.explain(self.path("d/a.png"), self.path("d/./a.png"), self.path("e/d_a_png_1.png"),
                             "--method", "grad-cam", "--save", "npy")
        self.assertEqual(len({line["maps"][0]["npy"] for line in lines}), 3)
        self.assertEqual(len(self.listing("out")), 3)

    def test_same_picture_twice(self):
        lines = self.explain(self.a, self.a, "--method", "grad-cam", "--save", "npy")
        self.assertEqual(lines[0]["maps"][0]["npy"], lines[1]["maps"][0]["npy"])

    def test_folder_is_made_and_used_again(self):
        out = self.path("deep/er/out")
        for _ in range(2):
            self.good("explain", self.a, "--weights", self.w, "--method", "grad-cam", "--out", out, "--quiet")
        self.assertEqual(len(self.listing("deep/er/out")), 2)

    def test_warnings_name_the_picture(self):
        # Without the bias in its denominators epsilon divides by sums near 0: the ledger sees relevance explode.
        r = self.good("explain", self.a, self.b, "--weights", self.w, "--out", self.path("out"), "--method",
                      "lrp:epsilon,bias=ignore,epsilon=0", "--save", "npy")
        for line in r.err.splitlines():
            self.assertIn("unstable", line)
            self.assertTrue(self.a in line or self.b in line, line)
        self.assertNotEqual(r.err, "")


class Activations(Case):
    def activations(self, *arguments):
        return self.good("activations", *arguments, "--weights", self.w, "--out", self.path("out"), "--json").lines

    def test_table(self):
        r = self.good("activations", self.a, self.b, "--weights", self.w, "--out", self.path("out"))
        names = re.findall(r"(?m)^  ([a-z]\S*) +\[", r.out)
        self.assertEqual(names, LAYERS + LAYERS)
        self.assertEqual(self.listing("out"), [])

    def test_json(self):
        lines = self.activations(self.a, self.b)
        self.assertEqual([line["image"] for line in lines], [self.a, self.b])
        for line in lines:
            self.assertEqual(list(line), ["image", "layers"])
            self.assertEqual([layer["name"] for layer in line["layers"]], LAYERS)
            for layer in line["layers"]:
                self.assertEqual(list(layer), ["name", "op", "shape", "mean", "std", "min", "max", "zeros",
                                               "dead_channels"])
                self.assertLessEqual(layer["min"], layer["mean"])
                self.assertLessEqual(layer["mean"], layer["max"])
                self.assertTrue(0 <= layer["zeros"] <= 1)
            shapes = {layer["name"]: layer["shape"] for layer in line["layers"]}
            self.assertEqual((shapes["input"], shapes["layer2.2"], shapes["avgpool"], shapes["linear"]),
                             ([32, 32, 3], [16, 16, 32], [64], [10]))
            # The option-A shortcut pads 16 channels of zeros.
            shortcut = line["layers"][LAYERS.index("layer2.0.shortcut")]
            self.assertGreaterEqual(shortcut["dead_channels"], 16)
            # The last layer is the logits.
            top = self.good("classify", line["image"], "--weights", self.w, "--json", "--top", 10).lines[0]["top"]
            self.assertEqual(line["layers"][-1]["max"], top[0]["logit"])
            self.assertEqual(line["layers"][-1]["min"], top[-1]["logit"])
            # The mean of ten floats, added in double.
            self.assertAlmostEqual(line["layers"][-1]["mean"], sum(t["logit"] for t in top) / 10, delta=1e-9)

    def test_layers(self):
        layers = self.activations("--layer", "conv1,layer2", "--layer", "linear", self.a)[0]["layers"]
        drawn = {layer["name"]: layer["png"] for layer in layers if "png" in layer}
        # A stage is its last block; a vector is drawn too.
        self.assertEqual(sorted(drawn), ["conv1", "layer2.2", "linear"])
        self.assertEqual(self.listing("out"), sorted("a.activations.%s.png" % name for name in drawn))
        for path in drawn.values():
            self.assertGreater(min(png_size(path)), 48)  # at least one tile

    def test_all_layers(self):
        layers = self.activations(self.a, "--layer", "all")[0]["layers"]
        self.assertTrue(all("png" in layer for layer in layers))
        self.assertEqual(self.listing("out"), sorted("a.activations.%s.png" % name for name in LAYERS))

    def test_strongest(self):
        def area(*arguments):
            self.activations(self.a, "--layer", "layer1", *arguments)
            width, height = png_size(self.path("out/a.activations.layer1.2.png"))
            return width * height

        everything = area("--strongest", 0)
        self.assertEqual(area("--strongest", 16), everything)
        # A quarter of the tiles, under a title that has its own least width.
        self.assertLess(area("--strongest", 4), 0.7 * everything)


if __name__ == "__main__":
    unittest.main()
