// SPDX-License-Identifier: Apache-2.0
//
// The files of a pack, wherever they are: in a directory, or in a tar archive.

#ifndef TPAC_RUNTIME_PACKS_PACKFILES_H
#define TPAC_RUNTIME_PACKS_PACKFILES_H

#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace tpac::runtime {

/// Functions throw Failure. Paths of files are relative to the pack's root, with '/'.
class PackFiles {
public:
  /// Of the directory or the archive at `path`.
  static PackFiles open(const std::filesystem::path &path);
  /// Of an archive in memory.
  static PackFiles fromArchive(std::string bytes);

  /// Names of the files at the root that end in ".json".
  std::vector<std::string> manifests() const;
  /// Bytes of a file, and its content; an error where there is none.
  size_t size(const std::string &file) const;
  std::string read(const std::string &file) const;
  /// Opens the shared library `file` with dlopen, private to the caller, who closes it with dlclose.
  void *load(const std::string &file) const;

private:
  /// Empty for archives.
  std::filesystem::path directory;
  /// Files of an archive; they point into `archive`.
  std::string archive;
  struct Range {
    size_t begin, size;
  };
  std::map<std::string, Range> ranges;
  const Range &find(const std::string &file) const;
};

} // namespace tpac::runtime

#endif // TPAC_RUNTIME_PACKS_PACKFILES_H
