"""`retrace train` where all goes well: the files that come out, and runs that go on where they were stopped."""

import json
import os
import pty
import random
import re
import signal
import subprocess
import unittest

from support import RETRACE, content_sha256, png, pixels, png_size, read_safetensors
from training import CLASSES, SCENES, VALIDATION, Training


class Files(Training):
    def test_validated_run(self):
        # The folder is made; warm-up 2 of 6 steps; validation at 3 and 6.
        out = "new/folder/net.safetensors"
        r = self.good(*self.command(out, "--validate", VALIDATION, "--validate-every", 3, "--log-every", 2,
                                    "--warm-up", 2, "--rate", 0.05, "--last-rate", 0.01))
        model, last, log, curves = self.files(out)
        self.assertEqual(self.listing("new/folder"), sorted(os.path.basename(f) for f in self.files(out)))
        self.assertRegex(r.err, r"^retrace: cifar_resnet20_w4 on scenes:[^\n]*: 64 pictures of 32x32, 8 classes; 6 "
                                r"steps of 8 \(0\.8 epochs\) on sim\n$")

        lines = self.log(out)
        training = [line for line in lines if "loss" in line]
        self.assertEqual([line["step"] for line in training], [2, 3, 4, 6])
        self.assertEqual([line["step"] for line in lines], [2, 3, 3, 4, 6, 6])
        for line in training:
            self.assertEqual(list(line), ["step", "epoch", "loss", "accuracy", "rate", "gradient_norm", "seconds"])
            self.assertEqual(line["epoch"], 0)
            self.assertGreater(line["loss"], 0.5)
            self.assertLess(line["loss"], 10)
            self.assertIn(line["accuracy"] * 16 % 1, (0,))  # of one or two batches of 8
            self.assertGreater(line["gradient_norm"], 0)
        self.assertEqual(sorted(line["seconds"] for line in training), [line["seconds"] for line in training])
        # Linear to the peak, then half a cosine to the last rate.
        for line, rate in zip(training, (0.05, 0.01 + 0.04 * (2 + 2 ** 0.5) / 4, 0.03, 0.01)):
            self.assertAlmostEqual(line["rate"], rate, delta=1e-12)
        validated = [line for line in lines if "loss" not in line]
        for line, step in zip(validated, (3, 6)):
            self.assertEqual(list(line), ["step", "validation_loss", "validation_accuracy"])
            self.assertEqual(line["step"], step)
            self.assertEqual(line["validation_accuracy"] * 16 % 1, 0)

        best = max(validated, key=lambda line: line["validation_accuracy"])
        accuracies = (100 * best["validation_accuracy"], VALIDATION, best["step"],
                      100 * validated[-1]["validation_accuracy"])
        summary, *names = r.out.splitlines()
        self.assertRegex(summary, "^" + re.escape(model) + r": cifar_resnet20_w4 after 6 steps, \d+ s; accuracy "
                         + re.escape("%.2f %% on %s (best, at step %d; at the end %.2f %%)" % accuracies) + "$")
        self.assertEqual(names, ["  " + name for name in (last, log, curves)])
        self.assertEqual(png_size(curves), (3 * 480, 320))

        # The model says what it is, and is used as it says.
        notes = read_safetensors(model)[0]
        for key, value in {"model": "cifar_resnet20_w4", "classes": "8", "crop": "32", "resize": "0", "steps":
                           str(best["step"]), "trained_on": SCENES, "validated_on": VALIDATION, "accuracy":
                           "%g" % best["validation_accuracy"], "mean": "0.485 0.456 0.406"}.items():
            self.assertEqual(notes[key], value)
        self.assertEqual(json.loads(notes["labels"]), CLASSES)
        for file in (model, last):
            self.assertEqual(read_safetensors(file)[0]["content_sha256"], content_sha256(file))
        text = self.good("inspect", model).out
        for words in ("  model = cifar_resnet20_w4\n", "  crop = 32\n", "  labels = [\"circle\",",
                      "with 8 classes: all 97 tensors by name and shape\n"):
            self.assertIn(words, text)
        top = self.good("classify", self.b, "--weights", model, "--top", 8, "--json").lines[0]["top"]
        self.assertEqual(sorted(t["label"] for t in top), sorted(CLASSES))
        # The state is a model too, with the optimizer's arrays beside it.
        self.assertIn("state was left out", self.good("classify", self.b, "--weights", last).err)

        # A run that is complete says so again, and computes nothing.
        before = self.snapshot()
        again = self.good(*self.command(out, "--validate", VALIDATION, "--validate-every", 3, "--log-every", 2,
                                        "--warm-up", 2, "--rate", 0.05, "--last-rate", 0.01, "--resume"))
        self.assertEqual(again.err, "retrace: the run is complete\n")
        self.assertEqual(re.sub(r"\d+ s", "", again.out), re.sub(r"\d+ s", "", r.out))
        self.assertEqual(self.snapshot(), before)

    def test_own_pictures(self):
        # Of any size; the model's own input, f16, a fresh head on trained weights of the same classes.
        for label in ("dog", "cat"):
            for i, side in enumerate((32, 40, 57, 20)):
                self.make("data/%s/%d.png" % (label, i), png(side, 24, pixels(side, 24, i)))
        data = "folder:" + self.path("data")
        shape = {"data": data, "batch": 4, "steps": 2}
        r = self.good(*self.command("net.safetensors", "--dtype", "f16", "--optimizer", "adamw", "--augment",
                                    "crop=2,flip", "--quiet", **shape))
        self.assertEqual(r.err, "")
        model, last = self.files("net.safetensors")[:2]
        notes, tensors = read_safetensors(model)
        self.assertEqual({t[0] for t in tensors.values()}, {"F16"})
        self.assertEqual({t[0] for t in read_safetensors(last)[1].values()}, {"F32"})
        self.assertNotIn("accuracy", notes)
        self.assertEqual((json.loads(notes["labels"]), notes["crop"]), (["cat", "dog"], "32"))
        top = self.good("classify", self.a, "--weights", model, "--json").lines[0]["top"]
        self.assertEqual(sorted(t["label"] for t in top), ["cat", "dog"])
        self.good(*self.command("more.safetensors", "--weights", model, **shape))
        # --crop and its companions end in the file, and classify follows them.
        self.good(*self.command("small.safetensors", "--crop", 24, "--resize", 28, "--mean", "0.5,0.5,0.5", "--std",
                                "0.2,0.2,0.2", data=data, batch=4, steps=1))
        notes = read_safetensors(self.files("small.safetensors")[0])[0]
        self.assertEqual([notes[k] for k in ("crop", "resize", "mean", "std")],
                         ["24", "28", "0.5 0.5 0.5", "0.2 0.2 0.2"])

    def test_seeds(self):
        first, same, other = ("%d.safetensors" % i for i in range(3))
        self.good(*self.command(first, steps=1))
        self.good(*self.command(same, "--seed", 1, "--threads", 1, "--workers", 3, steps=1))
        self.good(*self.command(other, "--seed", 2, steps=1))
        self.assertSameRun(first, same)
        self.assertNotEqual(read_safetensors(self.files(first)[0])[1], read_safetensors(self.files(other)[0])[1])

    def test_progress_only_on_a_terminal(self):
        master, slave = pty.openpty()
        done = subprocess.Popen([RETRACE, *self.command("net.safetensors", steps=2), "--device=sim"],
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=slave)
        os.close(slave)
        out = done.communicate(timeout=120)[0].decode()
        seen = b""
        try:
            while more := os.read(master, 65536):
                seen += more
        except OSError:  # how Linux tells that the other side is closed
            pass
        os.close(master)
        self.assertEqual(done.returncode, 0)
        self.assertNotIn("\r", out)
        seen = seen.decode()
        self.assertRegex(seen, r"\rtraining \[\.{30}\] 0/2 ")
        self.assertRegex(seen, r"\rtraining \[#{30}\] 2/2 [^\r]*  loss \d\.\d{3}, accuracy \d+\.\d %, rate ")
        self.assertTrue(seen.endswith("\r\x1b[K"), repr(seen[-40:]))


class Resumed(Training):
    """A straight run of 12 steps, and runs of the same settings that were stopped."""

    steps = 12
    # Windows of the log, checkpoints and validations do not meet; a moving average has a state of its own.
    options = ["--validate", VALIDATION, "--validate-every", "5", "--checkpoint-every", "2", "--log-every", "3",
               "--average", "0.9", "--augment", "crop=4,flip", "--dropout", "0.1"]

    def setUp(self):
        super().setUp()
        self.r = random.Random(os.environ.get("RETRACE_TEST_SEED", 1))
        self.good(*self.command("straight.safetensors", *self.options, steps=self.steps))
        self.mine = self.command("stopped.safetensors", *self.options, steps=self.steps)

    def test_killed(self):
        for attempt in range(2):
            code, _ = self.interrupt(self.mine + ["--resume"] * attempt, signal.SIGKILL,
                                     self.logged("stopped.safetensors", 3 + 5 * attempt), 0.1 * self.r.random())
            if code == 0:
                break  # it was done already
            self.assertEqual(code, -signal.SIGKILL)
            # A kill leaves no file half-written but perhaps a temporary one and the log's last line.
            for name in self.files("stopped.safetensors")[:2]:
                if os.path.exists(name):
                    read_safetensors(name)
        with open(self.files("stopped.safetensors")[2], "a") as file:
            file.write('{"step":9,"epoch":1,"lo')
        r = self.good(*self.mine, "--resume", "--threads", 1, "--workers", 2)
        if code != 0:
            self.assertRegex(r.err, r"^retrace: going on at step \d+ of 12\n$")
        self.assertSameRun("straight.safetensors", "stopped.safetensors")
        self.assertEqual(png_size(self.files("stopped.safetensors")[3]), (1440, 320))

    def test_interrupted(self):
        # First before the log's first line is there, then between lines, then about when validation begins.
        resumed = []
        for how, step in ((signal.SIGINT, 0), (signal.SIGTERM, 3), (signal.SIGINT, 5)):
            # A line that an earlier run logged would end this one before it listens.
            step = max([step] + [line["step"] + 1 for line in self.log("stopped.safetensors")] if resumed else [step])
            ready = self.logged("stopped.safetensors", step)
            if not resumed:
                ready = lambda: os.path.exists(self.files("stopped.safetensors")[2])
            code, err = self.interrupt(self.mine + resumed, how, ready)
            lines = err.splitlines()
            self.assertEqual(code, 1, err)
            self.assertRegex(lines[-1], r"^retrace: error: stopped at step \d+ of 12; --resume goes on$")
            self.assertEqual(len([line for line in lines if "error" in line]), 1)
            self.assertEqual(self.log("stopped.safetensors"), [
                {**line, "seconds": mine["seconds"]} if "seconds" in line else line for line, mine in
                zip(self.log("straight.safetensors"), self.log("stopped.safetensors"))])
            resumed = ["--resume"]
        self.good(*self.mine, "--resume")
        self.assertSameRun("straight.safetensors", "stopped.safetensors")

    def test_best_model_is_gone(self):
        model = self.files("straight.safetensors")[0]
        os.remove(model)
        r = self.good(*self.command("straight.safetensors", *self.options, "--resume", steps=self.steps))
        self.assertIn("is gone", r.err)
        self.assertEqual(read_safetensors(model)[0]["steps"], "12")
        self.assertEqual([line["step"] for line in self.log("straight.safetensors")],
                         [3, 5, 5, 6, 9, 10, 10, 12, 12])


if __name__ == "__main__":
    unittest.main()
