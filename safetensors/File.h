// SPDX-License-Identifier: Apache-2.0
//
// A strict reader of safetensors files: 8 bytes of header length (little-endian), a JSON header, the tensors' bytes.
// A file that breaks a rule of the format is refused as a whole; nothing is repaired or guessed.

#ifndef TPAC_SAFETENSORS_FILE_H
#define TPAC_SAFETENSORS_FILE_H

#include "safetensors/Dtype.h"

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace tpac::safetensors {

class File {
public:
  /// Maps the file into memory and checks all of its header: sizes, JSON without duplicate keys, known dtypes, byte
  /// ranges that fit shape and dtype and together cover the data without overlap or hole.
  /// Throws std::runtime_error: file, tensor, what was found, what is accepted.
  static File open(const std::filesystem::path &path);

  const std::filesystem::path &path() const { return filePath; }
  /// In alphabetical order.
  std::vector<std::string> names() const;
  bool contains(std::string_view name) const { return tensors.find(name) != tensors.end(); }
  /// The tensor, in memory that lives as long as this object. Throws std::runtime_error that lists the nearest names
  /// where there is none of that name.
  const View &tensor(std::string_view name) const;
  /// The strings of `__metadata__`.
  const std::map<std::string, std::string> &metadata() const { return metadataStrings; }

private:
  class Mapping;
  explicit File(const std::filesystem::path &path);

  std::filesystem::path filePath;
  std::shared_ptr<const Mapping> mapping;
  std::map<std::string, View, std::less<>> tensors;
  std::map<std::string, std::string> metadataStrings;
};

} // namespace tpac::safetensors

#endif // TPAC_SAFETENSORS_FILE_H
