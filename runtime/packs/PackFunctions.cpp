// SPDX-License-Identifier: Apache-2.0
//
// The C functions of tpac/pack.h.

#include "tpac/pack.h"

#include "runtime/Failure.h"
#include "runtime/SizedStruct.h"
#include "runtime/packs/CpuKernels.h"
#include "runtime/packs/Pack.h"

#include <memory>

using namespace tpac::runtime;

struct tpac_pack {
  std::shared_ptr<const Pack> content;
};

struct tpac_kernels {
  CpuKernels kernels;
};

namespace {

/// Whether `phase` is one; where not, has failed for `function`.
bool isPhase(const char *function, int32_t phase) {
  if (phase >= 0 && phase < static_cast<int32_t>(phaseNames.size()))
    return true;
  (void)fail(TPAC_INVALID_ARGUMENT, "%s: phase is %d; expected TPAC_APPEND, TPAC_DECODE, TPAC_PREFILL or TPAC_MERGE",
             function, phase);
  return false;
}

} // namespace

extern "C" {

int32_t tpac_pack_open(const char *path, tpac_pack **pack) {
  constexpr const char *function = "tpac_pack_open";
  if (path == nullptr || pack == nullptr)
    return refuseNull(function, path == nullptr ? "path" : "pack");
  return guarded(function, [&] { *pack = new tpac_pack{Pack::open(PackFiles::open(path), path)}; });
}

int32_t tpac_pack_open_memory(const void *data, int64_t size, tpac_pack **pack) {
  constexpr const char *function = "tpac_pack_open_memory";
  if (data == nullptr || pack == nullptr)
    return refuseNull(function, data == nullptr ? "data" : "pack");
  if (size < 0)
    return fail(TPAC_INVALID_ARGUMENT, "%s: size is %lld; expected 0 or more", function, static_cast<long long>(size));
  return guarded(function, [&] {
    std::string bytes(static_cast<const char *>(data), static_cast<size_t>(size));
    *pack = new tpac_pack{Pack::open(PackFiles::fromArchive(std::move(bytes)), "memory")};
  });
}

void tpac_pack_close(tpac_pack *pack) { delete pack; }

const char *tpac_pack_name(const tpac_pack *pack) {
  return pack == nullptr ? nullptr : pack->content->manifest.name.c_str();
}

const char *tpac_pack_manifest(const tpac_pack *pack) {
  return pack == nullptr ? nullptr : pack->content->manifestText.c_str();
}

int32_t tpac_kernels_create(const tpac_pack *pack, const tpac_kernels_config *config, tpac_kernels **kernels) {
  constexpr const char *function = "tpac_kernels_create";
  if (pack == nullptr || kernels == nullptr)
    return refuseNull(function, pack == nullptr ? "pack" : "kernels");
  tpac_kernels_config checked = {};
  if (const int32_t status = readSized(function, "config", "tpac_kernels_config", config, checked))
    return status;
  if (checked.device_type != TPAC_CPU)
    return fail(TPAC_INVALID_ARGUMENT, "%s: config.device_type is %d; expected TPAC_CPU, which is %d", function,
                checked.device_type, TPAC_CPU);
  if (checked.device != 0)
    return fail(TPAC_INVALID_ARGUMENT, "%s: config.device is %d; expected 0", function, checked.device);
  return guarded(function, [&] { *kernels = new tpac_kernels{CpuKernels(*pack->content)}; });
}

void tpac_kernels_destroy(tpac_kernels *kernels) { delete kernels; }

const char *tpac_kernels_target(const tpac_kernels *kernels) {
  return kernels == nullptr ? nullptr : kernels->kernels.target();
}

int32_t tpac_kernels_run(const tpac_kernels *kernels, int32_t phase, const void *args) {
  constexpr const char *function = "tpac_kernels_run";
  if (kernels == nullptr || args == nullptr)
    return refuseNull(function, kernels == nullptr ? "kernels" : "args");
  return isPhase(function, phase) ? guarded(function, [&] { kernels->kernels.run(phase, args); })
                                  : TPAC_INVALID_ARGUMENT;
}

int32_t tpac_kernels_workspace_size(const tpac_kernels *kernels, int32_t phase, int64_t tokens, int64_t batch,
                                    int64_t capacity, int64_t *bytes) {
  constexpr const char *function = "tpac_kernels_workspace_size";
  if (kernels == nullptr || bytes == nullptr)
    return refuseNull(function, kernels == nullptr ? "kernels" : "bytes");
  return isPhase(function, phase)
             ? guarded(function, [&] { *bytes = kernels->kernels.workspaceSize(phase, tokens, batch, capacity); })
             : TPAC_INVALID_ARGUMENT;
}
}
