#include <doctest/doctest.h>

#include <string>

#include "options.h"

using namespace digits;

static const Classes kDigits{{"0", "1", "2"}, {0, 2}, true};
static const Classes kClothes{{"shirt", "dress"}, {0, 1}, true};
static const Classes kUnconditional{{"0", "1"}, {0, 1}, false};

TEST_CASE("both forms of flags are read") {
  const Options options =
      ParseOptions({"--digit", "2", "--count=16", "--seed", "1", "--out=a=b.png"}, kDigits);
  CHECK(options.digit == 2);
  CHECK(options.count == 16);
  CHECK(options.seed == 1);
  CHECK(options.out == "a=b.png");
}

TEST_CASE("what is not asked for has a default") {
  const Options options = ParseOptions({"--out", "x.png"}, kDigits);
  CHECK(options.action == Options::Action::kDraw);
  CHECK(options.digit == kAnyLabel);
  CHECK(options.count == 64);
  CHECK(options.seed == 0);
}

TEST_CASE("help and version need nothing else") {
  CHECK(ParseOptions({"--help"}, kDigits).action == Options::Action::kHelp);
  CHECK(ParseOptions({"--seed", "3", "-h"}, kDigits).action == Options::Action::kHelp);
  CHECK(ParseOptions({"--version"}, kDigits).action == Options::Action::kVersion);
}

static void Refused(const std::vector<std::string>& arguments, const std::string& message,
                    const Classes& classes = kDigits) {
  CHECK_THROWS_WITH_AS(ParseOptions(arguments, classes), message.c_str(), UsageError);
}

TEST_CASE("wrong usage is told in one sentence") {
  Refused({}, "--out FILE.png is missing");
  Refused({"--out"}, "--out needs a value");
  Refused({"sevens.png"}, "there is no 'sevens.png'; --help lists what there is");
  Refused({"--digits=3"}, "there is no '--digits=3'; --help lists what there is");
  Refused({"--version=2"}, "--version takes no value");
  for (const std::string value : {"", "x", "7x", "1.5", "0", "10001", "-1", "99999999999999999999"}) {
    Refused({"--count", value},
            "--count takes a whole number from 1 to 10000, not '" + value + "'");
  }
  Refused({"--seed=-1"}, "--seed takes a whole number from 0 to 4611686018427387904, not '-1'");
}

TEST_CASE("a class that the generator never saw is refused by name") {
  Refused({"--digit=1"}, "this generator never saw class 1: it draws 0, 2");
  Refused({"--digit=3"}, "this generator never saw class 3: it draws 0 (shirt), 1 (dress)",
          kClothes);
  Refused({"--digit=0"}, "this generator is unconditional: --digit must be -1", kUnconditional);
  CHECK(ParseOptions({"--digit=-1", "--out=x"}, kUnconditional).digit == kAnyLabel);
}

TEST_CASE("help lists the classes") {
  CHECK(Usage(kClothes).find("0 (shirt), 1 (dress)") != std::string::npos);
  CHECK(Usage(kUnconditional).find("only -1") != std::string::npos);
}
