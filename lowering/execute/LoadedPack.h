// SPDX-License-Identifier: Apache-2.0
//
// A kernel pack loaded into this process. No MLIR in this header.

#ifndef TPAC_LOWERING_EXECUTE_LOADEDPACK_H
#define TPAC_LOWERING_EXECUTE_LOADEDPACK_H

#include "lowering/phases/PhaseCall.h"
#include "lowering/phases/PhaseSignature.h"

#include <memory>
#include <string>
#include <vector>

namespace tpac {

struct PackContent;

/// The manifest in `directory`. Throws std::runtime_error where there is no pack, or more than one.
PackContent readPack(const std::string &directory);

class LoadedPack {
public:
  /// Reads the manifest in `directory` and loads the shared library that it names. Throws std::runtime_error where
  /// there is no pack, or more than one, where it is for GPUs alone, its library is for another machine or lacks a
  /// function, and where this machine runs none of its CPU levels.
  static std::unique_ptr<LoadedPack> open(const std::string &directory);
  ~LoadedPack();

  /// What its C functions begin with.
  const std::string &name() const;
  /// The variant with every default spelled out.
  const std::string &variantJson() const;
  /// Names of the targets that it was built for.
  const std::vector<std::string> &targets() const;
  /// The one of them whose code runs.
  std::string cpuLevel() const;

  /// In the manifest's order; their splits are not known.
  const std::vector<PhaseSignature> &signatures() const;
  PhaseFunction function(Phase phase) const;
  /// The text of a status that a phase returned.
  std::string statusMessage(int32_t status) const;

private:
  struct Implementation;
  explicit LoadedPack(std::unique_ptr<Implementation> implementation);
  std::unique_ptr<Implementation> implementation;
};

} // namespace tpac

#endif // TPAC_LOWERING_EXECUTE_LOADEDPACK_H
