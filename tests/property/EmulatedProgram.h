// SPDX-License-Identifier: Apache-2.0
//
// A variant's phases as a pack of another architecture, run under QEMU's user emulation.

#ifndef TPAC_TESTS_PROPERTY_EMULATEDPROGRAM_H
#define TPAC_TESTS_PROPERTY_EMULATEDPROGRAM_H

#include "tests/property/Program.h"

namespace property {

/// Why packs for `target` cannot be run here: "" where they can, else the program that is missing. The emulator alone
/// may be missing: without a cross compiler and its libc, which every pack of the target needs, makeEmulatedProgram
/// throws.
std::string missingEmulator(const std::string &target);

/// Builds a pack for `target`, with V's token caches in blocks of `valueBlock` tokens (0: token by token), and starts a
/// process that runs it. Throws std::runtime_error where the variant cannot be
/// compiled, the cross compiler is missing, or the process does not start.
std::unique_ptr<Program> makeEmulatedProgram(const std::string &target, const std::string &variantJson,
                                             std::span<const tpac::Phase> phases, tpac::CacheStorage storage);

} // namespace property

#endif // TPAC_TESTS_PROPERTY_EMULATEDPROGRAM_H
