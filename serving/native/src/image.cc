#include "image.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <stdexcept>

namespace digits {
namespace {

constexpr int kScale = 2;
constexpr int kGap = 2;

/// A number as four bytes, the highest first.
std::string BigEndian(std::uint32_t number) {
  std::string bytes;
  for (int shift = 24; shift >= 0; shift -= 8) bytes += static_cast<char>(number >> shift);
  return bytes;
}

/// CRC-32 of PNG's chunks (ISO 3309).
std::uint32_t Crc32(const std::string& bytes) {
  std::uint32_t crc = 0xFFFFFFFF;
  for (const unsigned char byte : bytes) {
    crc ^= byte;
    for (int bit = 0; bit < 8; ++bit) crc = crc & 1 ? 0xEDB88320 ^ (crc >> 1) : crc >> 1;
  }
  return ~crc;
}

/// Adler-32 of zlib's streams (RFC 1950).
std::uint32_t Adler32(const std::string& bytes) {
  std::uint32_t a = 1, b = 0;
  for (const unsigned char byte : bytes) {
    a = (a + byte) % 65521;
    b = (b + a) % 65521;
  }
  return b << 16 | a;
}

/// A zlib stream of stored blocks (RFC 1951, section 3.2.4): no compression, and no zlib needed.
std::string Stored(const std::string& bytes) {
  std::string stream = "\x78\x01";
  std::size_t begin = 0;
  do {
    const std::size_t length = std::min<std::size_t>(bytes.size() - begin, 0xFFFF);
    const bool last = begin + length == bytes.size();
    const auto low = static_cast<char>(length), high = static_cast<char>(length >> 8);
    stream += {static_cast<char>(last), low, high, static_cast<char>(~low),
               static_cast<char>(~high)};
    stream.append(bytes, begin, length);
    begin += length;
  } while (begin < bytes.size());
  return stream + BigEndian(Adler32(bytes));
}

std::string Chunk(const std::string& type, const std::string& data) {
  return BigEndian(static_cast<std::uint32_t>(data.size())) + type + data +
         BigEndian(Crc32(type + data));
}

}  // namespace

Image ToPixels(const float* values, int width, int height, int channels) {
  const std::size_t size = static_cast<std::size_t>(width) * height * channels;
  Image image{width, height, std::vector<std::uint8_t>(size), channels};
  std::transform(values, values + image.pixels.size(), image.pixels.begin(), [](float value) {
    if (!std::isfinite(value)) throw std::runtime_error("the network gave a number that is not finite");
    return static_cast<std::uint8_t>(std::clamp(std::nearbyint((value + 1) * 127.5f), 0.0f, 255.0f));
  });
  return image;
}

Image Sheet(const std::vector<Image>& images) {
  const int count = static_cast<int>(images.size());
  const int square = static_cast<int>(std::lround(std::sqrt(count)));
  const int columns = std::min(count % 10 == 0 ? 10 : square, count);
  const int rows = (count + columns - 1) / columns;
  const int right = images[0].width * kScale + kGap, down = images[0].height * kScale + kGap;
  const int channels = images[0].channels;
  Image sheet{columns * right + kGap, rows * down + kGap, {}, channels};
  sheet.pixels.assign(static_cast<std::size_t>(sheet.width) * sheet.height * channels, 128);
  for (int i = 0; i < count; ++i) {
    const int left = i % columns * right + kGap, top = i / columns * down + kGap;
    for (int y = 0; y < images[i].height * kScale; ++y) {
      const std::size_t place = static_cast<std::size_t>(top + y) * sheet.width + left;
      std::uint8_t* row = &sheet.pixels[place * channels];
      for (int x = 0; x < images[i].width * kScale; ++x) {
        const std::size_t pixel = y / kScale * images[i].width + x / kScale;
        std::copy_n(&images[i].pixels[pixel * channels], channels, row + x * channels);
      }
    }
  }
  return sheet;
}

std::string EncodePng(const Image& image) {
  // 8 bits, grey (0) or RGB (2), no interlacing; each row begins with its filter, 0 for none.
  const std::string header = BigEndian(image.width) + BigEndian(image.height) + '\x08' +
                             (image.channels == 1 ? '\0' : '\2') + std::string(3, '\0');
  const std::ptrdiff_t width = static_cast<std::ptrdiff_t>(image.width) * image.channels;
  std::string rows;
  for (int y = 0; y < image.height; ++y) {
    const auto begin = image.pixels.begin() + y * width;
    rows += '\0';
    rows.append(begin, begin + width);
  }
  return "\x89PNG\r\n\x1a\n" + Chunk("IHDR", header) + Chunk("IDAT", Stored(rows)) +
         Chunk("IEND", "");
}

}  // namespace digits
