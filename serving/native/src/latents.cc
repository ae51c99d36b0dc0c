#include "latents.h"

#include <algorithm>
#include <cmath>

#include "philox.h"

namespace digits {
namespace {

// The second halves of TensorFlow's seeds: one stream of random numbers a purpose, as in
// trainer/export.py.
constexpr std::uint64_t kLatentStream = 0;
constexpr std::uint64_t kLabelStream = 1;

/// Random words of TensorFlow's stateless generator with the seed [seed, stream], four by four.
class Words {
 public:
  Words(std::uint64_t seed, std::uint64_t stream) {
    // TensorFlow scrambles a seed into key and counter (stateless_random_ops.cc, GenerateKey).
    const auto low = [](std::uint64_t word) { return static_cast<std::uint32_t>(word); };
    const Block mixed =
        Philox({0x3EC8F720, 0x02461E29}, {low(seed), low(seed >> 32), low(stream), low(stream >> 32)});
    key_ = {mixed[0], mixed[1]};
    counter_ = {0, 0, mixed[2], mixed[3]};
  }

  Block Next() {
    const Block words = Philox(key_, counter_);
    ++counter_[0];  // a latent of 2^34 numbers would be needed to overflow it
    return words;
  }

 private:
  Key key_;
  Block counter_;
};

/// 23 random bits as a number in [0, 1).
float Fraction(std::uint32_t word) { return static_cast<float>(word & 0x7FFFFF) / (1 << 23); }

}  // namespace

std::vector<float> LatentOf(std::uint64_t seed, int length, Distribution distribution) {
  Words words(seed, kLatentStream);
  std::vector<float> latent;
  latent.reserve(length + 3);
  while (latent.size() < static_cast<std::size_t>(length)) {
    const Block block = words.Next();
    if (distribution == Distribution::kUniform) {
      for (const std::uint32_t word : block) latent.push_back(2 * Fraction(word) - 1);
      continue;
    }
    for (int i = 0; i < 4; i += 2) {  // Box and Muller, as random_distributions.h has it
      const double radius = std::sqrt(-2 * std::log(std::max(Fraction(block[i]), 1e-7f)));
      const double angle = 2 * M_PI * Fraction(block[i + 1]);
      latent.push_back(static_cast<float>(radius * std::sin(angle)));
      latent.push_back(static_cast<float>(radius * std::cos(angle)));
    }
  }
  latent.resize(length);
  return latent;
}

int ClassOf(std::uint64_t seed, const std::vector<int>& present) {
  return present[Words(seed, kLabelStream).Next()[0] % present.size()];
}

}  // namespace digits
