#include "options.h"

#include <algorithm>
#include <charconv>

namespace digits {
namespace {

constexpr std::int64_t kMostImages = 10'000;
constexpr std::int64_t kHighestSeed = std::int64_t{1} << 62;

std::int64_t Number(const std::string& flag, const std::string& text, std::int64_t lowest,
                    std::int64_t highest) {
  std::int64_t number = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc() || stop != end || number < lowest || number > highest) {
    throw UsageError(flag + " takes a whole number from " + std::to_string(lowest) + " to " +
                     std::to_string(highest) + ", not '" + text + "'");
  }
  return number;
}

/// The classes for people: "0, 1, 2" or "0 (shirt), 1 (dress)".
std::string List(const Classes& classes) {
  std::string list;
  for (const int label : classes.present) {
    const std::string number = std::to_string(label);
    list += (list.empty() ? "" : ", ") + number;
    if (classes.names[label] != number) list += " (" + classes.names[label] + ")";
  }
  return list;
}

int Digit(const std::string& text, const Classes& classes) {
  const auto label = static_cast<int>(Number("--digit", text, kAnyLabel, INT32_MAX));
  if (label == kAnyLabel) return label;
  if (!classes.conditional) throw UsageError("this generator is unconditional: --digit must be -1");
  const auto& present = classes.present;
  if (std::find(present.begin(), present.end(), label) == present.end()) {
    throw UsageError("this generator never saw class " + text + ": it draws " + List(classes));
  }
  return label;
}

}  // namespace

Options ParseOptions(const std::vector<std::string>& arguments, const Classes& classes) {
  Options options;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::size_t equals = arguments[i].find('=');
    const std::string flag = arguments[i].substr(0, equals);
    if (flag == "--help" || flag == "-h" || flag == "--version") {
      if (equals != std::string::npos) throw UsageError(flag + " takes no value");
      options.action =
          flag == "--version" ? Options::Action::kVersion : Options::Action::kHelp;
      return options;
    }
    if (flag != "--digit" && flag != "--count" && flag != "--seed" && flag != "--out") {
      throw UsageError("there is no '" + arguments[i] + "'; --help lists what there is");
    }
    if (equals == std::string::npos && i + 1 == arguments.size()) {
      throw UsageError(flag + " needs a value");
    }
    const std::string value =
        equals == std::string::npos ? arguments[++i] : arguments[i].substr(equals + 1);
    if (flag == "--digit") options.digit = Digit(value, classes);
    if (flag == "--count") options.count = static_cast<int>(Number(flag, value, 1, kMostImages));
    if (flag == "--seed") options.seed = Number(flag, value, 0, kHighestSeed);
    if (flag == "--out") options.out = value;
  }
  if (options.out.empty()) throw UsageError("--out FILE.png is missing");
  return options;
}

std::string Usage(const Classes& classes) {
  return "usage: digits [--digit D] [--count N] [--seed S] --out FILE.png\n"
         "\n"
         "  --digit D    the class to draw; -1, the default, lets each seed choose:\n"
         "               " + (classes.conditional ? List(classes) : "only -1") + "\n"
         "  --count N    how many images, 1 to 10000 [64]\n"
         "  --seed S     the first seed; the same seed gives the same image everywhere [0]\n"
         "  --out FILE   the PNG to write\n"
         "  --version    which generator is compiled in\n";
}

}  // namespace digits
