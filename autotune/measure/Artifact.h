// SPDX-License-Identifier: Apache-2.0
//
// What a candidate is compiled to, on whatever machine: an object file for CPUs, a pack of one phase for GPUs.

#ifndef TPAC_AUTOTUNE_MEASURE_ARTIFACT_H
#define TPAC_AUTOTUNE_MEASURE_ARTIFACT_H

#include "bench/phases/Rows.h"
#include "lowering/execute/Executable.h"

#include <functional>
#include <sched.h>
#include <string>
#include <vector>

namespace tpac {
struct GpuCacheLayout;
}

namespace tpac::autotune {

struct Artifact {
  /// CPUs: a relocatable object file. GPUs: a tar archive of a pack (docs/packs.md).
  std::string bytes;
  /// Of artifacts with equal codes one alone need be checked and timed: they are the same machine code.
  std::string code;
  /// GPUs: of it the storage alone.
  CodeMemory memory;
};

/// Compiles the phase of `row` for `target` by `schedule`, the text of a #tpa.schedule. For GPUs without ptxas on this
/// machine the pack holds PTX. Throws std::exception.
Artifact compileArtifact(const bench::Row &row, const std::string &schedule, const std::string &target);

struct Compilation {
  /// Why it does not compile; "" where it does.
  std::string problem;
  Artifact artifact;
};

/// Calls `compile` for each of `schedules`, on at most `together` threads, and catches what it throws. Threads run on
/// the CPUs `cpus`, where it is given.
std::vector<Compilation> compileAll(const std::vector<std::string> &schedules, size_t together, const cpu_set_t *cpus,
                                    const std::function<Artifact(const std::string &)> &compile);

/// Whether `target` names a GPU. Throws std::runtime_error where there is no such target.
bool isGpuTarget(const std::string &target);

/// What the phase of `row` takes and gives, with caches stored as `storage` says.
PhaseSignature signatureOf(const bench::Row &row, CacheStorage storage);

/// How GPUs keep the cache of the variant of `row`.
GpuCacheLayout cacheLayoutOf(const bench::Row &row);

} // namespace tpac::autotune

#endif // TPAC_AUTOTUNE_MEASURE_ARTIFACT_H
