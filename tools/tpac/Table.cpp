// SPDX-License-Identifier: Apache-2.0

#include "tools/tpac/Table.h"

#include <algorithm>
#include <cstdio>
#include <ostream>
#include <stdexcept>

void tpac::Table::addRow(std::vector<std::string> cells) {
  if (cells.size() != columns.size())
    throw std::logic_error("a table row has another number of cells than the table columns");
  rows.push_back(std::move(cells));
}

void tpac::Table::print(std::ostream &os) const {
  std::vector<std::string> titles;
  for (const Column &column : columns)
    titles.push_back(column.title);
  std::vector<size_t> widths(columns.size());
  auto widen = [&](const std::vector<std::string> &cells) {
    for (size_t i = 0; i < cells.size(); ++i)
      widths[i] = std::max(widths[i], cells[i].size());
  };
  widen(titles);
  std::ranges::for_each(rows, widen);

  auto printRow = [&](const std::vector<std::string> &cells) {
    std::string line;
    for (size_t i = 0; i < cells.size(); ++i) {
      std::string padding(widths[i] - cells[i].size(), ' ');
      line += (i ? "  " : "") + (columns[i].align == Align::right ? padding + cells[i] : cells[i] + padding);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    os << line << '\n';
  };
  printRow(titles);
  std::vector<std::string> rules;
  for (size_t width : widths)
    rules.emplace_back(width, '-');
  printRow(rules);
  std::ranges::for_each(rows, printRow);
}

std::string tpac::format(const char *pattern, double value) {
  char text[64];
  std::snprintf(text, sizeof text, pattern, value);
  return text;
}
