// SPDX-License-Identifier: Apache-2.0

#include "tools/tpac/Progress.h"

#include <algorithm>
#include <cstdio>
#include <unistd.h>

namespace tpac {

ProgressLine::ProgressLine() : isTerminal(isatty(STDERR_FILENO)) {}

ProgressLine::~ProgressLine() {
  if (isShown)
    std::fputc('\n', stderr);
}

void ProgressLine::show(size_t done, size_t all, double seconds, const std::string &text) {
  if (!isTerminal || all == 0)
    return;
  constexpr size_t width = 24;
  const size_t filled = std::min(width, done * width / all);
  const double left = done ? seconds / static_cast<double>(done) * static_cast<double>(all - done) : 0;
  // To the line's start, then clear what stood there.
  std::fprintf(stderr, "\r\033[K[%s%s] %zu/%zu, %.0f s to go, %s", std::string(filled, '#').c_str(),
               std::string(width - filled, ' ').c_str(), done, all, left, text.c_str());
  isShown = true;
}

} // namespace tpac
