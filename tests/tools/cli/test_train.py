"""`retrace train`: what it writes, going on after a stop at any moment, and what it refuses."""

import json
import os
import random
import resource
import signal
import struct
import subprocess
import time
import unittest

from support import RETRACE, SANITIZED, Case, pixels, png, run, safetensors_header

DATA = "scenes:size=32,count=64,objects=1,texture=0"
VALIDATION = "scenes:size=32,count=12,objects=1,texture=0,seed=5"


def arrays(path):
    """Every tensor of a safetensors file as bytes, by name."""
    header = safetensors_header(path)
    with open(path, "rb") as file:
        data = file.read()
    start = 8 + struct.unpack("<Q", data[:8])[0]
    return {name: data[start + t["data_offsets"][0]:start + t["data_offsets"][1]]
            for name, t in header.items() if name != "__metadata__"}


class Training(Case):
    def command(self, name, *options, data=DATA, steps=7):
        """What is given in `options` takes the place of what is usual."""
        usual = {"--data": data, "--model": "cifar_resnet20_w4", "--batch": 8, "--steps": steps, "--log-every": 2,
                 "--average": 0.9, "--out": self.path(name + ".safetensors")}
        command = ["train", "--device=sim"]
        for option, value in usual.items():
            if option not in options:
                command += [option, str(value)]
        return command + [str(o) for o in options]

    def read(self, name):
        with open(self.path(name), "rb") as file:
            return file.read()

    def files(self, begin):
        return {n: self.read(n) for n in self.listing(".") if n.startswith(begin)}

    def log(self, name):
        with open(self.path(name + ".log.jsonl")) as file:
            lines = [json.loads(line) for line in file]
        for line in lines:
            line.pop("seconds", None)
        return lines

    def same_run(self, one, other):
        for kind in (".safetensors", ".last.safetensors"):
            a, b = arrays(self.path(one + kind)), arrays(self.path(other + kind))
            self.assertEqual(sorted(a), sorted(b))
            self.assertEqual([n for n in a if a[n] != b[n]], [])
        self.assertEqual(self.log(one), self.log(other))


class Runs(Training):
    def test_files(self):
        r = self.good(*self.command("m", "--validate", VALIDATION, "--validate-every", 3, "--dtype", "f16"))
        self.assertIn("after 7 steps", r.out)
        self.assertIn("accuracy", r.out)
        self.assertEqual([n for n in self.listing(".") if n.startswith("m.")],
                         ["m.curves.png", "m.last.safetensors", "m.log.jsonl", "m.safetensors"])
        lines = self.log("m")
        steps = [line["step"] for line in lines]
        self.assertEqual(steps, sorted(steps))
        training = [line for line in lines if "loss" in line]
        for line in training:
            self.assertEqual(sorted(line), ["accuracy", "epoch", "gradient_norm", "loss", "rate", "step"])
        self.assertEqual([line["step"] for line in lines if "validation_loss" in line], [3, 6, 7])
        header = safetensors_header(self.path("m.safetensors"))
        self.assertEqual(header["conv1.weight"]["dtype"], "F16")
        meta = header["__metadata__"]
        self.assertEqual((meta["model"], meta["classes"], meta["crop"], meta["resize"]),
                         ("cifar_resnet20_w4", "8", "32", "0"))
        labels = json.loads(meta["labels"])
        self.assertEqual(len(labels), 8)
        # The model says itself what it is, and the state is a model too.
        for file in ("m.safetensors", "m.last.safetensors"):
            line = self.good("classify", self.a, "--weights", self.path(file), "--json").lines[0]
            self.assertIn(line["top"][0]["label"], labels)
        # All that was asked for is done: going on has nothing to do and loses nothing.
        before = arrays(self.path("m.last.safetensors"))
        self.assertEqual(self.good(*self.command("m", "--validate", VALIDATION, "--validate-every", 3, "--dtype",
                                                 "f16", "--resume")).out.split(", ")[0], r.out.split(", ")[0])
        self.assertEqual(arrays(self.path("m.last.safetensors")), before)

    def test_going_on_is_not_stopping(self):
        options = ["--validate", VALIDATION, "--validate-every", 4, "--checkpoint-every", 1, "--augment",
                   "crop=2,flip,jitter=0.1", "--dropout", 0.1, "--clip", 1]
        self.good(*self.command("straight", *options, steps=12))
        for kind in (signal.SIGKILL, signal.SIGINT):
            name = kind.name
            process = subprocess.Popen([RETRACE] + self.command(name, *options, steps=12), stderr=subprocess.PIPE,
                                       stdout=subprocess.DEVNULL)
            # Not before there is something to go on from.
            while not os.path.exists(self.path(name + ".last.safetensors")) and process.poll() is None:
                time.sleep(0.002)
            time.sleep(random.Random(kind).random() * 0.2)
            process.send_signal(kind)
            err = process.communicate(timeout=120)[1].decode()
            if kind == signal.SIGINT and process.returncode != 0:
                self.assertEqual(process.returncode, 1, err)
                self.assertIn("--resume goes on", err)
            if kind == signal.SIGKILL:  # as if it had died while it wrote a line
                with open(self.path(name + ".log.jsonl"), "a") as file:
                    file.write('{"step": 12, "lo')
            left = [n for n in self.listing(".") if n.startswith(".")]
            self.good(*self.command(name, *options, "--resume", "--threads", 1, "--workers", 2, steps=12))
            self.same_run(name, "straight")
            if kind == signal.SIGINT:
                self.assertEqual(left, [])

    def test_two_optimizers_and_a_start(self):
        self.good(*self.command("a", "--optimizer", "adamw", "--rate", 0.01, steps=3))
        self.good(*self.command("b", "--weights", self.path("a.safetensors"), "--last-rate", 0.01, steps=2))
        names = sorted(n for n in arrays(self.path("b.last.safetensors")) if n.startswith("training."))
        self.assertEqual(names, ["training.average.decayed", "training.average.plain", "training.average.statistic",
                                 "training.velocity.decayed", "training.velocity.plain"])

    def test_folders(self):
        for label in ("one", "two"):
            for i in range(4):
                self.make("data/%s/%d.png" % (label, i), png(40, 36, pixels(40, 36, i)))
        data = "folder:" + self.path("data")
        self.good(*self.command("f", "--crop", 32, "--resize", 34, data=data, steps=2))
        self.assertEqual(json.loads(safetensors_header(self.path("f.safetensors"))["__metadata__"]["labels"]),
                         ["one", "two"])


class Failures(Training):
    def test_usage(self):
        def wrong(words, *options, steps=7):
            self.bad(2, words, *self.command("u", *options, steps=steps))
            self.assertEqual([n for n in self.listing(".") if n.startswith("u")], [])

        wrong(["--epochs", "--steps"], "--epochs", 1)
        wrong(["--epochs", "--steps"], steps=0)
        wrong(["nonsense", "resnet18"], "--model", "nonsense")
        wrong(["nonsense", "scenes"], "--data", "nonsense")
        wrong(["--optimizer"], "--optimizer", "adam")
        wrong(["augment", "spin"], "--augment", "spin")
        wrong(["--warm-up 9", "7 steps"], "--warm-up", 9)
        for option, value in (("--rate", 0), ("--rate", "nan"), ("--momentum", 1), ("--weight-decay", -2),
                              ("--clip", -1), ("--smoothing", 1), ("--dropout", 1), ("--average", 1), ("--crop", -1),
                              ("--workers", 0), ("--log-every", 0), ("--validate-every", -1), ("--std", "1,0,1"),
                              ("--last-rate", -1), ("--checkpoint-every", -1)):
            wrong([option], option, value)
        self.bad(2, [".safetensors"], *self.command("u", "--out", self.path("u.pt")))

    def test_a_run_is_there(self):
        self.good(*self.command("m"))
        before = self.files("m.")

        def refused(code, words, *options, **more):
            self.bad(code, words, *self.command("m", *options, **more))
            self.assertEqual(self.files("m."), before)

        refused(2, ["--resume", "m.last.safetensors"])
        refused(2, ["--rate 0.5", "-1"], "--resume", "--rate", 0.5)
        refused(2, ["--steps 9", "7"], "--resume", steps=9)
        refused(2, ["--data", "count=64"], "--resume", data=DATA.replace("64", "65"))
        refused(2, ["--model", "cifar_resnet20_w8", "cifar_resnet20_w4"], "--resume", "--model", "cifar_resnet20_w8")
        self.bad(1, ["other.last.safetensors", "no such file"], *self.command("other", "--resume"))
        # A state that is damaged or is none.
        state = self.read("m.last.safetensors")
        for damaged, word in ((state[:len(state) // 2], ""), (b"", "empty"),
                              (self.read("m.safetensors"), "no state of a training run"),
                              (state.replace(b"training.velocity.plain", b"training.velocity.plane"),
                               "velocity.plain")):
            self.make("m.last.safetensors", damaged)
            self.bad(1, ["m.last.safetensors", word], *self.command("m", "--resume"))
            self.assertEqual(self.read("m.last.safetensors"), damaged)

    def test_data(self):
        def bad(words, data, code=1):
            self.bad(code, words, *self.command("d", data=data))
            self.assertEqual([n for n in self.listing(".") if n.startswith("d.")], [])

        bad(["4 samples", "batch of 8"], "scenes:size=32,count=4")
        bad([self.path("none")], "folder:" + self.path("none"))
        for i in range(8):
            self.make("data/one/%d.png" % i, png(32, 32, pixels(32, 32, i)))
        os.makedirs(self.path("data/two"))
        bad(["two"], "folder:" + self.path("data"))
        self.make("data/two/0.png", png(32, 32, pixels(32, 32, 9))[:300])
        good = self.command("d", "--crop", 32, "--resize", 0, data="folder:" + self.path("data"))
        self.bad(1, ["0.png"], *good)
        self.bad(1, ["classes"], *self.command("v", "--validate", "folder:" + self.path("data")))

    def test_a_loss_that_is_not_finite(self):
        r = self.bad(1, ["step "], *self.command("n", "--rate", 1e30, "--warm-up", 0, "--plain-momentum",
                                                 "--checkpoint-every", 1))
        self.assertRegex(r.errors[0], r"step \d+: .*(layer|parameter|gradient|loss)")
        # What was saved last is still good for use.
        self.assertIn("n.last.safetensors", self.listing("."))
        for name, data in arrays(self.path("n.last.safetensors")).items():
            self.assertNotIn(b"\x00\x00\xc0\x7f", [data[i:i + 4] for i in range(0, len(data), 4)], name)

    @unittest.skipIf(SANITIZED, "a sanitizer writes files of its own")
    def test_a_full_disk(self):
        self.bad(1, ["nowhere"], *self.command("nowhere/m"))

        def few_bytes():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))

        r = self.bad(1, ["m."], *self.command("m"), preexec_fn=few_bytes)
        self.assertIn("File too large", r.errors[0])
        self.assertNotIn("m.last.safetensors", self.listing("."))
        # With a state there already, it stays as it was, and goes on once there is room.
        options = ["--checkpoint-every", 2, "--augment", "flip"]
        self.good(*self.command("straight", *options))
        process = subprocess.Popen([RETRACE] + self.command("s", *options), stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL)
        while not os.path.exists(self.path("s.last.safetensors")) and process.poll() is None:
            time.sleep(0.002)
        process.kill()
        process.wait()
        state = self.read("s.last.safetensors")
        if process.returncode != 0:
            r = run(*self.command("s", *options, "--resume"), preexec_fn=few_bytes)
            self.assertEqual(r.code, 1)
            self.assertEqual(self.read("s.last.safetensors"), state)
        self.good(*self.command("s", *options, "--resume"))
        self.same_run("s", "straight")


if __name__ == "__main__":
    unittest.main()
