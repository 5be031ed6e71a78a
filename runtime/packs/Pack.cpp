// SPDX-License-Identifier: Apache-2.0

#include "runtime/packs/Pack.h"

#include "runtime/Failure.h"

namespace tpac::runtime {

namespace {

Pack read(PackFiles files) {
  const std::vector<std::string> manifests = files.manifests();
  if (manifests.size() != 1)
    refuse("found " + std::to_string(manifests.size()) +
           " files *.json at the top; expected one, the manifest of a kernel pack");
  std::string text = files.read(manifests.front());
  PackManifest manifest = PackManifest::parse(text);
  for (const PackManifest::File &file : manifest.files)
    if (const auto size = static_cast<int64_t>(files.size(file.path)); size != file.bytes)
      refuse("file " + file.path + " has " + std::to_string(size) + " bytes; the manifest says " +
             std::to_string(file.bytes));
  return {std::move(files), std::move(text), std::move(manifest)};
}

} // namespace

std::shared_ptr<const Pack> Pack::open(PackFiles files, const std::string &where) {
  try {
    return std::make_shared<const Pack>(read(std::move(files)));
  } catch (const Failure &failure) {
    throw Failure(failure.status, where + ": " + failure.what());
  }
}

} // namespace tpac::runtime
