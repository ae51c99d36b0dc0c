#include "generator.h"

// XLA's header names Eigen's types and leaves it to whoever includes it to bring them.
#include "unsupported/Eigen/CXX11/Tensor"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <stdexcept>

#include "compiled.h"  // written by saved_model_cli aot_compile_cpu
#include "facts.h"     // written by serving/native/build.py

extern "C" const unsigned char digits_weights[];  // weights.S

namespace digits {

Generator::Generator() : network_(std::make_unique<compiled::Network>()) {
  // A weight is stored as the three high bytes of its float.
  const unsigned char* byte = digits_weights;
  for (const auto& [argument, count] : facts::kWeights) {
    auto* const weights = static_cast<float*>(network_->arg_data(argument));
    for (int i = 0; i < count; ++i, byte += 3) {
      const std::uint32_t bits = std::uint32_t{byte[0]} << 8 | std::uint32_t{byte[1]} << 16 |
                                 std::uint32_t{byte[2]} << 24;
      std::memcpy(&weights[i], &bits, sizeof bits);
    }
  }
}

Generator::~Generator() = default;

std::vector<Image> Generator::Draw(const std::vector<std::vector<float>>& latents,
                                   const std::vector<int>& labels) {
  constexpr std::size_t kValues =
      std::size_t{facts::kWidth} * facts::kHeight * facts::kChannels;
  auto* const latent = static_cast<float*>(network_->arg_data(facts::kLatentArgument));
  std::vector<Image> images;
  for (std::size_t begin = 0; begin < latents.size(); begin += facts::kBatch) {
    // The last batch may not be full; its other rows keep whatever they held.
    const std::size_t rows = std::min<std::size_t>(facts::kBatch, latents.size() - begin);
    for (std::size_t row = 0; row < rows; ++row) {
      std::copy_n(latents[begin + row].data(), facts::kLatentDim, latent + row * facts::kLatentDim);
      if constexpr (facts::kLabelArgument >= 0) {  // an unconditional network may have lost it
        auto* const label = static_cast<std::int64_t*>(network_->arg_data(facts::kLabelArgument));
        label[row] = labels[begin + row];
      }
    }
    if (!network_->Run()) throw std::runtime_error("the network failed");
    const float* const drawn = network_->result0_data();
    for (std::size_t row = 0; row < rows; ++row) {
      images.push_back(
          ToPixels(drawn + row * kValues, facts::kWidth, facts::kHeight, facts::kChannels));
    }
  }
  return images;
}

}  // namespace digits
