// Images: sheets of them, and PNG.

#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace digits {

/// An image, row by row: grey, 0 is black, 255 is white; or red, green and blue of each pixel.
struct Image {
  int width = 0;
  int height = 0;
  std::vector<std::uint8_t> pixels;
  int channels = 1;
};

/// Pixels of what the network gives: [-1, 1] to 0..255, rounded to nearest.
///
/// Throws std::runtime_error where a value is not finite.
Image ToPixels(const float* values, int width, int height, int channels);

/// Lays images of one size out row by row on grey, each pixel 2x2, as
/// `mnist-gan generate` does. `images` is not empty.
Image Sheet(const std::vector<Image>& images);

/// The image as a PNG file, not compressed.
std::string EncodePng(const Image& image);

}  // namespace digits
