"""`retrace train` where something is wrong: exit code, one clear line, and the last good state stays."""

import json
import os
import resource
import shutil
import signal
import struct
import unittest

from support import png, pixels, read_safetensors, run, safetensors, seeded_weights
from training import SCENES, VALIDATION, Training


class WrongUsage(Training):
    """Exit code 2: nothing is computed or written."""

    def wrong(self, words, *options, **run):
        before = self.snapshot()
        r = self.bad(2, words, *self.command("net.safetensors", *options, **run))
        self.assertEqual((r.out, self.snapshot()), ("", before))

    def test_options(self):
        for option, values in {
                "--rate": (0, -1, "nan", "inf", "x"), "--last-rate": (-1, "nan", "inf"), "--momentum": (-0.1, 1, "nan"),
                "--weight-decay": (-1, "nan", "inf"), "--clip": (-1, "nan", "inf"), "--smoothing": (-0.1, 1, "nan"),
                "--dropout": (-0.1, 1, "nan"), "--average": (-0.1, 1, "nan"), "--crop": (0, -1, 4097),
                "--resize": (-1, 16385), "--workers": (0, 65), "--log-every": (0, -1), "--validate-every": (0, -1),
                "--checkpoint-every": (0, -1), "--warm-up": (-1, 7, "x"), "--batch": (0, 65536), "--std": (
                    "0,1,1", "-1,1,1", "nan,1,1", "inf,1,1", "1,1"), "--mean": ("nan,1,1", "inf,1,1", "1,1"),
                "--optimizer": ("adam",), "--dtype": ("f64",), "--epochs": (0, -1), "--steps": (0, -1, "x")}.items():
            for value in values:
                with self.subTest(option, value=value):
                    self.wrong([option.lstrip("-")], "%s=%s" % (option, value))

    def test_steps_and_epochs(self):
        words = ["either --epochs or --steps"]
        self.wrong(words, "--epochs", 1)
        command = self.command("net.safetensors")
        at = command.index("--steps")
        del command[at:at + 2]
        self.bad(2, words, *command)

    def test_names(self):
        self.wrong(["augmentation 'nonsense'", "flip"], "--augment", "nonsense")
        self.wrong(["--augment crop=32", "32 pixels"], "--augment", "crop=32")
        self.wrong(["nonsense", "cifar_resnet20"], model="nonsense")
        self.wrong(["nonsense", "scenes", "folder:FOLDER"], data="nonsense")
        self.wrong(["nonsense", "scenes", "folder:FOLDER"], "--validate", "nonsense")
        self.wrong(["--data", "UTF-8"], data="folder:" + os.fsdecode(self.folder_of_one_class()))
        for out in ("net.pth", "net", ".safetensors"):
            self.bad(2, ["--out", out, ".safetensors"], *self.command(out))
        for option in ("--data", "--model", "--out"):
            command = self.command("net.safetensors")
            at = command.index(option)
            del command[at:at + 2]
            self.bad(2, [option], *command)
        self.assertEqual(self.listing("net.safetensors"), [])

    def folder_of_one_class(self):
        name = os.fsencode(self.path("latin-")) + b"\xe9"
        os.makedirs(name + b"/class")
        shutil.copy(self.a, name + b"/class/a.png")
        return name

    def test_something_is_there(self):
        self.make("net.safetensors", b"mine")
        self.wrong(["net.safetensors", "there already"])
        self.make("net.last.safetensors", b"a run's")
        self.wrong(["net.last.safetensors", "a run is there already", "--resume"])


class Resume(Training):
    def test_refused(self):
        """Other settings, no run, a state that is none: nothing is touched."""
        self.bad(1, ["net.last.safetensors", "no such file", "no run to go on with"],
                 *self.command("net.safetensors", "--resume"))
        os.makedirs(self.path("data/cat"))
        for name in ("cat", "dog"):
            for i in range(2):
                self.make("data/%s/%d.png" % (name, i), png(32, 32, pixels(32, 32, i)))
        data = "folder:" + self.path("data")
        good = {"data": data, "batch": 2, "steps": 4}
        code, err = self.interrupt(self.command("net.safetensors", "--log-every", "1", **good), signal.SIGINT,
                                   self.logged("net.safetensors", 1))
        self.assertEqual(code, 1, err)

        def refused(code, words, *options, **changed):
            before = self.snapshot()
            r = self.bad(code, words, *self.command("net.safetensors", "--resume", *options, **{**good, **changed}))
            self.assertEqual((r.out, self.snapshot()), ("", before))

        state = self.files("net.safetensors")[1]
        for option, value, found in (("--rate", "0.2", "-1.0"), ("--average", "0.5", "0.0"), ("--seed", "2", "1"),
                                     ("--mean", "0,0,0", "[]"), ("--validate", data, '""')):
            refused(2, ["%s " % option, state, "has %s;" % found, "settings it began with"], option, value)
        refused(2, ["--data", SCENES, data], data=SCENES)
        refused(2, ["--model", '"cifar_resnet20_w8"', '"cifar_resnet20_w4"'], model="cifar_resnet20_w8")
        refused(2, ["--steps 5", "has 4;"], steps=5)
        refused(2, ["--batch 4", "has 2;"], batch=4)

        # The data itself has changed.
        self.make("data/dog/2.png", png(32, 32, pixels(32, 32, 2)))
        refused(1, [data, "5 samples", state, "4"])
        os.remove(self.path("data/dog/2.png"))
        os.rename(self.path("data/dog"), self.path("data/ant"))
        refused(1, [data, "classes", state])
        os.rename(self.path("data/ant"), self.path("data/dog"))

        # The state or the log is damaged.
        with open(state, "rb") as file:
            whole = file.read()
        notes, tensors = read_safetensors(state)
        content_hash = notes.pop("content_sha256")  # so that what is damaged below is met on its own
        parameters = {name: (shape, struct.unpack("<%df" % (len(data) // 4), data))
                      for name, (_, shape, data) in tensors.items()}

        def damaged(words, data):
            with open(state, "wb") as file:
                file.write(data)
            refused(1, [state, *words])

        damaged([], whole[:-1000])
        damaged([], whole[:100])
        damaged(["empty"], b"")
        damaged(["metadata has no 'training'"], safetensors(seeded_weights()))
        damaged(["'training' is damaged"], safetensors(parameters, {**notes, "training": "{}"}))
        wrong = json.loads(notes["training"])
        wrong["step"] = 5
        damaged(["at step 5 of 4"], safetensors(parameters, {**notes, "training": json.dumps(wrong)}))
        for lost in ("training.velocity.plain", "layer1.0.conv1.weight"):
            damaged([lost.replace("training.", "")], safetensors({k: v for k, v in parameters.items() if k != lost},
                                                                 notes))
        short = {**parameters, "training.velocity.plain": ((3,), (0, 0, 0))}
        damaged(["SHA-256", content_hash], safetensors(short, {**notes, "content_sha256": content_hash}))
        damaged(["velocity.plain", "3 values"], safetensors(short, notes))
        with open(state, "wb") as file:
            file.write(whole)
        log = self.files("net.safetensors")[2]
        with open(log, "rb") as file:
            lines = file.read()
        with open(log, "wb") as file:
            file.write(b"not a log\n" + lines)
        refused(1, [log, "line 1"])
        with open(log, "wb") as file:
            file.write(lines)
        self.good(*self.command("net.safetensors", "--log-every", 1, "--resume", **good))


class Data(Training):
    def refused(self, words, *options, **run):
        before = self.snapshot()
        r = self.bad(1, words, *self.command("net.safetensors", *options, **run))
        self.assertEqual((r.out, self.snapshot()), ("", before))

    def test_missing(self):
        for kind in ("folder:", "idx:"):
            self.refused(["missing", "no such folder"], data=kind + self.path("missing"))
        self.refused(["64 samples", "one batch of 65"], batch=65)
        self.refused(["--validate", "10", "8"], "--validate", "idx:" + self.idx(4, 4))
        self.make("data/one/a.png", png(32, 32, pixels(32, 32, 1)))
        self.make("other/two/a.png", png(32, 32, pixels(32, 32, 1)))
        self.refused(["--validate", "class 0 is 'two'", "expected 'one'"], "--validate", "folder:" + self.path("other"),
                     data="folder:" + self.path("data"), batch=1)
        os.mkdir(self.path("data/empty"))
        self.refused(["data/empty", "no pictures"], data="folder:" + self.path("data"))
        self.refused([self.w, "linear.weight", "[8, 64]"], "--weights", self.w, model="cifar_resnet20")

    def idx(self, pictures, labels):
        self.make("idx/train-images-idx3-ubyte", struct.pack(">IIII", 0x803, pictures, 8, 8) + bytes(64 * pictures))
        self.make("idx/train-labels-idx1-ubyte", struct.pack(">II", 0x801, labels) + bytes(labels))
        return self.path("idx")

    def test_idx_lengths(self):
        self.refused(["4 pictures", "3 labels"], data="idx:" + self.idx(4, 3), batch=1)

    def test_corrupt_picture(self):
        """Met in the second epoch's place or the first's: what was saved before stays, and goes on once it is whole."""
        for i in range(6):
            self.make("data/cat/%d.png" % i, png(32, 32, pixels(32, 32, i)))
        command = self.command("net.safetensors", "--checkpoint-every", 1, "--log-every", 1,
                               data="folder:" + self.path("data"), batch=1)
        picture = self.path("data/cat/3.png")
        with open(picture, "rb") as file:
            whole = file.read()
        self.make("data/cat/3.png", whole[:100])
        self.bad(1, [picture], *command)
        for name in self.listing("."):
            self.assertNotRegex(name, "partial|tmp")
        model, state = self.files("net.safetensors")[:2]
        done = 0
        if os.path.exists(state):
            done = json.loads(read_safetensors(state)[0]["training"])["step"]
            self.assertEqual(read_safetensors(model)[0]["steps"], str(done))
        self.assertEqual([line["step"] for line in self.log("net.safetensors")], list(range(1, done + 1)))
        self.make("data/cat/3.png", whole)
        self.good(*command, *["--resume"] * (done > 0))


class Places(Training):
    def test_out(self):
        os.mkdir(self.path("folder.safetensors"))
        self.make("file", b"")
        os.mkdir(self.path("log"))
        os.mkdir(self.path("log/net.log.jsonl"))
        os.mkdir(self.path("pipe"))
        os.mkfifo(self.path("pipe/net.log.jsonl"))
        before = self.snapshot(self.path("log"))
        self.bad(2, ["folder.safetensors"], *self.command("folder.safetensors"))
        for out in ("file/net.safetensors", "log/net.safetensors", "pipe/net.safetensors"):
            self.bad(1, [os.path.dirname(self.path(out))], *self.command(out))
        self.assertEqual(self.snapshot(self.path("log")), before)
        self.bad(1, ["/proc/nothing"], *self.command("/proc/nothing/net.safetensors"))

    def test_unwritable(self):
        os.chmod(self.folder, 0o555)
        options = {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}
        try:
            run("--version", **options)
        except PermissionError:
            self.skipTest("no user who may run the program but not write everywhere")
        self.bad(1, [self.path("net.log.jsonl"), "Permission denied"], *self.command("net.safetensors"), **options)
        os.chmod(self.folder, 0o755)
        self.assertEqual([name for name in self.listing(".") if "net" in name], [])

    def test_full_disk(self):
        """Files limited to some bytes, as if the disk were full after them: the log, the state, then the picture."""
        def limited(most, *options):
            def limit():
                resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
                signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

            return run(*self.command("net.safetensors", "--checkpoint-every", 2, "--log-every", 1, *options, steps=4),
                       preexec_fn=limit, restore_signals=False)

        self.good(*self.command("straight.safetensors", "--checkpoint-every", 2, "--log-every", 1, steps=4))
        model, state, log, _ = self.files("net.safetensors")
        # Room for the model but not for the state, which is twice as large.
        most = os.path.getsize(self.files("straight.safetensors")[0]) + 1000
        r = limited(most)
        self.assertEqual((r.code, r.out, len(r.errors)), (1, "", 1), r.err)
        self.assertIn(state, r.errors[0])
        self.assertIn("File too large", r.errors[0])
        self.assertFalse(os.path.exists(state))
        os.remove(model)
        self.interrupt(self.command("net.safetensors", "--checkpoint-every", "2", "--log-every", "1", steps=4),
                       signal.SIGKILL, lambda: os.path.exists(state))
        good = self.snapshot()[state]
        if len(self.log_lines(log)) == 4:
            return  # it was faster than the kill
        # Room for a few bytes more in the log than it has.
        r = limited(sum(map(len, self.log_lines(log)[:2])) + 60, "--resume")
        self.assertEqual((r.code, r.out, len(r.errors)), (1, "", 1), r.err)
        self.assertIn(log, r.errors[0])
        self.assertIn("File too large", r.errors[0])
        self.assertFalse(self.log_lines(log)[-1].endswith(b"\n"))
        self.assertEqual(self.snapshot()[state], good)
        self.assertEqual([name for name in self.listing(".") if "partial" in name or "tmp" in name], [])
        self.good(*self.command("net.safetensors", "--checkpoint-every", 2, "--log-every", 1, "--resume", steps=4))
        self.assertSameRun("straight.safetensors", "net.safetensors")

    def log_lines(self, log):
        with open(log, "rb") as file:
            return file.read().splitlines(keepends=True)

    def test_two_runs_at_once(self):
        code = []

        def second():
            if os.path.exists(self.files("net.safetensors")[2]) and not code:
                code.append(1)
                self.bad(1, ["net.log.jsonl", "another training run"], *self.command("net.safetensors"))
            return bool(code)

        _, err = self.interrupt(self.command("net.safetensors", steps=10000), signal.SIGINT, second)
        self.assertEqual(code, [1])
        self.assertIn("stopped at step", err)
        self.log("net.safetensors")


class NotFinite(Training):
    def test_loss(self):
        """The loss of step 2 is what step 1 made of the weights; the state of step 1 stays."""
        command = self.command("net.safetensors", "--rate", "1e30", "--plain-momentum", "--warm-up", 0,
                               "--checkpoint-every", 1, "--log-every", 1)
        self.bad(1, ["step 2: ", "not finite", "layer1.0.conv1"], *command)
        state = self.files("net.safetensors")[1]
        self.assertEqual(json.loads(read_safetensors(state)[0]["training"])["step"], 1)
        before = self.snapshot()
        self.bad(1, ["step 2: ", "not finite"], *command, "--resume")
        self.assertEqual(self.snapshot(), before)

    def test_parameters(self):
        # The rate overflows float32: such weights must not replace what was saved.
        self.bad(1, ["step 1: ", "not finite", "conv1.weight"],
                 *self.command("net.safetensors", "--rate", "1e39", "--warm-up", 0, "--checkpoint-every", 1))
        self.assertEqual([os.path.basename(f) for f in self.files("net.safetensors") if os.path.exists(f)],
                         ["net.log.jsonl"])

    def test_validation(self):
        self.bad(1, ["validation after step 1", "loss on scenes:size=32,count=16,", "not finite"],
                 *self.command("net.safetensors", "--rate", "1e10", "--warm-up", 0, "--validate", VALIDATION,
                               "--validate-every", 1, steps=2))
        self.assertEqual([os.path.basename(f) for f in self.files("net.safetensors") if os.path.exists(f)],
                         ["net.log.jsonl"])

    def test_model_file(self):
        # Finite, but not as float16: neither file is written.
        self.bad(1, ["f16"], *self.command("net.safetensors", "--rate", "1e10", "--warm-up", 0, "--dtype", "f16",
                                           "--checkpoint-every", 1, steps=2))
        self.assertEqual([os.path.basename(f) for f in self.files("net.safetensors") if os.path.exists(f)],
                         ["net.log.jsonl"])


if __name__ == "__main__":
    unittest.main()
