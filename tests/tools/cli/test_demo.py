"""The network and pictures that ship with Retrace, true masks beside maps, and `retrace data`."""

import os
import unittest

from support import Case, png, png_size, safetensors_header

DEMO = os.path.join(os.path.dirname(os.path.abspath(__file__)), *[os.pardir] * 3, "weights", "demo")
PICTURES = os.path.join(DEMO, "pictures")
MASKS = os.path.join(PICTURES, "masks")


class Demo(Case):
    def test_its_pictures_are_seen_for_what_they_are(self):
        names = sorted(n for n in os.listdir(PICTURES) if n.endswith(".png"))
        self.assertGreaterEqual(len(names), 4)
        lines = self.good("explain", PICTURES, "--masks", MASKS, "--out", self.path("out"), "--json", "--save",
                          "png").lines
        self.assertEqual([os.path.basename(line["image"]) for line in lines], names)
        for line in lines:
            true = os.path.splitext(os.path.basename(line["image"]))[0].split("-")[1:]
            self.assertIn(line["target"]["label"], true)
            maps = {m["method"]: m for m in line["maps"]}
            self.assertEqual(sorted(maps), ["grad-cam", "input-gradient", "lrp"])
            # Conserved, on a network that somebody trained.
            self.assertLessEqual(abs(maps["lrp"]["sum"] / maps["lrp"]["start"] - 1), 1e-4)
            for m in maps.values():
                self.assertTrue(0 <= m["inside_mask"] <= 1)
                # Picture, map and mask beside each other.
                self.assertGreaterEqual(png_size(m["png"])[0], 3 * 128)

    def test_two_objects_have_a_mask_each(self):
        line = self.good("explain", os.path.join(PICTURES, "13-cross-triangle.png"), "--masks", MASKS, "--target",
                         "top:2", "--method", "lrp", "--save", "png", "--out", self.path("out"), "--json").lines
        self.assertEqual({part["target"]["label"] for part in line}, {"cross", "triangle"})
        for part in line:
            # Chance would be the object's share of the picture, about a tenth.
            self.assertGreater(part["maps"][0]["inside_mask"], 0.2)

    def test_masks_that_are_missing_or_dark(self):
        os.makedirs(self.path("masks"))
        picture = os.path.join(PICTURES, "06-star.png")
        command = ["explain", picture, "--masks", self.path("masks"), "--out", self.path("out")]
        self.bad(1, ["06-star.png", "no such file"], *command)
        self.make("masks/06-star.png", png(128, 128, bytes(128 * 128 * 3)))
        self.bad(1, ["masks/06-star.png", "dark"], *command)
        self.assertEqual(self.listing("out"), [])

    def test_the_model_file(self):
        meta = safetensors_header(os.path.join(DEMO, "shapes.safetensors"))["__metadata__"]
        self.assertEqual(meta["model"], "resnet18_w16")
        self.assertLessEqual(os.path.getsize(os.path.join(DEMO, "shapes.safetensors")), 1500000)
        same = self.good("classify", PICTURES, "--json", "--weights", os.path.join(DEMO, "shapes.safetensors")).out
        self.assertEqual(self.good("classify", PICTURES, "--json").out, same)


class Data(Case):
    def test_pictures_and_masks(self):
        data = "scenes:size=32,count=9,seed=4"
        r = self.good("data", data, "--out", self.path("d"), "--first", 6, "--count", 5)
        self.assertIn("3 pictures", r.out)
        names = [n for n in self.listing("d") if n != "masks"]
        self.assertEqual([n[:7] for n in names], ["000006-", "000007-", "000008-"])
        for name in names:
            self.assertEqual(png_size(self.path("d/" + name)), (32, 32))
            stem, labels = name[:-4], name[7:-4].split("-")
            expected = [stem + ".png"] if len(labels) == 1 else [stem + "." + label + ".png" for label in labels]
            self.assertEqual(sorted(n for n in self.listing("d/masks") if n.startswith(stem)), sorted(expected))

    def test_what_is_wrong(self):
        self.bad(2, ["--first 9", "0 to 8"], "data", "scenes:size=32,count=9", "--first", 9, "--out", self.path("d"))
        self.bad(2, ["nonsense"], "data", "nonsense", "--out", self.path("d"))
        self.bad(2, ["--count"], "data", "scenes:size=32", "--count", 0, "--out", self.path("d"))
        self.assertEqual(self.listing("d"), [])


if __name__ == "__main__":
    unittest.main()
