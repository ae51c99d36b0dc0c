// The network: compiled ahead of time by TensorFlow's XLA, its weights in the executable.

#pragma once

#include <memory>
#include <vector>

#include "image.h"

namespace compiled {
class Network;  // written by TensorFlow's compiler
}

namespace digits {

/// Draws images from latents. Not to be used by two threads at once.
class Generator {
 public:
  Generator();
  ~Generator();

  /// One image for each latent and label. The labels are classes, never kAnyLabel: compiled code
  /// checks nothing. An unconditional generator ignores them.
  ///
  /// Throws std::runtime_error where the network fails or gives what is no image.
  std::vector<Image> Draw(const std::vector<std::vector<float>>& latents,
                          const std::vector<int>& labels);

 private:
  std::unique_ptr<compiled::Network> network_;
};

}  // namespace digits
