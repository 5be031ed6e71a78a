// SPDX-License-Identifier: Apache-2.0
//
// Phases as tile programs, run by the interpreter.

#ifndef TPAC_TESTS_PROPERTY_INTERPRETEDPROGRAM_H
#define TPAC_TESTS_PROPERTY_INTERPRETEDPROGRAM_H

#include "tests/property/Program.h"

namespace property {

/// The tile programs of `phases` under the schedules that `route` asks for, in the interpreter, with the roundings of
/// their types.
std::unique_ptr<Program> makeInterpretedProgram(const Route &route, const std::string &variantJson,
                                                std::span<const tpac::Phase> phases, tpac::CacheStorage storage);

/// Whether `target` computes decode of the variant at all.
bool hasSchedules(const std::string &target, const std::string &variantJson);

} // namespace property

#endif // TPAC_TESTS_PROPERTY_INTERPRETEDPROGRAM_H
