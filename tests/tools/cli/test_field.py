"""Weight files as the field's own libraries wrote them (tests/tools/make_field_fixtures.py): names, values, logits."""

import json
import os
import re
import unittest

from support import Case, png, read_safetensors

FIELD = os.path.join(os.path.dirname(os.path.abspath(__file__)), "field")
SIDE, CLASSES = 64, 7


def picture():
    """make_field_fixtures.py's."""
    return png(SIDE, SIDE, bytes((7 * x + 13 * y + 29 * c + x * y) % 256
                                 for y in range(SIDE) for x in range(SIDE) for c in range(3)))


class Field(Case):
    def setUp(self):
        super().setUp()
        self.picture = self.make("picture.png", picture())
        with open(os.path.join(FIELD, "logits.json")) as file:
            self.logits = json.load(file)

    def classified(self, *arguments):
        r = self.good("classify", self.picture, *arguments, "--resize", SIDE, "--crop", SIDE, "--top", CLASSES, "--json")
        return {entry["index"]: entry["logit"] for entry in r.lines[0]["top"]}

    def close(self, ours, theirs):
        self.assertEqual(len(ours), CLASSES)
        scale = max(abs(v) for v in theirs)
        for index, value in enumerate(theirs):
            # Float32 through twenty layers against float64: each passes at 1e-5 of the largest logit.
            self.assertLess(abs(ours[index] - value), 1e-5 * scale, (index, ours[index], value))

    def test_logits(self):
        """Each file as it is, and what it was imported to, against what its own library says."""
        self.assertGreaterEqual(len(self.logits), 6)
        for name, theirs in self.logits.items():
            with self.subTest(name):
                file, *ema = name.split()
                path = os.path.join(FIELD, file)
                self.close(self.classified("--weights", path, *ema), theirs)
                out = self.path("out.safetensors")
                self.good("import", path, "--model", "resnet18_w2", "--out", out, *ema)
                self.close(self.classified("--weights", out), theirs)
                _, tensors = read_safetensors(out)
                self.assertEqual(len([n for n in tensors if not n.endswith("num_batches_tracked")]), 102)
                self.assertEqual(tensors["conv1.weight"][1], [2, 3, 7, 7])
                self.assertEqual(tensors["layer4.0.downsample.0.weight"][1], [16, 8, 1, 1])
                self.assertEqual(tensors["fc.weight"][1], [CLASSES, 16])

    def test_what_is_said(self):
        words = {"timm_train.pth.tar": ["the plain weights are taken; averaged ones are there too", "'optimizer' (dict)"],
                 "hf/model.safetensors": ["Hugging Face names"],
                 "hf_shards/model.safetensors.index.json": ["Hugging Face names"],
                 "lightning.ckpt": ["entry 'state_dict'", "'optimizer_states' (list)", "prefix 'model.' removed"],
                 "parallel.pth": ["entry 'state_dict'", "prefix 'module.' removed"]}
        for name, parts in words.items():
            r = self.good("inspect", os.path.join(FIELD, name))
            for part in parts:
                self.assertIn(part, r.out, name)
            self.assertRegex(r.out, re.compile(r"fits resnet18_w2 with 7 classes"))

    def test_shards_are_the_whole(self):
        written = []
        for name in ("hf/model.safetensors", "hf_shards/model.safetensors.index.json"):
            out = self.path("out.safetensors")
            self.good("import", os.path.join(FIELD, name), "--model", "resnet18_w2", "--out", out)
            written.append(read_safetensors(out)[1])
        self.assertEqual(written[0], written[1])
        self.assertGreater(len(os.listdir(os.path.join(FIELD, "hf_shards"))), 2)


if __name__ == "__main__":
    unittest.main()
