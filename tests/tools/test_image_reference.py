"""Writes test_image_reference.h, what Pillow makes of small pictures: `python test_image_reference.py FILE`.
The committed file was made with Pillow 13.0.0."""

import io
import sys

from PIL import Image


def pattern(width, height):
    """The picture that the tests compute too: every value of 0 … 255, hard edges, no symmetry."""
    data = bytes((x * 37 + y * 91 + c * 53 + x * y * (c + 3)) % 256
                 for y in range(height) for x in range(width) for c in range(3))
    return Image.frombytes("RGB", (width, height), data)


def smooth(width, height):
    data = bytes(v for y in range(height) for x in range(width)
                 for v in (x * 255 // (width - 1), y * 255 // (height - 1), 128))
    return Image.frombytes("RGB", (width, height), data)


def array(name, data, out):
    out.write(f"inline constexpr unsigned char {name}[] = {{\n")
    for i in range(0, len(data), 24):
        out.write("    " + ", ".join(str(v) for v in data[i:i + 24]) + ",\n")
    out.write("};\n")


def encoded(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def main(path):
    with open(path, "w", encoding="utf-8") as out:
        out.write("// Written by test_image_reference.py. Do not edit.\n#pragma once\n\nnamespace retrace::reference {\n\n")
        out.write("// clang-format off\n")
        for name, size, to in [("smaller", (23, 17), (9, 7)), ("larger", (7, 5), (16, 11)), ("mixed", (19, 6), (8, 13)),
                               ("slightly", (20, 20), (19, 21))]:
            out.write(f"// pattern({size[0]}, {size[1]}) resized to {to[0]} x {to[1]}\n")
            array(name, pattern(*size).resize(to, Image.BILINEAR).tobytes(), out)
        for name, options in [("jpeg_420", dict(quality=85)), ("jpeg_progressive", dict(quality=85, progressive=True))]:
            data = encoded(smooth(24, 16), "JPEG", **options)
            out.write("// smooth(24, 16) as a JPEG file, and as decoded again\n")
            array(name, data, out)
            array(name + "_decoded", Image.open(io.BytesIO(data)).convert("RGB").tobytes(), out)
        data = encoded(smooth(24, 16).convert("L"), "JPEG", quality=85)
        out.write("// the same in grey\n")
        array("jpeg_grey", data, out)
        array("jpeg_grey_decoded", Image.open(io.BytesIO(data)).convert("RGB").tobytes(), out)

        out.write("// Two frames of 3 x 2: red, green, blue / white, black, transparent; then all blue\n")
        first = Image.new("P", (3, 2))
        first.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255, 255, 255, 255, 0, 0, 0, 9, 9, 9])
        first.putdata([0, 1, 2, 3, 4, 5])
        second = first.copy()
        second.putdata([2] * 6)
        array("gif", encoded(first, "GIF", save_all=True, append_images=[second], transparency=5, optimize=False,
                             disposal=2), out)
        out.write("// a palette of 4 colours, one of them half transparent (tRNS): 4 x 1\n")
        palette = Image.new("P", (4, 1))
        palette.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90, 255, 255, 0])
        palette.putdata([0, 1, 2, 3])
        array("png_palette", encoded(palette, "PNG", transparency=bytes([255, 0, 128, 255]), bits=2), out)
        out.write("// pattern(5, 4)\n")
        array("png_rgb", encoded(pattern(5, 4), "PNG"), out)
        array("bmp_rgb", encoded(pattern(5, 4), "BMP"), out)
        out.write("// clang-format on\n\n}  // namespace retrace::reference\n")


if __name__ == "__main__":
    main(sys.argv[1])
