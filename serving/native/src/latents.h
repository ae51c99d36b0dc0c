// What a seed means: the latent and the class that the signature `generate` draws for it.

#pragma once

#include <cstdint>
#include <vector>

namespace digits {

enum class Distribution { kNormal, kUniform };

/// The latent of a seed: `length` numbers, standard normal or uniform on [-1, 1).
///
/// Equal to tf.random.stateless_normal / stateless_uniform([length], [seed, 0], alg="philox") but
/// for the last bits of a logarithm and a sine.
std::vector<float> LatentOf(std::uint64_t seed, int length, Distribution distribution);

/// The class that a seed gets where any was asked for: one of `present`, which is not empty.
int ClassOf(std::uint64_t seed, const std::vector<int>& present);

}  // namespace digits
