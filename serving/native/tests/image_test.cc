#include <doctest/doctest.h>

#include <limits>
#include <numeric>
#include <stdexcept>
#include <string>

#include "image.h"

using namespace digits;

TEST_CASE("values become grey levels, rounded and clipped") {
  const float values[] = {-1, 1, 0, -0.999f, 1.2f, -3};
  CHECK(ToPixels(values, 3, 2, 1).pixels == std::vector<std::uint8_t>{0, 255, 128, 0, 255, 0});
}

TEST_CASE("a value that is not finite is no image") {
  const float values[] = {0, std::numeric_limits<float>::quiet_NaN()};
  CHECK_THROWS_WITH_AS(ToPixels(values, 2, 1, 1), "the network gave a number that is not finite",
                       std::runtime_error);
}

TEST_CASE("a sheet has ten columns where ten divide it, and is nearly square elsewhere") {
  const auto columns = [](int count) {
    return (Sheet(std::vector<Image>(count, Image{1, 1, {0}})).width - 2) / 4;
  };
  CHECK(columns(1) == 1);
  CHECK(columns(2) == 1);
  CHECK(columns(16) == 4);
  CHECK(columns(30) == 10);
  CHECK(columns(64) == 8);
}

TEST_CASE("a sheet shows each image twice as large with grey between") {
  const Image sheet = Sheet({Image{1, 1, {10}}, Image{1, 1, {20}}});
  CHECK(sheet.width == 6);
  CHECK(sheet.height == 10);
  const std::uint8_t g = 128;
  CHECK(sheet.pixels == std::vector<std::uint8_t>{
                            g, g, g,  g,  g, g, g, g, g,  g,  g, g,  //
                            g, g, 10, 10, g, g, g, g, 10, 10, g, g,  //
                            g, g, g,  g,  g, g, g, g, g,  g,  g, g,  //
                            g, g, 20, 20, g, g, g, g, 20, 20, g, g,  //
                            g, g, g,  g,  g, g, g, g, g,  g,  g, g});
}

TEST_CASE("colours stay together in a sheet and in a PNG") {
  const Image sheet = Sheet({Image{1, 1, {10, 20, 30}, 3}});
  const std::vector<std::uint8_t> first(sheet.pixels.begin() + 3 * (2 * 6 + 2),
                                        sheet.pixels.begin() + 3 * (2 * 6 + 4));
  CHECK(first == std::vector<std::uint8_t>{10, 20, 30, 10, 20, 30});
  CHECK(sheet.pixels.size() == 3 * 6 * 6);
  CHECK(EncodePng(sheet).substr(24, 2) == "\x08\x02");
}

TEST_CASE("a PNG of one pixel is this one") {
  // The check sums are those of Python's zlib.
  const std::string expected(
      "\x89PNG\r\n\x1a\n"
      "\0\0\0\x0dIHDR\0\0\0\1\0\0\0\1\x08\0\0\0\0\x3a\x7e\x9b\x55"
      "\0\0\0\x0dIDAT\x78\x01\1\2\0\xfd\xff\0\x80\0\x82\0\x81\xc3\x6e\x25\xe0"
      "\0\0\0\0IEND\xae\x42\x60\x82",
      8 + 25 + 25 + 12);
  CHECK(EncodePng(Image{1, 1, {0x80}}) == expected);
}

TEST_CASE("data over 65,535 bytes goes into several stored blocks") {
  Image image{300, 300, std::vector<std::uint8_t>(300 * 300)};
  std::iota(image.pixels.begin(), image.pixels.end(), 0);
  const std::string png = EncodePng(image);
  const std::size_t rows = 301 * 300, data = 8 + 25 + 8 + 2;  // up to the first block
  CHECK(png.substr(data, 5) == std::string("\0\xff\xff\0\0", 5));
  const auto rest = static_cast<std::uint16_t>(rows - 0xFFFF);
  const std::string last = {1, static_cast<char>(rest), static_cast<char>(rest >> 8),
                            static_cast<char>(~rest), static_cast<char>(~rest >> 8)};
  CHECK(png.substr(data + 5 + 0xFFFF, 5) == last);
  CHECK(png.size() == data + 10 + rows + 4 + 4 + 12);
}
