// SPDX-License-Identifier: Apache-2.0

#include "lowering/TargetSchedule.h"

#include "lowering/cpu/CpuSchedule.h"
#include "lowering/gpu/GpuSchedule.h"
#include "lowering/tile/BuildPrograms.h"

#include <algorithm>
#include <iterator>

using namespace mlir;

tpac::CpuTraits tpac::cpuTraitsOf(const CodeTarget &target) {
  auto has = [&](StringRef feature) { return llvm::is_contained(target.features, feature); };
  if (target.cpu == "x86-64-v4" || has("+avx512f"))
    return {16, 32, target.amx, target.cpu == "x86-64-v4" || has("+avx512dq")};
  if (target.cpu == "x86-64-v3" || has("+avx2"))
    return {8, 16};
  bool aarch64 = StringRef(target.triple).starts_with("aarch64");
  return {4, aarch64 ? 32 : 16};
}

llvm::Error tpac::checkStorage(tpa::VariantAttr variant, CacheStorage storage, const CodeTarget &target) {
  if (isGpu(target) && storage.valueBlock != 0)
    return llvm::createStringError("value_block: expected 0 for a GPU, whose packs store tokens as rows, got " +
                                   std::to_string(storage.valueBlock));
  return checkStorage(variant, storage);
}

llvm::Expected<tpac::ScheduleSpace> tpac::scheduleSpace(tpa::VariantAttr variant, Phase phase, const CodeTarget &target,
                                                        CacheStorage storage) {
  if (llvm::Error error = checkStorage(variant, storage, target))
    return error;
  if (isGpu(target))
    return gpuScheduleSpace(variant, phase, GpuLimits::of(target.cpu), storage.pageSize);
  return cpuScheduleSpace(variant, phase, storage);
}

llvm::Error tpac::checkSchedule(tpa::VariantAttr variant, Phase phase, tpa::ScheduleAttr schedule,
                                const CodeTarget &target) {
  return isGpu(target) ? checkGpuSchedule(variant, phase, schedule, GpuLimits::of(target.cpu))
                       : checkCpuSchedule(variant, phase, schedule);
}

llvm::Expected<tpa::ScheduleAttr> tpac::defaultSchedule(tpa::VariantAttr variant, Phase phase, const CodeTarget &target,
                                                        CacheStorage storage, int64_t tokens) {
  if (llvm::Error error = checkStorage(variant, storage, target))
    return error;
  if (isGpu(target))
    return defaultGpuSchedule(variant, phase, GpuLimits::of(target.cpu), tokens == 0 ? 1 : gpuQueriesFor(phase, tokens),
                              storage.pageSize);
  return defaultCpuSchedule(variant, phase, cpuTraitsOf(target), storage);
}

int64_t tpac::gpuQueriesFor(Phase phase, int64_t tokens) {
  if (phase == Phase::prefill)
    return gpuPrefillQueries;
  if (phase != Phase::decode)
    return 1;
  const auto *next = std::ranges::lower_bound(gpuDecodeQueries, tokens);
  return next == std::end(gpuDecodeQueries) ? *std::prev(next) : *next;
}

int64_t tpac::defaultValueBlock(tpa::VariantAttr variant, const CodeTarget &target, int64_t pageSize) {
  return isGpu(target) ? 0 : defaultCpuValueBlock(variant, cpuTraitsOf(target), pageSize);
}
