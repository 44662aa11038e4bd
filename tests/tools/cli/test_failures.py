"""The command line where something is wrong: exit code, one clear line, nothing half-written, the rest still done."""

import os
import random
import resource
import signal
import struct
import unittest
import zlib

from support import JPEG, RETRACE, SANITIZED, Case, chunk, pixels, png, run, safetensors, seeded_weights


class WrongUsage(Case):
    """Exit code 2: the command line itself is wrong, nothing is computed or written."""

    def wrong(self, words, *arguments):
        r = self.bad(2, words, *arguments)
        self.assertEqual(r.out, "")
        self.assertEqual(self.listing("out"), [])
        return r

    def test_command(self):
        self.wrong(["no command", "devices", "classify"])
        self.wrong(["nonsense", "devices", "classify"], "nonsense")
        self.wrong(["--nonsense"], "--nonsense")
        self.wrong(["image", "retrace classify --help"], "classify")
        self.wrong(["--nonsense"], "classify", self.a, "--nonsense")
        self.wrong(["--out"], "explain", self.a)
        self.wrong(["--out"], "activations", self.a)
        self.wrong(["--model"], "import", self.w, "--out", self.path("out"))
        for name in ("out", "out.pth", "out.npy", ".npz", "safetensors"):
            self.wrong(["--out", name, "FILE.npz"], "import", self.w, "--model", "cifar_resnet20", "--out",
                       self.path(name))
            self.assertFalse(os.path.exists(self.path(name)))
        self.wrong(["bf16", "f32 or f16"], "import", self.w, "--model", "cifar_resnet20", "--dtype", "bf16", "--out",
                   self.path("out.npz"))
        self.wrong(["file"], "inspect")

    def test_common_options(self):
        for command in (["classify"], ["explain", "--out", self.path("out")],
                        ["activations", "--out", self.path("out")]):
            def wrong(words, *options):
                self.wrong(words, *command, self.a, "--weights", self.w, *options)

            wrong(["device", "nonsense", "cuda", "sim"], "--device", "nonsense")
            wrong(["precision", "bf16", "fp32"], "--precision", "bf16")
            wrong(["--batch", "0"], "--batch", 0)
        for options in (["--device", "cuda:x"], ["--device", ""], ["--precision", "nonsense"], ["--batch", -1],
                        ["--batch", "many"], ["--threads", -1], ["--seed", "x"], ["--top", 0], ["--top", -1],
                        ["--crop", 0], ["--resize", -1], ["--mean", "1,2"], ["--mean", "1,nan,1"],
                        ["--mean", "1,2,inf"], ["--std", "1,0,1"], ["--std", "1,-1,1"], ["--std", "1,inf,1"],
                        ["--std", "1,x,1"]):
            self.wrong([options[0].lstrip("-")], "classify", self.a, "--weights", self.w, *options)

    def test_model(self):
        self.wrong(["nonsense", "cifar_resnet20"], "classify", self.a, "--model", "nonsense")
        self.wrong(["nonsense", "cifar_resnet20"], "classify", self.a, "--model", "nonsense", "--weights", self.w)
        self.wrong(["nonsense", "cifar_resnet20"], "import", self.w, "--model", "nonsense", "--out", self.path("out"))
        self.wrong(["--dtype", "f64"], "import", self.w, "--model", "cifar_resnet20", "--dtype", "f64", "--out",
                   self.path("out"))
        self.assertFalse(os.path.exists(self.path("out")))

    def test_explain_options(self):
        def wrong(words, *options):
            self.wrong(words, "explain", self.a, "--weights", self.w, "--out", self.path("out"), *options)
            self.assertFalse(os.path.exists(self.path("out")))

        wrong(["nonsense", "input-gradient", "grad-cam", "lrp"], "--method", "nonsense")
        wrong(["nonsense"], "--method", "lrp;nonsense")
        wrong(["method"], "--method", ";")
        wrong(["nonsense", "gamma-flat"], "--method", "lrp:nonsense")
        wrong(["nonsense", "bias"], "--method", "lrp:nonsense=1")
        wrong(["bias", "nonsense", "absorb"], "--method", "lrp:bias=nonsense")
        wrong(["gamma", "x"], "--method", "lrp:gamma=x")
        wrong(["steps"], "--method", "input-gradient:steps=3")
        wrong(["nonsense", "layer3.2"], "--method", "grad-cam:layer=nonsense")
        wrong(["spatial"], "--method", "grad-cam:layer=linear")
        # Before the maps that could be made are written.
        wrong(["nonsense", "layer3.2"], "--method", "input-gradient;grad-cam:layer=nonsense")
        wrong(["gif", "png", "npy"], "--save", "gif")
        wrong(["top:0"], "--target", "top:0")
        wrong(["top:x"], "--target", "top:x")
        wrong(["top:"], "--target", "top:")
        wrong(["10", "0 to 9"], "--target", 10)
        wrong(["-1", "0 to 9"], "--target=-1")
        wrong(["99999999999999"], "--target", "99999999999999")
        wrong(["dolphin"], "--target", "dolphin")
        self.wrong(["--out"], "explain", self.a, "--weights", self.w, "--out", "")

    def test_activations_options(self):
        self.wrong(["nonsense", "layer3.2"], "activations", self.a, "--weights", self.w, "--out", self.path("out"),
                   "--layer", "conv1,nonsense")
        self.assertFalse(os.path.exists(self.path("out")))
        self.wrong(["--strongest"], "activations", self.a, "--out", self.path("out"), "--strongest", -1)


class Pictures(Case):
    """Exit code 1: this picture cannot be used; the others are."""

    def check(self, bad, *words):
        """`bad` beside two good pictures, in one batch and in several: it is named, the others are done."""
        for batch in (1, 8):
            r = self.bad(1, [bad, *words], "classify", self.a, bad, self.b, "--weights", self.w, "--json", "--batch",
                         batch)
            self.assertEqual([line["image"] for line in r.lines], [self.a, self.b])
        # Alone it leaves nothing behind.
        self.bad(1, [bad, *words], "explain", bad, "--weights", self.w, "--out", self.path("out"))
        self.assertEqual(self.listing("out"), [])

    def test_missing(self):
        self.check(self.path("missing.png"), "no such file")

    def test_empty(self):
        self.check(self.make("empty.png", b""), "empty")

    def test_cut_short(self):
        with open(self.a, "rb") as file:
            whole = file.read()
        self.check(self.make("short.png", whole[:len(whole) // 2]), "cut short")
        self.check(self.make("short.jpg", JPEG[:-3]), "cut short")

    def test_damaged(self):
        with open(self.a, "rb") as file:
            whole = bytearray(file.read())
        whole[len(whole) // 2] ^= 0x55
        self.check(self.make("damaged.png", bytes(whole)), "damaged")

    def test_text(self):
        self.check(self.make("text.png", b"This is not a picture.\n" * 10), "text.png")

    def test_no_pictures_in_folder(self):
        self.make("nothing/readme.txt", b"here")
        self.check(self.path("nothing"), "no pictures")

    def test_absurd_dimensions(self):
        head = struct.pack(">IIBBBBB", 2000000000, 2000000000, 8, 2, 0, 0, 0)
        data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")
        self.check(self.make("huge.png", data), "2000000000 x 2000000000")
        self.check(self.make("huge.ppm", b"P6\n1000000 1000000\n255\nxyz"), "1000000 x 1000000")

    def test_pipe(self):
        # Opening it would wait for a writer that never comes.
        os.mkfifo(self.path("pipe.png"))
        self.check(self.path("pipe.png"), "regular file")

    def test_device_file(self):
        self.check("/dev/zero", "regular file")

    def test_unreadable(self):
        os.chmod(self.b, 0)
        os.chmod(self.folder, 0o755)
        # The superuser may read every file: be nobody.
        options = {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}
        try:
            run("--version", **options)
        except PermissionError:
            self.skipTest("no user who may run the program but not read every file")
        r = self.bad(1, [self.b, "Permission denied"], "classify", self.a, self.b, self.c, "--weights", self.w,
                     "--json", **options)
        self.assertEqual([line["image"] for line in r.lines], [self.a, self.c])

    def test_several_in_a_folder(self):
        for name, data in (("1.png", b""), ("2.png", png(32, 32, pixels(32, 32, 4))), ("3.png", b"text"),
                           ("4.png", png(32, 32, pixels(32, 32, 5)))):
            self.make("pictures/" + name, data)
        r = run("explain", self.path("pictures"), "--weights", self.w, "--out", self.path("out"), "--json", "--method",
                "grad-cam", "--save", "npy")
        self.assertEqual(r.code, 1)
        self.assertEqual([os.path.basename(line["image"]) for line in r.lines], ["2.png", "4.png"])
        self.assertEqual(len(r.errors), 2)
        self.assertEqual([name[0] for name in self.listing("out")], ["2", "4"])

    def test_one_of_a_batch_fails_in_the_network(self):
        # Black stays 0; anything else over this deviation overflows float32 on the way.
        black = self.make("black.png", png(32, 32, bytes(32 * 32 * 3)))
        r = self.bad(1, [self.a, "not finite"], "classify", black, self.a, "--weights", self.w, "--json", "--batch", 8,
                     "--mean", "0,0,0", "--std", "1e-38,1e-38,1e-38")
        self.assertEqual([line["image"] for line in r.lines], [black])
        self.assertIn("one by one", r.err)

    def test_control_characters_in_names(self):
        # A name is not a way to write lines of one's own or to a terminal.
        r = self.bad(1, ["mis?sing?"], "classify", self.path("mis\nsing\x1b"), "--weights", self.w)
        self.assertNotIn("\x1b", r.err)

    def test_quiet_still_reports(self):
        r = self.bad(1, ["missing.png"], "classify", "missing.png", "--quiet")
        self.assertEqual(len(r.err.splitlines()), 1)


class WeightFiles(Case):
    """Exit code 1: the weights cannot be used; nothing is computed or written."""

    def check(self, bad, *words):
        for command in (["classify", self.a, "--weights", bad], ["inspect", bad],
                        ["explain", self.a, "--weights", bad, "--out", self.path("out")],
                        ["import", bad, "--model", "cifar_resnet20", "--out", self.path("new.safetensors")]):
            r = self.bad(1, [bad, *words], *command)
            self.assertEqual(r.out, "")
        self.assertFalse(os.path.exists(self.path("out")))
        self.assertFalse(os.path.exists(self.path("new.safetensors")))

    def test_missing(self):
        self.check(self.path("missing.pth"), "No such file")

    def test_folder_and_pipe(self):
        os.mkfifo(self.path("pipe"))
        self.check(self.path("pipe"), "pipe")
        self.check(self.folder, "folder")

    def test_empty_and_cut_short(self):
        self.check(self.make("empty.safetensors", b""), "empty")
        self.check(self.make("short.safetensors", Case.weights[:-1000]))
        self.check(self.make("head.safetensors", Case.weights[:500]))

    def test_random(self):
        self.check(self.make("random.pth", random.Random(1).randbytes(5000)), "unknown format")

    def test_of_another_model(self):
        # Missing and unexpected tensors are both listed.
        tensors = seeded_weights()
        tensors["layer9.weight"] = tensors.pop("layer1.0.bn1.bias")
        other = self.make("other.safetensors", safetensors(tensors))
        words = [other, "missing", "layer1.0.bn1.bias", "unexpected", "layer9.weight"]
        self.bad(1, words, "classify", self.a, "--weights", other, "--model", "cifar_resnet20")
        self.bad(1, words, "import", other, "--model", "cifar_resnet20", "--out", self.path("new.safetensors"))
        self.bad(1, [other, "fit no model", "--model"], "classify", self.a, "--weights", other)
        self.bad(1, [self.w, "missing", "layer2.0.downsample.0.weight", "unexpected", "conv1.weight", "[64, 3, 7, 7]"],
                 "import", self.w, "--model", "resnet18", "--out", self.path("new.safetensors"))
        self.assertFalse(os.path.exists(self.path("new.safetensors")))

    def test_not_finite(self):
        tensors = seeded_weights()
        tensors["layer1.0.conv2.weight"][1][5] = float("nan")
        bad = self.make("nan.safetensors", safetensors(tensors))
        self.bad(1, [bad, "layer1.0.conv2.weight", "nan"], "classify", self.a, "--weights", bad)

    def test_import_that_overflows(self):
        # float16 ends at 65504: such a file could not be loaded again.
        bad = self.make("big.safetensors", safetensors(seeded_weights(scale_of_first=1e6)))
        self.bad(1, ["conv1.weight", "f16"], "import", bad, "--model", "cifar_resnet20", "--dtype", "f16", "--out",
                 self.path("new.safetensors"))
        self.assertFalse(os.path.exists(self.path("new.safetensors")))

    def test_import_where_nothing_can_be_written(self):
        os.mkdir(self.path("folder"))
        os.mkdir(self.path("also.npz"))
        for out in (self.path("also.npz"), self.w + "/x.npz", self.path("no/such/folder/x.safetensors"),
                    "/proc/x.safetensors"):
            self.bad(1, [out], "import", self.w, "--model", "cifar_resnet20", "--out", out)
        self.assertEqual(self.listing("folder"), [])

    def test_labels(self):
        def check(labels, *words):
            r = self.bad(1, [labels, *words], "classify", self.a, "--weights", self.w, "--labels", labels)
            self.assertEqual(r.out, "")

        check(self.path("missing.txt"), "no such file")
        check(self.folder, "regular file")
        os.mkfifo(self.path("pipe"))
        check(self.path("pipe"), "regular file")
        check(self.make("few.txt", b"one\ntwo\n"), "2 labels", "10 classes")
        check(self.make("many.txt", b"x\n" * 11), "11 labels", "10 classes")
        check(self.make("binary.txt", b"one\n\0\n"), "line 2")


class Device(Case):
    def test_no_gpu(self):
        if "cuda:0" in run("devices").out:
            self.skipTest("there is a GPU")
        for device in ("cuda", "cuda:0", "cuda:7"):
            self.bad(1, ["cuda"], "classify", self.a, "--weights", self.w, "--device", device)


class Output(Case):
    def test_out_is_no_folder(self):
        for command in (["explain", self.a], ["activations", self.a, "--layer", "conv1"]):
            for out in (self.w, self.w + "/below", "/proc/nothing"):
                r = self.bad(1, [out], *command, "--weights", self.w, "--out", out)
                self.assertEqual(r.out, "")

    def test_a_folder_is_where_a_map_would_be(self):
        name = self.good("explain", self.a, "--weights", self.w, "--method", "grad-cam", "--save", "npy", "--out",
                         self.path("out"), "--json").lines[0]["maps"][0]["npy"]
        os.remove(name)
        os.mkdir(name)
        r = self.bad(1, [self.a, name, "folder"], "explain", self.a, self.b, "--weights", self.w, "--method",
                     "grad-cam", "--save", "npy", "--out", self.path("out"), "--json")
        self.assertEqual([line["image"] for line in r.lines], [self.b])

    def limited_files(self, *arguments):
        """Runs with files limited to 1000 bytes, as if the disk were full after them."""
        def limit():
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

        return run(*arguments, preexec_fn=limit, restore_signals=False)

    def test_full_disk(self):
        for command in (["explain", self.a], ["activations", self.a, "--layer", "conv1"]):
            r = self.limited_files(*command, "--weights", self.w, "--out", self.path("out"), "--json")
            self.assertEqual((r.code, r.out), (1, ""))
            self.assertEqual(len(r.errors), 1, r.err)
            self.assertIn(self.a, r.errors[0])
            self.assertIn("File too large", r.errors[0])
            self.assertEqual(self.listing("out"), [])
        r = self.limited_files("import", self.w, "--model", "cifar_resnet20", "--out", self.path("new.safetensors"))
        self.assertEqual((r.code, r.out, len(r.errors)), (1, "", 1), r.err)
        self.assertIn("new.safetensors", r.errors[0])
        self.assertEqual([name for name in os.listdir(self.folder) if "new" in name or "tmp" in name], [])

    def test_standard_output_is_full(self):
        for command in (["models"], ["devices"], ["inspect", self.w], ["--help"], ["classify", "--help"], ["--version"],
                        ["classify", self.a, self.b, "--weights", self.w, "--batch", 1, "--json"],
                        ["explain", self.a, "--weights", self.w, "--out", self.path("out"), "--method", "grad-cam"]):
            with open("/dev/full", "wb") as full:
                r = run(*command, stdout=full)
            self.assertEqual(r.code, 1, command)
            # Said once, not for every picture.
            self.assertEqual(r.errors, ["retrace: error: standard output: cannot be written: No space left on device"])

    def test_standard_output_is_closed(self):
        command = ["explain", self.a, "--weights", self.w, "--out", self.path("out"), "--method", "grad-cam", "--json"]
        r = run(*command, stdout=None, preexec_fn=lambda: os.close(1))
        self.assertEqual(r.code, 1)
        self.assertEqual(r.errors, ["retrace: error: standard output: cannot be written: Bad file descriptor"])
        for name in self.listing("out"):
            with open(self.path("out/" + name), "rb") as file:
                self.assertNotIn(b'"image"', file.read())

    def test_standard_error_is_closed_or_full(self):
        for command, code in ((["classify", "missing.png"], 1), (["classify", self.a], 0), (["--nonsense"], 2),
                              (["inspect", "missing.pth"], 1)):
            self.assertEqual(run(*command, stderr=None, preexec_fn=lambda: os.close(2)).code, code)
            with open("/dev/full", "wb") as full:
                self.assertEqual(run(*command, stderr=full).code, code)

    def test_reader_goes_away(self):
        # As in `retrace … | head -1`: the process ends, it does not go on for nobody or crash.
        read, write = os.pipe()
        os.close(read)
        with os.fdopen(write, "wb") as pipe:
            r = run("classify", self.a, "--weights", self.w, stdout=pipe)
        self.assertIn(r.code, (-signal.SIGPIPE, 1))


@unittest.skipIf(SANITIZED, "a sanitizer needs all addresses")
class Memory(Case):
    def limited(self, megabytes, *arguments):
        # Two threads whatever the machine has: the C library reserves addresses for each.
        limit = megabytes << 20
        return run(*arguments, "--threads", 2,
                   preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)))

    def test_picture_too_large_for_memory(self):
        # 10000 x 10000 pixels are 300 MB as RGB.
        big = self.make("big.png", png(10000, 10000, bytes(10000 * 10000), colour=0))
        r = self.limited(300, "classify", self.a, big, self.b, "--weights", self.w, "--json")
        self.assertEqual((r.code, len(r.errors)), (1, 1), r.err)
        self.assertIn(big, r.errors[0])
        self.assertRegex(r.errors[0], "no memory|[Oo]ut of memory")
        self.assertEqual([line["image"] for line in r.lines], [self.a, self.b])

    def test_activations_too_large_for_memory(self):
        # One layer's output alone is 2048 x 2048 x 16 floats: 268 MB.
        r = self.limited(300, "classify", self.a, self.b, "--weights", self.w, "--resize", 2048, "--crop", 2048)
        self.assertEqual((r.code, len(r.errors), r.out), (1, 2, ""), r.err)
        for picture, error in zip((self.a, self.b), r.errors):
            self.assertIn(picture, error)
            self.assertRegex(error, r"no memory for \d+ bytes")

    def test_batch_too_large_for_memory(self):
        # All activations of eight pictures are 340 MB, those of one 43: the batch fails, its pictures do not.
        pictures = [self.make("p%d.png" % i, png(32, 32, pixels(32, 32, i))) for i in range(8)]
        r = self.limited(300, "classify", *pictures, "--weights", self.w, "--resize", 224, "--crop", 224, "--json")
        self.assertEqual((r.code, len(r.errors)), (0, 0), r.err)
        self.assertIn("one by one", r.err)
        self.assertEqual([line["image"] for line in r.lines], pictures)

    def test_hardly_any_memory(self):
        # Wherever it ends, it ends with a message: from what does not start to what nearly suffices.
        codes = set()
        program = os.path.getsize(RETRACE) >> 20  # with the GPU's kernels in it, 27 MB more
        for megabytes in (10, 14, 18, 26, 42):
            r = self.limited(program + megabytes, "explain", self.a, "--weights", self.w, "--out", self.path("out"))
            if r.code == 127:
                continue  # the system could not even map the program's libraries
            codes.add(r.code)
            self.assertIn(r.code, (0, 1), "%d MiB: %s" % (megabytes, r.err))
            self.assertEqual(len(r.errors), r.code, r.err)
            if r.code == 1:
                self.assertRegex(r.errors[0], "no memory|[Oo]ut of memory")
        self.assertIn(1, codes)


if __name__ == "__main__":
    unittest.main()
