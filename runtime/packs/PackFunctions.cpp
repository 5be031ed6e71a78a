// SPDX-License-Identifier: Apache-2.0
//
// The C functions of tpac/pack.h.

#include "tpac/pack.h"

#include "runtime/Failure.h"
#include "runtime/SizedStruct.h"
#include "runtime/cuda/CudaKernels.h"
#include "runtime/packs/BoundKernels.h"
#include "runtime/packs/CpuKernels.h"
#include "runtime/packs/Pack.h"

#include <cstddef>
#include <memory>

using namespace tpac::runtime;

struct tpac_pack {
  std::shared_ptr<const Pack> content;
};

struct tpac_kernels {
  /// Shared with kernels that were bound to them.
  std::shared_ptr<const Kernels> kernels;
};

namespace {

/// Whether `phase` is one; where not, has failed for `function`.
bool isPhase(const char *function, int32_t phase) {
  if (phase >= 0 && phase < static_cast<int32_t>(phaseNames.size()))
    return true;
  (void)fail(TPAC_INVALID_ARGUMENT,
             "%s: phase is %d; expected TPAC_APPEND, TPAC_DECODE, TPAC_PREFILL, TPAC_MERGE, TPAC_IMPORT or "
             "TPAC_EXPORT",
             function, phase);
  return false;
}

int32_t launch(const char *function, const tpac_kernels *kernels, int32_t phase, const void *args, void *stream) {
  if (kernels == nullptr || args == nullptr)
    return refuseNull(function, kernels == nullptr ? "kernels" : "args");
  return isPhase(function, phase) ? guarded(function, [&] { kernels->kernels->launch(phase, args, stream); })
                                  : TPAC_INVALID_ARGUMENT;
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
  if (const int32_t status = readSized(function, "config", "tpac_kernels_config", config, checked,
                                       /*first=*/offsetof(tpac_kernels_config, part_tokens)))
    return status;
  const bool isCuda = checked.device_type == TPAC_CUDA;
  if (checked.device_type != TPAC_CPU && !isCuda)
    return fail(TPAC_INVALID_ARGUMENT,
                "%s: config.device_type is %d; expected TPAC_CPU, which is %d, or TPAC_CUDA, which is %d", function,
                checked.device_type, TPAC_CPU, TPAC_CUDA);
  if (!isCuda && checked.device != 0)
    return fail(TPAC_INVALID_ARGUMENT, "%s: config.device is %d; expected 0", function, checked.device);
  const int64_t mostPartTokens = isCuda ? INT32_MAX : 0;
  if (checked.part_tokens < 0 || checked.part_tokens > mostPartTokens)
    return fail(TPAC_INVALID_ARGUMENT, "%s: config.part_tokens is %lld; expected %s", function,
                static_cast<long long>(checked.part_tokens),
                isCuda ? "0 .. 2147483647" : "0, since parts of a fixed size are for GPUs");
  return guarded(function, [&] {
    std::shared_ptr<const Kernels> loaded;
    if (isCuda)
      loaded = std::make_shared<cuda::CudaKernels>(*pack->content, checked.device, checked.part_tokens);
    else
      loaded = std::make_shared<CpuKernels>(*pack->content);
    *kernels = new tpac_kernels{std::move(loaded)};
  });
}

int32_t tpac_kernels_bind(const tpac_kernels *kernels, const tpac_binding *bindings, int64_t count,
                          tpac_kernels **bound) {
  constexpr const char *function = "tpac_kernels_bind";
  if (kernels == nullptr || bound == nullptr)
    return refuseNull(function, kernels == nullptr ? "kernels" : "bound");
  if (count < 0)
    return fail(TPAC_INVALID_ARGUMENT, "%s: count is %lld; expected 0 or more", function,
                static_cast<long long>(count));
  if (count > 0 && bindings == nullptr)
    return refuseNull(function, "bindings");
  return guarded(function,
                 [&] { *bound = new tpac_kernels{std::make_shared<BoundKernels>(kernels->kernels, bindings, count)}; });
}

void tpac_kernels_destroy(tpac_kernels *kernels) { delete kernels; }

const char *tpac_kernels_target(const tpac_kernels *kernels) {
  return kernels == nullptr ? nullptr : kernels->kernels->target();
}

int32_t tpac_kernels_run(const tpac_kernels *kernels, int32_t phase, const void *args) {
  return launch("tpac_kernels_run", kernels, phase, args, nullptr);
}

int32_t tpac_kernels_launch(const tpac_kernels *kernels, int32_t phase, const void *args, void *stream) {
  return launch("tpac_kernels_launch", kernels, phase, args, stream);
}

int32_t tpac_kernels_cache_layout(const tpac_kernels *kernels, tpac_cache_layout *layout) {
  constexpr const char *function = "tpac_kernels_cache_layout";
  if (kernels == nullptr)
    return refuseNull(function, "kernels");
  tpac_cache_layout checked = {};
  if (const int32_t status = readSized(function, "layout", "tpac_cache_layout", layout, checked))
    return status;
  return guarded(function, [&] {
    kernels->kernels->cacheLayout(checked);
    *layout = checked;
  });
}

int32_t tpac_kernels_workspace_size(const tpac_kernels *kernels, int32_t phase, int64_t tokens, int64_t batch,
                                    int64_t capacity, int64_t *bytes) {
  constexpr const char *function = "tpac_kernels_workspace_size";
  if (kernels == nullptr || bytes == nullptr)
    return refuseNull(function, kernels == nullptr ? "kernels" : "bytes");
  return isPhase(function, phase)
             ? guarded(function, [&] { *bytes = kernels->kernels->workspaceSize(phase, tokens, batch, capacity); })
             : TPAC_INVALID_ARGUMENT;
}
}
