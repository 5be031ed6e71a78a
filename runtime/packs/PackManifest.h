// SPDX-License-Identifier: Apache-2.0
//
// What the runtime reads of a pack's manifest.

#ifndef TPAC_RUNTIME_PACKS_PACKMANIFEST_H
#define TPAC_RUNTIME_PACKS_PACKMANIFEST_H

#include <cstdint>
#include <string>
#include <vector>

namespace tpac::runtime {

struct PackManifest {
  struct Phase {
    /// "append", "decode", ...
    std::string name;
    /// C function in the pack's library, and the one that gives its workspace's size; empty where it has none.
    std::string function, workspaceSizeFunction;
    /// Bytes of the argument block up to its last tensor.
    int64_t argumentBytes;
  };
  struct File {
    std::string path;
    int64_t bytes;
  };

  std::string name;
  std::vector<std::string> targets;
  std::vector<Phase> phases;
  std::vector<File> files;
  std::string cpuLevelFunction;

  /// The phase of that name, or null.
  const Phase *find(std::string_view phase) const;
  /// Path of the CPU's shared library; empty where the pack has none.
  std::string sharedLibrary() const;

  /// Throws Failure, which names the field that is wrong.
  static PackManifest parse(const std::string &text);
};

} // namespace tpac::runtime

#endif // TPAC_RUNTIME_PACKS_PACKMANIFEST_H
