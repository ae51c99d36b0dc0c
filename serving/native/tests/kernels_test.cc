#include <doctest/doctest.h>

#include <cstdint>
#include <string>
#include <vector>

extern "C" {
void __xla_cpu_runtime_EigenSingleThreadedMatMulF32(
    const void*, float* out, const float* a, const float* b, std::int64_t m, std::int64_t n,
    std::int64_t k, std::int32_t transpose_a, std::int32_t transpose_b);
void __xla_cpu_runtime_EigenSingleThreadedConv2DF32(
    const void*, float* out, const float* image, const float* kernel, std::int64_t batch,
    std::int64_t image_rows, std::int64_t image_columns, std::int64_t channels,
    std::int64_t kernel_rows, std::int64_t kernel_columns, std::int64_t kernel_channels,
    std::int64_t filters, std::int64_t out_rows, std::int64_t out_columns, std::int64_t row_stride,
    std::int64_t column_stride, std::int64_t padding_top, std::int64_t padding_bottom,
    std::int64_t padding_left, std::int64_t padding_right, std::int64_t image_row_dilation,
    std::int64_t image_column_dilation, std::int64_t kernel_row_dilation,
    std::int64_t kernel_column_dilation, std::int64_t groups);
}

TEST_CASE("matrices are multiplied, transposed or not") {
  // Column by column: a is [[1, 2, 3], [4, 5, 6]], b is [[1, 0], [0, 1], [1, 1]].
  const std::vector<float> a = {1, 4, 2, 5, 3, 6}, a_transposed = {1, 2, 3, 4, 5, 6};
  const std::vector<float> b = {1, 0, 1, 0, 1, 1}, b_transposed = {1, 0, 0, 1, 1, 1};
  const std::vector<float> product = {4, 10, 5, 11};
  for (int flags = 0; flags < 4; ++flags) {
    std::vector<float> out(4, -1);
    __xla_cpu_runtime_EigenSingleThreadedMatMulF32(
        nullptr, out.data(), flags & 1 ? a_transposed.data() : a.data(),
        flags & 2 ? b_transposed.data() : b.data(), 2, 2, 3, flags & 1, flags >> 1);
    CHECK(out == product);
  }
}

namespace {

struct Case {
  int image, channels, kernel, filters, stride, before, after, image_dilation, kernel_dilation,
      groups;
};

/// A convolution as it is defined: over the image with the zeros put in.
std::vector<float> Defined(const Case& c, const std::vector<float>& image,
                           const std::vector<float>& kernel, int size) {
  const int group_channels = c.channels / c.groups, group_filters = c.filters / c.groups;
  std::vector<float> out;
  for (int n = 0; n < 2; ++n)
    for (int y = 0; y < size; ++y)
      for (int x = 0; x < size; ++x)
        for (int f = 0; f < c.filters; ++f) {
          float sum = 0;
          for (int v = 0; v < c.kernel; ++v)
            for (int u = 0; u < c.kernel; ++u)
              for (int i = 0; i < group_channels; ++i) {
                const int row = y * c.stride + v * c.kernel_dilation - c.before;
                const int column = x * c.stride + u * c.kernel_dilation - c.before;
                const int last = (c.image - 1) * c.image_dilation;
                if (row < 0 || column < 0 || row > last || column > last ||
                    row % c.image_dilation || column % c.image_dilation)
                  continue;
                const int r = row / c.image_dilation, q = column / c.image_dilation;
                const int channel = f / group_filters * group_channels + i;
                sum += image[((n * c.image + r) * c.image + q) * c.channels + channel] *
                       kernel[((v * c.kernel + u) * group_channels + i) * c.filters + f];
              }
          out.push_back(sum);
        }
  return out;
}

}  // namespace

TEST_CASE("images are convolved: plain, strided, dilated, grouped") {
  const Case cases[] = {
      {5, 3, 3, 4, 1, 1, 1, 1, 1, 1},  // plain, same size
      {6, 2, 4, 3, 2, 1, 1, 1, 1, 1},  // strided
      {4, 3, 4, 2, 1, 2, 2, 2, 1, 1},  // transposed: a dilated image
      {7, 2, 3, 2, 1, 0, 0, 1, 2, 1},  // a dilated kernel
      {4, 4, 3, 6, 1, 1, 1, 1, 1, 2},  // two groups
  };
  for (const Case& c : cases) {
    // Small whole numbers: sums are exact in any order.
    std::vector<float> image(2 * c.image * c.image * c.channels);
    std::vector<float> kernel(c.kernel * c.kernel * c.channels / c.groups * c.filters);
    int number = 0;
    for (float& value : image) value = static_cast<float>(number++ * 7 % 11 - 5);
    for (float& value : kernel) value = static_cast<float>(number++ * 5 % 13 - 6);
    const int reach = (c.kernel - 1) * c.kernel_dilation + 1;
    const int padded = (c.image - 1) * c.image_dilation + 1 + c.before + c.after;
    const int size = (padded - reach) / c.stride + 1;
    std::vector<float> out(2 * size * size * c.filters, -1);
    __xla_cpu_runtime_EigenSingleThreadedConv2DF32(
        nullptr, out.data(), image.data(), kernel.data(), 2, c.image, c.image, c.channels,
        c.kernel, c.kernel, c.channels / c.groups, c.filters, size, size, c.stride, c.stride,
        c.before, c.after, c.before, c.after, c.image_dilation, c.image_dilation,
        c.kernel_dilation, c.kernel_dilation, c.groups);
    CHECK(out == Defined(c, image, kernel, size));
  }
}
