// The command line.

#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

namespace digits {

/// "Any class, chosen from the seed".
constexpr int kAnyLabel = -1;

/// The classes that the compiled generator draws.
struct Classes {
  std::vector<std::string> names;  ///< by label
  std::vector<int> present;        ///< labels that it has seen, ascending
  bool conditional;                ///< whether a label decides the class
};

/// What was asked for.
struct Options {
  enum class Action { kDraw, kVersion, kHelp };

  Action action = Action::kDraw;
  int digit = kAnyLabel;
  int count = 64;
  std::uint64_t seed = 0;
  std::string out;
};

/// The arguments can't be used; the message says which and why.
class UsageError : public std::invalid_argument {
 public:
  using std::invalid_argument::invalid_argument;
};

/// Reads arguments in the forms `--flag value` and `--flag=value`, the program's name not among
/// them.
///
/// Throws UsageError for whatever is unknown, missing, out of range or no class of this generator.
Options ParseOptions(const std::vector<std::string>& arguments, const Classes& classes);

/// The text of --help.
std::string Usage(const Classes& classes);

}  // namespace digits
