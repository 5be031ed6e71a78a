// SPDX-License-Identifier: Apache-2.0
//
// Files and commands of the runtime's tests.

#ifndef TPAC_TESTS_UNIT_RUNTIME_TESTFILES_H
#define TPAC_TESTS_UNIT_RUNTIME_TESTFILES_H

#include <filesystem>
#include <string>

namespace tpac::test {

/// A new folder that goes away with the object.
class TemporaryFolder {
public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder &) = delete;
  TemporaryFolder &operator=(const TemporaryFolder &) = delete;

  const std::filesystem::path &path() const { return folder; }
  /// Writes a file below the folder, and the folders above it.
  void write(const std::string &relativePath, const std::string &text) const;

private:
  std::filesystem::path folder;
};

/// Runs a shell command; returns its exit status and what it printed to either stream.
struct CommandResult {
  int status;
  std::string output;
};
CommandResult runCommand(const std::string &command);

} // namespace tpac::test

#endif // TPAC_TESTS_UNIT_RUNTIME_TESTFILES_H
