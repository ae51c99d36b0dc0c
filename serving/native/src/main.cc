// digits: draws handwritten digits with a generator that is compiled in.

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <exception>
#include <stdexcept>
#include <string>
#include <vector>

#include "facts.h"
#include "generator.h"
#include "image.h"
#include "latents.h"
#include "options.h"

namespace {

using namespace digits;

constexpr int kFailed = 1, kUsage = 2;

Classes TheClasses() {
  return {{std::begin(facts::kClassNames), std::end(facts::kClassNames)},
          {std::begin(facts::kClassesPresent), std::end(facts::kClassesPresent)},
          facts::kConditional};
}

std::vector<Image> Draw(const Options& options) {
  const std::vector<int> present = TheClasses().present;
  std::vector<std::vector<float>> latents;
  std::vector<int> labels;
  for (int i = 0; i < options.count; ++i) {
    const std::uint64_t seed = options.seed + i;
    latents.push_back(LatentOf(seed, facts::kLatentDim, facts::kDistribution));
    labels.push_back(options.digit == kAnyLabel ? ClassOf(seed, present) : options.digit);
  }
  return Generator().Draw(latents, labels);
}

/// Writes a file whole or not at all.
void Write(const std::string& path, const std::string& content) {
  const std::string staging = path + "." + std::to_string(getpid());
  std::FILE* const file = std::fopen(staging.c_str(), "wb");
  bool written = file != nullptr;
  if (written) {
    written = std::fwrite(content.data(), 1, content.size(), file) == content.size();
    written = std::fclose(file) == 0 && written;
    written = written && std::rename(staging.c_str(), path.c_str()) == 0;
  }
  if (!written) {
    const std::string why = std::strerror(errno);
    std::remove(staging.c_str());
    throw std::runtime_error(path + " could not be written: " + why);
  }
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const Options options = ParseOptions({argv + 1, argv + argc}, TheClasses());
    if (options.action == Options::Action::kHelp) {
      std::fputs(Usage(TheClasses()).c_str(), stdout);
    } else if (options.action == Options::Action::kVersion) {
      std::printf("digits: %s, version %s\nsource hash: %s\nFID: %s\ntrained on: %s\n",
                  facts::kModel, facts::kVersion, facts::kSourceHash, facts::kFid, facts::kData);
    } else {
      Write(options.out, EncodePng(Sheet(Draw(options))));
    }
    return 0;
  } catch (const UsageError& error) {
    std::fprintf(stderr, "digits: %s\n", error.what());
    return kUsage;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "digits: %s\n", error.what());
    return kFailed;
  }
}
