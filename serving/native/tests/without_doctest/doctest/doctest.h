// The part of doctest's interface that the tests use, for machines without doctest: cases, checks,
// exceptions, a summary. CMakeLists.txt takes the real one where it is installed.

#pragma once

#include <cstdio>
#include <exception>
#include <vector>

namespace without_doctest {

struct Case {
  const char* name;
  void (*run)();
};

inline std::vector<Case>& Cases() {
  static std::vector<Case> cases;
  return cases;
}

inline int& Failures() {
  static int failures = 0;
  return failures;
}

struct Registration {
  Registration(const char* name, void (*run)()) { Cases().push_back({name, run}); }
};

inline void Check(bool holds, const char* text, const char* file, int line) {
  if (holds) return;
  ++Failures();
  std::printf("%s:%d: does not hold: %s\n", file, line, text);
}

inline int RunAll() {
  for (const Case& one : Cases()) {
    const int before = Failures();
    try {
      one.run();
    } catch (const std::exception& error) {
      ++Failures();
      std::printf("exception: %s\n", error.what());
    }
    if (Failures() > before) std::printf("FAILED: %s\n", one.name);
  }
  std::printf("%zu test cases, %d failures\n", Cases().size(), Failures());
  return Failures() > 0;
}

}  // namespace without_doctest

#define WITHOUT_DOCTEST_JOIN_2(a, b) a##b
#define WITHOUT_DOCTEST_JOIN(a, b) WITHOUT_DOCTEST_JOIN_2(a, b)
#define WITHOUT_DOCTEST_CASE(function, name)                                              \
  static void function();                                                                 \
  static const without_doctest::Registration WITHOUT_DOCTEST_JOIN(function, _registered)( \
      name, function);                                                                    \
  static void function()

#define TEST_CASE(name) WITHOUT_DOCTEST_CASE(WITHOUT_DOCTEST_JOIN(test_case_, __LINE__), name)
#define CHECK(...) without_doctest::Check((__VA_ARGS__), #__VA_ARGS__, __FILE__, __LINE__)
#define CHECK_THROWS_WITH_AS(expression, message, type)                                     \
  try {                                                                                     \
    (void)(expression);                                                                     \
    without_doctest::Check(false, #expression " throws", __FILE__, __LINE__);               \
  } catch (const type& error) {                                                             \
    without_doctest::Check(std::string(error.what()) == message, #expression " says " #message, \
                           __FILE__, __LINE__);                                             \
  }

#ifdef DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
int main() { return without_doctest::RunAll(); }
#endif
