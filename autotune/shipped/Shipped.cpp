// SPDX-License-Identifier: Apache-2.0

#include "autotune/shipped/Shipped.h"

#include <cstdlib>

namespace tpac::records {

namespace {

// The assembler puts the files into the program as they are: name, zero, text, zero.
asm(".section .rodata\n"
    "tpac_shipped_records_begin:\n"
#include "ShippedFiles.inc"
    "tpac_shipped_records_end:\n"
    ".previous\n");
extern "C" const char tpac_shipped_records_begin[], tpac_shipped_records_end[];

} // namespace

std::vector<Layer> shippedLayers() {
  std::vector<Layer> layers;
  for (const char *at = tpac_shipped_records_begin; at != tpac_shipped_records_end;) {
    const std::string name = at;
    at += name.size() + 1;
    const std::string text = at;
    at += text.size() + 1;
    layers.push_back({name, recordsOf(text, name), true});
  }
  return layers;
}

std::vector<Layer> allLayers(const std::string &given) {
  std::vector<Layer> layers = readLayers(recordFiles(given));
  const char *named = std::getenv("TPAC_RECORDS");
  if (given.empty() && !(named && *named))
    for (Layer &layer : shippedLayers())
      layers.push_back(std::move(layer));
  return layers;
}

} // namespace tpac::records
