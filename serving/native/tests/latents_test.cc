#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <cmath>
#include <numeric>
#include <string>

#include "latents.h"
#include "philox.h"

using namespace digits;

TEST_CASE("Philox gives the known answers of its authors' library") {
  constexpr std::uint32_t all = 0xFFFFFFFF;
  CHECK(Philox({0, 0}, {0, 0, 0, 0}) == Block{0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8});
  CHECK(Philox({all, all}, {all, all, all, all}) ==
        Block{0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD});
  CHECK(Philox({0xA4093822, 0x299F31D0}, {0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344}) ==
        Block{0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1});
}

static bool Near(const std::vector<float>& ours, const std::vector<float>& theirs) {
  bool near = ours.size() == theirs.size();
  for (std::size_t i = 0; near && i < ours.size(); ++i) near = std::abs(ours[i] - theirs[i]) < 2e-6;
  return near;
}

// The right-hand sides were printed by TensorFlow 2.16.
TEST_CASE("normal latents are those of tf.random.stateless_normal") {
  const auto latent = [](std::uint64_t seed) { return LatentOf(seed, 6, Distribution::kNormal); };
  CHECK(Near(latent(0), {-1.697034f, -0.48137671f, -0.66223693f, 0.087011188f, -1.0001622f,
                         0.94347405f}));
  CHECK(Near(latent(7), {-0.67417276f, -0.35869256f, -1.8795817f, -1.4728931f, -2.0062537f,
                         -1.1334324f}));
  CHECK(Near(latent(12345678901), {-0.4814302f, 1.9149475f, -0.97113663f, -0.30023599f,
                                   -1.2091556f, -0.021238405f}));
  CHECK(Near(latent(std::uint64_t{1} << 62), {-0.96430737f, -0.74674857f, -0.66548294f,
                                              -0.084460519f, -0.055039238f, 0.80430382f}));
}

TEST_CASE("uniform latents are those of tf.random.stateless_uniform") {
  CHECK(Near(LatentOf(7, 6, Distribution::kUniform),
             {0.494157553f, 0.344360352f, -0.884440899f, 0.288426399f, -0.859382868f,
              0.336309671f}));
}

TEST_CASE("a longer latent begins with the shorter one") {
  for (const auto distribution : {Distribution::kNormal, Distribution::kUniform}) {
    std::vector<float> longer = LatentOf(3, 101, distribution);
    longer.resize(7);
    CHECK(longer == LatentOf(3, 7, distribution));
  }
}

TEST_CASE("the class of a seed is the one that the signature `generate` chooses") {
  std::vector<int> digits(10);
  std::iota(digits.begin(), digits.end(), 0);
  CHECK(ClassOf(0, digits) == 9);
  CHECK(ClassOf(7, digits) == 9);
  CHECK(ClassOf(12345678901, digits) == 7);
  CHECK(ClassOf(0, {4}) == 4);
}
