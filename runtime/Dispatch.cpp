// SPDX-License-Identifier: Apache-2.0

#include "runtime/Dispatch.h"

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace tpac::runtime {

bool reportsDispatch() noexcept {
  const char *text = std::getenv("TPA_VERBOSE");
  std::string_view rest = text == nullptr ? "" : text;
  while (!rest.empty()) {
    const size_t end = rest.find(',');
    if (rest.substr(0, end) == "dispatch")
      return true;
    rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
  }
  return false;
}

void reportDispatch(const char *format, ...) noexcept {
  // One call of the library, so that lines of several threads do not mix.
  char line[1024];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(line, sizeof(line), format, arguments);
  va_end(arguments);
  std::fprintf(stderr, "tpac: dispatch: %s\n", line);
}

} // namespace tpac::runtime
