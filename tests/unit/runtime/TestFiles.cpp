// SPDX-License-Identifier: Apache-2.0
//
// Files and commands of the runtime's tests.

#include "tests/unit/runtime/TestFiles.h"

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <stdexcept>
#include <sys/wait.h>

namespace fs = std::filesystem;

namespace tpac::test {

TemporaryFolder::TemporaryFolder() {
  std::string name = (fs::temp_directory_path() / "tpac-runtime-XXXXXX").string();
  if (mkdtemp(name.data()) == nullptr)
    throw std::runtime_error("cannot create " + name);
  folder = name;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  fs::remove_all(folder, ignored);
}

void TemporaryFolder::write(const std::string &relativePath, const std::string &text) const {
  const fs::path file = folder / relativePath;
  fs::create_directories(file.parent_path());
  std::ofstream(file) << text;
}

CommandResult runCommand(const std::string &command) {
  FILE *pipe = popen((command + " 2>&1").c_str(), "r");
  if (pipe == nullptr)
    throw std::runtime_error("cannot run: " + command);
  std::string output;
  char buffer[4096];
  while (size_t size = std::fread(buffer, 1, sizeof(buffer), pipe))
    output.append(buffer, size);
  const int status = pclose(pipe);
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, output};
}

} // namespace tpac::test
