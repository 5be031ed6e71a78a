// SPDX-License-Identifier: Apache-2.0
//
// A line on the terminal that says how far long work has come; nothing where standard error is no terminal.

#ifndef TPAC_TOOLS_TPAC_PROGRESS_H
#define TPAC_TOOLS_TPAC_PROGRESS_H

#include <string>

namespace tpac {

class ProgressLine {
public:
  ProgressLine();
  /// Ends the line.
  ~ProgressLine();
  ProgressLine(const ProgressLine &) = delete;
  ProgressLine &operator=(const ProgressLine &) = delete;

  /// Shows `done` of `all` as a bar with the seconds to go (judged by those passed), then `text`.
  void show(size_t done, size_t all, double seconds, const std::string &text);

private:
  bool isTerminal;
  bool isShown = false;
};

} // namespace tpac

#endif // TPAC_TOOLS_TPAC_PROGRESS_H
