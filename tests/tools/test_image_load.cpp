// Reading picture files: what comes out of good ones, and that bad ones are refused with a line that says
// why.
#include <doctest/doctest.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdlib>

#include "kernels/error.h"
#include "tests/tools/test_image_files.h"
#include "tests/tools/test_image_reference.h"
#include "tools/image/expand.h"
#include "tools/image/picture.h"

namespace retrace {
namespace {

using image::load_picture;

// The message of the error that reading `path` ends in; fails the test if there is none, if the file is not
// named, or if it is not one line.
std::string refusal(const std::filesystem::path& path) {
  try {
    load_picture(path);
  } catch (const Error& error) {
    const std::string message = error.what();
    CHECK_MESSAGE(message.starts_with(path.string()), message);
    CHECK_MESSAGE(message.find('\n') == message.npos, message);
    return message;
  }
  FAIL_CHECK("not refused: " << path);
  return {};
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != text.npos;
}

int largest_difference(const Picture& picture, std::span<const unsigned char> expected) {
  REQUIRE(picture.rgb.size() == expected.size());
  int most = 0;
  for (std::size_t i = 0; i < expected.size(); ++i)
    most = std::max(most, std::abs(picture.rgb[i] - expected[i]));
  return most;
}

template <std::size_t n>
Bytes bytes_of(const unsigned char (&array)[n]) {
  return {array, array + n};
}

TEST_CASE("JPEG files decode as libjpeg decodes them") {
  const TemporaryFolder folder;
  // The standard leaves the inverse DCT's rounding to the decoder, and colour conversion adds another: 3
  // levels are seen here between this decoder and libjpeg-turbo, chroma upsampling included.
  const auto check = [&](const Bytes& file, std::span<const unsigned char> expected) {
    const Picture p = load_picture(folder.put("a.jpg", file));
    CHECK(p.width == 24);
    CHECK(p.height == 16);
    CHECK(largest_difference(p, expected) <= 3);
  };
  check(bytes_of(reference::jpeg_420), reference::jpeg_420_decoded);
  check(bytes_of(reference::jpeg_progressive), reference::jpeg_progressive_decoded);
  check(bytes_of(reference::jpeg_grey), reference::jpeg_grey_decoded);
}

TEST_CASE("PNG and BMP files come back bit by bit") {
  const TemporaryFolder folder;
  const Picture expected = pattern(5, 4);
  CHECK(largest_difference(load_picture(folder.put("a.png", bytes_of(reference::png_rgb))), expected.rgb) ==
        0);
  CHECK(largest_difference(load_picture(folder.put("a.bmp", bytes_of(reference::bmp_rgb))), expected.rgb) ==
        0);
  // The name does not matter.
  CHECK(largest_difference(load_picture(folder.put("b.jpg", bytes_of(reference::png_rgb))), expected.rgb) ==
        0);
  const Picture own = load_picture(folder.put("c.png", make_png(5, 4, 8, 2, expected.rgb)));
  CHECK(own.width == 5);
  CHECK(own.height == 4);
  CHECK(own.rgb == expected.rgb);
}

TEST_CASE("grey becomes RGB") {
  const TemporaryFolder folder;
  CHECK(load_picture(folder.put("a.png", make_png(2, 1, 8, 0, {7, 200}))).rgb ==
        Bytes{7, 7, 7, 200, 200, 200});
}

TEST_CASE("alpha is composited over white") {
  const TemporaryFolder folder;
  // 255 - (255 - v) · alpha / 255, rounded.
  const Bytes rgba{10, 20, 30, 255, 10, 20, 30, 0, 0, 100, 200, 128};
  CHECK(load_picture(folder.put("a.png", make_png(3, 1, 8, 6, rgba))).rgb ==
        Bytes{10, 20, 30, 255, 255, 255, 127, 177, 227});
  CHECK(load_picture(folder.put("b.png", make_png(2, 1, 8, 4, {0, 255, 0, 51}))).rgb ==
        Bytes{0, 0, 0, 204, 204, 204});
  CHECK(load_picture(folder.put("c.png", bytes_of(reference::png_palette))).rgb ==
        Bytes{10, 20, 30, 255, 255, 255, 162, 167, 172, 255, 255, 0});
}

TEST_CASE("16 bits a channel are rounded, not cut off") {
  const TemporaryFolder folder;
  // 0x0080 = 128 · 255 / 65535 = 0.498 → 0; 0x0081 → 0.502 → 1; 0x7FFF → 127.498 → 127; 0x8000 → 127.502 →
  // 128; 0xFEFF → 253.995 → 254 (its high byte is 254 too); 0x00FF → 0.99 → 1 (its high byte is 0).
  const Bytes levels{0x00, 0x80, 0x00, 0x81, 0x7F, 0xFF, 0x80, 0x00, 0xFE, 0xFF, 0x00, 0xFF};
  const Bytes expected{0, 1, 127, 128, 254, 1};
  CHECK(load_picture(folder.put("a.png", make_png(2, 1, 16, 2, levels))).rgb == expected);
  Bytes file{'P', '6', '\n', '2', ' ', '1', '\n', '6', '5', '5', '3', '5', '\n'};
  file.insert(file.end(), levels.begin(), levels.end());
  CHECK(load_picture(folder.put("a.ppm", file)).rgb == expected);
}

TEST_CASE("of a GIF the first frame, transparency over white") {
  const TemporaryFolder folder;
  CHECK(load_picture(folder.put("a.gif", bytes_of(reference::gif))).rgb ==
        Bytes{255, 0, 0, 0, 255, 0, 0, 0, 255, 255, 255, 255, 0, 0, 0, 255, 255, 255});
}

TEST_CASE("PGM and PPM, plain and raw, with comments and other maxima") {
  const TemporaryFolder folder;
  const Bytes expected{0, 0, 0, 128, 128, 128, 255, 255, 255};
  CHECK(load_picture(folder.put("a.pgm", "P2 # a comment\n3 1\n# another\n100\n0 50\n100\n")).rgb ==
        expected);
  CHECK(load_picture(folder.put("b.pgm", std::string("P5\n3 1\n100\n\0\x32\x64", 14))).rgb == expected);
  CHECK(load_picture(folder.put("a.ppm", "P3\n1 1\n255\n1 2 3\n")).rgb == Bytes{1, 2, 3});
  CHECK(load_picture(folder.put("b.ppm", "P6 1 1 255\nabc")).rgb == Bytes{'a', 'b', 'c'});
  CHECK(contains(refusal(folder.put("c.ppm", "P6 1 1 255\nab")), "cut short"));
  CHECK(contains(refusal(folder.put("d.ppm", "P3 1 1 255\n1   2  ")), "cut short"));
  CHECK(contains(refusal(folder.put("e.ppm", "P3 1 1 255\n1 2 256")), "beyond its maximum 255"));
  CHECK(contains(refusal(folder.put("f.ppm", "P6 1 1 70000\nabc")), "70000"));
  CHECK(contains(refusal(folder.put("g.ppm", "P6 1 x 255\nabc")), "height"));
  CHECK(contains(refusal(folder.put("h.ppm", "P6 99999999999999999999 1 255\nabc")), "width"));
  CHECK(contains(refusal(folder.put("i.ppm", "P6 1 1")), "cut short"));
  CHECK(contains(refusal(folder.put("j.pbm", "P1 1 1 0")), "PBM"));
}

TEST_CASE("what is no readable picture is refused, saying why") {
  const TemporaryFolder folder;
  CHECK(contains(refusal(folder / "missing.png"), "no such file"));
  CHECK(contains(refusal(folder.path()), "a folder"));
  CHECK(contains(refusal(folder.put("empty.png", "")), "empty"));
  CHECK(contains(refusal(folder.put("text.jpg", "This is no picture at all.\n")), "not a picture"));
  CHECK(contains(refusal(folder.put("one.png", "B")), "not a picture"));
  CHECK(contains(refusal(folder.put("bm.bmp", "BMW makes cars, they say, and more")), "not a picture"));
  CHECK(contains(refusal(folder.put("a.webp", "RIFF1234WEBPVP8 ....")), "WebP"));
  CHECK(contains(refusal(folder.put("a.tif", std::string("II*\0........", 12))), "TIFF"));
  CHECK(contains(refusal(folder.put("a.heic", "....ftypheic....")), "HEIC"));
  const auto pipe = folder / "pipe.png";
  REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
  CHECK(contains(refusal(pipe), "not a regular file"));
  const auto under = folder.put("file", "x") / "a.png";
  CHECK(!refusal(under).empty());
}

TEST_CASE("absurd sizes are refused before anything is allocated") {
  const TemporaryFolder folder;
  CHECK(contains(refusal(folder.put("wide.png", make_png(16385, 1, 8, 2, {}))), "16385 x 1"));
  CHECK(contains(refusal(folder.put("large.png", make_png(100000, 100000, 8, 2, {}))), "100000 x 100000"));
  CHECK(contains(refusal(folder.put("zero.png", make_png(0, 1, 8, 2, {}))), "0 x 1"));
  CHECK(contains(refusal(folder.put("area.pgm", "P5 16385 16384 255\n")), "16385 x 16384"));
  CHECK(contains(refusal(folder.put("zero.pgm", "P5 0 1 255\n")), "0 x 1"));
  CHECK(contains(refusal(folder.put("area.png", make_png(16384, 16384, 8, 2, {}))), "cannot be decoded"));
}

// Every file that ends before its picture does must be refused: all prefixes are tried.
void check_prefixes(const TemporaryFolder& folder, const Bytes& file, std::size_t whole) {
  for (std::size_t length = 1; length < whole; ++length) {
    CAPTURE(length);
    CHECK(!refusal(folder.put("prefix", std::span(file).first(length))).empty());
  }
  for (std::size_t length = whole; length <= file.size(); ++length)
    CHECK_NOTHROW(load_picture(folder.put("prefix", std::span(file).first(length))));
}

TEST_CASE("files cut short anywhere are refused") {
  const TemporaryFolder folder;
  SUBCASE("JPEG") {
    check_prefixes(folder, bytes_of(reference::jpeg_420), sizeof reference::jpeg_420);
  }
  SUBCASE("progressive JPEG") {
    check_prefixes(folder, bytes_of(reference::jpeg_progressive), sizeof reference::jpeg_progressive);
  }
  SUBCASE("PNG") {
    check_prefixes(folder, bytes_of(reference::png_rgb), sizeof reference::png_rgb);
  }
  SUBCASE("BMP") {
    // The last row's last byte is padding, which a decoder does not need, but the format does.
    check_prefixes(folder, bytes_of(reference::bmp_rgb), sizeof reference::bmp_rgb);
  }
  SUBCASE("GIF, first frame") {
    const Bytes file = bytes_of(reference::gif);
    // The first frame ends before the second one's graphic control extension (21 F9).
    const Bytes control{0x21, 0xF9};
    const auto first = std::search(file.begin(), file.end(), control.begin(), control.end());
    REQUIRE(first != file.end());
    const auto second = std::search(first + 2, file.end(), control.begin(), control.end());
    REQUIRE(second != file.end());
    const std::size_t whole = std::size_t(second - file.begin());
    for (std::size_t length = 1; length < whole; ++length)
      CHECK(!refusal(folder.put("prefix", std::span(file).first(length))).empty());
    CHECK(load_picture(folder.put("first", std::span(file).first(whole))).width == 3);
  }
  SUBCASE("message") {
    const Bytes file = bytes_of(reference::jpeg_420);
    CHECK(contains(refusal(folder.put("a.jpg", std::span(file).first(file.size() - 2))), "cut short"));
  }
}

TEST_CASE("a damaged PNG is refused by its checksum") {
  const TemporaryFolder folder;
  Bytes file = make_png(5, 4, 8, 2, pattern(5, 4).rgb);
  file[60] ^= 1;
  CHECK(contains(refusal(folder.put("a.png", file)), "IDAT"));
}

TEST_CASE("a Huffman table of more than 256 codes is refused") {
  // The segment is as long as its counts say: 17 bytes, and 150 codes each of 15 and 16 bits.
  const TemporaryFolder folder;
  const Bytes start{0xFF, 0xD8, 0xFF, 0xC4, 0x01, 0x3F};
  Bytes file(start.size() + 17 + 300, 0);
  std::copy(start.begin(), start.end(), file.begin());
  file[start.size() + 15] = file[start.size() + 16] = 150;
  CHECK(contains(refusal(folder.put("a.jpg", file)), "Huffman table of 300 codes"));
  // With fewer bytes than codes.
  file[5] = 0x3E;
  file.pop_back();
  CHECK(contains(refusal(folder.put("b.jpg", file)), "Huffman table of 300 codes in 316 bytes"));
}

TEST_CASE("a JPEG scan that uses a table that is not there is refused") {
  const TemporaryFolder folder;
  const auto after = [](Bytes& file, std::uint8_t marker) {
    const Bytes wanted{0xFF, marker};
    const auto at = std::search(file.begin(), file.end(), wanted.begin(), wanted.end());
    REQUIRE(at != file.end());
    return at + 2;
  };
  for (const auto& [good, what] : {std::pair{bytes_of(reference::jpeg_420), "DC table 3"},
                                   {bytes_of(reference::jpeg_progressive), "DC table 3"},
                                   {bytes_of(reference::jpeg_420), "AC table 2"},
                                   {bytes_of(reference::jpeg_420), "quantization table 3"}}) {
    Bytes file = good;
    // Scan header: length (2), number of components, component, its tables. Frame header: length (2),
    // precision, height (2), width (2), number of components, component, its sampling, its table.
    if (what[0] == 'D') after(file, 0xDA)[4] = 0x30;
    if (what[0] == 'A') after(file, 0xDA)[4] = 0x02;
    if (what[0] == 'q') after(file, good == bytes_of(reference::jpeg_420) ? 0xC0 : 0xC2)[10] = 3;
    CHECK(contains(refusal(folder.put("a.jpg", file)), what));
  }
}

TEST_CASE("damaged files never do worse than an error") {
  // With the sanitizers on, reads beyond the bytes would end the program.
  const TemporaryFolder folder;
  std::uint32_t state = 1;
  const auto random = [&] { return state = state * 1664525u + 1013904223u, state >> 8; };
  int refused = 0;
  for (const Bytes& good :
       {bytes_of(reference::jpeg_420), bytes_of(reference::jpeg_progressive), bytes_of(reference::bmp_rgb),
        bytes_of(reference::gif), bytes_of(reference::png_palette)})
    for (int i = 0; i < 150; ++i) {
      Bytes file = good;
      for (int n = 0; n < 3; ++n) file[random() % file.size()] = std::uint8_t(random());
      try {
        const Picture p = load_picture(folder.put("damaged", file));
        CHECK(p.rgb.size() == std::size_t(p.width) * p.height * 3);
      } catch (const Error&) {
        ++refused;
      }
    }
  CHECK(refused > 100);
}

TEST_CASE("folders become their pictures, sorted") {
  const TemporaryFolder folder;
  for (const char* name : {"b.PNG", "a.jpg", "c.JpEg", "notes.txt", ".hidden.png", "d.gif", "noextension"})
    folder.put(name, "x");
  std::filesystem::create_directory(folder / "sub.png");
  folder.put("sub.png/inside.png", "x");
  const std::vector<std::filesystem::path> arguments{folder / "notes.txt", folder.path(),
                                                     folder / "missing.png"};
  const std::vector<std::filesystem::path> expected{folder / "notes.txt", folder / "a.jpg",
                                                    folder / "b.PNG",     folder / "c.JpEg",
                                                    folder / "d.gif",     folder / "missing.png"};
  CHECK(image::expand_images(arguments) == expected);

  std::filesystem::create_directory(folder / "empty");
  folder.put("empty/readme.md", "x");
  const std::vector<std::filesystem::path> empty{folder / "empty"};
  CHECK_THROWS_WITH_AS(image::expand_images(empty), doctest::Contains("no pictures in this folder"), Error);
}

}  // namespace
}  // namespace retrace
