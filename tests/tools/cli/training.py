"""What the tests of `retrace train` share: a run so small that it takes a second, its files, and how two runs compare."""

import json
import os
import re
import signal
import subprocess
import time

from support import RETRACE, Case, read_safetensors

SCENES = "scenes:size=32,count=64,objects=1"
VALIDATION = "scenes:size=32,count=16,objects=1,seed=2"
CLASSES = ["circle", "square", "triangle", "star", "cross", "ring", "crescent", "heart"]


class Training(Case):
    def command(self, out, *options, data=SCENES, steps=6, model="cifar_resnet20_w4", batch=8):
        return ["train", "--data", data, "--model", model, "--batch", str(batch), "--steps", str(steps), "--out",
                self.path(out), *options]

    def files(self, out):
        """Model, state, log and curves of --out."""
        stem = self.path(out)[:-len(".safetensors")]
        return [stem + end for end in (".safetensors", ".last.safetensors", ".log.jsonl", ".curves.png")]

    def log(self, out):
        with open(self.files(out)[2]) as file:
            text = file.read()
        self.assertTrue(text.endswith("\n") or not text)
        return [json.loads(line) for line in text.splitlines()]

    def snapshot(self, folder=None):
        """Every file below the folder with its contents."""
        found = {}
        for at, folders, names in os.walk(folder or self.folder):
            found[at] = sorted(folders)
            for name in names:
                with open(os.path.join(at, name), "rb") as file:
                    found[os.path.join(at, name)] = file.read()
        return found

    def assertSameRun(self, one, other):
        """Bit for bit, but for the seconds that it took."""
        for a, b in zip(self.files(one)[:2], self.files(other)[:2]):
            (notes_a, tensors_a), (notes_b, tensors_b) = read_safetensors(a), read_safetensors(b)
            self.assertEqual(list(tensors_a), list(tensors_b))
            for name in tensors_a:
                self.assertTrue(tensors_a[name] == tensors_b[name], "%s of %s and %s" % (name, a, b))
            self.assertEqual(*[re.sub(r'"seconds":[^,]+,', "", json.dumps(notes).replace('\\"', '"'))
                               for notes in (notes_a, notes_b)])
        logs = [[{k: v for k, v in line.items() if k != "seconds"} for line in self.log(out)] for out in (one, other)]
        self.assertEqual(*logs)

    def interrupt(self, command, how, ready, pause=0.0):
        """Starts a run and, once ready(), sends it a signal. Returns its exit code and standard error."""
        process = subprocess.Popen([RETRACE, *command, "--device=sim"], stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        until = time.monotonic() + 120
        while not ready() and process.poll() is None:
            self.assertLess(time.monotonic(), until)
            time.sleep(0.002)
        time.sleep(pause)
        process.send_signal(how)
        out, err = process.communicate(timeout=120)
        if how == signal.SIGINT and process.returncode != 0:
            self.assertEqual(out, b"")
        return process.returncode, err.decode()

    def logged(self, out, steps):
        """A test that the log has a line of step `steps` or a later one."""
        def ready():
            try:
                with open(self.files(out)[2]) as file:
                    found = re.findall(r'"step":(\d+)', file.read())
            except FileNotFoundError:
                return False
            return bool(found) and int(found[-1]) >= steps
        return ready
