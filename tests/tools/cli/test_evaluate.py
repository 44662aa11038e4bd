"""`retrace evaluate`: what it prints and writes, and what it refuses."""

import csv
import json
import math
import os
import unittest

from support import LABELS, Case, png, pixels, png_size, safetensors, seeded_weights

SHAPES = ["circle", "square", "triangle", "star", "cross", "ring", "crescent", "heart"]
SCENES = "scenes:size=32,count=%d,seed=5"


class Base(Case):
    eight = None

    def setUp(self):
        super().setUp()
        if Base.eight is None:
            Base.eight = safetensors(seeded_weights(classes=8))
        self.w8 = self.make("w8.safetensors", Base.eight)
        self.quick = ["--weights", self.w8, "--quiet", "--count", 2, "--steps", 3]


class Evaluate(Base):
    def folder_of_pictures(self):
        """One picture a class, named as the CIFAR networks' classes are; no masks."""
        for i, label in enumerate(LABELS):
            self.make("data/%s/0.png" % label, png(32, 32, pixels(32, 32, 20 + i)))
        return "folder:" + self.path("data")

    def test_scenes(self):
        out = self.path("out")
        r = self.good("evaluate", "--data", SCENES % 12, *self.quick, "--out", out, "--json")
        self.assertEqual(len(r.lines), 1)
        report = r.lines[0]
        self.assertEqual(report["labels"], SHAPES)
        self.assertEqual(report["samples"], 12)
        one, several = report["one_class"], report["several_classes"]
        self.assertEqual(one["samples"] + several["samples"], 12)
        self.assertEqual(sum(map(sum, report["confusion"])), one["samples"])
        self.assertEqual(sum(report["confusion"][c][c] for c in range(8)), one["right"])
        self.assertAlmostEqual(one["accuracy"], one["right"] / one["samples"])
        self.assertEqual(report["explained"]["one_class"], 2)
        self.assertEqual(report["explained"]["several_classes"], 4)
        self.assertEqual([m["method"] for m in report["methods"]],
                         ["input-gradient", "grad-cam", "lrp", "random order", "constant centre"])
        self.assertEqual([m["baseline"] for m in report["methods"]], [False] * 3 + [True] * 2)
        for m in report["methods"]:
            l, o, p = m["localization"], m["two_objects"], m["perturbation"]
            for key in ("mass", "mass_pixels", "mass_cell", "rank", "pointing_pixels", "pointing_cell", "empty"):
                self.assertTrue(0 <= l[key]["mean"] <= 1, (m["method"], key))
            # A wider mask holds no less; 4 pixels of a cell are more than 3.
            self.assertLessEqual(l["mass"]["mean"], l["mass_pixels"]["mean"])
            self.assertLessEqual(l["mass_pixels"]["mean"], l["mass_cell"]["mean"])
            self.assertLessEqual(o["own"]["mean"] + o["other"]["mean"], 1 + 1e-9)
            self.assertAlmostEqual(p["score"]["mean"], p["insertion"]["mean"] - p["deletion"]["mean"])
            curves = m["curves"]
            self.assertEqual(len(curves["share"]), 4)
            self.assertEqual((curves["share"][0], curves["share"][-1]), (0, 1))
            # Both ends are the same for every method, and each other's.
            first = report["methods"][0]["curves"]
            for a, b in (("deletion", "insertion"), ("insertion", "deletion")):
                self.assertAlmostEqual(curves[a][0], first[a][0], delta=1e-12)
                self.assertAlmostEqual(curves[a][0], curves[b][-1], delta=1e-12)
            # The area of a mean curve is the mean area: all have the same shares.
            area = sum((curves["share"][i] - curves["share"][i - 1])
                       * (curves["deletion"][i] + curves["deletion"][i - 1]) / 2 for i in range(1, 4))
            self.assertAlmostEqual(area, p["deletion"]["mean"], delta=1e-6)
        # The centre map does not listen: one of two questions a picture is followed.
        self.assertEqual(report["methods"][4]["two_objects"]["follows"]["mean"], 0.5)

        self.assertEqual(self.listing("out"),
                         sorted(["confusion.csv", "curves.png", "measures.csv", "report.json", "report.md"]
                                + ["%s.%s.png" % (m, kind) for m in ("input-gradient", "grad-cam", "lrp")
                                   for kind in ("worst", "best", "objects")]))
        with open(os.path.join(out, "report.json")) as file:
            self.assertEqual(json.load(file), report)
        with open(os.path.join(out, "confusion.csv"), newline="") as file:
            rows = list(csv.reader(file))
        self.assertEqual(rows[0][1:], SHAPES)
        self.assertEqual([[int(n) for n in row[1:]] for row in rows[1:]], report["confusion"])
        with open(os.path.join(out, "measures.csv"), newline="") as file:
            rows = list(csv.DictReader(file))
        for row, m in zip(rows, report["methods"]):
            self.assertEqual(row["method"], m["method"])
            self.assertTrue(math.isclose(float(row["localization.mass"]), m["localization"]["mass"]["mean"],
                                         rel_tol=1e-5, abs_tol=1e-12))
        with open(os.path.join(out, "report.md")) as file:
            page = file.read()
        for name in self.listing("out"):
            if name.endswith(".png"):
                self.assertIn("(%s)" % name, page)
                self.assertGreater(png_size(os.path.join(out, name))[0], 200)

    def test_same_again_and_in_other_batches(self):
        command = ["evaluate", "--data", SCENES % 6, *self.quick, "--json", "--method", "grad-cam;lrp"]
        first = self.good(*command, "--batch", 1).out
        self.assertEqual(self.good(*command, "--batch", 1).out, first)
        self.assertEqual(self.good(*command, "--batch", 5).out, first)
        # The seed is the random order's alone.
        other = json.loads(self.good(*command, "--batch", 5, "--seed", 2).out)
        for a, b in zip(json.loads(first)["methods"], other["methods"]):
            (self.assertNotEqual if a["method"] == "random order" else self.assertEqual)(a, b)

    def test_text(self):
        out = self.good("evaluate", "--data", SCENES % 6, *self.quick, "--method", "lrp").out
        for words in ("cifar_resnet20 on scenes:size=32,count=6", "one class: ", "Confusion", "Localization (2 pictures",
                      "Two objects (4 questions", "Deletion and insertion (2 pictures", "(random order)",
                      "(constant centre)"):
            self.assertIn(words, out)
        # Without a CAM nothing is widened by a cell.
        self.assertNotIn("cells: ", out)

    def test_without_masks(self):
        data = self.folder_of_pictures()
        r = self.good("evaluate", "--data", data, "--weights", self.w, "--count", 3, "--steps", 2, "--method", "lrp")
        self.assertIn("the data has no masks", r.out)
        self.assertNotIn("Localization", r.out)
        report = self.good("evaluate", "--data", data, "--weights", self.w, "--count", 3, "--steps", 2, "--json",
                           "--out", self.path("o")).lines[0]
        self.assertFalse(report["masks"])
        self.assertNotIn("localization", report["methods"][0])
        self.assertEqual(report["explained"]["one_class"], 3)
        self.assertIn("lrp.worst.png", self.listing("o"))
        self.assertNotIn("lrp.objects.png", self.listing("o"))

    def test_accuracy_alone(self):
        report = self.good("evaluate", "--data", SCENES % 6, "--weights", self.w8, "--count", 0, "--json",
                           "--out", self.path("o")).lines[0]
        self.assertEqual(report["methods"], [])
        self.assertEqual(self.listing("o"), ["confusion.csv", "report.json", "report.md"])

    def test_grey_and_patches(self):
        command = ["evaluate", "--data", SCENES % 4, *self.quick, "--method", "lrp", "--json"]
        blur = self.good(*command).lines[0]
        grey = self.good(*command, "--removed", "grey").lines[0]
        self.assertEqual((blur["perturbation"]["removed"], grey["perturbation"]["removed"]), ("blur", "grey"))
        self.assertNotEqual(blur["methods"][0]["curves"], grey["methods"][0]["curves"])
        self.assertEqual(blur["methods"][0]["localization"], grey["methods"][0]["localization"])
        # One patch: one step.
        one = self.good(*command, "--patch", 32).lines[0]
        self.assertEqual(one["methods"][0]["curves"]["share"], [0, 1])

    def test_a_picture_that_cannot_be_read(self):
        data = self.folder_of_pictures()
        self.make("data/cat/1.png", b"\x89PNG\r\n\x1a\nbroken")
        r = self.bad(1, ["1.png"], "evaluate", "--data", data, "--weights", self.w, "--count", 0, "--json")
        # The others are counted.
        self.assertEqual(r.lines[0]["samples"], 10)


class Refused(Base):
    def test_classes(self):
        self.bad(2, ["8 classes", "circle", "cifar_resnet20 has 10"], "evaluate", "--data", SCENES % 4,
                 "--weights", self.w)
        labels = self.make("labels.txt", b"".join(s.encode() + b"\n" for s in reversed(SHAPES)))
        self.bad(2, ["class 0 is 'circle'", "'heart'"], "evaluate", "--data", SCENES % 4, "--weights", self.w8,
                 "--labels", labels)

    def test_options(self):
        self.bad(2, ["--data"], "evaluate", "--weights", self.w8)
        for option in (["--steps", 0], ["--count", -1], ["--patch", -1], ["--removed", "black"], ["--method", "magic"],
                       ["--method", "grad-cam:layer=nowhere"], ["--out", ""]):
            with self.subTest(option):
                self.bad(2, [], "evaluate", "--data", SCENES % 4, "--weights", self.w8, *option)
        self.bad(2, ["nothing"], "evaluate", "--data", "nothing:at-all", "--weights", self.w8)
        self.bad(1, ["a.png"], "evaluate", "--data", SCENES % 4, "--weights", self.w8, "--out", self.a)

    def test_nothing_half_written(self):
        os.makedirs(self.path("o/curves.png"))
        self.bad(1, ["curves.png", "folder"], "evaluate", "--data", SCENES % 4, *self.quick, "--method", "lrp",
                 "--out", self.path("o"))
        self.assertEqual(self.listing("o"), ["curves.png"])


if __name__ == "__main__":
    unittest.main()
