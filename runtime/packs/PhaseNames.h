// SPDX-License-Identifier: Apache-2.0
//
// Phases as manifests name them, by their numbers in tpac/pack.h.

#ifndef TPAC_RUNTIME_PACKS_PHASENAMES_H
#define TPAC_RUNTIME_PACKS_PHASENAMES_H

#include <array>

namespace tpac::runtime {

inline constexpr std::array<const char *, 6> phaseNames = {"append", "decode", "prefill", "merge", "import", "export"};

} // namespace tpac::runtime

#endif // TPAC_RUNTIME_PACKS_PHASENAMES_H
