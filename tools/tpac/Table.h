// SPDX-License-Identifier: Apache-2.0
//
// Aligned tables on a terminal.

#ifndef TPAC_TOOLS_TPAC_TABLE_H
#define TPAC_TOOLS_TPAC_TABLE_H

#include <iosfwd>
#include <string>
#include <vector>

namespace tpac {

class Table {
public:
  enum class Align { left, right };

  struct Column {
    std::string title;
    Align align = Align::left;
  };

  explicit Table(std::vector<Column> columns) : columns(std::move(columns)) {}

  /// One text per column.
  void addRow(std::vector<std::string> cells);
  void print(std::ostream &os) const;

private:
  std::vector<Column> columns;
  std::vector<std::vector<std::string>> rows;
};

/// printf-style with one number: format("%.1e", x).
std::string format(const char *pattern, double value);

} // namespace tpac

#endif // TPAC_TOOLS_TPAC_TABLE_H
