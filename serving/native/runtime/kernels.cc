// The two routines that XLA's compiled networks call instead of holding them: matrix product and
// convolution, under the names and with the arguments that XLA gives them
// (xla/service/cpu/runtime_single_threaded_{matmul,conv2d}.h).
//
// TensorFlow's own are Eigen's templates: a minute to compile, 700 kB, and for a convolution of a
// dilated image (a transposed convolution, which is most of a generator's work) they multiply by
// the zeros in between too. These skip them. The inner loops are written so that a compiler makes
// them into vector instructions.

#include <algorithm>
#include <cstdint>
#include <vector>

extern "C" {

/// out[m, n] = a[m, k] b[k, n], all column by column; a or b is transposed where the flag says so.
void __xla_cpu_runtime_EigenSingleThreadedMatMulF32(  // NOLINT(bugprone-reserved-identifier)
    const void* /*run_options*/, float* out, const float* a, const float* b, std::int64_t m,
    std::int64_t n, std::int64_t k, std::int32_t transpose_a, std::int32_t transpose_b) {
  for (std::int64_t column = 0; column < n; ++column) {
    float* const to = out + column * m;
    std::fill_n(to, m, 0.0f);
    for (std::int64_t i = 0; i < k; ++i) {
      const float factor = transpose_b ? b[column + i * n] : b[i + column * k];
      if (transpose_a) {
        for (std::int64_t row = 0; row < m; ++row) to[row] += factor * a[i + row * k];
      } else {
        const float* const from = a + i * m;
        for (std::int64_t row = 0; row < m; ++row) to[row] += factor * from[row];
      }
    }
  }
}

/// Convolves [batch, rows, columns, channels] with [rows, columns, channels, filters]. A dilated
/// image has zeros between its pixels, a dilated kernel between its weights.
void __xla_cpu_runtime_EigenSingleThreadedConv2DF32(  // NOLINT(bugprone-reserved-identifier)
    const void* /*run_options*/, float* out, const float* image, const float* kernel,
    std::int64_t batch, std::int64_t image_rows, std::int64_t image_columns, std::int64_t channels,
    std::int64_t kernel_rows, std::int64_t kernel_columns, std::int64_t kernel_channels,
    std::int64_t filters, std::int64_t out_rows, std::int64_t out_columns, std::int64_t row_stride,
    std::int64_t column_stride, std::int64_t padding_top, std::int64_t /*padding_bottom*/,
    std::int64_t padding_left, std::int64_t /*padding_right*/, std::int64_t image_row_dilation,
    std::int64_t image_column_dilation, std::int64_t kernel_row_dilation,
    std::int64_t kernel_column_dilation, std::int64_t groups) {
  const std::int64_t group_filters = filters / groups;
  /// The pixel that lies at `position` of the dilated image; -1 where there is a zero or nothing.
  const auto pixel_at = [](std::int64_t position, std::int64_t dilation, std::int64_t size) {
    const bool inside = position >= 0 && position % dilation == 0 && position / dilation < size;
    return inside ? position / dilation : std::int64_t{-1};
  };
  std::vector<float> sums(filters);
  for (std::int64_t n = 0; n < batch; ++n) {
    for (std::int64_t y = 0; y < out_rows; ++y) {
      for (std::int64_t x = 0; x < out_columns; ++x) {
        std::fill(sums.begin(), sums.end(), 0.0f);
        for (std::int64_t v = 0; v < kernel_rows; ++v) {
          const std::int64_t row = pixel_at(y * row_stride + v * kernel_row_dilation - padding_top,
                                            image_row_dilation, image_rows);
          if (row < 0) continue;
          for (std::int64_t u = 0; u < kernel_columns; ++u) {
            const std::int64_t column =
                pixel_at(x * column_stride + u * kernel_column_dilation - padding_left,
                         image_column_dilation, image_columns);
            if (column < 0) continue;
            const float* pixel =
                image + ((n * image_rows + row) * image_columns + column) * channels;
            const float* weights = kernel + (v * kernel_columns + u) * kernel_channels * filters;
            for (std::int64_t group = 0; group < groups; ++group, pixel += kernel_channels) {
              float* const to = sums.data() + group * group_filters;
              for (std::int64_t c = 0; c < kernel_channels; ++c) {
                const float value = pixel[c];
                const float* const from = weights + c * filters + group * group_filters;
                for (std::int64_t f = 0; f < group_filters; ++f) to[f] += value * from[f];
              }
            }
          }
        }
        out = std::copy(sums.begin(), sums.end(), out);
      }
    }
  }
}

}  // extern "C"
