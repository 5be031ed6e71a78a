// SPDX-License-Identifier: Apache-2.0
//
// Reads structures of callers that begin with their own size, so that they can grow in later versions.

#ifndef TPAC_RUNTIME_SIZEDSTRUCT_H
#define TPAC_RUNTIME_SIZEDSTRUCT_H

#include "runtime/Status.h"

#include <algorithm>
#include <cstring>

namespace tpac::runtime {

/// Copies what the caller gave as `name`, a structure of type `type`, to `copy`. It may be of a later version as long
/// as it asks for nothing unknown here: all bytes behind the known ones are 0. It may be of an earlier one of `first`
/// bytes or more; fields that it lacks are then those of `copy`. A failed status names `function`.
template <typename Struct>
int32_t readSized(const char *function, const char *name, const char *type, const Struct *given, Struct &copy,
                  int64_t first = sizeof(Struct)) {
  constexpr int64_t known = sizeof(Struct), largest = 4096;
  if (given == nullptr)
    return fail(TPAC_INVALID_ARGUMENT, "%s: %s is NULL; expected a pointer to a %s", function, name, type);
  const int64_t size = given->struct_size;
  if (size < first || size > largest)
    return fail(TPAC_INVALID_ARGUMENT, "%s: %s.struct_size is %lld; expected sizeof(%s), which is %lld", function, name,
                static_cast<long long>(size), type, static_cast<long long>(known));
  const auto *bytes = reinterpret_cast<const unsigned char *>(given);
  const auto *unknown =
      std::find_if(bytes + std::min(known, size), bytes + size, [](unsigned char byte) { return byte != 0; });
  if (unknown != bytes + size)
    return fail(TPAC_INVALID_ARGUMENT,
                "%s: %s has a field at byte %lld that version %s does not know; expected 0 in all bytes from %lld",
                function, name, static_cast<long long>(unknown - bytes), tpac_runtime_version(),
                static_cast<long long>(known));
  std::memcpy(static_cast<void *>(&copy), given, static_cast<size_t>(std::min(known, size)));
  return TPAC_SUCCESS;
}

} // namespace tpac::runtime

#endif // TPAC_RUNTIME_SIZEDSTRUCT_H
