// SPDX-License-Identifier: Apache-2.0
//
// A variant's phases, ready to be called, by one of the ways in which tpac computes them.

#ifndef TPAC_TESTS_PROPERTY_PROGRAM_H
#define TPAC_TESTS_PROPERTY_PROGRAM_H

#include "lowering/phases/CodePath.h"
#include "lowering/phases/PhaseSignature.h"

#include <memory>
#include <ostream>
#include <span>
#include <string>
#include <vector>

namespace property {

/// How phases are computed.
struct Route {
  enum class Kind {
    compiled,    ///< machine code of `path` for `target`
    emulated,    ///< a pack of `path` for `target`, another architecture, under QEMU
    interpreted, ///< the tile programs, in the interpreter, with the roundings of their types
  };
  std::string name;
  Kind kind;
  tpac::CodePath path = tpac::CodePath::fused;
  std::string target = "host";
  /// Interpreted attention: 0: the target's own schedules; else ones drawn from its space by this seed, caches split
  /// into parts that are as short as a test's requests.
  uint64_t scheduleSeed = 0;
};

/// Names the route where GoogleTest would print its bytes.
inline void PrintTo(const Route &route, std::ostream *os) { *os << route.name; }

/// The routes that this machine's CPU can take, each with its own name: reference, fused, fused-x86-64-v2, ..., tiles,
/// fused-aarch64.
std::vector<Route> availableRoutes();

/// What must be installed for `route` and is not; "" where nothing is missing.
std::string missingFor(const Route &route);

/// A tensor of a call.
struct Argument {
  std::string name;
  void *data;
  std::vector<int64_t> shape;
  /// In elements; empty: contiguous.
  std::vector<int64_t> strides;
};

class Program {
public:
  virtual ~Program() = default;

  /// Caches are stored as `storage` says. Throws std::runtime_error where the variant cannot be compiled.
  static std::unique_ptr<Program> make(const Route &route, const std::string &variantJson,
                                       std::span<const tpac::Phase> phases, tpac::CacheStorage storage = {});

  virtual const tpac::PhaseSignature &signature(tpac::Phase phase) const = 0;
  /// How it computes, where that was drawn: to be added to failures.
  virtual std::string description() const { return ""; }
  /// Calls `phase` with `sizes` and `arguments` in the order of its signature. Throws std::runtime_error where it
  /// fails.
  virtual void call(tpac::Phase phase, const std::vector<int64_t> &sizes,
                    const std::vector<Argument> &arguments) const = 0;
};

} // namespace property

#endif // TPAC_TESTS_PROPERTY_PROGRAM_H
