// SPDX-License-Identifier: Apache-2.0
//
// A pack that was opened: its manifest, read and compared with its files.

#ifndef TPAC_RUNTIME_PACKS_PACK_H
#define TPAC_RUNTIME_PACKS_PACK_H

#include "runtime/packs/PackFiles.h"
#include "runtime/packs/PackManifest.h"

#include <memory>

namespace tpac::runtime {

struct Pack {
  PackFiles files;
  std::string manifestText;
  PackManifest manifest;

  /// Throws Failure; its message begins with `where` the files are from.
  static std::shared_ptr<const Pack> open(PackFiles files, const std::string &where);
};

} // namespace tpac::runtime

#endif // TPAC_RUNTIME_PACKS_PACK_H
